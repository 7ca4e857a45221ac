"""Assume-valid: blocks whose scripts are not run because many others have run them (`run --assume-valid-target`).

Targets are block hashes that the operator, or the release, vouches for. Once a target's header is on a chain of headers
whose work was checked, the scripts of its ancestors are not run; every other rule is checked. The reference skips the
scripts of whatever block comes while a target is ahead; here a block must be an ancestor of a target, so that neither
a branch off its chain nor a block that comes before the headers is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Final, NamedTuple, Protocol

import structlog

from ckb_node.chain.initial_download import MAX_TIP_AGE_MS
from consensus.crypto.hashing import ZERO_HASH
from consensus.types.blockchain import Header

log = structlog.get_logger("chain")


class KnownHeaders(Protocol):
    """The headers that sync has verified, whose blocks need not be there. Called from any thread."""

    def header(self, block_hash: bytes) -> Header | None: ...

    def branch_hashes(self, block_hash: bytes, first: int, last: int) -> list[bytes] | None:
        """Hashes of the ancestors at the heights from `first` to `last`, lowest first; None when they are not known."""
        ...

    def best_header(self) -> Header:
        """Of the known chain with the most work."""
        ...


STRETCH: Final = 512
"""Ancestors of a target that are read at once: blocks come in the order of their heights."""


class _Stretch(NamedTuple):
    """Hashes of ancestors of a target, from height `first` on. They are the same on whatever chain is read."""

    first: int
    hashes: Sequence[bytes]

    def at(self, number: int) -> bytes | None:
        at = number - self.first
        return self.hashes[at] if 0 <= at < len(self.hashes) else None


class AssumeValid:
    """The targets that are still ahead, lowest first. Safe from any thread."""

    def __init__(self, targets: Sequence[bytes] = ()) -> None:
        """Without targets, or with only the zero hash, all scripts run."""
        named = () if list(targets) == [ZERO_HASH] else targets
        self.last = named[-1] if named else ZERO_HASH
        """The last target that was named, whether it is still ahead or not; zero if none was."""
        self._waiting = list(named)
        self._found: list[Header] = []
        self._headers: KnownHeaders | None = None
        self._stretches: dict[bytes, _Stretch] = {}
        """By target."""
        self._lock = Lock()

    @property
    def is_reached(self) -> bool:
        """No target is ahead: all scripts run."""
        return not self._waiting

    @property
    def next_target(self) -> bytes | None:
        """The lowest target that is still ahead."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def forget_stored(self, is_stored: Callable[[bytes], bool]) -> None:
        """At the start: targets whose blocks are stored lie behind."""
        self.note_stored(target for target in self._waiting if is_stored(target))

    def note_stored(self, block_hashes: Iterable[bytes]) -> None:
        """These blocks are on the main chain now."""
        if self.is_reached:
            return
        for block_hash in block_hashes:
            if block_hash in self._waiting:
                self._leave_behind(block_hash)

    def follow(self, headers: KnownHeaders, now_ms: int) -> None:
        """Look for the targets among the headers; call it when there are new ones.

        When the next target is less than a day old, or is missing although the headers reach into the last day, then
        what is ahead is not history: the targets are given up and all scripts run.
        """
        target = self.next_target
        if target is None:
            return
        header = headers.header(target)
        newest = headers.best_header() if header is None else header
        if now_ms - newest.timestamp < MAX_TIP_AGE_MS:
            reason = "is not on the best chain" if header is None else "is less than a day old"
            log.warning("assume-valid targets are given up: all scripts run", target=f"0x{target.hex()}", reason=reason)
            with self._lock:
                self._waiting, self._found = [], []
            return
        with self._lock:
            self._headers = headers
            known = (headers.header(each) for each in self._waiting)
            self._found = [each for each in known if each is not None]

    def trusts(self, header: Header) -> bool:
        """The scripts of this block need not run: it is an ancestor of a target, or a target before the last."""
        if self.is_reached or header.hash == self.last:
            return False
        with self._lock:
            headers, found = self._headers, self._found
        if headers is None:
            return False
        return any(self._ancestor_of(target, header.number, headers) == header.hash for target in reversed(found))

    def _ancestor_of(self, target: Header, number: int, headers: KnownHeaders) -> bytes | None:
        """Hash of the target's ancestor at a height; None when there is none."""
        if number > target.number:
            return None
        stretch = self._stretches.get(target.hash)
        known = None if stretch is None else stretch.at(number)
        if known is None:
            hashes = headers.branch_hashes(target.hash, number, min(number + STRETCH - 1, target.number))
            stretch = self._stretches[target.hash] = _Stretch(number, hashes or ())
            known = stretch.at(number)
        return known

    def _leave_behind(self, target: bytes) -> None:
        with self._lock:
            self._waiting = [each for each in self._waiting if each != target]
            self._found = [each for each in self._found if each.hash != target]
            self._stretches = {}
            ahead = len(self._waiting)
        log.info("an assume-valid target is reached", target=f"0x{target.hex()}", ahead=ahead)
