"""Translates one program in a process of its own, whose time and memory are bounded.

`python -m vm.translator.worker VERSION ISA ELF OUTPUT`: the native code, behind its digest, goes to OUTPUT.
Ends with the code REFUSED if the program is too large.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Final

from vm.isa.profile import Isa
from vm.translator.limits import REFUSED, TooLargeError
from vm.translator.runtime import compile_native
from vm.wasm.runtime import write_checked

CPU_SECONDS: Final = 60
MEMORY_BYTES: Final = 1 << 30
MAX_NATIVE: Final = 16 << 20  # bytes of native code
NICENESS: Final = 15


def main(version: str, isa: str, elf: str, output: str) -> int:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        native = compile_native(Path(elf).read_bytes(), int(version), Isa(isa))
    except TooLargeError:
        return REFUSED
    if len(native) > MAX_NATIVE:
        return REFUSED
    write_checked(Path(output), native)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
