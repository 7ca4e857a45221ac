"""The committed scripts are what their sources give."""

import shutil
import subprocess
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
    subprocess.run(["make", "-s", "-C", SOURCES, "check", f"BUILD={tmp_path / 'build'}"], check=True)
