"""All bounds and times of block download, in one place. Those of the reference are named so."""

from __future__ import annotations

from typing import Final

MIB: Final = 1 << 20

WINDOW: Final = 8192
"""Heights above the last taken block that may be asked for (reference)."""
LOAD: Final = 1024
"""Hashes that are read of a branch at once, by another thread."""
FIRST_LOAD: Final = 256
"""Likewise of a new branch, by the thread that needs them."""
MAX_BRANCHES: Final = 4
"""Branches that are downloaded beside each other: the best one, and those of peers that do not have it."""

MAX_HEADS: Final = 16
"""Headers of peers that are looked at for that, the heaviest first."""

MAX_BUFFER_BYTES: Final = 32 * MIB
"""Blocks that are here and not taken yet, with those that are expected of what was asked."""
MAX_BUFFER_BLOCKS: Final = 2048
"""Likewise in number: more than the writer has to do in a moment only gives the garbage collector work."""
MAX_IN_FLIGHT: Final = 4096
"""Blocks that are asked for and have not come, of all peers, when none waits for the writer."""
HOLD_BYTES: Final = 24 * MIB
RELEASE_BYTES: Final = 8 * MIB
"""When the writer is behind: peers are not read while more is here, and read again below."""
HARD_BUFFER_BYTES: Final = 64 * MIB
"""The highest blocks are given up beyond."""
FIRST_BLOCK_SIZE: Final = 4096
"""What a block is expected to have before any has come."""

MESSAGE_HASHES: Final = 32
"""Of a GetBlocks: more are not looked at (reference)."""
FIRST_BUDGET: Final = 32
MAX_CLASS_BUDGET: Final = 128
"""Blocks in flight at a peer by the reference's classes of speed."""
MAX_BUDGET: Final = 1024
"""Blocks in flight at one peer."""
FILL_EVERY: Final = 16
"""A peer that owes more than this is asked for more at every 16th block that it gives."""
MIN_BUDGET: Final = 2
MAX_PEER_BYTES: Final = 8 * MIB
"""Expected bytes in flight at one peer."""
AHEAD_SECONDS: Final = 1.0
"""A peer is asked for what it can give in this time and a round trip."""
PUNISHED_ABOVE: Final = 4
"""Budgets fall by their class only when more peers than these give blocks (reference)."""

TICK_IBD_SECONDS: Final = 0.04
TICK_SECONDS: Final = 0.2
"""(reference)"""
LOOK_SECONDS: Final = 1.0
"""Between two looks at what peers have, whether anything is told or not."""

HEDGE_SECONDS: Final = 0.3
"""The next block is asked of a second peer when the first has had this time, and twice what the second needs."""
FIRST_ANSWER_SECONDS: Final = 1.5
"""A peer that has not answered yet has this time: on a slow line 0.3 s are less than a round trip."""
HEDGE_BLOCKS: Final = 16
"""That many at once."""
STALL_SECONDS: Final = 4.0
"""What a peer was asked for may be asked of others when nothing has come from it for so long."""
WITHHELD_SECONDS: Final = 1.0
"""Other branches are looked at when the next block of the best one is overdue for so long."""
REPEAT_SECONDS: Final = 10.0
"""A block that no other peer has is asked of the same one again."""
DEBT_SECONDS: Final = 60.0
"""What a peer owes for so long, while it gives others, will not come."""
STANDSTILL_SECONDS: Final = 2.0
"""Between two ticks: this process was stopped, or had no processor."""
SILENT_SECONDS: Final = 30.0
"""A peer that gave no block for so long while it was asked leaves (reference: its budget falls)."""
PENDING_COMPACT_SECONDS: Final = 2.0
"""A block that relay is about to rebuild is not asked for (reference)."""

FAR_BEHIND: Final = 64
"""Blocks: beyond, they are written in bulk."""
RUN_BLOCKS: Final = 512
RUN_BYTES: Final = 8 * MIB
"""Of what is given to the bulk writer at once."""
MAX_RUNS: Final = 2
MAX_ONLINE: Final = 16
"""Runs, or single blocks, that the writer may have to do."""
RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0
"""After a fault of the writer; doubled each time."""

MAX_ASKED: Final = 2000
"""Hashes of a GetBlocks that is not malformed (reference)."""
MAX_QUEUED_ANSWERS: Final = 4096
"""Blocks that one peer may wait for; it is not read meanwhile."""
ANSWER_SLICE_BYTES: Final = MIB
ANSWER_SLICE_BLOCKS: Final = 64
"""Read and sent at once, then others have their turn."""
ANSWER_QUEUE_BYTES: Final = 4 * MIB
"""A peer whose connection has so much to send gets nothing more until it has less."""
ANSWER_RATE: Final = 64.0 * MIB
ANSWER_BURST: Final = 32.0 * MIB
"""Bytes a second, and at once, to one peer."""
ANSWER_PRICE: Final = 1024
"""Of a block beside its bytes: what it costs to look one up."""
ANSWER_WAIT_SECONDS: Final = 0.02
"""Before it is looked again whether a connection has room."""
