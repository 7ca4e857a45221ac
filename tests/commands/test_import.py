"""`ckb-node import` and `export`: what goes out comes in again, and what is wrong stops at its line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from ckb_node.chain.bulk import BulkImport, BulkLimits, RefusedBlockError
from ckb_node.chain.checks import Checks, all_rules, scripts_later, scripts_trusted
from ckb_node.chain.errors import KnownInvalidBlockError
from ckb_node.chain.writer import ChainWriter
from ckb_node.commands.block_lines import BlockLine
from ckb_node.commands.export_blocks import ExportOptions, export_blocks
from ckb_node.commands.import_blocks import BlockImporter, ImportOptions, height_of_targets, import_blocks
from ckb_node.runtime.clock import SystemClock
from ckb_node.runtime.errors import CommandError
from ckb_node.verification.scripts import ScriptService
from ckb_node.verification.stopping import ScriptsStopped
from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.verify_block import BlockTransactionError, PreparedBlock
from consensus.types.blockchain import Block, Transaction
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.compare import state_differences
from tests.support.chains.branches import branch
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import chain_with_a_bad_signature
from tests.support.nodes.directories import (
    BLOCKS,
    CLI,
    FAILURE,
    IO,
    OK,
    PAYMENTS,
    file_of,
    invoke,
    make_node,
    mined,
    stored,
    tip_of,
    with_block,
)

FIRST_PAYMENT = next(block.number for block in mined() if len(block.transactions) > 1)


def processed(blocks: Sequence[Block]) -> ChainStore:
    """The state after blocks that went one by one the way of blocks from anywhere."""
    consensus, store = dev_consensus(), ChainStore.in_memory()
    writer = ChainWriter(consensus, store, ScriptService(consensus), SystemClock().now_ms)
    writer.start(bytes(32))
    for block in blocks:
        writer.process(block)
    return store


def with_bad_dao(block: Block) -> Block:
    return block.replace(header=block.header.with_fields(dao=bytes(32)))


def with_bad_signature(block: Block) -> Block:
    """The payment's signature names another key; everything else fits."""
    cellbase, payment = block.transactions[0], block.transactions[1]
    witness = bytearray(payment.witnesses[0])
    witness[-20] ^= 1
    forged = Transaction(body=payment.body, witnesses=[bytes(witness)])
    return block.replace(transactions=[cellbase, forged]).with_roots()


def with_other_body(block: Block) -> Block:
    """The header commits to something else."""
    return block.replace(proposals=[b"0123456789"])


# ---------------------------------------------------------------- round trip


@pytest.mark.parametrize("checks", Checks)
def test_export_of_an_import_is_the_same_file(tmp_path: Path, checks: Checks) -> None:
    config, source = make_node(tmp_path / "node"), file_of(tmp_path / "chain.jsonl", mined())
    assert import_blocks(config, ImportOptions(str(source), checks)) == 0
    assert export_blocks(config, ExportOptions(str(tmp_path / "out"))) == 0
    assert (tmp_path / "out" / f"ckb_dev-0-{BLOCKS}.jsonl").read_bytes() == source.read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"ckb_dev-0-{BLOCKS}.jsonl"]


