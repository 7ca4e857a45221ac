"""JSON-RPC 2.0 without transport: requests, batches, notifications, parameters, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ckb_node.rpc.answer_room import AnswerRoom
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.params import H256, Bool, Hashes, Text, TransactionParam, Uint32, Uint64, ValidatorParam
from ckb_node.rpc.registry import Methods, Module, Registry
from ckb_node.runtime.lane import Lane
from ckb_node.verification.stopping import ScriptsStopped
from tests.support.asking import RpcFailure, ask, call, dispatcher_of

METHODS = Methods(Module.CHAIN)
SEEN: list[str] = []


@METHODS.method
def nothing(services: Any) -> None:
    """Takes nothing."""
    SEEN.append("nothing")


@METHODS.method
def add(services: Any, a: Uint32, b: Uint64 | None = None) -> str:
    """Adds."""
    return hex(a + (100 if b is None else b))


@METHODS.method
async def both(services: Any, flag: Bool, text: Text) -> list[Any]:
    """Answers its parameters."""
    SEEN.append(text)
    return [flag, text]


@METHODS.method
def count(services: Any, hashes: Hashes, one: H256 | None = None) -> int:
    """Counts."""
    return len(hashes) + (one is not None)


HASH = "0x" + "11" * 32
LOCK = {"code_hash": HASH, "hash_type": "type", "args": "0x"}
DEP = {"out_point": {"tx_hash": HASH, "index": "0x0"}, "dep_type": "code"}
TX: dict[str, Any] = {
    "version": "0x0", "cell_deps": [], "header_deps": [], "inputs": [], "outputs": [], "outputs_data": [],
    "witnesses": [],
}  # fmt: skip


@METHODS.method
def take(services: Any, tx: TransactionParam, validator: ValidatorParam | None = None) -> str:
    """Takes a transaction."""
    return "0x" + tx.hash.hex()


@METHODS.method
def stopped(services: Any) -> None:
    """Runs scripts when the node stops."""
    raise ScriptsStopped


@METHODS.method
def fault(services: Any) -> None:
    """Has a fault."""
    raise ZeroDivisionError("a bug")


@METHODS.method
def unspeakable(services: Any) -> Any:
    """Answers what JSON cannot say."""
    return object()


@METHODS.method
def custom(services: Any) -> None:
    """Raises an error object."""
    raise RpcError(Code.Invalid, "no", "because")


@METHODS.method(deprecated="use `nothing`")
def old(services: Any) -> int:
    """Old."""
    return 1


NET = Methods(Module.NET)


@NET.method
def closed(services: Any) -> int:
    """In a module that is off."""
    return 1


SUBSCRIPTION = Methods(Module.SUBSCRIPTION)


@SUBSCRIPTION.method
def unheard(services: Any) -> int:
    """In a module that does not exist while it is off."""
    return 1


class NoMiner:
    miner = None
    lane = Lane("test", 1)
    room = AnswerRoom()


@pytest.fixture
def dispatcher() -> Dispatcher:
    SEEN.clear()
    return dispatcher_of(NoMiner(), [Module.CHAIN], [METHODS, NET, SUBSCRIPTION])


async def code_of(dispatcher: Dispatcher, body: bytes) -> tuple[int, Any]:
    answer = json.loads(await dispatcher.dispatch(body))
    assert answer["jsonrpc"] == "2.0"
    assert "result" not in answer
    return answer["error"]["code"], answer["id"]


def request(method: str, params: Any = (), **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params} | more


async def test_a_call_and_its_answer_as_text(dispatcher: Dispatcher) -> None:
    body = b'{"id": 42, "jsonrpc": "2.0", "method": "add", "params": ["0x1", "0x2"]}'
    assert await dispatcher.dispatch(body) == b'{"jsonrpc":"2.0","result":"0x3","id":42}'


@pytest.mark.parametrize("identity", [0, 7, 1 << 60, "abc", "", None])
async def test_ids_come_back(dispatcher: Dispatcher, identity: Any) -> None:
    answer = await ask(dispatcher, request("nothing", id=identity))
    assert answer == {"jsonrpc": "2.0", "result": None, "id": identity}


@pytest.mark.parametrize("params", [[], None, {}])
async def test_no_parameters_in_any_form(dispatcher: Dispatcher, params: Any) -> None:
    assert (await ask(dispatcher, request("nothing", params)))["result"] is None
    absent = request("nothing")
    del absent["params"]
    assert (await ask(dispatcher, absent))["result"] is None


async def test_positional_and_named_and_optional_parameters(dispatcher: Dispatcher) -> None:
    for params in (["0x1"], ["0x1", None], {"a": "0x1"}, {"a": "0x1", "b": None}):
        assert (await ask(dispatcher, request("add", params)))["result"] == "0x65"
    assert (await ask(dispatcher, request("add", {"b": "0x5", "a": "0x1"})))["result"] == "0x6"
    assert await call(dispatcher, "both", True, "x") == [True, "x"]


async def test_more_parameters_than_known_only_after_optional_ones(dispatcher: Dispatcher) -> None:
    assert await call(dispatcher, "add", "0x1", "0x1", "more") == "0x2"
    with pytest.raises(RpcFailure, match="No parameters were expected"):
        await call(dispatcher, "nothing", 1)
    with pytest.raises(RpcFailure, match="invalid length 3"):
        await call(dispatcher, "both", True, "x", 1)


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        ("add", [], "Missing required parameter `a`"),
        ("add", {}, "Missing required parameter `a`"),
        ("add", {"a": "0x1", "c": 1}, "unknown parameter `c`"),
        ("add", {"a": "0x1", "": 1}, "unknown parameter ``"),
        ("add", {f"n{number}": 1 for number in range(100_000)}, "unknown parameter `n0`"),
        ("add", ["0x01"], "with redundant leading zeros"),
        ("add", ["1"], "without `0x` prefix"),
        ("add", [1], "`a`"),
        ("add", [None], "`a`"),
        ("add", ["0x100000000"], "number too large"),
        ("add", ["0x1", True], "`b`"),
        ("add", [1], "invalid type: int, expected a hex-encoded, 0x-prefixed Uint32"),
        ("add", ["1"], "expected 0x-prefixed hex"),
        ("both", ["true", "x"], "`flag`: invalid type: str, expected a boolean"),
        ("both", [1, "x"], "`flag`"),
        ("both", [True, 1], "`text`: Expected `str`, got `int`"),
        ("count", [["0x00"]], "H256 0x00: invalid length 2, expected a 0x-prefixed hex string with 64 digits"),
        ("count", [["00"]], "expected a 0x-prefixed hex string with 64 digits"),
        ("count", [[], 5], "`one`: invalid type: int, expected a 0x-prefixed hex string with 64 digits"),
        ("count", ["0x00"], "`hashes`"),
        ("count", [[1]], "expected a 0x-prefixed hex string - at `[0]`"),
        ("take", [{"version": "0x0"}], "`tx`"),
        ("take", [TX | {"version": 0}], "expected a 0x-prefixed hex string - at `version`"),
        ("take", [TX | {"witnesses": ["00"]}], "expected a 0x-prefixed hex string"),
        (
            "take",
            [TX | {"cell_deps": [DEP | {"dep_type": "x"}]}],
            "`x`, expected `code` or `dep_group` - at `cell_deps",
        ),
        ("take", [TX | {"outputs": [{"capacity": "0x1", "lock": LOCK | {"hash_type": 1}}]}], "expected `data`, `type`"),
        (
            "take",
            [TX | {"outputs": [{"capacity": "0x1", "lock": LOCK | {"hash_type": "x"}}]}],
            "expected `data`, `type`",
        ),
        ("take", [TX, "none"], "unknown variant `none`, expected `passthrough` or `well_known_scripts_only`"),
        ("take", [TX, 1], "invalid type: int, expected `passthrough` or `well_known_scripts_only`"),
    ],
)
async def test_wrong_parameters_are_named(dispatcher: Dispatcher, method: str, params: Any, text: str) -> None:
    error = (await ask(dispatcher, request(method, params)))["error"]
    assert error["code"] == -32602
    assert error["message"].startswith(("Invalid param", "Missing required parameter"))
    assert text in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b'{"jsonrpc":"2.0","method":"nothing",',
        b"[1,",
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b"\0",
    ],
)
async def test_what_is_not_json_is_a_parse_error(dispatcher: Dispatcher, body: bytes) -> None:
    assert await code_of(dispatcher, body) == (-32700, None)


@pytest.mark.parametrize(
    ("body", "identity"),
    [
        (b"1", None),
        (b'"x"', None),
        (b"{}", None),
        (b"[]", None),
        (b'{"jsonrpc":"2.0","id":1}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":1}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing","params":5}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing","params":"x"}', 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing","params":true}', 1),
        (b'{"jsonrpc":"1.0","id":"a","method":"nothing"}', "a"),
        (b'{"id":3,"method":"nothing"}', 3),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing","more":1}', 1),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"nothing"}', None),
        (b'{"jsonrpc":"2.0","id":[1],"method":"nothing"}', None),
    ],
)
async def test_what_is_json_but_no_request(dispatcher: Dispatcher, body: bytes, identity: Any) -> None:
    assert await code_of(dispatcher, body) == (-32600, identity)


async def test_unknown_methods(dispatcher: Dispatcher) -> None:
    assert await code_of(dispatcher, json.dumps(request("no_such_method")).encode()) == (-32601, 7)
    assert await code_of(dispatcher, json.dumps(request("unheard")).encode()) == (-32601, 7)


async def message_of(dispatcher: Dispatcher, method: str) -> tuple[int, str]:
    error = (await ask(dispatcher, request(method)))["error"]
    return error["code"], error["message"]


async def test_an_unknown_method_is_named(dispatcher: Dispatcher) -> None:
    assert await message_of(dispatcher, "get_tip") == (-32601, "Method not found: `get_tip`")
    code, text = await message_of(dispatcher, "x" * 100_000)
    assert (code, len(text) < 120) == (-32601, True)


async def test_a_module_that_is_off_is_named(dispatcher: Dispatcher) -> None:
    code, text = await message_of(dispatcher, "unheard")
    assert code == -32601
    assert text.startswith("Method not found: `unheard` is in the module `Subscription`. Add the module")


async def test_a_method_of_a_disabled_module_says_what_to_do(dispatcher: Dispatcher) -> None:
    with pytest.raises(RpcFailure) as caught:
        await call(dispatcher, "closed")
    assert caught.value.code == -4
    assert caught.value.message.startswith("RPCModuleIsDisabled: This RPC method is in the module `Net`.")
    assert "rpc.modules" in caught.value.message


async def test_a_deprecated_method_opens_by_configuration(dispatcher: Dispatcher) -> None:
    with pytest.raises(RpcFailure, match="Deprecated: ") as caught:
        await call(dispatcher, "old")
    assert "use `nothing`" in caught.value.message
    assert caught.value.code == -2
    opened = dispatcher_of(NoMiner(), [Module.CHAIN], [METHODS], with_deprecated=True)
    assert await call(opened, "old") == 1


async def test_a_fault_is_an_internal_error_that_tells_nothing(dispatcher: Dispatcher) -> None:
    for method in ("fault", "unspeakable"):
        error = (await ask(dispatcher, request(method)))["error"]
        assert error == {"code": -32603, "message": "Internal error"}


async def test_a_call_that_the_nodes_end_stops_is_no_fault(dispatcher: Dispatcher) -> None:
    with capture_logs() as lines:
        assert await message_of(dispatcher, "stopped") == (-32603, "The node is stopping")
    assert [line["log_level"] for line in lines] == ["debug"]


async def test_error_objects_carry_name_and_data(dispatcher: Dispatcher) -> None:
    error = (await ask(dispatcher, request("custom")))["error"]
    assert error == {"code": -3, "message": "Invalid: no", "data": "because"}


async def test_a_notification_is_done_but_not_answered(dispatcher: Dispatcher) -> None:
    assert await dispatcher.dispatch(b'{"jsonrpc":"2.0","method":"nothing"}') == b""
    assert SEEN == ["nothing"]
    assert await dispatcher.dispatch(b'{"jsonrpc":"2.0","method":"no_such_method"}') == b""


@pytest.mark.parametrize(
    "double",
    [
        b'"method":"nothing","method":"nothing"',
        b'"method":"nothing","params":[],"params":[]',
        b'"method":"nothing","jsonrpc":"2.0"',
        b'"method":"nothing","id":7',
        b'"method":"nothing","m\\u0065thod":"nothing"',
        b'"method" :"nothing","params":{"a":1},"id" : 7',
    ],
)
async def test_members_that_come_twice_are_refused(dispatcher: Dispatcher, double: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":7,%b}' % double
    assert await code_of(dispatcher, body) == (-32600, 7)
    assert json.loads(await dispatcher.dispatch(b"[%b]" % body))[0]["error"]["code"] == -32600
    assert dispatcher.at_once(body) is None
    assert SEEN == []


async def test_names_of_members_may_stand_in_parameters(dispatcher: Dispatcher) -> None:
    text = '{"id":1,"id":2,"method":"x"}'
    assert (await call(dispatcher, "both", True, text)) == [True, text]
    body = b'{"jsonrpc":"2.0","id":7,"method":"both","params":{"flag":true,"text":"\\"id\\":"}}'
    assert json.loads(await dispatcher.dispatch(body))["result"] == [True, '"id":']


async def test_a_batch_runs_in_order_and_leaves_notifications_out(dispatcher: Dispatcher) -> None:
    batch = [
        request("both", [True, "first"], id=1),
        {"jsonrpc": "2.0", "method": "both", "params": [True, "second"]},
        request("no_such_method", id="x"),
        5,
        request("both", [False, "third"], id=3),
    ]
    answers = await ask(dispatcher, batch)
    assert SEEN == ["first", "second", "third"]
    assert [answer["id"] for answer in answers] == [1, "x", None, 3]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32601, -32600, None]


async def test_a_batch_of_notifications_is_not_answered(dispatcher: Dispatcher) -> None:
    notification = {"jsonrpc": "2.0", "method": "nothing"}
    assert await ask(dispatcher, [notification, notification]) is None
    assert SEEN == ["nothing", "nothing"]


async def test_a_batch_over_the_limit_is_refused_whole() -> None:
    registry = Registry(NoMiner(), [Module.CHAIN])  # type: ignore[arg-type]
    registry.add(METHODS)
    SEEN.clear()
    answer = await ask(Dispatcher(registry, batch_limit=3), [request("nothing")] * 4)
    assert answer["error"]["code"] == -32602
    assert "batch size is too large, expect it less than: 3" in answer["error"]["message"]
    assert answer["id"] is None
    assert SEEN == []
    assert len(await ask(Dispatcher(registry, batch_limit=3), [request("nothing")] * 3)) == 3


@pytest.mark.parametrize("depth", [200, 5000, 200_000])
async def test_deep_nesting_is_refused(dispatcher: Dispatcher, depth: int) -> None:
    for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        answer = json.loads(await dispatcher.dispatch(text.encode()))
        first = answer[0] if isinstance(answer, list) else answer
        assert first["error"]["code"] in (-32700, -32600)
        wrapped = f'{{"jsonrpc":"2.0","id":1,"method":"take","params":[{text}]}}'
        code, _ = await code_of(dispatcher, wrapped.encode())
        assert code in (-32700, -32602)


async def test_a_huge_parameter_is_read_or_refused_not_more(dispatcher: Dispatcher) -> None:
    hashes = ["0x" + "11" * 32] * 50_000
    assert await call(dispatcher, "count", hashes) == 50_000
    with pytest.raises(RpcFailure, match="`a`"):
        await call(dispatcher, "add", "0x" + "1" * 1_000_000)


async def test_parts_of_a_batch_come_one_by_one(dispatcher: Dispatcher) -> None:
    body = json.dumps([request("both", [True, str(n)]) for n in range(3)]).encode()
    seen_after_part = [list(SEEN) async for _ in dispatcher.parts(body)]
    assert seen_after_part == [["0"], ["0", "1"], ["0", "1", "2"], ["0", "1", "2"]]


def test_two_methods_of_one_name_are_refused() -> None:
    registry = Registry(NoMiner(), [Module.CHAIN])  # type: ignore[arg-type]
    registry.add(METHODS)
    with pytest.raises(ValueError, match="nothing is there already"):
        registry.add(METHODS)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(["nothing", "add", "both", "count", "take", "fault", "custom", "old", "closed"])
REQUESTS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON_VALUES, "method": NAMES | JSON_VALUES, "id": st.integers() | JSON_VALUES},
    optional={"params": JSON_VALUES},
)
BODIES = st.binary(max_size=50) | (JSON_VALUES | REQUESTS | st.lists(REQUESTS, max_size=3)).map(
    lambda value: json.dumps(value).encode()
)


@given(BODIES)
@settings(max_examples=400)
async def test_whatever_comes_is_answered_the_same_at_once_or_left_to_the_plain_way(body: bytes) -> None:
    dispatcher = dispatcher_of(NoMiner(), [Module.CHAIN], [METHODS, NET])
    assert dispatcher.at_once(body) in (None, await dispatcher.dispatch(body))


@given(BODIES)
@settings(max_examples=400)
async def test_whatever_comes_is_answered_by_the_standard(body: bytes) -> None:
    answer = await dispatcher_of(NoMiner(), [Module.CHAIN], [METHODS, NET]).dispatch(body)
    if not answer:
        return
    decoded = json.loads(answer)
    for each in decoded if isinstance(decoded, list) else [decoded]:
        assert each["jsonrpc"] == "2.0"
        assert ("result" in each) is not ("error" in each)
        assert each["id"] is None or type(each["id"]) in (int, str)
        if "error" in each:
            assert type(each["error"]["code"]) is int
            assert each["error"]["message"]
