"""Batches of headers in a row, the next one judged before the one before is written."""

from __future__ import annotations

import pytest

from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.sync import judging
from ckb_node.sync.judging import HeaderJudge, JudgeFull
from consensus.fast.header_batch import HeadersJudged, InvalidAncestorError, NotContinuousError
from consensus.rules.header import NumberError, UnknownParentError
from consensus.types.blockchain import Block, Header
from tests.support.chains.branches import branch_on_bad, with_wrong_dao
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import ChainMaker
from tests.support.chains.step_chain import StepChain


def made(count: int) -> list[Block]:
    maker = ChainMaker()
    for _ in range(count):
        maker.add()
    return [Block.parse(raw) for raw in maker.raw_blocks]


@pytest.fixture(scope="module")
def headers() -> list[Header]:
    return [block.header for block in made(60)]


def judge_of(chain: StepChain) -> HeaderJudge:
    return HeaderJudge(chain.consensus, chain.now_ms, chain.view)


def test_a_batch_stands_on_one_that_is_not_written_yet(headers: list[Header]) -> None:
    chain = StepChain(dev_consensus())
    judge = judge_of(chain)
    first, second = judge.judge(headers[:20]), judge.judge(headers[20:40])
    assert [batch.judged for batch in (first, second)] == [HeadersJudged(20)] * 2
    for batch in (first, second):
        chain.know(batch.new)
        judge.note_written(batch.new)
    third = judge.judge(headers[40:])
    chain.know(third.new)
    assert third.last is not None
    assert third.last == chain.known(headers[-1])
    assert second.last == chain.known(headers[39])


def test_what_could_not_be_written_is_not_known(headers: list[Header]) -> None:
    chain = StepChain(dev_consensus())
    judge = judge_of(chain)
    judge.note_written(judge.judge(headers[:20]).new)
    judged = judge.judge(headers[20:40]).judged
    assert judged.valid == 0
    assert isinstance(judged.error, UnknownParentError)


@pytest.mark.parametrize("known", [0, 1, 19, 20, 30])
def test_known_headers_count_as_valid_and_are_not_new(headers: list[Header], known: int) -> None:
    chain = StepChain(dev_consensus())
    if known:
        chain.know(headers[:known])
    batch = judge_of(chain).judge(headers[:20])
    assert batch.judged == HeadersJudged(20)
    assert list(batch.new) == headers[known:20]
    assert batch.last is not None
    assert batch.last.hash == headers[19].hash


def test_valid_ones_before_a_bad_one_are_kept(headers: list[Header]) -> None:
    chain = StepChain(dev_consensus())
    bad = headers[10].with_fields(number=99)
    batch = judge_of(chain).judge([*headers[:10], bad])
    assert batch.judged.valid == 10
    assert isinstance(batch.judged.error, NumberError)
    assert list(batch.new) == headers[:10]
    assert batch.last is not None
    assert batch.last.hash == headers[9].hash


def test_a_batch_that_does_not_hang_together_is_refused_as_a_whole(headers: list[Header]) -> None:
    batch = judge_of(StepChain(dev_consensus())).judge([*headers[:5], *headers[6:9]])
    assert isinstance(batch.judged.error, NotContinuousError)
    assert (batch.judged.valid, len(batch.new), batch.last) == (0, 0, None)


def test_an_empty_batch_is_nothing() -> None:
    batch = judge_of(StepChain(dev_consensus())).judge([])
    assert (batch.judged, len(batch.new), batch.last) == (HeadersJudged(0), 0, None)


async def test_an_invalid_block_is_refused_and_what_stands_on_it() -> None:
    blocks = made(6)
    bad = with_wrong_dao(blocks[3])
    above = await branch_on_bad(b"above", 3, [*blocks[:3], bad])
    chain = StepChain(dev_consensus())
    for block in blocks[:3]:
        chain.writer.process(block)
    with pytest.raises(Exception, match="InvalidDAO"):
        chain.writer.process(bad)
    judge = judge_of(chain)
    for batch, error in [
        ([each.header for each in (*blocks[:3], bad)], KnownInvalidBlockError),
        ([each.header for each in above], InvalidAncestorError),
    ]:
        judged = judge.judge(batch).judged
        assert isinstance(judged.error, error)
        assert judged.is_sender_at_fault
    assert judge.judge([each.header for each in blocks]).judged == HeadersJudged(6)


def test_too_many_unwritten_headers_are_put_off(headers: list[Header], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MAX_OVERLAY_HEADERS", 30)
    chain = StepChain(dev_consensus())
    judge = judge_of(chain)
    first = judge.judge(headers[:20])
    with pytest.raises(JudgeFull):
        judge.judge(headers[20:40])
    chain.know(first.new)
    judge.note_written(first.new)
    assert judge.judge(headers[20:40]).judged.valid == 20
