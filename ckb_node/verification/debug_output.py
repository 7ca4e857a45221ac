"""What the scripts of one transaction print, bounded."""

from __future__ import annotations

MAX_PRINTS = 200
MAX_PRINTED = 64 << 10
"""Characters of all scripts of one transaction; more is left out."""

Print = tuple[bytes, str]
"""Hash of the script that printed, and the text."""


class Prints:
    """Satisfies consensus.script.context.DebugPrinter: keeps the beginning."""

    def __init__(self) -> None:
        self.kept: list[Print] = []
        self.left_out = 0
        self._size = 0

    def __call__(self, script_hash: bytes, text: str) -> None:
        if len(self.kept) >= MAX_PRINTS or self._size + len(text) > MAX_PRINTED:
            self.left_out += 1
            return
        self._size += len(text)
        self.kept.append((script_hash, text))
