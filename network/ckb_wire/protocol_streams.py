"""The protocols of one connection on their streams: asked for, answered, open, closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from network.ckb_wire.events import Event, Opened, ProtocolClosed, ProtocolFault, Received, Refusal, Refused
from network.ckb_wire.messages import BrokenMessage, MessageReader, message_frame
from network.ckb_wire.select import SelectError, Selection, SelectReader, common_version, select_frame
from network.ckb_wire.yamux import Session, Stream, StreamConsumer, YamuxLimits
from network.limits import MIB, VERSION, ProtocolSpec

__all__ = ["ProtocolStreams", "WrongAnswer"]


MAX_EVENTS: Final = 512
"""Of one turn; messages beyond wait, and widen no window."""
MAX_DELIVERED: Final = 4 * MIB
"""Bytes of messages after which a turn takes no other one: a compressed one may be 22 times what came of it."""
MAX_OPENINGS: Final = 4
"""How often the peer may open one protocol. The reference never reopens any; limits of a handler for what a peer may
ask begin anew with each."""


class WrongAnswer(Exception):  # noqa: N818 - the condition is its name, as in network.framing
    """The peer answered with another protocol than we asked for; `name` is the peer's text. The connection is over."""

    def __init__(self, asked: str, name: str) -> None:
        super().__init__(f"{name!r} as the answer to {asked}")
        self.asked, self.name = asked, name


