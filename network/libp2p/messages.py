"""What the node and its libp2p process tell each other: one type a message, msgpack arrays behind a length. No I/O.

A frame is `conn: u32, size: u32, body`, big endian. `conn` numbers a connection of the libp2p process, from 1; 0 stands
for the process itself. A connection's frames go to its session as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct as Layout
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from network.limits import KIB

__all__ = [
    "CONTROL",
    "CREDIT",
    "MAX_BODY",
    "MAX_GOSSIP",
    "MAX_PIECE",
    "OF_CONNECTION",
    "OF_PROCESS",
    "SIZE_SIZE",
    "TO_CONNECTION",
    "TO_PROCESS",
    "VERSION",
    "Close",
    "Closed",
    "Connected",
    "Credit",
    "Data",
    "Demux",
    "Dial",
    "DialEnded",
    "Disconnect",
    "Disconnected",
    "Failed",
    "Gossip",
    "Hello",
    "Introduced",
    "IpcError",
    "OfConnection",
    "OfProcess",
    "Open",
    "Opened",
    "Publish",
    "Ready",
    "Refused",
    "Stats",
    "Stop",
    "ToConnection",
    "ToProcess",
    "Verdict",
    "decode",
    "encode",
    "frame",
    "is_last",
]

VERSION: Final = 1
"""Of these messages; both ends must have the same."""
CONTROL: Final = 0
"""In place of a connection: the process."""
MAX_PIECE: Final = 64 * KIB
"""Bytes of a stream in one message."""
CREDIT: Final = 256 * KIB
"""Bytes of a stream that may be under way between both processes, in each direction."""
MAX_GOSSIP: Final = 128 * KIB
"""Bytes of a message of a topic. What is longer goes by streams only."""
MAX_BODY: Final = MAX_GOSSIP + 4 * KIB
HEADER: Final = Layout(">II")
HEADER_SIZE: Final = HEADER.size
CONN_SIZE: Final = 4
SIZE_SIZE: Final = 4
"""Bytes of the size before a body in a record, see Demux."""
_TAG_AT: Final = SIZE_SIZE + 1
_LAST_TAG: Final = 36

Number = Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
Text = Annotated[str, Meta(max_length=1024)]
Piece = Annotated[bytes, Meta(max_length=MAX_PIECE)]
GossipData = Annotated[bytes, Meta(max_length=MAX_GOSSIP)]
TopicId = Annotated[int, Meta(ge=0, le=255)]
Size = Annotated[int, Meta(ge=1, le=1 << 30)]
ProtocolId = Annotated[int, Meta(ge=0, le=255)]


class Message(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message of either direction."""


# --- the node to the process ---


class Hello(Message, frozen=True, tag=1):
    """The first one. `secret`: the node's key, 32 bytes; `listen`: multiaddresses; `protocols`: id and name of those
    that are spoken; `topics`: the same of what is gossiped. `max_of_ip`: connections from one IP address."""

    version: int
    secret: bytes
    listen: list[str]
    protocols: list[tuple[int, str]]
    agent: str
    max_connections: int
    max_of_ip: int
    topics: list[tuple[int, str]] = []


class Dial(Message, frozen=True, tag=2):
    """Connect; DialEnded answers."""

    ticket: int
    address: str


class Stop(Message, frozen=True, tag=3):
    """End all connections, and the process."""


class Open(Message, frozen=True, tag=4):
    """Ask the peer for a protocol; Opened or Refused answers."""

    protocol: ProtocolId


class Data(Message, frozen=True, tag=5):
    """Bytes of a stream, in either direction; as many at most as the other end has given credit for."""

    stream: Number
    data: Piece


class Credit(Message, frozen=True, tag=6):
    """So many bytes of a stream have been used up, in either direction: as many may follow."""

    stream: Number
    size: Size


class Close(Message, frozen=True, tag=7):
    """Close a stream behind what was sent; Closed does not answer."""

    stream: Number


class Disconnect(Message, frozen=True, tag=8):
    """End a connection; Disconnected answers."""


class Publish(Message, frozen=True, tag=9):
    """Gossip something of this node's."""

    topic: TopicId
    data: GossipData


