"""A chain with a fork, deposits and many cells, and random questions to both indexers about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from consensus.types.blockchain import CellInput, CellOutput, OutPoint, Script, Transaction
from tests.interop.kit_chain import COUNTS, Mirror, wait_until
from tests.interop.kit_content import code_dep, deploy, locked, out_points
from tests.interop.kit_dao import dao_dep, dao_script
from tests.interop.kit_json import Json, ask, differences, script_json
from tests.interop.kit_mirror import tip_hash
from tests.interop.kit_programs import exits_with
from tests.interop.kit_sign import Single
from tests.support.builders.wallet import CKB

CODES = (b"\x11" * 32, b"\x22" * 32)
TRANSACTIONS, OUTPUTS, DEPOSITS = 16, 120, 12
WHOLE = "0xffff"


class Scene:
    """The chain, and the scripts that it has."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror, self.random = mirror, Random(12)
        self.locks = [mirror.alice.wallet.lock, mirror.bob.wallet.lock]
        self.locks += [
            Script(code_hash=code, hash_type=kind, args=args)
            for code in CODES
            for kind in (0, 1)
            for args in (b"", b"\x01", b"\x01\x02", b"\x01\x02\x03\x04", b"\x02\x01\x02", b"\xff\xff", b"\x01" * 40)
        ]
        program = exits_with(0)
        (code,) = deploy(mirror, program)
        success = locked(program, 4)
        self.types = [
            Script(code_hash=success.code_hash, hash_type=4, args=args) for args in (b"", b"\x07", b"\x07\x08", b"\x09")
        ]
        self.types.append(dao_script(mirror.consensus))
        self.deps = [code_dep(code), dao_dep(mirror.consensus)]
        self.purse: list[tuple[OutPoint, int]] = []
        for _ in range(TRANSACTIONS // 2):
            self.commit_some()
        self.fork()
        for _ in range(TRANSACTIONS // 2):
            self.commit_some()

    def paying(self) -> Transaction:
        """A transaction with many outputs, which spends some that an earlier one made."""
        mirror, random = self.mirror, self.random
        outputs, data = [], []
        for _ in range(OUTPUTS):
            type_ = random.choice(self.types[:-1]) if random.random() < 0.4 else None
            outputs.append(
                CellOutput(capacity=random.randrange(300, 320) * CKB, lock=random.choice(self.locks), type_=type_)
            )
            data.append(bytes(random.choices((1, 2, 255), k=random.choice((0, 0, 1, 3, 20)))))
        spent, self.purse = self.purse[:6], self.purse[6:]
        return mirror.spend(
            mirror.bob,
            outputs,
            data,
            inputs=[CellInput(since=0, previous_output=point) for point, _ in spent],
            added=sum(capacity for _, capacity in spent),
            cell_deps=self.deps,
            signers=[(Single(mirror.alice.wallet), list(range(len(spent))))] if spent else [],
        )

    def commit_some(self) -> None:
        """Such a transaction, and deposits."""
        mirror, random = self.mirror, self.random
        paid = self.paying()
        deposits = [
            CellOutput(capacity=random.randrange(300, 320) * CKB, lock=random.choice(self.locks), type_=self.types[-1])
            for _ in range(DEPOSITS)
        ]
        mirror.commit(
            paid,
            mirror.spend(mirror.alice, deposits, [bytes(8)] * DEPOSITS, cell_deps=self.deps),
        )
        for point, output in zip(out_points(paid, OUTPUTS), paid.body.outputs, strict=False):
            if output.lock == mirror.alice.wallet.lock and output.type_ is None:
                self.purse.append((point, output.capacity))

    def fork(self) -> None:
        """Blocks with a transaction that both programs take back."""
        mirror = self.mirror
        root = tip_hash(mirror.source)
        purses = mirror.alice, mirror.bob
        before = [(purse.out_point, purse.capacity) for purse in purses], list(self.purse)
        self.commit_some()
        self.settle()
        for purse, cell in zip(purses, before[0], strict=True):
            purse.out_point, purse.capacity = cell
        self.purse = before[1]
        mirror.source.call("truncate", root)
        height = mirror.target.tip()
        while mirror.source.tip() <= height:
            mirror.make(mirror.template())
        for number in range(height - 3, mirror.source.tip() + 1):
            block_hash = mirror.source.call("get_block_hash", hex(number))
            if block_hash != mirror.target.call("get_block_hash", hex(number)):
                mirror.copy(block_hash, compare=False)
        assert tip_hash(mirror.source) == tip_hash(mirror.target)

    def settle(self) -> None:
        """Until both indexers are at the tip."""
        for rpc in (self.mirror.source, self.mirror.target):
            wait_until(lambda rpc=rpc: (rpc.call("get_indexer_tip") or {}).get("block_hash") == tip_hash(rpc))

    def search_key(self, *, rich: bool) -> Json:
        """Any that an indexer takes, sometimes one that it refuses."""
        random = self.random
        kind = random.choice(("lock", "type"))
        own, other = (self.locks, self.types) if kind == "lock" else (self.types, self.locks)
        modes = ["prefix", "exact", "partial"] if rich or random.random() < 0.1 else ["prefix", "exact"]
        key: dict[str, Any] = {"script": self.script(own), "script_type": kind}
        if random.random() < 0.8:
            key["script_search_mode"] = random.choice(modes)
        if random.random() < 0.3:
            key["with_data"] = random.random() < 0.5
        if random.random() < 0.3:
            key["group_by_transaction"] = random.random() < 0.8
        if random.random() < 0.6:
            key["filter"] = self.conditions(other)
        return key

    def script(self, scripts: list[Script]) -> Json:
        chosen = self.random.choice(scripts)
        shown = script_json(chosen)
        if self.random.random() < 0.4:
            args = chosen.args
            start = self.random.randrange(len(args) + 1) if self.random.random() < 0.3 else 0
            shown["args"] = "0x" + args[start : start + self.random.randrange(4)].hex()
        return shown

    def conditions(self, other: list[Script]) -> Json:
        random = self.random
        tip = self.mirror.source.tip()
        every: dict[str, Any] = {
            "script": self.script(other),
            "script_len_range": self.range(80),
            "output_data": "0x" + bytes(random.choices((1, 2, 255), k=random.randrange(3))).hex(),
            "output_data_len_range": self.range(22),
            "output_capacity_range": [hex(int(each, 16) * CKB) for each in self.range(325)],
            "block_range": self.range(tip + 2),
        }
        chosen = {name: every[name] for name in random.sample(sorted(every), random.choice((1, 1, 1, 2, 3)))}
        if "output_data" in chosen and random.random() < 0.7:
            chosen["output_data_filter_mode"] = random.choice(("prefix", "exact", "partial"))
        return chosen

    def range(self, end: int) -> list[str]:
        ends = [self.random.randrange(end), self.random.randrange(end)]
        return [hex(each) for each in (sorted(ends) if self.random.random() < 0.9 else ends)]

    def requests(
        self, count: int, *, rich: bool, takes: Callable[[Json], bool] | None = None
    ) -> Iterator[tuple[str, list[Any]]]:
        """So many, or fewer: those whose search key is taken."""
        for _ in range(count):
            key, order = self.search_key(rich=rich), self.random.choice(("asc", "desc"))
            if (rich and has_high_prefix(key)) or (takes is not None and not takes(key)):
                continue
            method = self.random.choice(("get_cells", "get_cells", "get_transactions", "get_transactions", "capacity"))
            if method == "capacity":
                yield "get_cells_capacity", [key]
            else:
                limit = WHOLE if rich else hex(self.random.choice((1, 2, 7, 100, 65535)))
                yield method, [key, order, limit]


def unequal_answers(
    made: Scene, count: int, *, rich: bool, takes: Callable[[Json], bool] | None = None
) -> tuple[list[str], int]:
    """Ask both so many questions, those whose search key is taken; where they differ, and the answers' objects."""
    pair = made.mirror.pair
    found: list[str] = []
    asked = objects = 0
    for method, params in made.requests(count, rich=rich, takes=takes):
        theirs, ours = (ask(rpc, method, params) for rpc in (pair.reference.rpc, pair.ours.rpc))
        asked += 1
        if "integer overflow" in theirs.get("error", {}).get("message", ""):
            continue  # a sum above 2 ** 63, which ours tells
        for answer in (theirs, ours) if rich else ():
            without_order(answer)
        objects += len((theirs.get("result") or {}).get("objects", ()))
        found += [f"{method} {params}\n    {each}" for each in list(differences(theirs, ours))[:2]]
    COUNTS["random RPC answers of indexers"] += asked
    COUNTS["objects in them"] += objects
    return found, objects


def has_high_prefix(key: Json) -> bool:
    """Has a prefix of 0xff bytes alone: the reference's rich indexer finds but the shortest continuations of it."""
    conditions = key.get("filter", {})
    prefixes = [key["script"]["args"], conditions.get("output_data"), conditions.get("script", {}).get("args")]
    return any(prefix and set(prefix[2:]) == {"f"} for prefix in prefixes)


def without_order(answer: Json) -> None:
    """Of the rich indexer: without cursors, a transaction's rows in one order."""
    result = answer.get("result")
    if isinstance(result, dict) and "objects" in result:
        del result["last_cursor"]
        places = [_place(each) for each in result["objects"]]
        assert places == sorted(places) or places == sorted(places, reverse=True)
        result["objects"] = sorted_objects(result["objects"])


def _place(found: Json) -> tuple[int, int]:
    return int(found["block_number"], 16), int(found["tx_index"], 16)


def sorted_objects(objects: list[Json]) -> list[Json]:
    for each in objects:
        if "cells" in each:
            each["cells"].sort()
    return sorted(objects, key=lambda each: (_place(each), json.dumps(each, sort_keys=True)))
