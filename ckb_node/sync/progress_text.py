"""Progress in words: the line of a terminal, and the fields of a line in the log."""

from __future__ import annotations

from ckb_node.sync.progress import Phase, Progress

__all__ = ["log_event", "log_fields", "progress_line", "shown_duration"]

MINUTE, HOUR, DAY = 60, 3600, 86_400
MIB = 1 << 20

_EVENTS = {
    Phase.NO_PEERS: "no peers",
    Phase.HEADERS: "downloading headers",
    Phase.BLOCKS: "downloading blocks",
    Phase.TIP: "at the tip",
}


def shown_duration(seconds: float | None) -> str:
    """Rounded up to what a person cares for, and never less than is known."""
    if seconds is None:
        return "unknown"
    if seconds < MINUTE:
        return "less than a minute"
    minutes = -int(-seconds // MINUTE)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"


def shown_age(seconds: float) -> str:
    """How long ago something was."""
    return f"{seconds:.0f} s" if seconds < 2 * MINUTE else shown_duration(seconds)


def log_event(progress: Progress) -> str:
    """What happens."""
    return "sync is stalled" if progress.stall is not None else _EVENTS[progress.phase]


def log_fields(progress: Progress) -> dict[str, object]:
    """How far, how fast, how long."""
    figures, fields = progress.figures, dict[str, object]()
    match progress.phase:
        case Phase.HEADERS:
            fields |= {"header": figures.best_header.number, "of_about": progress.about, "percent": _percent(progress)}
            fields |= {"headers_per_s": round(progress.headers_per_s), "left": shown_duration(progress.seconds_left)}
        case Phase.BLOCKS:
            fields |= {"block": figures.tip.number, "of": progress.about, "percent": _percent(progress)}
            fields |= {"blocks_per_s": round(progress.blocks_per_s, 1), "left": shown_duration(progress.seconds_left)}
            fields |= {"in_flight": figures.in_flight, "buffered_mib": figures.buffered_bytes // MIB}
        case Phase.TIP:
            fields |= {"block": figures.tip.number, "age": shown_age(progress.tip_age_s)}
        case Phase.NO_PEERS:
            fields["block"] = figures.tip.number
            if progress.stall is None:
                fields["why"] = figures.connecting or "nobody is known"
    fields["peers"] = figures.peers
    if progress.stall is not None:
        fields |= {"phase": progress.phase.value, "stalled_for": shown_age(progress.stall.seconds)}
        fields["waits_for"] = progress.stall.reason
    elif progress.pause is not None:
        fields |= {"nothing_for": shown_age(progress.pause.seconds), "waits_for": progress.pause.reason}
    return fields


def progress_line(progress: Progress) -> str:
    """All of it in one line."""
    text = _phase_text(progress)
    if progress.phase is Phase.NO_PEERS:
        return text
    if progress.stall is not None:
        text += f"; stalled for {shown_age(progress.stall.seconds)}: {progress.stall.reason}"
    elif progress.pause is not None:
        text += f"; nothing for {shown_age(progress.pause.seconds)}: {progress.pause.reason}"
    return f"{text}; {_peers(progress.figures.peers)}"


def _phase_text(progress: Progress) -> str:
    figures = progress.figures
    match progress.phase:
        case Phase.HEADERS:
            return (
                f"headers {figures.best_header.number:,} of about {progress.about:,} ({_percent(progress)} %), "
                f"{progress.headers_per_s:,.0f}/s, {_left(progress)} for headers"
            )
        case Phase.BLOCKS:
            return (
                f"blocks {figures.tip.number:,} of {progress.about:,} ({_percent(progress)} %), "
                f"{progress.blocks_per_s:,.1f}/s, {_left(progress)}, {figures.in_flight} asked for"
            )
        case Phase.TIP:
            return f"at the tip, block {figures.tip.number:,}, {shown_age(progress.tip_age_s)} old"
        case Phase.NO_PEERS:
            since = "" if progress.stall is None else f" for {shown_age(progress.stall.seconds)}"
            return f"no peers{since}, block {figures.tip.number:,}; {figures.connecting or 'nobody is known'}"


def _percent(progress: Progress) -> str:
    """Rounded down: 100 is said of the tip only."""
    return "?" if progress.fraction is None else f"{int(progress.fraction * 1000) / 10:.1f}"


def _left(progress: Progress) -> str:
    known = progress.seconds_left
    return "time left unknown" if known is None else f"{shown_duration(known)} left"


def _peers(count: int) -> str:
    return "1 peer" if count == 1 else f"{count} peers"
