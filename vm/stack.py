"""How the arguments of a program come onto its stack, from version 1 on.

They are stored one by one, downwards from the end of the memory: the strings, each with a zero byte behind it, then the
words. What fails first decides the error, and the exec of version 1 goes on with what was stored before it. All of that
follows from the sizes, and from where the executable pages of the program end: there may be 131072 strings.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from vm.arguments import Arguments
from vm.constants import MEMORY_SIZE, STACK_SIZE, VERSION2
from vm.errors import MemOutOfBound, MemOutOfStack, MemWriteOnExecutablePage, VmError

STACK_BOTTOM: Final = MEMORY_SIZE - STACK_SIZE
_WORD: Final = 8
_NO_PAGE: Final = 0  # an end of executable pages


@dataclass(frozen=True, slots=True)
class StoredStack:
    """How much is stored of the strings, which end where the memory ends, and of the words, which begin at `sp`: that
    many bytes from their end. `error`: why that is not all."""

    strings_size: int
    words_size: int
    sp: int
    error: type[VmError] | None = None

    @property
    def strings_at(self) -> int:
        """Address of what is stored of the strings."""
        return MEMORY_SIZE - self.strings_size


def stack_of(args: Arguments, executable_end: int, version: int) -> StoredStack:
    """What becomes of at least one argument. `executable_end`: where the last executable page ends, 0 if there is none.

    That the stack is exceeded is noticed here after a string of version 2; after the words the caller looks at sp.
    """
    strings_at = MEMORY_SIZE - len(args.strings)
    if strings_at < _lowest(executable_end, version):
        return _cut_strings(args, executable_end, version)
    sp = (strings_at - len(args.words)) & ~15
    if sp >= executable_end:
        return StoredStack(len(args.strings), len(args.words), sp)
    end = sp + len(args.words)
    size = max(end - executable_end, 0) // _WORD * _WORD
    error = _error_of_word(end - size - _WORD, executable_end)
    return StoredStack(len(args.strings), size, end - size, error)


def _lowest(executable_end: int, version: int) -> int:
    """Where a string may begin."""
    return max(executable_end, STACK_BOTTOM) if version >= VERSION2 else executable_end


def _cut_strings(args: Arguments, executable_end: int, version: int) -> StoredStack:
    addresses, lowest = memoryview(args.words).cast("Q")[1:-1], _lowest(executable_end, version)

    def is_refused(address: int) -> bool:
        return address < lowest or address >= MEMORY_SIZE  # modulo 2^64

    refused = bisect_left(addresses, True, key=is_refused)
    error = _error_of_string(addresses[refused] if addresses[refused] < MEMORY_SIZE else -1, executable_end)
    stored = refused + (error is MemOutOfStack)
    sp = addresses[stored - 1] if stored else MEMORY_SIZE
    return StoredStack(MEMORY_SIZE - sp, 0, sp, error)


def room_for_strings(executable_end: int) -> int:
    """Bytes that strings, with a zero byte behind each, may take in version 2."""
    return MEMORY_SIZE - _lowest(executable_end, VERSION2)


def error_of_refused(size: int, argc: int, executable_end: int) -> VmError:
    """What ends the storing of arguments in version 2 that do not fit.

    `size`: bytes of the strings, with a zero byte behind each, with the first that exceeds `room_for_strings`. If none
    does it is the words of `argc` arguments that exceed the stack.
    """
    sp = MEMORY_SIZE - size
    if size > room_for_strings(executable_end):
        return _error_of_string(sp, executable_end)()
    return _error_of_word((sp - _WORD * (argc + 2)) & ~15, executable_end)()


def _error_of_string(address: int, executable_end: int) -> type[VmError]:
    """Of the first string that begins too low: all of it is checked at once. Its address may be negative."""
    if address < 0:
        return MemOutOfBound
    return MemWriteOnExecutablePage if address < executable_end else MemOutOfStack


def _error_of_word(address: int, executable_end: int) -> type[VmError]:
    """Of the words, down to `address`, which may be negative: an executable page is met before the memory ends."""
    if address >= executable_end:
        return MemOutOfStack
    return MemOutOfBound if executable_end == _NO_PAGE else MemWriteOnExecutablePage
