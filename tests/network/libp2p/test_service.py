"""Two networks that meet over libp2p, by real processes: messages pass, peers leave, processes end and come back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from network.dialling import NoDial
from network.limits import SYNC
from network.peer import Wire
from tests.support.nodes.networks import LOOPBACK, Notes, address_of, until
from tests.support.nodes.sides import Held, Side, needs_libp2p, side

pytestmark = needs_libp2p


def came(found: Side) -> list[bytes]:
    assert isinstance(found.handler, Notes)
    return [payload for _, payload in found.handler.came]


async def test_two_networks_meet(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as a, side(tmp_path / "b", 2, [a.address]) as b:
        await until(lambda: bool(came(a)) and bool(came(b)))
        assert came(a) == [b"hello from outbound"]
        assert came(b) == [b"hello from inbound"]
        (peer,), (other,) = a.layer.switch.peers(), b.layer.switch.peers()
        assert (peer.wire, other.wire) == (Wire.LIBP2P, Wire.LIBP2P)
        assert peer.peer_id == b.layer.switch.peer_id
        assert other.address == a.address.address
        assert other.identity is not None
        assert other.identity.client_version == "ckb-node/1.2.3"


async def test_large_messages_in_both_directions(tmp_path: Path) -> None:
    payload = os.urandom(SYNC.max_frame)
    async with side(tmp_path / "a", 1) as a, side(tmp_path / "b", 2, [a.address]) as b:
        await until(lambda: bool(came(a)) and bool(came(b)))
        for found in (a, b):
            for _ in range(3):
                assert found.layer.switch.peers()[0].send(SYNC, payload)
        await until(lambda: len(came(a)) == len(came(b)) == 4)
        assert came(a)[1:] == came(b)[1:] == [payload] * 3


@pytest.mark.slow
async def test_a_peer_that_is_told_to_leave_knows_why_and_may_come_back(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as a, side(tmp_path / "b", 2, [a.address]) as b:
        await until(lambda: bool(came(a)) and bool(came(b)))
        a.layer.switch.remove_node(b.layer.switch.peer_id, "for a test")
        await until(lambda: not b.layer.switch.peers())
        await until(lambda: bool(b.layer.switch.peers()) and bool(a.layer.switch.peers()))
        assert (a.ends, b.ends) == ([], [])


async def test_the_process_is_killed_and_the_peers_meet_again(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as a, side(tmp_path / "b", 2, [a.address]) as b:
        await until(lambda: bool(came(a)) and bool(came(b)))
        assert b.libp2p.process is not None
        os.kill(b.libp2p.process.pid, signal.SIGKILL)
        await until(lambda: len(b.ends) == 1)
        await until(lambda: len(came(a)) == 2)
        assert b.libp2p.starts == 2


@pytest.mark.slow
async def test_a_stopped_process_is_replaced(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as a:
        assert a.libp2p.process is not None
        os.kill(a.libp2p.process.pid, signal.SIGSTOP)
        await until(lambda: len(a.ends) == 1)
        await a.ready()
        assert a.ends == ["the libp2p process: it was stopped"]


@pytest.mark.slow
async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as a, side(tmp_path / "b", 2) as b:
        taken = a.libp2p.addresses[0].partition("/p2p/")[0]
        object.__setattr__(b.libp2p.settings, "listen", [taken])
        assert b.libp2p.process is not None
        b.libp2p.process.kill()
        await until(lambda: any("cannot listen" in reason for reason in b.ends))
        object.__setattr__(b.libp2p.settings, "listen", ["/ip4/127.0.0.1/tcp/0"])
        await b.ready()


@pytest.mark.slow
async def test_who_is_not_read_waits_and_loses_nothing(tmp_path: Path) -> None:
    """Longer than the library would wait, and with more than all windows take."""
    slow = Held()
    async with side(tmp_path / "a", 1, handler=slow) as a, side(tmp_path / "b", 2, [a.address]) as b:
        await until(lambda: slow.peer is not None and bool(b.layer.switch.peers()))
        (peer,) = b.layer.switch.peers()
        await until(lambda: peer.version_of(SYNC) is not None)
        sizes = [1_000_000] * 8
        for size in sizes:
            assert peer.send(SYNC, bytes(size))
        begun = b.layer.scheduler.now()
        await until(lambda: b.layer.scheduler.now() - begun > 6.0)
        assert slow.sizes == []
        assert peer.queued_bytes > 0
        held = slow.peer
        assert held is not None
        held.release(SYNC)
        await until(lambda: len(slow.sizes) == len(sizes) + 1)
        assert slow.sizes[1:] == sizes


async def test_a_peer_is_the_same_on_both_wires(tmp_path: Path) -> None:
    """So it has one connection, whichever came first."""
    listen = (LOOPBACK,)
    async with side(tmp_path / "a", 1, listen=listen) as a, side(tmp_path / "b", 2, [a.address], listen=listen) as b:
        await until(lambda: bool(came(a)) and bool(came(b)))
        assert b.layer.switch.dial(address_of(a.layer)) is NoDial.CONNECTED
        async with side(tmp_path / "c", 3, [a.address], listen=listen, is_ready=False) as c:
            assert c.layer.switch.dial(address_of(a.layer)) is None
            await until(lambda: len(came(a)) == 2)
            await c.ready()
            assert c.libp2p.due(c.layer) == []
            assert [peer.wire for peer in c.layer.switch.peers()] == [Wire.CKB]
