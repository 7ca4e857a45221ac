"""What the outputs of a transaction have together; of a large one by generated code, which makes no object of each."""

from __future__ import annotations

from consensus.kernels.outputs import MAX_INPUT, OutputsFacts, outputs_facts
from consensus.kernels.strict import LARGE
from consensus.types.blockchain import Transaction

__all__ = ["facts_of_large", "outputs_capacity"]


def facts_of_large(transaction: Transaction) -> OutputsFacts | None:
    """None of a small one, of which to read each output is as quick, and of what only a chain with huge blocks has."""
    if not LARGE < transaction.raw_size <= MAX_INPUT:
        return None
    return outputs_facts(transaction.raw, 0, transaction.raw_size)


def outputs_capacity(transaction: Transaction) -> int:
    """Shannons; it may exceed u64."""
    facts = facts_of_large(transaction)
    return sum(output.capacity for output in transaction.body.outputs) if facts is None else facts.capacity
