"""What a node says of itself when it is open."""

from __future__ import annotations

from pathlib import Path

from ckb_node.banner import Listening, RpcAddresses, banner
from ckb_node.config import Config, parse_config
from ckb_node.devchain import dev_consensus

PEER = "p2p/QmaZMemLXSsxKUrYNucjEbPxVX3rBKsGhWW2muWtWxUWyh"
OTHERS = "  (other machines: by an address of this one)"


def lines(listening: Listening) -> list[str]:
    consensus = dev_consensus()
    config = Config(Path("node"), parse_config(""))
    return banner(config, consensus, consensus.genesis_block.header, listening, mine=False).splitlines()


def test_each_transport_of_rpc_has_its_line() -> None:
    shown = lines(Listening(RpcAddresses(("127.0.0.1", 1), ("127.0.0.1", 2), ("::1", 3)), []))
    assert shown[1:5] == [
        "  RPC      http://127.0.0.1:1",
        "  events   ws://127.0.0.1:2",
        "  events   tcp://[::1]:3",
        "  peers    the node takes no connections",
    ]


def test_addresses_that_stand_for_all_are_shown_as_one_that_can_be_dialled() -> None:
    peers = [f"/ip4/0.0.0.0/tcp/8115/{PEER}", f"/ip6/::/tcp/8115/{PEER}", f"/ip4/192.0.2.8/tcp/8115/{PEER}"]
    shown = lines(Listening(RpcAddresses(("0.0.0.0", 1), ("::", 2)), peers))  # noqa: S104
    assert shown[1:6] == [
        f"  RPC      http://127.0.0.1:1{OTHERS}",
        f"  events   ws://[::1]:2{OTHERS}",
        f"  peers    /ip4/127.0.0.1/tcp/8115/{PEER}{OTHERS}",
        f"  peers    /ip6/::1/tcp/8115/{PEER}{OTHERS}",
        f"  peers    /ip4/192.0.2.8/tcp/8115/{PEER}",
    ]
