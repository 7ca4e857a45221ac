"""DisconnectMessage (protocol 4): why a peer leaves us, in its own words.

The text arrives now and then only: the sender closes the connection right behind it. Our own goodbyes are sent by
`Peer.disconnect` and `Peer.ban`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from network.limits import DISCONNECT_MESSAGE, ProtocolSpec
from network.peer import Peer

__all__ = ["MAX_SHOWN", "DisconnectMessageProtocol", "readable"]

MAX_SHOWN: Final = 200
"""Characters of a peer's text that are kept."""


class DisconnectMessageProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(self, on_goodbye: Callable[[Peer, str], None]) -> None:
        """`on_goodbye` hears who leaves and why: for the log and for metrics."""
        self._on_goodbye: Final = on_goodbye

    @property
    def protocol(self) -> ProtocolSpec:
        return DISCONNECT_MESSAGE

    def opened(self, peer: Peer) -> None:
        """Nothing is sent before the end."""

    def received(self, peer: Peer, payload: bytes) -> None:
        text = readable(payload)
        self._on_goodbye(peer, text)
        peer.disconnect(f"the peer left: {text}")

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""


def readable(payload: bytes) -> str:
    """A peer's text on one line: what is no UTF-8 or cannot be printed is replaced, and the rest is cut off."""
    text = payload[: 4 * MAX_SHOWN].decode(errors="replace")[:MAX_SHOWN]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
