"""Fuzzing of the wire's decoders and state machines.

    python -m tests.wire_fuzz --seconds 3600 [--target NAME …] [--corpus DIRECTORY] [--replay FILE]

With `atheris` installed it is guided by coverage and keeps what it found interesting in the corpus; else hypothesis
makes the bytes. Each target has a process and an equal share of the time. A failing input is written to the corpus
and printed; it belongs into `tests/wire_fuzz/test_found.py` once its cause is known. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.wire_fuzz import engines
from tests.wire_fuzz.targets import TARGETS

CORPUS = Path("build/fuzz/wire")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.wire_fuzz")
    parser.add_argument("--seconds", type=float, default=130)
    parser.add_argument("--target", choices=list(TARGETS), action="append")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--replay", type=Path, help="run one file's bytes on the one target, and no more")
    parser.add_argument("--here", action="store_true", help="in this process, the one target")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    if options.replay:
        TARGETS[names[0]](options.replay.read_bytes())
        return 0
    if options.here:
        run = engines.run_atheris if find_spec("atheris") else engines.run_hypothesis
        run(names[0], options.seconds, options.corpus / names[0])
        return 0
    print(f"engine: {'atheris' if find_spec('atheris') else 'hypothesis'}", flush=True)
    return run_all(names, options.seconds / len(names), options.corpus)


def run_all(names: list[str], seconds: float, corpus: Path) -> int:
    failed = []
    for name in names:
        command = [sys.executable, "-m", "tests.wire_fuzz", "--here", "--target", name, "--seconds", str(seconds)]
        done = subprocess.run([*command, "--corpus", str(corpus)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines()
        print(f"{name:14} {'FAILED' if done.returncode else 'passed'}  {summary(lines)}", flush=True)
        if done.returncode:
            failed.append(name)
            print("\n".join(lines[-40:]), flush=True)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def summary(lines: list[str]) -> str:
    """The engine's own line on how much it did."""
    done = [line for line in lines if line.startswith(("Done ", "INFO: Done", "tried "))]
    return done[-1] if done else ""


if __name__ == "__main__":
    sys.exit(main())
