"""Compact blocks: how ours are made, how those of peers are taken apart, and what must hold of one by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final

from ckb_node.sync.relay.status import RelayFault
from ckb_node.sync.relay.unread import field_bounds
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import NUMBER_SIZE, SHORT_ID_SIZE, TRANSACTION_HEAD, U32
from consensus.codec.molecule import pack_parts
from consensus.crypto.hashing import HASH_SIZE, ckb_hash
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from consensus.types.core import EpochFraction
from network.messages.protocols import CompactBlock
from network.peers.penalties import Misbehaviour

__all__ = ["Sketch", "compact_message", "fixed_items", "is_stale", "read_compact", "tx_hashes", "verify_counts"]

COMPACT_BLOCK_ID: Final = U32.pack(0)
"""Of the item in a RelayMessage."""

_INDEX_AT: Final = 3 * NUMBER_SIZE
_TRANSACTION_AT: Final = _INDEX_AT + NUMBER_SIZE
"""In a prefilled transaction: behind its size, its two offsets, and its index."""

MORE_THAN_A_BLOCK: Final = 64
"""Bytes that a compact block's heads of tables may take more than the block's own, besides those of its prefilled
transactions."""

MIN_TRANSACTION: Final = 200
"""Bytes that a transaction with an input and an output takes of a block at least; only cellbases have less."""

MOST_HEADS: Final = 1.25
"""Times as large as its block is a compact block whose transactions are all prefilled, and as small as they can be."""


def compact_message(block: Block) -> bytes:
    """The message that announces a block: its cellbase whole, the other transactions by short id.

    Put together from the block's bytes, for it is made while all peers wait for it.
    """
    raw, bounds = block.raw, block.bounds
    first, second = trusted_bounds(raw, bounds[2])[:2]
    cellbase = pack_parts([pack_parts([U32.pack(0), raw[first:second]])])
    uncles = [uncle.hash for uncle in block.uncles] if block.has_uncles else []
    header, proposals = raw[bounds[0] : bounds[1]], raw[bounds[3] : bounds[4]]
    extension = [raw[bounds[4] : bounds[5]]] if len(bounds) > 5 else []
    parts = [header, _fixed_vector(block.committed_ids), cellbase, _fixed_vector(uncles), proposals, *extension]
    return COMPACT_BLOCK_ID + pack_parts(parts)


def _fixed_vector(items: Sequence[bytes]) -> bytes:
    return U32.pack(len(items)) + b"".join(items)


def tx_hashes(transaction: bytes) -> tuple[bytes, bytes]:
    """Hash and witness hash of a serialised Transaction that passed the strict check."""
    _, body, witnesses = TRANSACTION_HEAD.unpack_from(transaction)
    return ckb_hash(transaction[body:witnesses]), ckb_hash(transaction)


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """What a compact block says of a block. `ids` are short ids by place, None where a transaction is prefilled: its
    place, bytes, hash and witness hash.

    `proposals` and `extension` are serialised vectors. `digest` is of the whole compact block: peers mostly send equal
    ones. `size` in bytes.
    """

    header: Header
    ids: Sequence[bytes | None]
    prefilled: Sequence[tuple[int, bytes, bytes, bytes]]
    uncles: Sequence[bytes]
    proposals: bytes
    extension: bytes | None
    digest: bytes
    size: int

    @property
    def hash(self) -> bytes:
        return self.header.hash

    def id_places(self) -> list[int]:
        """Places of the transactions that are given by short id."""
        return [place for place, short_id in enumerate(self.ids) if short_id is not None]

    def proposal_ids(self) -> list[bytes]:
        """Short ids that the block proposes."""
        return fixed_items(self.proposals, 0, SHORT_ID_SIZE)


# ---------------------------------------------------------------- rules, in the order in which they are asked


def read_header(consensus: Consensus, payload: bytes) -> Header:
    """The header of a CompactBlock in its union, in bytes of its own, before the rest is decoded. Raises MoleculeError,
    and RelayFault 400 when it is larger than `verify_counts` ever allows."""
    if len(payload) > consensus.max_block_bytes * MOST_HEADS + MORE_THAN_A_BLOCK:
        raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"a compact block of {len(payload)} bytes")
    first, second = field_bounds("CompactBlock", payload, 5, 6)[:2]
    return Header.parse(payload[first:second])


def verify_counts(consensus: Consensus, message: CompactBlock) -> None:
    """400: not more uncles, proposals, transactions and bytes than a block may have. Each short id stands for more
    bytes than it has, so that a compact block is hardly larger than its block. The reference asks the first two only.
    """
    uncles, proposals = len(message.uncles), len(message.proposals)
    if uncles > consensus.max_uncles:
        raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{uncles} uncles, at most {consensus.max_uncles}")
    if proposals > consensus.max_block_proposals:
        most = consensus.max_block_proposals
        raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{proposals} proposals, at most {most}")
    most = consensus.max_block_bytes // MIN_TRANSACTION
    if len(message.short_ids) > most:
        raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{len(message.short_ids)} short ids, at most {most}")
    heads = MORE_THAN_A_BLOCK + _TRANSACTION_AT * len(message.prefilled_transactions)
    if message.raw_size > consensus.max_block_bytes + heads:
        raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"a compact block of {message.raw_size} bytes")


def is_stale(tip: Header, header: Header) -> bool:
    """105: more than an epoch behind the tip. What is nearer may still become an uncle, whatever its height."""
    return header.number < tip.number - EpochFraction.unpack(tip.epoch).length


def read_compact(message: CompactBlock, header: Header) -> Sketch:
    """Take a compact block apart. `header` is its header. Raises RelayFault 403 to 407."""
    raw = message.raw
    bounds = trusted_bounds(raw, 0)
    ids = fixed_items(raw, bounds[1], SHORT_ID_SIZE)
    spans = list(pairwise(trusted_bounds(raw, bounds[2])))
    places = [U32.unpack_from(raw, start + _INDEX_AT)[0] for start, _ in spans]
    verify_prefilled_places(places, len(ids) + len(places))
    transactions = [raw[start + _TRANSACTION_AT : end] for start, end in spans]
    prefilled = [(place, each, *tx_hashes(each)) for place, each in zip(places, transactions, strict=True)]
    verify_short_ids(ids, [tx_hash[:SHORT_ID_SIZE] for _, _, tx_hash, _ in prefilled[1:]])
    return Sketch(
        header=header,
        ids=_by_place(ids, places),
        prefilled=prefilled,
        uncles=fixed_items(raw, bounds[3], HASH_SIZE),
        proposals=raw[bounds[4] : bounds[5]],
        extension=raw[bounds[5] : bounds[6]] if len(bounds) > 6 else None,
        digest=ckb_hash(raw),
        size=len(raw),
    )


def verify_prefilled_places(places: Sequence[int], count: int) -> None:
    """404: the cellbase is prefilled; 407: no place is beyond the block's `count` transactions; 406: they rise."""
    if not places or places[0] != 0:
        raise RelayFault(Misbehaviour.RELAY_404_NO_PREFILLED_CELLBASE)
    if places[-1] >= count:
        raise RelayFault(Misbehaviour.RELAY_407_PREFILLED_OUT_OF_RANGE, f"{places[-1]} of {count}")
    if any(after <= before for before, after in pairwise(places)):
        raise RelayFault(Misbehaviour.RELAY_406_PREFILLED_OUT_OF_ORDER)


