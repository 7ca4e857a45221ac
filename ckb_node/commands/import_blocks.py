"""`ckb-node import`: take a chain from a file of blocks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum

import click

from ckb_node.chain.groups import BlockGroups, RefusedBlockError
from ckb_node.chain.opening import open_chain
from ckb_node.chain.processor import BlockProcessor
from ckb_node.chain.rules import Judge, RunScripts, all_rules, no_rules, scripts_in, scripts_trusted
from ckb_node.commands.block_lines import BlockLine, open_blocks, read_blocks, size_of
from ckb_node.commands.errors import CommandError
from ckb_node.commands.progress import BlockProgress
from ckb_node.commands.stopping import Interrupted, StopFlag, stop_flag
from ckb_node.config import Config
from ckb_node.filters.catch_up import catch_up_filters
from ckb_node.rpc.hextext import bytes_text
from consensus.errors import CkbError
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainStore


class Checks(Enum):
    """What is checked of imported blocks."""

    ALL = "all"
    ALL_BUT_SCRIPTS = "all but scripts"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`source`: a path, or - for standard input. `threads` run scripts; None: one for each processor."""

    source: str
    checks: Checks = Checks.ALL
    threads: int | None = None


def import_blocks(config: Config, options: ImportOptions) -> int:
    """The command. Raises CommandError at the first block that cannot be taken; those before it stay."""
    with ExitStack() as stack:
        stop = stack.enter_context(stop_flag())
        file = stack.enter_context(open_blocks(options.source))
        _, store, processor = stack.enter_context(open_chain(config))
        executor = stack.enter_context(ThreadPoolExecutor(options.threads or os.cpu_count() or 1))
        judge = judge_of(options.checks, processor, scripts_in(executor, processor.scripts))
        click.echo(f"Before import, current tip is {_tip_text(store)}")
        progress = BlockProgress("importing", size_of(options.source))
        importer = BlockImporter(processor, judge, options.source)
        try:
            with progress, importer.groups:
                for line in read_blocks(file):
                    _stop_if_asked(stop)
                    is_new = importer.take(line)
                    progress.advance(line.size, int(is_new), len(line.block.transactions) - 1 if is_new else 0)
        finally:
            click.echo(f"After import, Current tip is {_tip_text(store)}")
            click.echo(f"imported {progress.counts.summary()}")
        catch_up_filters(config, store, stop)
    return 0


def judge_of(checks: Checks, processor: BlockProcessor, run_scripts: RunScripts) -> Judge:
    """What checks a block before it is attached."""
    if checks is Checks.NONE:
        return no_rules(processor.consensus)
    scripts = run_scripts if checks is Checks.ALL else scripts_trusted
    return all_rules(processor.consensus, scripts, processor.now_ms)


class BlockImporter:
    """Puts blocks on the chain in the order of a file: in groups while they continue the main chain.

    Blocks off the main chain, which exports do not hold, go one by one the way of blocks from anywhere, with all rules.
    """

    def __init__(self, processor: BlockProcessor, judge: Judge, source: str) -> None:
        self.groups = BlockGroups(processor.store, judge, processor.now_ms)
        self._processor = processor
        self._source = source

    def take(self, line: BlockLine) -> bool:
        """Put a block on the chain; False when it was known. CommandError when it cannot be taken."""
        block = line.block
        try:
            if block.number == 0:
                self._check_genesis(block)
                return False
            if block.parent_hash == self.groups.tip().hash:
                self.groups.add(block)
                return True
            if self.groups.knows(block.hash):
                return False
            self._take_branch(block)
        except RefusedBlockError as error:
            raise CommandError(f"line {line.number}: {error}") from error
        return True

    def _check_genesis(self, block: Block) -> None:
        expected = self._processor.consensus.genesis_hash
        if block.hash != expected:
            raise CommandError(
                f"{self._source} is of another chain: its genesis block is {bytes_text(block.hash)}, "
                f"expected {bytes_text(expected)}"
            )

    def _take_branch(self, block: Block) -> None:
        if not self.groups.knows(block.parent_hash):
            raise CommandError(
                f"In {self._source}, a block is {_block_text(block.header)}, and its parent "
                f"(hash: {bytes_text(block.parent_hash)}) was not found in the database. "
                f"The current tip is {_block_text(self.groups.tip())}."
            )
        self.groups.flush()
        try:
            self._processor.process(block)
        except CkbError as error:
            raise RefusedBlockError(block, error) from error


def _stop_if_asked(stop: StopFlag) -> None:
    if stop.is_set:
        raise Interrupted("interrupted; what was imported so far is kept")


def _tip_text(store: ChainStore) -> str:
    with store.view() as view:
        return _block_text(view.tip_header())


def _block_text(header: Header) -> str:
    return f"{header.number}-{bytes_text(header.hash)}"
