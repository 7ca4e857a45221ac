"""Each dialect by its documented transcript, with real headers and the nonces that real miners found for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ckb_node.stratum.dialects import DIALECTS, dialect_of
from ckb_node.stratum.dialects.dialect import Fault, Request, hello_of
from ckb_node.stratum.jobs import Prepared
from consensus.params import PowFunc
from consensus.types.blockchain import Header
from tests.stratum.kit import RULES, Bench, FixedWork, Miner, easy_job, real_job
from tests.stratum.kit_headers import (
    DEMO_DIGEST,
    DEMO_NONCE1,
    DEMO_NONCE2,
    DEMO_PARENT,
    DEMO_POW_HASH,
    DEMO_TARGET,
    MAINNET_2003,
    MAINNET_2003_HASH,
    MAINNET_1034994,
    MAINNET_1034994_HASH,
    TESTNET_7033102,
    TESTNET_7033102_HASH,
)

USER = "ckb1qyq2znu0gempdahctxsm49sa9jdzq9vnka7qt9ntff.worker1"
DEMO_RULES = replace(RULES, start=1 << 16)


def earlier(raw: bytes, milliseconds: int) -> Prepared:
    """The job of which the real header is what a miner with this time offset gets."""
    job = real_job(raw)
    return replace(job, header=job.header.replace(timestamp=job.header.timestamp - milliseconds))


def nonce_of(raw: bytes) -> bytes:
    return raw[-16:]


def solved_hash(bench: Bench) -> bytes:
    (solved,) = bench.solved
    return solved.block.hash


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("mining.subscribe", ["ckbminer-v1.0.0", None], "common"),
        ("mining.subscribe", ["ckbminer-v1.0.0"], "k7"),
        ("mining.subscribe", ["GodMiner/2.0.1"], "k7"),
        ("mining.subscribe", ["GodMiner v0.4.7", "session"], "k7"),
        ("mining.subscribe", ["intminer/1.0.0", "aabbccdd"], "goldshell"),
        ("mining.subscribe", ["NerdMinerV2"], "goldshell"),
        ("mining.subscribe", ["NiceHash/1.0.0"], "nicehash"),
        ("mining.subscribe", ["lolMiner 1.0", "EthereumStratum/1.0.0"], "nicehash"),
        ("mining.subscribe", ["btcpool-miner"], "common"),
        ("mining.subscribe", [], "common"),
        ("mining.subscribe", None, "common"),
        ("mining.subscribe", {"agent": "x"}, "common"),
        ("ckb_submitLogin", {"login": "x", "agent": "NBMiner/1"}, "submit_login"),
        ("ckb_getWork", None, "submit_login"),
    ],
)
def test_a_miner_is_known_by_what_it_says_first(method: str, params: Any, name: str) -> None:
    assert dialect_of(hello_of(Request(method, 1, params))).name == name


def test_each_dialect_has_a_name_and_a_code_for_each_fault() -> None:
    assert len({each.name for each in DIALECTS}) == len(DIALECTS)
    for each in DIALECTS:
        assert set(each.codes) == set(Fault)


# ---------------------------------------------------------------- the common dialect


def demo() -> tuple[Bench, Miner]:
    """At the job of the demo miner's README."""
    bench = Bench(easy_job(parent_hash=DEMO_PARENT), rules=DEMO_RULES)
    round_ = bench.desk.rounds.current
    assert round_ is not None
    template = round_.prepared.template
    work = FixedWork(template, template.cellbase.transaction, round_.prepared.header, DEMO_POW_HASH)
    round_._works.put(None, work)
    return bench, bench.miner()


def test_the_transcript_of_the_demo_miner() -> None:
    bench, miner = demo()
    assert bench.desk.judge.hash_number(DEMO_POW_HASH, DEMO_NONCE1 + bytes.fromhex(DEMO_NONCE2)) == int.from_bytes(
        DEMO_DIGEST, "big"
    )
    assert miner.ask("mining.subscribe", ["ckbminer-v1.0.0", None], 1) == [
        {"id": 1, "result": [None, "00c904bd", 12], "error": None}
    ]
    assert miner.ask("mining.extranonce.subscribe", [], 7) == [{"id": 7, "result": True, "error": None}]
    assert miner.ask("mining.authorize", [USER, "x"], 2) == [
        {"id": 2, "result": True, "error": None},
        {"id": None, "method": "mining.set_target", "params": [f"{DEMO_TARGET:064x}"]},
        {
            "id": None,
            "method": "mining.notify",
            "params": ["1611", DEMO_POW_HASH.hex(), 1, DEMO_PARENT.hex(), True],
        },
    ]
    assert miner.ask("mining.submit", [USER, "1611", DEMO_NONCE2], 102) == [{"id": 102, "result": True, "error": None}]
    assert miner.ask("mining.submit", [USER, "1611", "00" * 12], 103) == [
        {"id": 103, "result": False, "error": [21, "low difficulty", None]}
    ]
    assert bench.solved == []


