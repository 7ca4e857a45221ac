"""What is said on a connection to a pool, by transcripts: logins, jobs, shares, and hostile lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ckb_node.miner.pool_login import PoolError
from ckb_node.miner.pool_session import MAX_MESSAGES, MAX_UNANSWERED, Login, PoolSession
from ckb_node.miner.work import Work
from tests.miner.kit_desk import NotedDesk

POW_HASH = "d5a74fba920ad0d35ec5726f26327547cbc82180e356e5ccf6cf2e6bd75f8a66"
PARENT = "df4f27b8a8baae4672012c7a57b3abd684e516b5a2739cfec71d8d071e85fe12"
TARGET = "0001" + "00" * 30
NONCE = bytes(range(16))
SESSION = [["mining.set_difficulty", "1f2e3d4c"], ["mining.notify", "1f2e3d4c"]]


class Scene:
    """A session, and the pool's side of it."""

    def __init__(self, *, is_get_work: bool = False) -> None:
        self.desk = NotedDesk()
        self.sent: list[dict[str, Any]] = []
        login = Login("ckb1address.rig", "x", "agent/1")
        self.session = PoolSession(login, self.desk, lambda line: self.sent.append(json.loads(line)))
        self.session.begin(is_get_work=is_get_work)

    def say(self, **message: Any) -> None:
        self.session.on_line(json.dumps(message).encode())

    def answer(self, result: Any, error: Any = None) -> None:
        """To the last request."""
        self.say(id=self.sent[-1]["id"], result=result, error=error)

    def push(self, method: str, *params: Any) -> None:
        self.say(id=None, method=method, params=list(params))

    def log_in(self, subscription: Any = (None, "00c904bd", 12)) -> None:
        self.answer(list(subscription))
        authorize = next(each for each in self.sent if each["method"] == "mining.authorize")
        self.say(id=authorize["id"], result=True, error=None)

    def job(self, name: str = "1611", fourth: str = PARENT) -> None:
        self.push("mining.notify", name, POW_HASH, 1, fourth, True)

    @property
    def work(self) -> Work:
        return self.desk.work


def test_the_common_transcript() -> None:
    on = Scene()
    assert on.sent[0] == {"id": 1, "method": "mining.subscribe", "params": ["agent/1", None]}
    on.log_in()
    assert on.sent[1] == {"id": 2, "method": "mining.authorize", "params": ["ckb1address.rig", "x"]}
    assert len(on.sent) == 2
    on.job()
    assert on.desk.works == []  # without a target there is no work
    on.push("mining.set_target", TARGET)
    assert (on.work.pow_hash.hex(), on.work.target, on.work.prefix.hex()) == (POW_HASH, 1 << 240, "00c904bd")
    assert on.work.number == 1
    assert on.session.share(on.work, bytes.fromhex("00c904bd000000000000000000114026"))
    assert on.sent[-1]["method"] == "mining.submit"
    assert on.sent[-1]["params"] == ["ckb1address.rig", "1611", "000000000000000000114026"]
    on.answer(True)
    on.session.share(on.work, NONCE)
    on.answer(False, [21, "low difficulty", None])
    assert on.desk.taken == ["share"]
    assert on.desk.refused == ["21: low difficulty"]
    assert on.session.unanswered == 0


def test_the_k7s_pool_has_the_target_in_the_job() -> None:
    on = Scene()
    on.log_in([None, "0011223344556677", 8])
    on.job(fourth=TARGET)
    assert on.work.target == 1 << 240
    on.push("mining.set_target", "00" + TARGET[:-2])
    assert on.work.target == 1 << 232
    on.job("next", fourth=TARGET)
    assert (on.work.job, on.work.target) == ("next", 1 << 232)


def test_the_goldshell_transcript() -> None:
    on = Scene()
    on.log_in([SESSION, "1f2e3d4c", 4])
    on.push("mining.set_target", bytes.fromhex(TARGET)[::-1].hex())
    on.push("mining.set_difficulty", 2**-16)
    on.job(fourth="ff" * 32)
    assert (on.work.target, on.work.prefix) == (1 << 240, bytes(8))
    on.session.share(on.work, bytes(8) + NONCE[8:])
    assert on.sent[-1]["params"] == ["ckb1address.rig", "1611", "00000000", "00000000", NONCE[8:].hex()]


def test_the_nicehash_transcript() -> None:
    on = Scene()
    on.log_in([["mining.notify", "ae6812eb4cd7735a302a8a9dd95cf71f", "EthereumStratum/1.0.0"], "080c2f"])
    assert [each["method"] for each in on.sent[1:]] == ["mining.authorize", "mining.extranonce.subscribe"]
    on.push("mining.set_difficulty", 0.5)
    on.job()
    assert (on.work.target, on.work.prefix.hex()) == (1 << 225, "080c2f")
    on.push("mining.set_extranonce", "0a0b", 14)
    assert on.work.prefix.hex() == "0a0b"


