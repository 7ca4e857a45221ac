"""The genesis block over real connections on this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ckb_node.config import load_config
from ckb_node.genesis import from_peers
from ckb_node.genesis.files import GenesisSourceError
from ckb_node.genesis.from_peers import PeersSource
from ckb_node.net.settings import NetworkSection
from ckb_node.runtime.settings import ConfigError
from ckb_node.specs import load_bundled
from network.identity import new_identity
from network.limits import Flags
from network.multiaddr import Multiaddr
from network.peer_layer import PeerLayerSettings
from network.peers.store_files import StoreFiles
from network.protocols.identify import LocalIdentity
from network.service import NetworkService, ServiceSettings
from storage.files import set_aside, write_whole
from tests.support.network.genesis_giver import GENESIS, Giver
from tests.support.nodes.directories import OK, invoke
from tests.support.nodes.networks import LOOPBACK
from tests.support.nodes.process import free_port

SPEC = replace(load_bundled("dev"), genesis_hash=GENESIS.hash)
FLAGS = Flags.SYNC | Flags.DISCOVERY | Flags.RELAY | Flags.LIGHT_CLIENT


@contextmanager
def giving(giver: Giver, directory: Path) -> Iterator[Multiaddr]:
    """A network that answers from `giver`, in a thread: the source runs a loop of its own."""
    ready, addresses = threading.Event(), list[Multiaddr]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        local = LocalIdentity(
            network_name=f"/{SPEC.name}/{GENESIS.hash.hex()[:8]}", client_version="0.206.0", flags=FLAGS
        )
        settings = ServiceSettings(listen=[LOOPBACK], peers=PeerLayerSettings(local=local))
        files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)
        service = NetworkService(new_identity(), files, settings, lambda: 0)
        async with service.running(lambda _: giver.handlers(), 64) as layer:
            addresses.append(layer.own.listening[0])
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def nobody() -> str:
    return f"/ip4/127.0.0.1/tcp/{free_port()}/p2p/{new_identity().peer_id}"


def test_it_comes_from_a_peer_and_others_are_named(tmp_path: Path) -> None:
    said: list[str] = []
    with giving(Giver(), tmp_path) as address:
        source = PeersSource(NetworkSection(bootnodes=[nobody()]), [str(address)], said.append, seconds=60)
        assert source.load(SPEC) == GENESIS
    assert str(source) == "peers (2 configured)"
    assert any(line.startswith(f"Asking {address} (version 0.206.0)") for line in said)


def test_bootnodes_are_enough(tmp_path: Path) -> None:
    with giving(Giver(), tmp_path) as address:
        source = PeersSource(NetworkSection(bootnodes=[str(address)]), [], lambda _: None, seconds=60)
        assert source.load(SPEC) == GENESIS


def test_nobody_answers() -> None:
    said: list[str] = []
    address = nobody()
    source = PeersSource(NetworkSection(), [address], said.append, seconds=1)
    with pytest.raises(GenesisSourceError, match=f"none gave the block: {address}: "):
        source.load(SPEC)
    assert said == ["Still without the genesis block: no peer of this chain is connected yet"]


def test_without_any_connection_it_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_peers, "ALONE_SECONDS", 0.05)
    monkeypatch.setattr(from_peers, "LINE_SECONDS", 0.05)
    address = nobody()
    with pytest.raises(GenesisSourceError, match=f"none gave the block: {address}: "):
        PeersSource(NetworkSection(), [address], lambda _: None, seconds=1e6).load(SPEC)


def test_the_configured_peers_are_a_source_if_there_are_any(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    assert invoke("init", "-C", str(directory), "-c", "dev").exit_code == OK
    config = load_config(directory)
    assert from_peers.configured_peers(config, print) == []
    network = msgspec.structs.replace(config.file.network, bootnodes=[nobody()], whitelist_peers=[nobody()])
    (source,) = from_peers.configured_peers(
        replace(config, file=msgspec.structs.replace(config.file, network=network)), print
    )
    assert str(source) == "peers (2 configured)"


def test_nobody_to_ask() -> None:
    source = PeersSource(NetworkSection(), [], lambda _: None, seconds=0.1)
    with pytest.raises(GenesisSourceError, match="nobody to ask: name peers"):
        source.load(SPEC)


def test_a_spec_without_a_hash_cannot_be_helped() -> None:
    source = PeersSource(NetworkSection(), [nobody()], lambda _: None, seconds=0.1)
    with pytest.raises(GenesisSourceError, match="names no `hash`"):
        source.load(replace(SPEC, genesis_hash=None))


@pytest.mark.parametrize("address", ["", "/ip4/127.0.0.1/tcp/1", "nonsense", "/p2p/Qm"])
def test_addresses_that_lead_nowhere(address: str) -> None:
    with pytest.raises(ConfigError, match="--genesis-peer"):
        PeersSource(NetworkSection(), [address], lambda _: None)
