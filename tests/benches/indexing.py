"""Both indexers: how fast they follow a chain, how they answer, what they take on the disk; the reference beside.

`make bench-indexer REFERENCE=<its binary> CELLS=<directory of the official system cells> [TRANSACTIONS=200000]
[KEEP=<directory>] [ONLY=key_value]`. A build is the time of a node's first start until its index is at the tip, less
that of a second start. Answers come by HTTP, one at a time. In KEEP the chain stays, and another run uses it.
PostgreSQL is a server of the run's own, where Debian's packages are installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sqlalchemy import URL, create_engine

from consensus.types.blockchain import Block
from tests.benches.importing import COMMAND_S, maker_on, write_lines
from tests.support.builders.wallet import ALICE_KEY, Wallet
from tests.support.chains.mixed_chain import MixedMaker
from tests.support.nodes.postgres import postgres_programs, postgres_server
from tests.support.nodes.process import RpcClient, run_command
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours, spec_text
from tests.support.report import BENCH_DIR, Report

PER_BLOCK, UNCLE_EVERY = 24, 20
TRANSACTIONS = 36_000
CALLS, FEW_CALLS, CASE_S = 1000, 30, 5.0
SKIP_SCRIPTS = ("--skip-script-verify",)
KINDS = ("key_value", "sqlite", "postgres")
BUILD = "tx_per_s"
RICH_SECTION = "\n[indexer_v2.rich_indexer]"


class _Node(Protocol):
    """Either program, running."""

    rpc: RpcClient


Running = Callable[[], Any]


@dataclass(frozen=True)
class Chain:
    """The blocks that both programs import."""

    directory: Path
    spec: Path
    file: Path
    count: int
    """Of transactions."""


def main() -> int:
    """Make a chain, import it into both programs, and start them with each indexer."""
    parser = argparse.ArgumentParser(description="Indexers beside the reference's")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, required=True, help="directory of the official system cells")
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS)
    parser.add_argument("--keep", type=Path, help="directory for the chain, which another run uses again")
    parser.add_argument("--only", nargs="+", choices=KINDS, help="these indexes alone")
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if options.keep is None:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="indexer-", dir=BENCH_DIR))
            directory = Path(name).absolute()
        else:
            directory = options.keep.absolute()
            directory.mkdir(parents=True, exist_ok=True)
        chain = chain_in(directory, options.cells.absolute(), options.transactions)
        programs = postgres_programs()
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="indexer-postgres-")))
        server = None if programs is None else stack.enter_context(postgres_server(programs, scratch, is_safe=True))
        kinds = [kind for kind in options.only or KINDS if kind != "postgres" or server is not None]
        measure_all(chain, kinds, server, options.reference and options.reference.absolute())
    return 0


def chain_in(directory: Path, cells: Path, transactions: int) -> Chain:
    """The chain that is there, or a new one."""
    spec, file, counted = directory / "spec.toml", directory / "blocks.jsonl", directory / "transactions"
    if not counted.exists():
        spec.write_text(spec_text(cells), encoding="utf-8")
        counted.write_text(str(make_chain(spec, file, transactions)), encoding="utf-8")
    return Chain(directory, spec, file, int(counted.read_text(encoding="utf-8")))


def make_chain(spec: Path, file: Path, transactions: int) -> int:
    """A file of blocks; how many transactions they have."""
    maker = maker_on(spec)
    maker.add_in_two_phases(MixedMaker(maker, transactions).batches(PER_BLOCK), UNCLE_EVERY)
    write_lines(file, maker)
    return sum(len(Block.parse(raw).transactions) for raw in maker.raw_blocks)


def measure_all(chain: Chain, kinds: Sequence[str], server: URL | None, reference: Path | None) -> None:
    """A report of each index of each program, and how they compare."""
    report = Report("indexer")
    ours = Ours(chain)
    theirs = None if reference is None else Reference(chain, reference)
    for kind in kinds:
        figures = measure(chain.count, ours.index(kind, server))
        show(report, kind, figures)
        if theirs is not None:
            others = measure(chain.count, theirs.index(kind, server))
            show(report, f"{kind}_reference", others)
            for name, value in figures.items():
                ratio = value / others[name] if name == BUILD else others[name] / value
                report.add(f"{kind}_{name}_ratio", ratio, "to the reference; more than 1 is better")
    report.write()


def show(report: Report, kind: str, figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        report.add(f"{kind}_{name}", value, "")


class Index(NamedTuple):
    """One index of a program: a node that has it, and what it takes on the disk."""

    running: Running
    size: Callable[[], int]


class Ours:
    """Our program, with the chain imported once and without block filters."""

    def __init__(self, chain: Chain) -> None:
        self.home = chain.directory / "ours"
        path = self.home / "config.toml"
        if self.home.exists():
            text = path.read_text(encoding="utf-8")
            self._port = int(text.partition('\nlisten_address = "127.0.0.1:')[2].partition('"')[0])
            return
        self._port = init_ours(self.home, chain.spec)
        text = path.read_text(encoding="utf-8")
        path.write_text(replaced(text, "[block_filters]\n", "[block_filters]\nenabled = false\n"), encoding="utf-8")
        done = run_command("import", "-C", str(self.home), *SKIP_SCRIPTS, str(chain.file), timeout_s=COMMAND_S)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def index(self, kind: str, server: URL | None) -> Index:
        """An empty one."""
        place = self.home / "data" / ("indexer" if kind == "key_value" else "rich_indexer")
        shutil.rmtree(place, ignore_errors=True)
        path = self.home / "config.toml"
        text = path.read_text(encoding="utf-8").partition(RICH_SECTION)[0]
        url = new_database(server, "ours") if kind == "postgres" else None
        path.write_text(text + rich_section(url), encoding="utf-8")

        @contextmanager
        def running() -> Iterator[_Node]:
            node = OurNode(self.home, self._port, "--indexer" if kind == "key_value" else "--rich-indexer")
            try:
                node.wait_until_ready()
                yield node
            finally:
                node.stop()

        return Index(running, partial(size_of, place if url is None else url))


class Reference:
    """The other program, with the chain imported once and without block filters, which it builds as it starts."""

    def __init__(self, chain: Chain, binary: Path) -> None:
        self._chain, self._binary = chain, binary
        self._data = chain.directory / "reference-data"
        if not self._data.exists():
            home = chain.directory / "reference-import"
            ReferenceNode(binary, home, chain.spec)
            run_import(binary, home, chain.file)
            (home / "data").rename(self._data)

    def index(self, kind: str, server: URL | None) -> Index:
        """An empty one."""
        home = self._chain.directory / f"reference-{kind}"
        shutil.rmtree(home, ignore_errors=True)
        node = ReferenceNode(self._binary, home, self._chain.spec, "Indexer" if kind == "key_value" else "RichIndexer")
        shutil.rmtree(home / "data", ignore_errors=True)
        shutil.copytree(self._data, home / "data")
        url = new_database(server, "reference") if kind == "postgres" else None
        path = home / "ckb.toml"
        text = replaced(path.read_text(encoding="utf-8"), '"Filter", ', "")
        path.write_text(text + rich_section(url), encoding="utf-8")

        @contextmanager
        def running() -> Iterator[_Node]:
            node.start()
            try:
                yield node
            finally:
                node.stop()

        place = home / "data/indexer" / ("store" if kind == "key_value" else "sqlite")
        return Index(running, partial(size_of, place if url is None else url))


def run_import(binary: Path, home: Path, file: Path) -> None:
    """The reference may die of its database's locks when all is done, so its exit code says nothing."""
    command = [str(binary), "import", "-C", str(home), *SKIP_SCRIPTS, str(file)]
    subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S)


def replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise RuntimeError(f"the configuration has no {old!r}")
    return text.replace(old, new)


def rich_section(url: URL | None) -> str:
    """Of the configuration, which both programs read alike."""
    if url is None:
        return ""
    return (
        f'{RICH_SECTION}\ndb_type = "postgres"\ndb_name = "{url.database}"\ndb_host = "{url.host}"\n'
        f'db_port = {url.port}\ndb_user = "{url.username}"\ndb_password = "-"\n'
    )


def new_database(server: URL | None, name: str) -> URL:
    """Empty."""
    if server is None:
        raise RuntimeError("there is no server")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.set(database=name)


def size_of(place: Path | URL) -> int:
    """Bytes on the disk."""
    if isinstance(place, Path):
        return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    engine = create_engine(place)
    with engine.connect() as connection:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    engine.dispose()
    return int(size)


def measure(count: int, index: Index) -> dict[str, float]:
    """Build, answers, disk."""
    first = seconds_to_tip(index.running)
    started = time.perf_counter()
    with index.running() as node:
        until_indexed(node.rpc)
        figures = {BUILD: count / (first - (time.perf_counter() - started))}
        for name, samples in answers(node.rpc).items():
            cuts = statistics.quantiles(samples, n=100)
            figures |= {f"{name}_p50_ms": cuts[49], f"{name}_p99_ms": cuts[98]}
    return figures | {"mb": index.size() / 1e6}