def test_common_a_real_nonce_makes_the_real_block() -> None:
    nonce = nonce_of(MAINNET_2003)
    bench = Bench(real_job(MAINNET_2003), first_number=int.from_bytes(nonce[:4], "big"))
    miner = bench.miner()
    miner.join(USER)
    assert miner.ask("mining.submit", [USER, "1611", nonce[4:].hex()], 3) == []  # answered when the chain has decided
    assert solved_hash(bench) == MAINNET_2003_HASH
    bench.solved[0].found.is_taken = True
    bench.solved[0].decide()
    assert miner.wire.take() == [{"id": 3, "result": True, "error": None}]


# ---------------------------------------------------------------- Antminer K7


def test_k7_gets_target_and_job_right_after_subscribe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Miners of 8 + 8 bytes: `[null, extranonce1, 8]`, the target in the job, shares of three fields."""
    nonce = nonce_of(MAINNET_1034994)
    monkeypatch.setattr("ckb_node.stratum.session.nonce1_of", lambda number, size: nonce[:size])
    bench = Bench(real_job(MAINNET_1034994), rules=DEMO_RULES)
    miner = bench.miner()
    header = Header.parse(MAINNET_1034994)
    target = {"id": None, "method": "mining.set_target", "params": [f"{DEMO_TARGET:064x}"]}
    job = {
        "id": None,
        "method": "mining.notify",
        "params": ["1611", header.pow_hash.hex(), 1034994, f"{DEMO_TARGET:064x}", True],
    }
    assert miner.ask("mining.subscribe", ["GodMiner/2.0.1"], 1) == [
        {"id": 1, "result": [None, nonce[:8].hex(), 8], "error": None},
        target,
        job,
    ]
    assert miner.ask("mining.authorize", [USER, "x"], 2) == [{"id": 2, "result": True, "error": None}, target, job]
    assert miner.ask("mining.submit", [USER, "1611", "0x" + nonce[8:].hex()], 3) == []
    assert solved_hash(bench) == MAINNET_1034994_HASH
    assert miner.ask("mining.submit", [USER, "1611", "00" * 8], 4) == [
        {"id": 4, "result": False, "error": [23, "low difficulty", None]}
    ]


# ---------------------------------------------------------------- Goldshell


def test_goldshell_by_its_transcript() -> None:
    """Nested subscribe, little-endian targets, both kinds of difficulty, shares of five fields."""
    bench = Bench(earlier(MAINNET_2003, 1), rules=replace(RULES, start=1 << 32))
    miner = bench.miner()
    assert miner.ask("mining.subscribe", ["intminer/1.0.0", "aabbccdd"], 1) == [
        {
            "id": 1,
            "result": [[["mining.set_difficulty", "aabbccdd"], ["mining.notify", "aabbccdd"]], "aabbccdd", 4],
            "error": None,
        }
    ]
    target = (1 << 224).to_bytes(32, "little").hex()
    assert miner.ask("mining.authorize", [USER, "x"], 2) == [
        {"id": 2, "result": True, "error": None},
        {"id": None, "method": "mining.set_target", "params": [target]},
        {"id": None, "method": "mining.set_difficulty", "params": [1]},
        {
            "id": None,
            "method": "mining.notify",
            "params": ["1611", Header.parse(MAINNET_2003).pow_hash.hex(), 2003, target, True],
        },
    ]
    nonce = nonce_of(MAINNET_2003).hex().lstrip("0")  # without its leading zeros, to an even number of digits
    share = [USER, "1611", "00000000", "00000000", nonce.rjust(len(nonce) + len(nonce) % 2, "0")]
    assert miner.ask("mining.submit", share, 3) == []
    assert solved_hash(bench) == MAINNET_2003_HASH
    assert miner.ask("mining.submit", [USER, "1611", "00000000", "00000000", "0102"], 4) == [
        {"id": 4, "result": False, "error": [23, "low difficulty", None]}
    ]
    (answer, told, difficulty, job) = miner.ask("mining.suggest_difficulty", [2], 5)
    assert (answer["result"], difficulty["params"]) == (True, [2])
    assert told["params"] == [(1 << 223).to_bytes(32, "little").hex()] == [job["params"][3]]
    assert job["params"][4] is False


def test_goldshell_a_session_that_is_no_name_gets_ours() -> None:
    for session in ("not hex", "00" * 5, 7, "<script>"):
        (answer,) = Bench(easy_job()).miner().ask("mining.subscribe", ["intminer", session])
        assert answer["result"][1] == "00000000"


# ---------------------------------------------------------------- NiceHash


def test_nicehash_by_its_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    """EthereumStratum's answer to subscribe, a nonce1 of five bytes, set_difficulty alone."""
    nonce = nonce_of(MAINNET_2003)
    monkeypatch.setattr("ckb_node.stratum.session.nonce1_of", lambda number, size: nonce[:size])
    bench = Bench(real_job(MAINNET_2003), rules=replace(RULES, start=1 << 31))
    miner = bench.miner()
    (answer,) = miner.ask("mining.subscribe", ["NiceHash/1.0.0", "EthereumStratum/1.0.0"], 1)
    topic, nonce1, size = answer["result"]
    assert (topic, nonce1, size) == (["mining.notify", nonce1, "EthereumStratum/1.0.0"], nonce[:5].hex(), 11)
    _, difficulty, job = miner.ask("mining.authorize", [USER, "x"], 2)
    assert (difficulty["method"], difficulty["params"]) == ("mining.set_difficulty", [0.5])
    header = Header.parse(MAINNET_2003)
    assert job["params"] == ["1611", header.pow_hash.hex(), 2003, header.parent_hash.hex(), True]
    assert miner.ask("mining.submit", [USER, "1611", nonce[5:].hex()], 3) == []
    assert solved_hash(bench) == MAINNET_2003_HASH
    (wrong,) = miner.ask("mining.submit", [USER, "1611", "00" * 12], 4)
    assert wrong["error"] == [20, "nonce2 must have 11 bytes", None]


