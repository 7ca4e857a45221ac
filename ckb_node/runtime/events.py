"""Typed events: whoever has news publishes an object, whoever wants it listens for its class.

Listeners are plain functions on the event loop, called before `publish` returns, in the order in which they were added.
They are short, and they do not wait: one that has much to do takes a note and works in a task of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ckb_node.runtime.loop_faults import LoopFaults

E = TypeVar("E")

MAX_LISTENERS: Final = 64
"""Of one class. Subscriptions of clients share one listener."""
MAX_NESTED: Final = 10_000
"""Events that listeners publish while an event is told; more are dropped, since they would never end."""


class TooManyListenersError(Exception):
    """MAX_LISTENERS listen for the class already."""


class EventBus:
    """Belongs to the event loop's thread. A listener's fault is logged and harms neither publisher nor others."""

    def __init__(self) -> None:
        self._listeners: Final[dict[type, list[Callable[[Any], None]]]] = {}
        self._nested: Final[deque[object]] = deque()
        self._is_telling = False
        self._faults: Final = LoopFaults()

    def listen(self, kind: type[E], listener: Callable[[E], None]) -> Callable[[], None]:
        """Call `listener` with each event of exactly this class; the result, called once, ends that. Raises
        TooManyListenersError."""
        listeners = self._listeners.setdefault(kind, [])
        if len(listeners) >= MAX_LISTENERS:
            raise TooManyListenersError(kind.__name__)
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def has_listeners(self, kind: type) -> bool:
        """Whether it is worth while to make an event of this class."""
        return bool(self._listeners.get(kind))

    def publish(self, event: object) -> None:
        """Tell all listeners. What a listener publishes is told after the event at hand, so all hear one order."""
        if not self._listeners.get(type(event)):
            return
        if self._is_telling:
            if len(self._nested) < MAX_NESTED:
                self._nested.append(event)
            else:
                self._faults.report("events are dropped: listeners answer events with events", None)
            return
        self._is_telling = True
        try:
            self._tell(event)
            while self._nested:
                self._tell(self._nested.popleft())
        finally:
            self._is_telling = False

    def _tell(self, event: object) -> None:
        for listener in tuple(self._listeners.get(type(event), ())):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the listener's own
                self._faults.report(f"a listener for {type(event).__name__} failed", error)
