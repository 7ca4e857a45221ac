"""Both nodes, a third one in this process that makes their blocks, and what must be equal after each step."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.specs import files_of
from ckb_node.txpool.rejects import Reject
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import Block, CellDep, CellInput, CellOutput, RawTransaction, Transaction
from tests.interop.kit_chain import COUNTS, wait_until
from tests.interop.kit_json import Json, differences, hexed, transaction_json
from tests.support.builders.wallet import ALICE_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.funded_pool import Cell, cell_of
from tests.support.nodes.process import RpcClient, RpcFailure
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

CELLS_OF_ALICE, VALUE = 30, 5000 * CKB
ALICE = Wallet(ALICE_KEY)
FREE = re.compile(r".*\.(timestamp|time_added_to_pool|last_txs_updated_at|current_time|work_id|cellbase.*|depends)")
"""The reference never tells what a template's transactions depend on."""
TEMPLATE_S = 20.0


class Walk:
    """Both nodes, the maker of blocks, and cells to spend."""

    def __init__(self, pair: Pair, maker: DevChain, random: Random, cells: int) -> None:
        self.pair, self.maker, self.random, self._cells_at_first = pair, maker, random, cells
        self.cells: list[Cell] = []
        self.spent: set[bytes] = set()
        self.read: set[bytes] = set()
        """Not spent any more: in the reference who spends what another reads leaves with that, though still valid."""
        self.sent: list[Transaction] = []
        self.bounced: set[str] = set()
        """A full pool had no room for them; the reference tells its subscribers that they came and left."""

    # -------------------------------------------------------- blocks

    def set_clock(self) -> None:
        """The maker's shows the time of the others."""
        self.maker.clock.time_ms = max(self.maker.clock.time_ms, int(time.time() * 1000) - 1000)

    async def mine(self) -> Block:
        """On the maker's tip, now."""
        self.set_clock()
        return await self.maker.mine()

    def feed(self, *blocks: Block) -> None:
        for block in blocks:
            theirs, ours = self.pair.both("submit_block", "0x0", msgspec.to_builtins(block_json(block)))
            assert theirs == ours == hexed(block.hash)
            COUNTS["blocks"] += 1

    async def tell_maker(self, transactions: Sequence[Transaction]) -> None:
        for tx in transactions:
            try:
                await self.maker.pool.submit(tx)
            except Reject:
                continue

    async def fund(self) -> None:
        self.set_clock()
        big, count = issued_cell(self.maker.consensus, ALICE), self._cells_at_first
        rest = big[1] - VALUE * count - 100_000
        outputs = [(ALICE.lock, VALUE)] * count
        splitting = ALICE.transfer(self.maker.consensus, [big], [*outputs, (ALICE.lock, rest)])
        await self.maker.pool.submit(splitting)
        self.feed(*[await self.mine() for _ in range(4)])
        assert self.maker.chain.view().transaction_info(splitting.hash) is not None
        self.cells = [cell_of(splitting, index) for index in range(count)]

    # -------------------------------------------------------- transactions

    def transaction(self) -> Transaction:
        random = self.random
        chosen = {cell[0].raw: cell for cell in (self._cell() for _ in range(random.choice((1, 1, 1, 2))))}
        cells = list(chosen.values())
        fee = random.choice((300, 1_000, 5_000, 10_000, 40_000, random.randrange(500, 2_000_000)))
        fee += len(self.cells)  # of equals either may be first
        outputs = random.choice((1, 1, 2, 3))
        total = sum(capacity for _, capacity in cells) - fee
        each = total // outputs
        reads = [CellDep(out_point=self._cell()[0], dep_type=0) for _ in range(random.choice((0, 0, 0, 0, 1)))]
        self.read.update(each.out_point.raw for each in reads)
        tip = self.maker.chain.view().tip_header()
        body = RawTransaction(
            version=0,
            cell_deps=[sighash_dep(self.maker.consensus), *reads],
            header_deps=[tip.hash] if random.random() < 0.1 else [],
            inputs=[
                CellInput(
                    since=tip.number + random.randrange(7) if random.random() < 0.07 else 0, previous_output=out_point
                )
                for out_point, _ in cells
            ],
            outputs=[
                CellOutput(capacity=each + (total - each * outputs if index == 0 else 0), lock=ALICE.lock, type_=None)
                for index in range(outputs)
            ],
            outputs_data=[bytes(random.choice((0, 0, 500)))] * outputs,
        )
        tx = ALICE.sign(body)
        self.cells += [cell_of(tx, index) for index in range(outputs)]
        self.spent.update(chosen)
        return tx

    def _cell(self) -> Cell:
        """Mostly one that nobody spent yet; now and then one that is taken, or that never came to be."""
        cells = [cell for cell in self.cells if cell[0].raw not in self.read]
        free = [cell for cell in cells if cell[0].raw not in self.spent]
        if free and self.random.random() < 0.85:
            return self.random.choice(free[-10:] if self.random.random() < 0.5 else free)
        return self.random.choice(cells)

    def send(self, tx: Transaction) -> str:
        """The same answer of both."""
        theirs, ours = (told(rpc, tx) for rpc in (self.pair.reference.rpc, self.pair.ours.rpc))
        assert theirs == ours, f"{hexed(tx.hash)}\n{theirs}\n{ours}"
        self.sent.append(tx)
        if ours.startswith("-1106 "):
            self.bounced.add(hexed(tx.hash))
        COUNTS["transactions of the pools"] += 1
        return ours

    # -------------------------------------------------------- what must be equal

    def faults(self) -> Iterator[str]:
        questions: list[tuple[str, list[Any]]] = [
            ("tx_pool_info", []), ("get_raw_tx_pool", [True]), ("get_raw_tx_pool", []), ("get_block_template", []),
        ]  # fmt: skip
        for tx in self.sent[-12:]:
            questions += [("get_transaction", [hexed(tx.hash)]), ("get_pool_tx_detail_info", [hexed(tx.hash)])]
        for method, params in questions:
            theirs, ours = (without_times(in_order(answer)) for answer in self.pair.both(method, *params))
            if method == "get_block_template":
                theirs["proposals"] = self.of_its_pool(theirs["proposals"])
            for each in differences(theirs, ours):
                if not FREE.fullmatch(each.partition(":")[0]):
                    yield f"{method}{params}: {each}"

    def of_its_pool(self, short_ids: Sequence[str]) -> list[str]:
        """Those of its template that the reference's pool holds: when it refuses one for which others had to leave, it
        makes no other template until the next one comes."""
        pending = self.pair.reference.rpc.call("get_raw_tx_pool")["pending"]
        held = {tx_hash[: 2 + 2 * SHORT_ID_SIZE] for tx_hash in pending}
        return [each for each in short_ids if each in held]

    def assert_same(self) -> None:
        try:
            wait_until(lambda: not list(self.faults()), TEMPLATE_S)
        except AssertionError:
            found = list(self.faults())
            assert not found, "\n".join(found)
        COUNTS["states of the pools"] += 1


