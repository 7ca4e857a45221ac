"""A transaction of a block without objects for its parts."""

from __future__ import annotations

from consensus.codec.tx_layout import TxLayout
from consensus.crypto.hashing import HASH_SIZE, ckb_hash


class TxSlice:
    """A transaction of a block for hot paths: its place in the block's bytes, its layout, its hashes.

    `since_and_points` are since and out point (36 bytes) of each input in turn.
    """

    __slots__ = ("hash", "layout", "raw", "since_and_points", "start", "witness_hash")

    def __init__(self, block: bytes, start: int, end: int, layout: TxLayout) -> None:
        """Of the transaction block[start:end], which has this layout."""
        self.layout, self.start = layout, start
        raw = self.raw = block[start:end]
        body_start, body_end = layout.body
        self.hash = ckb_hash(raw[body_start:body_end])
        self.witness_hash = ckb_hash(raw)
        self.since_and_points: tuple[int | bytes, ...] = layout.inputs.unpack_from(raw, layout.inputs_at)

    @property
    def consumed(self) -> tuple[bytes, ...]:
        """Out points of the inputs."""
        return self.since_and_points[1::2]  # type: ignore[return-value]

    @property
    def sinces(self) -> tuple[int, ...]:
        """Of the inputs."""
        return self.since_and_points[0::2]  # type: ignore[return-value]

    @property
    def witnesses(self) -> list[bytes]:
        raw = self.raw
        return [raw[start:end] for start, end in self.layout.witnesses]

    @property
    def packed_cell_deps(self) -> bytes:
        """Its cell deps end to end, CellDep.SIZE bytes each."""
        start, end = self.layout.cell_deps
        return self.raw[start:end]

    @property
    def header_deps(self) -> list[bytes]:
        """Hashes of the blocks that it names."""
        raw, start = self.raw, self.layout.header_deps_at
        end = start + self.layout.header_deps * HASH_SIZE
        return [raw[at : at + HASH_SIZE] for at in range(start, end, HASH_SIZE)]
