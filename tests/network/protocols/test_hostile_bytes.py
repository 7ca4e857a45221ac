"""Whatever comes, no handler raises: it would be taken for a fault of ours."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.peer import Direction
from tests.support.network.peers import FULL_NODE, FakePeer
from tests.support.network.protocols import ProtocolNode, samples

SAMPLES = samples()


def receive(node: ProtocolNode, name: str, payload: bytes, direction: Direction) -> None:
    """From a new session, twice."""
    handler = node.handler_of(name)
    peer = FakePeer(1, direction=direction, identity=FULL_NODE).connect(handler)
    for _ in range(2):
        handler.received(peer, payload)
    handler.closed(peer)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("name", list(SAMPLES))
def test_cut_off_at_each_byte(name: str, direction: Direction) -> None:
    node = ProtocolNode()
    for end in range(len(SAMPLES[name])):
        receive(node, name, SAMPLES[name][:end], direction)
    assert len(node.store) <= 4


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("name", list(SAMPLES))
def test_each_byte_changed(name: str, direction: Direction) -> None:
    node = ProtocolNode()
    for at in range(len(SAMPLES[name])):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(SAMPLES[name])
            changed[at] ^= change
            receive(node, name, bytes(changed), direction)


@pytest.mark.parametrize("fill", [bytes, lambda size: b"\xff" * size, lambda size: Random(1).randbytes(size)])
@pytest.mark.parametrize("name", list(SAMPLES))
def test_as_large_as_may_be(name: str, fill: Callable[[int], bytes]) -> None:
    node = ProtocolNode()
    protocol = node.handler_of(name).protocol
    receive(node, name, fill(protocol.max_frame - protocol.has_flag_byte), Direction.INBOUND)
    assert len(node.store) == 0


@given(st.sampled_from(list(SAMPLES)), st.data(), st.sampled_from(list(Direction)))
def test_pieces_moved_about(name: str, data: st.DataObject, direction: Direction) -> None:
    node, sample = ProtocolNode(), SAMPLES[name]
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, len(sample)))
    at = data.draw(st.integers(0, len(sample)))
    mixed = (
        sample[:at] + sample[start:end] * data.draw(st.integers(0, 4)) + data.draw(st.binary(max_size=8)) + sample[at:]
    )
    receive(node, name, mixed, direction)
