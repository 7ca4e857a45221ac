"""Looks for the genesis block among the peers of the network: several at a time, each asked anew after a pause.

No I/O: the handlers of three protocols, and what becomes of their peers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ckb_node.genesis.peer_request import GenesisRequest, WantedGenesis
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.runtime.log_text import shown
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block
from network.limits import LIGHT_CLIENT, RELAY, SYNC, ProtocolSpec
from network.messages.protocols import SYNC_MESSAGE, GetHeaders, InIBD
from network.peer import Handler, Peer, Scheduler, Timer

Say = Callable[[str], None]

MAX_ASKED: Final = 3
"""Peers that are asked at the same time, so that slow ones cannot hold up all; they cost 32 MiB each at most."""
OPENING_SECONDS: Final = 3.0
"""For the two protocols to open; then whatever is open is used."""
PAUSE_SECONDS: Final = 30.0
"""Until a peer that had no answer is asked once more: perhaps it has a block more then."""
MAX_FAILURES: Final = 64
"""Peers whose answers are remembered."""
SHOWN_FAILURES: Final = 8


@dataclass(slots=True)
class _Candidate:
    """A connected peer. `request` while it is asked, `timer` while it waits for its turn."""

    peer: Peer
    request: GenesisRequest | None = None
    timer: Timer | None = None
    is_ready: bool = False

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class GenesisSearch:
    """`on_found` is told the block, once; it is the wanted one by its hash."""

    def __init__(
        self, wanted: WantedGenesis, scheduler: Scheduler, say: Say, on_found: Callable[[Block], None]
    ) -> None:
        self._wanted, self._scheduler, self._say, self._on_found = wanted, scheduler, say, on_found
        self._candidates: Final[dict[int, _Candidate]] = {}
        self._failures: Final[OrderedDict[str, str]] = OrderedDict()
        """By address, the last one last."""
        self._not_before: Final[OrderedDict[str, float]] = OrderedDict()
        """By peer id."""
        self._is_over = False
        self.handlers: Final[Sequence[Handler]] = (_Sync(self), _Part(self, LIGHT_CLIENT), _Part(self, RELAY))

    @property
    def failures(self) -> list[str]:
        """What peers had instead of the block, a line for each of the last ones."""
        lines = [f"{address}: {reason}" for address, reason in self._failures.items()]
        return lines[-SHOWN_FAILURES:]

    @property
    def state(self) -> str:
        """What goes on, for people."""
        if not self._candidates:
            return "no peer of this chain is connected yet"
        requests = [(each.peer, each.request) for each in self._asked]
        asked = [f"{peer.address}: {request.progress}" for peer, request in requests if request is not None]
        waiting = len(self._candidates) - len(asked)
        return "; ".join([*asked, f"{waiting} {'more ' if asked else ''}connected"])

    def note_failure(self, address: str, reason: str) -> None:
        """Why a peer is of no use, or cannot be reached."""
        self._failures.pop(address, None)
        self._failures[address] = reason
        if len(self._failures) > MAX_FAILURES:
            self._failures.popitem(last=False)

    # ------------------------------------------------------------ of the handlers

    def opened(self, peer: Peer) -> None:
        """One of the protocols is open."""
        if self._is_over:
            return
        candidate = self._candidates.get(peer.session_id)
        if candidate is None:
            candidate = self._candidates[peer.session_id] = _Candidate(peer)
            self._wait(candidate, max(OPENING_SECONDS, self._not_before.get(peer.peer_id, 0.0) - self._scheduler.now()))
        is_whole = all(peer.version_of(protocol) is not None for protocol in (LIGHT_CLIENT, RELAY))
        if is_whole and candidate.request is None and self._not_before.get(peer.peer_id, 0.0) <= self._scheduler.now():
            candidate.stop_timer()
            self._ready(candidate)

    def received(self, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
        candidate = self._candidates.get(peer.session_id)
        if candidate is not None and candidate.request is not None:
            candidate.request.received(protocol, payload)

    def closed(self, peer: Peer) -> None:
        """One of the protocols is closed: without it the peer is of no use."""
        candidate = self._candidates.pop(peer.session_id, None)
        if candidate is None:
            return
        candidate.stop_timer()
        if candidate.request is not None:
            candidate.request.closed()
        self._start_some()

    # ------------------------------------------------------------ turns

    @property
    def _asked(self) -> list[_Candidate]:
        return [each for each in self._candidates.values() if each.request is not None]

    def _wait(self, candidate: _Candidate, seconds: float) -> None:
        candidate.is_ready = False
        candidate.stop_timer()
        candidate.timer = self._scheduler.call_later(seconds, lambda: self._ready(candidate))

    def _ready(self, candidate: _Candidate) -> None:
        candidate.timer = None
        candidate.is_ready = True
        self._start_some()

    def _start_some(self) -> None:
        for candidate in list(self._candidates.values()):
            if self._is_over or len(self._asked) >= MAX_ASKED:
                return
            if candidate.is_ready and candidate.request is None:
                self._start(candidate)

    def _start(self, candidate: _Candidate) -> None:
        peer = candidate.peer
        identity = peer.identity
        version = "" if identity is None else f" (version {shown(identity.client_version[:60])})"
        self._say(f"Asking {peer.address}{version} for the genesis block")
        candidate.is_ready = False
        candidate.request = GenesisRequest(
            peer, self._wanted, self._scheduler, lambda result: self._ended(candidate, result)
        )
        candidate.request.start()

    def _ended(self, candidate: _Candidate, result: Block | str) -> None:
        candidate.request = None
        if self._is_over:
            return
        if isinstance(result, Block):
            self._end(candidate, result)
            return
        peer = candidate.peer
        self._say(f"{peer.address}: {result}")
        self.note_failure(str(peer.address), result)
        self._not_before[peer.peer_id] = self._scheduler.now() + PAUSE_SECONDS
        if len(self._not_before) > MAX_FAILURES:
            self._not_before.popitem(last=False)
        if peer.session_id in self._candidates:
            self._wait(candidate, PAUSE_SECONDS)
        self._scheduler.call_later(0.0, self._start_some)  # not within a call of another request

    def _end(self, candidate: _Candidate, block: Block) -> None:
        self._is_over = True
        for each in self._candidates.values():
            each.stop_timer()
            if each.request is not None:
                each.request.cancel()
        size = len(block.raw)
        self._say(f"{candidate.peer.address} gave {bytes_text(block.hash)}: {size:,} bytes")
        self._on_found(block)


class _Part:
    """Satisfies network.peer.Handler: one of the protocols on which is asked."""

    def __init__(self, search: GenesisSearch, protocol: ProtocolSpec) -> None:
        self._search, self._protocol = search, protocol

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        self._search.opened(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._search.received(peer, self._protocol, payload)

    def closed(self, peer: Peer) -> None:
        self._search.closed(peer)


class _Sync(_Part):
    """Without Sync no peer stays. To questions about headers it says that this node has none yet."""

    def __init__(self, search: GenesisSearch) -> None:
        super().__init__(search, SYNC)

    def received(self, peer: Peer, payload: bytes) -> None:
        try:
            message = SYNC_MESSAGE.parse(payload, compatible=True)
        except MoleculeError:
            peer.disconnect("an undecodable message")
            return
        if isinstance(message, GetHeaders):
            peer.send(SYNC, SYNC_MESSAGE.pack(InIBD()))
