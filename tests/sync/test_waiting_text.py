"""What sync waits for, in words."""

from __future__ import annotations

import pytest

from ckb_node.chain.initial_download import MinWorkNotReached, TargetNotFound
from ckb_node.sync.blocks.waiting import AfterFault, ForBlock, ForHeaders, ForNothing, ForPeers, ForWriter, Waiting
from ckb_node.sync.headers.waiting import Answer, HeaderWait, Judging, NoPeer, NothingMore, PeersNotReady
from ckb_node.sync.waiting_text import blocks_text, headers_text

HASH = b"\xab" * 32


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (NoPeer(), ""),
        (Answer(7, 12.4, 1), "headers of 1 peer, asked for 12 s ago"),
        (Judging(3), "3 batches of headers are being verified"),
        (NothingMore(8, 20.0), "8 peers asked and none has more headers; asked again in 20 s"),
        (
            PeersNotReady(5, 4, 300.0),
            "of 5 peers none can be asked: 4 are downloading the chain themselves or were too slow, the others "
            "connected by themselves; asked again in 300 s",
        ),
        (
            PeersNotReady(1, 0, None),
            "of 1 peer none can be asked: 0 are downloading the chain themselves or were too slow, the others "
            "connected by themselves",
        ),
    ],
)
def test_headers(wait: HeaderWait, text: str) -> None:
    assert headers_text(wait) == text


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (ForNothing(), ""),
        (ForHeaders(MinWorkNotReached()), "headers with as much work as this chain is known to have"),
        (ForHeaders(TargetNotFound(HASH)), f"headers up to the assume-valid target 0x{HASH.hex()}"),
        (ForPeers(5, HASH), "a peer that has block 5, the next one"),
        (ForBlock(5, HASH, (1, 2), 90.0), "block 5, the next one, asked of 2 peers 10 s ago"),
        (ForWriter(9, 5 << 20), "9 blocks (5 MiB) are being verified and written"),
        (
            AfterFault(OSError(28, "No space left on device", "/secret/path"), 130.0),
            "this node failed to store blocks (No space left on device); tried again in 30 s",
        ),
        (AfterFault(ValueError("secret"), 90.0), "this node failed to store blocks (ValueError); tried again in 0 s"),
    ],
)
def test_blocks(wait: Waiting, text: str) -> None:
    assert blocks_text(wait, 100.0).startswith(text)
    assert "secret" not in blocks_text(wait, 100.0)