class Verdict(Message, frozen=True, tag=10):
    """Whether a Gossip is passed on."""

    number: Number
    is_good: bool


# --- the process to the node ---


class Ready(Message, frozen=True, tag=21):
    """It listens. `peer_id`: its own, binary."""

    version: int
    library: Text
    peer_id: bytes
    addresses: Annotated[list[Text], Meta(max_length=64)]


class Failed(Message, frozen=True, tag=22):
    """It cannot go on, and ends."""

    reason: Text


class DialEnded(Message, frozen=True, tag=23):
    """`reason`: why there is no connection, None when there is one."""

    ticket: int
    reason: Text | None


class Stats(Message, frozen=True, tag=24):
    """It is alive; told every second. `dropped`: connections and streams that its guards have ended."""

    memory: int
    connections: int
    handshakes: int
    dropped: int


class Gossip(Message, frozen=True, tag=25):
    """Something that a peer gossips: `conn` is a connection with it, 0 when there is none any more. Verdict answers."""

    number: Number
    topic: TopicId
    conn: int
    data: GossipData


class Connected(Message, frozen=True, tag=31):
    """A peer has proven its key: `peer_id` is binary, `address` without it."""

    peer_id: Annotated[bytes, Meta(max_length=128)]
    address: Text
    is_outbound: bool


class Introduced(Message, frozen=True, tag=32):
    """What libp2p's identify has told."""

    agent: Annotated[str, Meta(max_length=256)]
    protocols: Annotated[list[ProtocolId], Meta(max_length=64)]


class Opened(Message, frozen=True, tag=33):
    """A protocol is open on a new stream, by whichever side asked."""

    stream: Number
    protocol: ProtocolId


class Refused(Message, frozen=True, tag=34):
    """A protocol that was asked for does not open."""

    protocol: ProtocolId


class Closed(Message, frozen=True, tag=35):
    """A stream is gone, and not because it was closed here."""

    stream: Number
    is_reset: bool


class Disconnected(Message, frozen=True, tag=_LAST_TAG):
    """The connection is gone; its last message."""

    reason: Text


ToProcess = Hello | Dial | Stop | Publish | Verdict
OfProcess = Ready | Failed | DialEnded | Stats | Gossip
ToConnection = Open | Data | Credit | Close | Disconnect
OfConnection = Connected | Introduced | Opened | Refused | Data | Credit | Closed | Disconnected

T = TypeVar("T")
_ENCODER: Final = msgspec.msgpack.Encoder()
TO_PROCESS: Final = msgspec.msgpack.Decoder(ToProcess)
TO_CONNECTION: Final = msgspec.msgpack.Decoder(ToConnection)
OF_PROCESS: Final = msgspec.msgpack.Decoder(OfProcess)
OF_CONNECTION: Final = msgspec.msgpack.Decoder(OfConnection)


class IpcError(ValueError):
    """The other process says what it may not."""


def decode(decoder: msgspec.msgpack.Decoder[T], body: bytes | memoryview) -> T:
    """One of the decoders above on a body. Raises IpcError."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise IpcError(str(error)) from None


def encode(message: Message) -> bytes:
    """The body."""
    return _ENCODER.encode(message)


def frame(conn: int, body: bytes | bytearray) -> bytes:
    """A body as it goes to the other process."""
    return HEADER.pack(conn, len(body)) + body


def is_last(record: memoryview) -> bool:
    """Whether a record (size and body) is Disconnected: an array of two, the first of which is the tag."""
    return len(record) > _TAG_AT and record[_TAG_AT] == _LAST_TAG


class Demux:
    """Cuts the stream between both processes into frames."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        """Connections and what follows their numbers in frames that are complete now: size and body, to be used up at
        once. Raises IpcError."""
        if self._tail:
            data = self._tail + data
        view, at = memoryview(data), 0
        while len(data) - at >= HEADER_SIZE:
            conn, size = HEADER.unpack_from(data, at)
            if size > MAX_BODY:
                raise IpcError(f"a message of {size} bytes, of at most {MAX_BODY}")
            end = at + HEADER_SIZE + size
            if end > len(data):
                break
            yield conn, view[at + CONN_SIZE : end]
            at = end
        self._tail = data[at:]
