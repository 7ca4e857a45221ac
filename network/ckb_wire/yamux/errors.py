"""What a peer can do wrong in yamux. Each ends the session."""

from __future__ import annotations

from enum import Enum


class YamuxFault(Enum):
    """The value is a label of metrics."""

    BAD_HEADER = "bad-header"
    """Another version or an unknown kind: the bytes are no frames."""
    TOO_LARGE = "too-large"
    """A data frame longer than any window."""
    LIVE_STREAM = "live-stream"
    """SYN for a stream that is open."""
    WINDOW_EXCEEDED = "window-exceeded"
    """More data than the stream's window allows."""
    WINDOW_OVERFLOW = "window-overflow"
    """Window updates that add up to more than u32 can hold."""
    FLOOD = "flood"
    """More frames that carry nothing than any use of streams needs."""


class YamuxError(Exception):
    """The peer broke the rules of yamux, and the session is over. `detail` is for people."""

    def __init__(self, fault: YamuxFault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault, self.detail = fault, detail
