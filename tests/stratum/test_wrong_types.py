"""Whatever a miner puts into any place of any message: it is answered in lines of JSON, refused, or disconnected."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any

import pytest

from ckb_node.stratum.dialects import DIALECTS
from consensus.address import AddressNetwork, encode_address
from tests.stratum.kit import ANY_TARGET, Bench, Miner, easy_job
from tests.support.builders.wallet import ALICE_KEY, Wallet

ADDRESS = encode_address(Wallet(ALICE_KEY).lock, AddressNetwork.MAINNET)
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 2**70, 10**300, -(2**70), 0.5, -0.0, 1e308, 1e-308,
    "", " ", "0", "x", "0x", "00" * 8, "00" * 11, "00" * 12, "00" * 16, "ff" * 32, "0x" + "ff" * 33, "zz" * 12,
    "\u0663" * 24, "1611", "\0", "\n", "\u202e", "\U0001f600" * 64, "d=1e9", "x,d=999999999999999999",
    ADDRESS, ADDRESS.upper(), ADDRESS[:-1], ADDRESS + ".\u0000", "ckb1" + "q" * 200, "ckb1",
    [], [[]], [[[[[[]]]]]], {}, {"a": []}, ["worker"], [None] * 100, "EthereumStratum/1.0.0", "GodMiner/2", "intminer",
]  # fmt: skip
RAW: list[bytes] = [
    b"NaN", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"9" * 400, b"-" + b"9" * 400, b"0." + b"9" * 400,
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\\u0000"', b"1E+0005",
    b"[" * 1000 + b"]" * 1000, b'{"' + b'a":{"' * 300 + b'a":1' + b"}" * 301, b'{"id":1,"id":2}',
]  # fmt: skip
METHODS = sorted(
    {method for dialect in DIALECTS for method in dialect.actions} | {"", "mining.unknown", "\0", "x" * 3000}
)
AGENTS = [["a miner", None], ["GodMiner/2"], ["intminer"], ["NiceHash/1.0"], None]
FIELDS = {"ckb_submitLogin": ("login", "agent", "worker"), "ckb_submitWork": ("pow_hash", "nonce")}


def joined(bench: Bench, agent: list[Any] | None) -> Miner:
    """Of each dialect in turn."""
    miner = bench.miner()
    user = f"{ADDRESS}.rig"
    if agent is None:
        miner.ask("ckb_submitLogin", {"login": user, "agent": "NBMiner"})
    else:
        miner.ask("mining.subscribe", agent)
        miner.ask("mining.authorize", [user, "x"])
    assert miner.session.is_working
    return miner


def value(rng: Random) -> bytes:
    """Of JSON, or what is none."""
    if rng.random() < 0.2:
        return rng.choice(RAW)
    return json.dumps(rng.choice(VALUES), ensure_ascii=rng.random() < 0.5).encode()


def parameters(rng: Random, method: str) -> bytes:
    if rng.random() < 0.3:
        return value(rng)
    if method in FIELDS and rng.random() < 0.8:
        return b"{" + b",".join(b'"%s":%s' % (name.encode(), value(rng)) for name in FIELDS[method]) + b"}"
    return b"[" + b",".join(value(rng) for _ in range(rng.randrange(7))) + b"]"


def messages(rng: Random, count: int) -> list[bytes]:
    made = []
    for _ in range(count):
        method = rng.choice(METHODS)
        line = b'{"id":%s,"method":%s,"params":%s}' % (value(rng), json.dumps(method).encode(), parameters(rng, method))
        made.append(line if rng.random() < 0.9 else line[: rng.randrange(len(line))])
    return made


@pytest.mark.parametrize("policy", ["assembler", "user"])
@pytest.mark.parametrize("agent", AGENTS, ids=str)
def test_wrong_values_at_every_place(agent: list[Any] | None, policy: str) -> None:
    rng = Random(str((agent, policy)))
    bench = Bench(easy_job(), policy=policy)
    miner, sessions = joined(bench, agent), 1
    for line in messages(rng, 4000):
        miner.session.line(line)
        answers = miner.wire.take()  # each was JSON
        assert len(answers) <= 4
        bench.clock.now_s += 0.1
        if miner.wire.dropped or miner.session.dialect == "":
            miner.session.close()
            miner, sessions = joined(bench, agent), sessions + 1
    miner.session.close()
    assert sessions > 10
    assert not bench.desk.nonces._used
    assert not bench.desk.times._used
    assert all(each.connections == 0 for each in bench.desk.workers.newest_first())


@pytest.mark.parametrize("agent", AGENTS, ids=str)
def test_blocks_that_are_found_by_chance_are_different(agent: list[Any] | None) -> None:
    """Every nonce makes one."""
    bench = Bench(easy_job(ANY_TARGET))
    user, job, unused = json.dumps(f"{ADDRESS}.rig").encode(), b'"1611"', b'"00000000"'
    for raw in itertools.chain(RAW, (json.dumps(each).encode() for each in VALUES)):
        miner = joined(bench, agent)
        if agent is None:
            (again,) = miner.ask("ckb_getWork", None)
            pow_hash = json.dumps(again["result"]["pow_hash"]).encode()
            places = [b'{"pow_hash":%s,"nonce":%s}' % (pow_hash, raw), b'{"pow_hash":%s,"nonce":"0x1"}' % raw]
        else:
            shares = [[user, job, raw], [user, raw, unused], [raw, job, unused], [user, job, unused, unused, raw]]
            places = [b"[" + b",".join(share) + b"]" for share in shares]
        method = b"ckb_submitWork" if agent is None else b"mining.submit"
        for params in places:
            miner.session.line(b'{"id":1,"method":"%s","params":%s}' % (method, params))
    assert bench.solved
    assert len({each.block.hash for each in bench.solved}) == len(bench.solved)
