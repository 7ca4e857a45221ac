"""Jobs: each is exactly one template, with the header that miners work on. No clock, no sockets.

A round is a template; a miner's work in it differs by who is paid (another cellbase witness) and, for miners whose
nonces have no part of ours, by the header's time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ckb_node.mining.template import BlockTemplate
from ckb_node.runtime.bounded import BoundedMap
from ckb_node.stratum.limits import JOBS, PAYOUTS, ROUNDS, SEEN_SHARES
from ckb_node.stratum.nonces import nonce_number
from consensus.codec.layout import RAW_HEADER
from consensus.crypto.difficulty import compact_to_target
from consensus.crypto.hashing import ckb_hash
from consensus.crypto.merkle import TreeProof, build_proof, merkle_root, proof_root
from consensus.types.blockchain import Block, CellbaseWitness, Header, RawHeader, Script, Transaction

if TYPE_CHECKING:
    from ckb_node.stratum.handout import Job, Wanted


@dataclass(frozen=True, slots=True)
class Prepared:
    """A template whose roots are known. Made beside the event loop: a full block has thousands of hashes."""

    template: BlockTemplate
    header: RawHeader
    target: int
    """Of the block."""
    raw_root: bytes
    witness_proof: TreeProof
    """Of the cellbase's witness, so that another payout costs a few hashes."""


def prepare(template: BlockTemplate) -> Prepared:
    """Any thread."""
    block = template.to_block()
    transactions = block.transactions
    return Prepared(
        template,
        block.header.body,
        compact_to_target(template.compact_target),
        merkle_root([tx.hash for tx in transactions]),
        build_proof([tx.witness_hash for tx in transactions], [0]),
    )


@dataclass(frozen=True, slots=True)
class Work:
    """What miners of one payout work on."""

    template: BlockTemplate
    cellbase: Transaction
    header: RawHeader

    def pow_hash(self, time_offset: int) -> bytes:
        """Of the header that is so many milliseconds later. Bytes alone: hundreds of miners wait for it."""
        raw = self.header.raw
        if time_offset:
            version, target, timestamp, *rest = RAW_HEADER.unpack(raw)
            raw = RAW_HEADER.pack(version, target, timestamp + time_offset, *rest)
        return ckb_hash(raw)

    def solved(self, nonce: bytes, time_offset: int) -> Block:
        """The block of exactly this template. `nonce`: 16 bytes as they were hashed."""
        template = self.template
        return Block(
            header=Header(body=self._at(time_offset), nonce=nonce_number(nonce)),
            uncles=[each.uncle for each in template.uncles],
            transactions=[self.cellbase, *(each.transaction for each in template.transactions)],
            proposals=template.proposals,
            extension=template.extension,
        )

    def _at(self, time_offset: int) -> RawHeader:
        return self.header if not time_offset else self.header.replace(timestamp=self.header.timestamp + time_offset)


def work_for(prepared: Prepared, lock: Script | None) -> Work:
    """`lock`: who is paid instead of the template's own."""
    cellbase = prepared.template.cellbase.transaction
    if lock is None:
        return Work(prepared.template, cellbase, prepared.header)
    message = CellbaseWitness.parse(cellbase.witnesses[0]).message
    paid = Transaction(body=cellbase.body, witnesses=[CellbaseWitness(lock=lock, message=message).raw])
    witnesses_root = proof_root(prepared.witness_proof, [paid.witness_hash])
    root = merkle_root([prepared.raw_root, witnesses_root])
    return Work(prepared.template, paid, prepared.header.replace(transactions_root=root))


@dataclass(slots=True)
class Round:
    """A template that miners work on."""

    id: str
    prepared: Prepared
    superseded_s: float | None = None
    """When a job on another tip came."""
    seen: BoundedMap[tuple[int, bytes], None] = field(default_factory=lambda: BoundedMap(max_count=SEEN_SHARES))
    """Right shares, by time offset and nonce: no two connections have the same."""
    _works: BoundedMap[bytes | None, Work] = field(default_factory=lambda: BoundedMap(max_count=PAYOUTS))
    """By the lock: who comes back again and again names another each time."""
    jobs: BoundedMap[Wanted, Job] = field(default_factory=lambda: BoundedMap(max_count=JOBS))
    """See ckb_node.stratum.handout."""

    @property
    def parent_hash(self) -> bytes:
        return self.prepared.template.parent_hash

    def work(self, lock: Script | None) -> Work:
        """For miners of this payout."""
        key = None if lock is None else lock.raw
        work = self._works.get(key)
        if work is None:
            work = work_for(self.prepared, lock)
            self._works.put(key, work)
        return work

    def is_stale(self, now_s: float, grace_s: float) -> bool:
        """Shares for it do not count any more."""
        return self.superseded_s is not None and now_s - self.superseded_s > grace_s


class Rounds:
    """The last ones. The newest is what miners work on."""

    def __init__(self, first_id: int) -> None:
        """`first_id`: anywhere, so that jobs of a former run are not taken for those of this one."""
        self._next_id = first_id
        self._rounds: Final[BoundedMap[str, Round]] = BoundedMap(max_count=ROUNDS)
        self.current: Round | None = None

    def __len__(self) -> int:
        return len(self._rounds)

    def add(self, prepared: Prepared, now_s: float) -> tuple[Round, bool]:
        """The round of a new template, and whether it is on another tip than the last."""
        round_ = Round(f"{self._next_id:x}", prepared)
        self._next_id += 1
        before, self.current = self.current, round_
        is_new_tip = before is None or before.parent_hash != round_.parent_hash
        if is_new_tip:
            for each in self._rounds.values():
                if each.superseded_s is None:
                    each.superseded_s = now_s
        self._rounds.put(round_.id, round_)
        return round_, is_new_tip

    def get(self, round_id: str) -> Round | None:
        """None when it is forgotten."""
        return self._rounds.get(round_id)


NewRound = Callable[[Round, bool], None]
