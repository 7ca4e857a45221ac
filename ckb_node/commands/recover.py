"""`ckb-node recover`: build the chain's database anew from the archive of blocks, which holds every one of them.

All rules are checked again, scripts too, as `import` does: the archive also holds blocks that were never verified (of
branches that lost), and the disk that it lies on has just proven unreliable. An option skips the scripts, which ran
when the blocks came.

Blocks are taken in the order in which they came, so that of branches of equal weight the same one wins; what was cut
off by hand (`truncate`) is cut off again where the archive has a mark of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from ckb_node.chain.bulk import BulkImport, RefusedBlockError
from ckb_node.chain.checks import Checks, check_of
from ckb_node.chain.events import Verdict
from ckb_node.chain.writer import ChainWriter
from ckb_node.config import Config
from ckb_node.genesis.obtain import load_consensus
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.opening import ARCHIVE_CURE, CHAIN_DIRECTORY, STORE_OPTIONS, processing
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.interpreter import set_for_bulk
from ckb_node.runtime.progress import BlockProgress
from ckb_node.runtime.stop_flag import StopFlag, stop_flag
from consensus.errors import CkbError, MoleculeError
from consensus.params import Consensus
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Block, Header
from storage.archive_scan import DAMAGED, Found, scan
from storage.chain_state import ChainState
from storage.chain_store import BLOCKS, ChainStore
from storage.recovery import RecoveryArchive, recovering
from storage.segments import BODY, MARK, CommitMark, Location, segment_path, segments_of

START = Location(0, 0, 0)
OTHER_CHAIN = (
    "It begins with that of another: run with the chain spec, and on a dev chain the version of ckb-node, that these "
    "data were made with. Nothing was changed"
)
SHOWN = 20
"""Faults that are printed; the others are counted."""


@dataclass(frozen=True, slots=True)
class RecoverOptions:
    """`processes` run scripts; None: one for each processor. `is_salvage`: take what is left of a damaged archive."""

    checks: Checks = Checks.ALL
    processes: int | None = None
    is_salvage: bool = False


@dataclass(slots=True)
class RecoverReport:
    """What was found in the archive."""

    mark: CommitMark | None = None
    """The commit with the highest number of which the archive has a mark."""
    faults: list[str] = field(default_factory=list)
    faults_in_all: int = 0
    is_damaged: bool = False
    """Some stretch of it cannot be read."""

    def add(self, fault: str) -> None:
        """Note a stretch or a block that could not be taken."""
        self.faults_in_all += 1
        if len(self.faults) < SHOWN:
            self.faults.append(fault)

    def note(self, mark: CommitMark) -> None:
        """Note a mark."""
        if self.mark is None or mark.serial >= self.mark.serial:
            self.mark = mark


def recover(config: Config, options: RecoverOptions) -> int:
    """The command: 0 when the new database is in place. Otherwise CommandError, and nothing was changed."""
    path = config.data_dir / CHAIN_DIRECTORY
    blocks = path / BLOCKS
    spec, _ = config.load_spec()
    consensus = config.with_overrides(load_consensus(config))
    segments = segments_of(blocks)
    if not segments and not options.is_salvage:
        raise CommandError(
            f"{blocks} holds no blocks: there is nothing to recover from. Put its files back from a copy; without one, "
            f"remove the directory {path}: the node begins with the genesis block"
        )
    total = sum(segment_path(blocks, number).stat().st_size for number in segments)
    click.echo(f"building {path / 'db'} anew from {len(segments)} segments of {blocks}, {total:,} bytes")
    with stop_flag() as stop, recovering(path, STORE_OPTIONS.leveldb) as recovery:
        _offer_genesis(consensus, blocks, recovery.archive, is_salvage=options.is_salvage)
        with processing(config, consensus, recovery.store, options.processes) as writer:
            writer.start(spec.content_hash)
            rebuilder = Rebuilder(writer, recovery.archive, blocks, options.checks)
            with set_for_bulk(), BlockProgress("recovering", total) as progress:
                report = rebuilder.run(progress, stop)
        tip, old_tip = _tip(recovery.store), recovery.old_tip(STORE_OPTIONS.leveldb)
        for fault in report.faults:
            click.echo(f"FAULT: {fault}")
        if (hidden := report.faults_in_all - len(report.faults)) > 0:
            click.echo(f"FAULT: and {hidden} more")
        if not options.is_salvage and not _is_whole(recovery.store, report, old_tip):
            raise CommandError(_not_whole(tip, report, old_tip))
        serial = 0 if report.mark is None else report.mark.serial
        kept = recovery.put_in_place(serial, give_up_rest=options.is_salvage)
    click.echo(f"recovered {progress.counts.summary()}; the tip is {tip.number}-{bytes_text(tip.hash)}")
    click.echo(f"what was there before is kept in {', '.join(map(str, kept))}: remove it when all is well")
    return 0


def _offer_genesis(consensus: Consensus, blocks: Path, archive: RecoveryArchive, *, is_salvage: bool) -> None:
    """It is the first body of every archive, and the only one that can be had from elsewhere."""
    first = next(scan(blocks), None)
    raw = consensus.genesis_block.raw
    if first is not None and first.kind == BODY and first.payload == raw:
        archive.offer(raw, first.location)
    elif is_salvage and (first is None or first.kind == DAMAGED):
        archive.restore(raw, Location(0, 0, len(raw)))
    else:
        path = segment_path(blocks, 0)
        is_other = first is not None and first.kind == BODY
        cure = OTHER_CHAIN if is_other else ARCHIVE_CURE
        raise CommandError(f"{path} does not begin with the genesis block of this chain. {cure}")


def _tip(store: ChainStore) -> Header:
    with store.view() as view:
        return view.tip_header()


def _is_whole(store: ChainStore, report: RecoverReport, old_tip: Header | None) -> bool:
    """The last commit's tip is on the new main chain, as the archive and, where it can be read, the old database tell
    of it; blocks behind it may have come before they could be noted."""
    known = [] if report.mark is None else [(report.mark.tip_number, report.mark.tip_hash)]
    if old_tip is not None:
        known.append((old_tip.number, old_tip.hash))
    if not known:  # written by a version that did not mark its commits, and kept the bodies of invalid blocks
        return not report.is_damaged
    with store.view() as view:
        return all(view.main_hash(number) == block_hash for number, block_hash in known)


def _not_whole(tip: Header, report: RecoverReport, old_tip: Header | None) -> str:
    told = [] if report.mark is None else [f"the archive tells of a tip at block {report.mark.tip_number}"]
    if old_tip is not None:
        told.append(f"the old database of one at block {old_tip.number}")
    wanted = f", but {' and '.join(told)}" if told else ""
    return (
        f"the blocks lead to {tip.number}-{bytes_text(tip.hash)}{wanted}. Nothing was changed. Put the damaged file "
        "back from a copy, or take what is left with `ckb-node recover --salvage`, which keeps all files as they are "
        "aside"
    )


class Rebuilder:
    """Puts the archive's blocks on the new chain, in the order in which they came."""

    def __init__(self, writer: ChainWriter, archive: RecoveryArchive, blocks: Path, checks: Checks) -> None:
        self._writer, self._archive, self._blocks = writer, archive, blocks
        self._check = check_of(checks, writer.consensus, writer.now_ms)
        self._process_branch = writer.process_unverified if checks is Checks.NONE else None
        self._report = RecoverReport()
        self._places: deque[tuple[bytes, Location]] = deque(maxlen=2048)
        """Where the last blocks stand: more than a group has."""
        self._counted = START

    def run(self, progress: BlockProgress, stop: StopFlag) -> RecoverReport:
        """Go through the archive; behind a block that is refused it goes on."""
        start: Location | None = START
        while start is not None:
            bulk = BulkImport(self._writer, self._check, process_branch=self._process_branch)
            try:
                with bulk:
                    for found in self._found_from(start, progress, stop):
                        self._take(bulk, found, progress)
                start = None
            except RefusedBlockError as refused:
                start = self._behind(refused)
        return self._report

    def _found_from(self, start: Location, progress: BlockProgress, stop: StopFlag) -> Iterator[Found]:
        for found in scan(self._blocks, start):
            stop.check()
            if found.location > self._counted:
                self._counted = found.location
                progress.advance(found.location.end - found.location.offset, 0, 0)
            yield found

    def _behind(self, refused: RefusedBlockError) -> Location:
        """What came after it in its group was dropped with it: the next is the one behind it."""
        self._report.add(str(refused))
        location = next(place for block_hash, place in self._places if block_hash == refused.block_hash)
        return Location(location.segment, location.end, 0)

    def _take(self, bulk: BulkImport, found: Found, progress: BlockProgress) -> None:
        location = found.location
        if found.kind == DAMAGED:
            self._report.is_damaged = True
            path = segment_path(self._blocks, location.segment)
            what = f"{location.length} bytes at {location.offset} are damaged" if location.length else "it is missing"
            self._report.add(f"{path}: {what}")
        elif found.kind == MARK:
            self._report.note(found.mark)
            self._follow(bulk, found.mark)
        elif found.kind == BODY:
            try:
                block = Block.parse(found.payload)
            except MoleculeError as error:
                self._report.add(f"{segment_path(self._blocks, location.segment)}: body at {location.offset}: {error}")
                return
            self._places.append((block.hash, location))
            self._archive.offer(block.raw, location)
            if self._put(bulk, block):
                progress.advance(0, 1, len(block.tx_slices) - 1)

    def _put(self, bulk: BulkImport, block: Block) -> bool:
        """Whether this call has stored the block, on the main chain or on a branch."""
        name = f"block {block.number} ({bytes_text(block.hash)})"
        try:
            return bulk.take(block) is not Verdict.KNOWN
        except UnknownParentError:
            self._report.add(f"{name}: its parent is not there")
        except CkbError as error:
            self._report.add(f"{name} is invalid: {error}")
        return False

    def _follow(self, bulk: BulkImport, mark: CommitMark) -> None:
        """A commit whose tip is stored, and is another one than the bodies before it lead to, followed a cut by hand.

        Often the mark is the cut's own: its tip lies below ours. Versions that did not mark their commits left cuts
        without one: then the branch of the mark's tip stands beside ours, and is taken once more without it.
        """
        if not mark.is_at_rest or bulk.tip().hash == mark.tip_hash or not bulk.knows(mark.tip_hash):
            return
        bulk.flush()
        with self._writer.store.view() as view:
            branch = _branch_to(view, mark.tip_hash)
        if branch is None:
            return
        fork, above = branch
        self._writer.truncate(fork)
        for block, location in above:
            self._archive.offer(block.raw, location)
            self._put(bulk, block)


def _branch_to(view: ChainState, tip_hash: bytes) -> tuple[bytes, list[tuple[Block, Location]]] | None:
    """Hash of the main chain's block that a stored branch stands on, and its blocks, lowest first; None where the
    branch is not stored."""
    above: list[tuple[Block, Location]] = []
    while not view.is_main(tip_hash):
        record, block = view.block_record(tip_hash), view.block(tip_hash)
        if record is None or block is None:
            return None
        above.append((block, record.location))
        tip_hash = block.parent_hash
    return tip_hash, above[::-1]
