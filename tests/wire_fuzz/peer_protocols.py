"""Target for the protocols about peers: sessions that come and go, say good and bad things, and let time pass."""

from __future__ import annotations

from network.peer import Direction, Handler
from tests.support.network.peers import FULL_NODE, FakePeer
from tests.support.network.protocols import ProtocolNode, samples
from tests.wire_fuzz.cursor import Cursor

SAMPLES = samples()
NAMES = tuple(SAMPLES)
MAX_SESSIONS = 12
MAX_REPEAT = 40


def peer_protocols(data: bytes) -> None:
    """No call raises, and nothing is left when all sessions are closed."""
    cursor, node = Cursor(data), ProtocolNode()
    sessions: list[tuple[FakePeer, Handler]] = []
    while cursor:
        action = cursor.byte() % 8
        if action == 0 and len(sessions) < MAX_SESSIONS:
            sessions.append(_open(node, cursor))
        elif action == 1 and sessions:
            peer, handler = sessions.pop(cursor.byte() % len(sessions))
            handler.closed(peer)
        elif action == 2:
            node.scheduler.advance(cursor.number() / 16)
        elif sessions:
            peer, handler = cursor.choose(sessions)
            _speak(handler, peer, _message(handler, cursor), 1 + cursor.byte() % MAX_REPEAT)
    for peer, handler in sessions:
        handler.closed(peer)
    assert node.scheduler.waiting == 0


def _open(node: ProtocolNode, cursor: Cursor) -> tuple[FakePeer, Handler]:
    handler = node.handler_of(cursor.choose(NAMES))
    direction = cursor.choose(list(Direction))
    identity = FULL_NODE if cursor.byte() & 1 else None
    return FakePeer(cursor.byte() % 4, direction=direction, identity=identity).connect(handler), handler


def _message(handler: Handler, cursor: Cursor) -> bytes:
    """A good message of the protocol, changed at one place or not, or any bytes."""
    own = [name for name in NAMES if name.partition("/")[0] == handler.protocol.config_name]
    sample = SAMPLES[cursor.choose(own)]
    kind, at = cursor.byte() % 4, cursor.number() % (len(sample) + 1)
    if kind == 0:
        return sample
    if kind == 1:
        return sample[:at] + cursor.take(cursor.byte() % 16) + sample[at + cursor.byte() % 5 :]
    if kind == 2:
        return sample[:at] + bytes(byte ^ cursor.byte() for byte in sample[at : at + 2]) + sample[at + 2 :]
    return cursor.take(cursor.byte())


def _speak(handler: Handler, peer: FakePeer, message: bytes, times: int) -> None:
    for _ in range(times):
        if peer.has_ended or handler.protocol in peer.held:
            return
        handler.received(peer, message)