def told(rpc: RpcClient, tx: Transaction) -> str:
    try:
        return str(rpc.call("send_transaction", transaction_json(tx), "passthrough"))
    except RpcFailure as failure:
        return f"{failure.code} {failure.message} | {failure.data}"


def in_order(answer: Json) -> Json:
    """Lists whose order is free are sorted, uncles of one height among each other: the reference has a set of them."""
    if isinstance(answer.get("uncles"), list):
        answer["uncles"].sort(key=lambda uncle: (int(uncle["header"]["number"], 16), uncle["hash"]))
    for name in ("pending", "proposed", "conflicted", "proposals"):
        if isinstance(answer.get(name), list):
            answer[name].sort()
    return answer


@asynccontextmanager
async def walking(
    directory: Path,
    seed: str,
    *,
    pool: dict[str, int] | None = None,
    cells: int = CELLS_OF_ALICE,
    params: Mapping[str, object] | None = None,
) -> AsyncIterator[Walk]:
    """`pool`: limits of both; `params`: of the chain."""
    with pair_of_nodes(directory, spec_text(Path(CELLS), **(params or {})), pool=pool) as pair:
        consensus = build_consensus(parse_spec(pair.spec_path.read_text()), files_of(Path()))
        async with dev_chain(consensus, message=b"maker") as maker:
            walk = Walk(pair, maker, Random(seed), cells)
            await walk.fund()
            yield walk


def without_times(value: Json) -> Json:
    """Texts of answers and events do not say when a transaction came."""
    text = msgspec.json.encode(value).decode()
    return msgspec.json.decode(re.sub(r'(timestamp":"0x|timestamp )[0-9a-f]+', r"\1", text))
