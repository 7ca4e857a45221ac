"""Faults on the event loop are told once a minute, however often they come."""

from __future__ import annotations

import asyncio
import errno

import pytest
from structlog.testing import capture_logs

from ckb_node.runtime.loop_faults import MAX_KINDS, LoopFaults

ACCEPT = {
    "message": "socket.accept() out of system resource",
    "exception": OSError(errno.EMFILE, "Too many open files"),
}


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def test_failing_accepts_are_one_line_a_minute(loop: asyncio.AbstractEventLoop) -> None:
    now = 0.0
    faults = LoopFaults(lambda: now)
    with capture_logs() as logs:
        for second in range(1200):
            now = second / 10
            faults(loop, ACCEPT)
    loop.close()
    assert [(entry["event"], entry["times"]) for entry in logs] == [
        ("connections cannot be accepted", 1),
        ("connections cannot be accepted", 600),
    ]
    assert "exc_info" not in logs[0]


def test_each_kind_is_told_with_its_traceback_and_kinds_are_bounded(loop: asyncio.AbstractEventLoop) -> None:
    faults = LoopFaults(lambda: 0.0)
    with capture_logs() as logs:
        for kind in range(3 * MAX_KINDS):
            faults(loop, {"message": f"a fault {kind}", "exception": ValueError(kind)})
            faults(loop, {"message": f"a fault {kind}", "exception": ValueError(kind)})
    loop.close()
    assert len(logs) == 3 * MAX_KINDS
    assert isinstance(logs[0]["exc_info"], ValueError)
    assert len(faults._kinds) <= MAX_KINDS
