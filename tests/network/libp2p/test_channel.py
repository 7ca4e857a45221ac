"""A connection of the libp2p process as a link of the peer layer."""

from __future__ import annotations

from collections.abc import Callable

from network.libp2p.channel import Channel
from network.libp2p.messages import Disconnect, encode


class Process:
    """Keeps what is sent, and calls when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.calls: list[Callable[[], None]] = []
        self.forgotten: list[int] = []

    def send(self, conn: int, body: bytes | bytearray) -> None:
        self.sent.append((conn, bytes(body)))

    def soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def forget(self, conn: int) -> None:
        self.forgotten.append(conn)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Receiver:
    def __init__(self) -> None:
        self.came = b""
        self.reasons: list[str] = []

    def receive(self, data: memoryview) -> None:
        self.came += data

    def end_of_stream(self) -> None:
        raise AssertionError("not told by a channel")

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


def opened() -> tuple[Channel, Process, Receiver]:
    process, receiver = Process(), Receiver()
    channel = Channel(5, process)
    channel.attach(receiver)
    return channel, process, receiver


def test_bytes_pass_in_both_directions() -> None:
    channel, process, receiver = opened()
    channel.receive(memoryview(b"in"))
    channel.write([b"out", bytearray(b"more")])
    assert receiver.came == b"in"
    assert process.sent == [(5, b"out"), (5, b"more")]


def test_what_comes_while_nothing_is_read_waits_in_order() -> None:
    channel, process, receiver = opened()
    channel.pause_reading()
    channel.receive(memoryview(b"first "))
    channel.resume_reading()
    channel.receive(memoryview(b"second"))
    assert receiver.came == b""
    process.turn()
    assert receiver.came == b"first second"
    channel.receive(memoryview(b" third"))
    assert receiver.came == b"first second third"


def test_a_pause_right_after_the_end_of_one() -> None:
    channel, process, receiver = opened()
    channel.pause_reading()
    channel.receive(memoryview(b"x"))
    channel.resume_reading()
    channel.pause_reading()
    process.turn()
    assert receiver.came == b""
    channel.resume_reading()
    process.turn()
    assert receiver.came == b"x"


def test_the_end_is_told_once_and_never_within_a_call() -> None:
    channel, process, receiver = opened()
    channel.ended("gone")
    channel.ended("again")
    channel.close()
    assert receiver.reasons == []
    process.turn()
    assert receiver.reasons == ["gone"]
    assert process.forgotten == [5]


def test_after_the_close_nothing_is_handed_on() -> None:
    channel, process, receiver = opened()
    channel.close()
    channel.receive(memoryview(b"late"))
    channel.ended("answered")
    process.turn()
    assert (receiver.came, receiver.reasons) == (b"", ["answered"])


def test_an_abort_tells_the_process() -> None:
    channel, process, receiver = opened()
    channel.abort()
    process.turn()
    assert process.sent == [(5, encode(Disconnect()))]
    assert receiver.reasons == ["cut"]
