"""What a peer answers when it was asked for transactions and uncles of a block: BlockTransactions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ckb_node.sync.check_data import layout_is_sound
from ckb_node.sync.relay.compact import Sketch, tx_hashes
from ckb_node.sync.relay.status import RelayFault
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import TX_LAYOUTS
from network.messages.protocols import BlockTransactions
from network.peers.penalties import Misbehaviour

__all__ = ["Answer", "Asked", "read_answer", "verify_data"]


class Asked(NamedTuple):
    """What a peer is asked for, in this order: places of transactions given by short id, and of uncles."""

    places: Sequence[int]
    uncles: Sequence[int]


class Answer(NamedTuple):
    """Serialised transactions with hash and witness hash, serialised uncles, and what these propose."""

    transactions: Sequence[tuple[bytes, bytes, bytes]]
    uncles: Sequence[bytes]
    proposals: Sequence[bytes]


def verify_data(message: BlockTransactions) -> None:
    """400: what is checked of the transactions whether they were asked for or not."""
    raw, bounds = _transactions(message)
    if not all(layout_is_sound(TX_LAYOUTS.of(raw, start, end)) for start, end in pairwise(bounds)):
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
