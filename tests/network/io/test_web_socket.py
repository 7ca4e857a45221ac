"""The stream inside a WebSocket: read in turns, and no more of it than its owner wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from network.ckb_wire.websocket import WebSocketClient, WebSocketServer
from network.io.stream import Stream, receive_buffer
from network.io.web_socket import MAX_TURN, WebSocketLink
from network.transport import Receiver

SMALLEST = b"\x82\xa0" + bytes(4) + b"a secio frame of its least size!"
"""A masked message of as few bytes as an honest peer sends."""


class FakeStream(Stream):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__(receive_buffer(), lambda stream: stream.receiver)
        self.calls: list[str] = []

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        del data
        self.calls.append("write")

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")


class Owner(Receiver):
    def __init__(self) -> None:
        self.received = bytearray()
        self.ends = 0

    def receive(self, data: memoryview) -> None:
        self.received += data

    def end_of_stream(self) -> None:
        self.ends += 1

    def lost(self, reason: str) -> None:
        del reason


def open_link() -> tuple[WebSocketLink, FakeStream, Owner]:
    client, server = WebSocketClient("192.0.2.8:8115"), WebSocketServer()
    server.receive(client.data_to_send())
    server.data_to_send()
    stream, owner = FakeStream(), Owner()
    link = WebSocketLink(stream, server)
    link.receiver = owner
    return link, stream, owner


async def test_many_small_messages_come_in_turns_and_the_end_behind_them() -> None:
    link, stream, owner = open_link()
    count = 3000
    link.receive(memoryview(SMALLEST * count))
    link.end_of_stream()
    assert stream.calls == ["pause"]
    sizes = []
    while not owner.ends:
        sizes.append(len(owner.received) // 32)
        await asyncio.sleep(0)
    steps = [after - before for before, after in pairwise(sizes)]
    assert max(sizes[0], *steps) < 2 * MAX_TURN
    assert owner.received == SMALLEST[6:] * count
    assert stream.calls == ["pause"] * (len(stream.calls) - 1) + ["resume"]
    assert owner.ends == 1


async def test_what_waits_is_not_given_while_the_owner_pauses() -> None:
    link, stream, owner = open_link()
    link.receive(memoryview(SMALLEST * 1000))
    before = len(owner.received)
    link.pause_reading()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(owner.received) == before
    link.resume_reading()
    while "resume" not in stream.calls:  # noqa: ASYNC110 - of the link
        await asyncio.sleep(0)
    assert owner.received == SMALLEST[6:] * 1000


async def test_long_messages_are_read_at_once() -> None:
    link, stream, owner = open_link()
    size = 200_000
    link.receive(memoryview(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size)))
    assert owner.received == bytes(size)
    assert stream.calls == []


async def test_after_a_broken_frame_nothing_more_is_read() -> None:
    link, stream, owner = open_link()
    link.receive(memoryview(b"\xff" * 10_000 + SMALLEST))
    assert stream.calls[-1] == "close"
    assert not owner.received
