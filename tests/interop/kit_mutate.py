"""Small random damage to JSON of the interface: one place changed, in the way of its kind."""

from __future__ import annotations

from random import Random

from tests.interop.kit_block import changed
from tests.interop.kit_json import Json

Path = tuple[str | int, ...]
NUMBERS = frozenset(
    ("version", "compact_target", "timestamp", "number", "epoch", "nonce", "since", "index", "capacity")
)
WORDS = {
    "hash_type": ("data", "type", "data1", "data2", "data3"),
    "dep_type": ("code", "dep_group"),
}


def places(value: Json, path: Path = ()) -> list[Path]:
    """Paths of all texts, lists and nulls."""
    found: list[Path] = []
    if isinstance(value, dict):
        for key, member in value.items():
            found += places(member, (*path, key))
    elif isinstance(value, list):
        found.append(path)
        for index, member in enumerate(value):
            found += places(member, (*path, index))
    else:
        found.append(path)
    return found


def at(value: Json, path: Path) -> Json:
    for step in path:
        value = value[step]
    return value


def damaged(random: Random, value: Json) -> tuple[str, Json]:
    """What was done, and the result, which may be the same by chance."""
    path = random.choice(places(value))
    old = at(value, path)
    new = _other(random, path, old)
    return f"{'.'.join(map(str, path))}: {str(old)[:80]} -> {str(new)[:80]}", changed(value, path, new)


def _other(random: Random, path: Path, old: Json) -> Json:
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    if isinstance(old, list):
        return _other_list(random, old)
    if old is None or not isinstance(old, str):
        return old
    if name in WORDS:
        return random.choice(WORDS[name])
    if name in NUMBERS:
        return _other_number(random, int(old, 16), 32 if name in {"version", "compact_target", "index"} else 64)
    return _other_bytes(random, bytes.fromhex(old[2:]), is_fixed=len(old) in {66, 22})


def _other_list(random: Random, old: list[Json]) -> list[Json]:
    kind = random.randrange(4)
    if not old or kind == 0:
        return []
    place = random.randrange(len(old))
    if kind == 1:
        return old[:place] + old[place + 1 :]
    if kind == 2:
        return [*old, old[place]]
    return random.sample(old, len(old))


def _other_number(random: Random, old: int, bits: int) -> str:
    choices = (old + 1, old - 1, 0, 1, (1 << bits) - 1, old ^ 1 << random.randrange(bits), random.getrandbits(bits))
    return hex(random.choice(choices) % (1 << bits))


def _other_bytes(random: Random, old: bytes, *, is_fixed: bool) -> str:
    new = bytearray(old)
    kind = random.randrange(3 if is_fixed else 6)
    if kind == 0 and new:
        new[random.randrange(len(new))] ^= 1 << random.randrange(8)
    elif kind == 1:
        new = bytearray(len(new))
    elif kind == 2:
        new = bytearray(random.randbytes(len(new)))
    elif kind == 3:
        new = new[:-1]
    elif kind == 4:
        new.append(0)
    else:
        new = bytearray()
    return f"0x{new.hex()}"
