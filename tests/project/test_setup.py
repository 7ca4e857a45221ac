"""contrib/setup.sh with interpreters of any version: which one is taken, and what is said when packages are missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.nodes.process import ROOT

SETUP = ROOT / "contrib/setup.sh"
OTHER, LACKS_PACKAGES = 1, 3
TOOLS = ("sh", "dirname", "find", "rm")

INTERPRETER = """#!/bin/sh
case $2 in
  *version_info*) echo {version} ;;
  *sysconfig*) echo /nowhere ;;
  *) exit 1 ;;
esac
"""
"""Tells its version, and has no ensurepip, so that set-up ends before it installs anything."""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory of programs, the only ones of the machine."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    return tmp_path


def install(machine: Path, **versions: str) -> None:
    for name, version in versions.items():
        path = machine / name.replace("_", ".")
        path.write_text(INTERPRETER.format(version=version))
        path.chmod(0o755)


def setup(machine: Path, *arguments: str, compiler: str = "false") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine), "PYENV_ROOT": str(machine), "CXX": compiler}
    command = [str(SETUP), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        ({"python3": "3.12", "python3_11": "3.11"}, "3.12"),
        ({"python3": "3.14", "python3_11": "3.11", "python3_12": "3.12"}, "3.12"),
        ({"python3": "3.13", "python3_11": "3.11"}, "3.11"),
        ({"python3": "3.14", "python3_13": "3.13"}, "3.13"),
        ({"python3": "3.14"}, "3.14"),
    ],
)
def test_an_interpreter_that_has_wheels_is_taken_first(machine: Path, versions: dict[str, str], taken: str) -> None:
    install(machine, **versions)
    done = setup(machine, str(machine / "venv"), compiler=str(shutil.which("true")))
    assert done.returncode == LACKS_PACKAGES
    assert f"Python {taken} has no ensurepip" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("python3",)])
def test_missing_headers_are_named_with_the_cure(machine: Path, arguments: tuple[str, ...]) -> None:
    install(machine, python3="3.13")
    done = setup(machine, str(machine / "venv"), *arguments)
    assert done.returncode == LACKS_PACKAGES
    (line,) = done.stderr.splitlines()
    for part in ("LevelDB", "libleveldb-dev", "leveldb-devel", "brew install leveldb", "PYTHON=python3.12"):
        assert part in line
    assert not (machine / "venv").exists()


def test_other_versions_are_refused(machine: Path) -> None:
    install(machine, python3="3.10")
    for arguments, said in (((), "no Python 3.11 to 3.14 here"), (("python3",), "is Python 3.10")):
        done = setup(machine, str(machine / "venv"), *arguments)
        assert done.returncode == OTHER
        assert said in done.stderr


def test_find(machine: Path) -> None:
    install(machine, python3_13="3.13")
    assert setup(machine, "--find", "python3.13").stdout == f"{machine / 'python3.13'}\n"
    assert setup(machine, "--find", "python3.12").returncode == OTHER
