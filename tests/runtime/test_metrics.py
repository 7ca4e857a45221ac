"""Metrics: what is shown, what a failing figure costs, how calls are counted."""

from __future__ import annotations

import asyncio
import math

from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from ckb_node.runtime import metrics as metrics_module
from ckb_node.runtime.metrics import DELAY_SECONDS, RENDERED_S, CallMetrics, Metrics, watch_loop_delay


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Values by name and label value (several labels: joined)."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_gauges_are_read_when_somebody_scrapes() -> None:
    now, value = 0.0, 1.0
    metrics = Metrics(lambda: now)
    metrics.gauge("ckb_height", "a height", lambda: value)
    metrics.gauges("ckb_size", "sizes", "type", {"a": lambda: 1, "b": lambda: value})
    assert samples(metrics) == {("ckb_height", ""): 1, ("ckb_size", "a"): 1, ("ckb_size", "b"): 1}
    value = 2.0
    assert samples(metrics)["ckb_height", ""] == 1, "a text is given again for a moment"
    now += RENDERED_S
    assert samples(metrics)["ckb_height", ""] == 2


def test_totals_that_somebody_else_keeps_are_read_when_somebody_scrapes() -> None:
    now, counts = 0.0, {"a": 1}
    metrics = Metrics(lambda: now)
    metrics.totals("ckb_left", "peers that left", "cause", lambda: counts)
    assert samples(metrics) == {("ckb_left_total", "a"): 1}
    counts = {"a": 2, "b": 5}
    now += RENDERED_S
    assert samples(metrics) == {("ckb_left_total", "a"): 2, ("ckb_left_total", "b"): 5}


def test_totals_that_cannot_be_read_are_not_there() -> None:
    metrics = Metrics(lambda: 0.0)

    def fails() -> dict[str, float]:
        raise OSError("closed")

    metrics.totals("ckb_bad", "fails", "cause", fails)
    metrics.gauge("ckb_good", "works", lambda: 7)
    with capture_logs() as logs:
        assert samples(metrics) == {("ckb_good", ""): 7}
    assert [entry["name"] for entry in logs] == ["ckb_bad"]


def test_a_figure_that_cannot_be_read_is_not_a_number_and_the_others_are_shown() -> None:
    metrics = Metrics(lambda: 0.0)

    def fails() -> float:
        raise OSError("closed")

    metrics.gauge("ckb_bad", "fails", fails)
    metrics.gauge("ckb_good", "works", lambda: 7)
    with capture_logs() as logs:
        found = samples(metrics)
    assert math.isnan(found["ckb_bad", ""])
    assert found["ckb_good", ""] == 7
    assert [entry["name"] for entry in logs] == ["ckb_bad"]


def test_calls_are_counted_by_method_and_unknown_ones_together() -> None:
    metrics = Metrics()
    calls = CallMetrics(metrics, ["get_tip", "send"])
    calls.note("get_tip", 0.002, has_failed=False)
    calls.note("send", 0.3, has_failed=True)
    calls.note(None, 0.1, has_failed=True)
    found = samples(metrics)
    assert {label: value for (name, label), value in found.items() if name == "ckb_rpc_requests_total"} == {
        "get_tip": 1,
        "send": 1,
        "unknown": 1,
    }
    assert found["ckb_rpc_errors_total", "get_tip"] == 0
    assert found["ckb_rpc_errors_total", "send"] == found["ckb_rpc_errors_total", "unknown"] == 1
    assert found["ckb_rpc_request_seconds_count", ""] == 3
    assert found["ckb_rpc_request_seconds_bucket", "0.0025"] == 1


def test_two_nodes_in_one_process_have_figures_of_their_own() -> None:
    first, second = Metrics(), Metrics()
    for metrics, value in ((first, 1), (second, 2)):
        metrics.counter("ckb_blocks", "blocks")(value)
    assert samples(first)["ckb_blocks_total", ""] == 1
    assert samples(second)["ckb_blocks_total", ""] == 2


async def test_the_delay_of_the_event_loop_is_observed() -> None:
    observed = list[float]()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(watch_loop_delay(observed.append))
        while not observed:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        watcher.cancel()
    assert observed[0] >= 0
    assert metrics_module.LOOKED_EVERY_S < 1
    assert list(DELAY_SECONDS) == sorted(DELAY_SECONDS)