def test_the_transcript_of_before() -> None:
    on = Scene(is_get_work=True)
    assert on.sent[0]["method"] == "ckb_submitLogin"
    assert on.sent[0]["params"] == {"login": "ckb1address", "agent": "agent/1", "worker": "rig"}
    on.answer(True)
    assert on.sent[1]["method"] == "ckb_getWork"
    on.answer({"pow_hash": f"0x{POW_HASH}", "target": f"0x{TARGET}"})
    assert (on.work.pow_hash.hex(), on.work.target, on.work.prefix) == (POW_HASH, 1 << 240, b"")
    on.session.share(on.work, NONCE[:14] + bytes(2))
    number = hex(int.from_bytes(NONCE[:14], "little"))
    assert on.sent[-1]["method"] == "ckb_submitWork"
    assert on.sent[-1]["params"] == {"pow_hash": f"0x{POW_HASH}", "nonce": number}
    on.answer(True)
    on.say(id=0, result={"pow_hash": f"0x{PARENT}", "target": f"0x{TARGET}"})
    assert on.work.pow_hash.hex() == PARENT
    on.session.share(on.work, NONCE)
    on.say(id=on.sent[-1]["id"], error={"code": "101", "message": "stale"})
    assert (on.desk.taken, on.desk.refused) == (["share"], ["101: stale"])


def test_a_pool_that_knows_other_methods_is_noted() -> None:
    for on in (Scene(), Scene(is_get_work=True)):
        with pytest.raises(PoolError):
            on.answer(None, {"code": -32601, "message": "Method not found"})
        assert on.session.knows_other_methods
        assert not on.session.is_refused


@pytest.mark.parametrize(("result", "error"), [(False, [24, "Unauthorized worker", None]), (False, None), (None, "no")])
def test_who_is_not_let_in_is_noted(result: Any, error: Any) -> None:
    on = Scene()
    on.answer([None, "00c904bd", 12])
    with pytest.raises(PoolError, match="ckb1address"):
        on.answer(result, error)
    assert on.session.is_refused


def test_more_shares_than_are_answered_are_not_sent() -> None:
    on = Scene()
    on.log_in()
    on.push("mining.set_target", TARGET)
    on.job()
    sent = [on.session.share(on.work, NONCE) for _ in range(MAX_UNANSWERED + 5)]
    assert sent.count(True) == MAX_UNANSWERED == on.session.unanswered
    on.answer(True)
    assert on.session.share(on.work, NONCE)


def test_questions_and_texts_of_the_pool() -> None:
    on = Scene()
    on.log_in()
    on.say(id=7, method="client.get_version", params=[])
    assert on.sent[-1] == {"id": 7, "result": "agent/1", "error": None}
    on.say(id="a", method="mining.ping")
    assert on.sent[-1]["result"] == "pong"
    with capture_logs() as logs:
        for _ in range(MAX_MESSAGES + 10):
            on.push("client.show_message", "hello")
        on.push("client.show_message", [[]])
    assert len(logs) == MAX_MESSAGES
    on.push("mining.something", 1)
    on.say(id=999, result=True)
    with pytest.raises(PoolError):
        on.push("client.reconnect", "evil.example", 1)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"{",
        b"[" * 60_000,
        b'{"id":' + b"[" * 60_000,
        b'{"method":"mining.notify","params":[]}',
        b'{"method":"mining.notify"}',
        b'{"method":"mining.notify","params":{"a":1}}',
        b'{"method":"mining.notify","params":[1,"' + POW_HASH.encode() + b'"]}',
        b'{"method":"mining.notify","params":["' + b"j" * 129 + b'","' + POW_HASH.encode() + b'"]}',
        b'{"method":"mining.notify","params":["j","' + POW_HASH.encode()[:-2] + b'"]}',
        b'{"method":"mining.notify","params":["j","' + POW_HASH.encode()[:-1] + b' "]}',
        b'{"method":"mining.set_target","params":["' + b"0" * 64 + b'"]}',
        b'{"method":"mining.set_target","params":[5]}',
        b'{"method":"mining.set_difficulty","params":[0]}',
        b'{"method":"mining.set_difficulty","params":[-1]}',
        b'{"method":"mining.set_difficulty","params":["1"]}',
        b'{"method":"mining.set_extranonce","params":["00"]}',
        b'{"method":"mining.set_extranonce","params":["00",4]}',
    ],
)
def test_lines_without_sense_end_the_connection(line: bytes) -> None:
    on = Scene()
    on.log_in()
    if line.endswith(b'["00"]}'):
        on.session.on_line(line)  # the size may be left out
        return
    with pytest.raises(PoolError):
        on.session.on_line(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
METHODS = ["mining.notify", "mining.set_target", "mining.set_difficulty", "mining.set_extranonce", "mining.ping"]


@given(
    st.booleans(),
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "id": st.none() | st.integers(0, 5) | json_values,
                "method": st.sampled_from([*METHODS, "client.show_message", "client.get_version"]),
                "params": json_values,
                "result": json_values,
                "error": json_values,
            },
        ),
        max_size=8,
    ),
)
def test_no_pool_gets_more_than_a_pool_error(is_get_work: bool, messages: list[dict[str, Any]]) -> None:
    on = Scene(is_get_work=is_get_work)
    for message in messages:
        try:
            on.say(**message)
        except PoolError:
            return
