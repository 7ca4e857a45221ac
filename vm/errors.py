"""Every way in which the machine refuses to go on.

The classes carry the names that clients of a CKB node already know: `str(error)` is the text that appears behind
`VM Internal Error:` in a script verification failure, for example `InvalidInstruction { pc: 65536, instruction: 0 }`.
"""
# ruff: noqa: N818  (the names are part of the text that clients parse)


class VmError(Exception):
    """Root of all machine errors. A script that raises one has failed; there is no way to continue it."""

    def __str__(self) -> str:
        return type(self).__name__


class EngineFailure(Exception):
    """An engine broke down, not the program: no verdict. Run the script again from its beginning, on another engine."""


class CyclesExceeded(VmError):
    """The next step would use more cycles than the limit; nothing of that step was executed or charged."""


class CyclesOverflow(VmError):
    """The cycle counter would leave 64 bits."""


class ElfBits(VmError):
    """The program is an ELF file of 32 bits."""


class ElfSegmentUnreadable(VmError):
    """A loadable segment lacks the read flag."""


class ElfSegmentWritableAndExecutable(VmError):
    """A loadable segment is both writable and executable."""


class ElfSegmentAddrOrSizeError(VmError):
    """A loadable segment lies (partly) outside of the file."""


class InvalidVersion(VmError):
    """The machine version does not exist."""


class MemOutOfBound(VmError):
    """An address outside of the memory was read, written or executed."""


class MemOutOfStack(VmError):
    """The program arguments do not fit into the stack."""


class MemPageUnalignedAccess(VmError):
    """A whole-page operation was asked for with an address or size that is not a multiple of the page size."""


class MemWriteOnExecutablePage(VmError):
    """An executable page was written, or a page that is not executable was executed."""


class MemWriteOnFreezedPage(VmError):
    """A frozen page was to be initialised again."""


class _MessageError(VmError):
    """An error with free text; the text is shown quoted."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        escaped = self.message.replace("\\", "\\\\").replace('"', '\\"')
        return f'{type(self).__name__}("{escaped}")'


class ElfParseError(_MessageError):
    """The program is not an ELF file that can be read."""


class External(_MessageError):
    """An error of whoever handles the system calls."""


class Unexpected(_MessageError):
    """A state that a well-meant program never reaches."""


class InvalidEcall(VmError):
    """A system call that nobody answers. `code` is the value of a7."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"InvalidEcall({self.code})"


class InvalidInstruction(VmError):
    """Bits that are no instruction. `instruction` has 16 or 32 bits, as fetched from `pc`."""

    def __init__(self, pc: int, instruction: int) -> None:
        super().__init__(pc, instruction)
        self.pc = pc
        self.instruction = instruction

    def __str__(self) -> str:
        return f"InvalidInstruction {{ pc: {self.pc}, instruction: {self.instruction} }}"
