"""A yamux session: streams inside one connection. Bytes in, calls of each stream's consumer and bytes out.

Unlike the reference's, a stream is gone as soon as one side closes it: what half a stream would be for does not occur
on this wire, and nobody can hold one for ever. What comes for streams that are gone is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from network.ckb_wire.budget import FrameBudget
from network.ckb_wire.yamux.errors import YamuxError, YamuxFault
from network.ckb_wire.yamux.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    HEADER_SIZE,
    INITIAL_WINDOW,
    MAX_DATA,
    MAX_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    GoAwayCode,
    go_away,
    ping,
    window_update,
)
from network.ckb_wire.yamux.stream import Buffer, Stream, StreamConsumer

__all__ = ["Session", "YamuxLimits"]

SEND_CHUNK: Final = 64 << 10
"""Bytes of a data frame, and about those of a record: larger ones cost the same per byte, and hold up other streams."""
UNCOPIED: Final = 32 << 10
"""From this size on a piece of a message is sealed where it lies, in a frame of its own."""
MIN_DATA: Final = 12
"""A data frame with less is charged like one without; the smallest message of any protocol is longer."""
MAX_FRAMES: Final = 1024
"""Frames that are read in one turn: a sealed frame of secio may hold 350,000, which take a second."""
UPDATE_AFTER: Final = MAX_WINDOW // 2
MAX_SEND_WINDOW: Final = 0xFFFF_FFFF
MAX_STREAM_ID: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class YamuxLimits:
    """Numbers of a session; times in seconds. `keepalive` and `max_streams` are the reference's."""

    max_streams: int = 12
    """SYNs beyond are refused; streams of both directions count."""
    keepalive: float = 30
    """Between pings. One unanswered for longer ends the session at the ping after."""
    send_stall: float = 120
    """For how long a peer may leave what we have for it unread."""
    burst: int = 2048
    """Frames that carry nothing, at once, …"""
    per_second: float = 100
    """… for ever, and one more for each KiB of traffic."""
    syn_cost: int = 16
    """Such frames that opening a stream counts for."""


class Gathered:
    """Joins short pieces and leaves long ones alone: to copy those costs more than to seal a frame more."""

    __slots__ = ("_pieces", "_short", "_size")

    def __init__(self) -> None:
        self._pieces = list[Buffer]()
        self._short = list[Buffer]()
        self._size = 0

    def add(self, pieces: list[Buffer]) -> None:
        """In order."""
        for piece in pieces:
            size = len(piece)
            if size >= UNCOPIED:
                self._join()
                self._pieces.append(piece)
            else:
                self._short.append(piece)
                self._size += size
        if self._size >= SEND_CHUNK:
            self._join()

    def finish(self) -> list[Buffer]:
        """All of them."""
        self._join()
        return self._pieces

    def _join(self) -> None:
        if self._short:
            self._pieces.append(b"".join(self._short))
            self._short.clear()
            self._size = 0


