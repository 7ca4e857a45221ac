"""Answers of the methods `explain.…` as JSON, with a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from msgspec import Struct

from ckb_node.jsonrpc_types.hex_text import bytes_text, optional_uint, uint_text
from ckb_node.txpool.explain import Explanation, FeePlace, Progress, ProposedIn, QueuePlace
from ckb_node.txpool.time_locks import TimeLock
from consensus.types.core import TransactionInfo


class SpenderJson(Struct, frozen=True):
    """What spends a cell, by which input. `state` is pending, gap, proposed or committed; the block if committed."""

    tx_hash: str
    input_index: str
    state: str
    block_number: str | None = None
    block_hash: str | None = None
    tx_index: str | None = None


class CellFateJson(Struct, frozen=True):
    """`status` is live, spent or unknown (neither the chain nor the pool ever had it)."""

    status: str
    spender: SpenderJson | None = None


class PlaceInBlockJson(Struct, frozen=True):
    """Where a transaction was committed."""

    block_number: str
    block_hash: str
    tx_index: str


class RejectionJson(Struct, frozen=True):
    """Why the pool refused a transaction, as in `get_transaction`."""

    type: str
    description: str


class QueuePlaceJson(Struct, frozen=True):
    """`of` is rpc, peer or returning; `place` counts from 1 and is null far behind."""

    of: str
    place: str | None
    length: str


class FeePlaceJson(Struct, frozen=True):
    """Who pays better. Rates in shannons per 1000 weight units; sums are null when very many are ahead."""

    ahead: str
    bytes_ahead: str | None
    cycles_ahead: str | None
    competing: str
    fee_rate: str
    package_rate: str
    size: str
    cycles: str


class ProposalJson(Struct, frozen=True):
    """The block that proposed a transaction, and the heights between which it may be committed."""

    block_number: str
    first_commit: str
    last_commit: str


class EpochTimeJson(Struct, frozen=True):
    """`number` + `index` / `length` epochs."""

    number: str
    index: str
    length: str


class TimeLockJson(Struct, frozen=True):
    """What is not mature: `part` Inputs or CellDeps, `cause` since or cellbase. One of the last three says until when;
    none where the cell has to be committed first."""

    part: str
    index: str
    cause: str
    block_number: str | None
    epoch: EpochTimeJson | None
    median_time: str | None


class TransactionFateJson(Struct, frozen=True):
    """`state` is unknown, orphan, queued, returning, pending, gap, proposed, rejected or committed."""

    state: str
    summary: str
    waits_for: list[str]
    conflicts: list[str]
    time_locks: list[TimeLockJson]
    queue: QueuePlaceJson | None = None
    fee_place: FeePlaceJson | None = None
    proposal: ProposalJson | None = None
    rejection: RejectionJson | None = None
    committed: PlaceInBlockJson | None = None


def committed_json(info: TransactionInfo) -> TransactionFateJson:
    """Of a transaction on the main chain."""
    place = PlaceInBlockJson(uint_text(info.block_number), bytes_text(info.block_hash), uint_text(info.tx_index))
    return TransactionFateJson(
        "committed", f"It is transaction {info.tx_index} of block {info.block_number}.", [], [], [], committed=place
    )


def explained_json(found: Explanation, locks: Sequence[TimeLock]) -> TransactionFateJson:
    """Of a transaction that the main chain does not hold."""
    return TransactionFateJson(
        found.progress.value,
        _summary(found, locks),
        [bytes_text(each) for each in found.waits_for],
        [bytes_text(each) for each in found.conflicts],
        [_lock_json(each) for each in locks],
        None if found.queue is None else _queue_json(found.queue),
        None if found.fee_place is None else _fee_json(found.fee_place),
        None if found.proposal is None else _proposal_json(found.proposal),
        None if found.rejected is None else RejectionJson(found.rejected.kind, found.rejected.description),
    )


def _queue_json(queue: QueuePlace) -> QueuePlaceJson:
    return QueuePlaceJson(queue.of, optional_uint(queue.place), uint_text(queue.length))


def _fee_json(place: FeePlace) -> FeePlaceJson:
    return FeePlaceJson(
        uint_text(place.ahead),
        optional_uint(place.bytes_ahead),
        optional_uint(place.cycles_ahead),
        uint_text(place.competing),
        uint_text(place.fee_rate),
        uint_text(place.package_rate),
        uint_text(place.size),
        uint_text(place.cycles),
    )


def _proposal_json(proposal: ProposedIn) -> ProposalJson:
    return ProposalJson(
        uint_text(proposal.block_number), uint_text(proposal.first_commit), uint_text(proposal.last_commit)
    )


def _lock_json(lock: TimeLock) -> TimeLockJson:
    return TimeLockJson(
        lock.part,
        uint_text(lock.index),
        lock.cause,
        optional_uint(lock.block_number),
        None if lock.epoch is None else _epoch_json(lock.epoch),
        optional_uint(lock.median_time),
    )


def _epoch_json(epoch: Fraction) -> EpochTimeJson:
    number = int(epoch)
    rest = epoch - number
    return EpochTimeJson(uint_text(number), uint_text(rest.numerator), uint_text(rest.denominator))


_QUEUES: Final = {"rpc": "of transactions given by RPC", "peer": "of those that its peer gave"}


def _summary(found: Explanation, locks: Sequence[TimeLock]) -> str:
    sentences = [_first_sentence(found)]
    if found.is_verified_anew:
        sentences.append("Its scripts run once more before a block may hold it: the rules or a block raised doubts.")
    if found.waits_for and found.progress is not Progress.ORPHAN:
        sentences.append(f"{_count(found.waits_for)} of the pool must be committed before it.")
    if found.conflicts and found.fee_place is None:
        sentences.append(f"{_count(found.conflicts)} of the pool spend a cell that it spends.")
    sentences.extend(_lock_sentence(lock) for lock in locks[:1])
    return " ".join(sentences)


def _count(hashes: Sequence[bytes]) -> str:
    return "1 transaction" if len(hashes) == 1 else f"{len(hashes)} transactions"


def _first_sentence(found: Explanation) -> str:
    match found.progress:
        case Progress.UNKNOWN:
            return "Neither the chain nor the pool knows it, and it was not refused lately."
        case Progress.ORPHAN:
            return f"A peer gave it; {_count(found.waits_for)} that it needs have not come yet."
        case Progress.RETURNING:
            return "It left the chain or is of a former run, and will be verified again."
        case Progress.QUEUED:
            return f"Its scripts wait or run: place {_place_text(found.queue)}."
        case Progress.REJECTED:
            return "The pool refused it: " + ("" if found.rejected is None else found.rejected.description + ".")
        case Progress.PENDING:
            return f"No block of the window has proposed it yet; {_ahead_text(found)}"
        case Progress.GAP | Progress.PROPOSED:
            return f"{_window_text(found)}; {_ahead_text(found)}"


def _place_text(queue: QueuePlace | None) -> str:
    if queue is None:
        return "unknown"
    return f"{queue.place or 'far behind'} of {queue.length} {_QUEUES.get(queue.of, queue.of)}"


def _ahead_text(found: Explanation) -> str:
    place = found.fee_place
    return "." if place is None else f"{place.ahead} of {place.competing} pay better."


def _window_text(found: Explanation) -> str:
    proposal = found.proposal
    if proposal is None:
        return "A block has proposed it"
    return (
        f"Block {proposal.block_number} proposed it, blocks {proposal.first_commit} to {proposal.last_commit} may "
        "commit it"
    )


def _lock_sentence(lock: TimeLock) -> str:
    where = f"{lock.part}[{lock.index}] is immature ({lock.cause})"
    if lock.block_number is not None:
        return f"{where} before block {lock.block_number}."
    if lock.epoch is not None:
        return f"{where} before epoch {int(lock.epoch)} + {lock.epoch - int(lock.epoch)}."
    if lock.median_time is not None:
        return f"{where} while the median time of blocks is less than {lock.median_time} ms."
    return f"{where}: the cell that it spends must be committed first."
