"""Translates one program in a process of its own, whose time and memory are bounded.

`python -m vm.translator.worker VERSION ELF OUTPUT`: the native code, behind its digest, goes to OUTPUT. Ends with the
code REFUSED if the program is too large.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Final

from vm.translator.limits import TooLargeError
from vm.translator.runtime import HostedRuntime
from vm.translator.translate import translate
from vm.wasm.runtime import write_checked

CPU_SECONDS: Final = 60
MEMORY_BYTES: Final = 2 << 30
NICENESS: Final = 15
REFUSED: Final = 3


def main(version: str, elf: str, output: str) -> int:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        native = compile_native(Path(elf).read_bytes(), int(version))
    except TooLargeError:
        return REFUSED
    write_checked(Path(output), native)
    return 0


def compile_native(elf: bytes, version: int) -> bytes:
    """Native code for this processor. Raises TooLargeError, or a VmError if the program cannot be loaded."""
    return bytes(HostedRuntime().compile(translate(elf, version).code).serialize())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
