"""Each kind of file × what may happen to it × when: right answers, or a refusal that names the file and the cure.

Run with `python -m tests.bitrot --seeds 1`, or `make bitrot`. Points are (file, damage, moment, seed). Moments:

- start: the node is started on the damaged files, takes a block, and is looked at;
- run: the files are damaged while the node is open;
- compaction: after the damage the node is started again and again, which turns logs into tables and merges those;
- check: `ckb-node check` names the damage or finds none, then the cure that it names is applied, and all is right.

LevelDB maps tables into memory: where one is cut short under it, the system ends the process (SIGBUS), whatever the
program does. That is counted by itself, and what the next start says is judged.

A point fails when an answer is wrong, an acknowledged block is gone while the node is up, a process ends by a signal or
an exception, or a refusal names no file or no cure. The report goes to build/bitrot.txt.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ckb_node.node import Node
from storage.errors import StorageError
from tests.bitrot.damage import DAMAGES, Target, targets_of
from tests.bitrot.node import ACKNOWLEDGED, REFUSED, Outcome, Truth, build, command, in_child, make_blocks, take

MOMENTS = ("start", "run", "compaction", "check")
CURES = ("ckb-node recover", "ckb-node check", "remove the directory", "Remove the directory", "Put the file back")


class PointFailed(Exception):  # noqa: N818 - a verdict
    """The node did not do what it should."""


@dataclass(frozen=True)
class Point:
    """One case."""

    target: Target
    damage: str
    moment: str
    seed: int

    def __str__(self) -> str:
        return f"{self.target.name}, {self.damage}, {self.moment}, seed {self.seed}"


class Matrix:
    """All points on copies of one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blocks = make_blocks(root)
        build(root, self._blocks)
        self._truth = Truth(self._blocks)
        self._data = root / "copy"

    def points(self, seeds: int) -> Iterator[Point]:
        """Every combination."""
        for target in targets_of(self._root / "node"):
            for damage in DAMAGES:
                for moment in MOMENTS:
                    for seed in range(seeds):
                        yield Point(target, damage, moment, seed)

    def run(self, point: Point) -> str:
        """How the node met it. Raises PointFailed."""
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.copytree(self._root / "node", self._data)
        match point.moment:
            case "start":
                self._damage(point)
                return self._verdict(self._child(ACKNOWLEDGED, ACKNOWLEDGED + 1))
            case "run":
                return self._run(point)
            case "compaction":
                self._damage(point)
                return self._compaction()
            case _:
                self._damage(point)
                return self._check()

    def _damage(self, point: Point) -> None:
        target = next(each for each in targets_of(self._data) if each.name == point.target.name)  # as it is called now
        random = Random(f"{target.name} {point.damage} {point.seed}")
        DAMAGES[point.damage](self._data / target.path, random, self._root / "older" / target.path)

    def _child(self, first: int, last: int) -> Outcome:
        """Start, take blocks, look, stop."""
        return in_child(lambda: take(self._data, self._blocks[first:last], self._look), self._root / "report")

    def _look(self, node: Node) -> None:
        for fault in self._truth.faults_of(node):
            print(f"WRONG: {fault}")

    def _run(self, point: Point) -> str:
        def damage_and_look(node: Node) -> None:
            self._damage(point)
            self._look(node)
            with suppress(StorageError):
                node.indexer and node.indexer.follower.step()
            self._look(node)

        outcome = in_child(lambda: take(self._data, (), damage_and_look), self._root / "report")
        first = "died of SIGBUS" if outcome.code == -signal.SIGBUS else self._verdict(outcome)
        return f"{first}, then {self._verdict(self._child(ACKNOWLEDGED, ACKNOWLEDGED + 1))}"

    def _compaction(self) -> str:
        verdict = ""
        for height in range(ACKNOWLEDGED, ACKNOWLEDGED + 6):
            verdict = self._verdict(self._child(height, height + 1))
            if verdict != "right":
                break
        return verdict

    def _check(self) -> str:
        checked = in_child(lambda: command("check", "-C", str(self._data)), self._root / "report")
        if checked.code == 0:
            self._verdict(self._child(ACKNOWLEDGED, len(self._blocks)), may_refuse=False)
            return "sound"
        self._must_tell(checked, 1 if "NOT sound" in checked.said else REFUSED)
        for directory in ("indexer", "filters"):
            if f"emove the directory {self._data / 'data' / directory}" in checked.said:
                shutil.rmtree(self._data / "data" / directory)
        if "`ckb-node recover`" in checked.said:
            self._recover()
        elif "--salvage" in checked.said:
            self._recover("--salvage")
            self._verdict(self._child(0, len(self._blocks)), may_refuse=False, is_salvaged=True)
            return "named, salvaged"
        self._verdict(self._child(ACKNOWLEDGED, len(self._blocks)), may_refuse=False)
        return "named, cured"

    def _recover(self, *options: str) -> None:
        outcome = in_child(lambda: command("recover", *options, "-C", str(self._data)), self._root / "report")
        if outcome.code:
            raise PointFailed(f"recover ended with {outcome.code}: {outcome.said[-500:]}")

    def _verdict(self, outcome: Outcome, *, may_refuse: bool = True, is_salvaged: bool = False) -> str:
        if "WRONG:" in outcome.said:
            raise PointFailed(outcome.said[-500:])
        if outcome.code == 0:
            return "right"
        if not may_refuse:
            raise PointFailed(f"not cured, ended with {outcome.code}: {outcome.said[-500:]}")
        self._must_tell(outcome, REFUSED)
        return "refused"

    def _must_tell(self, outcome: Outcome, code: int) -> None:
        """The line names a place within the data, and what can be done."""
        if outcome.code != code or "Traceback" in outcome.said:
            raise PointFailed(f"ended with {outcome.code}: {outcome.said[-700:]}")
        if str(self._data / "data") not in outcome.said or not any(cure in outcome.said for cure in CURES):
            raise PointFailed(f"names no file or no cure: {outcome.said[-500:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", action="append", help="Points whose name holds this text, or one of these texts.")
    parser.add_argument("--report", type=Path, default=Path("build") / "bitrot.txt")
    arguments = parser.parse_args()
    report: Path = arguments.report
    report.parent.mkdir(exist_ok=True)
    failed, verdicts = 0, Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory(prefix="bitrot-") as directory, report.open("w") as file:
        matrix = Matrix(Path(directory))
        for point in matrix.points(arguments.seeds):
            if not any(text in str(point) for text in arguments.only or [""]):
                continue
            try:
                verdict = matrix.run(point)
            except PointFailed as error:
                failed, verdict = failed + 1, "FAILED"
                print(f"FAILED {point}: {error}", flush=True)
            verdicts[(point.moment, verdict)] += 1
            file.write(f"{point}: {verdict}\n")
            file.flush()
        for (moment, verdict), count in sorted(verdicts.items()):
            line = f"{moment:12} {verdict:24} {count}"
            print(line)
            file.write(line + "\n")
    print(f"{sum(verdicts.values())} points, {failed} failed; see {report}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