def verify_short_ids(ids: Sequence[bytes], prefilled: Sequence[bytes]) -> None:
    """403: no short id twice; 405: none of a transaction that is prefilled. The cellbase may have anyone's."""
    distinct = set(ids)
    if len(distinct) != len(ids):
        raise RelayFault(Misbehaviour.RELAY_403_DUPLICATE_SHORT_IDS)
    if not distinct.isdisjoint(prefilled):
        raise RelayFault(Misbehaviour.RELAY_405_DUPLICATE_PREFILLED)


def _by_place(ids: Sequence[bytes], prefilled: Sequence[int]) -> list[bytes | None]:
    """Short ids in order, with None at the places of the prefilled, which rise."""
    by_place: list[bytes | None] = []
    rest = iter(ids)
    for place in prefilled:
        by_place.extend(islice(rest, place - len(by_place)))
        by_place.append(None)
    by_place.extend(rest)
    return by_place


def fixed_items(raw: bytes, start: int, size: int, first: int = 0, last: int | None = None) -> list[bytes]:
    """The items of a vector of items of one size, or some of them: cut out at once, as one by one takes longer."""
    count: int = U32.unpack_from(raw, start)[0]
    begin = start + NUMBER_SIZE
    end = count if last is None else min(count, last)
    return [raw[at : at + size] for at in range(begin + first * size, begin + end * size, size)]
