"""Random questions about a chain to the modules that only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.interop.kit_facts import BAD_HASHES, BAD_NUMBERS, UNKNOWN, Request
from tests.interop.kit_indexer_scene import Scene
from tests.interop.kit_json import Json

RARELY: float = 0.06
"""Part of the values that are wrong or unknown."""


class RandomReads:
    """Questions about what a scene's chain has, now and then about what it has not."""

    def __init__(self, made: Scene, seed: str) -> None:
        source = made.mirror.source
        self._random = Random(seed)
        self._blocks: list[Json] = [
            source.call("get_block_by_number", hex(number)) for number in range(source.tip() + 1)
        ]
        dao = made.types[-1].code_hash.hex()
        self._deposits = [
            _out_point(transaction, index)
            for block in self._blocks
            for transaction in block["transactions"]
            for index, output in enumerate(transaction["outputs"])
            if output["type"] is not None and output["type"]["code_hash"] == "0x" + dao
        ]
        self._makers: dict[str, Callable[[], list[Any]]] = {
            "get_block": lambda: [self._block_hash(), *self._some(self._verbosity, self._yes)],
            "get_block_by_number": lambda: [self._number(), *self._some(self._verbosity, self._yes)],
            "get_header": lambda: [self._block_hash(), *self._some(self._verbosity)],
            "get_header_by_number": lambda: [self._number(), *self._some(self._verbosity)],
            "get_block_hash": lambda: [self._number()],
            "get_epoch_by_number": lambda: [self._random.choice(("0x0", "0x1", "0x7"))],
            "get_block_median_time": lambda: [self._block_hash()],
            "get_block_economic_state": lambda: [self._block_hash()],
            "get_block_filter": lambda: [self._block_hash()],
            "get_transaction": lambda: [self._tx_hash(), *self._some(self._verbosity, self._yes)],
            "get_transaction_proof": self._proof,
            "get_transaction_and_witness_proof": self._proof,
            "get_live_cell": lambda: [self._out_point(), self._yes(), *self._some(self._yes)],
            "calculate_dao_maximum_withdraw": lambda: [
                self._random.choice(self._deposits),
                self._random.choice((self._block_hash, self._out_point))(),
            ],
            "get_fee_rate_statistics": lambda: self._some(lambda: hex(self._random.randrange(1, 110))),
            "get_tip_header": lambda: self._some(self._verbosity),
            "get_current_epoch": list,
            "get_tip_block_number": list,
        }

    def requests(self, count: int) -> Iterator[Request]:
        """So many."""
        names = list(self._makers)
        for _ in range(count):
            method = self._random.choice(names)
            yield method, self._makers[method]()

    def _some(self, *makers: Callable[[], Any]) -> list[Any]:
        """The first of these that may be left out."""
        return [make() for make in makers[: self._random.randrange(len(makers) + 1)]]

    def _verbosity(self) -> Any:
        return self._random.choice(("0x0", "0x1", "0x2", "0x3", None))

    def _yes(self) -> Any:
        return self._random.choice((True, False))

    def _is_wrong(self) -> bool:
        return self._random.random() < RARELY

    def _block(self) -> Json:
        return self._random.choice(self._blocks)

    def _block_hash(self) -> Any:
        if self._is_wrong():
            return self._random.choice((UNKNOWN, *BAD_HASHES))
        return self._block()["header"]["hash"]

    def _number(self) -> Any:
        if self._is_wrong():
            return self._random.choice(BAD_NUMBERS)
        return hex(self._random.randrange(len(self._blocks) + 2))

    def _transaction(self) -> Json:
        return self._random.choice(self._block()["transactions"])

    def _tx_hash(self) -> Any:
        if self._is_wrong():
            return self._random.choice((UNKNOWN, *BAD_HASHES))
        return self._transaction()["hash"]

    def _out_point(self) -> Json:
        transaction = self._transaction()
        index = self._random.randrange(len(transaction["outputs"]) + 1)
        return _out_point(transaction, index)

    def _proof(self) -> list[Any]:
        block = self._block()
        hashes = [each["hash"] for each in block["transactions"]]
        chosen = self._random.sample(hashes, self._random.randrange(1, len(hashes) + 1))
        if self._is_wrong():
            chosen.append(self._tx_hash())
        return [chosen, *self._some(lambda: block["header"]["hash"])]


def _out_point(transaction: Json, index: int) -> Json:
    return {"tx_hash": transaction["hash"], "index": hex(index)}
