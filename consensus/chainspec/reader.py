"""Typed reading of a parsed TOML table: each value is read once, by name; keys that were not read are refused."""

from __future__ import annotations

from typing import Any

from consensus.errors import SpecError

HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


class SpecFieldError(SpecError):
    """A key of a chain spec is missing, unknown, of the wrong type or out of range; `path` is its dotted name."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"chain spec: {path}: {reason}")
        self.path = path
        self.reason = reason


class SpecTable:
    """One TOML table. `finish()` after the last read raises on keys that were not read."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self._values, self._path, self._taken = values, path, set[str]()

    def path_of(self, key: str) -> str:
        """Dotted name of a key, from the root of the file."""
        return f"{self._path}.{key}" if self._path else key

    def has(self, key: str) -> bool:
        """The key is present."""
        return key in self._values

    def _take(self, key: str, wanted: type | tuple[type, ...], name: str) -> Any:
        self._taken.add(key)
        if key not in self._values:
            raise SpecFieldError(self.path_of(key), "is missing")
        value = self._values[key]
        # bool is an int to Python, not to TOML
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise SpecFieldError(self.path_of(key), f"expected {name}, got {type(value).__name__}")
        return value

    def integer(self, key: str, bits: int = 64) -> int:
        """A non-negative integer of at most `bits` bits."""
        value: int = self._take(key, int, "an integer")
        if not 0 <= value < 1 << bits:
            raise SpecFieldError(self.path_of(key), f"{value} is not an unsigned {bits}-bit integer")
        return value

    def positive(self, key: str, bits: int = 64) -> int:
        """An integer above zero."""
        value = self.integer(key, bits)
        if value == 0:
            raise SpecFieldError(self.path_of(key), "must not be zero")
        return value

    def pair(self, key: str, bits: int) -> tuple[int, int]:
        """An array of two unsigned integers."""
        value: list[Any] = self._take(key, list, "an array of two integers")
        if len(value) != 2 or any(type(part) is not int or not 0 <= part < 1 << bits for part in value):
            raise SpecFieldError(self.path_of(key), f"expected two unsigned {bits}-bit integers")
        return value[0], value[1]

    def flag(self, key: str) -> bool:
        """A boolean."""
        return bool(self._take(key, bool, "a boolean"))

    def text(self, key: str) -> str:
        """A string."""
        return str(self._take(key, str, "a string"))

    def data(self, key: str, size: int | None = None) -> bytes:
        """Bytes written as 0x and hex digits; of exactly `size` bytes when it is given."""
        text = self.text(key)
        digits = text[2:]
        if not text.startswith("0x") or not HEX_DIGITS.issuperset(digits) or len(digits) % 2:
            raise SpecFieldError(self.path_of(key), "expected a string of 0x and two hex digits for each byte")
        value = bytes.fromhex(digits)
        if size is not None and len(value) != size:
            raise SpecFieldError(self.path_of(key), f"expected {size} bytes, got {len(value)}")
        return value

    def hex_integer(self, key: str, bits: int) -> int:
        """An unsigned integer written as 0x and hex digits; `bits` is a multiple of 4."""
        text = self.text(key)
        digits = text[2:]
        if not text.startswith("0x") or not digits or not HEX_DIGITS.issuperset(digits):
            raise SpecFieldError(self.path_of(key), "expected a string of 0x and hex digits")
        if len(digits.lstrip("0")) * 4 > bits:
            raise SpecFieldError(self.path_of(key), f"does not fit {bits} bits")
        return int(digits, 16)

    def table(self, key: str) -> SpecTable:
        """A table inside this one."""
        return SpecTable(self._take(key, dict, "a table"), self.path_of(key))

    def tables(self, key: str) -> list[SpecTable]:
        """An array of tables."""
        values: list[Any] = self._take(key, list, "an array of tables")
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise SpecFieldError(f"{self.path_of(key)}[{index}]", f"expected a table, got {type(value).__name__}")
        return [SpecTable(value, f"{self.path_of(key)}[{index}]") for index, value in enumerate(values)]

    def finish(self) -> None:
        """Refuse keys that were not read."""
        unknown = sorted(self._values.keys() - self._taken)
        if unknown:
            raise SpecFieldError(self.path_of(unknown[0]), "unknown key")
