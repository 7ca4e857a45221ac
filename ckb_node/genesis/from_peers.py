"""The chain's peers as a source of the genesis block: a network of its own, for the time of the search."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import structlog

from ckb_node.config import Config
from ckb_node.genesis.files import GenesisSourceError
from ckb_node.genesis.obtain import GenesisSource
from ckb_node.genesis.peer_request import WantedGenesis
from ckb_node.genesis.peer_search import GenesisSearch
from ckb_node.net import addresses
from ckb_node.net.assembly import network_service
from ckb_node.net.settings import NetworkSection, ProtocolName
from ckb_node.runtime.clock import SystemClock
from ckb_node.specs.published import PUBLISHED_GENESIS
from ckb_node.version import VERSION
from consensus.chainspec.spec import ChainSpec
from consensus.types.blockchain import Block
from network.identity import new_identity
from network.peer import Handler, SessionKind
from network.peer_layer import PeerLayer
from network.service import NetworkService

Say = Callable[[str], None]

SEARCH_SECONDS: Final = 300.0
LINE_SECONDS: Final = 10.0
"""Between two lines that say what goes on, and two rounds of dials."""
DIAL_SECONDS: Final = 5
"""Between two looks whether to dial peers that others have named."""
ALONE_SECONDS: Final = 30.0
"""After so many without any connection the search is over."""
MAX_CONNECTIONS: Final = 64
PROTOCOLS: Final[list[ProtocolName]] = [
    "Ping",
    "Discovery",
    "Identify",
    "DisconnectMessage",
    "Sync",
    "Relay",
    "LightClient",
]


class PeersSource:
    """Any peer of the chain. They are found from `peers`, and from the bootnodes and whitelist of `[network]`."""

    def __init__(
        self, section: NetworkSection, peers: Sequence[str], say: Say, seconds: float = SEARCH_SECONDS
    ) -> None:
        """`peers`: multiaddresses that end in /p2p/<peer id>. Raises ConfigError."""
        self._section, self._say, self._seconds = section, say, seconds
        self._reasons = "nobody to ask: name peers by `--genesis-peer`, or in network.bootnodes"
        given = addresses.peer_addresses("--genesis-peer", peers)
        self._configured: Final = list(
            dict.fromkeys([*given, *addresses.whitelist(section), *addresses.bootnodes(section)])
        )

    def __str__(self) -> str:
        return f"peers ({len(self._configured)} configured)"

    def load(self, spec: ChainSpec) -> Block:
        """The block with the hash that the spec names. GenesisSourceError, ConfigError."""
        if spec.genesis_hash is None:
            raise GenesisSourceError(
                f"peers: the spec of {spec.name} names no `hash` in [genesis] to know the block by"
            )
        known = PUBLISHED_GENESIS.get(spec.genesis_hash)
        published = () if known is None else (known.cellbase, known.dep_groups)
        wanted = WantedGenesis(spec, spec.genesis_hash, published)
        with _quiet_logs(), TemporaryDirectory(prefix="ckb-node-genesis-") as directory:
            found = asyncio.run(self._search(wanted, Path(directory)))
        if found is None:
            raise GenesisSourceError(f"peers: none gave the block: {self._reasons}")
        return found

    async def _search(self, wanted: WantedGenesis, directory: Path) -> Block | None:
        found: asyncio.Future[Block] = asyncio.get_running_loop().create_future()
        service = self._service(wanted, directory)
        searches: list[GenesisSearch] = []

        def handlers(layer: PeerLayer) -> Sequence[Handler]:
            search = GenesisSearch(wanted, layer.scheduler, self._say, found.set_result)
            searches.append(search)
            return search.handlers

        async with service.running(handlers, MAX_CONNECTIONS) as layer:
            return await self._wait(found, searches[0], layer)

    async def _wait(self, found: asyncio.Future[Block], search: GenesisSearch, layer: PeerLayer) -> Block | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        while (left := deadline - loop.time()) > 0:
            self._dial(search, layer)
            await asyncio.wait([found], timeout=min(LINE_SECONDS, left))
            if found.done():
                return found.result()
            self._say(f"Still without the genesis block: {search.state}")
            if deadline - loop.time() < self._seconds - ALONE_SECONDS and _is_alone(layer):
                break
        self._reasons = "; ".join(search.failures) or self._reasons
        return None

    def _dial(self, search: GenesisSearch, layer: PeerLayer) -> None:
        """The configured peers that are not connected, those of the option first; others are found through them and
        dialled by the network itself."""
        free = layer.registry.missing_outbound
        for address in self._configured:
            if free <= 0:
                return
            note = partial(_note, search, str(address))
            free -= layer.switch.dial(address, on_end=note) is None

    def _service(self, wanted: WantedGenesis, directory: Path) -> NetworkService:
        section = msgspec.structs.replace(
            self._section,
            listen_addresses=[],
            public_addresses=[],
            bootnodes=[],
            whitelist_peers=[],
            whitelist_only=False,
            connect_outbound_interval_secs=DIAL_SECONDS,
            disable_block_relay_only_connection=True,
            bootnode_mode=False,
            support_protocols=PROTOCOLS,
        )
        name = f"/{wanted.spec.name}/{wanted.hash.hex()[:8]}"
        return network_service(section, new_identity(), name, VERSION, directory, SystemClock().now_ms)


def configured_peers(config: Config, say: Say) -> list[GenesisSource]:
    """Bootnodes and whitelist as a source; none where there are none. ConfigError."""
    section = config.file.network
    return [PeersSource(section, (), say)] if section.bootnodes or section.whitelist_peers else []


def _is_alone(layer: PeerLayer) -> bool:
    """Nobody was ever connected, and nobody is being dialled any more: no network, or only dead addresses."""
    return not layer.switch.dialling(SessionKind.FULL) and not layer.switch.traffic.sessions


def _note(search: GenesisSearch, address: str, reason: str | None) -> None:
    """How a dial has ended; None: there is a session."""
    if reason is not None:
        search.note_failure(address, reason)


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """What the network logs about single peers is for the log of a running node; before there is one, errors go to
    standard error."""
    if structlog.is_configured():
        yield
        return
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
