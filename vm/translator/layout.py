"""What translated code and its interpreter share in linear memory, besides `vm.wasm.layout`."""

from typing import Final

from vm.constants import MEMORY_SIZE, PAGE_COUNT
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, PAGE

STATUS: Final = 1024  # u32: a `vm.wasm.status.Status` once the run is to end, else 0
PURE: Final = STATUS + 4  # u32: if not 0, the interpreter goes on by itself until the run ends
RESUME: Final = (
    PURE + 4
)  # u32: if not 0, the interpreter begins at this offset of the decoded block at PC, charged already
STATE_END: Final = RESUME + 4

# u16 for each even address of the guest: the number of the translated function that begins there, or 0; and whether
# translated code expects a call to return there.
MAP: Final = at.END
RETURN_SITE: Final = 0x8000
MAX_FUNCTIONS: Final = 0x7FFF
MAP_SIZE: Final = MEMORY_SIZE
MEMORY_PAGES: Final = (MAP + MAP_SIZE) // PAGE

# Every translated function, and the interpreter, is called as (remaining cycles, stack budget) -> (pc, remaining
# cycles), with the registers in memory. A caller that gets another pc than its return address returns it, too.
PARAMS: Final = (I64, I32)
RESULTS: Final = (I64, I64)
ENDED: Final = -1  # in place of a pc, when STATUS is set: no return address is odd

# Stack budget, in bytes. What a function takes is estimated (see `vm.translator.flow`); this is half of what there is.
STACK_BUDGET: Final = 512 << 10
INTERPRETER_FRAME: Final = 2048
MAX_FRAME: Final = 64 << 10

assert at.RESULT + at.PART_SIZE <= STATUS  # noqa: S101
assert STATE_END <= at.FLAGS  # noqa: S101
assert PAGE_COUNT <= at.SLOTS - at.FLAGS  # noqa: S101
