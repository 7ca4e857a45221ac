"""Whatever ends an import, what it leaves is a sound database from which it can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ckb_node.commands.import_blocks import ImportOptions, import_blocks
from ckb_node.config import Config
from tests.support.nodes.directories import BLOCKS, FAILURE, OK, file_of, invoke, make_node, mined, tip_of

SENT_FIRST = 15


def start_import(config: Config) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ckb_node", "-C", str(config.root), "import", "-"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)


def assert_sound(config: Config) -> None:
    """What is stored equals what its blocks make."""
    result = invoke("-C", str(config.root), "check")
    assert result.exit_code == OK, result.output


def wait_for_output(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Before import")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    config = make_node(tmp_path / "node")
    lines = file_of(tmp_path / "chain.jsonl", mined()).read_bytes().splitlines(keepends=True)
    process = start_import(config)
    wait_for_output(process)
    assert process.stdin is not None
    process.stdin.write(b"".join(lines[:SENT_FIRST]))
    process.stdin.flush()
    time.sleep(1.0)
    process.send_signal(number)
    time.sleep(0.2)
    out, err = process.communicate(b"".join(lines[SENT_FIRST:]), timeout=60)
    assert process.returncode == FAILURE
    assert err.splitlines()[-1] == b"ckb-node: interrupted; what was imported so far is kept"
    tip = tip_of(config)
    assert 0 < tip < BLOCKS
    assert f"After import, Current tip is {tip}-0x{mined()[tip - 1].hash.hex()}".encode() in out
    assert_sound(config)
    import_blocks(config, ImportOptions(str(tmp_path / "chain.jsonl")))
    assert tip_of(config) == BLOCKS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_obeyed_while_nothing_comes(tmp_path: Path, number: signal.Signals) -> None:
    """The pipe stays open and empty: nobody writes a line that would wake the command."""
    config = make_node(tmp_path / "node")
    lines = file_of(tmp_path / "chain.jsonl", mined()).read_bytes().splitlines(keepends=True)
    process = start_import(config)
    wait_for_output(process)
    assert process.stdin is not None
    process.stdin.write(b"".join(lines[:SENT_FIRST]) + lines[SENT_FIRST][:100])
    process.stdin.flush()
    time.sleep(1.0)
    process.send_signal(number)
    assert process.wait(60) == FAILURE
    assert process.stderr is not None
    assert process.stderr.read().splitlines()[-1] == b"ckb-node: interrupted; what was imported so far is kept"
    process.communicate()
    assert 0 < tip_of(config) < BLOCKS
    assert_sound(config)


def test_a_signal_is_obeyed_while_a_fifo_has_no_writer(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "ckb_node", "-C", str(config.root), "import", str(fifo)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(3.0)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (FAILURE, -signal.SIGTERM)
    assert b"Traceback" not in err


@pytest.mark.parametrize("wait_s", [0.0, 0.3, 1.0])
def test_a_kill_leaves_whole_groups(tmp_path: Path, wait_s: float) -> None:
    config = make_node(tmp_path / "node")
    lines = file_of(tmp_path / "chain.jsonl", mined()).read_bytes().splitlines(keepends=True)
    process = start_import(config)
    wait_for_output(process)
    assert process.stdin is not None
    process.stdin.write(b"".join(lines))
    process.stdin.flush()
    time.sleep(wait_s)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert_sound(config)
    import_blocks(config, ImportOptions(str(tmp_path / "chain.jsonl")))
    assert tip_of(config) == BLOCKS
    assert_sound(config)
