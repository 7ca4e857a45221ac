"""Who is asked for headers from the beginning, and what is waited for when nobody is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckb_node.sync.headers.asked import AskedPeer
from ckb_node.sync.headers.limits import MAX_ASKED_BEHIND
from ckb_node.sync.headers.waiting import Answer, HeaderWait, Judging, NoPeer, NothingMore, PeersNotReady
from ckb_node.sync.peers import ChainSync

__all__ = ["choose", "waits_for"]


def choose(peers: Sequence[AskedPeer], now: float, *, is_in_ibd: bool, is_old: bool) -> Sequence[AskedPeer]:
    """Of peers that are ready; who was not asked the longest comes first. `is_old`: the best header is over a day old.

    As long as there is much to get in the initial download, one peer is asked at a time, a trusted one, as the
    reference does. But one that is silent does not keep others from being asked, and when no trusted one has more
    though the best header is old, the others have their turn. All are asked when there is little to get: so they say
    what they know.
    """
    ready = sorted((each for each in peers if each.is_ready(now)), key=lambda each: each.started_at)
    if not ready:
        return ()
    if not is_old:
        return ready
    answering = [each for each in peers if each.is_answering(now)]
    if not is_in_ibd:
        return ready[: max(0, MAX_ASKED_BEHIND - len(answering))]
    trusted = [each for each in ready if each.peer.is_trusted]
    if trusted:
        return () if any(each.peer.is_trusted for each in answering) else trusted[:1]
    return () if answering else ready[:1]


def waits_for(peers: Iterable[AskedPeer], unjudged: int, now: float) -> HeaderWait:
    """What stands between the node and more headers."""
    all_peers = list(peers)
    if not all_peers:
        return NoPeer()
    open_questions = [(each.asked_at, each.peer.session_id) for each in all_peers if each.asked_at is not None]
    if open_questions:
        asked_at, session_id = min(open_questions)
        return Answer(session_id, now - asked_at, len(open_questions))
    if unjudged:
        return Judging(unjudged)
    done = [each.ready_at for each in all_peers if each.peer.chain_sync is ChainSync.TIP_SYNCED]
    if done:
        return NothingMore(len(done), max(0.0, min(done) - now))
    suspended = [each.ready_at for each in all_peers if each.peer.chain_sync is ChainSync.SUSPENDED]
    again_in = max(0.0, min(suspended) - now) if suspended else None
    return PeersNotReady(len(all_peers), len(suspended), again_in)
