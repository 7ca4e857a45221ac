"""Figures of the node for Prometheus: one registry, and the text in which they are scraped.

What a part knows anyway is read when somebody scrapes (`gauge`), so it costs nothing before. Names begin with `ckb_`,
and are those of the reference where it has the same figure. Values of labels come from fixed sets.
"""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

log = structlog.get_logger("node")

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of `Metrics.text`."""

RENDERED_S: Final = 0.2
"""A text is given again for so long: many who scrape cost no more than a few."""

CALL_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
DELAY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LOOKED_EVERY_S: Final = 0.25
"""How often the delay of the event loop is measured."""


class Metrics:
    """A registry of its own, so that several nodes may live in one process. Belongs to the event loop."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s: Final = now_s
        self._registry: Final = CollectorRegistry()
        self._text, self._rendered_at = b"", float("-inf")
        self._has_failed = False

    def counter(self, name: str, text: str) -> Callable[[float], None]:
        """What to call to add to a counter; its name is shown with `_total` behind it."""
        return Counter(name, text, registry=self._registry).inc

    def counters(self, name: str, text: str, label: str, values: Sequence[str]) -> Mapping[str, Callable[[], None]]:
        """The same by the value of a label, of which these are all."""
        counter = Counter(name, text, [label], registry=self._registry)
        return {value: counter.labels(value).inc for value in values}

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Callable[[float], None]:
        """What to call with each observed value; the library's own takes 2 µs, and each call of RPC is observed."""
        histogram = _Histogram(name, text, buckets)
        self._registry.register(histogram)
        return histogram.observe

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read at each scrape; NaN when that fails."""
        Gauge(name, text, registry=self._registry).set_function(partial(self._read, name, read))

    def gauges(self, name: str, text: str, label: str, reads: Mapping[str, Callable[[], float]]) -> None:
        """The same by the value of a label."""
        gauge = Gauge(name, text, [label], registry=self._registry)
        for value, read in reads.items():
            gauge.labels(value).set_function(partial(self._read, name, read))

    def totals(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Counts that somebody keeps anyway, by the value of a label, read at each scrape; none when that fails."""
        self._registry.register(_Totals(name, text, label, partial(self._read_all, name, read)))

    def _read_all(self, name: str, read: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        counts: Mapping[str, float] = {}

        def take() -> float:
            nonlocal counts
            counts = read()
            return 0.0

        self._read(name, take)
        return counts

    def _read(self, name: str, read: Callable[[], float]) -> float:
        try:
            return read()
        except Exception:  # the other figures are shown all the same
            if not self._has_failed:
                self._has_failed = True
                log.exception("a figure for Prometheus cannot be read", name=name)
            return float("nan")

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        now = self._now_s()
        if now - self._rendered_at >= RENDERED_S:
            self._text, self._rendered_at = generate_latest(self._registry), now
        return self._text


class _Totals(Collector):
    """See Metrics.totals."""

    def __init__(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._text, self._label, self._read = name, text, label, read

    def describe(self) -> Iterable[Metric]:
        return [CounterMetricFamily(self._name, self._text, labels=[self._label])]

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=[self._label])
        for value, count in self._read().items():
            family.add_metric([value], count)
        return [family]


class _Histogram(Collector):
    """See Metrics.histogram."""

    def __init__(self, name: str, text: str, buckets: Sequence[float]) -> None:
        """`buckets` are upper ends, in order."""
        self._name, self._text, self._ends = name, text, buckets
        self._counts: Final = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._ends, value)] += 1
        self._sum += value

    def describe(self) -> Iterable[Metric]:
        return [HistogramMetricFamily(self._name, self._text)]

    def collect(self) -> Iterable[Metric]:
        ends = map(floatToGoString, (*self._ends, math.inf))
        buckets = list(zip(ends, accumulate(self._counts), strict=True))
        return [HistogramMetricFamily(self._name, self._text, buckets, self._sum)]


class CallMetrics:
    """RPC calls by method, those that failed, and how long they took until their (first part of an) answer was made."""

    def __init__(self, metrics: Metrics, methods: Sequence[str]) -> None:
        """`methods` are all that are open; calls of others are counted under "unknown"."""
        self._requests: Final = dict.fromkeys((*methods, "unknown"), 0)
        self._errors: Final = self._requests.copy()
        metrics.totals("ckb_rpc_requests", "RPC calls", "method", lambda: self._requests)
        metrics.totals("ckb_rpc_errors", "RPC calls that failed", "method", lambda: self._errors)
        self._seconds: Final = metrics.histogram("ckb_rpc_request_seconds", "Time of an RPC call", CALL_SECONDS)

    def note(self, method: str | None, seconds: float, *, has_failed: bool) -> None:
        """A call is answered; None when there is no such method."""
        name = "unknown" if method is None else method
        self._requests[name] += 1
        if has_failed:
            self._errors[name] += 1
        self._seconds(seconds)


async def watch_loop_delay(observe: Callable[[float], None]) -> None:
    """Observe, until cancelled, by how many seconds the event loop is late: each client's request may wait so long."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOKED_EVERY_S
        await asyncio.sleep(LOOKED_EVERY_S)
        observe(max(0.0, loop.time() - due))
