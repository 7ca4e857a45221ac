"""Progress in words."""

from __future__ import annotations

import pytest

from ckb_node.sync.progress import SyncFigures, SyncProgress
from ckb_node.sync.progress_text import log_event, log_fields, progress_line, shown_duration
from tests.support.sync_figures import GENESIS_MS, HEIGHT, NOW_MS, figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 min"),
        (61, "2 min"),
        (3540, "59 min"),
        (3541, "1 h 0 min"),
        (8400, "2 h 20 min"),
        (86_400, "1 d 0 h"),
        (360_000, "4 d 4 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert shown_duration(seconds) == text


def told(*seen: SyncFigures) -> tuple[str, str, dict[str, object]]:
    """Of the last of samples, ten seconds between each two."""
    progress = SyncProgress(GENESIS_MS, expects_peers=True, expects_blocks=True)
    last = progress.sample(seen[0], 1000.0, NOW_MS)
    for number, each in enumerate(seen[1:], start=1):
        last = progress.sample(each, 1000.0 + 10 * number, NOW_MS)
    return progress_line(last), log_event(last), log_fields(last)


def test_headers() -> None:
    seen = [figures(tip=0, best=n * 10_000, asked=1) for n in range(11)]
    line, event, fields = told(*seen)
    assert line == ("headers 100,000 of about 10,000,000 (1.0 %), 1,000/s, 2 h 45 min left for headers; 8 peers")
    assert event == "downloading headers"
    assert fields == {
        "header": 100_000,
        "of_about": 10_000_000,
        "percent": "1.0",
        "headers_per_s": 1000,
        "left": "2 h 45 min",
        "peers": 8,
    }


def test_blocks() -> None:
    line, event, fields = told(figures(tip=9_999_999, in_flight=7, buffered_bytes=5 << 20, peers=1))
    assert line == ("blocks 9,999,999 of 10,000,000 (99.9 %), 0.0/s, time left unknown, 7 asked for; 1 peer")
    assert event == "downloading blocks"
    assert (fields["percent"], fields["left"], fields["buffered_mib"]) == ("99.9", "unknown", 5)


def test_the_tip() -> None:
    line, event, fields = told(figures(tip=HEIGHT - 1, best=HEIGHT - 1))
    assert line == "at the tip, block 9,999,999, 9 s old; 8 peers"
    assert (event, fields) == ("at the tip", {"block": 9_999_999, "age": "9 s", "peers": 8})


def test_no_peers() -> None:
    alone = figures(tip=0, peers=0, connecting="known addresses: 15")
    line, event, fields = told(alone)
    assert line == "no peers, block 0; known addresses: 15"
    assert (event, fields["why"]) == ("no peers", "known addresses: 15")
    line, event, fields = told(*[alone] * 12)
    assert line == "no peers for 110 s, block 0; known addresses: 15"
    assert (event, fields["waits_for"]) == ("sync is stalled", "no peer is connected; known addresses: 15")
    assert "why" not in fields


def test_a_pause() -> None:
    """Rates are of the last minute, so a silent peer does not show in them at once."""
    waits = figures(tip=5, blocks_wait="block 6")
    line, event, fields = told(figures(tip=4), *[waits] * 3)
    assert line.endswith("; nothing for 20 s: block 6; 8 peers")
    assert (event, fields["nothing_for"], fields["waits_for"]) == ("downloading blocks", "20 s", "block 6")
    line, _, fields = told(figures(tip=4), waits)
    assert "nothing for" not in line
    assert "waits_for" not in fields


def test_a_stall() -> None:
    line, event, fields = told(*[figures(tip=5, blocks_wait="block 6")] * 20)
    assert line.endswith("stalled for 4 min: block 6; 8 peers")
    assert event == "sync is stalled"
    assert (fields["phase"], fields["stalled_for"], fields["waits_for"]) == ("blocks", "4 min", "block 6")


@pytest.mark.parametrize("seen", [figures(tip=0, best=0), figures(tip=0, best=1), figures(peers=0), figures(tip=0)])
def test_every_state_has_words(seen: SyncFigures) -> None:
    line, event, fields = told(seen)
    assert line
    assert event
    assert fields
