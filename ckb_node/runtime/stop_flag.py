"""Ctrl-C in the middle of a long job: the job ends at the next good moment; a second one ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.stop_signals import wanted_signals


class Interrupted(CommandError):  # noqa: N818 - somebody asked for it
    """The user stopped the job; what was done is kept."""


class StopFlag:
    """Whether the job was asked to stop."""

    def __init__(self) -> None:
        self.is_set = False
        self._waits_with: str | None = None
        self._at_once: list[Callable[[], None]] = []

    def at_once(self, call: Callable[[], None]) -> None:
        """Call this when the job is asked to stop, wherever it is: something short that any moment is good for."""
        self._at_once.append(call)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """The job waits for input, which may never come, and changes nothing: a signal ends it with this text."""
        self._waits_with = text
        try:
            if self.is_set:
                raise Interrupted(text)
            yield
        finally:
            self._waits_with = None

    def ask(self) -> None:
        """For a handler of signals."""
        self.is_set = True
        for call in self._at_once:
            call()
        if self._waits_with is not None:
            raise Interrupted(self._waits_with)

    def check(self) -> None:
        """Raise Interrupted when it was."""
        if self.is_set:
            raise Interrupted("interrupted")


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Signals set the flag while the context lasts. For the main thread."""
    flag = StopFlag()

    def on_signal(number: int, _: FrameType | None) -> None:
        if flag.is_set:
            raise KeyboardInterrupt
        flag.ask()

    before = {number: signal.signal(number, on_signal) for number in wanted_signals()}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
