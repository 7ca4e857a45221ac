"""The main chain as light clients get it: headers with what makes them verifiable, and MMR proofs (RFC 44)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Final

from consensus.fast.mmr import bagged
from consensus.lookup import require
from consensus.rules.mmr import peak_positions
from consensus.rules.mmr_proof import plan_proof
from consensus.types.core import HeaderDigest
from consensus.types.extensions import VerifiableHeader
from storage.block_extra import BlockExtra
from storage.chain_state import ChainState

__all__ = ["ProvedChain"]

READS_BETWEEN_BREATHS: Final = 256
"""MMR nodes that are read at once; a few microseconds each."""

_NO_CHAIN: Final = HeaderDigest.trusted(bytes(HeaderDigest.SIZE))
"""The chain root before the genesis block."""


class ProvedChain:
    """One state's main chain, for one answer. All calls may raise StorageError, ChainDataError."""

    def __init__(self, state: ChainState) -> None:
        self._state: Final = state
        self._nodes: Final[dict[int, bytes]] = {}
        """Neighbouring blocks have most peaks in common. Bounded by what one answer may ask for."""
        self._totals: Final[dict[int, int]] = {}
        """Searches begin with the same blocks. Bounded likewise."""

    def hash_at(self, number: int) -> bytes:
        """Of the main chain's block at a height that exists."""
        return require(self._state.main_hash(number), "main-chain block", number)

    def total_difficulty(self, number: int) -> int:
        """Of the main chain up to the block at a height that exists."""
        known = self._totals.get(number)
        if known is None:
            block_hash = self.hash_at(number)
            ext = require(self._state.block_ext(block_hash), "block ext", block_hash)
            known = self._totals[number] = ext.total_difficulty
        return known

    def extra_of(self, block_hash: bytes) -> BlockExtra:
        """Of a stored block."""
        return require(self._state.block_extra(block_hash), "block", block_hash)

    def header(self, block_hash: bytes) -> VerifiableHeader:
        """Header of a block whose parent is on the main chain."""
        return self.verifiable(self.extra_of(block_hash))

    def verifiable(self, extra: BlockExtra) -> VerifiableHeader:
        """With the root of the chain before the block."""
        number = extra.header.number
        root = HeaderDigest.trusted(self._root(number)) if number else _NO_CHAIN
        return VerifiableHeader(
            header=extra.header, uncles_hash=extra.uncles_hash, extension=extra.extension, parent_chain_root=root
        )

    def prove(self, last_number: int, numbers: Sequence[int]) -> Generator[None, None, Sequence[HeaderDigest]]:
        """The proof that blocks of these heights are in the chain before block `last_number`; empty without any.
        Raises MmrProofError when one is not."""
        if not numbers:
            return []
        plan = plan_proof(last_number, numbers)
        nodes: list[bytes] = []
        for at in range(0, len(plan.positions), READS_BETWEEN_BREATHS):
            nodes += self._read(plan.positions[at : at + READS_BETWEEN_BREATHS])
            yield
        if plan.bagged:
            nodes.append(bagged(self._read(plan.bagged)))
        return [HeaderDigest.trusted(node) for node in nodes]

    def _root(self, leaf_count: int) -> bytes:
        return bagged(self._read(peak_positions(leaf_count)))

    def _read(self, positions: Iterable[int]) -> list[bytes]:
        known, read = self._nodes, self._state.mmr_node
        found = []
        for position in positions:
            node = known.get(position)
            if node is None:
                node = known[position] = require(read(position), "MMR node", position)
            found.append(node)
        return found
