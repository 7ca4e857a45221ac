"""Yamux: streams, windows, pings, and what a peer cannot do to us."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from network.ckb_wire.yamux import GoAwayCode, Session, Stream, YamuxError, YamuxFault, YamuxLimits
from network.ckb_wire.yamux.frames import (
    ACK,
    DATA,
    FIN,
    HEADER,
    HEADER_SIZE,
    INITIAL_WINDOW,
    MAX_DATA,
    MAX_WINDOW,
    RST,
    SYN,
    WINDOW_UPDATE,
    go_away,
    ping,
    window_update,
)

HALF = MAX_WINDOW // 2
OPENED = window_update(SYN, 1, MAX_WINDOW - INITIAL_WINDOW)
ACCEPTED = window_update(ACK, 1, MAX_WINDOW - INITIAL_WINDOW)


def data_frame(stream_id: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(DATA, flags, stream_id, len(body)) + body


class Sink:
    """A consumer that notes everything."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.ends: list[str] = []

    def data(self, data: bytes, start: int, end: int) -> int:
        assert 0 <= start < end <= len(data)
        self.got += data[start:end]
        return end

    def finished(self) -> None:
        self.ends.append("finished")

    def was_reset(self) -> None:
        self.ends.append("reset")


class Side:
    def __init__(self, *, is_dialer: bool, limits: YamuxLimits | None = None) -> None:
        self.accepted: list[tuple[Stream, Sink]] = []
        self.session = Session(is_dialer=is_dialer, accept=self._accept, limits=limits or YamuxLimits(), now=0.0)

    def _accept(self, stream: Stream) -> Sink:
        sink = Sink()
        self.accepted.append((stream, sink))
        return sink

    def open(self) -> tuple[Stream, Sink]:
        stream, sink = self.session.open(), Sink()
        stream.consumer = sink
        return stream, sink

    def send(self, stream: Stream, body: bytes) -> None:
        self.session.send(stream, b"", body, 0.0)

    def receive(self, *frames: bytes, now: float = 0.0) -> None:
        for one in frames:
            self.session.receive(one, now)

    def sent(self) -> bytes:
        return b"".join(self.session.data_to_send())


def accepter(limits: YamuxLimits | None = None) -> Side:
    return Side(is_dialer=False, limits=limits)


def opened(limits: YamuxLimits | None = None) -> tuple[Side, Stream, Sink]:
    """An accepter with a stream that the dialer has opened, without enlarging its window."""
    side = accepter(limits)
    side.receive(window_update(SYN, 1, 0))
    assert side.sent() == ACCEPTED
    ((stream, sink),) = side.accepted
    return side, stream, sink


def frames_of(data: bytes) -> list[tuple[int, int, int, int]]:
    """Kind, flags, stream and length of each frame."""
    frames, at = [], 0
    while at < len(data):
        kind, flags, stream_id, length = HEADER.unpack_from(data, at)
        frames.append((kind, flags, stream_id, length))
        at += HEADER_SIZE + (length if kind == DATA else 0)
    return frames


def fault_of(side: Side, *frames: bytes, now: float = 0.0) -> YamuxFault:
    with pytest.raises(YamuxError) as caught:
        side.receive(*frames, now=now)
    return caught.value.fault


# --- bytes as the reference writes them ---


def test_frames_as_in_the_reference() -> None:
    assert window_update(SYN, 1, MAX_WINDOW - INITIAL_WINDOW).hex() == "0001000100000001000c0000"
    assert window_update(ACK, 1, MAX_WINDOW - INITIAL_WINDOW).hex() == "0001000200000001000c0000"
    assert window_update(ACK | RST, 1, 0).hex() == "0001000a0000000100000000"
    assert ping(SYN, 1).hex() == "000200010000000000000001"
    assert go_away(GoAwayCode.PROTOCOL_ERROR).hex() == "000300000000000000000001"


def test_the_dialer_counts_odd_and_the_accepter_even() -> None:
    assert [Side(is_dialer=True).open()[0].id, accepter().open()[0].id] == [1, 2]
    side = Side(is_dialer=True)
    assert [side.open()[0].id for _ in range(3)] == [1, 3, 5]


