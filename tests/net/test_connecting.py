"""What is said of the search for peers (complaint 14 of operators: "connecting" for ever, with no reason shown)."""

from __future__ import annotations

from pathlib import Path

from ckb_node.net.connecting import connecting_text
from network.identity import new_identity
from network.multiaddr import Multiaddr
from tests.support.nodes.networks import Notes, address_of, running, service, until
from tests.support.nodes.process import free_port


async def test_from_nobody_to_a_peer(tmp_path: Path) -> None:
    network = service(tmp_path / "a", 1)
    assert connecting_text(network) == "the network has not started"
    async with network.running(lambda _: [Notes()], 64) as layer, running(tmp_path / "b", 2) as other:
        assert connecting_text(network) == (
            "no address of a peer is known: name some in network.bootnodes, or call add_node"
        )
        nobody = f"/ip4/127.0.0.1/tcp/{free_port()}/p2p/{new_identity().peer_id}"
        layer.switch.dial(Multiaddr.parse(nobody))
        assert "being dialled: 1" in connecting_text(network)
        await until(lambda: layer.switch.dials.failed == 1)
        text = connecting_text(network)
        assert text.startswith("failed dials: 1, the last: ")
        assert "refused; no address" in text
        assert "127.0.0.1" not in text
        layer.switch.dial(address_of(other))
        await until(lambda: len(layer.switch.peers()) == 1)
        assert layer.switch.dials.failed == 1
        layer.switch.set_active(active=False)
        assert "switched off" in connecting_text(network)
