"""Signals while a node runs: asked once, ended at the second, ended at once before it is open."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from ckb_node.runtime.stop_signals import EXIT_AT_ONCE, ONE_WISH_S, SIGNALS, StopSignals
from tests.support.nodes.process import ROOT

WAIT_S = 30.0


class Ends:
    """Notes instead of ending the process."""

    def __init__(self) -> None:
        self.seen: Queue[tuple[int, str]] = Queue()

    def __call__(self, code: int, text: str) -> None:
        self.seen.put((code, text))


@pytest.fixture
def nothing_ignored() -> Iterator[None]:
    """A shell starts what runs in its background with SIGINT ignored, the tests too."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("nothing_ignored")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_asks_and_the_second_ends(number: signal.Signals) -> None:
    ends, asked = Ends(), threading.Event()
    before = signal.getsignal(number)
    now = [0.0]
    with StopSignals(ends, lambda: now[0]) as signals:
        signals.opened(asked.set)
        signal.raise_signal(number)
        assert asked.wait(WAIT_S)
        signal.raise_signal(signal.SIGHUP)  # a service manager's, at the same moment
        assert ends.seen.empty()
        now[0] = 1.0
        signal.raise_signal(number)
        assert ends.seen.get(timeout=WAIT_S)[0] == EXIT_AT_ONCE
    assert signal.getsignal(number) == before


def test_before_the_node_is_open_nothing_is_waited_for() -> None:
    ends = Ends()
    with StopSignals(ends):
        signal.raise_signal(signal.SIGTERM)
        assert ends.seen.get(timeout=WAIT_S) == (0, "stopped before the node was open")


def test_other_signals_are_left_alone() -> None:
    ends, seen = Ends(), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.set())
    try:
        with StopSignals(ends):
            signal.raise_signal(signal.SIGUSR1)
            assert seen.wait(WAIT_S)
        assert ends.seen.empty()
    finally:
        signal.signal(signal.SIGUSR1, before)


BUSY = """
import threading
from ckb_node.runtime.stop_signals import StopSignals
lock = threading.Lock()
lock.acquire()
with StopSignals() as signals:
    {opened}
    print("ready", flush=True)
    lock.acquire()  # as in the database or the compiler, for ever
"""


@pytest.mark.parametrize(
    ("opened", "count", "code", "text"),
    [
        ("pass", 1, 0, b"ckb-node: stopped before the node was open\n"),
        ("signals.opened(lambda: print('asked', flush=True))", 2, EXIT_AT_ONCE, b"stopped at once"),
    ],
)
def test_a_main_thread_that_never_comes_back(opened: str, count: int, code: int, text: bytes) -> None:
    """The signal is obeyed all the same."""
    program = BUSY.format(opened=opened)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        wait: Callable[[], bytes] = process.stdout.readline
        assert wait() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        if count == 2:
            assert wait() == b"asked\n"
            time.sleep(ONE_WISH_S)
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == code
    assert text in err
