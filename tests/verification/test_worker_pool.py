"""Blocks whose scripts run in several processes: the same verdicts as in one thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from threading import Thread, Timer

import pytest

from ckb_node.verification.messages import Done, Ending
from ckb_node.verification.scripts import ScriptService
from ckb_node.verification.service import ParallelScriptService
from ckb_node.verification.stopping import ScriptsStopped
from ckb_node.verification.worker_handle import Work, readable
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.verify_block import BlockTransactionError, PreparedBlock
from consensus.types.core import ResolvedTransaction
from tests.support.builders.scripts import Chain, make_cell, make_header, make_transaction, resolve, script_for
from tests.support.vm.script_programs import DATA, Program
from tests.verification.kit import (
    ENV,
    LIMIT,
    a_block,
    a_transaction,
    consensus_with,
    endless,
    exiting,
    looping,
    no_room,
    parallel,
    start_processes,
)

GOOD = exiting(0)
LOAD_CELL_DATA, LOAD_HEADER = 2092, 2072
INPUT, HEADER_DEP = 1, 4
WAIT_S = 30.0


def verdict(service: ScriptService, consensus: Consensus, transactions: Sequence[ResolvedTransaction]) -> object:
    """Cycles, or all that an error says."""
    try:
        return service.run_block(Chain(), a_block(consensus, transactions))  # type: ignore[arg-type]
    except BlockTransactionError as error:
        return error.index, type(error.cause), str(error), vars(error.cause).get("source")


def verdicts(
    parallel_service: ParallelScriptService, consensus: Consensus, transactions: Sequence[ResolvedTransaction]
) -> tuple[object, object]:
    """Of the plain service and of the parallel one."""
    return verdict(ScriptService(consensus), consensus, transactions), verdict(
        parallel_service, consensus, transactions
    )


def test_mixed_blocks(tmp_path: Path) -> None:
    consensus = consensus_with()
    bad, missing = exiting(7), b"no program"
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        for codes in (
            [GOOD] * 30,
            [looping(1 + 1000 * number) for number in range(40)],
            [GOOD] * 20 + [bad] + [GOOD] * 20,
            [GOOD] * 20 + [missing, GOOD, bad] + [GOOD] * 9,
            [bad, missing],
            [looping(5_000_000), bad, GOOD, missing],
            [GOOD, GOOD],
        ):
            plain, ours = verdicts(service, consensus, [a_transaction(code) for code in codes])
            assert ours == plain
        assert all(each.process.poll() is None for each in service.blocks._processes)


def test_cycles_beyond_the_limit_of_a_block(tmp_path: Path) -> None:
    """The sum decides, in order: the transaction that does not fit any more is the one that fails."""
    codes = [looping(1000)] * 40
    each = ScriptService(consensus_with()).run_block(Chain(), a_block(consensus_with(), [a_transaction(codes[0])]))[0]  # type: ignore[arg-type]
    with parallel(tmp_path) as service:
        start_processes(service)
        for limit in (40 * each, 40 * each - 1, 25 * each + 5, 25 * each, each - 1):
            consensus = consensus_with(limit)
            service.consensus = consensus
            plain, ours = verdicts(service, consensus, [a_transaction(code) for code in codes])
            assert ours == plain, limit
            assert (limit == 40 * each) == isinstance(ours, list)


def test_blocks_run_together(tmp_path: Path) -> None:
    """As one by one: each with its own limit of cycles, up to the first that fails."""
    loop, bad = looping(1000), exiting(7)
    each = ScriptService(consensus_with()).run_block(Chain(), a_block(consensus_with(), [a_transaction(loop)]))[0]  # type: ignore[arg-type]
    consensus = consensus_with(8 * each)
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        for counts in ([8] * 12, [1] * 40, [0, 3, 0, 0, 8, 1, 0], [8, 8, 9, 8], [9], [4, -1, 4, 4], [40, 1]):
            codes = [[loop, bad, loop] if count < 0 else [loop] * count for count in counts]
            blocks = [a_block(consensus, [a_transaction(code) for code in block]) for block in codes]
            plain, ours = (together(every, blocks) for every in (ScriptService(consensus), service))
            assert ours == plain, counts
            assert (len(ours) == len(blocks)) == (counts in ([8] * 12, [1] * 40, [0, 3, 0, 0, 8, 1, 0]))


def together(service: ScriptService, blocks: Sequence[PreparedBlock]) -> list[object]:
    """Cycles of the blocks that pass, and what ends them."""
    passed: list[object] = []
    try:
        for cycles in service.run_blocks(Chain(), blocks):  # type: ignore[arg-type]
            passed.append(cycles)  # noqa: PERF402 - what came before the error counts
    except BlockTransactionError as error:
        return [*passed, *[None] * len(blocks), str(error)]
    return passed


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        transactions = [a_transaction(looping(100 + number)) for number in range(20)]
        first = verdict(service, consensus, transactions)
        assert len(service.verified) == 20
        service.blocks.close()
        assert verdict(service, consensus, transactions) == first
        assert service.blocks._processes == []


def test_scripts_read_what_did_not_come_along(tmp_path: Path) -> None:
    """Data of a large input, and a header that the chain knows; and one that it does not."""
    header = make_header(number=5)
    program = Program(data=b"\xff" * 4096)
    program.set64(DATA, 4000)
    program.check(LOAD_CELL_DATA, DATA + 8, DATA, 0, 0, INPUT, code=1)
    program.set64(DATA, 8)
    program.check(LOAD_HEADER, DATA + 8, DATA, 0, 0, HEADER_DEP, code=2)
    program.check(LOAD_HEADER, DATA + 8, DATA, 0, 1, HEADER_DEP, answer=1, code=3)
    program.exit(0)
    code = program.elf()
    chain, consensus = Chain({header.hash: header}), consensus_with()
    transactions = [
        resolve(
            make_transaction(witnesses=[bytes([number])], header_deps=[header.hash]),
            [make_cell(bytes([number]) * 5000, lock=script_for(code, 1))],
            [make_cell(code)],
        )
        for number in range(10)
    ]
    block = a_block(consensus, transactions)
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        plain = ScriptService(consensus).run_block(chain, block)  # type: ignore[arg-type]
        lookups = chain.lookups
        assert service._run_in_processes(chain, [block]) == [plain]  # type: ignore[arg-type]
        assert chain.lookups == 2 * lookups


@pytest.mark.parametrize("killed", [1, 2])
def test_processes_that_die_over_a_block(tmp_path: Path, killed: int) -> None:
    """Others do their work, or this thread."""
    consensus = consensus_with()
    transactions = [a_transaction(looping(2_000_000 + number)) for number in range(60)]
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        victims = [each.process.pid for each in service.blocks._processes[:killed]]
        timers = [Timer(0.15, os.kill, (pid, signal.SIGKILL)) for pid in victims]
        for timer in timers:
            timer.start()
        plain, ours = verdicts(service, consensus, transactions)
        for timer in timers:
            timer.join()
        assert ours == plain
        assert not set(victims) & {each.process.pid for each in service.blocks._processes}


def test_without_processes_that_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckb_node.verification.worker_handle.MODULE", "ckb_node.no_such_module")
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        plain, ours = verdicts(service, consensus, [a_transaction(looping(1000 + number)) for number in range(50)])
        assert ours == plain


def test_memory_is_no_rule_of_consensus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When every process takes too much, one does the rest, a transaction at a time: the verdicts are the same."""
    monkeypatch.setattr("ckb_node.verification.worker_pool.MAX_RESIDENT_BYTES", 1)
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        good = [a_transaction(looping(10_000)) for _ in range(20)]
        plain, found = verdicts(service, consensus, good)
        assert plain == found
        assert isinstance(found, list)
        assert len(service.blocks._processes) == 1
        bad = [*(a_transaction(looping(10_000)) for _ in range(5)), a_transaction(exiting(7))]
        plain, found = verdicts(service, consensus, bad)
        assert plain == found
        assert isinstance(found, tuple)