# ---------------------------------------------------------------- ckb_submitLogin


def test_submit_login_by_its_transcript() -> None:
    """docs/stratum_v1.md of ckb's history, on testnet's function."""
    header = Header.parse(TESTNET_7033102)
    rules = replace(RULES, start=1 << 8)
    bench = Bench(earlier(TESTNET_7033102, 1), rules=rules, function=PowFunc.EAGLESONG_BLAKE2B)
    miner = bench.miner()
    work = {"pow_hash": f"0x{header.pow_hash.hex()}", "target": f"0x{1 << 248:064x}"}
    login = {"login": USER.partition(".")[0], "agent": "MinerName/v1", "worker": "worker_name"}
    assert miner.ask("ckb_submitLogin", login, 1) == [{"id": 1, "result": True}, {"id": 0, "result": work}]
    assert miner.ask("ckb_getWork", None, 2) == [{"id": 2, "result": work}]
    assert miner.ask("ckb_submitHashrate", "0x123", 4) == [{"id": 4, "result": True}]
    share = {"pow_hash": work["pow_hash"], "nonce": hex(header.nonce)}
    assert miner.ask("ckb_submitWork", share, 3) == []
    assert solved_hash(bench) == TESTNET_7033102_HASH
    bench.solved[0].found.is_taken = True
    bench.solved[0].decide()
    assert miner.wire.take() == [{"id": 3, "result": True}]
    assert miner.ask("ckb_submitWork", share, 5) == [{"id": 5, "error": {"code": "22", "message": "duplicate share"}}]
    assert bench.solved[0].found.worker == f"{login['login']}.worker_name"


def test_each_miner_without_a_nonce1_gets_work_of_its_own() -> None:
    """Else all of them would search the same nonces."""
    bench = Bench(easy_job())
    hashes = [bench.miner().join("worker", "intminer")[-1]["params"][1] for _ in range(3)]
    assert len(set(hashes)) == 3
