"""Transactions on their way to a process that runs scripts."""

from __future__ import annotations

from ckb_node.verification.messages import DECODE_TO_PROCESS, Cell, Job, Jobs, encode
from ckb_node.verification.transfer import KEPT_DEPS_BYTES, JobMaker, TransactionMaker
from consensus.types.core import CellMeta, ResolvedTransaction
from network.framing import Frames
from tests.support.builders.scripts import make_cell, make_transaction, resolve, script_for

LARGE = 100_000


class _Process:
    """Makes transactions of what is sent to it. `asked`: hashes of data that was not sent."""

    def __init__(self) -> None:
        self.maker = TransactionMaker(self._load)
        self.known: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []

    def _load(self, cell: Cell) -> bytes:
        self.asked.append(cell.data_hash)
        return self.known[cell.data_hash]

    def resolved(self, *jobs: Job) -> list[ResolvedTransaction]:
        (body,) = Frames(1 << 30).feed(encode(Jobs(list(jobs))))
        message = DECODE_TO_PROCESS(body)
        assert isinstance(message, Jobs)
        return [self.maker.resolved(job) for job in message.jobs]


def facts_of(cell: CellMeta) -> tuple[object, ...]:
    return cell.out_point, cell.output.raw, cell.data_size, cell.data_hash, cell.info, cell.data


def test_a_transaction_arrives_as_it_was() -> None:
    process, code = _Process(), bytes(LARGE)
    inputs = [make_cell(b"small", script_for(code, 1)), make_cell(b"x" * LARGE, info=None)]
    deps = [make_cell(code), make_cell(b"short"), make_cell()]
    process.known = {cell.data_hash: cell.data for cell in (*inputs, *deps)}
    sent = resolve(make_transaction(witnesses=[b"w"]), inputs, deps)
    (come,) = process.resolved(JobMaker().make(1, sent, 0, 0))
    assert come.transaction.raw == sent.transaction.raw
    assert [*map(facts_of, come.inputs)] == [*map(facts_of, inputs)]
    assert [*map(facts_of, come.cell_deps)] == [*map(facts_of, deps)]
    assert deps[2].data_hash not in process.asked, "nothing is asked for no data"


def test_deps_that_many_have_are_read_once_and_their_data_is_of_the_job() -> None:
    process, maker = _Process(), JobMaker()
    deps = [make_cell(b"code")]
    process.known = {deps[0].data_hash: b"code"}
    jobs = [maker.make(at, resolve(make_transaction(), [], deps), 0, 0) for at in range(2)]
    first, second = process.resolved(*jobs)
    assert first.cell_deps[0].output is second.cell_deps[0].output
    assert [first.cell_deps[0].data, second.cell_deps[0].data] == [b"code", b"code"]
    assert len(process.asked) == 2, "none keeps the data of another"


def test_other_deps_are_other_deps_and_large_ones_are_not_kept() -> None:
    process, maker = _Process(), JobMaker()
    few, many = [make_cell(b"1")], [make_cell(b"2")] * (KEPT_DEPS_BYTES // 100)
    orders = (few, many, few, many)
    come = process.resolved(
        *(maker.make(at, resolve(make_transaction(), [], deps), 0, 0) for at, deps in enumerate(orders))
    )
    assert [[cell.data_hash for cell in each.cell_deps] for each in come] == [
        [cell.data_hash for cell in deps] for deps in orders
    ]
    assert come[0].cell_deps[0].output is come[2].cell_deps[0].output
    assert come[1].cell_deps[0].output is not come[3].cell_deps[0].output