def test_opening_and_sending_is_one_piece_of_bytes() -> None:
    side = Side(is_dialer=True)
    stream, _ = side.open()
    side.send(stream, b"hello")
    assert side.session.data_to_send() == [OPENED + data_frame(1, b"hello")]
    assert side.session.data_to_send() == []


# --- streams ---


def test_data_arrives_however_it_is_cut() -> None:
    frames = data_frame(1, b"first") + data_frame(1, b"") + data_frame(1, b"second", FIN)
    for step in range(1, len(frames) + 1):
        side, _, sink = opened()
        for at in range(0, len(frames), step):
            side.receive(frames[at : at + step])
        assert (bytes(sink.got), sink.ends) == (b"firstsecond", ["finished"])


def test_a_stream_may_be_opened_by_its_first_data() -> None:
    side = accepter()
    side.receive(data_frame(1, b"hello", SYN))
    ((_, sink),) = side.accepted
    assert sink.got == b"hello"
    assert side.sent() == ACCEPTED


def test_a_stream_that_the_peer_closes_is_closed_at_once() -> None:
    side, stream, sink = opened()
    side.send(stream, b"too late")
    side.receive(window_update(FIN, 1, 0), data_frame(1, b"more"), window_update(FIN, 1, 0))
    assert (sink.ends, bytes(sink.got)) == (["finished"], b"")
    assert side.sent() == window_update(FIN, 1, 0)
    assert side.session.queued_bytes == 0


def test_closing_sends_what_waits_and_passes_over_what_comes() -> None:
    side, stream, sink = opened()
    side.send(stream, b"last")
    side.session.close(stream)
    side.receive(data_frame(1, b"more"), window_update(FIN, 1, 0))
    assert side.sent() == data_frame(1, b"last") + window_update(FIN, 1, 0)
    assert (sink.ends, bytes(sink.got)) == ([], b"")


def test_closing_drops_what_no_window_allows() -> None:
    side, stream, _ = opened()
    side.send(stream, bytes(INITIAL_WINDOW + 5))
    side.session.close(stream)
    frames = frames_of(side.sent())
    assert sum(length for kind, _, _, length in frames if kind == DATA) == INITIAL_WINDOW
    assert frames[-1] == (WINDOW_UPDATE, FIN, 1, 0)
    assert side.session.queued_bytes == 0


def test_reset_by_the_peer() -> None:
    side, stream, sink = opened()
    side.send(stream, b"unsent")
    side.receive(window_update(RST, 1, 0), data_frame(1, b"more"))
    assert (sink.ends, bytes(sink.got), side.sent()) == (["reset"], b"", b"")


def test_an_id_may_come_again_when_its_stream_is_gone() -> None:
    side, _, _ = opened()
    side.receive(window_update(RST, 1, 0), OPENED, data_frame(1, b"again"))
    assert len(side.accepted) == 2
    assert side.accepted[1][1].got == b"again"


def test_a_consumer_may_close_its_stream_in_the_middle_of_a_frame() -> None:
    side, stream, sink = opened()
    side.receive(HEADER.pack(DATA, 0, 1, 10) + b"01234")
    side.session.close(stream)
    side.receive(b"56789" + window_update(0, 1, 1))
    assert sink.got == b"01234"


def test_our_ids_pass_over_those_that_the_peer_has_taken() -> None:
    side = accepter()
    side.receive(window_update(SYN, 2, 0))
    assert side.open()[0].id == 4


# --- windows ---


def test_no_more_is_sent_than_the_window_allows() -> None:
    side, stream, _ = opened()
    side.send(stream, bytes(INITIAL_WINDOW + 100))
    first = sum(length for kind, _, _, length in frames_of(side.sent()) if kind == DATA)
    assert (first, side.session.queued_bytes, side.sent()) == (INITIAL_WINDOW, 100, b"")
    side.receive(window_update(0, 1, 60))
    assert frames_of(side.sent()) == [(DATA, 0, 1, 60)]
    side.receive(window_update(0, 1, 1000))
    assert frames_of(side.sent()) == [(DATA, 0, 1, 40)]
    assert side.session.queued_bytes == 0