def test_without_room_for_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", no_room)
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        service.warm_up()
        plain, ours = verdicts(service, consensus, [a_transaction(looping(1000 + number)) for number in range(50)])
        assert ours == plain


def test_with_many_open_files(tmp_path: Path, many_open_files: None) -> None:
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        assert min(each.fileno() for each in service.blocks._processes) >= 1024
        plain, ours = verdicts(service, consensus, [a_transaction(looping(1000 + number)) for number in range(50)])
        assert ours == plain


@pytest.mark.parametrize("transactions", [1, 40])
def test_a_block_is_given_up_when_the_node_stops(tmp_path: Path, transactions: int) -> None:
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        block = a_block(consensus, [a_transaction(endless()) for _ in range(transactions)])
        ended: list[BaseException] = []

        def run() -> None:
            try:
                service.run_block(Chain(), block)  # type: ignore[arg-type]
            except (ScriptsStopped, CkbError) as error:
                ended.append(error)

        thread = Thread(target=run)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        service.end_runs()
        thread.join(3)
        assert not thread.is_alive()
        assert [type(each) for each in ended] == [ScriptsStopped]


def test_transactions_larger_than_the_socket_holds(tmp_path: Path) -> None:
    consensus = consensus_with()
    with parallel(tmp_path, consensus) as service:
        start_processes(service)
        for _ in range(2):
            work = [a_transaction(code, size=300_000) for code in (looping(2_000_000), GOOD) for _ in range(12)]
            plain, ours = verdicts(service, consensus, [*work, a_transaction(exiting(3), size=100_000)])
            assert ours == plain
        assert all(each.process.poll() is None for each in service.blocks._processes)


@pytest.mark.timeout(60)
def test_nobody_waits_for_a_process_at_work_to_read(tmp_path: Path) -> None:
    """It is given more than the socket holds, and reads nothing before its script ends, which is never."""
    epoch = ENV.epoch_without_proposal_window
    with parallel(tmp_path) as service:
        start_processes(service)
        process = service.blocks._processes[0]
        process.assign([Work(0, a_transaction(endless()), epoch, LIMIT)], Chain())
        assert readable([process], WAIT_S) == [process]
        assert process.receive() == [], "it has asked for the code, and runs it"
        process.assign([Work(index, a_transaction(GOOD, size=300_000), epoch, LIMIT) for index in range(1, 9)], Chain())
        assert (process.has_unsent, process.has_room) == (True, False)
        assert readable([process], 0.2) == []
        assert (process.has_unsent, process.has_room) == (True, False)

        process.forget_work()
        done: list[tuple[Work, Done]] = []
        while not process.has_room:
            assert [each.receive() for each in readable([process], WAIT_S)] in ([], [[]]), "nobody wants it any more"
        last = Work(9, a_transaction(GOOD), epoch, LIMIT)
        process.assign([last], Chain())
        while not done:
            for each in readable([process], WAIT_S):
                done += each.receive()
        assert [(work.index, end.ending) for work, end in done] == [(9, Ending.PASSED)]
