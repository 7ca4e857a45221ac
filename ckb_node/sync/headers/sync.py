"""Header sync: peers are asked for headers, batch after batch, and their answers are judged and kept.

The next batch is asked for as soon as one is seen to hang together, while it is judged and written: so the connection
never stands still. A bound of batches in judgement is the bound of what may be in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from ckb_node.chain.initial_download import MAX_TIP_AGE_MS, InitialDownload
from ckb_node.sync.chain import HeadersTaken, KnownTip, SyncChain
from ckb_node.sync.headers.answers import HeaderAnswers
from ckb_node.sync.headers.asked import AskedPeer
from ckb_node.sync.headers.behind import Step
from ckb_node.sync.headers.choice import choose, waits_for
from ckb_node.sync.headers.limits import (
    ASLEEP_SECONDS,
    MAX_HEADERS,
    MAX_UNJUDGED,
    MAX_UNJUDGED_PEER,
    NEWS_SECONDS,
    REPEAT_SECONDS,
    RUSH_SECONDS,
    SAME_QUESTION_SECONDS,
    SILENCE_SECONDS,
    SUSPEND_SECONDS,
    TICK_SECONDS,
)
from ckb_node.sync.headers.locator import Locators, Trail
from ckb_node.sync.headers.pace import Verdict
from ckb_node.sync.headers.stale import StaleTip
from ckb_node.sync.headers.waiting import HeaderWait
from ckb_node.sync.peers import ChainSync, SyncPeer, SyncPeers
from ckb_node.sync.upload import Upload
from consensus.crypto.hashing import ZERO_HASH
from consensus.fast.header_batch import NotContinuousError, verify_continuous
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Header
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetHeaders
from network.peer import Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["HeaderSync"]

log = structlog.get_logger("sync")

HOLDER: Final = "headers are judged"


class HeaderSync:
    """Of one node. All calls on the network's thread."""

    def __init__(
        self,
        chain: SyncChain,
        peers: SyncPeers,
        scheduler: Scheduler,
        ibd: InitialDownload,
        on_progress: Callable[[], None],
        upload: Upload | None = None,
    ) -> None:
        """`on_progress` is called when there are new headers, and when a peer has said which ones it knows."""
        self._chain: Final = chain
        self._peers: Final = peers
        self._scheduler: Final = scheduler
        self._ibd: Final = ibd
        self._on_progress: Final = on_progress
        self._asked: Final[dict[int, AskedPeer]] = {}
        self._locators: Final = Locators(chain)
        self._answers: Final = HeaderAnswers(chain, scheduler, self._is_in_ibd, self._note_nothing_new, upload)
        self._stale: Final = StaleTip(chain.consensus.min_chain_work, scheduler.now())
        self._unjudged = 0
        self._grew_at = -RUSH_SECONDS
        """When the best header was moved last."""
        self._timer: Timer | None = None
        self._ticked_at = scheduler.now()
        self.taken = 0
        """Headers that were found valid in this run, known ones included."""

    # --- for progress ---

    @property
    def best(self) -> KnownTip:
        """The best known header."""
        return self._chain.best_header()

    @property
    def answered(self) -> int:
        """Questions of peers that got headers."""
        return self._answers.answered

    @property
    def unjudged(self) -> int:
        """Batches that are being judged."""
        return self._unjudged

    @property
    def are_rushing_in(self) -> bool:
        """The best header moves on every moment and more headers are under way: what is not urgent may wait."""
        if self._scheduler.now() - self._grew_at >= RUSH_SECONDS:
            return False
        return self._unjudged > 0 or any(asked.asked_at is not None for asked in self._asked.values())

    def waits_for(self) -> HeaderWait:
        """What stands between this node and more headers."""
        return waits_for(self._asked.values(), self._unjudged, self._scheduler.now())

    # --- for the protocol ---

    def start(self) -> None:
        """Ask whom there is to be asked, and look after them each second."""
        self._ticked_at = self._scheduler.now()
        self._timer = self._scheduler.call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def opened(self, peer: SyncPeer) -> None:
        """Sync is open."""
        self._asked[peer.session_id] = AskedPeer.of(peer, self._scheduler.now())
        self._start_ready()

    def closed(self, peer: SyncPeer) -> None:
        self._answers.closed(peer)
        asked = self._asked.pop(peer.session_id, None)
        if asked is not None:
            asked.is_gone = True

    def received_get_headers(self, peer: SyncPeer, message: GetHeaders) -> None:
        self._answers.asked(peer, message)

    def received_in_ibd(self, peer: SyncPeer) -> None:
        """The peer downloads the chain itself."""
        self._stale.heard(peer.peer.peer_id)
        asked = self._asked.get(peer.session_id)
        if peer.is_outbound and not peer.peer.is_whitelisted:
            apply_penalty(peer.peer, Misbehaviour.SYNC_OUTBOUND_IN_IBD)
        elif asked is not None:
            asked.rest(ChainSync.SUSPENDED, self._scheduler.now() + SUSPEND_SECONDS)

    def received_headers(self, peer: SyncPeer, headers: Sequence[Header]) -> None:
        """Asked for or not."""
        asked = self._asked.get(peer.session_id)
        if asked is None or not asked.may_send(self._scheduler.now()):
            return
        if len(headers) > MAX_HEADERS:
            apply_penalty(peer.peer, Misbehaviour.SYNC_415_INVALID_HEADERS, f"{len(headers)} headers")
            return
        try:
            verify_continuous(headers)
        except NotContinuousError as error:
            apply_penalty(peer.peer, Misbehaviour.SYNC_415_INVALID_HEADERS, str(error))
            return
        asked.asked_at = None
        if asked.again_from is not None:
            self._ask_again(asked, asked.again_from)
            return
        asked.has_ended = len(headers) < MAX_HEADERS
        if headers:
            self._judge(asked, headers)
        if not asked.has_ended:
            self._ask_for_next(asked, headers)
        elif not asked.unjudged:
            self._end(asked)

    def ask(self, peer: SyncPeer) -> None:
        """Ask a peer for what it has above the better of tip and best header, though it is not its turn; when it has
        answered, if it is asked now, or a little later, if it has answered the same a moment ago: its answer may be
        older than what it has told of."""
        asked = self._asked.get(peer.session_id)
        if asked is None:
            return
        if asked.asked_at is not None or asked.unjudged:
            asked.is_to_be_asked = True
        elif not self._ask_from(asked, self._better()):
            asked.be_ready_by(self._scheduler.now() + NEWS_SECONDS)

    # --- asking ---

    def _better(self) -> KnownTip:
        tip, best = self._chain.tip(), self._chain.best_header()
        return tip if tip.total_difficulty >= best.total_difficulty else best

    def _ask_from(self, asked: AskedPeer, tip: KnownTip) -> bool:
        """Ask from the parent of a known header on: so a peer that has it, too, says so. False when the same was asked
        a moment ago."""
        now, header = self._scheduler.now(), tip.header
        start = header.parent_hash if header.number else header.hash
        if asked.was_asked(start, now):
            return False
        asked.note_question(start, now)
        self._locators.find(start, partial(self._send_first, asked, max(0, header.number - 1)))
        return True

    def _ask_again(self, asked: AskedPeer, start: bytes) -> None:
        """Its branch has turned out to be worth keeping."""
        asked.again_from = None
        asked.forget_questions()
        with self._chain.view() as view:
            header = view.known_headers().header(start)
        if header is not None:
            asked.note_question(start, self._scheduler.now())
            self._locators.find(start, partial(self._send_first, asked, header.number))

    def _send_first(self, asked: AskedPeer, number: int, hashes: list[bytes]) -> None:
        if asked.is_gone:
            return
        if not hashes:
            asked.rest(ChainSync.TIP_SYNCED, self._scheduler.now() + SAME_QUESTION_SECONDS)
            return
        asked.trail = Trail(number, hashes)
        self._send(asked, hashes)

    def _ask_for_next(self, asked: AskedPeer, headers: Sequence[Header]) -> None:
        """What comes after a full batch, now or when there is room for it."""
        if asked.trail is None:
            asked.trail = Trail(0, [self._chain.consensus.genesis_hash])
        asked.trail.move_on(headers)
        asked.wants_more = True
        if not asked.peer.is_held:
            self._send_next(asked)

    def _send_next(self, asked: AskedPeer) -> None:
        trail, now = asked.trail, self._scheduler.now()
        if trail is None or asked.was_asked(trail.hashes[0], now):  # it sends again and again what it sent
            asked.has_ended, asked.wants_more = True, False
            return
        asked.peer.chain_sync = ChainSync.STARTED
        asked.note_question(trail.hashes[0], now)
        self._send(asked, trail.hashes)

    def _send(self, asked: AskedPeer, hashes: Sequence[bytes]) -> None:
        message = GetHeaders(hash_stop=ZERO_HASH, block_locator_hashes=hashes)
        asked.peer.peer.send(SYNC, SYNC_MESSAGE.pack(message))

    # --- answers ---

    def _judge(self, asked: AskedPeer, headers: Sequence[Header]) -> None:
        asked.unjudged += 1
        self._unjudged += 1
        if asked.unjudged >= MAX_UNJUDGED_PEER or self._unjudged >= MAX_UNJUDGED:
            asked.peer.hold(HOLDER)
        self._chain.take_headers(headers, partial(self._judged, asked, asked.round, headers))

    def _judged(self, asked: AskedPeer, in_round: int, headers: Sequence[Header], taken: HeadersTaken) -> None:
        asked.unjudged -= 1
        self._unjudged -= 1
        if in_round == asked.round and not asked.is_gone:
            self._note(asked, headers, taken)
        for each in self._asked.values():
            self._go_on(each)

    def _go_on(self, asked: AskedPeer) -> None:
        """There may be room for a peer's next batch."""
        if asked.unjudged and (asked.unjudged >= MAX_UNJUDGED_PEER or self._unjudged >= MAX_UNJUDGED):
            return
        asked.peer.release(HOLDER)
        if asked.wants_more:
            self._send_next(asked)
        if asked.has_ended and not asked.unjudged:
            self._end(asked)

    def _note(self, asked: AskedPeer, headers: Sequence[Header], taken: HeadersTaken) -> None:
        """What was found out about a batch."""
        valid, error = taken.judged.valid, taken.judged.error
        if valid:
            asked.pace.sent(valid, headers[0].timestamp, headers[valid - 1].timestamp)
        was_weighed, asked.is_weighed = asked.is_weighed, taken.last is None or taken.last.hash != headers[-1].hash
        if taken.last is not None:
            self.taken += valid
            if taken.last.hash == self._chain.best_header().hash:
                self._grew_at = self._scheduler.now()
            asked.peer.note_shown(taken.last)
            self._on_progress()
        if taken.again_from is not None:
            asked.round += 1
            asked.again_from = taken.again_from
            if asked.asked_at is None:
                self._ask_again(asked, taken.again_from)
        if taken.fault is None and error is None:
            return
        asked.round += 1
        is_lost = was_weighed and isinstance(error, UnknownParentError)  # we do not remember all branches for ever
        if taken.fault is None and taken.judged.is_sender_at_fault and not is_lost:
            apply_penalty(asked.peer.peer, Misbehaviour.SYNC_415_INVALID_HEADERS, str(error))
        else:
            asked.rest(ChainSync.TIP_SYNCED, self._scheduler.now() + SAME_QUESTION_SECONDS)

    def _end(self, asked: AskedPeer) -> None:
        """The peer has no more headers, and all that it sent are judged."""
        asked.rest(ChainSync.TIP_SYNCED, self._scheduler.now() + REPEAT_SECONDS)
        if asked.is_to_be_asked:
            asked.is_to_be_asked = False
            if self._ask_from(asked, self._better()):
                return
            asked.be_ready_by(self._scheduler.now() + NEWS_SECONDS)
        peer = asked.peer
        best = self._chain.best_header()
        if peer.best_known is None or peer.best_known.total_difficulty <= best.total_difficulty:
            self._stale.heard(peer.peer.peer_id)
        self._on_progress()
        if self._is_in_ibd() and peer.is_outbound and not peer.is_trusted and self._ends_long_ago(peer.best_known):
            apply_penalty(peer.peer, Misbehaviour.SYNC_USELESS_IN_IBD)

    def _ends_long_ago(self, known: KnownTip | None) -> bool:
        return known is not None and self._chain.now_ms() - known.header.timestamp > MAX_TIP_AGE_MS

    def _note_nothing_new(self, peer: SyncPeer) -> None:
        self._stale.heard(peer.peer.peer_id)

    # --- each second ---

    def _is_in_ibd(self) -> bool:
        return self._ibd.is_on(self._chain.tip().header.timestamp, self._chain.now_ms())

    def _tick(self) -> None:
        self._timer = self._scheduler.call_later(TICK_SECONDS, self._tick)
        now = self._scheduler.now()
        elapsed, self._ticked_at = now - self._ticked_at, now
        if elapsed > ASLEEP_SECONDS:
            log.warning("the process was paused: peers are not blamed for it", seconds=round(elapsed))
        is_in_ibd = self._is_in_ibd()
        for asked in list(self._asked.values()):
            if not is_in_ibd:
                asked.peer.hints = ()
            if elapsed > ASLEEP_SECONDS or (asked.peer.is_held and not self._answers.has(asked.peer)):
                asked.put_off(elapsed)
            else:
                self._look_at(asked, elapsed)
        self._end_download_when_all_stand_still()
        self._start_ready()

    def _look_at(self, asked: AskedPeer, elapsed: float) -> None:
        """Who is silent or slow leaves, and who stays behind."""
        now, peer = self._scheduler.now(), asked.peer
        if asked.asked_at is not None:
            asked.pace.waits(min(elapsed, now - asked.asked_at))
            if now - asked.asked_at >= SILENCE_SECONDS:
                self._give_up(asked, "no answer")
                return
        elif asked.is_started and not asked.unjudged:  # nothing is under way
            asked.rest(ChainSync.TIP_SYNCED, now)
        if asked.is_started:
            verdict = asked.pace.look(self._better().header.timestamp, self._chain.now_ms())
            if verdict is Verdict.TOO_SLOW:
                self._give_up(asked, "headers come too slowly")
                return
            if verdict is Verdict.BEGIN_ANEW and asked.asked_at is None and not asked.unjudged:
                self._ask_from(asked, self._better())
        if peer.is_outbound and not self._is_in_ibd():
            self._look_whether_behind(asked, now)

    def _give_up(self, asked: AskedPeer, why: str) -> None:
        """A peer that we chose makes room for another; one that came by itself may want other things of us."""
        peer = asked.peer
        if peer.is_outbound and not peer.peer.is_whitelisted:
            apply_penalty(peer.peer, Misbehaviour.SYNC_TIMEOUT, why)
        else:
            asked.rest(ChainSync.SUSPENDED, self._scheduler.now() + SUSPEND_SECONDS)

    def _look_whether_behind(self, asked: AskedPeer, now: float) -> None:
        peer, behind = asked.peer, asked.behind
        work = None if peer.best_known is None else peer.best_known.total_difficulty
        step = behind.look(work, self._chain.tip(), now)
        if step is Step.ASK and behind.mark is not None and asked.asked_at is None:
            self._ask_from(asked, behind.mark)
        elif step is Step.GIVE_UP:
            if not peer.is_trusted:
                apply_penalty(peer.peer, Misbehaviour.SYNC_TIMEOUT, "its chain stays behind")
            elif asked.is_started:
                asked.rest(ChainSync.SUSPENDED, now + SUSPEND_SECONDS)

    def _end_download_when_all_stand_still(self) -> None:
        if not self._is_in_ibd():
            return
        tip = self._chain.tip()
        if self._stale.is_end(tip, self._chain.best_header(), self._scheduler.now()):
            self._ibd.end()
            log.warning("the tip is old, but no peer has a better one: the initial download is over", number=tip.number)

    def _start_ready(self) -> None:
        """Ask those whose turn it is, from the beginning."""
        if self._timer is None:
            return
        now, better = self._scheduler.now(), self._better()
        is_old = self._chain.now_ms() - better.header.timestamp > MAX_TIP_AGE_MS
        for asked in choose(list(self._asked.values()), now, is_in_ibd=self._is_in_ibd(), is_old=is_old):
            asked.start(now)
            if not self._ask_from(asked, better):
                asked.rest(ChainSync.TIP_SYNCED, now + SAME_QUESTION_SECONDS)
