"""All bounds and times of block download, in one place. Those of the reference are named so."""

from __future__ import annotations

from typing import Final

MIB: Final = 1 << 20

WINDOW: Final = 8192
"""Heights above the last taken block that may be asked for (reference)."""
LOAD: Final = 1024
"""Hashes of a branch that one read fetches from the store, in another thread."""
FIRST_LOAD: Final = 256
"""Hashes of a new branch that are read at once, on the event loop, so that asking can begin."""
MAX_BRANCHES: Final = 4
"""Branches that are downloaded beside each other: the best one, and those of peers that do not have it."""

MAX_HEADS: Final = 16
"""Best headers of peers among which branches are chosen, the heaviest first."""

MAX_BUFFER_BYTES: Final = 32 * MIB
"""Bytes of blocks that wait for the writer, with what blocks in flight are expected to bring."""
MAX_BUFFER_BLOCKS: Final = 2048
"""Blocks that wait for the writer: the nearer to this, the fewer are asked for. More only give the garbage collector
work."""
MAX_IN_FLIGHT: Final = 4096
"""Blocks in flight (asked for and not here), of all peers together, when no block waits for the writer."""
HOLD_BYTES: Final = 24 * MIB
"""Of blocks that wait for the writer: beyond, peers are not read any more."""
RELEASE_BYTES: Final = 8 * MIB
"""Below, they are read again."""
HARD_BUFFER_BYTES: Final = 64 * MIB
"""Of blocks that wait for the writer: beyond, the highest ones are dropped, and asked for again later."""
FIRST_BLOCK_SIZE: Final = 4096
"""Bytes that a block is expected to have, until some have come."""

MESSAGE_HASHES: Final = 32
"""Hashes of one GetBlocks: a peer answers no more of them (reference)."""
FIRST_BUDGET: Final = 32
"""Budget, which is the blocks that may be in flight at one peer, of a peer that has just come (reference)."""
MAX_CLASS_BUDGET: Final = 128
"""The highest budget that the reference's classes of speed give."""
MAX_BUDGET: Final = 1024
"""The highest budget that a peer's measured rate gives."""
FILL_EVERY: Final = 16
"""A peer with more blocks in flight than this is asked for more at every 16th block that it gives."""
MIN_BUDGET: Final = 2
"""The lowest budget."""
MAX_PEER_BYTES: Final = 8 * MIB
"""Expected bytes of the blocks in flight at one peer."""
AHEAD_SECONDS: Final = 1.0
"""A peer is asked for what it can give in this time and a round trip."""
PUNISHED_ABOVE: Final = 4
"""Budgets fall by their class only when more peers than these give blocks (reference)."""

TICK_IBD_SECONDS: Final = 0.04
"""Between two rounds of asking in the initial download (reference)."""
TICK_SECONDS: Final = 0.2
"""Between two rounds after it (reference)."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at what peers have, whether anything is told or not."""

HEDGE_SECONDS: Final = 0.3
"""The next block is asked of a second peer when the first has had this time, and twice what the second needs."""
FIRST_ANSWER_SECONDS: Final = 1.5
"""A peer that has not answered yet has this time: on a slow line 0.3 s are less than a round trip."""
HEDGE_BLOCKS: Final = 16
"""Blocks that are asked of a second peer at once."""
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
"""Blocks below the target: farther behind, blocks are written in bulk."""
RUN_BLOCKS: Final = 512
"""Blocks of one run, which the bulk writer gets at once."""
RUN_BYTES: Final = 8 * MIB
"""Bytes of one run."""
MAX_RUNS: Final = 2
"""Runs that the writer has been given and has not finished."""
MAX_ONLINE: Final = 16
"""Single blocks likewise, when the node is not far behind."""
RETRY_SECONDS: Final = 1.0
"""Pause after a fault of the writer, doubled at each further one."""
MAX_RETRY_SECONDS: Final = 30.0
"""The longest such pause."""

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
"""Bytes a second to one peer."""
ANSWER_BURST: Final = 32.0 * MIB
"""Bytes at once to one peer that asked for nothing before."""
ANSWER_PRICE: Final = 1024
"""Bytes that each block counts for besides its own: what it costs to look one up."""
ANSWER_WAIT_SECONDS: Final = 0.02
"""Pause before a full connection is looked at again."""
