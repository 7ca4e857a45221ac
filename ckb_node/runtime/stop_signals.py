"""SIGINT, SIGTERM and SIGHUP while a node runs: the first asks for an end in order, a later one ends it at once.

Service managers send two at the same moment, which are one wish.

While the node is being opened there is nobody to ask and nothing to lose: what is on the disk is as after a power cut,
which every open survives. A signal ends the process then. A thread of its own sees to that: the main thread may be in
the database or the compiler for seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NoReturn, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_AT_ONCE: Final = 113
ONE_WISH_S: Final = 1.0


def wanted_signals() -> list[signal.Signals]:
    """Signals that are not ignored at start, as nohup ignores SIGHUP."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def end_process(code: int, text: str) -> NoReturn:
    """Print the reason and end without clean-up, as kill -9 does."""
    with contextlib.suppress(OSError):
        os.write(2, f"ckb-node: {text}\n".encode())
    os._exit(code)


class StopSignals:
    """Signals are this object's while its context lasts. For the main thread."""

    def __init__(
        self, end: Callable[[int, str], None] = end_process, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._end: Final = end
        self._now_s: Final = now_s
        self._ask: Callable[[], None] | None = None
        self._asked_at: float | None = None
        self._lock: Final = threading.Lock()

    def __enter__(self) -> Self:
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        # Python writes the number of a signal there at once, whatever its threads do.
        self._wakeup_before = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _leave_to_the_thread) for number in wanted_signals()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._wakes.close()
        self._thread.join()
        self._woken.close()

    def opened(self, ask: Callable[[], None]) -> None:
        """From now on the first signal calls `ask`, from a thread of its own, instead of ending the process."""
        with self._lock:
            self._ask = ask

    def _watch(self) -> None:
        while number := self._woken.recv(1):
            if number[0] in SIGNALS:
                self._on_signal()

    def _on_signal(self) -> None:
        with self._lock:
            ask = self._ask
        if ask is None:
            self._end(0, "stopped before the node was open")
        elif self._asked_at is None:
            self._asked_at = self._now_s()
            ask()
        elif self._now_s() - self._asked_at >= ONE_WISH_S:
            self._end(EXIT_AT_ONCE, "stopped at once, at the second signal")


def _leave_to_the_thread(_number: int, _frame: object) -> None:
    """A handler that does nothing: an ignored signal would not reach the wake-up descriptor."""
