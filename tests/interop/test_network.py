"""Both programs connected with each other, in both directions: what each tells of the other, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.kit_chain import wait_until
from tests.interop.kit_mirror import copy_block
from tests.interop.kit_network import (
    ALL_PROTOCOLS,
    address_of,
    bad_lines,
    connect,
    ends,
    gone,
    node_id,
    open_protocols,
    peer_of,
    place,
)
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(300)

CHECKED_S = 35.0
"""The reference looks every 30 s whether Sync is open."""


@pytest.fixture(params=["ours", "reference"])
def dialler(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["tcp", "ws"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """With a block of now: two nodes that are both a day behind leave each other."""
    with pair_of_nodes(tmp_path, spec_text(Path(CELLS))) as nodes:
        copy_block(nodes.reference.rpc, nodes.ours.rpc, nodes.reference.rpc.call("generate_block"))
        yield nodes


def shape(value: Any) -> Any:
    """The names and kinds of JSON; a list is as its first member."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_a_session_has_all_protocols_and_lives(pair: Pair, dialler: str, transport: str) -> None:
    source, target = connect(pair, dialler, transport)
    until = time.monotonic() + CHECKED_S
    while time.monotonic() < until:
        assert open_protocols(source) == open_protocols(target) == ALL_PROTOCOLS
        time.sleep(1)
    assert bad_lines(source) == []
    assert bad_lines(target) == []


def test_each_shows_the_other_as_its_own_kind(pair: Pair, dialler: str, transport: str) -> None:
    source, target = connect(pair, dialler, transport)
    seen, seen_back = peer_of(source), peer_of(target)
    assert (seen["is_outbound"], seen_back["is_outbound"]) == (True, False)
    assert (seen["node_id"], seen_back["node_id"]) == (node_id(target), node_id(source))
    assert seen["version"] == target.rpc.call("local_node_info")["version"]
    assert seen_back["version"] == source.rpc.call("local_node_info")["version"]
    assert address_of(target, transport) in [place(each["address"]) for each in seen["addresses"]]
    if (dialler, transport) != ("reference", "ws"):  # it dials that from any port
        wanted = address_of(source, transport)
        assert wanted in [place(each["address"]) for each in seen_back["addresses"]], "not from its listening port"
    theirs, ours = peer_of(pair.reference), peer_of(pair.ours)
    states = [peer.pop("sync_state") for peer in (theirs, ours)]  # its members are null until something is known
    assert set(states[0]) == set(states[1])
    assert shape(theirs) == shape(ours)


def test_both_tell_the_same_of_themselves(pair: Pair) -> None:
    connect(pair, "ours")
    theirs, ours = pair.both("local_node_info")
    assert shape(theirs) == shape(ours)
    assert theirs["connections"] == ours["connections"] == "0x1"
    assert sorted(theirs["protocols"], key=lambda each: int(each["id"], 16)) == sorted(
        ours["protocols"], key=lambda each: int(each["id"], 16)
    )
    for info in (theirs, ours):
        texts = [place(each["address"]).removesuffix("/ws") for each in info["addresses"]]
        assert len(texts) == 2
        assert len(set(texts)) == 1


def test_pings_are_answered(pair: Pair, dialler: str) -> None:
    source, target = connect(pair, dialler)
    for node in (source, target):
        node.rpc.call("ping_peers")
    wait_until(lambda: all(peer_of(node)["last_ping_duration"] is not None for node in (source, target)))


@pytest.mark.parametrize("who", ["ours", "reference"])
def test_remove_node_disconnects(pair: Pair, dialler: str, who: str) -> None:
    source, target = connect(pair, dialler)
    here, there = ends(pair, who)
    here.rpc.call("remove_node", node_id(there))
    wait_until(lambda: gone(source, target))


@pytest.mark.parametrize("who", ["ours", "reference"])
def test_a_ban_disconnects_and_keeps_away(pair: Pair, dialler: str, who: str) -> None:
    source, target = connect(pair, dialler)
    here, _ = ends(pair, who)
    here.rpc.call("set_ban", "127.0.0.0/8", "insert", None, None, "test")
    wait_until(lambda: gone(source, target))
    source.rpc.call("add_node", node_id(target), address_of(target))
    time.sleep(2)
    assert gone(source, target)
    here.rpc.call("clear_banned_addresses")
    source.rpc.call("add_node", node_id(target), address_of(target))
    wait_until(lambda: not gone(source) and not gone(target))


def test_set_network_active(pair: Pair, dialler: str) -> None:
    source, target = connect(pair, dialler)
    for node in (source, target):
        node.rpc.call("set_network_active", False)
        assert node.rpc.call("local_node_info")["active"] is False
        assert not gone(node)
        node.rpc.call("set_network_active", True)
        assert node.rpc.call("local_node_info")["active"] is True
