"""What both processes tell each other: what goes in comes out, and nothing else does."""

from __future__ import annotations

import pytest

from network.libp2p import messages as ipc
from network.libp2p.messages import MAX_BODY, MAX_GOSSIP, MAX_PIECE, Demux, IpcError

OF_CONNECTION = [
    ipc.Connected(b"\0\x24", "/ip4/127.0.0.1/tcp/1", True),
    ipc.Introduced("agent", [100, 101]),
    ipc.Opened(1, 100),
    ipc.Refused(101),
    ipc.Data(1, bytes(MAX_PIECE)),
    ipc.Credit(1, 5),
    ipc.Closed(1, False),
    ipc.Disconnected("gone"),
]
TO_CONNECTION = [ipc.Open(100), ipc.Data(7, b"x"), ipc.Credit(7, 1), ipc.Close(7), ipc.Disconnect()]
OF_PROCESS = [
    ipc.Ready(1, "lib", b"id", ["/ip4/1.2.3.4/tcp/1"]),
    ipc.Failed("x"),
    ipc.DialEnded(1, None),
    ipc.Stats(1, 2, 3, 4),
    ipc.Gossip(1, 0, 0, bytes(MAX_GOSSIP)),
]
TO_PROCESS = [
    ipc.Hello(1, bytes(32), [], [(100, "/x")], "a", 1, 1),
    ipc.Dial(1, "/x"),
    ipc.Stop(),
    ipc.Publish(0, b"x"),
    ipc.Verdict(1, True),
]


@pytest.mark.parametrize(
    ("decoder", "messages"),
    [
        (ipc.OF_CONNECTION, OF_CONNECTION),
        (ipc.TO_CONNECTION, TO_CONNECTION),
        (ipc.OF_PROCESS, OF_PROCESS),
        (ipc.TO_PROCESS, TO_PROCESS),
    ],
)
def test_each_message_is_read_as_it_was_written(decoder: object, messages: list[ipc.Message]) -> None:
    for message in messages:
        assert ipc.decode(decoder, ipc.encode(message)) == message  # type: ignore[arg-type]


def test_the_last_message_is_known_without_reading_it() -> None:
    records = [memoryview(ipc.frame(3, ipc.encode(message)))[ipc.CONN_SIZE :] for message in OF_CONNECTION]
    assert [ipc.is_last(record) for record in records] == [False] * (len(records) - 1) + [True]


@pytest.mark.parametrize(
    "message",
    [
        ipc.Data(1, bytes(MAX_PIECE + 1)),
        ipc.Data(0, b""),
        ipc.Connected(bytes(129), "", True),
        ipc.Disconnected("x" * 1025),
    ],
)
def test_what_is_too_large_is_refused(message: ipc.Message) -> None:
    with pytest.raises(IpcError):
        ipc.decode(ipc.OF_CONNECTION, ipc.encode(message))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91\x63", b"\x92\x24\x01", ipc.encode(ipc.Stop())])
def test_what_is_no_message_of_a_connection(body: bytes) -> None:
    with pytest.raises(IpcError):
        ipc.decode(ipc.OF_CONNECTION, body)


@pytest.mark.parametrize("step", [1, 3, 8, 1000, 1 << 20])
def test_frames_come_whole_however_they_were_cut(step: int) -> None:
    bodies = [b"", b"a", bytes(3000), b"end"]
    data = b"".join(ipc.frame(conn, body) for conn, body in enumerate(bodies))
    demux, found = Demux(), []
    for at in range(0, len(data), step):
        found += [(conn, bytes(record[ipc.SIZE_SIZE :])) for conn, record in demux.feed(data[at : at + step])]
    assert found == list(enumerate(bodies))


def test_a_frame_that_would_be_too_large_is_refused_by_its_head() -> None:
    with pytest.raises(IpcError):
        list(Demux().feed(ipc.HEADER.pack(1, MAX_BODY + 1)))
