"""Compiled translations on disk, between processes."""

import fcntl
import hashlib
import importlib.metadata
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from vm.isa.profile import Isa
from vm.translator.translate import TRANSLATOR_VERSION
from vm.wasm.interpreter import GENERATOR_VERSION
from vm.wasm.runtime import check_private, keep_checked, read_checked

_SUFFIX: Final = ".translated"
_TEMPORARY: Final = (".tmp", ".elf")
_REFUSED: Final = b""  # content of a file in place of native code: do not translate


def translation_key(elf: bytes, version: int, isa: Isa) -> str:
    """Key of a translation: program, machine version, instruction set, translator and wasmtime."""
    wasmtime_version = importlib.metadata.version("wasmtime")
    by = f"{TRANSLATOR_VERSION}.{GENERATOR_VERSION} wasmtime {wasmtime_version}"
    text = f"translation {version} {isa.value} by {by} of "
    return hashlib.sha256(text.encode() + hashlib.sha256(elf).digest()).hexdigest()[:40]


class TranslationCache:
    """Files of native code in a directory of mode 0700 that belongs to the user. Raises PermissionError if it does not.

    Files that cannot be read or written, as on a full disk, count as missing. When the files exceed `max_bytes` in
    all, those that were not used for the longest time go.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(directory)
        self._directory = directory
        self._max_bytes = max_bytes
        self._remove_leftovers()

    def load(self, key: str) -> bytes | None:
        """Native code; b"" if the program was refused; None if nothing is known."""
        path = self.path(key)
        content = read_checked(path)
        if content is not None:
            with suppress(OSError):
                os.utime(path)
        return content

    def store(self, key: str, native: bytes) -> None:
        """Keep native code; the oldest files make room."""
        keep_checked(self.path(key), native)
        self.evict()

    def refuse(self, key: str) -> None:
        """Remember not to try again."""
        self.store(key, _REFUSED)

    def remove(self, key: str) -> None:
        """Forget what is kept under a key."""
        with suppress(OSError):
            self.path(key).unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self._directory / (key + _SUFFIX)

    def evict(self) -> None:
        """Keep within the bound."""
        files = []
        for path in self._directory.glob("*" + _SUFFIX):
            try:
                status = path.stat()
            except OSError:  # removed by another process
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size

    def _remove_leftovers(self) -> None:
        """Files that processes wrote which were killed. Their names hold the process's id."""
        for suffix in _TEMPORARY:
            for path in self._directory.glob(f"*.*{suffix}"):
                owner = path.name.removesuffix(suffix).rpartition(".")[2]
                if owner.isdecimal() and not _is_alive(int(owner)):
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
        for path in self._directory.glob("*.lock"):
            with suppress(OSError), path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
