"""The order of all rules of a transaction. Blocks, the pool and tests call these; nobody else composes the rules.

| phase | needs | function |
|---|---|---|
| non-contextual | the transaction's bytes | `verify_transaction_non_contextual` |
| resolving | live cells and the main chain | `consensus.rules.resolve.resolve_transaction` |
| contextual | resolved cells and the place in the chain | `verify_transaction_contextual` |
| scripts | a VM | `ScriptRunner.run` |

A transaction of the pool takes the last two by `verify_transaction`, with the DAO rule after its scripts as in the
reference. A block runs the scripts of all its transactions last and in parallel, so `verify_block_transaction` is what
comes before them. The fee is no verdict of a phase: the pool computes it first, because its own minimum is cheaper to
check than what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from consensus.context import HeaderProvider
from consensus.params import Consensus
from consensus.rules.dao import transaction_fee
from consensus.rules.hardfork import chain_root_is_required
from consensus.rules.transaction import (
    verify_capacity,
    verify_dao_lock_sizes,
    verify_enumerations,
    verify_lock_hash_types,
    verify_no_duplicate_deps,
    verify_not_empty,
    verify_outputs_data,
    verify_size,
    verify_time_relative,
    verify_version,
)
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Header, Transaction
from consensus.types.core import EpochFraction, ResolvedTransaction

Cycles = TypeVar("Cycles", int, int | None)

RunScripts = Callable[[ResolvedTransaction, TxEnv, int], Cycles]
"""As `ScriptRunner.run`; it may return None when it gives up before the scripts end."""


class ScriptRunner(Protocol):
    """Runs all scripts of a transaction, or knows what they would do (a cache), or trusts them (assume-valid: 0)."""

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        """Cycles that the scripts take together; a ScriptError when one fails or they exceed `max_cycles`."""
        ...


def verify_transaction_non_contextual(consensus: Consensus, transaction: Transaction) -> None:
    """All rules that need nothing but the transaction. Raises a TransactionError."""
    verify_version(transaction)
    verify_size(transaction, consensus.max_block_bytes)
    verify_not_empty(transaction)
    verify_no_duplicate_deps(transaction)
    verify_outputs_data(transaction)
    verify_lock_hash_types(transaction)
    verify_enumerations(transaction)


def verify_transaction_contextual(
    consensus: Consensus, rtx: ResolvedTransaction, env: TxEnv, headers: HeaderProvider
) -> None:
    """All rules of a resolved transaction but its scripts, fee and DAO lock sizes; not for a cellbase.

    Raises a TransactionError. `headers` as for verify_since. When the tip moves, only `verify_time_relative` has to be
    asked again.
    """
    verify_time_relative(consensus, rtx, env, headers)
    verify_capacity(consensus, rtx)


def verify_transaction(
    consensus: Consensus,
    rtx: ResolvedTransaction,
    env: TxEnv,
    headers: HeaderProvider,
    run: RunScripts[Cycles],
    max_cycles: int,
) -> Cycles:
    """Contextual rules, scripts, DAO lock sizes of a transaction of the pool; returns the cycles of its scripts.

    `verify_transaction_non_contextual` must have passed before. None when `run` gave up: nothing is decided then.
    Raises TransactionError or ScriptError.
    """
    verify_transaction_contextual(consensus, rtx, env, headers)
    cycles = run(rtx, env, max_cycles)
    if cycles is not None:
        after_scripts(consensus, rtx)
    return cycles


def after_scripts(consensus: Consensus, rtx: ResolvedTransaction) -> None:
    """What `verify_transaction` asks last, for who runs the scripts elsewhere. Raises TransactionError."""
    verify_dao_lock_sizes(consensus, rtx)


def verify_block_transaction(
    consensus: Consensus, rtx: ResolvedTransaction, env: TxEnv, headers: HeaderProvider, parent: Header
) -> int:
    """Rules of a block's transaction, scripts left out; returns its fee in shannons. Not for a cellbase.

    `parent` is the block's parent: its epoch decides whether DAO lock sizes count (RFC 44). Raises TransactionError or
    DaoError.
    """
    verify_transaction_contextual(consensus, rtx, env, headers)
    fee = transaction_fee(consensus, rtx, headers)
    if chain_root_is_required(consensus, EpochFraction.unpack(parent.epoch).number):
        verify_dao_lock_sizes(consensus, rtx)
    return fee
