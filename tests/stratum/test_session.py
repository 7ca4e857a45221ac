"""A connection of a miner: wrong shares of each kind in each dialect, what makes no sense, who it is, difficulty."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ckb_node.stratum.limits import (
    BAD_SHARES,
    JUNK_POINTS,
    LOGIN_SECONDS,
    MESSAGES_AT_ONCE,
    OWN_TIMES,
    USERS_OF_CONNECTION,
)
from ckb_node.stratum.shares import Verdict
from consensus.address import AddressNetwork, encode_address
from consensus.types.blockchain import CellbaseWitness, Script
from tests.stratum.kit import ANY_TARGET, RULES, Bench, Miner, easy_job
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, Wallet

HARD = replace(RULES, start=1 << 60)
"""Nobody finds a share."""

FIELDS: dict[str, tuple[str, int]] = {
    "common": ("a miner", 12),
    "k7": ("GodMiner/2.0.1", 8),
    "goldshell": ("intminer", 16),
    "nicehash": ("NiceHash/1", 11),
}
"""Agents, and how many bytes of the nonce their miners hand in."""

LOW, STALE = {"common": 21}, {"common": 20}
"""Codes that differ from 23 and 21."""


class Speaker:
    """A miner of any dialect."""

    def __init__(self, bench: Bench, dialect: str, user: str = "worker") -> None:
        self.dialect, self.user = dialect, user
        self.miner = bench.miner()
        if dialect == "submit_login":
            self.came = self.miner.ask("ckb_submitLogin", {"login": user, "agent": "NBMiner"})
        else:
            self.came = self.miner.join(user, FIELDS[dialect][0])

    @property
    def job(self) -> Any:
        """The last that came."""
        last = self.came[-1]
        return last["result"]["pow_hash"] if self.dialect == "submit_login" else last["params"][0]

    def submit(self, nonce: int = 1, job: Any = None, user: str | None = None) -> list[dict[str, Any]]:
        job = self.job if job is None else job
        if self.dialect == "submit_login":
            return self.miner.ask("ckb_submitWork", {"pow_hash": job, "nonce": hex(nonce)}, 9)
        digits = nonce.to_bytes(FIELDS[self.dialect][1], "big").hex()
        rest = ["00" * 4, "00" * 4, digits] if self.dialect == "goldshell" else [digits]
        return self.miner.ask("mining.submit", [self.user if user is None else user, job, *rest], 9)

    def code(self, answers: list[dict[str, Any]]) -> int:
        """Of the one refusal that came."""
        (answer,) = answers
        error = answer["error"]
        return int(error["code"]) if self.dialect == "submit_login" else error[0]


DIALECTS = pytest.mark.parametrize("dialect", [*FIELDS, "submit_login"])


@DIALECTS
def test_a_share_that_is_too_easy(dialect: str) -> None:
    bench = Bench(easy_job(), rules=HARD)
    speaker = Speaker(bench, dialect)
    assert speaker.code(speaker.submit()) == LOW.get(dialect, 23)
    assert (bench.solved, bench.desk.workers.counts) == ([], {Verdict.LOW: 1})


@DIALECTS
def test_a_share_that_was_there(dialect: str) -> None:
    bench = Bench(easy_job())
    speaker = Speaker(bench, dialect)
    assert speaker.submit()[0]["result"] is True
    assert speaker.code(speaker.submit()) == 22
    assert speaker.submit(2)[0]["result"] is True
    assert bench.solved == []


@DIALECTS
def test_a_block_is_submitted_once_before_it_is_answered(dialect: str) -> None:
    bench = Bench(easy_job(ANY_TARGET))
    speaker = Speaker(bench, dialect)
    assert speaker.submit() == []
    assert len(bench.solved) == 1
    assert speaker.code(speaker.submit()) == 22
    assert len(bench.solved) == 1
    bench.solved[0].found.is_taken = True
    bench.solved[0].decide()
    assert speaker.miner.wire.take()[0]["result"] is True
    assert bench.solved[0].found.hash == bench.solved[0].block.hash


@DIALECTS
def test_shares_for_the_last_tip_count_for_a_moment(dialect: str) -> None:
    bench = Bench(easy_job())
    speaker = Speaker(bench, dialect)
    old = speaker.job
    bench.new_job(easy_job(parent_hash=b"\1" * 32, number=2), speaker.miner)
    speaker.miner.wire.take()
    bench.clock.now_s += 2.9
    assert speaker.submit(1, old)[0]["result"] is True
    bench.clock.now_s += 0.2
    assert speaker.code(speaker.submit(2, old)) == STALE.get(dialect, 21)
    assert bench.desk.workers.counts[Verdict.STALE] == 1


@DIALECTS
def test_a_late_block_is_submitted_all_the_same(dialect: str) -> None:
    """It may become an uncle."""
    bench = Bench(easy_job(ANY_TARGET))
    speaker = Speaker(bench, dialect)
    old = speaker.job
    bench.new_job(easy_job(parent_hash=b"\1" * 32, number=2), speaker.miner)
    speaker.miner.wire.take()
    bench.clock.now_s += 60
    assert speaker.submit(1, old) == []
    assert bench.solved[0].block.number == 1


@DIALECTS
def test_a_job_that_nobody_was_given(dialect: str) -> None:
    bench = Bench(easy_job(ANY_TARGET))
    speaker = Speaker(bench, dialect)
    unknown = "0x" + "77" * 32 if dialect == "submit_login" else "999"
    assert speaker.code(speaker.submit(1, unknown)) == STALE.get(dialect, 21)
    assert bench.solved == []


@pytest.mark.parametrize("dialect", FIELDS)
def test_a_share_of_somebody_else(dialect: str) -> None:
    bench = Bench(easy_job(ANY_TARGET))
    speaker = Speaker(bench, dialect)
    assert speaker.code(speaker.submit(1, user="somebody")) == 24
    assert bench.solved == []


@pytest.mark.parametrize("dialect", FIELDS)
def test_a_share_without_a_name_is_the_connections(dialect: str) -> None:
    """As biluohc/cminer hands them in."""
    bench = Bench(easy_job())
    speaker = Speaker(bench, dialect, user="rig2.c")
    assert speaker.submit(1, user="")[0]["result"] is True
    (worker,) = bench.desk.workers.newest_first()
    assert worker.name == "rig2.c"


def test_who_has_not_subscribed_or_said_who_it_is() -> None:
    bench = Bench(easy_job(ANY_TARGET))
    share = ["worker", "1611", "00" * 12]
    (answer,) = bench.miner().ask("mining.submit", share)
    assert answer["error"] == [25, "not subscribed", None]
    miner = bench.miner()
    miner.ask("mining.subscribe", [])
    (answer,) = miner.ask("mining.submit", share)
    assert answer["error"] == [24, "unauthorised worker", None]
    login = bench.miner()
    login.ask("ckb_getWork", None)
    (answer,) = login.ask("ckb_submitWork", {"pow_hash": "0x" + "00" * 32, "nonce": "0x1"})
    assert answer["error"]["code"] == "25"
    assert bench.solved == []


@pytest.mark.parametrize(
    "nonce2", [None, 7, "", "0", "00" * 11, "00" * 13, "00" * 16, "zz" * 12, "-1" + "00" * 11, " " * 24, "０" * 24]
)
def test_a_nonce_that_is_none(nonce2: Any) -> None:
    bench = Bench(easy_job(ANY_TARGET))
    miner = bench.miner()
    miner.join()
    (answer,) = miner.ask("mining.submit", ["worker", "1611", nonce2])
    assert answer["error"][0] == 20
    assert bench.solved == []


@pytest.mark.parametrize("nonce", [None, 7, "", "0x", "0x" + "1" * 33, "0xg", "-1", "1_0", "0x 1"])
def test_a_number_that_is_no_nonce(nonce: Any) -> None:
    bench = Bench(easy_job(ANY_TARGET))
    speaker = Speaker(bench, "submit_login")
    (answer,) = speaker.miner.ask("ckb_submitWork", {"pow_hash": speaker.job, "nonce": nonce})
    assert answer["error"]["code"] == "20"
    assert bench.solved == []


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"1",
        b"null",
        b'{"id":1}',
        b'{"id":1,"method":7}',
        b'{"id":{},"method":"mining.ping"}',
        b"[" * 4000,
        b"\xff\xfe",
        b'{"id":"' + b"x" * 100 + b'","method":"mining.ping"}',
    ],
)
def test_what_makes_no_sense_is_refused_and_then_kept_away(line: bytes) -> None:
    miner = Bench(easy_job()).miner()
    miner.ask("mining.subscribe", [])
    for count in range(JUNK_POINTS):
        assert (miner.wire.dropped, len(miner.wire.take())) == ("", 1 if count else 0)
        miner.session.line(line)
    assert miner.wire.is_banned
    assert "no sense" in miner.wire.dropped


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("submit", []),
        ("authorize", []),
        ("authorize", [""]),
        ("authorize", ["a\nb"]),
        ("authorize", ["x" * 257]),
        ("authorize", {}),
        ("suggest_difficulty", ["1"]),
        ("suggest_difficulty", [-1]),
        ("suggest_target", ["xyz"]),
    ],
)
def test_wrong_parameters_are_refused_and_bring_no_ban(method: str, params: Any) -> None:
    """A farm has one address."""
    miner = Bench(easy_job()).miner()
    miner.ask("mining.subscribe", [])
    for _ in range(JUNK_POINTS):
        assert miner.wire.dropped == ""
        (answer,) = miner.ask(f"mining.{method}", params)
        assert answer["error"][0] == 20
    assert (miner.wire.dropped, miner.wire.is_banned) == ("too many messages that make no sense", False)


def test_what_the_server_does_not_know_is_no_fault_of_the_miner() -> None:
    miner = Bench(easy_job()).miner()
    for _ in range(2 * JUNK_POINTS):
        (answer,) = miner.ask("mining.multi_version", [1])
        assert answer["error"] == [20, "unknown method", None]
    assert miner.wire.dropped == ""


def test_a_block_that_the_chain_refuses_is_no_accepted_share() -> None:
    bench = Bench(easy_job(ANY_TARGET))
    speaker = Speaker(bench, "common")
    speaker.submit()
    bench.solved[0].found.error = "a rule"
    bench.solved[0].decide()
    (answer,) = speaker.miner.wire.take()
    assert answer["error"] == [20, "the block is refused: a rule", None]


def test_empty_lines_are_passed_over() -> None:
    miner = Bench().miner()
    for line in (b"", b"\r", b"  "):
        miner.session.line(line)
    assert miner.wire.take() == []


def test_a_flood_of_messages() -> None:
    miner = Bench(easy_job()).miner()
    for _ in range(MESSAGES_AT_ONCE):
        miner.ask("mining.ping", [])
    assert miner.wire.dropped == ""
    miner.ask("mining.ping", [])
    assert (miner.wire.dropped, miner.wire.is_banned) == ("too many messages", False)


def test_messages_are_allowed_again_with_time() -> None:
    bench = Bench(easy_job())
    miner = bench.miner()
    for _ in range(MESSAGES_AT_ONCE):
        miner.ask("mining.ping", [])
    bench.clock.now_s += 1
    miner.ask("mining.ping", [])
    assert miner.wire.dropped == ""


def test_a_miner_that_only_hands_in_wrong_shares_is_disconnected() -> None:
    bench = Bench(easy_job(), rules=HARD)
    speaker = Speaker(bench, "common")
    for nonce in range(BAD_SHARES):
        bench.clock.now_s += 1
        assert speaker.miner.wire.dropped == ""
        speaker.submit(nonce)
    assert speaker.miner.wire.dropped == "too many wrong shares"


# ---------------------------------------------------------------- who it is


def address(key: bytes = ALICE_KEY, network: AddressNetwork = AddressNetwork.MAINNET) -> str:
    return encode_address(Wallet(key).lock, network)


def paid_lock(bench: Bench) -> Script:
    (solved,) = bench.solved
    return CellbaseWitness.parse(solved.block.transactions[0].witnesses[0]).lock


@DIALECTS
def test_each_user_is_paid_to_its_own_address(dialect: str) -> None:
    bench = Bench(easy_job(ANY_TARGET), policy="user")
    speaker = Speaker(bench, dialect, f"{address(BOB_KEY)}.rig1")
    speaker.submit()
    assert paid_lock(bench) == Wallet(BOB_KEY).lock
    block = bench.solved[0].block
    assert block.with_roots() is block  # its header is that of this very body


def test_the_assemblers_lock_is_paid_whatever_the_name() -> None:
    bench = Bench(easy_job(ANY_TARGET))
    Speaker(bench, "common", address(BOB_KEY)).submit()
    assert paid_lock(bench) == Wallet(ALICE_KEY).lock


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("worker1", "must be a CKB address"),
        (address(network=AddressNetwork.TESTNET), "another network"),
        (address()[:-1] + "q", "checksum"),
        ("ckb1", "must be a CKB address"),
    ],
)
def test_an_address_that_cannot_be_paid_is_refused_at_once(user: str, text: str) -> None:
    bench = Bench(easy_job(ANY_TARGET), policy="user")
    miner = bench.miner()
    miner.ask("mining.subscribe", [])
    (answer,) = miner.ask("mining.authorize", [user, "x"])
    assert answer["error"][0] == 24
    assert text in answer["error"][1]
    assert miner.session.is_working is False
    (answer,) = miner.ask("mining.submit", [user, "1611", "00" * 12])
    assert answer["error"][0] == 24


def test_a_connection_is_paid_to_one_address() -> None:
    bench = Bench(easy_job(), policy="user")
    miner = bench.miner()
    miner.join(f"{address()}.a")
    assert miner.ask("mining.authorize", [f"{address()}.b"])[0]["result"] is True
    (answer,) = miner.ask("mining.authorize", [f"{address(BOB_KEY)}.c"])
    assert "one address" in answer["error"][1]


def test_a_connection_has_only_so_many_workers() -> None:
    miner = Bench(easy_job()).miner()
    miner.join("0")
    for count in range(1, USERS_OF_CONNECTION):
        assert miner.ask("mining.authorize", [str(count)])[0]["result"] is True
    (answer,) = miner.ask("mining.authorize", ["one more"])
    assert answer["error"][0] == 24


def test_users_that_are_refused_again_and_again_are_kept_away() -> None:
    miner = Bench(easy_job(), policy="user").miner()
    for count in range(JUNK_POINTS):
        assert miner.wire.dropped == ""
        miner.ask("mining.authorize", [f"ckb1{count}"])
    assert miner.wire.is_banned


def test_some_say_who_they_are_before_they_subscribe() -> None:
    bench = Bench(easy_job())
    miner = bench.miner()
    assert [each.get("method") for each in miner.ask("mining.authorize", ["worker", "x"])] == [None]
    came = miner.ask("mining.subscribe", ["GodMiner/2"])
    assert came[0]["result"][2] == 8
    assert [each.get("method") for each in came[1:]] == ["mining.set_target", "mining.notify"]


def test_connections_are_counted_and_numbers_given_back() -> None:
    bench = Bench(easy_job())
    first, second = bench.miner(), bench.miner()
    assert first.session.number != second.session.number
    first.join("worker")
    second.join("worker")
    assert bench.desk.workers.of("worker").connections == 2
    first.session.close()
    assert bench.desk.workers.of("worker").connections == 1
    assert first.session.number not in bench.desk.nonces._used


def test_miners_without_a_nonce1_are_only_so_many() -> None:
    bench = Bench(easy_job())
    bench.desk.times._least_free = OWN_TIMES + 1
    (answer,) = bench.miner().ask("mining.subscribe", ["intminer"])
    assert answer["error"] == [20, "too many miners of this kind", None]


# ---------------------------------------------------------------- jobs and difficulty


def joined(bench: Bench) -> Miner:
    miner = bench.miner()
    miner.join()
    return miner


def test_before_there_is_a_job_miners_wait() -> None:
    bench = Bench()
    miner = joined(bench)
    bench.new_job(easy_job(), miner)
    assert [each["method"] for each in miner.wire.take()] == ["mining.set_target", "mining.notify"]


def test_only_another_tip_makes_jobs_clean() -> None:
    bench = Bench(easy_job())
    miner = joined(bench)
    bench.new_job(easy_job(work_id=2), miner)
    bench.new_job(easy_job(parent_hash=b"\1" * 32), miner)
    first, second = miner.wire.take()
    assert (first["params"][0], first["params"][4]) == ("1612", False)
    assert (second["params"][0], second["params"][4]) == ("1613", True)


def test_shares_are_never_harder_than_blocks() -> None:
    bench = Bench(easy_job(1 << 250), rules=HARD)
    assert bench.miner().join()[-2]["params"] == [f"{1 << 250:064x}"]


def test_the_difficulty_follows_the_shares_and_old_jobs_keep_theirs() -> None:
    bench = Bench(easy_job(), rules=replace(RULES, start=1))
    miner = joined(bench)
    for nonce in range(30):
        bench.clock.now_s += 0.1
        miner.session.line(
            json.dumps({"id": 1, "method": "mining.submit", "params": ["worker", "1611", f"{nonce:024x}"]}).encode()
        )
    told = [each for each in miner.wire.take() if each.get("method")]
    assert [each["method"] for each in told[:2]] == ["mining.set_target", "mining.notify"]
    assert int(told[0]["params"][0], 16) < ANY_TARGET
    assert told[1]["params"][4] is False
    # A share that was on its way when the target changed is right.
    (answer,) = miner.ask("mining.submit", ["worker", "1611", "ff" * 12])
    assert answer["result"] is True


def test_a_miner_that_finds_nothing_gets_easier_work() -> None:
    bench = Bench(easy_job(), rules=HARD)
    miner = joined(bench)
    bench.clock.now_s += 61
    miner.session.look()
    target, job = miner.wire.take()
    assert int(target["params"][0], 16) > 1 << 196
    assert job["params"][0] == "1611"


def test_the_password_may_say_how_hard_to_begin() -> None:
    bench = Bench(easy_job(), rules=HARD)
    miner = bench.miner()
    miner.ask("mining.subscribe", [])
    _, target, _ = miner.ask("mining.authorize", ["worker", "x,d=0.5"])
    assert int(target["params"][0], 16) == 1 << 225


def test_who_says_nothing_is_disconnected() -> None:
    bench = Bench(easy_job())
    silent, working = bench.miner(), joined(bench)
    bench.clock.now_s += LOGIN_SECONDS + 1
    silent.session.look()
    working.session.look()
    assert (silent.wire.dropped, working.wire.dropped) == ("no authorised user in time", "")
    bench.clock.now_s += 900
    working.session.look()
    assert working.wire.dropped == "idle for too long"
