"""The cells that real transactions name, from genesis blocks and from the vectors of this directory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from consensus.crypto.hashing import data_hash
from consensus.rules.resolve import resolve_transaction
from consensus.types.blockchain import Block, Header, Transaction, out_point_key
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo


@dataclass
class KnownCells:
    """Every output that was shown to it, spent or not, and headers; CellProvider, HeaderChecker and ScriptChain."""

    cells: dict[bytes, CellMeta] = field(default_factory=dict)
    headers: dict[bytes, Header] = field(default_factory=dict)

    def add_block(self, block: Block) -> None:
        self.headers[block.hash] = block.header
        for index, transaction in enumerate(block.transactions):
            self.add_transaction(transaction, block.header, index)

    def add_transaction(self, transaction: Transaction, header: Header | None = None, tx_index: int = 1) -> None:
        """`header`: of the block that committed it, where it matters."""
        info = None if header is None else TransactionInfo(header.hash, header.number, header.epoch, tx_index)
        for index, (output, data) in enumerate(
            zip(transaction.body.outputs, transaction.body.outputs_data, strict=True)
        ):
            key = out_point_key(transaction.hash, index)
            self.cells[key] = CellMeta(
                out_point=key,
                output=output,
                data_size=len(data),
                data_hash=data_hash(data),
                info=info,
                load_data=lambda data=data: data,  # type: ignore[misc]
            )

    def cell(self, out_point: bytes) -> CellMeta | None:
        return self.cells.get(out_point)

    def header(self, block_hash: bytes) -> Header | None:
        return self.headers.get(block_hash)

    def block(self, block_hash: bytes) -> Block | None:
        return None

    def is_main(self, block_hash: bytes) -> bool:
        return block_hash in self.headers

    def has_all(self, transaction: Transaction) -> bool:
        """All cells and headers that it names are known, dep groups' members aside."""
        body = transaction.body
        names: Iterable[bytes] = [
            *(spend.previous_output.raw for spend in body.inputs),
            *(dep.out_point.raw for dep in body.cell_deps),
        ]
        return all(name in self.cells for name in names) and all(map(self.is_main, body.header_deps))

    def resolve(self, transaction: Transaction) -> ResolvedTransaction:
        return resolve_transaction(transaction, self, self, ())