def test_what_is_sent_is_what_was_queued() -> None:
    side, stream, _ = opened()
    side.receive(window_update(0, 1, 10 * MAX_WINDOW))
    pieces = [bytes([number % 251]) * size for number, size in enumerate((1, 5000, 70_000, 3, 4096, 4095, 200_000, 7))]
    for piece in pieces:
        side.session.send(stream, piece[:1], piece[1:], 0.0)
    sink = Sink()
    other = Side(is_dialer=True)
    mine, _ = other.open()
    mine.consumer = sink
    other.receive(side.sent())
    assert bytes(sink.got) == b"".join(pieces)


def test_streams_take_turns() -> None:
    side = accepter()
    side.receive(OPENED, window_update(SYN, 3, 0))
    side.sent()
    for stream, _ in side.accepted:
        side.send(stream, bytes(200_000))
    order = [stream_id for _, _, stream_id, _ in frames_of(side.sent())]
    assert order[:4] == [1, 3, 1, 3]


def test_the_window_is_renewed_when_half_of_it_is_used_up() -> None:
    side, _, _ = opened()
    side.receive(*[data_frame(1, bytes(HALF // 4))] * 3)
    assert side.sent() == b""
    side.receive(data_frame(1, bytes(HALF // 4)))
    assert side.sent() == window_update(0, 1, HALF)


def test_more_than_the_window_ends_the_session() -> None:
    side, stream, _ = opened()
    side.session.hold(stream)
    side.receive(data_frame(1, bytes(MAX_WINDOW)))
    assert fault_of(side, data_frame(1, b"1")) is YamuxFault.WINDOW_EXCEEDED


def test_a_window_that_no_number_holds_ends_the_session() -> None:
    side, _, _ = opened()
    side.receive(window_update(0, 1, 0xFFFF_FFFF - INITIAL_WINDOW))
    assert fault_of(side, window_update(0, 1, 1)) is YamuxFault.WINDOW_OVERFLOW


def test_a_stream_on_hold_keeps_what_comes() -> None:
    side, stream, sink = opened()
    side.session.hold(stream)
    side.receive(*[data_frame(1, b"0123456789abcdef")] * 4, data_frame(1, b"", FIN), data_frame(1, b"after the end"))
    assert (bytes(sink.got), sink.ends, side.session.held_bytes) == (b"", [], 64)
    side.session.release(stream, 0.0)
    assert (bytes(sink.got), sink.ends, side.session.held_bytes) == (b"0123456789abcdef" * 4, ["finished"], 0)


def test_what_is_on_hold_renews_no_window() -> None:
    side, stream, _ = opened()
    side.session.hold(stream)
    side.receive(data_frame(1, bytes(MAX_WINDOW)))
    assert side.sent() == b""
    side.session.release(stream, 0.0)
    assert side.sent() == window_update(0, 1, MAX_WINDOW)


# --- pings and the end ---


def test_a_ping_is_answered() -> None:
    side = accepter()
    side.receive(ping(SYN, 77))
    assert side.sent() == ping(ACK, 77)


def test_pings_go_out_and_an_unanswered_one_ends_the_session() -> None:
    side = accepter()
    assert (side.session.advance(29.0), side.sent()) == (True, b"")
    assert (side.session.advance(30.0), side.sent()) == (True, ping(SYN, 1))
    assert (side.session.advance(60.0), side.sent()) == (True, ping(SYN, 2))
    assert not side.session.advance(90.0)


@pytest.mark.parametrize("answered", [1, 2])
def test_a_late_answer_to_a_ping_is_one(answered: int) -> None:
    side = accepter()
    side.session.advance(30.0)
    side.session.advance(60.0)
    side.receive(ping(ACK, answered))
    assert side.session.advance(90.0)


def test_an_answer_that_nobody_asked_for_is_none() -> None:
    side = accepter()
    side.session.advance(30.0)
    side.session.advance(60.0)
    side.receive(ping(ACK, 3), ping(0, 2))
    assert not side.session.advance(90.0)


def test_what_follows_go_away_is_not_looked_at() -> None:
    side, _, sink = opened()
    side.receive(go_away(GoAwayCode.INTERNAL_ERROR) + data_frame(1, b"more") + b"\xff" * 40)
    assert (side.session.remote_code, bytes(sink.got)) == (2, b"")


def test_go_away_comes_behind_what_waits() -> None:
    side, stream, _ = opened()
    side.send(stream, b"last words")
    side.session.go_away(GoAwayCode.NORMAL)
    side.receive(window_update(SYN, 3, 0))
    assert side.sent() == data_frame(1, b"last words") + go_away(GoAwayCode.NORMAL)


# --- hostile ---


@pytest.mark.parametrize("header", [b"\x01\x00", b"\x00\x04", b"\x00\xff", b"\xff\xff"])
def test_another_version_or_kind_ends_the_session(header: bytes) -> None:
    assert fault_of(accepter(), header + bytes(10)) is YamuxFault.BAD_HEADER


def test_a_data_frame_above_the_limit_ends_the_session_before_its_body() -> None:
    assert fault_of(accepter(), HEADER.pack(DATA, 0, 9, MAX_DATA + 1)) is YamuxFault.TOO_LARGE


def test_syn_for_a_live_stream_ends_the_session() -> None:
    side, _, _ = opened()
    assert fault_of(side, OPENED) is YamuxFault.LIVE_STREAM


def test_streams_beyond_the_limit_are_refused() -> None:
    side = accepter(YamuxLimits(max_streams=2))
    side.receive(*[window_update(SYN, stream_id, 0) for stream_id in (1, 3, 5)])
    assert side.sent().endswith(window_update(ACK | RST, 5, 0))
    assert len(side.accepted) == 2
    side.receive(data_frame(5, b"to nobody"), window_update(RST, 1, 0), window_update(SYN, 7, 0))
    assert len(side.accepted) == 3


def flood(side: Side, frames: Sequence[bytes], until: float = 0.0) -> int:
    """How many of these, again and again, a session takes."""
    faults: list[YamuxFault] = []
    taken = 0
    while not faults and taken < 100_000:
        try:
            side.session.receive(frames[taken % len(frames)], until)
            taken += 1
        except YamuxError as error:
            faults.append(error.fault)
    assert faults == [YamuxFault.FLOOD]
    return taken


@pytest.mark.parametrize(
    "frames",
    [
        [ping(SYN, 1)],
        [ping(ACK, 1)],
        [data_frame(1, b"")],
        [data_frame(99, b"")],
        [data_frame(1, b"1")],
        [window_update(0, 1, 0)],
        [window_update(0, 99, 5)],
        [window_update(FIN, 99, 5)],
        [window_update(RST, 99, 0)],
        [b"\0"],
        [b""],
    ],
)
def test_frames_that_carry_nothing_are_counted(frames: list[bytes]) -> None:
    side, _, _ = opened()
    limits = YamuxLimits()
    assert limits.burst - limits.syn_cost <= flood(side, frames) * 1.1 <= limits.burst * 1.3


def test_a_storm_of_resets_ends_soon() -> None:
    side = accepter()
    assert flood(side, [window_update(SYN, 1, 0), window_update(RST, 1, 0)]) < 300
    side = accepter()
    assert flood(side, [window_update(SYN | RST, 1, 0)]) < 150
    side = accepter()
    assert flood(side, [window_update(SYN | FIN, 1, 0)]) < 150
    assert len(side.sent()) < 150 * 2 * HEADER_SIZE


def test_what_is_rare_may_go_on_for_ever() -> None:
    side = accepter()
    for second in range(5000):
        side.receive(ping(SYN, second), window_update(SYN, 1, 0), window_update(RST, 1, 0), now=float(second))
        side.sent()


def test_traffic_pays_for_what_acknowledges_it() -> None:
    side, stream, _ = opened()
    for _ in range(5000):
        side.send(stream, bytes(4096))
        side.sent()
        side.receive(window_update(0, 1, 4096))


def test_a_message_of_one_byte_frames_costs_no_more_than_it_may() -> None:
    side, _, sink = opened()
    taken = flood(side, [data_frame(1, b"x")])
    assert len(sink.got) == taken


def test_what_a_held_stream_keeps_is_what_came() -> None:
    side, stream, _ = opened(YamuxLimits(burst=1 << 20))
    side.session.hold(stream)
    side.receive(*[data_frame(1, b"x")] * 10_000)
    assert len(stream.held) == 10_000
