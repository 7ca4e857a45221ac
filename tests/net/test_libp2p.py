"""From [network.libp2p] to the service, and its figures."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from ckb_node.config import parse_config
from ckb_node.net import libp2p as section_module
from ckb_node.net.libp2p import libp2p_service, measure_libp2p
from ckb_node.runtime.metrics import Metrics
from network.identity import Identity
from network.libp2p.messages import Stats
from network.libp2p.names import libp2p_id_text
from network.libp2p.service import Libp2pService, Libp2pState
from network.limits import ALL_PROTOCOLS, MIB

OWN, OTHER = Identity(bytes(31) + b"\1"), Identity(bytes(31) + b"\2")
BOOTNODE = f"/ip4/192.0.2.1/tcp/8117/p2p/{libp2p_id_text(OTHER.public_key)}"
TEXT = f"""[network]
max_peers = 20
[network.libp2p]
enabled = true
listen_addresses = ["/ip4/127.0.0.1/tcp/8117"]
bootnodes = ["{BOOTNODE}"]
max_peers_per_ip = 3
memory_mib = 500
"""


def service(text: str) -> Libp2pService | None:
    section = parse_config(text).network
    return libp2p_service(section, OWN, "/ckb/92b197aa", "1.0.0", frozenset(ALL_PROTOCOLS))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section_module, "is_installed", lambda: True)


def test_off_by_default() -> None:
    assert service("") is None


@pytest.mark.usefixtures("installed")
def test_each_key_reaches_its_place() -> None:
    found = service(TEXT)
    assert found is not None
    settings = found.settings
    assert settings.listen == ["/ip4/127.0.0.1/tcp/8117"]
    assert [str(each.address) for each in settings.bootnodes] == [f"/ip4/192.0.2.1/tcp/8117/p2p/{OTHER.peer_id}"]
    assert (settings.max_connections, settings.max_of_ip, settings.memory) == (20, 3, 500 * MIB)
    assert found.configured == [f"/ip4/127.0.0.1/tcp/8117/p2p/{libp2p_id_text(OWN.public_key)}"]
    assert found.addresses == ()


def test_without_its_library_the_node_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section_module, "is_installed", lambda: False)
    with capture_logs() as logs:
        assert service(TEXT) is None
    assert "ckb-node[libp2p]" in logs[0]["install"]


def figures(found: Libp2pService) -> bytes:
    metrics = Metrics()
    measure_libp2p(metrics, found)
    return metrics.text()


@pytest.mark.usefixtures("installed")
def test_figures_are_those_of_the_process_that_runs() -> None:
    found = service(TEXT)
    assert found is not None
    assert b"ckb_libp2p_memory_bytes 0.0" in figures(found)
    found.state = Libp2pState("library", [], Stats(5, 6, 7, 8))
    assert b"ckb_libp2p_memory_bytes 5.0" in figures(found)
    assert b"ckb_libp2p_connections 6.0" in figures(found)
