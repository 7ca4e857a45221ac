"""Options that say where a public chain's genesis block may be got from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ckb_node.config import Config
from ckb_node.genesis.crates import CratesSource
from ckb_node.genesis.files import FileSource
from ckb_node.genesis.obtain import GenesisSource
from ckb_node.genesis.rpc import RpcSource

_OPTIONS = (
    click.option("--genesis", type=click.Path(path_type=Path), help="File with the genesis block, molecule or JSON."),
    click.option("--crates", type=click.Path(path_type=Path), help="Directory of ckb-resource, ckb-system-scripts."),
    click.option("--genesis-rpc", metavar="URL", help="JSON-RPC of a node of the chain, to get the genesis block."),
    click.option(
        "--genesis-peer",
        "genesis_peers",
        metavar="ADDRESS",
        multiple=True,
        help="Peer to get the genesis block from, /ip4/…/tcp/…/p2p/Qm…; may be given several times.",
    ),
)


@dataclass(frozen=True, slots=True)
class GenesisOptions:
    """What the options say."""

    genesis: Path | None = None
    crates: Path | None = None
    genesis_rpc: str | None = None
    genesis_peers: tuple[str, ...] = ()

    def sources(self, config: Config) -> list[GenesisSource]:
        """Those that are named, in the order in which they are tried. With peers of the option, those of the
        configuration are asked, too. ConfigError."""
        sources: list[GenesisSource] = []
        if self.genesis is not None:
            sources.append(FileSource(self.genesis))
        if self.crates is not None:
            sources.append(CratesSource(self.crates))
        if self.genesis_rpc is not None:
            sources.append(RpcSource(self.genesis_rpc))
        if self.genesis_peers:
            # Imported here: the network takes a while to load, and most commands do without it.
            from ckb_node.genesis.from_peers import PeersSource

            sources.append(PeersSource(config.file.network, self.genesis_peers, click.echo))
        return sources


def genesis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options; the command gets them as one parameter `genesis`."""

    @wraps(function)
    def command(
        *args: Any,
        genesis: Path | None,
        crates: Path | None,
        genesis_rpc: str | None,
        genesis_peers: tuple[str, ...],
        **options: Any,
    ) -> Any:
        return function(*args, genesis=GenesisOptions(genesis, crates, genesis_rpc, genesis_peers), **options)

    decorated: Callable[..., Any] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
