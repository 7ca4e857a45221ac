"""Compiled translations on disk, between processes."""

import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import Final

from vm.isa.profile import Isa
from vm.translator.translate import TRANSLATOR_VERSION
from vm.wasm.interpreter import GENERATOR_VERSION
from vm.wasm.runtime import check_private, read_checked, write_checked

_SUFFIX: Final = ".translated"
_REFUSED: Final = b""  # in place of native code: not to be translated


def translation_key(elf: bytes, version: int, isa: Isa) -> str:
    """Names what a translation was made from, and by what."""
    wasmtime_version = importlib.metadata.version("wasmtime")
    by = f"{TRANSLATOR_VERSION}.{GENERATOR_VERSION} wasmtime {wasmtime_version}"
    text = f"translation {version} {isa.value} by {by} of "
    return hashlib.sha256(text.encode() + hashlib.sha256(elf).digest()).hexdigest()[:40]


class TranslationCache:
    """Files of native code in a directory of mode 0700 that belongs to the user. Raises PermissionError if it does not.

    When they exceed `max_bytes` in all, those that were not used for the longest time go.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(directory)
        self._directory = directory
        self._max_bytes = max_bytes

    def load(self, key: str) -> bytes | None:
        """Native code; b"" if the program was refused; None if nothing is known."""
        path = self.path(key)
        content = read_checked(path)
        if content is not None:
            os.utime(path)
        return content

    def store(self, key: str, native: bytes) -> None:
        write_checked(self.path(key), native)
        self.evict()

    def refuse(self, key: str) -> None:
        """Remember not to try again."""
        self.store(key, _REFUSED)

    def remove(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        return self._directory / (key + _SUFFIX)

    def evict(self) -> None:
        """Keep within the bound."""
        files = []
        for path in self._directory.glob("*" + _SUFFIX):
            try:
                status = path.stat()
            except FileNotFoundError:  # by another process
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size
