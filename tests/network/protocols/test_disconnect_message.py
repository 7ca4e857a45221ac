"""DisconnectMessage (protocol 4): the other end's last word."""

from __future__ import annotations

import pytest

from network.protocols.disconnect_message import MAX_SHOWN, DisconnectMessageProtocol
from tests.support.network.peers import FakePeer


def goodbye(payload: bytes) -> tuple[FakePeer, list[str]]:
    heard = list[str]()
    handler = DisconnectMessageProtocol(lambda _, text: heard.append(text))
    peer = FakePeer(1).connect(handler)
    assert peer.sent == []
    handler.received(peer, payload)
    handler.closed(peer)
    return peer, heard


def test_the_text_is_told_and_the_session_ends() -> None:
    peer, heard = goodbye(b"useless outbound peer in IBD")
    assert heard == ["useless outbound peer in IBD"]
    assert peer.disconnected == "the peer left: useless outbound peer in IBD"
    assert peer.banned is None


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"", ""),
        (b"\xff\xfeab", "\ufffd\ufffdab"),
        (b"two\nlines\x1b[31m", "two\ufffdlines\ufffd[31m"),
        (b"x" * 1024, "x" * MAX_SHOWN),
        ("schön".encode(), "schön"),
    ],
)
def test_what_cannot_be_shown_is_replaced(payload: bytes, shown: str) -> None:
    peer, heard = goodbye(payload)
    assert heard == [shown]
    assert peer.disconnected == f"the peer left: {shown}"
