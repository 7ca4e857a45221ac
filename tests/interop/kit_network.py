"""Both programs connected with each other, by either."""

from __future__ import annotations

import re

from tests.interop.kit_chain import COUNTS, wait_until
from tests.interop.kit_json import Json
from tests.support.nodes.reference import OurNode, Pair, ReferenceNode

ALL_PROTOCOLS = {0, 1, 2, 4, 100, 101, 102, 110, 120, 121, 130}
"""Open in a session; 3 is the feelers'."""
BAD_LINE = re.compile(r"\b(WARN|ERROR|warning|error|panicked)\b")

Node = OurNode | ReferenceNode


def ends(pair: Pair, dialler: str) -> tuple[Node, Node]:
    """Who dials, and who is dialled."""
    return (pair.ours, pair.reference) if dialler == "ours" else (pair.reference, pair.ours)


def address_of(node: Node, transport: str = "tcp") -> str:
    """Without `/p2p/`, which ours says of all its addresses, the reference of public ones."""
    addresses: list[str] = [each["address"] for each in node.rpc.call("local_node_info")["addresses"]]
    return next(address for address in map(place, addresses) if address.endswith("/ws") is (transport == "ws"))


def place(address: str) -> str:
    return address.partition("/p2p/")[0]


def connect(pair: Pair, dialler: str, transport: str = "tcp") -> tuple[Node, Node]:
    """Both ends, once all protocols are open at both."""
    source, target = ends(pair, dialler)
    source.rpc.call("add_node", node_id(target), address_of(target, transport))
    wait_until(lambda: all(open_protocols(node) == ALL_PROTOCOLS for node in (source, target)))
    COUNTS["sessions"] += 1
    return source, target


def node_id(node: Node) -> str:
    text: str = node.rpc.call("local_node_info")["node_id"]
    return text


def peer_of(node: Node) -> Json:
    """What a node tells of its only peer; None when it has none."""
    peers = node.rpc.call("get_peers")
    assert len(peers) <= 1
    return peers[0] if peers else None


def open_protocols(node: Node) -> set[int]:
    peer = peer_of(node)
    return set() if peer is None else {int(each["id"], 16) for each in peer["protocols"]}


def gone(*nodes: Node) -> bool:
    return all(peer_of(node) is None for node in nodes)


def bad_lines(node: Node) -> list[str]:
    return [line for line in node.output().splitlines() if BAD_LINE.search(line) and "metrics" not in line]