class ProtocolStreams:
    """The protocols of a connection, on a yamux session. What happens is appended to `events`."""

    def __init__(
        self,
        protocols: Sequence[ProtocolSpec],
        events: list[Event],
        *,
        is_dialer: bool,
        select_timeout: float,
        limits: YamuxLimits,
        now: float,
    ) -> None:
        """`protocols` are those that the peer may open."""
        self._by_name: Final = {protocol.name: protocol for protocol in protocols}
        self._events: Final = events
        self._select_timeout: Final = select_timeout
        self._now = now
        self.session: Final = Session(is_dialer=is_dialer, accept=self._accept, limits=limits, now=now)
        self._selecting: Final = dict[int, _Asking | _Answering]()
        """By stream."""
        self._speaking: Final = dict[int, _Speaking]()
        """By protocol."""
        self._openings: Final = dict[int, int]()
        """How often the peer has opened each protocol."""
        self.max_events = MAX_EVENTS
        """Of one turn."""
        self.delivered = 0
        """Bytes of all messages that came."""
        self._delivered_before = 0
        """Up to this turn."""
        self.idle_since: float | None = now
        """Since when no protocol is open."""

    # --- what comes in ---

    def receive(self, data: bytes, now: float) -> None:
        """The session's next bytes. Raises YamuxError and WrongAnswer: the connection is over."""
        self._now = now
        self.session.receive(data, now)

    @property
    def is_behind(self) -> bool:
        """Messages wait until `proceed`, since there were too many for one turn."""
        return self.session.is_behind

    def proceed(self, now: float) -> None:
        """Read on where there were too many messages or frames. Raises as `receive`."""
        self._now = now
        self.session.proceed(now)

    @property
    def room(self) -> int:
        """Events that may be added in this turn. Small messages come by the hundred thousand in one frame, and each
        costs more time than all of its bytes."""
        if not self._events:
            self._delivered_before = self.delivered
        elif self.delivered - self._delivered_before >= MAX_DELIVERED:
            return 0
        return self.max_events - len(self._events)

    def _accept(self, stream: Stream) -> StreamConsumer:
        selecting = self._selecting[stream.id] = _Answering(self, stream, self._now + self._select_timeout)
        return selecting

    def answer(self, stream: Stream, selection: Selection) -> StreamConsumer | None:
        """Tell the opener of a stream what was picked. A protocol that runs already is agreed to and reset behind it,
        as the reference does. Gives what consumes the stream from now on."""
        del self._selecting[stream.id]
        protocol = self._by_name.get(selection.name)
        if protocol is not None and self._openings.get(protocol.id, 0) >= MAX_OPENINGS:
            protocol = None
        version = common_version((VERSION,), selection.versions) if protocol is not None else None
        self.session.send(stream, b"", select_frame(selection.name, [version] if version else []), self._now)
        if protocol is None or version is None or protocol.id in self._speaking:
            self.session.reset(stream)
            return None
        self._openings[protocol.id] = self._openings.get(protocol.id, 0) + 1
        return self._speak(protocol, version, stream)

    def answered(self, stream: Stream, asked: ProtocolSpec, selection: Selection) -> StreamConsumer | None:
        """The peer's answer. Gives what consumes the stream from now on."""
        if selection.name != asked.name and selection.versions:
            raise WrongAnswer(asked.name, selection.name)
        if VERSION not in selection.versions:
            self.refused(stream, asked, Refusal.UNSUPPORTED)
            return None
        del self._selecting[stream.id]
        if asked.id in self._speaking:
            self.session.reset(stream)
            return None
        return self._speak(asked, VERSION, stream)

    def refused(self, stream: Stream, asked: ProtocolSpec, refusal: Refusal) -> None:
        """A protocol that we asked for will not open."""
        del self._selecting[stream.id]
        self.session.reset(stream)
        self._events.append(Refused(asked, refusal))

    def given_up(self, stream: Stream) -> None:
        """The peer opened a stream and did not come to say what for, or said it wrongly."""
        del self._selecting[stream.id]
        self.session.reset(stream)

    def _speak(self, protocol: ProtocolSpec, version: str, stream: Stream) -> StreamConsumer:
        speaking = _Speaking(self, protocol, version, stream, self._deliver(protocol))
        self._speaking[protocol.id] = speaking
        self.idle_since = None
        stream.consumer = speaking
        self._events.append(Opened(protocol, version))
        return speaking

    def _deliver(self, protocol: ProtocolSpec) -> Callable[[bytes], None]:
        add = self._events.append

        def deliver(payload: bytes) -> None:
            self.delivered += len(payload)
            add(Received(protocol, payload))

        return deliver

    def ended(self, speaking: _Speaking, fault: ProtocolFault | None) -> None:
        """A protocol was closed by the peer, or for a fault of the peer's."""
        self.session.close(speaking.stream)
        self._remove(speaking)
        self._events.append(ProtocolClosed(speaking.protocol, fault))

    def _remove(self, speaking: _Speaking) -> None:
        del self._speaking[speaking.protocol.id]
        if not self._speaking:
            self.idle_since = self._now

    # --- what the owner does ---

    def open(self, protocol: ProtocolSpec, now: float) -> None:
        """Ask for a protocol, unless it is open or asked for."""
        if protocol.id in self._speaking or self._is_asked(protocol):
            return
        self._now = now
        stream = self.session.open()
        stream.consumer = self._selecting[stream.id] = _Asking(self, stream, protocol, now + self._select_timeout)
        self.session.send(stream, b"", select_frame(protocol.name, [VERSION]), now)

    def _is_asked(self, protocol: ProtocolSpec) -> bool:
        return any(type(one) is _Asking and one.protocol.id == protocol.id for one in self._selecting.values())

    def version_of(self, protocol: ProtocolSpec) -> str | None:
        """None when the protocol is not open."""
        speaking = self._speaking.get(protocol.id)
        return speaking.version if speaking is not None else None

    def send(self, protocol: ProtocolSpec, payload: bytes, now: float) -> bool:
        """Queue a message; False when the protocol is not open. Raises MessageTooLarge."""
        speaking = self._speaking.get(protocol.id)
        if speaking is None:
            return False
        prefix, body = message_frame(protocol, payload)
        self.session.send(speaking.stream, prefix, body, now)
        return True

    def close(self, protocol: ProtocolSpec, now: float) -> None:
        """Close a protocol, or stop to ask for it; there is no event of it."""
        self._now = now
        speaking = self._speaking.get(protocol.id)
        if speaking is not None:
            self.session.close(speaking.stream)
            self._remove(speaking)
        for one in list(self._selecting.values()):
            if type(one) is _Asking and one.protocol.id == protocol.id:
                self.given_up(one.stream)

    def hold(self, protocol: ProtocolSpec) -> None:
        """No messages of this protocol until `release`."""
        speaking = self._speaking.get(protocol.id)
        if speaking is not None:
            self.session.hold(speaking.stream)

    def release(self, protocol: ProtocolSpec, now: float) -> None:
        """Messages come again; first those that came meanwhile."""
        self._now = now
        speaking = self._speaking.get(protocol.id)
        if speaking is not None:
            self.session.release(speaking.stream, now)

    # --- time ---

    def advance(self, now: float) -> None:
        """Give up on streams whose protocol is not agreed upon in time."""
        self._now = now
        for one in list(self._selecting.values()):
            if one.deadline <= now:
                one.time_out()

    @property
    def select_deadline(self) -> float | None:
        """When `advance` has something to do."""
        if not self._selecting:
            return None
        return min(one.deadline for one in self._selecting.values())

    @property
    def held_bytes(self) -> int:
        """Bytes of messages that are unfinished or on hold."""
        session = self.session
        return (
            session.held_bytes + session.unread_bytes + sum([one.reader.held_bytes for one in self._speaking.values()])
        )


