"""After a fault ended a run, the next one verifies the files of the databases before it opens them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ckb_node.commands.crash_trace import TRACE_FILE, crash_trace
from storage.chain_store import ChainStore
from storage.errors import StorageCorrupt
from tests.support.nodes.directories import make_node

ROOT = Path(__file__).resolve().parents[2]

ENDING = """
import os, sys
from pathlib import Path
from ckb_node.config import load_config
from ckb_node.commands.crash_trace import crash_trace

with crash_trace(load_config(Path(sys.argv[1]))):
    assert (Path(sys.argv[1]) / "data/crash.txt").read_bytes() == b""
    if sys.argv[2] != "0":
        os.kill(os.getpid(), int(sys.argv[2]))
"""


def end_by(root: Path, number: int) -> None:
    child = subprocess.run([sys.executable, "-c", ENDING, str(root), str(number)], cwd=ROOT, check=False, timeout=60)
    assert child.returncode == -number


def test_a_fault_has_the_files_verified(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    trace = config.data_dir / TRACE_FILE
    for number in (0, signal.SIGKILL, signal.SIGABRT):
        end_by(config.root, number)
        assert trace.exists() == (number != 0)
        assert (number == signal.SIGABRT) == (trace.exists() and trace.stat().st_size > 0)
    for _ in range(2):
        ChainStore.open(config.data_dir / "chain").close()  # makes a table of its log
    (table,) = (config.data_dir / "chain" / "db").glob("*.ldb")
    sound = table.read_bytes()
    table.write_bytes(sound[:10] + bytes([sound[10] ^ 1]) + sound[11:])
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match=f"{table}: .*ckb-node recover"), crash_trace(config):
            pass
    table.write_bytes(sound)
    with crash_trace(config):
        pass
    assert b"Fatal Python error: Aborted" in trace.with_name(f"{TRACE_FILE}.1").read_bytes()
    assert not trace.exists()
