"""The outbound service: which addresses are dialled, and when. No I/O; time comes by the scheduler.

Each tick: whitelisted peers that are missing; a few addresses that nobody has verified for days, for a look (feelers);
and for each outbound session that is missing one that answered lately. Every fourth tick in need, or at once when there
is nothing else, bootnodes have their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

import structlog

from network.multiaddr import Multiaddr
from network.peer import Scheduler, SessionKind, Timer
from network.peers.bans import BanList
from network.peers.registry import Registry
from network.peers.store import PeerStore

__all__ = ["Dialler", "OutboundService", "OutboundSettings"]

log = structlog.get_logger("network")

FEELERS: Final = 10
"""Addresses that are looked at in one tick."""
LONELY: Final = 600.0
"""Seconds without any peer after which bans that peers brought on themselves are lifted: perhaps the fault is ours."""
BOOTNODE_ROUND: Final = 4
"""Of so many ticks in need, one is the bootnodes'."""
REFRESH_TICKS: Final = 11
"""Ticks between two notes that outbound sessions live."""
MAX_DOUBLINGS: Final = 16
MAX_BACKOFF: Final = 600.0
"""Seconds until a configured address that does not answer is dialled again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """`interval` in seconds; 0: only the start dials. `max_outbound`: the registry's. Addresses have their `/p2p/`."""

    interval: float = 15.0
    max_outbound: int = 8
    bootnodes: Sequence[Multiaddr] = ()
    whitelist: Sequence[Multiaddr] = ()
    with_feelers: bool = True


class Dialler(Protocol):
    """The switch, as far as it dials."""

    def dial(
        self,
        address: Multiaddr,
        kind: SessionKind = SessionKind.FULL,
        on_end: Callable[[str | None], None] | None = None,
    ) -> object | None:
        """None: it has begun; `on_end` is told why it failed, or None."""

    def may_dial(self, address: Multiaddr) -> bool:
        """Whether it is not our own, not connected, not being dialled, not banned."""

    def dialling(self, kind: SessionKind) -> int:
        """Dials for sessions of a kind that go on."""


@dataclass(slots=True)
class _Patience:
    """A configured address that did not answer."""

    failures: int = 0
    next_at: float = 0.0


class OutboundService:
    """Keeps the outbound sessions complete."""

    def __init__(
        self,
        dialler: Dialler,
        registry: Registry,
        store: PeerStore,
        bans: BanList,
        scheduler: Scheduler,
        rng: Random,
        settings: OutboundSettings,
    ) -> None:
        self._dialler, self._registry, self._store, self._bans = dialler, registry, store, bans
        self._scheduler, self._rng = scheduler, rng
        self._settings: Final = settings
        self._patience: Final = {address: _Patience() for address in (*settings.bootnodes, *settings.whitelist)}
        self._rounds_in_need = self._ticks = 0
        self._last_company = scheduler.now()
        self._timer: Timer | None = None

    def start(self, anchors: Sequence[Multiaddr] = ()) -> None:
        """The first dials: half of the sessions that are wanted, then ticks. `anchors`: peers of the last run whose
        sessions only relayed blocks."""
        self._dial_whitelist()
        count = max(self._settings.max_outbound // 2, 1)
        addresses = [*self._to_attempt(count), *anchors]
        addresses += self._some_bootnodes(count - len(addresses))
        for address in addresses:
            self._dial(address)
        if self._settings.interval > 0:
            self._timer = self._scheduler.call_later(self._settings.interval, self._tick)

    def stop(self) -> None:
        """No more ticks."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._scheduler.call_later(self._settings.interval, self._tick)
        self._doubt_bans()
        self._dial_whitelist()
        if self._settings.with_feelers:
            self._dial_feelers()
        self._dial_missing()
        self._ticks += 1
        if self._ticks % REFRESH_TICKS == 0:
            self._refresh()

    def _doubt_bans(self) -> None:
        """A node that finds fault with everybody, as after damage to its own data, must not stay alone with it."""
        now = self._scheduler.now()
        if len(self._registry) > 0:
            self._last_company = now
        elif now - self._last_company >= LONELY:
            self._last_company = now
            lifted = self._bans.lift_automatic()
            if lifted:
                log.warning("no peer for a long time; bans are lifted", bans=lifted)

    def _dial_whitelist(self) -> None:
        for address in self._settings.whitelist:
            self._dial(address)

    def _dial_feelers(self) -> None:
        count = FEELERS - self._dialler.dialling(SessionKind.FEELER)
        now_ms = self._scheduler.wall_ms()
        for address in self._store.to_feel(count, now_ms, can_dial=self._dialler.may_dial):
            self._store.mark_tried(address, now_ms)
            self._dialler.dial(address, SessionKind.FEELER)

    def _dial_missing(self) -> None:
        missing = self._missing()
        if missing <= 0:
            self._rounds_in_need = 0
            return
        self._rounds_in_need += 1
        if self._rounds_in_need % BOOTNODE_ROUND == 0:
            addresses = self._some_bootnodes(missing)
            addresses += self._to_attempt(missing - len(addresses))
        else:
            addresses = self._to_attempt(missing) or self._some_bootnodes(missing)
        for address in addresses:
            self._dial(address)

    def _missing(self) -> int:
        """Outbound sessions that are wanted and neither there nor on their way."""
        return self._registry.missing_outbound - self._dialler.dialling(SessionKind.FULL)

    def _to_attempt(self, count: int) -> list[Multiaddr]:
        if count <= 0:
            return []
        now_ms = self._scheduler.wall_ms()
        groups = self._registry.outbound_groups
        found = self._store.to_attempt(count, now_ms, avoided_groups=groups, can_dial=self._dialler.may_dial)
        for address in found:
            self._store.mark_tried(address, now_ms)
        return found

    def _some_bootnodes(self, count: int) -> list[Multiaddr]:
        ready = [address for address in self._settings.bootnodes if self._is_ready(address)]
        return self._rng.sample(ready, min(count, len(ready))) if count > 0 else []

    def _is_ready(self, address: Multiaddr) -> bool:
        patience = self._patience[address]
        return patience.next_at <= self._scheduler.now() and self._dialler.may_dial(address)

    def _dial(self, address: Multiaddr) -> None:
        patience = self._patience.get(address)
        if patience is None:
            self._dialler.dial(address)
        elif patience.next_at <= self._scheduler.now():
            self._dialler.dial(address, SessionKind.FULL, lambda fault: self._learn(address, patience, fault))

    def _learn(self, address: Multiaddr, patience: _Patience, fault: str | None) -> None:
        """A configured address has answered, or not. After each failure the ticks until the next dial double; half a
        tick is left out, so that a slow failure does not cost a whole one."""
        patience.failures = 0 if fault is None else patience.failures + 1
        ticks = 2 ** min(patience.failures, MAX_DOUBLINGS) / 2 - 0.5 if patience.failures else 0.0
        wait = min(ticks * self._settings.interval, MAX_BACKOFF)
        patience.next_at = self._scheduler.now() + wait
        if fault is not None:
            log.info("a configured peer does not answer", address=str(address), reason=fault, again_after=round(wait))

    def _refresh(self) -> None:
        """An address that has been connected for days must not look as if it had not been seen for days."""
        now_ms = self._scheduler.wall_ms()
        for entry in self._registry:
            if not entry.is_inbound:
                self._store.still_connected(entry.address, now_ms)
