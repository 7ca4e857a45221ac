"""Jobs: exactly one template each, whoever is paid; how many are remembered."""

from __future__ import annotations

import pytest

from ckb_node.mining.template import TransactionTemplate, UncleTemplate
from ckb_node.stratum import jobs
from ckb_node.stratum.jobs import Rounds, prepare, work_for
from ckb_node.stratum.limits import ROUNDS
from ckb_node.stratum.shares import Judge, Verdict
from consensus.params import PowFunc
from consensus.types.blockchain import CellbaseWitness, RawTransaction, Transaction, UncleBlock
from tests.stratum.kit import ANY_TARGET, NO_TARGET, a_template, easy_job
from tests.support.builders.blocks import a_header
from tests.support.builders.wallet import BOB_KEY, Wallet


def a_transaction(number: int) -> Transaction:
    body = RawTransaction(version=number, cell_deps=[], header_deps=[], inputs=[], outputs=[], outputs_data=[])
    return Transaction(body=body, witnesses=[bytes([number])])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 20])
@pytest.mark.parametrize("lock", [None, Wallet(BOB_KEY).lock])
def test_the_header_is_that_of_the_block_whoever_is_paid(count: int, lock: object) -> None:
    template = a_template(
        transactions=[TransactionTemplate(a_transaction(number)) for number in range(count)],
        proposals=[bytes([number]) * 10 for number in range(count)],
        uncles=[UncleTemplate(UncleBlock(header=a_header(), proposals=[]))],
        extension=b"extension",
    )
    paid = None if lock is None else Wallet(BOB_KEY).lock
    work = work_for(prepare(template), paid)
    block = work.solved(bytes(16), 0)
    assert block.with_roots() is block
    assert block.header.body == work.header
    assert block.transactions[1:] == [each.transaction for each in template.transactions]
    assert (list(block.proposals), block.extension) == (list(template.proposals), b"extension")
    assert [each.hash for each in block.uncles] == [a_header().hash]
    witness = CellbaseWitness.parse(block.transactions[0].witnesses[0])
    assert witness.message == b"message"
    if paid is not None:
        assert witness.lock == paid


def test_work_of_one_payout_is_made_once() -> None:
    rounds = Rounds(1)
    round_, _ = rounds.add(easy_job(), 0.0)
    assert round_.work(None) is round_.work(None)
    assert round_.work(Wallet(BOB_KEY).lock) is round_.work(Wallet(BOB_KEY).lock)


def test_works_of_many_payouts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAYOUTS", 2)
    round_, _ = Rounds(1).add(easy_job(), 0.0)
    locks = [Wallet(bytes([number]) * 32).lock for number in (1, 2, 3)]
    works = [round_.work(lock) for lock in locks]
    assert len(round_._works) == 2
    assert round_.work(locks[2]) is works[2]
    assert round_.work(locks[0]) == works[0]


@pytest.mark.parametrize("time_offset", [0, 1, 9_999])
def test_the_hash_is_that_of_the_solved_header(time_offset: int) -> None:
    work = work_for(prepare(a_template(a_header().body)), None)
    assert work.pow_hash(time_offset) == work.solved(bytes(16), time_offset).header.pow_hash


def test_only_the_last_rounds_are_remembered() -> None:
    rounds = Rounds(1)
    added = [rounds.add(easy_job(work_id=number), 0.0)[0] for number in range(ROUNDS + 1)]
    assert len(rounds) == ROUNDS
    assert rounds.get(added[0].id) is None
    assert rounds.get(added[1].id) is added[1]
    assert len({each.id for each in added}) == ROUNDS + 1


def test_a_round_is_stale_some_time_after_another_tip() -> None:
    rounds = Rounds(1)
    first, is_new = rounds.add(easy_job(), 10.0)
    assert is_new
    _, is_new = rounds.add(easy_job(work_id=2), 11.0)
    assert not is_new
    assert not first.is_stale(1000.0, 3.0)
    rounds.add(easy_job(parent_hash=b"\1" * 32), 12.0)
    rounds.add(easy_job(parent_hash=b"\2" * 32), 14.0)  # counts from the first other tip
    assert (first.is_stale(15.0, 3.0), first.is_stale(15.1, 3.0)) == (False, True)


def test_shares_that_were_seen_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SEEN_SHARES", 2)
    round_, _ = Rounds(1).add(easy_job(), 0.0)
    judge = Judge(PowFunc.EAGLESONG)

    def verdict(number: int) -> Verdict:
        return judge.verdict(round_, bytes(32), (0, number.to_bytes(16, "big")), ANY_TARGET, is_stale=False)

    assert [verdict(number) for number in (1, 2, 2, 3)] == [
        Verdict.ACCEPTED,
        Verdict.ACCEPTED,
        Verdict.DUPLICATE,
        Verdict.ACCEPTED,
    ]
    assert len(round_.seen) == 2


def test_wrong_shares_are_not_remembered() -> None:
    round_, _ = Rounds(1).add(easy_job(NO_TARGET), 0.0)
    share = 0, bytes(16)
    judge = Judge(PowFunc.DUMMY)
    assert judge.verdict(round_, bytes(32), share, 1, is_stale=False) is Verdict.LOW
    assert judge.verdict(round_, bytes(32), share, ANY_TARGET, is_stale=True) is Verdict.STALE
    assert len(round_.seen) == 0
