"""How much is translated at most. What exceeds a bound is left to the interpreter."""

from dataclasses import dataclass
from typing import Final

REFUSED: Final = 3  # how `vm.translator.worker` ends if a program is too large


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one translation.

    Time of compilation grows faster than linearly with the size of one function, so large ones are cut into pieces.
    """

    blocks: int = 40_000  # of a program
    instructions: int = 300_000  # of a program; blocks overlap, so that some are counted more than once
    functions: int = 30_000
    function_blocks: int = 400
    function_instructions: int = 3_000
    rounds: int = 40  # of cutting, before what is still too large or irreducible becomes one function per block


class TooLargeError(Exception):
    """The program exceeds a limit and is not translated at all."""
