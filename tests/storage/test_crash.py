"""Kill -9 at any moment: everything acknowledged is there, nothing half."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from consensus.codec.block_layout import transaction_bounds
from storage.archive import BlockArchive, Location
from storage.chain_store import ChainStore
from storage.leveldb import LevelDbStore
from storage.schema import CELL, HEADER_LEAF, HEADER_NUMBER, HEADER_ROW, META_HEADER_CUT

ROOT = Path(__file__).resolve().parents[2]

# Each round appends records, then one batch pointing at them, then says so on stdout. Small buffers and segments, so
# that log switches, compactions and segment rolls happen within a second. argv: directory, first round, sync or not.
WRITER = """
import os, sys
from pathlib import Path
from storage.archive import BlockArchive, Location
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.overlay import Overlay

path, number, sync = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "sync"
store = LevelDbStore(path / "db", LevelDbOptions(write_buffer=64 << 10, table_size=64 << 10))
last = store.get(b"last")
archive = BlockArchive(path / "blocks", last and Location.unpack(last), segment_size=20_000)
while True:
    overlay = Overlay(store)
    for part in range(3):
        raw = number.to_bytes(8, "big") * (1 + (number * 7 + part) % 200)
        location = archive.append(raw)
        overlay.put(b"r%08d.%d" % (number, part), location.pack())
    overlay.put(b"last", location.pack())
    overlay.put(b"count", number.to_bytes(8, "big"))
    (archive.sync if sync else archive.flush)()
    overlay.commit(store, sync=sync)
    os.write(1, b"%d\\n" % number)
    number += 1
"""

# Grows a random chain; every fourth commit replaces the last one to three blocks by as many and one more.
CHAIN_WRITER = """
import os, sys
from pathlib import Path
from random import Random
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.leveldb import LevelDbOptions
from tests.support.chains.stored import child

options = ChainStoreOptions(LevelDbOptions(write_buffer=64 << 10, table_size=64 << 10), segment_size=20_000)
store, rng = ChainStore.open(Path(sys.argv[1]), options), Random(int(sys.argv[2]))
chain, sync = [], sys.argv[3] == "sync"
while True:
    with store.begin() as txn:
        back = rng.randrange(1, 4) if len(chain) > 4 and rng.random() < 0.25 else 0
        for _ in range(back):
            txn.detach_block(chain.pop().block)
        for _ in range(back + 1):
            chain.append(child(rng, chain[-1] if chain else None))
            chain[-1].insert(txn)
            chain[-1].attach(txn)
        txn.commit(sync=sync)
    os.write(1, chain[-1].block.hash.hex().encode() + b"\\n")
"""


# As above, but one transaction that saves again and again; only what a later save has waited for is acknowledged.
SAVING_WRITER = """
import os, sys
from pathlib import Path
from random import Random
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.leveldb import LevelDbOptions
from tests.support.chains.stored import child

options = ChainStoreOptions(LevelDbOptions(write_buffer=64 << 10, table_size=64 << 10), segment_size=20_000)
store, rng = ChainStore.open(Path(sys.argv[1]), options), Random(int(sys.argv[2]))
chain, saved = [], None
with store.begin() as txn:
    while True:
        back = rng.randrange(1, 4) if len(chain) > 4 and rng.random() < 0.25 else 0
        for _ in range(back):
            txn.detach_block(chain.pop().block)
        for _ in range(back + 1):
            chain.append(child(rng, chain[-1] if chain else None))
            chain[-1].insert(txn)
            chain[-1].attach(txn)
        txn.save()
        if saved is not None:
            os.write(1, saved.hex().encode() + b"\\n")
        saved = chain[-1].block.hash
"""


# Header rows in batches, two branches in turn; now and then one is refused at a height and begun anew from there.
HEADER_WRITER = """
import os, sys
from pathlib import Path
from random import Random
from storage import header_rows
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.leveldb import LevelDbOptions
from tests.support.chains.stored import child, header

header_rows.CUT_SLICE = 5
options = ChainStoreOptions(LevelDbOptions(write_buffer=64 << 10, table_size=64 << 10), segment_size=20_000)
store, rng = ChainStore.open(Path(sys.argv[1]), options), Random(int(sys.argv[2]))
genesis = child(rng, None)
with store.begin() as txn:
    genesis.insert(txn)
    genesis.attach(txn)
    txn.commit()
branches = [[genesis.block.header], [genesis.block.header]]
while True:
    for branch in branches:
        if len(branch) > 60 and rng.random() < 0.2:
            at = rng.randrange(1, len(branch))
            with store.begin() as txn:
                txn.header_rows.delete(branch[at])
                txn.commit(sync=sys.argv[3] == "sync")
            del branch[at:]
            store.finish_header_cut()
        for _ in range(20):
            branch.append(header(rng, branch[-1].number + 1, branch[-1].hash, 0))
        with store.begin() as txn:
            txn.header_rows.insert(branch[-20:])
            txn.commit(sync=sys.argv[3] == "sync")
        os.write(1, branch[-1].hash.hex().encode() + b"\\n")
