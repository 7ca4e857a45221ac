"""What may happen to a file, and to which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

PAGE: Final = 4096


@dataclass(frozen=True)
class Target:
    """A kind of file, and where one of it is, below the node's directory."""

    name: str
    path: Path


def targets_of(root: Path) -> list[Target]:
    """One file of each kind in a node's directory."""
    data = root / "data"
    found: list[Target] = []
    for name, directory in (
        ("chain database", data / "chain" / "db"),
        ("indexer database", data / "indexer"),
        ("filter database", data / "filters"),
    ):
        for kind, pattern in (("table", "*.ldb"), ("log", "*.log"), ("MANIFEST", "MANIFEST-*"), ("CURRENT", "CURRENT")):
            files = sorted(directory.glob(pattern), key=lambda file: file.stat().st_size)
            if files:
                found.append(Target(f"{kind} of the {name}", files[-1].relative_to(root)))
    segment = max((data / "chain" / "blocks").iterdir())
    found.append(Target("archive segment", segment.relative_to(root)))
    return found


def flip(path: Path, random: Random, _: Path) -> None:
    """One bit, somewhere."""
    raw = bytearray(path.read_bytes()) or bytearray(1)
    raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    path.write_bytes(raw)


def flip_late(path: Path, random: Random, _: Path) -> None:
    """One bit of the last tenth, where the newest is."""
    raw = bytearray(path.read_bytes()) or bytearray(1)
    raw[len(raw) - 1 - random.randrange(max(len(raw) // 10, 1))] ^= 1 << random.randrange(8)
    path.write_bytes(raw)


def zeros(path: Path, random: Random, _: Path) -> None:
    """A page of zeros."""
    raw = bytearray(path.read_bytes()) or bytearray(1)
    at = random.randrange(len(raw)) // PAGE * PAGE
    raw[at : at + PAGE] = bytes(len(raw[at : at + PAGE]))
    path.write_bytes(raw)


def truncate(path: Path, random: Random, _: Path) -> None:
    """The end is gone."""
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size or 1)])


def delete(path: Path, _random: Random, _: Path) -> None:
    """The file is gone."""
    path.unlink()


def older(path: Path, _random: Random, before: Path) -> None:
    """The file as it was some commits ago; one that had another name then is that one's content, or gone."""
    source = before
    if not source.exists():
        alike = sorted(before.parent.glob("*" + before.suffix if before.suffix else "MANIFEST-*"))
        if not alike:
            path.unlink()
            return
        source = alike[-1]
    path.write_bytes(source.read_bytes())


def older_directory(path: Path, _random: Random, before: Path) -> None:
    """All files of its directory as they were some commits ago, as a backup of a part brings it."""
    for file in path.parent.iterdir():
        file.unlink(missing_ok=True)  # the database itself may be quicker
    for file in before.parent.iterdir():
        (path.parent / file.name).write_bytes(file.read_bytes())


Damage = Callable[[Path, Random, Path], None]
DAMAGES: Final[dict[str, Damage]] = {
    "bit flip": flip,
    "late bit flip": flip_late,
    "zeros": zeros,
    "truncation": truncate,
    "deletion": delete,
    "older file": older,
    "older directory": older_directory,
}
