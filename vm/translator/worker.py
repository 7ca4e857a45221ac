"""Translates one program in a process of its own, whose time and memory are bounded.

`main([NICENESS, VERSION, ISA, ELF, OUTPUT])`: the native code, behind its digest, goes to the file OUTPUT, the
interpreter that it needs to another file beside that. ELF is a file, or - for standard input. Ends with the code
REFUSED if the program is too large. Of several such processes with the same OUTPUT one works; the others wait for it,
and have nothing left to do.
"""

import fcntl
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from vm.isa.profile import Isa
from vm.translator.limits import REFUSED, TooLargeError
from vm.translator.runtime import HostedRuntime, compile_native
from vm.wasm.runtime import read_checked, write_checked

CPU_SECONDS: Final = 60
MAX_SECONDS: Final = 1800  # wall-clock seconds; SIGALRM ends the worker
MEMORY_BYTES: Final = 1 << 30
MAX_NATIVE: Final = 16 << 20  # bytes of native code


def main(arguments: list[str]) -> int:
    """Translate the program that the arguments name; returns the exit code."""
    niceness, version, isa, elf, output = arguments
    signal.alarm(MAX_SECONDS)
    os.nice(int(niceness))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = Path(output)
    lock = target.with_suffix(".lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # ends with the process, however that ends
        try:
            if read_checked(target) is None:
                native = compile_native(_read(elf), int(version), Isa(isa))
                if len(native) > MAX_NATIVE:
                    return REFUSED
                write_checked(target, native)
            HostedRuntime(Isa(isa), target.parent).prepare(int(version))  # else whoever runs it first would be held up
        except TooLargeError:
            return REFUSED
        finally:
            lock.unlink(missing_ok=True)  # a waiting process finds the output
    return 0


def _read(elf: str) -> bytes:
    return sys.stdin.buffer.read() if elf == "-" else Path(elf).read_bytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
