"""Random transactions, blocks and reorganisations for both pools: the same answers, entries, events and templates.

A third node, in this process, makes the blocks: of what the pools propose and hold, and of what they do not know.
CKB_INTEROP_ROUNDS makes it longer.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.specs import files_of
from ckb_node.txpool.rejects import Reject
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.types.blockchain import Block, CellDep, CellInput, CellOutput, RawTransaction, Transaction
from tests.interop.kit_chain import COUNTS, wait_until
from tests.interop.kit_events import Heard, both_heard
from tests.interop.kit_json import Json, differences, hexed, transaction_json
from tests.support.builders.wallet import ALICE_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.funded_pool import Cell, cell_of
from tests.support.nodes.process import RpcClient, RpcFailure
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(24 * 3600)

ROUNDS = int(os.environ.get("CKB_INTEROP_ROUNDS", "1"))
STEPS = 60
CELLS_OF_ALICE, VALUE = 30, 5000 * CKB
ALICE = Wallet(ALICE_KEY)
FREE = re.compile(r".*\.(timestamp|time_added_to_pool|last_txs_updated_at|current_time|work_id|cellbase.*|depends)")
"""The reference never tells what a template's transactions depend on."""
TEMPLATE_S = 20.0


class Walk:
    """Both nodes, the maker of blocks, and cells to spend."""

    def __init__(self, pair: Pair, maker: DevChain, random: Random) -> None:
        self.pair, self.maker, self.random = pair, maker, random
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
        big = issued_cell(self.maker.consensus, ALICE)
        rest = big[1] - VALUE * CELLS_OF_ALICE - 100_000
        outputs = [(ALICE.lock, VALUE)] * CELLS_OF_ALICE
        splitting = ALICE.transfer(self.maker.consensus, [big], [*outputs, (ALICE.lock, rest)])
        await self.maker.pool.submit(splitting)
        self.feed(*[await self.mine() for _ in range(4)])
        assert self.maker.chain.view().transaction_info(splitting.hash) is not None
        self.cells = [cell_of(splitting, index) for index in range(CELLS_OF_ALICE)]

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
async def walking(directory: Path, seed: str, pool: dict[str, int] | None = None) -> AsyncIterator[Walk]:
    with pair_of_nodes(directory, spec_text(Path(CELLS)), pool=pool) as pair:
        consensus = build_consensus(parse_spec(pair.spec_path.read_text()), files_of(Path()))
        async with dev_chain(consensus, message=b"maker") as maker:
            walk = Walk(pair, maker, Random(seed))
            await walk.fund()
            yield walk


def without_times(value: Json) -> Json:
    """Texts of answers and events do not say when a transaction came."""
    text = msgspec.json.encode(value).decode()
    return msgspec.json.decode(re.sub(r'(timestamp":"0x|timestamp )[0-9a-f]+', r"\1", text))


def assert_same_events(walk: Walk, theirs: Heard, ours: Heard) -> None:
    """Of transactions: the same of each topic, in any order."""

    def of(heard: Heard, topic: str) -> Counter[str]:
        events = (without_times(each) for each in heard.events[topic])
        pairs = (each if isinstance(each, list) else [each, None] for each in events)
        found = [(entry["transaction"]["hash"], reason, entry) for entry, reason in pairs]
        return Counter(str(each) for each in found if each[0] not in walk.bounced)

    topics = ("new_transaction", "proposed_transaction", "rejected_transaction")
    for topic in topics:
        try:
            wait_until(lambda topic=topic: of(theirs, topic) == of(ours, topic), 10.0)
        except AssertionError:
            told = (of(theirs, topic) - of(ours, topic), of(ours, topic) - of(theirs, topic))
            only = [[each[:300] for each in one] for one in told]
            raise AssertionError(f"{topic}: only the reference tells {only[0]}, only ours {only[1]}") from None
        COUNTS[f"events {topic}"] += len(ours.events[topic])


@pytest.mark.parametrize("seed", range(2 * ROUNDS))
async def test_the_same_pools(tmp_path: Path, seed: int) -> None:
    async with walking(tmp_path, f"pools {seed}") as walk:
        random = walk.random
        with both_heard(walk.pair) as (theirs, ours):
            for _ in range(STEPS):
                action = random.random()
                if action < 0.6:
                    walk.send(walk.transaction())
                elif action < 0.8:
                    await walk.tell_maker(random.sample(walk.sent, min(len(walk.sent), 6)))
                    walk.feed(await walk.mine())
                elif action < 0.9:
                    await walk.tell_maker([walk.transaction()])  # one that the pools do not know, and rivals with
                    walk.feed(*[await walk.mine() for _ in range(random.randrange(1, 4))])
                else:
                    await reorganise(walk, random.randrange(1, 4))
                walk.assert_same()
            assert_same_events(walk, theirs, ours)


async def reorganise(walk: Walk, depth: int) -> None:
    """The last blocks give way to one more of a branch that proposes the same.

    What it would not propose any more stays in the gap for ever in the reference, which no template proposes then; here
    it is pending again.
    """
    chain = walk.maker.chain
    tip = chain.view().tip_header().number
    target = chain.view().main_hash(max(4, tip - depth)) or b""
    await chain.truncate(target)
    held = walk.pair.ours.rpc.call("get_raw_tx_pool")
    hashes = {*held["pending"], *held["proposed"]}
    await walk.tell_maker([tx for tx in walk.sent if hexed(tx.hash) in hashes])
    while chain.view().tip_header().number <= tip:
        await walk.mine()
    view = chain.view()
    blocks = [view.block(view.main_hash(number) or b"") for number in range(max(4, tip - depth) + 1, tip + 2)]
    walk.feed(*[block for block in blocks if block is not None])


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_a_full_pool(tmp_path: Path, seed: int) -> None:
    """Who pays least leaves, with what stands on it, and both tell it alike."""
    async with walking(tmp_path, f"full {seed}", {"max_tx_pool_size": 4000}) as walk:
        with both_heard(walk.pair) as (theirs, ours):
            for step in range(STEPS):
                walk.send(walk.transaction())
                if step % 10 == 9:
                    walk.feed(await walk.mine())
                walk.assert_same()
            assert_same_events(walk, theirs, ours)


async def test_what_expires(tmp_path: Path) -> None:
    async with walking(tmp_path, "expiry", {"expiry_hours": 0}) as walk:
        with both_heard(walk.pair) as (theirs, ours):
            sent = [walk.transaction() for _ in range(12)]
            for tx in sent:
                walk.send(tx)
            walk.assert_same()
            await asyncio.sleep(0.01)  # it is the clock that makes them too old
            walk.feed(await walk.mine())
            wait_until(lambda: not walk.pair.ours.rpc.call("get_raw_tx_pool")["pending"])
            walk.assert_same()
            assert_same_events(walk, theirs, ours)
            assert len(ours.events["rejected_transaction"]) > 1