def test_import_makes_the_state_that_single_blocks_make(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    import_blocks(config, ImportOptions(str(file_of(tmp_path / "chain.jsonl", mined())), processes=2))
    one_by_one = processed(mined())
    with stored(config) as view, one_by_one.view() as expected:
        assert state_differences(view, expected) == []
        for block in mined():
            ours, theirs = view.block_ext(block.hash), expected.block_ext(block.hash)
            assert ours is not None
            assert theirs is not None
            assert ours.replace(received_at=0) == theirs.replace(received_at=0)
            assert view.block_epoch(block.hash) == expected.block_epoch(block.hash)
    one_by_one.close()


def test_what_is_known_is_passed_over(tmp_path: Path) -> None:
    config, source = make_node(tmp_path / "node"), file_of(tmp_path / "chain.jsonl", mined()[:10])
    root = str(config.root)
    first = invoke("-C", root, "import", str(source))
    assert first.exit_code == OK
    assert first.stdout.startswith(f"Before import, current tip is 0-0x{dev_consensus().genesis_hash.hex()}\n")
    assert f"After import, Current tip is 10-0x{mined()[9].hash.hex()}\n" in first.stdout
    assert "imported 10 blocks" in first.stdout
    source.write_bytes(file_of(tmp_path / "whole.jsonl", mined()).read_bytes())
    assert f"imported {BLOCKS - 10} blocks" in invoke("-C", root, "import", str(source)).stdout
    assert "imported 0 blocks" in invoke("-C", root, "import", str(source)).stdout


def test_standard_input_and_output(tmp_path: Path) -> None:
    config, source = make_node(tmp_path / "node"), file_of(tmp_path / "chain.jsonl", mined())
    root = str(config.root)
    assert invoke("-C", root, "import", "-", stdin=source.read_bytes()).exit_code == OK
    out = invoke("-C", root, "export", "-t", "-")
    assert out.exit_code == OK
    assert out.stdout_bytes == source.read_bytes()


def test_a_heavier_branch_in_the_file_is_taken(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    short, long = mined()[:10], mined(b"other", 14, 3)
    import_blocks(config, ImportOptions(str(file_of(tmp_path / "a.jsonl", short))))
    import_blocks(config, ImportOptions(str(file_of(tmp_path / "b.jsonl", long))))
    expected = processed(long)
    with stored(config) as view, expected.view() as wanted:
        assert state_differences(view, wanted) == []
    expected.close()


# ---------------------------------------------------------------- bulk


def add_all(bulk: BulkImport, blocks: Sequence[Block]) -> None:
    with bulk:
        for block in blocks:
            bulk.add(block)


class CountingStore:
    """Counts commits on the way to a store."""

    def __init__(self, store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tips: list[int] = []
        begin = store.begin

        def counted() -> object:
            txn = begin()
            commit, save = txn.commit, txn.save

            def noted_commit(*, sync: bool = True) -> None:
                if not self.tips or txn.tip_header().number > self.tips[-1]:
                    self.tips.append(txn.tip_header().number)
                assert sync
                commit(sync=sync)

            def noted_save() -> None:
                self.tips.append(txn.tip_header().number)
                save()

            monkeypatch.setattr(txn, "commit", noted_commit)
            monkeypatch.setattr(txn, "save", noted_save)
            return txn

        monkeypatch.setattr(store, "begin", counted)


@pytest.mark.parametrize(
    ("limits", "tips"),
    [
        (BulkLimits(blocks=10), [10, 20, BLOCKS]),
        (BulkLimits(blocks=1), list(range(1, BLOCKS + 1))),
        (BulkLimits(body_bytes=1), list(range(1, BLOCKS + 1))),
        (BulkLimits(seconds=0), list(range(1, BLOCKS + 1))),
        (BulkLimits(seconds=1e9), [BLOCKS]),
    ],
)
def test_one_commit_for_each_group(limits: BulkLimits, tips: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    consensus, store = dev_consensus(), ChainStore.in_memory()
    scripts, now_ms = ScriptService(consensus), SystemClock().now_ms
    writer = ChainWriter(consensus, store, scripts, now_ms)
    writer.start(bytes(32))
    counting = CountingStore(store, monkeypatch)
    with BulkImport(writer, all_rules(consensus, scripts_later, now_ms), limits) as bulk:
        for block in mined():
            bulk.add(block)
            assert bulk.tip() == block.header
            assert bulk.knows(block.hash)
    assert counting.tips == tips
    store.close()


def in_a_group(blocks: Sequence[Block], limits: BulkLimits | None = None) -> tuple[ChainStore, RefusedBlockError]:
    """What is stored after blocks of which one is bad, and what was said of it."""
    consensus, store = dev_consensus(), ChainStore.in_memory()
    scripts, now_ms = ScriptService(consensus), SystemClock().now_ms
    writer = ChainWriter(consensus, store, scripts, now_ms)
    writer.start(bytes(32))
    with pytest.raises(RefusedBlockError) as caught:
        add_all(BulkImport(writer, all_rules(consensus, scripts_later, now_ms), limits), blocks)
    return store, caught.value


def one_by_one_until_refused(blocks: Sequence[Block]) -> tuple[ChainStore, CkbError]:
    consensus, store = dev_consensus(), ChainStore.in_memory()
    writer = ChainWriter(consensus, store, ScriptService(consensus), SystemClock().now_ms)
    writer.start(bytes(32))
    for block in blocks:
        try:
            writer.process(block)
        except CkbError as error:
            return store, error
    raise AssertionError("no block is bad")


@pytest.mark.parametrize("limits", [BulkLimits(), BulkLimits(blocks=3)])
@pytest.mark.parametrize(
    ("bad", "change"),
    [
        (1, with_bad_dao),
        (2, with_bad_dao),
        (BLOCKS, with_bad_dao),
        (FIRST_PAYMENT, with_bad_dao),
        (FIRST_PAYMENT, with_bad_signature),
        (FIRST_PAYMENT + 3, with_bad_signature),
        (FIRST_PAYMENT, with_other_body),
    ],
)
def test_a_group_with_a_bad_block_ends_as_single_blocks_do(
    bad: int, change: Callable[[Block], Block], limits: BulkLimits
) -> None:
    """What came before it stays; it is remembered as invalid if it can never be valid; the error is the same."""
    chain = with_block(mined(), bad, change)
    store, refused = in_a_group(chain, limits)
    wanted_store, error = one_by_one_until_refused(chain)
    assert (refused.number, refused.block_hash) == (bad, chain[bad - 1].hash)
    assert (type(refused.cause), str(refused.cause)) == (type(error), str(error))
    with store.view() as view, wanted_store.view() as wanted:
        assert view.tip_header().number == bad - 1
        assert state_differences(view, wanted) == []
        for block in chain:
            assert facts_of(view, block) == facts_of(wanted, block)
    with store.begin() as txn:  # nobody holds the writer's place
        assert txn.tip_header().number == bad - 1


def facts_of(state: ChainState, block: Block) -> object:
    ext = state.block_ext(block.hash)
    return None if ext is None else (ext.replace(received_at=0), state.block(block.hash), state.block_epoch(block.hash))


def test_the_first_bad_block_is_the_one_that_is_named() -> None:
    """Scripts that fail are noticed when later blocks were looked at already, bad ones too."""
    chain = with_block(with_block(mined(), FIRST_PAYMENT, with_bad_signature), FIRST_PAYMENT + 1, with_bad_dao)
    _, refused = in_a_group(chain)
    assert refused.number == FIRST_PAYMENT
    chain = with_block(with_block(mined(), FIRST_PAYMENT + 1, with_bad_signature), FIRST_PAYMENT, with_bad_dao)
    _, refused = in_a_group(chain)
    assert refused.number == FIRST_PAYMENT


def test_a_bad_block_has_its_line_whatever_came_after_it(tmp_path: Path) -> None:
    """Its scripts are found to fail when many lines were passed over that are known."""
    chain = with_block(mined(), FIRST_PAYMENT, with_bad_signature)[:FIRST_PAYMENT]
    source = file_of(tmp_path / "chain.jsonl", [*chain, *[chain[0]] * (BulkLimits().blocks + 10)])
    with pytest.raises(CommandError, match=f"line {FIRST_PAYMENT + 1}: block {FIRST_PAYMENT} "):
        import_blocks(make_node(tmp_path / "node"), ImportOptions(str(source)))


def test_an_invalid_block_is_not_verified_twice() -> None:
    chain = with_block(mined(), FIRST_PAYMENT, with_bad_signature)
    store, _ = in_a_group(chain)
    consensus, now_ms = dev_consensus(), SystemClock().now_ms

    def never(txn: object, prepared: PreparedBlock) -> Sequence[int]:
        raise AssertionError(prepared)

    writer = ChainWriter(consensus, store, ScriptService(consensus), now_ms)
    check = all_rules(consensus, never, now_ms)
    with pytest.raises(RefusedBlockError) as caught, BulkImport(writer, check) as bulk:
        bulk.add(chain[FIRST_PAYMENT - 1])
    assert isinstance(caught.value.cause, KnownInvalidBlockError)
    good = mined()[FIRST_PAYMENT - 1 :]
    with BulkImport(writer, all_rules(consensus, scripts_trusted, now_ms)) as bulk:
        for block in good:
            bulk.add(block)
    with store.view() as view:
        assert view.tip_header() == mined()[-1].header


class StoppedService(ScriptService):
    """Gives up when it comes to a block."""

    def __init__(self, consensus: Consensus, blocks: int) -> None:
        super().__init__(consensus)
        self.left = blocks

    def run_block(self, reader: ChainReader, prepared: PreparedBlock) -> list[int]:
        if not self.left:
            raise ScriptsStopped
        self.left -= 1
        return super().run_block(reader, prepared)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_what_no_script_has_proven_is_not_kept(blocks: int) -> None:
    consensus, store = dev_consensus(), ChainStore.in_memory()
    scripts, now_ms = StoppedService(consensus, blocks), SystemClock().now_ms
    writer = ChainWriter(consensus, store, scripts, now_ms)
    writer.start(bytes(32))
    with pytest.raises(ScriptsStopped):
        add_all(BulkImport(writer, all_rules(consensus, scripts_later, now_ms)), mined())
    with_payments = [block.number for block in mined() if len(block.transactions) > 1]
    with store.view() as view:
        assert view.tip_header().number == with_payments[blocks] - 1


# ---------------------------------------------------------------- what is refused


def test_scripts_are_run_unless_skipped(tmp_path: Path) -> None:
    chain = with_block(mined(), FIRST_PAYMENT, with_bad_signature)[:FIRST_PAYMENT]
    source = file_of(tmp_path / "chain.jsonl", chain)
    strict, trusting = make_node(tmp_path / "strict"), make_node(tmp_path / "trusting")
    with pytest.raises(CommandError, match=f"line {FIRST_PAYMENT + 1}: block {FIRST_PAYMENT} .*") as caught:
        import_blocks(strict, ImportOptions(str(source)))
    refused = caught.value.__cause__
    assert isinstance(refused, RefusedBlockError)
    assert isinstance(refused.cause, BlockTransactionError)
    assert refused.cause.index == 1
    assert tip_of(strict) == FIRST_PAYMENT - 1
    assert import_blocks(trusting, ImportOptions(str(source), Checks.ALL_BUT_SCRIPTS)) == 0
    assert tip_of(trusting) == FIRST_PAYMENT


def test_everything_else_is_checked_unless_skipped(tmp_path: Path) -> None:
    source = file_of(tmp_path / "chain.jsonl", with_block(mined(), 7, with_bad_dao)[:7])
    for flags in ((), ("--skip-script-verify",)):
        config = make_node(tmp_path / f"node{len(flags)}")
        for reason in ("InvalidDAO", "was found invalid before"):
            result = invoke("-C", str(config.root), "import", *flags, str(source))
            assert result.exit_code == FAILURE
            assert "line 8: block 7" in result.stderr
            assert reason in result.stderr
            assert "After import, Current tip is 6-" in result.stdout
            assert len(result.stderr.splitlines()) == 1
        assert invoke("-C", str(config.root), "import", "--skip-all-verify", str(source)).exit_code == OK
        assert tip_of(config) == 7


def test_counts_are_of_what_stays(tmp_path: Path) -> None:
    """Blocks after one whose scripts fail were taken at first."""
    source = file_of(tmp_path / "chain.jsonl", with_block(mined(), FIRST_PAYMENT + 2, with_bad_signature))
    config = make_node(tmp_path / "node")
    result = invoke("-C", str(config.root), "import", str(source))
    assert result.exit_code == FAILURE
    assert f"line {FIRST_PAYMENT + 3}: block {FIRST_PAYMENT + 2} " in result.stderr
    assert f"imported {FIRST_PAYMENT + 1} blocks with 2 transactions" in result.stdout
    assert tip_of(config) == FIRST_PAYMENT + 1


def test_a_header_that_does_not_commit_to_its_body(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    broken = mined()[2].replace(proposals=[b"0123456789"])
    with pytest.raises(CommandError, match="line 4: block 3"):
        import_blocks(config, ImportOptions(str(file_of(tmp_path / "chain.jsonl", [*mined()[:2], broken]))))
    assert tip_of(config) == 2


def test_a_bad_line_stops_there(tmp_path: Path) -> None:
    config, source = make_node(tmp_path / "node"), file_of(tmp_path / "chain.jsonl", mined()[:5])
    source.write_bytes(source.read_bytes() + b"{}\n")
    result = invoke("-C", str(config.root), "import", str(source))
    assert result.exit_code == FAILURE
    assert "line 7: no block" in result.stderr
    assert tip_of(config) == 5


def test_files_of_other_chains_and_parts(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    genesis = dev_consensus().genesis_block
    foreign = genesis.replace(header=genesis.header.with_fields(timestamp=1))
    with pytest.raises(CommandError, match="of another chain"):
        import_blocks(config, ImportOptions(str(file_of(tmp_path / "a", [foreign], genesis=False))))
    with pytest.raises(CommandError, match=r"a block is 9-0x\w+, and its parent .* was not found .* tip is 0-0x"):
        import_blocks(config, ImportOptions(str(file_of(tmp_path / "b", mined()[8:], genesis=False))))
    assert tip_of(config) == 0


def test_bad_branches_are_refused(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    import_blocks(config, ImportOptions(str(file_of(tmp_path / "a", mined()[:10]))))
    branch = with_block(mined(b"other", 14, 3), 11, with_bad_dao)
    with pytest.raises(CommandError, match="line 12: block 11"):
        import_blocks(config, ImportOptions(str(file_of(tmp_path / "b", branch))))
    assert tip_of(config) == 10


def test_command_line(tmp_path: Path) -> None:
    root = str(make_node(tmp_path / "node").root)
    assert invoke("-C", root, "import", str(tmp_path / "absent")).exit_code == IO
    assert invoke("-C", root, "import").exit_code == CLI
    assert invoke("-C", root, "import", "x", "--skip-script-verify", "--skip-all-verify").exit_code == CLI
    assert invoke("-C", root, "import", "x", "--num-threads", "0").exit_code == CLI
    assert invoke("-C", root, "export").exit_code == CLI


# ---------------------------------------------------------------- export


def test_parts_by_number_and_hash(tmp_path: Path) -> None:
    config = make_node(tmp_path / "node")
    import_blocks(config, ImportOptions(str(file_of(tmp_path / "chain.jsonl", mined()))))
    root, target = str(config.root), str(tmp_path / "out")
    result = invoke("-C", root, "export", "-t", target, "--from", "3", "--to", f"0x{mined()[7].hash.hex()}")
    assert result.exit_code == OK
    assert f"Writing to {target}/ckb_dev-3-8.jsonl\n" in result.stdout
    expected = file_of(tmp_path / "expected", mined()[2:8], genesis=False).read_bytes()
    assert (tmp_path / "out" / "ckb_dev-3-8.jsonl").read_bytes() == expected

    again = invoke("-C", root, "export", "-t", target, "--from", "3", "--to", mined()[7].hash.hex())
    assert (again.exit_code, "is there already" in again.stderr) == (FAILURE, True)
    for first, last, reason in (
        ("9", "8", "Invalid range: from 9 to 8"),
        ("0", str(BLOCKS + 1), f"there is no block {BLOCKS + 1}: the tip is {BLOCKS}"),
        ("0", "0x" + "11" * 32, "is not on the main chain"),
        ("-1", "5", "Invalid block hash provided: -1"),
        ("0", "9" * 30, "Invalid block hash provided"),
    ):
        result = invoke("-C", root, "export", "-t", target, "--from", first, "--to", last)
        assert (result.exit_code, reason in result.stderr) == (FAILURE, True), result.stderr


def test_the_kit_chain_pays() -> None:
    assert sum(len(block.transactions) - 1 for block in mined()) == PAYMENTS
    assert dev_consensus().genesis_hash == mined()[0].parent_hash


def test_scripts_of_ancestors_of_a_target_are_not_run(tmp_path: Path) -> None:
    blocks = chain_with_a_bad_signature()
    bad = next(block for block in reversed(blocks) if len(block.transactions) > 1)
    source = str(file_of(tmp_path / "chain.jsonl", blocks))

    def run(name: str, target: bytes) -> tuple[int, int, str]:
        config = make_node(tmp_path / name)
        result = invoke("-C", str(config.root), "import", source, "--assume-valid-target", "0x" + target.hex())
        return result.exit_code, tip_of(config), result.stderr

    assert run("above", blocks[-1].hash)[:2] == (OK, blocks[-1].number)
    assert run("itself", bad.hash)[:2] == (FAILURE, bad.number - 1)
    code, tip, said = run("absent", bytes([1] * 32))
    assert (code, tip) == (FAILURE, bad.number - 1)
    assert "no assume-valid target is on the chain of the file" in said
    broken = str(file_of(tmp_path / "gap.jsonl", [*blocks[:2], *blocks[3:]]))
    assert height_of_targets(ImportOptions(broken, assume_valid_targets=[blocks[-1].hash])) == 0, "not its ancestors"


async def test_a_branch_beside_a_targets_ancestors_is_not_trusted() -> None:
    blocks = chain_with_a_bad_signature()
    bad = next(block for block in reversed(blocks) if len(block.transactions) > 1)
    beside = await branch(b"beside", 1)

    def take(made: Sequence[Block]) -> int:
        store = ChainStore.in_memory()
        writer = ChainWriter(dev_consensus(), store, ScriptService(dev_consensus()), lambda: 1 << 50)
        writer.start(bytes(32))
        importer = BlockImporter(writer, Checks.ALL, "a file", trusted_below=blocks[-1].number)
        with suppress(RefusedBlockError), importer.bulk:
            for number, block in enumerate(made, 1):
                importer.take(BlockLine(number, 1, block))
        return importer.bulk.tip().number

    assert take(blocks) == blocks[-1].number
    assert take([*blocks[:2], *beside, *blocks[2:]]) == bad.number - 1, "what comes after a gap proves itself"


def test_assume_valid_on_the_command_line(tmp_path: Path) -> None:
    root = str(make_node(tmp_path / "node").root)
    assert invoke("-C", root, "import", "-", "--assume-valid-target", "0x" + "11" * 32).exit_code == CLI
    for wrong in ("0x12", "11" * 32, f"0x{'11' * 32},0x{'00' * 32}"):
        for command in (("import", "x"), ("run",)):
            result = invoke("-C", root, *command, "--assume-valid-target", wrong)
            assert (result.exit_code, "--assume-valid-target" in result.stderr) == (CLI, True)
