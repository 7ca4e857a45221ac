"""CKB-VM: a RISC-V machine with exact cycle costs. Knows bytes, registers and cycles, nothing of CKB.

`create_machine` gives a machine of the wanted version (0, 1 or 2); `vm.machine.Machine` says how to use it.
"""

from vm.machine import Machine
from vm.reference.engine import ReferenceMachine

__all__ = ["Machine", "create_machine"]


def create_machine(version: int, max_cycles: int, engine: str = "auto") -> Machine:
    """A machine without a program. `engine` is "auto", or the name of one: "reference".

    Raises InvalidVersion; ValueError if there is no such engine.
    """
    if engine not in {"auto", "reference"}:
        raise ValueError(f"no such engine: {engine}")
    return ReferenceMachine(version, max_cycles)
