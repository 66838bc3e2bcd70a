"""Facts of a graph, kept beside it: ranges and grids, cells and their classes, automata and their algebra, precision.

Entry points: `ranges.analyse`, `cells.find_cells`, `automaton.extract` and `minimise`, `algebra.algebra_of`,
`precision.precision`, `report.explain`. All but `ranges` want a graph whose vectors are split.
"""
