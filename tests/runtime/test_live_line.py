"""The line at the bottom of a terminal, and the log above it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from ckb_node.runtime.live_line import live_line
from ckb_node.runtime.log_control import LevelFilter
from ckb_node.runtime.logs import Terminal, set_up_logs
from ckb_node.runtime.settings import LoggerSection


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Iterator[FakeTerminal]:
    """Standard output, with the node's log on it. No fixture: pytest has another standard output for those."""
    out = FakeTerminal()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", out)
    before = list(logging.getLogger().handlers)
    set_up_logs(LoggerSection(log_to_file=False, color=False), directory, "run")
    try:
        yield out
    finally:
        logging.getLogger().handlers[:] = before
        structlog.reset_defaults()


def test_no_terminal_no_line() -> None:
    with live_line(io.StringIO()) as draw:
        assert draw is None


def test_a_terminal_that_cannot_move_its_cursor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal(monkeypatch, tmp_path), live_line() as draw:
        assert draw is None


def test_the_log_stands_above_the_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal(monkeypatch, tmp_path) as out:
        log, progress = structlog.get_logger("node"), structlog.get_logger("progress")
        with live_line() as draw:
            assert draw is not None
            draw("headers 5 of 10")
            log.info("something happens", at="w" * 100 + "end")
            progress.info("downloading headers")
            progress.warning("sync is stalled")
            draw("headers 6 of 10" + "x" * 200)
        log.info("afterwards")
        (handler,) = [each for each in logging.getLogger().handlers if isinstance(each, Terminal)]
        assert handler.stream is out
        assert all(isinstance(each, LevelFilter) for each in handler.filters)
    lines = out.getvalue().splitlines()
    for text in ("headers 5 of 10", "headers 6 of 10"):
        assert any(text in line for line in lines)
    for text in ("something happens", "sync is stalled", "afterwards"):
        (line,) = [line for line in lines if text in line]
        assert "headers" not in line.partition(text)[2]
    assert any(line.endswith("w" * 100 + "end") for line in lines)
    assert not any("downloading headers" in line for line in lines)
