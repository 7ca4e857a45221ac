"""The bus: who hears what, in which order, and whom a fault harms."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from ckb_node.runtime import events as events_module
from ckb_node.runtime.events import MAX_LISTENERS, EventBus, TooManyListenersError


@dataclass(frozen=True)
class Arrived:
    name: str


@dataclass(frozen=True)
class Left:
    name: str


def test_listeners_hear_events_of_their_class_in_the_order_in_which_they_were_added() -> None:
    bus, heard = EventBus(), list[str]()
    bus.listen(Arrived, lambda event: heard.append(f"first {event.name}"))
    bus.listen(Arrived, lambda event: heard.append(f"second {event.name}"))
    bus.listen(Left, lambda event: heard.append(f"left {event.name}"))
    bus.publish(Arrived("a"))
    bus.publish(Left("b"))
    bus.publish("nobody listens for texts")
    assert heard == ["first a", "second a", "left b"]


def test_a_fault_is_logged_and_harms_nobody() -> None:
    bus, heard = EventBus(), list[str]()

    def fails(_: Arrived) -> None:
        raise ValueError("a fault")

    bus.listen(Arrived, fails)
    bus.listen(Arrived, lambda event: heard.append(event.name))
    with capture_logs() as logs:
        for name in "abc":
            bus.publish(Arrived(name))
    assert heard == ["a", "b", "c"]
    assert [entry["event"] for entry in logs] == ["a listener for Arrived failed"], "each kind once a minute"
    assert isinstance(logs[0]["exc_info"], ValueError)


def test_what_a_listener_publishes_is_told_after_the_event_at_hand() -> None:
    bus, heard = EventBus(), list[str]()

    def answer(event: Arrived) -> None:
        bus.publish(Left(event.name))

    bus.listen(Arrived, answer)
    bus.listen(Arrived, lambda event: heard.append(f"arrived {event.name}"))
    bus.listen(Left, lambda event: heard.append(f"left {event.name}"))
    bus.publish(Arrived("a"))
    assert heard == ["arrived a", "left a"]


def test_listeners_that_answer_events_with_events_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MAX_NESTED", 5)
    bus, heard = EventBus(), list[str]()

    def multiply(event: Arrived) -> None:
        heard.append(event.name)
        if len(heard) < 20:
            bus.publish(Arrived("more"))
            bus.publish(Arrived("more"))

    bus.listen(Arrived, multiply)
    with capture_logs() as logs:
        bus.publish(Arrived("a"))
    assert 20 <= len(heard) <= 30
    assert [entry["event"] for entry in logs] == ["events are dropped: listeners answer events with events"]


def test_one_who_listens_no_more_hears_nothing() -> None:
    bus, heard = EventBus(), list[str]()
    stop = bus.listen(Arrived, lambda event: heard.append(event.name))
    assert bus.has_listeners(Arrived)
    stop()
    assert not bus.has_listeners(Arrived)
    bus.publish(Arrived("a"))
    assert heard == []


def test_listeners_are_bounded() -> None:
    bus = EventBus()
    for _ in range(MAX_LISTENERS):
        bus.listen(Arrived, lambda _: None)
    with pytest.raises(TooManyListenersError):
        bus.listen(Arrived, lambda _: None)
