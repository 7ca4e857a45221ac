"""The whole connection over the real handshake: protocols open and messages arrive, also what a peer sends early."""

from __future__ import annotations

import pytest

from network.ckb_wire.connection import WireConnection
from network.ckb_wire.events import Established, Event, Opened, Received
from network.ckb_wire.secio import SecioHandshake, SecureChannel
from network.ckb_wire.secio.handshake import _Agreement
from network.limits import ALL_PROTOCOLS, IDENTIFY, SYNC
from network.peer import Direction
from tests.support.secio import identity, seeded_entropy, side

YAMUX_PING = bytes.fromhex("000200010000000000000007")
YAMUX_PONG = bytes.fromhex("000200020000000000000007")


class EarlyPing(SecioHandshake):
    """Sends a ping of yamux in the frame of the random bytes, before it knows that we read it."""

    def _seal_random(self, agreement: _Agreement, channel: SecureChannel) -> bytes:
        return channel.seal(agreement.remote_random + YAMUX_PING)


def connection(handshake: SecioHandshake, direction: Direction) -> WireConnection:
    return WireConnection(handshake, direction, ALL_PROTOCOLS, now=0)


def exchange(a: WireConnection, b: WireConnection, step: int) -> tuple[list[Event], list[Event]]:
    """Carries bytes both ways in pieces until none are left; gives the events of both."""
    events: dict[WireConnection, list[Event]] = {a: [], b: []}
    is_idle = False
    while not is_idle:
        is_idle = True
        for sender, receiver in ((a, b), (b, a)):
            data = memoryview(b"".join(sender.data_to_send()))
            for at in range(0, len(data), step):
                events[receiver] += receiver.receive(data[at : at + step], 0)
                is_idle = False
    return events[a], events[b]


@pytest.mark.parametrize("step", [1, 100, 1 << 20])
def test_messages_over_secio(step: int) -> None:
    a, b = connection(side(1), Direction.OUTBOUND), connection(side(2), Direction.INBOUND)
    events_a, events_b = exchange(a, b, step)
    assert events_a == [Established(identity(2).public_key)]
    assert events_b == [Established(identity(1).public_key)]
    for protocol in (IDENTIFY, SYNC):
        a.open(protocol, 0)
        events_a, events_b = exchange(a, b, step)
        assert events_a == [Opened(protocol, "3")]
        assert events_b == [Opened(protocol, "3")]
        for sender in (a, b):
            assert sender.send(protocol, b"message" * 200, 0)
        assert exchange(a, b, step) == ([Received(protocol, b"message" * 200)], [Received(protocol, b"message" * 200)])


def test_what_a_peer_sends_with_its_random_bytes_is_read() -> None:
    early = EarlyPing(identity(2), entropy=seeded_entropy(2))
    a = connection(side(1), Direction.OUTBOUND)
    early.receive(b"".join(a.data_to_send()))
    a.receive(memoryview(early.data_to_send()), 0)
    early.receive(b"".join(a.data_to_send()))
    assert a.receive(memoryview(early.data_to_send()), 0) == [Established(identity(2).public_key)]
    pong = b"".join(a.data_to_send())
    assert early.channel().open(pong[4:]) == YAMUX_PONG
