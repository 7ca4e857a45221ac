"""The section of the configuration that `ckb-node miner` reads; its workers are those of the reference's file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from ckb_node.mining.settings import MAX_INTERVAL_MS
from ckb_node.runtime.settings import ConfigError, Section

MAX_THREADS: Final = 1024

Millis = Annotated[int, Meta(ge=0, le=MAX_INTERVAL_MS)]
MillisWithParts = Annotated[float, Meta(ge=0, le=MAX_INTERVAL_MS)]


class WorkerSection(Section, frozen=True):
    """[[miner.workers]]: threads that search for Eaglesong nonces, or the wait of chains with Dummy proof of work, in
    milliseconds."""

    worker_type: Literal["Dummy", "EaglesongSimple"]
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)] | None = None
    extra_hash_function: Literal["Blake2b"] | None = None
    delay_type: Literal["Constant", "Uniform", "Normal", "Poisson"] | None = None
    value: Millis | None = None
    low: Millis | None = None
    high: Millis | None = None
    mean: MillisWithParts | None = None
    std_dev: MillisWithParts | None = None
    lambda_: MillisWithParts | None = field(default=None, name="lambda")

    @property
    def is_dummy(self) -> bool:
        return self.worker_type == "Dummy"


class MinerSection(Section, frozen=True):
    """[miner]: milliseconds between blocks of a dev chain; the node that `ckb-node miner` works for, and how."""

    interval_millis: Annotated[int, Meta(ge=1, le=MAX_INTERVAL_MS)] = 3000
    rpc_url: str = "http://127.0.0.1:8114/"
    poll_interval_millis: Annotated[int, Meta(ge=1, le=MAX_INTERVAL_MS)] = 1000
    listen: str | None = None
    workers: list[WorkerSection] = field(default_factory=list)


_DELAYS: Final[dict[str, Sequence[str]]] = {
    "Constant": ("value",),
    "Uniform": ("low", "high"),
    "Normal": ("mean", "std_dev"),
    "Poisson": ("lambda",),
}
_ALL: Final = ("threads", "extra_hash_function", "delay_type", "value", "low", "high", "mean", "std_dev", "lambda")


def check_workers(workers: Sequence[WorkerSection]) -> None:
    """Each has what it needs and nothing else. Raises ConfigError with the key."""
    for index, worker in enumerate(workers):
        key = f"miner.workers[{index}]"
        wanted: Sequence[str] = ("threads",)
        if worker.is_dummy:
            if worker.delay_type is None:
                raise ConfigError(f"{key}.delay_type: missing")
            wanted = ("delay_type", *_DELAYS[worker.delay_type])
        for name in _ALL:
            is_there = getattr(worker, "lambda_" if name == "lambda" else name) is not None
            if name in wanted and not is_there:
                raise ConfigError(f"{key}.{name}: missing")
            if is_there and name not in (*wanted, *(() if worker.is_dummy else ("extra_hash_function",))):
                raise ConfigError(f"{key}.{name}: of no use to this worker")
        _check_numbers(key, worker)
    if len({worker.is_dummy for worker in workers}) > 1:
        raise ConfigError("miner.workers: Dummy and EaglesongSimple are of different chains")


def _check_numbers(key: str, worker: WorkerSection) -> None:
    if worker.low is not None and worker.high is not None and worker.low >= worker.high:
        raise ConfigError(f"{key}.high: must be above low")
    if worker.lambda_ == 0:
        raise ConfigError(f"{key}.lambda: must be above 0")
    for name, value in (("mean", worker.mean), ("std_dev", worker.std_dev), ("lambda", worker.lambda_)):
        if value is not None and math.isnan(value):
            raise ConfigError(f"{key}.{name}: not a number")