class Session:
    """One side of a session. `receive` raises YamuxError, after which only `go_away` may follow."""

    __slots__ = (
        "_accept",
        "_behind",
        "_body_finishes",
        "_body_left",
        "_body_stream",
        "_budget",
        "_control",
        "_limits",
        "_next_id",
        "_next_ping",
        "_now",
        "_ping_sent",
        "_ping_value",
        "_ready",
        "_rest",
        "_streams",
        "_unread",
        "_unread_at",
        "frames_read",
        "held_bytes",
        "is_closing",
        "queued_bytes",
        "remote_code",
    )

    def __init__(
        self, *, is_dialer: bool, accept: Callable[[Stream], StreamConsumer], limits: YamuxLimits, now: float
    ) -> None:
        """`accept` is called with each stream that the peer opens and gives its consumer."""
        self._accept: Final = accept
        self._limits: Final = limits
        self._now = now
        self._budget: Final = FrameBudget(limits.burst, limits.per_second, now)
        self._streams: Final = dict[int, Stream]()
        self._next_id = 1 if is_dialer else 2
        self._control = list[Buffer]()
        """Whole frames that go out first, in order."""
        self._ready: Final = dict[int, Stream]()
        """Streams with something to send and a window for it."""
        self._behind: Final = dict[int, Stream]()
        """Streams whose consumer had enough for one turn."""
        self.queued_bytes = 0
        """Bytes that wait in streams."""
        self.held_bytes = 0
        """Bytes that are kept for streams on hold."""
        self._unread: Final = deque[bytes]()
        """What came and waits for another turn, the first piece from `_unread_at` on."""
        self._unread_at = 0
        self.frames_read = 0
        self._rest = b""
        """The beginning of a header."""
        self._body_left = 0
        self._body_stream: Stream | None = None
        self._body_finishes = False
        self._next_ping = now + limits.keepalive
        self._ping_value = 0
        self._ping_sent: float | None = None
        """When the oldest ping without an answer went out."""
        self.is_closing = False
        """GoAway is on its way: nothing more is opened or sent."""
        self.remote_code: int | None = None
        """The code of the peer's GoAway: the session has ended, and what follows is not looked at."""

    # --- what comes in ---

    def receive(self, data: bytes, now: float) -> None:
        """The next bytes from the peer. YamuxError when it breaks the rules. What many small frames have not had their
        turn in is kept for `proceed`."""
        if self.remote_code is not None:
            return
        self._now = now
        self._budget.add_traffic(len(data))
        if len(data) < HEADER_SIZE:
            self._spend(1)
        if self._unread:
            self._unread.append(data)
        else:
            self._read(data, 0, MAX_FRAMES)

    def _read_on(self) -> None:
        """Another turn of what came."""
        end = self.frames_read + MAX_FRAMES
        while self._unread and self.frames_read < end:
            at, self._unread_at = self._unread_at, 0
            self._read(self._unread.popleft(), at, end - self.frames_read)

    def _read(self, data: bytes, at: int, most: int) -> None:
        """At most so many frames; the rest is the first of what waits."""
        if self._rest:
            data, at = self._rest + data, 0
            self._rest = b""
        end = len(data)
        if self._body_left:
            at = self._body(data, at, end)
        last = self.frames_read + most
        while end - at >= HEADER_SIZE:
            if self.frames_read >= last:
                self._unread.appendleft(data)
                self._unread_at = at
                return
            self.frames_read += 1
            kind, flags, stream_id, length = HEADER.unpack_from(data, at)
            at += HEADER_SIZE
            if kind == DATA:
                self._begin_data(flags, stream_id, length)
                at = self._body(data, at, end)
            elif kind == WINDOW_UPDATE:
                self._window_update(flags, stream_id, length)
            elif kind == PING:
                self._ping(flags, length)
            elif kind == GO_AWAY:
                self.remote_code = length
                self._unread.clear()
                return
            else:
                raise YamuxError(YamuxFault.BAD_HEADER, f"version and kind {kind:#06x}")
        self._rest = data[at:]

    def _begin_data(self, flags: int, stream_id: int, length: int) -> None:
        if length > MAX_DATA:
            raise YamuxError(YamuxFault.TOO_LARGE, f"a data frame of {length} bytes")
        if flags & SYN:
            self._accepted(stream_id)
        elif length < MIN_DATA:
            self._spend(1)
        stream = self._streams.get(stream_id)
        if stream is not None and flags & RST:
            self._was_reset(stream)
            stream = None
        if stream is not None:
            if length > stream.receive_window:
                detail = f"{length} bytes, of at most {stream.receive_window}"
                raise YamuxError(YamuxFault.WINDOW_EXCEEDED, detail)
            stream.receive_window -= length
        self._body_left, self._body_stream, self._body_finishes = length, stream, bool(flags & FIN)

    def _body(self, data: bytes, at: int, end: int) -> int:
        """Hands on what is there of a data frame's body; gives where it ends."""
        stop = min(at + self._body_left, end)
        self._body_left -= stop - at
        stream = self._body_stream
        if stream is None:
            return stop
        if stop > at:
            self._hand_on(stream, data, at, stop)
        if not self._body_left:
            self._body_stream = None
            if self._body_finishes:
                self._finished(stream)
        return stop

    def _hand_on(self, stream: Stream, data: bytes, at: int, stop: int) -> None:
        if stream.is_held or stream.held:
            if not stream.is_finished:
                stream.held += memoryview(data)[at:stop]
                self.held_bytes += stop - at
        elif stream.is_open:
            used = stream.consumer.data(data, at, stop)
            self._consumed(stream, used - at)
            if used < stop and stream.is_open:
                stream.held += memoryview(data)[used:stop]
                self.held_bytes += stop - used
                self._behind[stream.id] = stream

    def _hand_on_held(self, stream: Stream) -> None:
        held, stream.held = bytes(stream.held), bytearray()
        self.held_bytes -= len(held)
        if held:
            self._hand_on(stream, held, 0, len(held))
        if stream.is_finished and not stream.held:
            self._finished(stream)

    def _consumed(self, stream: Stream, size: int) -> None:
        stream.consumed += size
        if stream.consumed >= UPDATE_AFTER and stream.is_open:
            self._control.append(window_update(0, stream.id, stream.consumed))
            stream.receive_window += stream.consumed
            stream.consumed = 0

    def _window_update(self, flags: int, stream_id: int, delta: int) -> None:
        if flags & SYN:
            self._accepted(stream_id)
        else:
            self._spend(1)
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if flags & RST:
            self._was_reset(stream)
            return
        if delta:
            stream.send_window += delta
            if stream.send_window > MAX_SEND_WINDOW:
                raise YamuxError(YamuxFault.WINDOW_OVERFLOW, f"an update by {delta} bytes")
            if stream.queued:
                self._ready[stream.id] = stream
                stream.waiting_since = self._now
        if flags & FIN:
            self._finished(stream)

    def _accepted(self, stream_id: int) -> None:
        self._spend(self._limits.syn_cost)
        if stream_id in self._streams:
            raise YamuxError(YamuxFault.LIVE_STREAM, f"SYN for stream {stream_id}")
        if self.is_closing:
            return
        if len(self._streams) >= self._limits.max_streams:
            self._control.append(window_update(ACK | RST, stream_id, 0))
            return
        stream = self._new_stream(stream_id, ACK)
        stream.consumer = self._accept(stream)

    def _new_stream(self, stream_id: int, flag: int) -> Stream:
        stream = self._streams[stream_id] = Stream(stream_id, MAX_WINDOW)
        self._control.append(window_update(flag, stream_id, MAX_WINDOW - INITIAL_WINDOW))
        return stream

    def _finished(self, stream: Stream) -> None:
        if not stream.is_open:
            return
        if stream.is_held or stream.held:
            stream.is_finished = True
            return
        self._control.append(window_update(FIN, stream.id, 0))
        self._forget(stream)
        stream.consumer.finished()

    def _was_reset(self, stream: Stream) -> None:
        self._forget(stream)
        stream.consumer.was_reset()

    def _forget(self, stream: Stream) -> None:
        self.queued_bytes -= stream.queued
        self.held_bytes -= len(stream.held)
        stream.clear()
        self._streams.pop(stream.id, None)
        self._ready.pop(stream.id, None)

    def _ping(self, flags: int, value: int) -> None:
        self._spend(1)
        if flags & SYN:
            self._control.append(ping(ACK, value))
        elif flags & ACK and self._ping_sent is not None:
            if value == self._ping_value:
                self._ping_sent = None
            elif value == self._ping_value - 1:
                self._ping_sent = self._next_ping - self._limits.keepalive

    def _spend(self, cost: int) -> None:
        if not self._budget.spend(cost, self._now):
            raise YamuxError(YamuxFault.FLOOD, "too many frames that carry nothing")

    # --- what the owner does ---

    def open(self) -> Stream:
        """A new stream; the caller sets its consumer at once. The limit of streams is the other side's to keep."""
        while self._next_id in self._streams:
            self._next_id += 2
        if self._next_id > MAX_STREAM_ID:
            raise OverflowError("all ids of streams are used up")
        stream = self._new_stream(self._next_id, SYN)
        self._next_id += 2
        return stream

    def send(self, stream: Stream, prefix: bytes, body: bytes, now: float) -> None:
        """Queue bytes for a stream that is open; `body` must not change any more."""
        if not stream.queued:
            stream.waiting_since = now
        stream.queue(prefix, body)
        self.queued_bytes += len(prefix) + len(body)
        if stream.send_window:
            self._ready[stream.id] = stream

    def close(self, stream: Stream) -> None:
        """Send what the window allows, and close; the rest is dropped, and what the peer sends is passed over."""
        if stream.is_open:
            self._flush(stream)
            self._control.append(window_update(FIN, stream.id, 0))
            self._forget(stream)

    def reset(self, stream: Stream) -> None:
        """Send what the window allows, and be done with the stream."""
        if stream.is_open:
            self._flush(stream)
            self._control.append(window_update(RST, stream.id, 0))
            self._forget(stream)

    def hold(self, stream: Stream) -> None:
        """What comes is kept until `release`, up to what the window allows."""
        stream.is_held = True

    def release(self, stream: Stream, now: float) -> None:
        """Hand on what was kept, and what comes."""
        if not stream.is_held:
            return
        self._now = now
        stream.is_held = False
        self._hand_on_held(stream)

    @property
    def is_behind(self) -> bool:
        """Consumers had enough and more is there for them, or there were many frames."""
        return bool(self._behind or self._unread)

    def proceed(self, now: float) -> None:
        """Hand on what consumers had no more room for, then read on. YamuxError, as by `receive`."""
        self._now = now
        behind = list(self._behind.values())
        self._behind.clear()
        for stream in behind:
            if stream.is_open and not stream.is_held:
                self._hand_on_held(stream)
        self._read_on()

    def go_away(self, code: GoAwayCode) -> None:
        """The last frame, behind what the windows allow. All streams are gone."""
        if self.is_closing:
            return
        self.is_closing = True
        for stream in list(self._streams.values()):
            if code == GoAwayCode.NORMAL:
                self._flush(stream)
            self._forget(stream)
        self._control.append(go_away(code))

    def _flush(self, stream: Stream) -> None:
        while stream.queued and stream.send_window:
            self._control += self._next_frame(stream)

    # --- what goes out ---

    def data_to_send(self) -> list[Buffer]:
        """What is to be sent: frames of control first, then one chunk of each stream in turn, as far as windows allow.
        It comes in pieces for secio to seal: short ones joined, long ones as views of what was given to `send`."""
        gathered = Gathered()
        control, self._control = self._control, []
        gathered.add(control)
        ready = self._ready
        while ready:
            for stream in list(ready.values()):
                gathered.add(self._next_frame(stream))
                if not (stream.queued and stream.send_window):
                    del ready[stream.id]
        pieces = gathered.finish()
        self._budget.add_traffic(sum(map(len, pieces)))
        return pieces

    def _next_frame(self, stream: Stream) -> list[Buffer]:
        size, pieces = stream.take(SEND_CHUNK)
        self.queued_bytes -= size
        pieces.insert(0, HEADER.pack(DATA, 0, stream.id, size))
        return pieces

    # --- time ---

    def advance(self, now: float) -> bool:
        """Pings when it is time; False when the peer no longer answers them."""
        if now < self._next_ping or self.is_closing:
            return True
        if self._ping_sent is not None and now - self._ping_sent > self._limits.keepalive:
            return False
        self._ping_value = (self._ping_value + 1) & 0xFFFF_FFFF
        self._control.append(ping(SYN, self._ping_value))
        if self._ping_sent is None:
            self._ping_sent = now
        self._next_ping = now + self._limits.keepalive
        return True

    @property
    def next_ping(self) -> float:
        """When `advance` has something to do."""
        return self._next_ping

    @property
    def stall_deadline(self) -> float | None:
        """When the peer will have left something unread for too long."""
        if not self.queued_bytes:
            return None
        waiting = [stream.waiting_since for stream in self._streams.values() if stream.waiting_since is not None]
        return min(waiting) + self._limits.send_stall if waiting else None

    @property
    def unread_bytes(self) -> int:
        """Bytes that wait for another turn."""
        return sum(map(len, self._unread)) - self._unread_at
