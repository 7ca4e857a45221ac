"""A node's libp2p, whichever process runs it: settings, whom to dial, what is gossiped, where it listens. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

import structlog

from network.identity import Identity, base58
from network.libp2p.book import Book
from network.libp2p.dialler import Dialler
from network.libp2p.exchange import PeerExchange
from network.libp2p.messages import VERSION, Hello, Stats
from network.libp2p.names import Libp2pAddress, libp2p_id, parse_address
from network.libp2p.protocols import stream_names
from network.libp2p.topics import TopicHandler, topic_names
from network.limits import MIB, ProtocolSpec
from network.peer import Scheduler
from network.switch import Switch

__all__ = ["Home", "Layer", "Libp2pSettings", "Libp2pState", "Places"]

log = structlog.get_logger("network")


class Places(Protocol):
    """Of the registry."""

    @property
    def outbound_groups(self) -> Collection[str]:
        """Network groups of the peers that we dialled."""

    @property
    def missing_libp2p(self) -> int:
        """How many outbound sessions on libp2p there may be besides those that are."""


class Layer(Protocol):
    """What libp2p needs of the node's peer layer."""

    @property
    def switch(self) -> Switch: ...

    @property
    def scheduler(self) -> Scheduler: ...

    @property
    def registry(self) -> Places: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Libp2pSettings:
    """`listen`: multiaddresses with IP address and TCP port. `spoken`: protocols that this node speaks; those that
    libp2p carries are offered. `memory`: bytes that the process may have."""

    network_name: str
    client_version: str
    spoken: frozenset[ProtocolSpec]
    listen: Sequence[str] = ()
    bootnodes: Sequence[Libp2pAddress] = ()
    max_connections: int = 125
    max_of_ip: int = 16
    memory: int = 768 * MIB


@dataclass(frozen=True, slots=True)
class Libp2pState:
    """Of the process that runs now."""

    library: str
    addresses: Sequence[str]
    stats: Stats | None = None


class Home:
    """Outlives the process."""

    def __init__(self, identity: Identity, settings: Libp2pSettings, rng: Random) -> None:
        """`rng` chooses among peers."""
        self._identity, self._rng, self.settings = identity, rng, settings
        self._dialler: Final = Dialler(settings.bootnodes)
        self.book: Final = Book(rng)
        self.ids: Final = dict[int, bytes]()
        """Peer ids of libp2p, by session."""
        self.peer_id: Final = libp2p_id(identity.public_key)
        self.state: Libp2pState | None = None
        """While a process runs and listens."""
        self.topics: Mapping[int, TopicHandler] = {}
        """What is gossiped, from the next start of the process on."""

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens now, with this node's peer id of libp2p."""
        return () if self.state is None else self.state.addresses

    @property
    def configured(self) -> Sequence[str]:
        """Where it is to listen, the same way."""
        return [self.named(address) for address in self.settings.listen]

    def named(self, address: str) -> str:
        """With this node's peer id of libp2p."""
        return f"{address}/p2p/{base58(self.peer_id)}"

    def names(self, layer: Layer) -> dict[ProtocolSpec, str]:
        """Of the streams that are offered: for what is spoken and served."""
        return stream_names(self.settings.network_name, self.settings.spoken & set(layer.switch.protocols))

    def hello(self, layer: Layer) -> Hello:
        """What a process is told first; it has no connections yet."""
        settings, names = self.settings, self.names(layer)
        self._dialler.restart()
        self.book.restart()
        return Hello(
            version=VERSION,
            secret=self._identity.secret,
            listen=list(settings.listen),
            protocols=[(spec.id, name) for spec, name in names.items()],
            agent=f"ckb-node/{settings.client_version}",
            max_connections=settings.max_connections,
            max_of_ip=settings.max_of_ip,
            topics=list(topic_names(settings.network_name, self.topics).items()),
        )

    def listens(self, library: str, addresses: Sequence[str]) -> None:
        """A process has started."""
        self.state = Libp2pState(library, [self.named(address) for address in addresses])
        log.info("libp2p listens", addresses=self.state.addresses, library=library)

    def add(self, address: Libp2pAddress) -> None:
        """See Dialler.add."""
        self._dialler.add(address)

    def due(self, layer: Layer) -> list[Libp2pAddress]:
        """Whom to dial now."""
        now, places = layer.scheduler.now(), layer.registry.missing_libp2p

        def may_dial(address: Libp2pAddress) -> bool:
            return address.address.peer_id != layer.switch.peer_id and layer.switch.may_dial(address.address)

        found = self._dialler.due(now, places - self.book.dialled, may_dial)
        places -= self._dialler.dialled + self.book.dialled
        return found + self.book.due(now, places, layer.registry.outbound_groups, may_dial)

    def dialled(self, layer: Layer, address: Libp2pAddress, reason: str | None) -> None:
        """A dial is over."""
        now, is_connected = layer.scheduler.now(), reason is None
        self.book.ended(address, now, is_connected=is_connected)  # it may have become a configured one meanwhile
        if not self._dialler.knows(address):
            return
        self._dialler.ended(address, now, is_connected=is_connected)
        if reason is not None and self._dialler.failures(address).bit_count() == 1:  # more and more seldom
            log.info("a configured peer does not answer", address=address.text, reason=reason)

    def exchange(self, layer: Layer, *, allow_local: bool) -> PeerExchange:
        """Discovery for the sessions on libp2p."""
        return PeerExchange(
            layer.scheduler,
            self._rng,
            self.book,
            id_of=self._id_of,
            listen_port=self._listen_port,
            wants_peers=lambda: layer.registry.missing_libp2p > 0,
            allow_local=allow_local,
        )

    def _id_of(self, session_id: int) -> str | None:
        found = self.ids.get(session_id)
        return None if found is None else base58(found)

    def _listen_port(self) -> int | None:
        return parse_address(self.addresses[0]).address.port if self.addresses else None
