"""What a peer answers when it was asked for transactions and uncles of a block: BlockTransactions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ckb_node.sync.check_data import transaction_is_sound
from ckb_node.sync.relay.compact import Sketch, tx_hashes
from ckb_node.sync.relay.status import RelayFault
from ckb_node.sync.relay.unread import field_bounds
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import SHORT_ID_SIZE
from network.messages.protocols import BlockTransactions
from network.peers.penalties import Misbehaviour

__all__ = ["Answer", "Asked", "block_of_answer", "read_answer", "verify_data"]


class Asked(NamedTuple):
    """What a peer is asked for, in this order: places of transactions given by short id, and of uncles."""

    places: Sequence[int]
    uncles: Sequence[int]


class Answer(NamedTuple):
    """Serialised transactions with hash and witness hash, serialised uncles, and what these propose."""

    transactions: Sequence[tuple[bytes, bytes, bytes]]
    uncles: Sequence[bytes]
    proposals: Sequence[bytes]


def block_of_answer(payload: bytes) -> bytes:
    """The hash of the block of a BlockTransactions in its union. Raises MoleculeError."""
    first, second = field_bounds("BlockTransactions", payload, 3, 3)[:2]
    return payload[first:second]


def verify_data(message: BlockTransactions) -> None:
    """400: what is checked of the transactions before it is looked whether they are those that were asked for."""
    raw, bounds = _transactions(message)
    if not all(transaction_is_sound(raw, start, end) for start, end in pairwise(bounds)):
        raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, "a transaction is malformed")


def read_answer(message: BlockTransactions, sketch: Sketch, asked: Asked) -> Answer:
    """The answer is exactly what was asked for: RelayFault 410 to 413. The reference never says 412."""
    raw, bounds = _transactions(message)
    if len(bounds) - 1 != len(asked.places):
        counts = f"{len(bounds) - 1} instead of {len(asked.places)}"
        raise RelayFault(Misbehaviour.RELAY_410_WRONG_TRANSACTION_COUNT, counts)
    transactions = []
    for place, (start, end) in zip(asked.places, pairwise(bounds), strict=True):
        transaction = raw[start:end]
        tx_hash, witness_hash = tx_hashes(transaction)
        if tx_hash[:SHORT_ID_SIZE] != sketch.ids[place]:
            raise RelayFault(Misbehaviour.RELAY_411_WRONG_TRANSACTIONS, f"at {place}: 0x{tx_hash.hex()}")
        transactions.append((transaction, tx_hash, witness_hash))
    uncles = message.uncles
    if len(uncles) != len(asked.uncles):
        raise RelayFault(Misbehaviour.RELAY_412_WRONG_UNCLE_COUNT, f"{len(uncles)} instead of {len(asked.uncles)}")
    for place, uncle in zip(asked.uncles, uncles, strict=True):
        if uncle.hash != sketch.uncles[place]:
            raise RelayFault(Misbehaviour.RELAY_413_WRONG_UNCLES, f"0x{uncle.hash.hex()}")
    proposals = [short_id for uncle in uncles for short_id in uncle.proposals]
    return Answer(transactions, [uncle.raw for uncle in uncles], proposals)


def _transactions(message: BlockTransactions) -> tuple[bytes, Sequence[int]]:
    """Bytes of the message, and the bounds of the transactions in it."""
    raw = message.raw
    return raw, trusted_bounds(raw, trusted_bounds(raw, 0)[1])
