"""Connecting: names are resolved, proxies asked, onion services reached through Tor; then bytes flow."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from network.ckb_wire.socks5 import Socks5Client, Socks5Error
from network.ckb_wire.websocket import WebSocketError
from network.io.names import Resolver
from network.io.opening import Opening, OpeningError, Step
from network.io.sockets import Endpoint, dialling_socket, source_for
from network.io.socks_server import SocksServer
from network.io.stream import Stream, os_reason
from network.io.web_socket import ClientUpgrade, WebSocketLink
from network.multiaddr import AddressTransport, Multiaddr
from network.transport import Dialling, Link, Receiver

log = structlog.get_logger("network")

__all__ = ["MAX_DIALS", "DialError", "DialOptions", "TcpTransport"]

CONNECT_SECONDS: Final = 5.0
ONION_SECONDS: Final = 120.0
MAX_DIALS: Final = 64
"""Connections in the making."""


class DialError(Exception):
    """There is no way to such an address; one line."""


@dataclass(frozen=True, slots=True)
class DialOptions:
    """How connections are made. `sources`: endpoints that are listened on, one of which they come from if they can;
    none to let the system choose."""

    proxy: SocksServer | None = None
    onion_proxy: SocksServer | None = None
    sources: Sequence[Endpoint] = ()


class _Dial:
    """Satisfies network.transport.Dial."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task: Final = task

    def cancel(self) -> None:
        self._task.cancel()


class TcpTransport:
    """Satisfies network.transport.Transport. Its dials are tasks of `tasks`, whose owner ends them."""

    def __init__(
        self, tasks: asyncio.TaskGroup, buffer: memoryview, options: DialOptions, *, max_dials: int = MAX_DIALS
    ) -> None:
        """More than `max_dials` at a time wait for their turn."""
        self._tasks: Final = tasks
        self._buffer: Final = buffer
        self._slots: Final = asyncio.Semaphore(max_dials)
        self._resolver: Final = Resolver()
        self.options: DialOptions = options

    def dial(self, address: Multiaddr, dialling: Dialling) -> _Dial:
        """Begin to connect."""
        return _Dial(self._tasks.create_task(self._dial(address, dialling), name=f"dial {address}"))

    async def _dial(self, address: Multiaddr, dialling: Dialling) -> None:
        async with self._slots:
            reason = await self._attempt(address, dialling)
        if reason is not None:
            dialling.failed(reason)

    async def _attempt(self, address: Multiaddr, dialling: Dialling) -> str | None:
        """Connect and hand the connection over; why that failed."""
        seconds = CONNECT_SECONDS if address.onion is None else ONION_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._connect(address, dialling)
        except TimeoutError:
            return f"no connection within {seconds:g} s"
        except (DialError, OpeningError, Socks5Error, WebSocketError) as error:
            return str(error)
        except socket.gaierror as error:
            return f"the name cannot be resolved: {error.strerror or error}"
        except OSError as error:
            return os_reason(error)
        except UnicodeError:
            return "the name cannot be resolved: no host name"
        except Exception:  # a fault of this node's; it must not end the other dials
            log.exception("fault while a peer was dialled", address=str(address))
            return "internal error"
        return None

    async def _connect(self, address: Multiaddr, dialling: Dialling) -> None:
        proxy = self.options.proxy if address.onion is None else self.options.onion_proxy
        steps: list[Step] = []
        if proxy is not None:
            steps.append(_socks_client(address, proxy))
            made = await self._connected_socket(proxy.host, proxy.port, sources=())
        elif address.onion is not None:
            raise DialError("onion services are dialled through Tor: see network.proxy and network.onion.onion_server")
        else:
            host, port = _host_of(address)
            family = _family_of(address)
            made = await self._connected_socket(host, port, sources=self.options.sources, family=family)
        if address.transport is AddressTransport.WS:
            await self._open_web_socket(made, steps, address, dialling)
        else:
            await self._open(made, Opening(steps, lambda stream, rest: _hand_over(dialling, stream, rest)))

    async def _open_web_socket(
        self, made: socket.socket, steps: Sequence[Step], address: Multiaddr, dialling: Dialling
    ) -> None:
        host, port = _host_of(address)
        upgrade = ClientUpgrade(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

        def hand_over(stream: Stream, rest: bytes) -> Receiver:
            link = WebSocketLink(stream, upgrade.client)
            link.receiver = _hand_over(dialling, link, rest)
            return link

        await self._open(made, Opening([*steps, upgrade], hand_over))

    async def _open(self, made: socket.socket, opening: Opening) -> None:
        """Take the steps on a connected socket, then hand it over."""
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: Stream(self._buffer, opening.start), sock=made)
            await opening.done
        except BaseException:
            if opening.give_up():  # else its time was up just when it was handed over
                made.close()
                raise

    async def _connected_socket(
        self, host: str, port: int, *, sources: Sequence[Endpoint], family: int = socket.AF_UNSPEC
    ) -> socket.socket:
        """To the first of the host's addresses that answers. OSError of the last one."""
        failure: OSError = OSError(errno.EHOSTUNREACH, "no address")
        for ip in await self._resolver.resolve(host, family):
            try:
                return await _connect_socket(ip, port, source_for(ip, sources))
            except OSError as error:
                failure = error
        raise failure


def _hand_over(dialling: Dialling, link: Link, rest: bytes) -> Receiver:
    receiver = dialling.connected(link)
    if rest:
        receiver.receive(memoryview(rest))
    return receiver


async def _connect_socket(ip: str, port: int, source: Endpoint | None) -> socket.socket:
    """From `source` if that can be had: a connection between the same two ports may still be known to the system."""
    try:
        return await _connect_from(ip, port, source)
    except OSError as error:
        if source is None or error.errno not in _NOT_FROM_THERE:
            raise
    return await _connect_from(ip, port, None)


async def _connect_from(ip: str, port: int, source: Endpoint | None) -> socket.socket:
    made = dialling_socket(ip, source)
    try:
        await asyncio.get_running_loop().sock_connect(made, (ip, port))
    except BaseException:
        made.close()
        raise
    return made


_NOT_FROM_THERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EINVAL, errno.ENETUNREACH})


def _host_of(address: Multiaddr) -> tuple[str, int]:
    if address.transport is AddressTransport.WSS:
        raise DialError("WebSocket over TLS is not spoken")
    if not address.port or (address.ip is None and address.dns_name is None):
        raise DialError("the address names no host and port")
    return str(address.ip or address.dns_name), address.port


def _family_of(address: Multiaddr) -> int:
    """/dns4 and /dns6 say which addresses a name stands for."""
    names = {part.name for part in address.parts}
    return socket.AF_INET if "dns4" in names else socket.AF_INET6 if "dns6" in names else socket.AF_UNSPEC


def _socks_client(address: Multiaddr, proxy: SocksServer) -> Socks5Client:
    """Names go to the proxy as they are: it resolves them."""
    if address.onion is not None:
        return Socks5Client(f"{address.onion.name}.onion", address.onion.port, proxy.credentials())
    host, port = _host_of(address)
    return Socks5Client(address.ip or host, port, proxy.credentials())
