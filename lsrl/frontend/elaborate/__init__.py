"""From the syntax tree to the graph: types are checked, generics made concrete and nodes built in one pass.

A body is evaluated over values that are either known at compile time or graph nodes (values.py). Errors are reported
to a sink and poison what depends on them, so that one run gives all errors of a file.

What the language leaves open is decided so:

- Every operand of an expression is evaluated at every token. A call in `a if c else b`, `and`, `or` or an arm of a
  `match` steps its state whether its value is used or not. A call in a branch of an `if` statement steps only where
  the branch is taken, as all states assigned there do.
- Checks of values hold where the value is used: `v[i] if i < n else 0` never fails. Checks of states hold wherever the
  state is assigned.
- `code(x)` takes any finite scalar, and is its place among the values of its type. `x % k` of ints is `int[0..k-1]`.
- A scalar stands for a vector of it in `state v: T[n] = 0`, `v := 0` and `v[i] := 0` of a matrix.
- Texts in branches that no known alphabet meets form one of their own: `kind = "x" if c else "y"`.
- The condition of an `if` that is known at compile time leaves only the branch taken; the other is not checked.

Codes (lsrl/codes has a page on each):
L101 unknown name · L102 defined twice · L103 defined by itself · L104 arguments or fields that do not fit · L105 import
not found or not readable · L106 import of a name that the file has not, or that is private · L110 not a value, or not a
function · L111 calls nested too deeply · L112 no such program, or several ·
L201 type mismatch · L202 operator on values that it does not take · L203 match does not cover · L204 range · L205 sizes
differ · L206 not known at compile time · L207 division by zero, no finite value · L208 generics not found · L209
pattern never reached · L210 too large · L211 record where a value is wanted · L212 not a type · L213 empty range · L214
symbol twice in an alphabet · L215 text without an alphabet · L216 symbol not in the alphabet · L217 constant index
outside · L218 pattern that cannot match · L219 not a finite type ·
L250 to L254 regular expressions (lsrl.frontend.regex) ·
L301 not a state · L302 named twice · L303 used before it is declared · L304 nothing returned · L305 `return` not last ·
L306 declaration inside a block · L307 param that nothing uses ·
L501 and L601 for assertions and assumptions that are false at compile time.
"""

from lsrl.frontend.elaborate import (  # noqa: F401 - importing them registers their handlers
    functions,
    internals,
    operators,
    selectors,
)
from lsrl.frontend.elaborate import match as _match  # noqa: F401
from lsrl.frontend.elaborate.program import elaborate_program

__all__ = ["elaborate_program"]
