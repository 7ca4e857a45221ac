"""Check what a built script must be so that every version of CKB-VM runs it alike.

check_elf.py ELF_FILE OBJDUMP
"""

import re
import struct
import subprocess
import sys
from pathlib import Path

PAGE = 4096
LOAD, READ_EXECUTE = 1, 5


def require(condition: bool, message: str) -> None:
    """End the program with the message unless the condition holds."""
    if not condition:
        raise SystemExit(f"{sys.argv[1]}: {message}")


def check_headers(elf: bytes) -> None:
    """A static 64-bit RISC-V program of one page-aligned segment that cannot be written."""
    require(elf[:7] == b"\x7fELF\x02\x01\x01", "not a little-endian 64-bit ELF file")
    kind, machine = struct.unpack_from("<HH", elf, 16)
    require((kind, machine) == (2, 243), "not a static RISC-V program")
    entry, table = struct.unpack_from("<QQ", elf, 24)
    (count,) = struct.unpack_from("<H", elf, 56)
    require(count == 1, "more than one segment")
    kind, flags, offset, address, _, file_size, memory_size, _ = struct.unpack_from("<IIQQQQQQ", elf, table)
    require((kind, flags) == (LOAD, READ_EXECUTE), "the segment is not read-and-execute")
    require(address % PAGE == 0 and entry == address, "the segment does not start a page, or not with the entry")
    require(file_size == memory_size and offset + file_size <= len(elf), "the segment is not all in the file")


def check_instructions(path: Path, objdump: str) -> None:
    """No `jalr ra, ra`: version 0 writes the link before it reads the target."""
    listing = subprocess.run(
        [objdump, "-d", "-M", "no-aliases,numeric", str(path)], check=True, capture_output=True, text=True
    ).stdout
    require("\tecall" in listing, "no code in the listing")
    bad = [line for line in listing.splitlines() if re.search(r"\tjalr\s+x1,-?\d+\(x1\)|\tc\.jalr\s+x1$", line)]
    require(not bad, f"jumps that version 0 gets wrong: {bad}")


if __name__ == "__main__":
    check_headers(Path(sys.argv[1]).read_bytes())
    check_instructions(Path(sys.argv[1]), sys.argv[2])
