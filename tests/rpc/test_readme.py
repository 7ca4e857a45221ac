"""The examples of the reference's `rpc/README.md`: `make rpc-readme SOURCE=<directory>` runs them on their chain."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.rpc.kit_docs import METHODS
from tests.rpc.kit_fits import fits
from tests.rpc.kit_readme import SOURCE, Example, Readme, examples, readme_chain
from tests.rpc.kit_reference import FREE

pytestmark = pytest.mark.skipif(not SOURCE, reason="CKB_SOURCE names no directory of the reference's source")

INDEXER = {"get_indexer_tip", "get_cells", "get_transactions", "get_cells_capacity"}
LATE = (
    "clear_tx_pool",
    "remove_transaction",
    "send_transaction",
    "send_test_transaction",
    "test_tx_pool_accept",
    "notify_transaction",
    "submit_block",
    "process_block_without_verify",
    "generate_block_with_template",
    "generate_block",
    "generate_epochs",
    "truncate",
)
"""They change what others see, so they come last, in this order."""
NEEDS_EMPTY_POOL = {"send_transaction", "send_test_transaction", "test_tx_pool_accept", "notify_transaction"}
BY_NAME = {method.name: method for method in METHODS}


def ids(example: Example) -> str:
    return example.method


ALL = list(examples()) if SOURCE else []


def test_no_method_is_missing() -> None:
    assert len(ALL) > 60
    assert {example.method for example in ALL} <= BY_NAME.keys()


@pytest.mark.parametrize("example", ALL, ids=ids)
def test_requests_and_results_are_of_our_types(example: Example) -> None:
    method = BY_NAME[example.method]
    values = method.arguments(msgspec.Raw(msgspec.json.encode(example.params)))
    assert len(values) == len(method.params)
    if example.answer.get("error") is None:
        declared = typing.get_type_hints(method.handler)["return"]
        assert fits(example.answer["result"], declared), f"{example.answer['result']} is no {declared}"


async def test_our_node_answers_as_the_readme_says() -> None:
    found: list[str] = []
    async with readme_chain() as readme:
        await readme.send_example()
        for example in sorted(ALL, key=_place):
            if example.method in INDEXER:
                continue
            answer = await _answer(readme, example)
            expected = {key: value for key, value in example.answer.items() if (key, value) != ("error", None)}
            if "error" in expected:
                expected.pop("result", None)
            free = FREE.get(example.method, ())
            found += [
                f"{example.method} {path}: {what}"
                for path, what in differences(expected, answer)
                if not any(re.fullmatch(each, path) for each in free)
            ]
    assert not found, "\n".join(found)


def _place(example: Example) -> int:
    return LATE.index(example.method) if example.method in LATE else -1


async def _answer(readme: Readme, example: Example) -> Any:
    if example.method in NEEDS_EMPTY_POOL:
        await readme.ask(Example("clear_tx_pool", [], {"id": 0}))
    answer = await readme.ask(example)
    if example.method in NEEDS_EMPTY_POOL or example.method in ("remove_transaction", "clear_tx_pool"):
        await readme.send_example()
    return answer


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if type(theirs) is not type(ours):
        yield path, f"{str(theirs)[:100]} and {str(ours)[:100]}"
    elif isinstance(theirs, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            if name in theirs and name in ours:
                yield from differences(theirs[name], ours[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}", f"only in {'theirs' if name in theirs else 'ours'}"
    elif isinstance(theirs, list):
        if len(theirs) != len(ours):
            yield path, f"{len(theirs)} and {len(ours)} items"
        for index, pair in enumerate(zip(theirs, ours, strict=False)):
            yield from differences(*pair, f"{path}[{index}]")
    elif theirs != ours:
        yield path, f"{str(theirs)[:100]} and {str(ours)[:100]}"
