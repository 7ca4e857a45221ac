"""Targets for what turns bytes into values: any bytes give a value or the decoder's own error, however they are cut."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from consensus.codec.molecule import UnionKind
from consensus.codec.molecule.composites import Composite
from consensus.errors import MoleculeError
from network.ckb_wire.compression import BrokenCompression, compress, decompress
from network.ckb_wire.haproxy import HaproxyError, HaproxyHeader
from network.ckb_wire.messages import BrokenMessage, MessageReader
from network.ckb_wire.records import RecordReader
from network.ckb_wire.select import SelectError, SelectReader
from network.ckb_wire.sniff import SNIFF_SIZE, sniff
from network.ckb_wire.socks5 import Credentials, Socks5Client, Socks5Error
from network.ckb_wire.websocket import WebSocketClient, WebSocketError, WebSocketServer
from network.framing import FrameTooLarge
from network.limits import ALL_PROTOCOLS, MAX_UNCOMPRESSED
from network.messages import peers, protocols
from network.multiaddr import Multiaddr, MultiaddrError
from tests.wire_fuzz.cursor import Cursor, cut

SMALL_LIMIT = 5000


def same_however_cut(run: Callable[[list[bytes]], object], data: bytes, step: int) -> None:
    """What a decoder makes of a stream does not depend on how it arrives."""
    whole = run([data])
    pieces = run(cut(data, 1 + step % 40))
    assert whole == pieces, f"{whole!r} in one piece, {pieces!r} in pieces"


def snappy(data: bytes) -> None:
    try:
        payload = decompress(memoryview(data))
    except BrokenCompression:
        pass
    else:
        assert len(payload) <= min(MAX_UNCOMPRESSED, 22 * len(data))
    compressed = compress(data)
    if compressed is not None:
        assert decompress(compressed) == data


def records(data: bytes) -> None:
    def run(pieces: list[bytes]) -> object:
        reader, found = RecordReader(SMALL_LIMIT), list[object]()
        try:
            for piece in pieces:
                for record in reader.feed(memoryview(piece)):
                    found.append(bytes(record))
                assert reader.held_bytes <= SMALL_LIMIT + 4
        except FrameTooLarge as error:
            found.append(error.size)
        return found

    same_however_cut(run, data[1:], data[0] if data else 0)


def select(data: bytes) -> None:
    def run(pieces: list[bytes]) -> object:
        reader, at = SelectReader(), 0
        for piece in pieces:
            try:
                found = reader.feed(piece, 0, len(piece))
            except SelectError:
                return "broken"
            if found is not None:
                return found[0], at + found[1]
            at += len(piece)
        return None

    same_however_cut(run, data[1:], data[0] if data else 0)


def messages(data: bytes) -> None:
    cursor = Cursor(data)
    protocol, step = cursor.choose(ALL_PROTOCOLS), cursor.byte()

    def run(pieces: list[bytes]) -> object:
        found: list[object] = []
        reader = MessageReader(protocol, found.append)
        try:
            for piece in pieces:
                reader.feed(piece, 0, len(piece))
                assert reader.held_bytes <= len(data)
        except BrokenMessage as error:
            found.append(error.fault)
        return found

    same_however_cut(run, cursor.rest(), step)


def multiaddress(data: bytes) -> None:
    try:
        address = Multiaddr.from_bytes(data)
    except MultiaddrError:
        pass
    else:
        assert Multiaddr.from_bytes(address.to_bytes()) == address
        assert not data or Multiaddr.parse(str(address)) == address
    try:
        address = Multiaddr.parse(data.decode(errors="replace"))
    except MultiaddrError:
        return
    assert Multiaddr.from_bytes(address.to_bytes()) == address


TABLES: tuple[type[Composite], ...] = (
    peers.PingMessage,
    peers.DiscoveryMessage,
    peers.IdentifyMessage,
    peers.Identify,
    protocols.Time,
    protocols.Alert,
)
UNIONS: tuple[UnionKind, ...] = (
    peers.HOLE_PUNCHING_MESSAGE,
    protocols.SYNC_MESSAGE,
    protocols.RELAY_MESSAGE,
    protocols.BLOCK_FILTER_MESSAGE,
    protocols.LIGHT_CLIENT_MESSAGE,
)


def molecule(data: bytes) -> None:
    cursor = Cursor(data)
    number, compatible = cursor.byte() % (len(TABLES) + len(UNIONS)), bool(cursor.byte() & 1)
    body = cursor.rest()
    try:
        if number < len(TABLES):
            value = TABLES[number].parse(body, compatible=compatible)
        else:
            value = UNIONS[number - len(TABLES)].parse(body, compatible=compatible)
    except MoleculeError:
        return
    assert value.raw == (body if number < len(TABLES) else body[4:])
    repr(value)


def haproxy(data: bytes) -> None:
    def run(pieces: list[bytes]) -> object:
        header, used = HaproxyHeader(), 0
        for piece in pieces:
            try:
                header.receive(piece)
            except HaproxyError:
                return "broken"
            used += len(piece)
            if header.is_done:
                return header.source, used - len(header.rest())
        return None

    same_however_cut(run, data[1:], data[0] if data else 0)


HOSTS: tuple[str | ipaddress.IPv4Address | ipaddress.IPv6Address, ...] = (
    "example.org",
    ipaddress.IPv4Address("192.0.2.1"),
    ipaddress.IPv6Address("2001:db8::1"),
)


def socks5(data: bytes) -> None:
    cursor = Cursor(data)
    host = cursor.choose(HOSTS)
    credentials = cursor.choose([None, Credentials("user", "password")])
    step = cursor.byte()

    def run(pieces: list[bytes]) -> object:
        client, used = Socks5Client(host, 8115, credentials), 0
        for piece in pieces:
            client.data_to_send()
            try:
                client.receive(piece)
            except Socks5Error as error:
                return error.fault
            used += len(piece)
            if client.is_done:
                return used - len(client.rest())
        return None

    same_however_cut(run, cursor.rest(), step)


def websocket(data: bytes) -> None:
    cursor = Cursor(data)
    end: WebSocketServer | WebSocketClient = WebSocketServer() if cursor.byte() & 1 else WebSocketClient("127.0.0.1")
    step = cursor.byte()
    if isinstance(end, WebSocketServer) and cursor.byte() & 1:
        end.receive(UPGRADE)
    got = 0
    try:
        for piece in cut(cursor.rest(), step):
            got += len(end.receive(piece))
            end.data_to_send()
    except WebSocketError:
        pass
    end.data_to_send()
    assert got <= len(data)


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def sniffing(data: bytes) -> None:
    verdict = None
    for size in range(1, len(data) + 1):
        now = sniff(data[:size])
        assert verdict is None or now is verdict
        verdict = now
    assert verdict is not None or len(data) < SNIFF_SIZE
