"""What peers get who ask for headers: those of the main chain after the latest common block, or that this node is still
in its own initial download.

One question is answered at a time, in a thread that reads, and each peer has one that waits: it is read no further
until it has its answer. So a crowd of askers waits in a queue of its own, and nothing else waits for it. When no
question can be answered, what a peer that syncs will ask for next is read ahead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

import structlog

from ckb_node.sync.chain import KnownTip, SyncChain
from ckb_node.sync.headers.ahead import HeadersAhead, end_of
from ckb_node.sync.headers.limits import (
    ANSWER_WAIT_SECONDS,
    HINT_SECONDS,
    MAX_ANSWER_QUEUE,
    MAX_HEADERS,
    MAX_LOCATOR,
)
from ckb_node.sync.peers import SyncPeer
from ckb_node.sync.upload import Upload, UploadKind
from consensus.codec.layout import U32
from consensus.crypto.hashing import ZERO_HASH
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetHeaders, InIBD
from network.peer import Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.chain_store import ChainView

__all__ = ["HeaderAnswers", "headers_after", "pack_headers"]

log = structlog.get_logger("sync")

IN_IBD: Final = SYNC_MESSAGE.pack(InIBD())
SEND_HEADERS_ID: Final = 1
HOLDER: Final = "answer with headers"


class HeaderAnswers:
    """Of one node."""

    def __init__(
        self,
        chain: SyncChain,
        scheduler: Scheduler,
        is_in_ibd: Callable[[], bool],
        on_nothing_new: Callable[[SyncPeer], None],
        upload: Upload | None = None,
    ) -> None:
        """`on_nothing_new`: during the initial download a peer asked, and its best header is one that is known here."""
        self._upload: Final = upload or Upload()
        self._served: Final = self._upload.served[UploadKind.HEADERS]
        self._served.waiting = lambda: len(self._waiting)
        self._chain: Final = chain
        self._scheduler: Final = scheduler
        self._is_in_ibd: Final = is_in_ibd
        self._on_nothing_new: Final = on_nothing_new
        self._waiting: Final[OrderedDict[int, tuple[SyncPeer, GetHeaders]]] = OrderedDict()
        self._looked_at: Final[dict[int, float]] = {}
        """When the locator of a peer was looked at during the initial download."""
        self._ahead: Final = HeadersAhead()
        self._is_reading = False
        self._timer: Timer | None = None
        self._has_told_ibd = False
        self.answered = 0
        """Questions that got headers."""

    def asked(self, peer: SyncPeer, message: GetHeaders) -> None:
        """A peer wants headers."""
        locator = message.block_locator_hashes
        self._served.asked += 1
        if len(locator) > MAX_LOCATOR:
            self._served.refused += 1
            apply_penalty(peer.peer, Misbehaviour.SYNC_400_MALFORMED, f"a locator of {len(locator)} hashes")
        elif self._is_in_ibd():
            self._tell_ibd(peer)
            self._look_at_hints(peer, locator)
        elif not len(locator) or locator[-1] != self._chain.consensus.genesis_hash:
            self._served.refused += 1
            apply_penalty(peer.peer, Misbehaviour.SYNC_414_NO_COMMON_ANCESTOR)
        else:
            peer.hold(HOLDER)
            self._waiting[peer.session_id] = (peer, message)
            self._next()

    def has(self, peer: SyncPeer) -> bool:
        """Its question waits."""
        return peer.session_id in self._waiting

    def closed(self, peer: SyncPeer) -> None:
        """It wants nothing more."""
        self._waiting.pop(peer.session_id, None)
        self._looked_at.pop(peer.session_id, None)
        self._ahead.closed(peer.session_id)

    def _tell_ibd(self, peer: SyncPeer) -> None:
        if not self._has_told_ibd:
            self._has_told_ibd = True
            log.info("peers that ask for headers are told that this node still downloads the chain itself")
        peer.peer.send(SYNC, IN_IBD)

    def _look_at_hints(self, peer: SyncPeer, locator: Sequence[bytes]) -> None:
        """Now and then: it costs some reads."""
        now = self._scheduler.now()
        if now - self._looked_at.get(peer.session_id, -HINT_SECONDS) >= HINT_SECONDS:
            self._looked_at[peer.session_id] = now
            if note_hints(self._chain, peer, locator):
                self._on_nothing_new(peer)

    def _next(self) -> None:
        """Answer the first who can take an answer."""
        if self._is_reading:
            return
        may_upload = self._upload.wait(self._scheduler.now()) == 0.0
        for session_id, (peer, message) in list(self._waiting.items()) if may_upload else ():
            if peer.peer.queued_bytes <= MAX_ANSWER_QUEUE:
                del self._waiting[session_id]
                self._is_reading = True
                locator, stop = list(message.block_locator_hashes), message.hash_stop
                ready = self._ahead.find(message)
                work = partial(headers_after, locator=locator, stop=stop, ready=ready)
                self._chain.read(work, partial(self._read, peer, locator))
                return
        if self._waiting and self._timer is None:
            self._timer = self._scheduler.call_later(ANSWER_WAIT_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._next()

    def _read(self, peer: SyncPeer, locator: Sequence[bytes], found: bytes | Exception) -> None:
        """An error is ours: the peer gets no answer and asks again."""
        self._is_reading = False
        then: bytes | None = None
        if isinstance(found, Exception):
            log.error("headers for a peer cannot be read", reason=str(found) or type(found).__name__)
        elif peer.peer.send(SYNC, found):
            self._upload.sent(UploadKind.HEADERS, len(found), self._scheduler.now())
            self.answered += 1
            then = self._ahead.answered(peer.session_id, locator, found)
        peer.release(HOLDER)
        self._next()
        if then is not None and not self._is_reading:
            self._is_reading = True
            self._chain.read(partial(headers_after, locator=[then], stop=ZERO_HASH), partial(self._read_ahead, then))

    def _read_ahead(self, start: bytes, found: bytes | Exception) -> None:
        """An error is met again by who asks."""
        self._is_reading = False
        if not isinstance(found, Exception):
            self._ahead.keep(start, found)
        self._next()


def note_hints(chain: SyncChain, peer: SyncPeer, locator: Sequence[bytes]) -> bool:
    """What a peer says to have: the first hash that is known here is a header of its chain, those before it are hints
    of what else it has. Once for each peer, and only of those that may be asked. True when all are known."""
    with chain.view() as view:
        known = view.known_headers()
        for at, block_hash in enumerate(locator):
            header, work = known.header(block_hash), known.total_difficulty(block_hash)
            if header is not None and work is not None:
                if (peer.is_outbound or peer.is_trusted) and not peer.hints:
                    peer.note_known(KnownTip(header, work))
                    peer.hints = tuple(locator[:at])
                return at == 0
    return False


def headers_after(view: ChainView, *, locator: Sequence[bytes], stop: bytes, ready: bytes | None = None) -> bytes:
    """A SendHeaders message: up to 2000 headers of the main chain after the latest block that the locator has in common
    with it, and before `stop`. The last hash of the locator is that of genesis. `ready`: the answer, if its headers are
    still on the main chain."""
    if ready is not None and (end := end_of(ready)) is not None and view.is_main(end):
        return ready
    first = _latest_common(view, locator) + 1
    return pack_headers(list(_raw_headers(view, first, stop)))


def _raw_headers(view: ChainView, first: int, stop: bytes) -> Iterator[bytes]:
    for _, block_hash in islice(view.main_hashes(first), MAX_HEADERS):
        raw = None if block_hash == stop else view.raw_header(block_hash)
        if raw is None:
            return
        yield raw


def _latest_common(view: ChainView, locator: Sequence[bytes]) -> int:
    """Height. From a side branch that is stored the way leads down to the main chain."""
    for at, block_hash in enumerate(locator):
        header = view.header(block_hash)
        if header is None or view.main_hash(header.number) != block_hash:
            continue
        above = view.header(locator[at - 1]) if at else None
        while above is not None:
            if view.main_hash(above.number - 1) == above.parent_hash:
                return above.number - 1
            above = view.header(above.parent_hash)
        return header.number
    return 0


def pack_headers(raw: Sequence[bytes]) -> bytes:
    """SendHeaders of serialised headers, without an object for each."""
    body = b"".join(raw)
    return b"".join((U32.pack(SEND_HEADERS_ID), U32.pack(12 + len(body)), U32.pack(8), U32.pack(len(raw)), body))
