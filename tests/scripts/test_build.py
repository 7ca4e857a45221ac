"""The committed scripts are what their sources give."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "contrib" / "scripts"
COMPILER = "riscv64-unknown-elf-gcc"
COMPILER_VERSION = "12.2.0"


def test_scripts_rebuild_bit_for_bit(tmp_path: Path) -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"no {COMPILER}")
    version = subprocess.run([COMPILER, "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
    if version != COMPILER_VERSION:
        pytest.skip(f"{COMPILER} {version} is not the {COMPILER_VERSION} that built the committed files")
    # Not what `make test PYTHON=…` hands down: that name may be one that only set-up knows how to find.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    command = ["make", "-s", "-C", str(SOURCES), "check", f"BUILD={tmp_path / 'build'}", f"PYTHON={sys.executable}"]
    subprocess.run(command, check=True, env=environment)
