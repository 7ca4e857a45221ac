"""Yamux's windows are widened in pieces. The library tells the peer of each read, which for a small message are three
frames, each as dear as the message."""

from __future__ import annotations

from typing import Any, Final

from libp2p.stream_muxer.yamux.yamux import YamuxStream

from network.limits import KIB

__all__ = ["tell_of_reads_in_pieces"]

PIECE: Final = 64 * KIB
"""Bytes that may be read before the peer hears of it: a quarter of the window that each stream begins with."""
_UNTOLD: Final = "bytes_untold"

_tell: Final = YamuxStream._auto_tune_and_send_window_update  # noqa: SLF001 - there is no other way in


def tell_of_reads_in_pieces() -> None:
    """For all streams of this process."""
    YamuxStream._auto_tune_and_send_window_update = _note  # noqa: SLF001 - as above


async def _note(stream: Any, *, bytes_read: int = 0) -> None:
    untold = getattr(stream, _UNTOLD, 0) + bytes_read
    is_told = not bytes_read or untold >= PIECE
    setattr(stream, _UNTOLD, 0 if is_told else untold)
    if is_told:
        await _tell(stream, bytes_read=untold)
