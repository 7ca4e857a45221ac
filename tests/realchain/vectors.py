"""All vectors of this directory in one place."""

from __future__ import annotations

from tests.realchain import (
    mainnet_01_25,
    mainnet_26_47,
    mainnet_48_64,
    mainnet_65_78,
    mainnet_79_86,
    mainnet_87_99,
    mainnet_later,
    testnet_blocks,
)
from tests.realchain.headers import HEADERS
from tests.realchain.kinds import MAINNET, TESTNET, RealBlock, RealHeader, RealTransaction
from tests.realchain.transactions import TRANSACTIONS

_MAINNET_PARTS = (mainnet_01_25, mainnet_26_47, mainnet_48_64, mainnet_65_78, mainnet_79_86, mainnet_87_99)
FIRST_BLOCKS: dict[str, tuple[RealBlock, ...]] = {
    MAINNET: tuple(block for part in _MAINNET_PARTS for block in part.BLOCKS),
    TESTNET: testnet_blocks.BLOCKS[:15],
}
"""What follows the genesis block without a gap: 1 to 99 of mainnet, 1 to 15 of testnet."""

BLOCKS: tuple[RealBlock, ...] = FIRST_BLOCKS[MAINNET] + mainnet_later.BLOCKS + testnet_blocks.BLOCKS


def all_headers() -> list[RealHeader]:
    """Headers by themselves, of blocks, and of the uncles that blocks embed."""
    found = list(HEADERS)
    for real in BLOCKS:
        found.append(RealHeader(real.network, real.source, real.hash, real.block.header.raw.hex()))
        found += [
            RealHeader(real.network, real.source, uncle.hash.hex(), uncle.header.raw.hex())
            for uncle in real.block.uncles
        ]
    return list({real.hash: real for real in found}.values())


def all_transactions() -> list[RealTransaction]:
    """Transactions by themselves and those of blocks, cellbases aside."""
    return list(TRANSACTIONS) + [
        RealTransaction(real.network, real.source, transaction.hash.hex(), transaction.raw.hex())
        for real in BLOCKS
        for transaction in real.block.transactions[1:]
    ]
