"""What the pool takes of memory for each byte that it counts: `python -m tests.benches.pool_memory [count]`.

Transactions of the standard lock as wallets send them, each built and thrown away; what stays is the pool's own.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.graph import PoolGraph
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import CellDep, CellInput, CellOutput, OutPoint, RawTransaction, Script, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction
from tests.support.report import Report

COUNT = 40_000
LOCK = Script(code_hash=bytes(32), hash_type=1, args=bytes(20))
GROUP = b"\x01" * 32 + bytes(4)
MEMBERS = (b"\x02" * 36, b"\x03" * 36)
WITNESS = bytes(85)


def entry_of(serial: int, spends: list[bytes], outputs: int) -> PoolEntry:
    """A transfer that the pool has taken."""
    body = RawTransaction(
        version=0,
        cell_deps=[CellDep(out_point=OutPoint.trusted(GROUP), dep_type=1)],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=OutPoint.trusted(each)) for each in spends],
        outputs=[CellOutput(capacity=serial * 1000 + 6_100_000_000, lock=LOCK, type_=None)] * outputs,
        outputs_data=[b""] * outputs,
    )
    tx = Transaction.parse(bytes(Transaction(body=body, witnesses=[WITNESS]).raw))
    rtx = ResolvedTransaction(
        tx, [cell(each) for each in spends], [cell(bytes(each)) for each in MEMBERS], [cell(GROUP)]
    )
    return PoolEntry.of(
        rtx, 1000 + serial * 7919 % 100_000, 1_700_000 + serial % 1000, Status.PENDING, 1_700_000_000_000 + serial
    )


def cell(out_point: bytes) -> CellMeta:
    return CellMeta(
        bytes(bytearray(out_point)), CellOutput(capacity=1, lock=LOCK, type_=None), 0, bytes(32), None, bytes
    )


def own(serial: int, index: int = 0) -> bytes:
    return ckb_hash(serial.to_bytes(8, "little")) + index.to_bytes(4, "little")


def singles(count: int) -> Iterator[PoolEntry]:
    """One input, one output: the smallest that wallets send."""
    return (entry_of(serial, [own(serial)], 1) for serial in range(count))


def transfers(count: int) -> Iterator[PoolEntry]:
    """Two inputs, two outputs."""
    return (entry_of(serial, [own(serial), own(serial, 1)], 2) for serial in range(count))


def chains(count: int) -> Iterator[PoolEntry]:
    """Chains of 25, each spends its parent's change."""
    last = b""
    for serial in range(count):
        entry = entry_of(serial, [last if serial % 25 else own(serial)], 2)
        last = entry.hash + bytes(4)
        yield entry


KINDS: dict[str, Callable[[int], Iterator[PoolEntry]]] = {"singles": singles, "transfers": transfers, "chains": chains}


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(kind: str, count: int) -> tuple[int, int]:
    """Bytes held and bytes counted."""
    for _ in KINDS[kind](100):  # what is made once
        pass
    gc.collect()
    before, graph = resident(), PoolGraph(1000)
    for entry in KINDS[kind](count):
        graph.add(entry)
    del entry
    gc.collect()
    return resident() - before, graph.total_size


def main() -> None:
    """Each kind in a process of its own: memory that is free again is not given back."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    if len(sys.argv) > 2:
        print(*measure(sys.argv[2], count))
        return
    report = Report("pool_memory")
    for kind in KINDS:
        command = [sys.executable, "-m", "tests.benches.pool_memory", str(count), kind]
        held, counted = map(int, subprocess.run(command, check=True, capture_output=True).stdout.split())
        report.add(f"{kind}_held_per_counted", held / counted, f"{held // count} B each, {counted // count} B counted")
    report.write()


if __name__ == "__main__":
    main()
