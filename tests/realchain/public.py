"""Mainnet and testnet with their real genesis blocks, whose system cells come from the official crates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ckb_node.genesis.crates import CratesSource
from ckb_node.specs import load_bundled
from consensus.chainspec.spec import consensus_of
from consensus.params import Consensus
from tests.realchain.cells import KnownCells
from tests.realchain.kinds import MAINNET, TESTNET
from tests.realchain.transactions import TRANSACTIONS
from tests.realchain.vectors import BLOCKS, all_headers

COMMITTED_IN = {
    "81c400a761b0b5f1d8b00d8939e5a729d21d25a08e14e54f0661cb4f6fc6fb81": 4191,
    "9ab05d622dc6d9816f70094242740cca594e677009b88c3f2b367d8b32f928fd": 73_380,
}
"""Blocks of RFC 23's deposit and of its first phase of withdrawing: the DAO script reads their headers."""


@dataclass(frozen=True)
class PublicChain:
    """A public chain's parameters, and the cells that the vectors know of it."""

    consensus: Consensus
    known: KnownCells


def public_chain(network: str, crates: Path) -> PublicChain:
    spec = load_bundled(network)
    genesis = CratesSource(crates).load(spec)
    known = KnownCells()
    known.add_block(genesis)
    for real_block in BLOCKS:
        if real_block.network == network:
            known.add_block(real_block.block)
    by_number = {}
    for real_header in all_headers():
        if real_header.network == network:
            known.headers[real_header.header.hash] = real_header.header
            by_number[real_header.header.number] = real_header.header
    for real in TRANSACTIONS:
        if real.network == network:
            number = COMMITTED_IN.get(real.hash)
            known.add_transaction(real.transaction, None if number is None else by_number[number])
    return PublicChain(consensus_of(spec, genesis), known)


EPOCHS = {MAINNET: (0, 5414, 12_293), TESTNET: (0, 3113, 9690)}
"""First epochs in which `type` scripts run on VM 0, 1, 2."""

LIMIT = 70_000_000