class _Answering:
    """A stream that the peer opened and has not said what for."""

    __slots__ = ("_owner", "_reader", "_stream", "deadline")

    def __init__(self, owner: ProtocolStreams, stream: Stream, deadline: float) -> None:
        self._owner, self._stream, self.deadline = owner, stream, deadline
        self._reader = SelectReader()

    def data(self, data: bytes, start: int, end: int) -> int:
        try:
            selected = self._reader.feed(data, start, end)
        except SelectError:
            self._owner.given_up(self._stream)
            return end
        if selected is not None:
            selection, at = selected
            consumer = self._owner.answer(self._stream, selection)
            if consumer is not None and at < end:
                return consumer.data(data, at, end)
        return end

    def finished(self) -> None:
        self._owner.given_up(self._stream)

    def was_reset(self) -> None:
        self._owner.given_up(self._stream)

    def time_out(self) -> None:
        self._owner.given_up(self._stream)


class _Asking:
    """A stream that we opened and whose answer has not come."""

    __slots__ = ("_owner", "_reader", "deadline", "protocol", "stream")

    def __init__(self, owner: ProtocolStreams, stream: Stream, protocol: ProtocolSpec, deadline: float) -> None:
        self._owner, self.stream, self.protocol, self.deadline = owner, stream, protocol, deadline
        self._reader = SelectReader()

    def data(self, data: bytes, start: int, end: int) -> int:
        try:
            selected = self._reader.feed(data, start, end)
        except SelectError:
            self._owner.refused(self.stream, self.protocol, Refusal.MALFORMED)
            return end
        if selected is not None:
            selection, at = selected
            consumer = self._owner.answered(self.stream, self.protocol, selection)
            if consumer is not None and at < end:
                return consumer.data(data, at, end)
        return end

    def finished(self) -> None:
        self._owner.refused(self.stream, self.protocol, Refusal.CLOSED)

    def was_reset(self) -> None:
        self._owner.refused(self.stream, self.protocol, Refusal.CLOSED)

    def time_out(self) -> None:
        self._owner.refused(self.stream, self.protocol, Refusal.TIMEOUT)


class _Speaking:
    """A stream on which a protocol is open."""

    __slots__ = ("_owner", "protocol", "reader", "stream", "version")

    def __init__(
        self,
        owner: ProtocolStreams,
        protocol: ProtocolSpec,
        version: str,
        stream: Stream,
        deliver: Callable[[bytes], None],
    ) -> None:
        self._owner, self.protocol, self.version, self.stream = owner, protocol, version, stream
        self.reader = MessageReader(protocol, deliver)

    def data(self, data: bytes, start: int, end: int) -> int:
        room = self._owner.room
        if room <= 0:
            return start
        try:
            return self.reader.feed(data, start, end, room)
        except BrokenMessage as error:
            self._owner.ended(self, error.fault)
            return end

    def finished(self) -> None:
        self._owner.ended(self, ProtocolFault.CUT if self.reader.is_inside else None)

    def was_reset(self) -> None:
        self._owner.ended(self, ProtocolFault.RESET)
