"""Which instructions exist, by machine version."""

from enum import Enum

from vm.constants import VERSION1
from vm.isa.table import Extension


class Isa(Enum):
    """Instruction sets that engines can be made for. All machines of one set of engines have the same.

    The value names it in the keys of compiled code.
    """

    CKB = "ckb"
    """What scripts may use: I, M and C in every version, B and fusion from version 1 on."""
    CKB_WITH_ATOMICS = "ckb+a"
    """A in every version besides. No version of CKB has it; programs of the suites of RISC-V want it."""

    def has(self, extension: Extension, version: int) -> bool:
        """Whether machines of `version` have the extension."""
        match extension:
            case Extension.A:
                return self is Isa.CKB_WITH_ATOMICS
            case Extension.B | Extension.FUSION:
                return version >= VERSION1
        return True
