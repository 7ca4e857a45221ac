"""Runs of scripts that are cancelled, that must wait for a block, or that take too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from consensus.errors import CkbError

POLL_S = 0.02
"""Seconds between two checks for cancellation while waiting."""


class ScriptsStopped(Exception):  # noqa: N818 - a cancellation, not a fault
    """The run was cancelled before there was a verdict: the node stops, or the transaction was withdrawn."""


class BudgetExceeded(CkbError):  # noqa: N818 - reads as the rejects do
    """No rule of consensus: the pool does not spend more on one transaction. `what` was limited to `limit`."""

    kind = "Script"

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(f"ExceededBudget: expect {what} <= {limit}")
        self.what, self.limit = what, limit


class TimeExceeded(BudgetExceeded):
    """The scripts worked for more than `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("seconds of work", f"{seconds:.1f}")
        self.seconds = seconds


class Stop:
    """A flag that cancels runs; setting the parent's sets it too. Any thread may use it."""

    def __init__(self, parent: Stop | None = None) -> None:
        self._parent = parent
        self._is_set = False

    @property
    def is_set(self) -> bool:
        return self._is_set or (self._parent is not None and self._parent.is_set)

    def set(self) -> None:
        self._is_set = True

    def check(self) -> None:
        """Raises ScriptsStopped."""
        if self.is_set:
            raise ScriptsStopped


class Gate:
    """While it is shut, for a block that is verified or for other work that goes first, scripts wait.

    It is shut also while its `parent` is.
    """

    def __init__(self, parent: Gate | None = None) -> None:
        self._parent = parent
        self._shutters, self._lock = 0, Lock()
        self._open = Event()
        self._open.set()
        self._listeners: list[Callable[[bool], None]] = []

    def listen(self, listener: Callable[[bool], None]) -> None:
        """`listener` hears, in any thread, that this one (not its parent) is open, or is not any more. It must return
        at once."""
        self._listeners.append(listener)

    @property
    def is_open(self) -> bool:
        return self._open.is_set() and (self._parent is None or self._parent.is_open)

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Work that goes first is done while the context lasts."""
        with self._lock:
            self._shutters += 1
            if self._shutters == 1:
                self._open.clear()
                self._tell(is_open=False)
        try:
            yield
        finally:
            with self._lock:
                self._shutters -= 1
                if not self._shutters:
                    self._open.set()
                    self._tell(is_open=True)

    def _tell(self, *, is_open: bool) -> None:
        for listener in self._listeners:
            listener(is_open)

    def wait(self, stop: Stop) -> None:
        """Return when it is open. Raises ScriptsStopped."""
        while not self.is_open:
            if self._open.wait(POLL_S) and self._parent is not None:
                self._parent.wait(stop)
            stop.check()


class PoolPause:
    """The `pause` of a transaction of the pool.

    Raises ScriptsStopped, or what `on_time_up` gives when the thread has worked for `seconds` since the first script
    began: a busy machine, a block in between, or an engine that is compiled first cost the transaction nothing.
    """

    def __init__(self, stop: Stop, gate: Gate, seconds: float, on_time_up: Callable[[], Exception]) -> None:
        self._stop, self._gate, self._seconds, self._on_time_up = stop, gate, seconds, on_time_up
        self._end: float | None = None

    def __call__(self) -> None:
        self._stop.check()
        if not self._gate.is_open:
            self._gate.wait(self._stop)
        now = time.thread_time()
        if self._end is None:
            self._end = now + self._seconds
        if now > self._end:
            raise self._on_time_up()
