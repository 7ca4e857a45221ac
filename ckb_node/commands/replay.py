"""`ckb-node replay`: process the stored chain once more, into a database that is thrown away afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ckb_node.chain.bulk import BulkImport, RefusedBlockError
from ckb_node.chain.checks import BlockCheck, all_rules, body_rules, scripts_later
from ckb_node.chain.writer import ChainWriter
from ckb_node.config import Config
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.opening import open_chain
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.interpreter import set_for_bulk
from ckb_node.runtime.progress import BlockProgress, Counts
from ckb_node.runtime.stop_flag import StopFlag, stop_flag
from consensus.lookup import require
from consensus.types.blockchain import Block, Header
from storage.chain_state import ChainState
from storage.chain_store import ChainStore

MIN_PROFILING_S = 2.0
RULE = "----------------------------"


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`tmp_target`: the directory that the thrown-away database is made in; it takes as much room as the chain."""

    tmp_target: Path
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class _Replay:
    """The stored chain, and where it is processed once more. Scripts are run anew: nothing is remembered."""

    view: ChainState
    writer: ChainWriter
    stop: StopFlag

    @property
    def tip(self) -> Header:
        return self.view.tip_header()

    def all_rules(self) -> BlockCheck:
        """Every rule, scripts too."""
        return all_rules(self.writer.consensus, scripts_later, self.writer.now_ms)

    def run(self, check: BlockCheck, heights: range, title: str) -> Counts:
        """Process the blocks at these heights. CommandError at the first that is invalid."""
        writer = self.writer
        with (
            set_for_bulk(),
            BlockProgress(title, len(heights)) as progress,
            BulkImport(writer, check) as bulk,
        ):
            for height in heights:
                self.stop.check()
                block = self._block(height)
                bulk.add(block)
                progress.advance(1, 1, len(block.tx_slices) - 1)
        return progress.counts

    def _block(self, height: int) -> Block:
        return require(self.view.block(require(self.view.main_hash(height), "block hash", height)), "block", height)


def profile(config: Config, options: ReplayOptions, first: int | None, last: int | None) -> int:
    """Measure how fast blocks `first` to `last` pass all rules; those before them are processed unmeasured."""
    with _replay(config, options) as replay:
        start = max(first or 1, 1)
        end = min(replay.tip.number if last is None else last, replay.tip.number)
        if end < start:
            raise CommandError(f"there is nothing to replay from {start} to {end}; the tip is {replay.tip.number}")
        check = replay.all_rules()
        _valid(lambda: replay.run(check, range(1, start), "processing what comes before"))
        click.echo(f"Start profiling, re-process blocks {start}..{end}:")
        counts = _valid(lambda: replay.run(check, range(start, end + 1), "profiling"))
        if counts.seconds < MIN_PROFILING_S:
            click.echo(
                f"{RULE}\nProfiling with too short time({counts.seconds:.3f}s) is inaccurate and referential; "
                f"take more blocks, so that it takes more than {MIN_PROFILING_S:.0f} seconds\n{RULE}"
            )
        rate = round(counts.transactions / max(counts.seconds, 1e-6))
        click.echo(
            f"\n{RULE}\nEnd profiling, duration:{counts.seconds:.3f}s, txs:{counts.transactions}, tps:{rate}, "
            f"blocks:{counts.blocks}, blocks/s:{round(counts.blocks / max(counts.seconds, 1e-6))}\n{RULE}"
        )
    return 0


def sanity_check(config: Config, options: ReplayOptions, *, full_verification: bool) -> int:
    """Process the whole chain with all rules, or with those of a block by itself. CommandError when it breaks."""
    with _replay(config, options) as replay:
        tip = replay.tip
        check = replay.all_rules() if full_verification else body_rules(replay.writer.consensus)
        try:
            counts = replay.run(check, range(1, tip.number + 1), "checking")
        except RefusedBlockError as error:
            place = f"block({error.number}-{bytes_text(error.block_hash)})"
            raise CommandError(f"Replay sanity-check error: {error.cause} at {place}") from error
        _check_tip(replay.writer.store, tip)
        click.echo(f"Sanity-check pass, tip({tip.number}-{bytes_text(tip.hash)})")
        click.echo(f"replayed {counts.summary()}")
    return 0


def _valid(run: Callable[[], Counts]) -> Counts:
    try:
        return run()
    except RefusedBlockError as error:
        raise CommandError(str(error)) from error


def _check_tip(store: ChainStore, expected: Header) -> None:
    with store.view() as view:
        cursor = view.tip_header()
    if cursor.hash != expected.hash:
        raise CommandError(
            f"Sanity-check break at block({cursor.number}-{bytes_text(cursor.hash)}); "
            f"expect tip({expected.number}-{bytes_text(expected.hash)})"
        )


@contextmanager
def _replay(config: Config, options: ReplayOptions) -> Iterator[_Replay]:
    if not options.tmp_target.is_dir():
        raise CommandError(f"{options.tmp_target}: The specified path does not exist or not directory")
    spec, _ = config.load_spec()
    with (
        stop_flag() as stop,
        open_chain(config, script_processes=options.processes) as (consensus, store, source),
        store.view() as view,
        tempfile.TemporaryDirectory(prefix="replay-", dir=options.tmp_target) as directory,
    ):
        fresh = ChainStore.open(Path(directory))
        try:
            writer = ChainWriter(consensus, fresh, source.scripts, source.now_ms)
            writer.start(spec.content_hash)
            yield _Replay(view, writer, stop)
        finally:
            fresh.close()