def seconds_to_tip(running: Running) -> float:
    """From the start of a node until its index is at the tip."""
    started = time.perf_counter()
    with running() as node:
        until_indexed(node.rpc)
        return time.perf_counter() - started


def until_indexed(rpc: RpcClient) -> None:
    """Until the index is at the tip."""
    tip = rpc.call("get_tip_header")["hash"]
    deadline = time.monotonic() + COMMAND_S
    while (rpc.call("get_indexer_tip") or {}).get("block_hash") != tip:
        if time.monotonic() > deadline:
            raise RuntimeError("the index does not come to the tip")
        time.sleep(0.02)


def answers(rpc: RpcClient) -> dict[str, list[float]]:
    """Milliseconds of each call, of a lock that has most of the chain's cells, and of all that begin as it does."""
    lock = Wallet(ALICE_KEY).lock
    script = {"code_hash": "0x" + lock.code_hash.hex(), "hash_type": "type", "args": "0x" + lock.args.hex()}
    exact: dict[str, Any] = {"script": script, "script_type": "lock", "script_search_mode": "exact"}
    prefix = {"script": script | {"args": "0x"}, "script_type": "lock"}
    cases: tuple[tuple[str, str, list[Any]], ...] = (
        ("get_cells", "get_cells", [exact, "asc", "0x64"]),
        ("get_cells_prefix", "get_cells", [prefix, "desc", "0x64"]),
        ("get_transactions", "get_transactions", [exact, "desc", "0x64"]),
        ("get_transactions_prefix", "get_transactions", [prefix, "asc", "0x64"]),
        ("get_transactions_grouped", "get_transactions", [exact | {"group_by_transaction": True}, "asc", "0x64"]),
        ("get_cells_capacity", "get_cells_capacity", [exact]),
    )
    connection = HTTPConnection("127.0.0.1", rpc.port, timeout=COMMAND_S)
    found = {name: list(milliseconds(connection, method, params)) for name, method, params in cases}
    connection.close()
    return found


GIVEN_UP = b"timeout"
"""In answers of both programs to what takes them longer than `[indexer_v2] timeout_limit`."""


def milliseconds(connection: HTTPConnection, method: str, params: list[Any]) -> Iterator[float]:
    """Of each call; slow ones are asked less often. A call that its node gives up is told, and is not asked
    again: it counts for as long as that took, as its answer would have taken longer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    spent, number = 0.0, 0
    while number < FEW_CALLS or (number < CALLS and spent < CASE_S):
        started = time.perf_counter()
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        seconds = time.perf_counter() - started
        if GIVEN_UP in answer:
            print(f"{method}: {answer[:200].decode()}", flush=True)
            yield from (seconds * 1000, seconds * 1000)  # quantiles need two
            return
        if b'"result"' not in answer:
            raise RuntimeError(answer[:500].decode())
        spent, number = spent + seconds, number + 1
        yield seconds * 1000


if __name__ == "__main__":
    sys.exit(main())
