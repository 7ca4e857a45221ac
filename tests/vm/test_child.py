"""Processes of our own code import what this one imports, not what lies in the current directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vm.child import child_command, child_environment, process_fields, process_state, start_child

PLANTED = ("msgspec", "types", "queue", "runpy", "contextlib", "sitecustomize", "usercustomize", "vm", "ckb_node")
SAYS = """
import os, sys
def main(arguments):
    with open(arguments[0], "w") as said:
        said.write(repr((os.getcwd(), sorted(os.environ), sys.path, sorted(sys.modules))))
    return 7
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory and an environment that somebody else has prepared."""
    place = tmp_path / "hostile"
    place.mkdir()
    for name in PLANTED:
        (place / f"{name}.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w').write({name!r})\n")
    monkeypatch.chdir(place)
    for name in ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "LD_PRELOAD", "PYTHONWARNINGS", "PYTHONUSERBASE"):
        monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("LD_LIBRARY_PATH", f":.:relative:{tmp_path}")
    return place


def test_a_child_of_a_hostile_place(tmp_path: Path, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/saying.py").write_text(SAYS)
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path / "code"), *sys.path])
    process = start_child("saying", [str(tmp_path / "said")], group=0)
    assert os.getpgid(process.pid) == process.pid
    assert process.wait(60) == 7
    said = (tmp_path / "said").read_text()
    assert str(hostile) not in said
    assert said.startswith("('/', ['LANG', 'LD_LIBRARY_PATH', 'PATH'")
    assert not (tmp_path / "owned").exists()
    assert child_environment()["LD_LIBRARY_PATH"] == str(tmp_path)


@pytest.mark.parametrize("module", ["ckb_node.verification.worker_main", "vm.translator.worker"])
def test_our_own_children_import(tmp_path: Path, hostile: Path, module: str) -> None:
    """Without the arguments that they need they end with an error of ours, after they were imported."""
    done = subprocess.run(
        child_command(module, ["0", "0"]),
        env=child_environment(),
        cwd="/",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"ImportError" not in done.stderr
    assert not (tmp_path / "owned").exists()


def test_the_program_as_a_module(tmp_path: Path, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m ckb_node` with names in the current directory that Python itself does not import before our line."""
    for name in set(PLANTED) - {"msgspec"}:
        (hostile / f"{name}.py").unlink()
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "PYTHONWARNINGS"):
        monkeypatch.delenv(name)
    command = [sys.executable, "-m", "ckb_node", "--version"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "owned").exists()


def test_the_state_of_a_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"])
    try:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert process_state(process.pid) == "T"
        assert int(process_fields(process.pid)[11]) >= 0
    finally:
        process.kill()
        process.wait()
    assert process_state(process.pid) == ""
