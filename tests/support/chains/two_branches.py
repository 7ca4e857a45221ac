"""Two long branches on one base, for deep reorganisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.types.blockchain import Transaction
from tests.support.builders.wallet import ALICE_KEY, Wallet
from tests.support.chains.long_chain import ChainMaker


@dataclass(frozen=True)
class Branches:
    """Serialised blocks. `shorter` and `longer` stand on `base`; `end` on `shorter`, then it is the heaviest."""

    base: Sequence[bytes]
    shorter: Sequence[bytes]
    longer: Sequence[bytes]
    end: Sequence[bytes]
    transactions: int
    """That each branch commits and the other does not."""


def make_branches(depth: int, per_block: int, transfers: int | None = None) -> Branches:
    """Two branches on one base, paid to different miners; `longer` has `depth` blocks.

    Blocks commit `per_block` transfers while there are some: in nearly all, if `transfers` does not say how many.
    """
    ours, theirs = ChainMaker(), ChainMaker()
    count = (depth - 3) * per_block if transfers is None else transfers
    cells = ours.cells(2 * count)
    if theirs.cells(2 * count) != cells:
        raise RuntimeError("the base is not the same for both")
    base = list(ours.raw_blocks)
    theirs.miner = Wallet(ALICE_KEY).lock
    fill(ours, list(ours.transfers(cells[:count])), depth - 1, per_block)
    fill(theirs, list(theirs.transfers(cells[count:])), depth, per_block)
    shorter, longer = ours.raw_blocks[len(base) :], theirs.raw_blocks[len(base) :]
    for _ in range(2):
        ours.add()
    return Branches(base, shorter, longer, ours.raw_blocks[-2:], count)


def fill(maker: ChainMaker, transfers: Sequence[Transaction], depth: int, per_block: int) -> None:
    """Add `depth` blocks, the first two of which cannot commit."""
    batches = [transfers[at * per_block : (at + 1) * per_block] for at in range(depth - 2)]
    maker.add_in_two_phases(batches)
