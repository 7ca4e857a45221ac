"""What the node's end makes of a process' messages, without a process."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from network.identity import Identity
from network.libp2p import messages as ipc
from network.libp2p.bridge import Bridge
from network.libp2p.home import Home, Libp2pSettings
from network.libp2p.messages import CONTROL, Demux, IpcError
from network.libp2p.names import libp2p_id, libp2p_id_text, parse_address
from network.limits import SYNC
from tests.support.network.clock import FakeScheduler

OWN, OTHER = Identity(bytes(31) + b"\1"), Identity(bytes(31) + b"\2")
PEER = parse_address(f"/ip4/192.0.2.1/tcp/8117/p2p/{libp2p_id_text(OTHER.public_key)}")
TOLD = parse_address(f"/ip4/192.0.2.2/tcp/8117/p2p/{libp2p_id_text(Identity(bytes(31) + bytes([3])).public_key)}")
PLACE = "/ip4/127.0.0.1/tcp/8117"


class FakeSession:
    """Takes what comes."""

    session_id, peer_id = 1, OTHER.peer_id

    def receive(self, _: object) -> None:
        """Nothing is done with it."""


class FakeSwitch:
    """Takes no connection, unless it has a session for one."""

    protocols = (SYNC,)
    peer_id = OWN.peer_id
    is_active = True
    carries = 0
    session: FakeSession | None = None

    def __init__(self) -> None:
        self.faults: list[str] = []

    def may_dial(self, _: object) -> bool:
        return True

    def carried(self, *_: object) -> FakeSession | None:
        self.carries += 1
        return self.session

    def peer_of(self, _: object) -> FakeSession | None:
        return self.session

    def fault(self, _session: object, where: str, error: Exception) -> None:
        self.faults.append(f"{where}: {error}")


class FakeLayer:
    """Satisfies network.libp2p.home.Layer."""

    missing_libp2p, outbound_groups = 4, ()

    def __init__(self) -> None:
        self.scheduler, self.registry = FakeScheduler(), self
        self.switch: Any = FakeSwitch()


class Case:
    """A bridge; what it tells the process."""

    def __init__(self, *, is_ready: bool = True) -> None:
        settings = Libp2pSettings(
            network_name="/ckb/92b197aa", client_version="1", spoken=frozenset({SYNC}), bootnodes=[PEER]
        )
        self.home, self.layer = Home(OWN, settings, Random(1)), FakeLayer()
        self.faults: list[str] = []
        self._written, self._demux = list[bytes](), Demux()
        self.bridge = Bridge(self.home, self.layer, self._written.append, self.faults.append)
        self.bridge.start()
        if is_ready:
            self.hear(ipc.Ready(ipc.VERSION, "library", libp2p_id(OWN.public_key), [PLACE]))

    def hear(self, message: ipc.Message, conn: int = CONTROL) -> None:
        self.bridge.receive(ipc.frame(conn, ipc.encode(message)))

    def told(self) -> list[Any]:
        """Since the last look, of all but connections."""
        self.layer.scheduler.advance(0.0)
        data, self._written[:] = b"".join(self._written), []
        return [
            ipc.decode(ipc.TO_PROCESS if conn == CONTROL else ipc.TO_CONNECTION, record[ipc.SIZE_SIZE :])
            for conn, record in self._demux.feed(data)
        ]


def test_it_greets_and_dials_whom_it_knows_when_the_process_listens() -> None:
    case = Case(is_ready=False)
    (hello,) = case.told()
    assert isinstance(hello, ipc.Hello)
    assert hello.protocols == [(SYNC.id, "/ckb/92b197aa/sync/1")]
    case.bridge.dial()
    assert case.told() == []
    case.hear(ipc.Ready(ipc.VERSION, "library", libp2p_id(OWN.public_key), [PLACE]))
    assert case.told() == [ipc.Dial(1, PEER.text)]
    assert case.home.addresses == [f"{PLACE}/p2p/{libp2p_id_text(OWN.public_key)}"]
    is_dialling = [case.bridge.is_dialling]
    for _ in range(2):  # the second one is of no dial
        case.hear(ipc.DialEnded(1, "no"))
        is_dialling.append(case.bridge.is_dialling)
    assert is_dialling == [True, False, False]


def test_who_becomes_a_configured_peer_during_a_dial_takes_no_place_for_ever() -> None:
    """Its dial was begun for the book."""
    case = Case()
    case.home.book.add(TOLD, "")
    case.told()
    case.bridge.dial()
    (dial,) = case.told()
    assert (dial.address, case.home.book.dialled) == (TOLD.text, 1)
    case.home.add(TOLD)
    case.hear(ipc.DialEnded(dial.ticket, None))
    assert case.home.book.dialled == 0


def test_a_process_with_another_key_is_broken() -> None:
    with pytest.raises(IpcError, match="key"):
        Case(is_ready=False).hear(ipc.Ready(ipc.VERSION, "library", libp2p_id(OTHER.public_key), []))


def test_what_it_says_of_its_end_is_passed_on() -> None:
    case = Case()
    case.hear(ipc.Failed("no port"))
    assert case.faults == ["no port"]


def test_gossip_of_nobody_is_not_passed_on() -> None:
    case = Case()
    case.told()
    case.hear(ipc.Gossip(7, 0, 3, b"content"))
    assert case.told() == [ipc.Verdict(7, is_good=False)]


class FaultyJudge:
    """Satisfies network.libp2p.topics.TopicHandler."""

    def received(self, *_: object) -> None:
        raise RuntimeError("of the judge")


def test_a_fault_of_the_judge_is_a_verdict_too() -> None:
    """Else the content kept its place in the process for some seconds."""
    case = Case()
    case.home.topics = {0: FaultyJudge()}
    case.layer.switch.session = FakeSession()
    case.hear(ipc.Connected(libp2p_id(OTHER.public_key), "/ip4/192.0.2.1/tcp/1", is_outbound=False), conn=5)
    case.told()
    case.hear(ipc.Gossip(7, 0, 5, b"content"))
    assert case.told() == [ipc.Verdict(7, is_good=False)]
    assert case.layer.switch.faults == ["gossip: of the judge"]


def test_nothing_is_published_before_it_listens() -> None:
    case = Case(is_ready=False)
    case.told()
    case.bridge.publish(0, b"content")
    assert case.told() == []


@pytest.mark.parametrize(
    ("peer_id", "place", "carries"),
    [
        (libp2p_id(OTHER.public_key), "/ip4/192.0.2.1/tcp/1", 1),
        (b"\0\1x", "/ip4/192.0.2.1/tcp/1", 0),
        (libp2p_id(OTHER.public_key), "nowhere", 0),
    ],
)
def test_a_connection_that_may_not_stay_is_ended(peer_id: bytes, place: str, carries: int) -> None:
    case = Case()
    case.told()
    case.hear(ipc.Connected(peer_id, place, is_outbound=False), conn=5)
    assert case.told() == [ipc.Disconnect()]
    assert case.layer.switch.carries == carries
    assert case.home.ids == {}
    case.hear(ipc.Disconnected("gone"), conn=5)
    assert case.told() == []


def test_its_memory_is_shown() -> None:
    case = Case()
    case.hear(ipc.Stats(1, 2, 3, 4))
    assert case.home.state is not None
    assert case.home.state.stats == ipc.Stats(1, 2, 3, 4)
