"""The peer store on disk, in the reference's JSON forms, so that either node goes on with the other's files.

Two fields are ours and ignored by the reference: `source` of an address, `manual` of a ban.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from consensus.codec.layout import U64_MAX
from network.limits import Flags
from network.multiaddr import Multiaddr, MultiaddrError
from network.peers.anchors import Anchors
from network.peers.bans import Ban, BanList
from network.peers.known import KnownAddress
from network.peers.store import PeerStore

__all__ = ["ADDRESSES_FILE", "ANCHORS_FILE", "BANS_FILE", "Problem", "Snapshot", "StoreFiles"]

ADDRESSES_FILE: Final = "addr_manager.db"
BANS_FILE: Final = "ban_list.db"
ANCHORS_FILE: Final = "anchors.db"
MAX_FILE: Final = 32 * 1024 * 1024
"""Bytes; a full store has less than a third of it."""
MAX_ENTRIES: Final = 20_000
"""Of a file, as many as a node ever writes: what does not fit into a full store takes a millisecond each."""
DEFAULT_SCORE: Final = 100
"""Of each address: the reference keeps scores, but nothing changes them."""
MAX_SOURCE: Final = 32
MAX_BAN_TEXT: Final = 200
"""Characters of a ban's reason in the file."""

U32_MAX: Final = (1 << 32) - 1
Count = Annotated[int, msgspec.Meta(ge=0)]
T = TypeVar("T")


class AddressJson(msgspec.Struct):
    """One entry of `addr_manager.db`."""

    addr: str
    last_connected_at_ms: Count
    last_tried_at_ms: Count
    attempts_count: Count
    random_id_pos: Count = 0
    score: int = DEFAULT_SCORE
    flags: Count = int(Flags.COMPATIBILITY)
    source: str = ""


class BanJson(msgspec.Struct):
    """One entry of `ban_list.db`."""

    address: str
    ban_until: Count
    ban_reason: str
    created_at: Count
    manual: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be used. `kept_as`: where it is now; None when it could not even be renamed."""

    path: Path
    reason: str
    kept_as: Path | None = None
    skipped: int = 0
    """Entries that were passed over, of a file that was used otherwise."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is to be written. Addresses may go on to change, each in itself."""

    addresses: Sequence[KnownAddress]
    bans: Sequence[Ban]
    anchors: Sequence[Multiaddr]

    @classmethod
    def of(cls, store: PeerStore, bans: BanList, anchors: Anchors, now_ms: int) -> Snapshot:
        """On the thread that owns them; fast."""
        return cls(list(store), bans.current(now_ms), list(anchors))


class StoreFiles:
    """The three files in one directory. No fault of theirs stops the node: it starts with what can be read."""

    def __init__(
        self, directory: Path, *, write_whole: Callable[[Path, bytes], None], set_aside: Callable[[Path], Path]
    ) -> None:
        """`write_whole` replaces a file at once and durably, `set_aside` renames a damaged one and gives its new path;
        both raise OSError (`storage.files` has them)."""
        self._directory, self._write_whole, self._set_aside = directory, write_whole, set_aside

    def load(self, store: PeerStore, bans: BanList, anchors: Anchors, now_ms: int) -> list[Problem]:
        """Fill the three from the files: bans first, since the store takes no banned address. Blocks."""
        problems = list[Problem]()
        self._load(BANS_FILE, BanJson, lambda entry: _restore_ban(entry, bans, now_ms), problems)
        self._load(ADDRESSES_FILE, AddressJson, lambda entry: _restore_address(entry, store, now_ms), problems)
        self._load(ANCHORS_FILE, str, lambda text: _restore_anchor(text, anchors), problems)
        return problems

    def save(self, snapshot: Snapshot) -> None:
        """Replace each file whole. Blocks until they are on the disk, so call it in a thread. Raises OSError."""
        self._save(ADDRESSES_FILE, [_address_json(known, place) for place, known in enumerate(snapshot.addresses)])
        self._save(BANS_FILE, [_ban_json(ban) for ban in snapshot.bans])
        self._save(ANCHORS_FILE, [str(address) for address in snapshot.anchors])

    def _save(self, name: str, entries: Sequence[object]) -> None:
        self._write_whole(self._directory / name, msgspec.json.encode(entries))

    def _load(self, name: str, kind: type[T], take: Callable[[T], None], problems: list[Problem]) -> None:
        path = self._directory / name
        try:
            entries = _read(path, kind)
        except _DamagedError as error:
            problems.append(self._keep(path, str(error)))
            return
        except OSError as error:
            problems.append(Problem(path, error.strerror or str(error)))
            return
        skipped = max(0, len(entries) - MAX_ENTRIES)
        for entry in entries[:MAX_ENTRIES]:
            try:
                take(entry)
            except ValueError:
                skipped += 1
        if skipped:
            problems.append(Problem(path, f"{skipped} entries are no addresses, or too many", skipped=skipped))

    def _keep(self, path: Path, reason: str) -> Problem:
        try:
            return Problem(path, reason, self._set_aside(path))
        except OSError as error:
            return Problem(path, f"{reason}; it cannot be renamed: {error.strerror}")


class _DamagedError(Exception):
    """The file is not one of ours."""


def _read(path: Path, kind: type[T]) -> list[T]:
    """Nothing when there is no file. Raises _DamagedError, OSError."""
    if not path.exists() and not path.is_symlink():
        return []
    if not path.is_file():
        raise _DamagedError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise _DamagedError(f"it has more than {MAX_FILE} bytes")
    try:
        return msgspec.json.decode(data, type=list[kind])  # type: ignore[valid-type]  # a type that is known at run time
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _DamagedError(str(error)) from error


def _restore_ban(entry: BanJson, bans: BanList, now_ms: int) -> None:
    if entry.ban_until > now_ms:
        network, until, created = ip_network(entry.address, strict=False), entry.ban_until, entry.created_at
        bans.add(Ban(network, min(until, U64_MAX), entry.ban_reason, min(created, now_ms), entry.manual), now_ms)


def _restore_address(entry: AddressJson, store: PeerStore, now_ms: int) -> None:
    address = Multiaddr.parse(entry.addr).stored
    if not address.is_dialable or len(entry.source) > MAX_SOURCE:
        raise MultiaddrError("an address that cannot be dialled")
    known = KnownAddress(
        address,
        min(entry.flags, U64_MAX),
        entry.source,
        entry.last_connected_at_ms,
        entry.last_tried_at_ms,
        min(entry.attempts_count, U32_MAX),
    )
    store.restore(known, now_ms)


def _restore_anchor(text: str, anchors: Anchors) -> None:
    address = Multiaddr.parse(text)
    if not address.is_dialable:
        raise MultiaddrError("an address that cannot be dialled")
    anchors.add(address)


def _address_json(known: KnownAddress, place: int) -> AddressJson:
    return AddressJson(
        addr=str(known.address),
        last_connected_at_ms=known.last_connected_ms,
        last_tried_at_ms=known.last_tried_ms,
        attempts_count=min(known.attempts, U32_MAX),
        random_id_pos=place,
        flags=known.flags,
        source=known.source,
    )


def _ban_json(ban: Ban) -> BanJson:
    return BanJson(str(ban.network), ban.until, ban.reason[:MAX_BAN_TEXT], ban.created, ban.is_manual)
