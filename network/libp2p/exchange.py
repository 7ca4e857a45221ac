"""Discovery on libp2p: nodes tell each other where to dial over libp2p. No I/O.

The messages are those of the CKB wire's Discovery; addresses end in a peer id of libp2p. The dialler asks when the
stream opens, and again as long as it wants peers; who is asked answers with peers that it is connected with, and with
addresses that have answered it. Nothing is told unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from network.libp2p.book import Book
from network.libp2p.names import Libp2pAddress, address_bytes, parse_address, parse_address_bytes
from network.limits import DISCOVERY, Flags, ProtocolSpec
from network.messages.peers import DiscoveryMessage, GetNodes, Node, Nodes
from network.multiaddr import MultiaddrError
from network.peer import Direction, Handler, Peer, Scheduler, Timer
from network.peers.groups import group_of
from network.peers.penalties import Misbehaviour, apply_penalty
from network.protocols.discovery_messages import ANSWER, BadDiscovery, FoundNodes, get_nodes, read_message
from network.protocols.pace import MessagePace

__all__ = ["DiscoveryOfWires", "PeerExchange"]

MAX_TOLD: Final = 64
"""Addresses in an answer; of a longer one the others are not read."""
ASK_AGAIN: Final = 300.0
"""Seconds between questions to a peer, while peers are wanted."""
MESSAGES_PER_SECOND: Final = 1 / 60
MESSAGES_AT_ONCE: Final = 8.0


@dataclass(slots=True)
class _Session:
    peer: Peer
    address: Libp2pAddress | None = None
    """Where others can reach the peer, when that is known."""
    questions: int = 0
    """To the peer, without an answer yet."""


class PeerExchange:
    """Satisfies network.peer.Handler, for sessions on libp2p."""

    protocol: ProtocolSpec = DISCOVERY

    def __init__(
        self,
        scheduler: Scheduler,
        rng: Random,
        book: Book,
        *,
        id_of: Callable[[int], str | None],
        listen_port: Callable[[], int | None],
        wants_peers: Callable[[], bool],
        allow_local: bool,
    ) -> None:
        """`id_of` a session: its peer id of libp2p. `allow_local`: as in DiscoveryProtocol."""
        self._scheduler, self._rng, self._book = scheduler, rng, book
        self._id_of, self._listen_port, self._wants_peers = id_of, listen_port, wants_peers
        self._allow_local: Final = allow_local
        self._sessions: Final = dict[int, _Session]()
        self._pace: Final = MessagePace(scheduler, DISCOVERY, rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE)
        self._timer: Timer | None = None

    # --- network.peer.Handler ---

    def opened(self, peer: Peer) -> None:
        session = self._sessions[peer.session_id] = _Session(peer)
        if peer.direction is Direction.OUTBOUND:
            session.address = self._named(peer, peer.address.port)
            self._ask(session)
        if self._timer is None:
            self._timer = self._scheduler.call_later(ASK_AGAIN, self._ask_again)

    def closed(self, peer: Peer) -> None:
        self._sessions.pop(peer.session_id, None)
        self._pace.forget(peer)
        if not self._sessions and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def received(self, peer: Peer, payload: bytes) -> None:
        session = self._sessions.get(peer.session_id)
        if session is None:
            return
        self._pace.spend(peer)
        try:
            message = read_message(payload)
            if isinstance(message, GetNodes):
                self._asked(session, message)
            else:
                self._told(session, message)
        except BadDiscovery as fault:
            apply_penalty(peer, fault.misbehaviour)

    # --- questions and answers ---

    def _ask(self, session: _Session) -> None:
        session.questions += 1
        session.peer.send(DISCOVERY, get_nodes(self._listen_port(), Flags.COMPATIBILITY))

    def _ask_again(self) -> None:
        self._timer = self._scheduler.call_later(ASK_AGAIN, self._ask_again)
        if self._wants_peers():
            for session in list(self._sessions.values()):
                if session.peer.direction is Direction.OUTBOUND:
                    self._ask(session)

    def _asked(self, session: _Session, message: GetNodes) -> None:
        """An inbound peer says where it listens: at its own address, so that it can name nobody else."""
        found = self._to_tell(session, min(message.count, MAX_TOLD))
        if session.address is None and message.listen_port:
            session.address = self._named(session.peer, message.listen_port)
        items = [Node(addresses=[address_bytes(each)], flags=int(Flags.COMPATIBILITY)) for each in found]
        session.peer.send(DISCOVERY, DiscoveryMessage(payload=Nodes(announce=ANSWER, items=items)).raw)

    def _to_tell(self, session: _Session, count: int) -> list[Libp2pAddress]:
        others = [each.address for each in self._sessions.values() if each is not session]
        here = [address for address in others if address is not None and self._is_good(address)]
        found = dict.fromkeys(self._rng.sample(here, min(count, len(here))))
        found |= dict.fromkeys(self._book.to_share(count, self._scheduler.now()))
        asker = session.peer.peer_id
        return [each for each in found if each.address.peer_id != asker][:count]

    def _told(self, session: _Session, message: FoundNodes) -> None:
        """Raises BadDiscovery."""
        if not session.questions or message.is_announcement:
            raise BadDiscovery(Misbehaviour.DISCOVERY_SECOND_NODES)
        session.questions -= 1
        teller = group_of(session.peer.address)
        for address in _read(message):
            if self._is_good(address):
                self._book.add(address, teller)

    def _named(self, peer: Peer, port: int | None) -> Libp2pAddress | None:
        name = self._id_of(peer.session_id)
        if name is None or port is None:
            return None
        return parse_address(f"{peer.address.without_peer_id().with_port(port)}/p2p/{name}")

    def _is_good(self, address: Libp2pAddress) -> bool:
        """Names may lead anywhere."""
        return address.address.ip is not None and (self._allow_local or address.address.is_reachable)


def _read(message: FoundNodes) -> Iterator[Libp2pAddress]:
    """Raises BadDiscovery."""
    for node in message.nodes[:MAX_TOLD]:
        for raw in node.addresses:
            try:
                yield parse_address_bytes(raw)
            except MultiaddrError:
                raise BadDiscovery(Misbehaviour.DISCOVERY_UNDECODABLE) from None


class DiscoveryOfWires:
    """Discovery, on each wire about that wire. Satisfies network.peer.Handler."""

    protocol: ProtocolSpec = DISCOVERY

    def __init__(self, ckb: Handler, libp2p: Handler, is_libp2p: Callable[[int], bool]) -> None:
        """`is_libp2p`: of a session that lives."""
        self._ckb, self._libp2p, self._is_libp2p = ckb, libp2p, is_libp2p

    def _of(self, peer: Peer) -> Handler:
        return self._libp2p if self._is_libp2p(peer.session_id) else self._ckb

    def opened(self, peer: Peer) -> None:
        self._of(peer).opened(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._of(peer).received(peer, payload)

    def closed(self, peer: Peer) -> None:
        """To both: whose it was is forgotten by now, and the other one does not know it."""
        self._ckb.closed(peer)
        self._libp2p.closed(peer)
