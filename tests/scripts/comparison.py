"""One transaction, verified once with the official system cells and once with ours: both must end alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from consensus.chainspec.genesis_build import OUTPUT_DAO, OUTPUT_MULTISIG_ALL, OUTPUT_SIGHASH_ALL, genesis_type_id
from consensus.crypto.hashing import data_hash
from consensus.errors import ScriptError
from consensus.script.context import TransactionContext
from consensus.script.groups import script_groups
from consensus.script.scheduler import MachineFactory
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import HASH_TYPE_TYPE, Script, out_point_key
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo
from tests.support.builders.mock_transactions import DAO, MULTISIG, SIGHASH, Cell, Mock
from tests.support.builders.scripts import EPOCHS, Chain, Env, make_consensus

PLACES = {SIGHASH: OUTPUT_SIGHASH_ALL, DAO: OUTPUT_DAO, MULTISIG: OUTPUT_MULTISIG_ALL}
LIMIT = 1_000_000_000

Cells = Mapping[str, bytes]
"""The system cells' data by name."""


def type_id(name: str) -> Script:
    """The type script of a system cell in the genesis block of any chain."""
    return genesis_type_id(PLACES[name])


def by_type(name: str, args: bytes = b"") -> Script:
    """The script that a system cell's code runs for, on every chain; the epoch says on which version of the VM."""
    return Script(code_hash=type_id(name).hash, hash_type=HASH_TYPE_TYPE, args=args)


def named_deps(names: list[str]) -> list[Cell]:
    """Deps whose data is still the system cell's name: `outcome` puts the cells in."""
    return [Cell(type_=None if name not in PLACES else type_id(name), data=name.encode()) for name in names]


def outcomes(mock: Mock, cells: Cells, version: int, factory: MachineFactory) -> dict[str, str]:
    """How each group of a system script ends: its exit code, or why it did not end; by the group's first cell."""
    deps = [replace(cell, data=cells.get(cell.data.decode(), cell.data)) for cell in mock.deps]
    rtx = resolved(replace(mock, deps=deps))
    chain = Chain(headers={block.hash: block for block in mock.header_deps})
    verifier = ScriptVerifier(make_consensus(), chain, machine_factory=factory)
    context = TransactionContext(rtx, chain)
    known = {type_id(name).hash for name in PLACES}
    ends = {}
    for group in script_groups(rtx):
        if group.script.code_hash in known:
            try:
                end = str(verifier.run_group(context, group, Env(EPOCHS[version]), LIMIT).exit_code)
            except ScriptError as error:
                end = type(error).__name__
            ends[group.source] = end
    return ends


def resolved(mock: Mock) -> ResolvedTransaction:
    """The transaction with its cells, as the chain would find them."""
    transaction = mock.transaction()

    def meta(cell: Cell, key: bytes) -> CellMeta:
        info = None
        if cell.header is not None:
            info = TransactionInfo(block_hash=cell.header.hash, block_number=1, block_epoch=0, tx_index=1)
        return CellMeta(
            out_point=key,
            output=cell.output(),
            data_size=len(cell.data),
            data_hash=data_hash(cell.data),
            info=info,
            load_data=lambda: cell.data,
        )

    spent = [spend.previous_output for spend in transaction.body.inputs]
    deps = [dep.out_point for dep in transaction.body.cell_deps]
    return ResolvedTransaction(
        transaction=transaction,
        inputs=[meta(c, out_point_key(p.tx_hash, p.index)) for c, p in zip(mock.inputs, spent, strict=True)],
        cell_deps=[meta(c, out_point_key(p.tx_hash, p.index)) for c, p in zip(mock.deps, deps, strict=True)],
        dep_groups=[],
    )
