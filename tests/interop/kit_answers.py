"""Answers of both programs to the same requests: results, error codes and messages must be equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.interop.kit_chain import COUNTS
from tests.interop.kit_facts import Request
from tests.interop.kit_json import Json, ask, differences
from tests.support.nodes.reference import Pair

# What may differ, as expressions over "method path".
VOLATILE = (
    r".*\.(time_added_to_pool|timestamp_added|last_txs_updated_at)",
    r"get_raw_tx_pool .*\.timestamp",
    r"get_pool_tx_detail_info .*\.timestamp",
    r"get_block_template .*\.(work_id|current_time|cellbase\.data\.witnesses\[0\])",
    r"local_node_info .*\.(version|node_id|addresses|protocols).*",  # compared by test_network
    r"sync_state .*\.best_known_block_(number|timestamp)",
)
# Where ours answers on purpose otherwise; said in docs or in the test's comment.
ACCEPTED = (
    r"get_banned_addresses ",  # a network with host bits keeps them there
    r"(add|remove)_node ",  # the library's words about a bad address
)
PARAMETERS_REFUSED = re.compile(r"Invalid param|Missing required parameter")


def disagreements(pair: Pair, method: str, params: Any) -> Iterator[str]:
    theirs, ours = (ask(rpc, method, params) for rpc in (pair.reference.rpc, pair.ours.rpc))
    for answer in (theirs, ours):
        if method == "get_block_template" and "result" in answer:
            answer["result"]["proposals"].sort()
    if isinstance(params, dict) and "error" in theirs:
        return  # ours takes named parameters too
    if "error" in theirs and "error" in ours and same_refusal(theirs["error"], ours["error"]):
        return
    for difference in differences(theirs, ours):
        place = f"{method} {difference.partition(':')[0]}"
        if not any(re.fullmatch(each, place) for each in VOLATILE) and not any(
            re.match(each, f"{method} ") for each in ACCEPTED
        ):
            yield f"{method} {json.dumps(params)[:200]}\n    {difference}"


def same_refusal(theirs: Json, ours: Json) -> bool:
    """Parameters that no method saw are refused by each JSON library in its own words, under the same code.

    Ours may say more after the reference's own text: the name of an unknown method, the values that are allowed.
    """
    if theirs["code"] != ours["code"] or theirs["code"] not in (-32601, -32602):
        return False
    return all(PARAMETERS_REFUSED.match(error["message"]) for error in (theirs, ours)) or (
        ours["message"].startswith(theirs["message"]) and theirs.get("data") == ours.get("data")
    )


def assert_equal_answers(pair: Pair, requests: Iterator[Request]) -> None:
    found: list[str] = []
    asked = 0
    for method, params in requests:
        asked += 1
        found += disagreements(pair, method, params)
    COUNTS["RPC answers"] += asked
    assert not found, f"{len(found)} of {asked}:\n" + "\n".join(found)
