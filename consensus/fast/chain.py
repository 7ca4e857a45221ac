"""Fast checks of header, DAO field, reward and chain root, see consensus/fast/block.py.

Nothing here refuses anything: a false answer sends the block to the plain rules, which then say what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from consensus.codec.layout import DAO_FIELD, OUTPUT_HEAD, OUTPUT_OFFSETS, U64_MAX
from consensus.context import ChainReader, HeaderProvider
from consensus.crypto.hashing import HASH_SIZE
from consensus.fast.mmr import chain_root_of
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.dao import CapacityMoves, primary_block_reward, secondary_block_reward, share
from consensus.rules.epoch import secondary_issuance
from consensus.rules.hardfork import chain_root_is_required
from consensus.rules.header import ancestor_timestamps, verify_epoch_continuity, verify_header
from consensus.rules.pow import verify_pow
from consensus.rules.reward import has_finalization_target, lock_of_witness
from consensus.types.blockchain import Block, Header, bare_cell_capacity
from consensus.types.core import EpochExt, epoch_number, is_next_in_epoch

_MAX_REMEMBERED = 256


# ---------------------------------------------------------------- ancestors


class Ancestors(NamedTuple):
    """Of a block, itself included. A block's hash fixes them, so they hold for every chain."""

    hashes: tuple[bytes, ...]
    """Hashes of the last ancestors, the block itself at the end; fewer near genesis."""
    times_ms: tuple[int, ...]
    """The timestamps that count for the median of the next block, likewise."""
    latest_ms: int
    """No timestamp among those is greater."""

    def __call__(self, back: int) -> bytes:
        """Hash of the block `back` blocks below."""
        return self.hashes[-1 - back]

    def median_ms(self) -> int:
        """As `median_time` of the block."""
        return sorted(self.times_ms)[len(self.times_ms) // 2]


def ancestors_of(consensus: Consensus, header: Header, reader: HeaderProvider) -> Ancestors:
    """The ancestors of a stored block, derived from those of its parent if these are cached.

    They reach down to the oldest proposals that count for the reward that the next block pays.
    """
    median_of = consensus.median_time_block_count
    count = 2 * consensus.proposal_window.farthest + 1
    key = header.hash, count, median_of
    known = _remembered.get(key)
    if known is None:
        below = _remembered.get((header.parent_hash, count, median_of))
        if below is None:
            hashes = _hashes_until(header, count, reader)
            times = tuple(ancestor_timestamps(reader, header.hash, median_of))
            known = Ancestors(hashes, times, max(times))
        else:
            hashes = (*below.hashes[1 - count :], key[0])
            times = (*below.times_ms, header.timestamp)[-median_of:]
            known = Ancestors(hashes, times, max(below.latest_ms, header.timestamp))
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[key] = known
    return known


def _hashes_until(header: Header, count: int, reader: HeaderProvider) -> tuple[bytes, ...]:
    hashes = [header.hash]
    while len(hashes) < count and header.number > 0:
        header = require(reader.header(header.parent_hash), "header", header.parent_hash)
        hashes.append(header.hash)
    return tuple(reversed(hashes))


_remembered: dict[tuple[bytes, int, int], Ancestors] = {}


# ---------------------------------------------------------------- the header


def fast_verify_header(consensus: Consensus, header: Header, reader: HeaderProvider, now_ms: int) -> None:
    """`verify_header`, which decides if the header is not ordinary: later than all before it."""
    parent = reader.header(header.parent_hash)
    if (
        parent is None
        or header.number != parent.number + 1
        or not ancestors_of(consensus, parent, reader).latest_ms < header.timestamp <= now_ms
    ):
        verify_header(consensus, header, reader, now_ms)
        return
    verify_pow(consensus, header)
    if not is_next_in_epoch(header.epoch, parent.epoch):
        verify_epoch_continuity(header, parent)


# ---------------------------------------------------------------- DAO field


def dao_field_matches(
    consensus: Consensus, header: Header, parent: Header, epoch: EpochExt, moves: CapacityMoves
) -> bool:
    """`verify_dao_field_after`, with one u64 range check for all amounts."""
    total, rate, savings, occupied = DAO_FIELD.unpack(parent.dao)
    if not total:
        return False
    added, freed, worth, capacity = moves
    secondary = secondary_issuance(epoch, parent.number + 1, consensus.secondary_epoch_reward)
    to_savings = secondary - secondary * occupied // total
    interest = worth - capacity
    total_after = total + epoch.block_reward(parent.number + 1) + secondary
    rate_after = rate + rate * secondary // total
    savings_after = savings + to_savings - interest
    occupied_after = occupied + added - freed
    if not min(to_savings, interest, savings_after, occupied_after) >= 0:
        return False
    if max(worth, freed, total_after, rate_after, savings + to_savings, occupied + added) > U64_MAX:
        return False
    return header.dao == DAO_FIELD.pack(total_after, rate_after, savings_after, occupied_after)


# ---------------------------------------------------------------- reward


def reward_matches(consensus: Consensus, block: Block, parent: Header, reader: ChainReader) -> bool:
    """`verify_reward`: the cellbase's only output is the expected cell, or there is no output if none is due."""
    cellbase = block.tx_slices[0]
    paid = b"".join([cellbase.raw[start:end] for start, end in cellbase.layout.outputs])
    if not has_finalization_target(consensus, block.number):
        return not paid
    target_hash = ancestors_of(consensus, parent, reader)(consensus.finalization_delay - 1)
    target = require(reader.header(target_hash), "header", target_hash)
    total = fast_reward(consensus, parent, target, reader)
    witness = require(reader.block(target_hash), "block", target_hash).cellbase_witness
    return total <= U64_MAX and paid == _due_cell(witness, total)


def _due_cell(witness: bytes, total: int) -> bytes:
    """The serialised output that pays the miner of a witness; empty if the reward is too small for a cell."""
    least, size, lock = _miner(witness)
    return OUTPUT_HEAD.pack(size, *OUTPUT_OFFSETS, size, total) + lock if least <= total else b""


@lru_cache(maxsize=64)
def _miner(witness: bytes) -> tuple[int, int, bytes]:
    """The least capacity, size and lock of a cell for the miner of a cellbase's witness."""
    lock = lock_of_witness(witness)
    return bare_cell_capacity(lock), OUTPUT_HEAD.size + lock.raw_size, lock.raw


def fast_reward(consensus: Consensus, parent: Header, target: Header, reader: ChainReader) -> int:
    """The total of `consensus.rules.reward.block_reward`; `target` is the block that is paid after `parent`."""
    reward = _issued_to_miner(consensus, target, reader)
    fees = require(reader.block_ext(target.hash), "block ext", target.hash).txs_fees
    if fees:
        reward += sum(fees) - sum(_proposer_shares(consensus, fees))
    proposed = require(reader.proposal_ids(target.hash), "proposals", target.hash)
    return reward + fast_proposer_reward(consensus, parent, proposed, reader) if proposed else reward


def _issued_to_miner(consensus: Consensus, target: Header, reader: ChainReader) -> int:
    """`primary_block_reward` and `secondary_block_reward`."""
    parent, epoch = reader.header(target.parent_hash), reader.block_epoch(target.hash)
    if parent is not None and epoch is not None:
        total, _, _, occupied = DAO_FIELD.unpack(parent.dao)
        if total:
            issued = secondary_issuance(epoch, target.number, consensus.secondary_epoch_reward)
            secondary: int = issued * occupied // total
            return epoch.block_reward(target.number) + secondary
    return primary_block_reward(target, reader) + secondary_block_reward(consensus, target, reader)


def fast_proposer_reward(consensus: Consensus, parent: Header, proposed: Iterable[bytes], reader: ChainReader) -> int:
    """`consensus.rules.reward.proposer_reward` by the same walk; skips blocks that commit none of the proposals."""
    hashes, window = ancestors_of(consensus, parent, reader).hashes, consensus.proposal_window
    pending, paying = set(proposed), list[int]()
    first_commit = max(parent.number + 1 - (window.farthest - window.closest + 1), 1 + window.closest)
    for back in range(max(parent.number - first_commit, 0) + 1):
        block_hash = hashes[-1 - back]
        committed = require(reader.block(block_hash), "block", block_hash).committed_ids
        if pending.isdisjoint(committed):
            continue
        # What was proposed below the windows of the blocks above, down to the lowest block of this one's.
        lowest = max(parent.number - back - window.farthest, 1)
        highest = max(parent.number - 1 - window.farthest, 1)
        places = [number - parent.number - 1 for number in range(lowest, highest + 1)] if back else []
        fees = require(reader.block_ext(block_hash), "block ext", block_hash).txs_fees
        pairs = list(zip(committed, fees, strict=False))
        fee_of = dict(reversed(pairs))  # of two transactions with one id the first counts
        found = pending.intersection(fee_of)
        paid = found.difference(*[_proposals(reader, hashes[place]) for place in places])
        paying += [fee_of[short_id] for short_id in paid]
        pending -= found
    return sum(_proposer_shares(consensus, paying))


def _proposer_shares(consensus: Consensus, fees: Sequence[int]) -> list[int]:
    """`share` of each fee. DaoOverflowError."""
    numerator, denominator = consensus.proposer_reward_ratio.as_integer_ratio()
    if fees and max(fees) * numerator > U64_MAX:
        return [share("proposer's fee", fee, consensus.proposer_reward_ratio) for fee in fees]
    return [fee * numerator // denominator for fee in fees]


def _proposals(reader: ChainReader, block_hash: bytes) -> frozenset[bytes]:
    return require(reader.proposal_ids(block_hash), "proposals", block_hash)


# ---------------------------------------------------------------- chain root


def chain_root_matches(consensus: Consensus, block: Block, parent: Header, reader: ChainReader) -> bool:
    """`verify_chain_root`, with the MMR root computed by generated code."""
    if not chain_root_is_required(consensus, epoch_number(parent.epoch)):
        return True
    root, extension = chain_root_of(reader, parent), block.extension
    return root is not None and extension is not None and extension[:HASH_SIZE] == root
