"""Networks of one process, connected by real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from network.facts import local_node, remote_nodes
from network.io.sockets import listening_socket
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.peers.store_files import ADDRESSES_FILE, BANS_FILE
from network.service import ListenError
from tests.support.nodes.networks import LOOPBACK, Notes, address_of, running, service, until


@pytest.mark.parametrize("suffix", ["", "/ws"])
async def test_two_nodes_connect_and_speak(tmp_path: Path, suffix: str) -> None:
    mine, theirs = Notes(), Notes()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(tmp_path / "a", 1, handlers=[mine]))
        second = await stack.enter_async_context(running(tmp_path / "b", 2, handlers=[theirs]))
        address = next(each for each in second.own.listening if ("/ws" in str(each)) is bool(suffix))
        assert first.switch.dial(address) is None
        await until(lambda: bool(mine.came) and bool(theirs.came))
        assert mine.came == [(second.switch.peer_id, b"hello from inbound")]
        assert theirs.came == [(first.switch.peer_id, b"hello from outbound")]
        (seen,) = remote_nodes(second, lambda _: None)
        assert (seen.node_id, seen.version, seen.is_outbound) == (first.switch.peer_id, "1.2.3", False)
        (seen,) = remote_nodes(first, lambda _: None)
        assert (seen.node_id, seen.is_outbound) == (second.switch.peer_id, True)
        assert local_node(first).connections == 1
        # It came from the port on which the other listens.
        assert {peer.address.port for peer in second.switch.peers()} == {address_of(first).port}


async def test_an_address_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with listening_socket(("127.0.0.1", 0), is_shared=True) as taken:
        address = Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}")
        with pytest.raises(
            ListenError, match=f"cannot listen on {address}: Address already in use; another program .* another port"
        ):
            async with running(tmp_path, 1, [LOOPBACK, address]):
                raise AssertionError("it listens")
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        async with running(tmp_path, 1, [Multiaddr.parse("/ip4/192.0.2.1/tcp/1")]):
            raise AssertionError("it listens")


async def test_one_port_for_tcp_and_web_socket_and_one_for_each(tmp_path: Path) -> None:
    listen = [LOOPBACK, Multiaddr.parse("/ip6/::1/tcp/0")]
    async with running(tmp_path, 1, listen) as layer:
        texts = [str(address).partition("/p2p/")[0] for address in layer.own.listening]
        assert [text.partition("/tcp/")[0] for text in texts] == ["/ip4/127.0.0.1"] * 2 + ["/ip6/::1"] * 2
        assert [text.endswith("/ws") for text in texts] == [False, True, False, True]


async def test_no_address_at_all(tmp_path: Path) -> None:
    async with running(tmp_path / "a", 1, []) as first, running(tmp_path / "b", 2) as second:
        first.switch.dial(address_of(second))
        await until(lambda: len(second.switch.peers()) == 1)
        assert local_node(first).addresses == []


async def test_what_is_known_of_peers_survives(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(tmp_path / "a", 1))
        second = await stack.enter_async_context(running(tmp_path / "b", 2))
        first.switch.dial(address_of(second))
        await until(lambda: len(first.tables.store) == 1)
    assert str(address_of(second)) in (tmp_path / "a" / ADDRESSES_FILE).read_text()
    again = service(tmp_path / "a", 1)
    assert [known.peer_id for known in again.tables.store] == [second.switch.peer_id]
    assert again.layer is None


async def test_damaged_files_are_kept_aside_and_stop_nothing(tmp_path: Path) -> None:
    for name in (ADDRESSES_FILE, BANS_FILE):
        (tmp_path / name).write_text('[{"addr":')
    async with running(tmp_path, 1) as layer:
        assert len(layer.tables.store) == 0
    assert json.loads((tmp_path / ADDRESSES_FILE).read_text()) == []
    assert sum("damaged" in path.name for path in sorted(tmp_path.iterdir())) == 2  # noqa: ASYNC240


async def test_a_directory_that_cannot_be_written_is_told_and_the_node_ends_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with running(tmp_path / "file", 1) as layer:
        assert layer.switch.connections == 0


async def test_a_hundred_peers_are_gone_soon(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(running(tmp_path / str(number), number, [])) for number in range(2, 102)
        ]
        context = running(tmp_path / "1", 1)
        layer = await context.__aenter__()
        for peer in peers:
            async with asyncio.timeout(30):
                while not peer.switch.peers():  # an address has only so many handshakes at once, and a second
                    peer.switch.dial(address_of(layer))
                    await asyncio.sleep(0.02)
        await until(lambda: len(layer.switch.peers()) == len(peers))
        started = time.monotonic()
        await context.__aexit__(None, None, None)
        assert time.monotonic() - started < 20  # of a busy machine; 2 s is what it may take
        assert layer.switch.connections == 0
        await until(lambda: not any(peer.switch.peers() for peer in peers))


async def test_both_dial_at_once_and_keep_one_session(tmp_path: Path) -> None:
    async with running(tmp_path / "a", 1) as first, running(tmp_path / "b", 2) as second:
        first.switch.dial(address_of(second))
        second.switch.dial(address_of(first))
        await until(lambda: first.switch.connections == second.switch.connections == 1)
        (one,), (other,) = first.switch.peers(), second.switch.peers()
        assert {one.direction, other.direction} == {Direction.INBOUND, Direction.OUTBOUND}
