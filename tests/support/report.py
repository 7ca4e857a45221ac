"""Where figures go: a table for people, a flat JSON object for programs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

BENCH_DIR = Path("build/bench")


class Report:
    """Figures of one benchmark in the order in which they were measured; the unit is part of the name."""

    def __init__(self, name: str) -> None:
        self._path = BENCH_DIR / f"{name}.json"
        self._figures: dict[str, float] = {}

    def add(self, name: str, value: float, how: str) -> None:
        """Note a figure and print its row. `how` says in a few words what was measured."""
        self._figures[name] = round(value, 4 if value < 10 else 1)
        print(f"{name:26} {self._figures[name]:>12,}  {how}", flush=True)

    def write(self) -> None:
        """Write the JSON file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._figures, indent=2) + "\n", encoding="utf-8")
        print(f"written to {self._path}")

    def write_beside_others(self) -> None:
        """The same, and figures of other names that are in the file stay: several programs measure for it."""
        with contextlib.suppress(FileNotFoundError):
            self._figures = json.loads(self._path.read_text(encoding="utf-8")) | self._figures
        self.write()
