"""`ckb-node import`: take a chain from a file of blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import click

from ckb_node.chain.bulk import BulkImport, BulkLimits, RefusedBlockError
from ckb_node.chain.checks import Checks, check_of, scripts_later, scripts_trusted
from ckb_node.chain.events import Verdict
from ckb_node.chain.writer import ChainWriter
from ckb_node.commands.block_lines import BlockLine, open_blocks, read_headers, size_of
from ckb_node.commands.blocks_aside import blocks_of
from ckb_node.commands.filter_catch_up import catch_up_filters
from ckb_node.config import Config
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.opening import open_chain
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.interpreter import set_for_bulk
from ckb_node.runtime.progress import BlockProgress
from ckb_node.runtime.stop_flag import Interrupted, StopFlag, stop_flag
from ckb_node.verification.stopping import ScriptsStopped
from consensus.errors import CkbError
from consensus.rules.header import UnknownParentError
from consensus.rules.verify_block import PreparedBlock
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainStore
from storage.chain_txn import ChainTxn

NOTHING_DONE = "interrupted; nothing was imported"
SOME_DONE = "interrupted; what was imported so far is kept"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`source`: a path, or - for standard input. `processes` run scripts; None: one for each processor."""

    source: str
    checks: Checks = Checks.ALL
    processes: int | None = None
    assume_valid_targets: Sequence[bytes] = ()
    """Scripts of their ancestors in the file are not run."""


def import_blocks(config: Config, options: ImportOptions) -> int:
    """The command. Raises CommandError at the first block that cannot be taken; those before it stay."""
    with ExitStack() as stack:
        stop = stack.enter_context(stop_flag())
        with stop.waiting(NOTHING_DONE):
            file = stack.enter_context(open_blocks(options.source))
            trusted_below = height_of_targets(options)
        # Its process begins while the chain is opened.
        lines = stack.enter_context(blocks_of(file, size_of(options.source)))
        _, store, writer = stack.enter_context(open_chain(config, script_processes=options.processes))
        click.echo(f"Before import, current tip is {_tip_text(store)}")
        progress = BlockProgress("importing", size_of(options.source))
        importer = BlockImporter(writer, options.checks, options.source, trusted_below)
        stop.at_once(writer.scripts.end_runs)
        try:
            with set_for_bulk(), progress, importer.refusals(progress), importer.bulk:
                while (line := _next_line(lines, stop)) is not None:
                    is_new = importer.take(line)
                    progress.advance(line.size, int(is_new), transactions_of(line.block) if is_new else 0)
        finally:
            click.echo(f"After import, Current tip is {_tip_text(store)}")
            click.echo(f"imported {progress.counts.summary()}")
        catch_up_filters(config, store, stop)
    return 0


def height_of_targets(options: ImportOptions) -> int:
    """Height of the highest assume-valid target that the file's chain leads to; 0 when it leads to none.

    The file is read twice: whether a block is an ancestor of a target shows only when the target is there.
    """
    if not options.assume_valid_targets:
        return 0
    height, tip_hash = 0, None
    with open_blocks(options.source) as file:
        for header in read_headers(file):
            if tip_hash is not None and header.parent_hash != tip_hash:
                break
            tip_hash = header.hash
            if tip_hash in options.assume_valid_targets:
                height = header.number
    if not height:
        click.echo("no assume-valid target is on the chain of the file: all scripts run", err=True)
    return height


@dataclass(slots=True)
class _Taken:
    """A line whose block is on the chain or about to be. Not the block itself: hundreds of those may be big."""

    number: int
    block_hash: bytes
    transactions: int
    is_new: bool = False

    def take_back(self, progress: BlockProgress) -> None:
        if self.is_new:
            progress.take_back(1, self.transactions)


def transactions_of(block: Block) -> int:
    """How many there are but the cellbase."""
    return len(block.tx_slices) - 1


class BlockImporter:
    """Takes blocks in the order of a file, in bulk, and reports the line that is at fault.

    Scripts of blocks below the height `trusted_below` pass while each block of the file is the parent of the next.
    """

    def __init__(self, writer: ChainWriter, checks: Checks, source: str, trusted_below: int = 0) -> None:
        limits, check = BulkLimits(), check_of(checks, writer.consensus, writer.now_ms, self._run_scripts)
        self.bulk = BulkImport(writer, check, limits)
        self._genesis_hash = writer.consensus.genesis_hash
        self._source = source
        self._trusted_below = trusted_below
        self._last_hash: bytes | None = None
        self._taken: deque[_Taken] = deque(maxlen=limits.blocks + 1)

    def take(self, line: BlockLine) -> bool:
        """Put a block on the chain; False when it was known.

        CommandError when it cannot be taken; RefusedBlockError for it or, when its scripts fail, for one before it.
        """
        taken = _Taken(line.number, line.block.hash, transactions_of(line.block))
        self._taken.append(taken)
        if self._last_hash not in (None, line.block.parent_hash):
            self._trusted_below = 0  # another branch: not the ancestors that `height_of_targets` found
        self._last_hash = line.block.hash
        taken.is_new = self._take(line.block)
        if not taken.is_new:
            self._taken.pop()
        return taken.is_new

    def _run_scripts(self, txn: ChainTxn, prepared: PreparedBlock) -> Sequence[int] | None:
        is_trusted = prepared.env.number < self._trusted_below
        return scripts_trusted(txn, prepared) if is_trusted else scripts_later(txn, prepared)

    def _take(self, block: Block) -> bool:
        if block.number == 0:
            self._check_genesis(block)
            return False
        try:
            return self.bulk.take(block) is not Verdict.KNOWN
        except UnknownParentError as error:
            raise CommandError(
                f"In {self._source}, a block is {_block_text(block.header)}, and its parent "
                f"(hash: {bytes_text(block.parent_hash)}) was not found in the database. "
                f"The current tip is {_block_text(self.bulk.tip())}."
            ) from error
        except CkbError as error:
            raise RefusedBlockError(block, error) from error

    @contextmanager
    def refusals(self, progress: BlockProgress) -> Iterator[None]:
        """A refused block ends the command with its line; what was counted from there on came to nothing. So did blocks
        whose scripts have not run to their end when the command was stopped."""
        try:
            yield
        except ScriptsStopped:
            tip_hash = self.bulk.tip().hash
            while self._taken and self._taken[-1].block_hash != tip_hash:
                self._taken.pop().take_back(progress)
            raise Interrupted(SOME_DONE) from None
        except RefusedBlockError as error:
            while (taken := self._taken.pop()).block_hash != error.block_hash:
                taken.take_back(progress)
            taken.take_back(progress)
            raise CommandError(f"line {taken.number}: {error}") from error

    def _check_genesis(self, block: Block) -> None:
        expected = self._genesis_hash
        if block.hash != expected:
            raise CommandError(
                f"{self._source} is of another chain: its genesis block is {bytes_text(block.hash)}, "
                f"expected {bytes_text(expected)}"
            )


def _next_line(lines: Iterator[BlockLine], stop: StopFlag) -> BlockLine | None:
    """None at the end. Raises Interrupted; what comes by a pipe may let us wait for ever."""
    with stop.waiting(SOME_DONE):
        return next(lines, None)


def _tip_text(store: ChainStore) -> str:
    with store.view() as view:
        return _block_text(view.tip_header())


def _block_text(header: Header) -> str:
    return f"{header.number}-{bytes_text(header.hash)}"
