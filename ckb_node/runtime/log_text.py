"""What others wrote, as it may stand in a log or on a terminal: one line, printable, of bounded length."""

from __future__ import annotations

from typing import Any, Final

from structlog.typing import EventDict

MAX_CHARS: Final = 1000
"""Of one value in a log line; of longer ones the beginning is shown and how long they are."""

MAX_VALUES: Final = 40
"""Values in a log line."""

MAX_TRACEBACK_CHARS: Final = 20_000
MAX_TRACEBACK_LINE: Final = 2000
_SAFE_BITS = 256
_OWN: Final = frozenset({"_record", "_from_structlog", "exc_info", "stack_info", "exception"})
"""Keys that are structlog's; a traceback is bounded where it becomes text."""


def shown(text: str, limit: int = MAX_CHARS) -> str:
    """The text with escapes for all that is no visible character or space: control characters, ANSI sequences, line
    and paragraph separators, marks that turn the direction of writing. What is beyond the limit is left out."""
    if len(text) > limit:
        return f"{_escaped(text[:limit])}... ({len(text)} characters)"
    return text if text.isprintable() else _escaped(text)


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown_value(value: object) -> object:
    """A value of a log line; numbers, booleans and None stay what they are."""
    if isinstance(value, str):
        return shown(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        # Python refuses to write long numbers in decimal, by an exception.
        return value if value.bit_length() <= _SAFE_BITS else f"a number of {value.bit_length()} bits"
    if isinstance(value, bytes | bytearray | memoryview):
        head = bytes(value[: MAX_CHARS // 2]).hex()
        return f"0x{head}" if len(value) <= MAX_CHARS // 2 else f"0x{head}... ({len(value)} bytes)"
    try:
        return shown(repr(value))
    except Exception as error:  # noqa: BLE001 - whatever a value's own code does, the line is written
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"


def bounded(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A processor of structlog: the last before the line is rendered. No value is as its author wrote it."""
    keys = list(event)
    for key in keys[:MAX_VALUES]:
        if key not in _OWN:
            value = event.pop(key) if not key.isprintable() or len(key) > MAX_VALUES else event[key]
            event[shown(key, MAX_VALUES)] = shown_value(value)
    for key in keys[MAX_VALUES:]:
        if key not in _OWN:
            del event[key]
    return event


def shown_traceback(text: str) -> str:
    """A traceback: indented, so that no line of a message in it looks like a line of the log; its middle left out when
    it is long."""
    if len(text) > MAX_TRACEBACK_CHARS:
        half = MAX_TRACEBACK_CHARS // 2
        text = f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"
    return "\n".join(f"    {shown(line, MAX_TRACEBACK_LINE)}" for line in text.split("\n"))
