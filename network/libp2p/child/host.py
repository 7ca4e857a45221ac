"""The host of libp2p, with what must be set so that nobody ends it or fills it: see docs/LIBP2P.md."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.identity.identify_push.identify_push import ID_PUSH as IDENTIFY_PUSH
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux import yamux
from multiaddr import Multiaddr

from network.libp2p.child import identify
from network.libp2p.child.windows import tell_of_reads_in_pieces
from network.libp2p.messages import Hello
from network.limits import MIB

MAX_WINDOW: Final = MIB
"""Bytes that a peer may send on a stream before it is read; the library's own limit is 16 MiB."""
MAX_STREAMS: Final = 48
"""Of one connection."""
MAX_BUFFERED: Final = 8 * MIB
"""Bytes of one connection's streams that nobody has read: who sends more does not heed its windows."""
MAX_HANDSHAKES: Final = 64
MAX_HANDSHAKES_OF_IP: Final = 8
HANDSHAKE_TIMEOUT: Final = 8.0
DIAL_TIMEOUT: Final = 10.0
NEGOTIATE_TIMEOUT: Final = 10
_IPV6_HOST_BITS: Final = 64

StreamHandler = Callable[[Any], Awaitable[None]]


def make_host(hello: Hello) -> Any:
    """Not running yet. Only Noise and Yamux: by default the library takes plaintext, too."""
    yamux.MAX_WINDOW_SIZE = MAX_WINDOW
    tell_of_reads_in_pieces()
    identify.install(hello.agent)
    key = create_new_key_pair(hello.secret)
    noise = NoiseTransport(key, noise_privkey=create_noise_key().private_key)
    host = new_host(
        key_pair=key,
        sec_opt={NOISE: noise},
        muxer_opt={yamux.PROTOCOL_ID: yamux.Yamux},
        negotiate_timeout=NEGOTIATE_TIMEOUT,
        disable_identify_address_discovery=True,
        connection_config=ConnectionConfig(
            max_connections=2 * hello.max_connections,
            high_watermark=2 * hello.max_connections,
            low_watermark=0,  # the node says who is dialled
            min_connections=0,
            dial_timeout=DIAL_TIMEOUT,
            inbound_upgrade_timeout=HANDSHAKE_TIMEOUT,
            outbound_upgrade_timeout=HANDSHAKE_TIMEOUT,
        ),
    )
    host.remove_stream_handler(IDENTIFY_PUSH)  # of any size, at any time, and of no use here
    network = host.get_network()
    network.set_resource_manager(None)  # its places are never given back by connections that end early
    network.retry_config = RetryConfig(max_retries=0)
    network.auto_connector.record_disconnect = _forget
    network.set_stream_handler(guarded(host._swarm_stream_handler))  # noqa: SLF001 - there is no other way in
    return host


def _forget(_peer: Any) -> None:
    """The library's own would keep each peer for ever."""


def guarded(handler: StreamHandler) -> StreamHandler:
    """What a handler raises ends its stream; in the library it ends the whole host."""

    async def handle(stream: Any) -> None:
        try:
            if len(stream.swarm_conn.streams) > MAX_STREAMS:
                await stream.reset()
                return
            await handler(stream)
        except Exception:  # noqa: BLE001 - whatever a peer has caused
            with trio.move_on_after(1.0):
                await stream.reset()

    return handle


class Admission:
    """Who may connect: so many handshakes and connections at once, in all and from one IP address (/64 with IPv6)."""

    def __init__(self, network: Any, hello: Hello) -> None:
        self._network = network
        self._max_of_ip, self._max_connections = hello.max_of_ip, hello.max_connections
        self._handshakes: Final = Counter[str]()
        self._connections: Final = Counter[str]()
        self.dropped = 0
        network._handle_inbound_connection = self.handle  # noqa: SLF001 - the library keeps each place for ever

    @property
    def handshakes(self) -> int:
        return self._handshakes.total()

    async def handle(self, socket: Any, address: Any) -> None:
        """In place of the library's: one inbound connection, until it has ended."""
        host = host_of(socket.get_remote_address())
        if not self._has_room(host):
            self.dropped += 1
            await socket.close()
            return
        self._connections[host] += 1
        try:
            muxed = await self._shake_hands(host, socket, address)
            if muxed is not None:
                await muxed.event_closed.wait()
        finally:
            _give_back(self._connections, host)

    async def _shake_hands(self, host: str, socket: Any, address: Any) -> Any:
        self._handshakes[host] += 1
        connection = RawConnection(socket, False)
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                return await self._network.upgrade_inbound_raw_conn(connection, address)
        except Exception:  # noqa: BLE001 - whatever a stranger has sent
            with trio.move_on_after(1.0):
                await connection.close()
            return None
        finally:
            _give_back(self._handshakes, host)

    def _has_room(self, host: str) -> bool:
        return (
            self._handshakes.total() < MAX_HANDSHAKES
            and self._handshakes[host] < MAX_HANDSHAKES_OF_IP
            and self._connections.total() < self._max_connections
            and self._connections[host] < self._max_of_ip
        )


def _give_back(counter: Counter[str], host: str) -> None:
    counter[host] -= 1
    if counter[host] <= 0:
        del counter[host]


def host_of(remote: tuple[str, int] | None) -> str:
    """What counts as one host."""
    if remote is None:
        return ""
    ip = ipaddress.ip_address(remote[0].partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(int(ip) >> _IPV6_HOST_BITS)
    return str(ip)


def buffered(connection: Any) -> int:
    """Bytes that a connection's peer has sent and nobody has read."""
    return sum(map(len, connection.muxed_conn.stream_buffers.values()))


def place_of(connection: Any) -> str:
    """`/ip4/192.0.2.8/tcp/40000`: where the peer is."""
    remote = connection.muxed_conn.get_remote_address()
    if remote is None:
        return "/ip4/0.0.0.0/tcp/0"
    ip = ipaddress.ip_address(remote[0].partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return f"/ip{ip.version}/{ip}/tcp/{remote[1]}"


def parse(text: str) -> Any:
    """A multiaddress of the library. Raises whatever it raises."""
    return Multiaddr(text)
