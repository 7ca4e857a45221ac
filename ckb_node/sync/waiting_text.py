"""What sync waits for, in words without addresses: others may read them."""

from __future__ import annotations

from ckb_node.chain.initial_download import MinWorkNotReached, TargetNotFound
from ckb_node.runtime.tasks import public_reason
from ckb_node.sync.blocks.waiting import AfterFault, ForBlock, ForHeaders, ForPeers, ForWriter, Waiting
from ckb_node.sync.headers.waiting import Answer, HeaderWait, Judging, NothingMore, PeersNotReady

__all__ = ["blocks_text", "headers_text"]

MIB = 1 << 20


def headers_text(wait: HeaderWait) -> str:
    """Empty when there is nothing to say."""
    match wait:
        case Answer():
            return f"headers of {_peers(wait.peers)}, asked for {wait.seconds:.0f} s ago"
        case Judging():
            return f"{wait.batches} batches of headers are being verified"
        case NothingMore():
            return f"{_peers(wait.peers)} asked and none has more headers; asked again in {wait.again_in:.0f} s"
        case PeersNotReady():
            again = "" if wait.again_in is None else f"; asked again in {wait.again_in:.0f} s"
            return (
                f"of {_peers(wait.peers)} none can be asked: {wait.suspended} are downloading the chain themselves or "
                f"were too slow, the others connected by themselves{again}"
            )
    return ""


def blocks_text(wait: Waiting, now: float) -> str:
    """`now` of the scheduler. Empty when there is nothing to say."""
    match wait:
        case ForHeaders(MinWorkNotReached()):
            return "headers with as much work as this chain is known to have (network.sync.min_chain_work)"
        case ForHeaders(TargetNotFound(target)):
            return f"headers up to the assume-valid target 0x{target.hex()}"
        case ForPeers(number):
            return f"a peer that has block {number}, the next one"
        case ForBlock():
            asked = f"asked of {_peers(len(wait.asked))} {now - wait.since:.0f} s ago"
            return f"block {wait.number}, the next one, {asked}"
        case ForWriter():
            return f"{wait.blocks} blocks ({wait.bytes // MIB} MiB) are being verified and written"
        case AfterFault():
            seconds = max(0.0, wait.retry_at - now)
            return f"this node failed to store blocks ({public_reason(wait.fault)}); tried again in {seconds:.0f} s"
    return ""


def _peers(count: int) -> str:
    return "1 peer" if count == 1 else f"{count} peers"
