"""What each gated linear target does with each example: a verdict, or the code of its refusal."""

from __future__ import annotations

__all__ = ["GATED", "OUTCOMES"]

GATED = (
    "mingru",
)

# by example, in the order of GATED
OUTCOMES: dict[str, str] = {
    "regular/parity": "L402",
    "regular/even_pairs": "PROVED",
    "regular/tomita_1": "PROVED",
    "regular/tomita_2": "L402",
    "regular/tomita_3": "L402",
    "regular/tomita_4": "L402",
    "regular/tomita_5": "L402",
    "regular/tomita_6": "L402",
    "regular/tomita_7": "L402",
    "regular/mod_5": "L402",
    "regular/modular_arithmetic": "L402",
    "regular/cycle_navigation": "L402",
    "regular/dyck_1_bounded": "L402",
    "regular/star_free": "L402",
    "regular/pairs_ab": "L402",
    "regular/detect_pattern": "L402",
    "regular/binary_addition": "L402",
    "regular/word_problem_s3": "L402",
    "memory/flip_flop": "PROVED",
    "memory/set_reset": "PROVED",
    "memory/induction_head": "PROVED",
    "memory/key_value": "PROVED",
    "memory/selective_copy": "L402",
    "memory/delay_3": "PROVED",
    "memory/window_majority": "PROVED",
    "memory/edges": "PROVED",
    "counting/majority": "L402",
    "counting/dyck_1": "L402",
    "counting/anbn": "L402",
    "counting/anbncn": "L402",
    "counting/shuffle_dyck_2": "L402",
    "counting/queue": "L402",
    "counting/position": "L402",
    "counting/run_length": "L402",
    "counting/greatest": "L402",
    "counting/reflected_walk": "L402",
    "tables/histogram": "L402",
    "tables/double_histogram": "L402",
    "tables/letter_counts": "L402",
    "tables/favourite": "L402",
    "tables/variety": "PROVED",
    "tables/earlier_smaller": "L402",
    "text/word_count": "L402",
    "text/balanced": "L402",
    "text/c_comments": "L402",
    "text/json_structure": "L402",
    "numeric/mean_so_far": "L405",
    "numeric/leaky_unit": "L405",
    "numeric/exponential_average": "L404",
    "numeric/moving_average": "PROVED",
}
