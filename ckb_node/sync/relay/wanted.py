"""Transactions that peers announced and nobody has sent yet: who is asked for each, and who is next."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

__all__ = ["ASK_NEXT_AFTER", "MAX_ANNOUNCEMENTS", "WantedTransactions"]

ASK_NEXT_AFTER: Final = 30.0
"""Seconds that a peer has to send what it was asked for."""
ASKED_AT_ONCE: Final = 4096
"""Of all peers together; as many are given up at once. Each costs some microseconds."""
MAX_ANNOUNCEMENTS: Final = 4 * 32_768
"""Of all peers together, one for each hash and peer; the newest of whoever has most are forgotten."""


@dataclass(slots=True)
class _Wanted:
    """`announcers` are sessions, the first is or will be asked."""

    announcers: list[int]
    is_asked: bool = False


class WantedTransactions:
    """By hash. All sums are kept, so that nothing here goes through the whole table."""

    def __init__(self, max_announcements: int = MAX_ANNOUNCEMENTS) -> None:
        self._wanted: Final[dict[bytes, _Wanted]] = {}
        self._announced: Final[dict[int, dict[bytes, None]]] = {}
        """By session, in order."""
        self._to_ask: Final[dict[int, dict[bytes, None]]] = {}
        self._asked_at: Final[OrderedDict[bytes, float]] = OrderedDict()
        self._outstanding: Final[Counter[int]] = Counter()
        self._max_announcements: Final = max_announcements
        self._count = 0
        """Announcements."""

    def __len__(self) -> int:
        """Hashes."""
        return len(self._wanted)

    def count(self, session: int) -> int:
        """Wanted hashes that a peer has announced."""
        return len(self._announced.get(session, ()))

    def outstanding(self, session: int) -> int:
        """What a peer was asked for and has not sent yet."""
        return self._outstanding[session]

    def is_asked_of(self, tx_hash: bytes, session: int) -> bool:
        """This peer is the one that was asked for it."""
        wanted = self._wanted.get(tx_hash)
        return wanted is not None and wanted.is_asked and wanted.announcers[0] == session

    def announce(self, session: int, tx_hashes: Iterable[bytes]) -> None:
        """A peer has these."""
        heaviest: int | None = None
        for tx_hash in tx_hashes:
            announced = self._announced.get(session)
            if announced is None:
                announced = self._announced[session] = {}
            elif tx_hash in announced:
                continue
            announced[tx_hash] = None
            self._count += 1
            wanted = self._wanted.get(tx_hash)
            if wanted is None:
                self._wanted[tx_hash] = _Wanted([session])
                self._to_ask.setdefault(session, {})[tx_hash] = None
            else:
                wanted.announcers.append(session)
            if self._count > self._max_announcements:
                if heaviest != session:  # only this one grows here
                    heaviest = max(self._announced, key=self.count)
                self._withdraw(heaviest, next(reversed(self._announced[heaviest])))

    def ask(self, now: float, room_of: Callable[[int], int]) -> Mapping[int, Sequence[bytes]]:
        """Whom to ask for what, and note that they were asked: of all together no more than ASKED_AT_ONCE, in turn.
        `room_of` a session: how many it may be asked for."""
        self._give_up_late(now)
        asked: dict[int, Sequence[bytes]] = {}
        left = ASKED_AT_ONCE
        for session in list(self._to_ask):
            room = min(left, room_of(session))
            if room > 0:
                asked[session] = self._ask(session, room, now)
                left -= len(asked[session])
        return asked

    def _ask(self, session: int, room: int, now: float) -> Sequence[bytes]:
        line = self._to_ask[session]
        chosen = list(islice(line, room))
        for tx_hash in chosen:
            del line[tx_hash]
            self._wanted[tx_hash].is_asked = True
            self._asked_at[tx_hash] = now
        del self._to_ask[session]
        if line:  # behind the others
            self._to_ask[session] = line
        self._outstanding[session] += len(chosen)
        return chosen

    def _give_up_late(self, now: float) -> None:
        """Whoever did not send in time is not asked for it again."""
        for tx_hash, asked_at in list(islice(self._asked_at.items(), ASKED_AT_ONCE)):
            if now - asked_at < ASK_NEXT_AFTER:
                return
            self._withdraw(self._wanted[tx_hash].announcers[0], tx_hash)

    def take(self, tx_hash: bytes) -> Sequence[int]:
        """It has come; the peers besides the first that have announced it."""
        wanted = self._wanted.get(tx_hash)
        if wanted is None:
            return ()
        others = wanted.announcers[1:]
        for session in reversed(list(wanted.announcers)):
            self._withdraw(session, tx_hash)
        return others

    def forget(self, session: int, most: int) -> bool:
        """A peer has gone: the next ones are asked at once. Forgets so many of its announcements; whether there are
        more."""
        for tx_hash in list(islice(self._announced.get(session, ()), most)):
            self._withdraw(session, tx_hash)
        return session in self._announced

    def _withdraw(self, session: int, tx_hash: bytes) -> None:
        """One announcement less."""
        announced, wanted = self._announced[session], self._wanted[tx_hash]
        del announced[tx_hash]
        if not announced:
            del self._announced[session]
        self._count -= 1
        is_first = wanted.announcers[0] == session
        wanted.announcers.remove(session)
        if is_first:
            self._end_first(session, tx_hash, wanted)

    def _end_first(self, session: int, tx_hash: bytes, wanted: _Wanted) -> None:
        """Who was asked, or was to be asked, is so no longer."""
        if wanted.is_asked:
            wanted.is_asked = False
            del self._asked_at[tx_hash]
            self._outstanding[session] -= 1
            if not self._outstanding[session]:
                del self._outstanding[session]
        else:
            line = self._to_ask[session]
            del line[tx_hash]
            if not line:
                del self._to_ask[session]
        if wanted.announcers:
            self._to_ask.setdefault(wanted.announcers[0], {})[tx_hash] = None
        else:
            del self._wanted[tx_hash]
