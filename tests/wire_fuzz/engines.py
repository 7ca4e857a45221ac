"""What makes the bytes: atheris, guided by coverage, or hypothesis."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st

from tests.wire_fuzz.targets import STARTS, TARGETS

MAX_SIZE = 1024
ROUND = 500


def run_atheris(name: str, seconds: float, corpus: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    atheris = import_module("atheris")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(STARTS[name]):
        (corpus / f"start-{number}").write_bytes(start)
    for module in [module for module in sys.modules if module.startswith(("network.ckb_wire", "network.multiaddr"))]:
        for member in vars(sys.modules[module]).values():
            _instrument(atheris, module, member)
    arguments = [sys.argv[0], f"-max_total_time={max(1, int(seconds))}", f"-max_len={MAX_SIZE}", "-timeout=20"]
    arguments += ["-rss_limit_mb=1024", f"-artifact_prefix={corpus.parent}/{name}-", str(corpus)]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


def _instrument(atheris: object, module: str, member: object) -> None:
    """Of a module that is loaded, its functions and those of its classes."""
    if getattr(member, "__module__", None) != module:
        return
    instrument = vars(atheris)["instrument_func"]
    if isinstance(member, type):
        for part in list(vars(member).values()):
            inner = getattr(part, "fget", None) or getattr(part, "__func__", None) or part
            if hasattr(inner, "__code__"):
                instrument(inner)
    elif hasattr(member, "__code__"):
        instrument(member)


def run_hypothesis(name: str, seconds: float, corpus: Path) -> None:
    """Raises with the smallest input that fails, which is written to the corpus too."""
    target, starts = TARGETS[name], STARTS[name]
    bytes_ = st.binary(max_size=400)
    changed = st.builds(
        lambda start, at, part: start[: at % (len(start) + 1)] + part,
        st.sampled_from(starts),
        st.integers(0, 4096),
        bytes_,
    )
    deadline, tried, failing = time.monotonic() + seconds, 0, b""

    def attempt(data: bytes) -> None:
        nonlocal tried, failing
        tried += 1
        try:
            target(data)
        except BaseException:
            failing = data
            raise

    chosen = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    turn = int(time.time() * 1000)
    try:
        while time.monotonic() < deadline:
            turn += 1
            with_seed(turn)(chosen(given(bytes_ | changed)(attempt)))()
    except BaseException:
        corpus.mkdir(parents=True, exist_ok=True)
        path = corpus.parent / f"{name}-failed"
        path.write_bytes(failing)
        print(f"failing input: {failing.hex()} in {path}")
        raise
    print(f"tried {tried} inputs")
