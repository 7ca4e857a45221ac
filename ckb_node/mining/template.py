"""Block templates: a block to be mined, with what the miner may leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from consensus.types.blockchain import Block, Header, RawHeader, Transaction, UncleBlock


@dataclass(frozen=True, slots=True)
class UncleTemplate:
    """An uncle that the template holds."""

    uncle: UncleBlock
    required: bool = False


@dataclass(frozen=True, slots=True)
class TransactionTemplate:
    """A transaction to commit. `depends`: indices in the template's transactions that must be committed too."""

    transaction: Transaction
    cycles: int | None = None
    depends: Sequence[int] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class CellbaseTemplate:
    """The cellbase."""

    transaction: Transaction
    cycles: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTemplate:
    """A block to be mined. `current_time` ms, `epoch` packed, limits of the whole block."""

    version: int
    compact_target: int
    current_time: int
    number: int
    epoch: int
    parent_hash: bytes
    cycles_limit: int
    bytes_limit: int
    uncles_count_limit: int
    uncles: Sequence[UncleTemplate]
    transactions: Sequence[TransactionTemplate]
    proposals: Sequence[bytes]
    cellbase: CellbaseTemplate
    work_id: int
    dao: bytes
    extension: bytes | None = None
    fees: int = 0
    """Shannons of its transactions; 0 in one that came as JSON."""
    text: list[bytes] = field(default_factory=list, compare=False, repr=False)
    """Its JSON before and behind the time, once it was asked for."""

    def at(self, current_time: int) -> BlockTemplate:
        """The same template at another time."""
        return replace(self, current_time=current_time)

    def with_dao(self, dao: bytes) -> BlockTemplate:
        """The same template with another dao field."""
        return replace(self, dao=dao, text=[])

    def to_block(self) -> Block:
        """The block with all the template offers, its roots computed and nonce 0."""
        zero = bytes(32)
        raw = RawHeader(
            version=self.version,
            compact_target=self.compact_target,
            timestamp=self.current_time,
            number=self.number,
            epoch=self.epoch,
            parent_hash=self.parent_hash,
            transactions_root=zero,
            proposals_hash=zero,
            extra_hash=zero,
            dao=self.dao,
        )
        block = Block(
            header=Header(body=raw, nonce=0),
            uncles=[template.uncle for template in self.uncles],
            transactions=[self.cellbase.transaction, *(template.transaction for template in self.transactions)],
            proposals=self.proposals,
            extension=self.extension,
        )
        return block.with_roots()
