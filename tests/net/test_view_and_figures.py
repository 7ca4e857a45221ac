"""What RPC and Prometheus tell of a network that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from ckb_node.net.figures import line_of, measure_network
from ckb_node.net.view import NetView
from ckb_node.runtime.metrics import Metrics
from ckb_node.runtime.tasks import Fault
from network.identity import Identity
from network.libp2p.service import Libp2pService, Libp2pSettings
from network.limits import PING
from network.messages.protocols import Alert
from network.peer_info import AlertMessage
from network.peer_layer import PeerLayer
from network.service import NetworkService
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.nodes.networks import Notes, address_of, running, service, until

NOW = 1_700_000_000_000


@asynccontextmanager
async def started(directory: Path, number: int) -> AsyncIterator[tuple[NetworkService, PeerLayer]]:
    made = service(directory, number)
    async with made.running(lambda _: [Notes()], 64) as layer:
        yield made, layer


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
async def dev() -> AsyncIterator[DevChain]:
    async with dev_chain() as chain:
        yield chain


async def test_peers_come_and_go_by_rpcs_wishes(tmp_path: Path, dev: DevChain) -> None:
    async with started(tmp_path / "a", 1) as (first, layer), started(tmp_path / "b", 2) as (_, other):
        view = NetView(dev.chain, first, "1.2.3", lambda: NOW)
        assert view.peers() == []
        view.add_node(str(address_of(other)))
        await until(lambda: len(view.peers()) == 1)
        (peer,) = view.peers()
        assert (peer.node_id, peer.is_outbound, peer.sync_state) == (other.switch.peer_id, True, None)
        assert view.local_node().connections == 1
        await until(lambda: PING.id in dict(view.peers()[0].protocols))
        assert view.peers()[0].version == "1.2.3"
        view.ping_peers()
        await until(lambda: view.peers()[0].last_ping_duration is not None)
        view.remove_node(peer.node_id)
        await until(lambda: not view.peers())
        view.set_active(active=False)
        assert not view.local_node().active
        assert not layer.switch.is_active


async def test_why_an_operators_peer_is_not_connected_is_told(tmp_path: Path, dev: DevChain) -> None:
    async with started(tmp_path / "a", 1) as (first, layer):
        view = NetView(dev.chain, first, "1.2.3", lambda: NOW)
        with capture_logs() as logs:
            view.add_node(f"/ip4/127.0.0.1/tcp/1/p2p/{layer.switch.peer_id}")
            other = Identity(bytes(31) + b"\7").peer_id
            view.add_node(f"/onion3/{'a' * 56}:1/p2p/{other}")
            await until(lambda: len(logs) >= 2)
    assert "this node" in logs[0]["reason"]
    assert "Tor" in logs[1]["reason"]


async def test_a_ban_disconnects_and_can_be_lifted(tmp_path: Path, dev: DevChain) -> None:
    async with started(tmp_path / "a", 1) as (first, layer), started(tmp_path / "b", 2) as (_, other):
        view = NetView(dev.chain, first, "1.2.3", layer.scheduler.wall_ms)
        view.add_node(str(address_of(other)))
        await until(lambda: len(view.peers()) == 1)
        until_ms = layer.scheduler.wall_ms() + 1_000_000
        view.ban("127.0.0.0/8", until_ms, "noise")
        await until(lambda: not view.peers())
        (ban,) = view.banned()
        assert (ban.address, ban.ban_until, ban.reason) == ("127.0.0.0/8", until_ms, "noise")
        view.unban("127.0.0.1/32")
        assert len(view.banned()) == 1
        view.unban("127.0.0.0/8")
        assert view.banned() == []


async def test_libp2p_addresses_go_to_libp2p(tmp_path: Path, dev: DevChain) -> None:
    address = "/ip4/192.0.2.8/tcp/8117/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    idle = service(tmp_path / "idle", 1)
    settings = Libp2pSettings(network_name="/ckb/92b197aa", client_version="1.2.3", spoken=frozenset())
    libp2p = Libp2pService(idle.identity, settings)
    async with running(tmp_path / "a", 2) as layer:
        idle.layer = layer
        with capture_logs() as logs:
            NetView(dev.chain, idle, "1.2.3", lambda: NOW).add_node(address)
        assert [each["reason"] for each in logs] == ["libp2p is off"]
        NetView(dev.chain, idle, "1.2.3", lambda: NOW, libp2p=libp2p).add_node(address)
        assert [each.text for each in libp2p.due(layer)] == [address]


async def test_before_it_runs_there_are_no_peers(tmp_path: Path, dev: DevChain) -> None:
    idle = service(tmp_path, 1)
    view = NetView(dev.chain, idle, "1.2.3", lambda: NOW)
    assert (view.peers(), view.local_node().connections, view.local_node().version) == ([], 0, "1.2.3")
    view.ping_peers()
    view.remove_node(idle.identity.peer_id)
    view.add_node(f"/ip4/192.0.2.1/tcp/1/p2p/{idle.identity.peer_id}")
    view.ban("192.0.2.0/24", NOW + 1, "noise")
    assert [ban.address for ban in view.banned()] == ["192.0.2.0/24"]
    metrics = Metrics()
    measure_network(metrics, idle)
    assert samples(metrics)["ckb_network_peers", "inbound"] == 0


async def test_alerts_of_the_developers_and_of_the_node(tmp_path: Path, dev: DevChain) -> None:
    alert = AlertMessage(7, 1, NOW, "update")
    faults = [Fault("indexer", "no space left", NOW)]

    class Desk:
        """Satisfies ckb_node.net.view.AlertDesk."""

        def alerts(self) -> Sequence[AlertMessage]:
            return [alert]

        def publish(self, alert: Alert) -> bool:
            raise AssertionError(alert)

    view = NetView(dev.chain, service(tmp_path, 1), "1", lambda: NOW, lambda: faults, Desk())
    own, theirs = view.alerts()
    assert own.message == "indexer does not work: no space left"
    assert theirs is alert


async def test_figures_of_a_session(tmp_path: Path) -> None:
    async with started(tmp_path / "a", 1) as (first, layer), started(tmp_path / "b", 2) as (second, other):
        metrics, others = Metrics(), Metrics()
        measure_network(metrics, first)
        measure_network(others, second)
        layer.switch.dial(address_of(other))
        await until(lambda: layer.switch.traffic.by_protocol[Notes().protocol].messages_in == 1)
        found, others_found = samples(metrics), samples(others)
        assert found["ckb_network_peers", "outbound"] == others_found["ckb_network_peers", "inbound"] == 1
        assert found["ckb_network_received_messages_total", "Sync"] == 1
        assert found["ckb_network_sent_messages_total", "Sync"] == 1
        assert found["ckb_network_received_bytes_total", "Sync"] == len(b"hello from inbound")
        assert found["ckb_network_wire_bytes_total", "in"] > 500
        assert found["ckb_network_sessions_total", "connected"] == 1
        assert found["ckb_network_known_addresses", ""] == 1
        line = line_of(first, layer)
        assert (line["inbound"], line["outbound"], line["known_addresses"]) == (0, 1, 1)
        assert line["messages_in"] >= 2
        layer.switch.remove_node(other.switch.peer_id)
        await until(lambda: not other.switch.peers())
        assert layer.switch.traffic.left.total() == 1