"""


def run_until_killed(program: str, path: Path, first: int, sync: str, seconds: float) -> list[bytes]:
    """Run the writer, kill it after `seconds`; the lines by which it acknowledged commits."""
    output = path / "acknowledged"
    with output.open("wb") as file:
        child = subprocess.Popen([sys.executable, "-c", program, str(path), str(first), sync], cwd=ROOT, stdout=file)
        deadline = time.monotonic() + 20
        while output.stat().st_size == 0 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(seconds)
        assert child.poll() is None, "the writer ended by itself"
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=20)
    return output.read_bytes().rpartition(b"\n")[0].split()


def check_everything_is_there(path: Path, acknowledged: int) -> int:
    """Reopen and read all rounds; the number of the last one found."""
    store = LevelDbStore(path / "db")
    last = store.get(b"last")
    assert last is not None
    archive = BlockArchive(path / "blocks", Location.unpack(last), segment_size=20_000)
    count = int.from_bytes(store.get(b"count") or b"", "big")
    assert count >= acknowledged
    found = 0
    for key, packed in store.iterator(prefix=b"r"):
        number, part = divmod(found, 3)
        assert key == b"r%08d.%d" % (number, part)
        assert archive.read(Location.unpack(packed)) == number.to_bytes(8, "big") * (1 + (number * 7 + part) % 200)
        found += 1
    assert found == 3 * (count + 1), "whole batches only"
    assert sum(1 for _ in archive.records()) == found, "the tail that no batch points at is cut"
    archive.close()
    store.close()
    return count


@pytest.mark.parametrize("sync", ["sync", "nosync"])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, sync: str) -> None:
    chance = Random(sync)
    reached = -1
    for _ in range(6):
        acknowledged = int(run_until_killed(WRITER, tmp_path, reached + 1, sync, chance.uniform(0.0, 0.25))[-1])
        assert acknowledged > reached
        reached = check_everything_is_there(tmp_path, acknowledged)


@pytest.mark.parametrize(
    ("seed", "sync", "writer"),
    [
        (1, "sync", CHAIN_WRITER),
        (2, "nosync", CHAIN_WRITER),
        (3, "nosync", CHAIN_WRITER),
        (4, "sync", SAVING_WRITER),
        (5, "sync", SAVING_WRITER),
    ],
    ids=["commit-1", "commit-2", "commit-3", "save-4", "save-5"],
)
def test_killed_chain_is_whole(tmp_path: Path, seed: int, sync: str, writer: str) -> None:
    """The acknowledged tip is stored; main chain, transactions and live cells are those of the tip found."""
    seconds = Random(seed).uniform(0.1, 0.5)
    acknowledged = [bytes.fromhex(line.decode()) for line in run_until_killed(writer, tmp_path, seed, sync, seconds)]
    store = ChainStore.open(tmp_path)
    with store.view() as view:
        assert all(view.block(block_hash) is not None for block_hash in acknowledged)
        tip = view.tip_header()
        assert tip.hash == acknowledged[-1] or tip.hash not in acknowledged, "the last acknowledged, or one after it"
        live: set[bytes] = set()
        for number in range(tip.number + 1):
            block_hash = view.main_hash(number)
            assert block_hash is not None
            block = view.block(block_hash)
            assert block is not None
            for transaction, layout in zip(block.transactions, transaction_bounds(block.raw), strict=True):
                assert view.transaction(transaction.hash) == transaction
                live.difference_update(layout.consumed if transaction is not block.transactions[0] else ())
                live.update(transaction.output_keys())
        assert view.main_hash(tip.number + 1) is None
        assert {key[1:] for key, _ in store._store.iterator(prefix=CELL)} == live
    store.close()


@pytest.mark.parametrize(("seed", "sync"), [(1, "sync"), (2, "nosync"), (3, "nosync"), (4, "nosync")])
def test_killed_header_rows_are_whole(tmp_path: Path, seed: int, sync: str) -> None:
    """The last batch is there, unless it was refused since; all rows stand on rows or the genesis block."""
    seconds = Random(seed).uniform(0.1, 0.8)
    acknowledged = run_until_killed(HEADER_WRITER, tmp_path, seed, sync, seconds)
    store = ChainStore.open(tmp_path)
    with store.view() as view:
        known = view.known_headers()
        rows = {key[1:]: known.header(key[1:]) for key, _ in view.rows(HEADER_ROW)}
        assert any(bytes.fromhex(line.decode()) in rows for line in acknowledged[-2:])
        parents = {header.parent_hash for header in rows.values() if header is not None}
        assert parents <= {*rows, view.genesis_hash()}
        assert {key[33:] for key, _ in view.rows(HEADER_LEAF)} == set(rows) - parents
        assert {key[9:] for key, _ in view.rows(HEADER_NUMBER)} == set(rows)
    assert store._store.get(META_HEADER_CUT) is None
    store.close()
