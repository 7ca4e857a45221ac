"""The outbound service: which addresses are dialled, and when. No I/O; time comes by the scheduler.

Each tick: whitelisted peers that are missing; a few addresses that nobody has verified for days, for a look (feelers);
and for each outbound session that is missing one that answered lately. Every fourth tick in need, or at once when there
is nothing else, bootnodes have their turn. Who was of no use a moment ago (network.rests) has none, unless there is
nobody at all; then one of them has, after growing pauses. When no session is missing, somebody new is met now and then
(network.lookout).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

import structlog

from network.lookout import Lookout
from network.multiaddr import Multiaddr
from network.peer import Scheduler, SessionKind, Timer
from network.peers.bans import BanList
from network.peers.registry import Registry
from network.peers.store import PeerStore
from network.rests import Rests

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
MAX_BACKOFF: Final = 60.0
"""Seconds until a bootnode that does not answer is dialled again. One of the whitelist is dialled in each tick."""
MAX_PAUSE: Final = 120.0
"""Seconds between two dials of peers that were of no use, when there are no others."""
COMPANY: Final = 60_000
"""Milliseconds after which an outbound session counts as company."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """`interval` in seconds; 0: only the start dials. `max_outbound`: the registry's. Addresses have their `/p2p/`."""

    interval: float = 15.0
    max_outbound: int = 8
    bootnodes: Sequence[Multiaddr] = ()
    whitelist: Sequence[Multiaddr] = ()
    with_feelers: bool = True
    with_lookout: bool = True
    """Sessions that only relay blocks may be dialled."""


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

    def remove_node(self, peer_id: str, reason: str = ...) -> bool:
        """Disconnect a peer; whether it was there."""


@dataclass(slots=True)
class _Patience:
    """A configured address that did not answer, or nobody who is of use."""

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
        rests: Rests,
        scheduler: Scheduler,
        rng: Random,
        settings: OutboundSettings,
    ) -> None:
        self._dialler, self._registry, self._store, self._bans = dialler, registry, store, bans
        self._rests, self._scheduler, self._rng = rests, scheduler, rng
        self._settings: Final = settings
        self._patience: Final = {address: _Patience() for address in (*settings.bootnodes, *settings.whitelist)}
        self._rounds_in_need = self._ticks = 0
        self._last_company = scheduler.now()
        self._alone: Final = _Patience()
        self._lookout: Final = Lookout(dialler, registry, scheduler, rng)
        self._timer: Timer | None = None

    def start(self, anchors: Sequence[Multiaddr] = ()) -> None:
        """The first dials: half of the sessions that are wanted, then ticks. `anchors`: peers of the last run whose
        sessions only relayed blocks."""
        self._dial_whitelist()
        count = max(self._settings.max_outbound // 2, 1)
        addresses = [*self._to_attempt(count, self._may_dial), *anchors]
        addresses += self._some_bootnodes(count - len(addresses), self._may_dial)
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
            if self._settings.with_lookout and self._settings.max_outbound > 0:
                self._lookout.turn(self._somebody_new, self._some_bootnode)
            return
        self._rounds_in_need += 1
        if self._rounds_in_need % BOOTNODE_ROUND == 0:
            addresses = self._some_bootnodes(missing, self._is_welcome)
            addresses += self._to_attempt(missing - len(addresses), self._is_welcome)
        else:
            addresses = self._to_attempt(missing, self._is_welcome) or self._some_bootnodes(missing, self._is_welcome)
        for address in addresses or self._of_no_use():
            self._dial(address)

    def _of_no_use(self) -> list[Multiaddr]:
        """One of those that were of no use when they were dialled last, if there is nobody else and its time has come:
        perhaps it is now."""
        now = self._scheduler.now()
        outbound = [entry for entry in self._registry if not entry.is_inbound]
        if any(now * 1000 - entry.connected_ms >= COMPANY for entry in outbound):
            self._alone.failures = 0
        if outbound or self._dialler.dialling(SessionKind.FULL) or now < self._alone.next_at:
            return []
        found = [*self._to_attempt(1, self._may_dial), *self._some_bootnodes(1, self._may_dial)]
        if found:
            self._alone.failures += 1
            self._alone.next_at = now + min(self._pause(self._alone.failures), MAX_PAUSE)
        return self._rng.sample(found, min(1, len(found)))

    def _may_dial(self, address: Multiaddr) -> bool:
        patience = self._patience.get(address)
        is_ready = patience is None or patience.next_at <= self._scheduler.now()
        return is_ready and self._dialler.may_dial(address)

    def _is_welcome(self, address: Multiaddr) -> bool:
        """It may be dialled, and was not of no use a moment ago."""
        return self._may_dial(address) and not self._rests.is_resting(address.peer_id, self._scheduler.now())

    def _missing(self) -> int:
        """Outbound sessions that are wanted and neither there nor on their way."""
        return self._registry.missing_outbound - self._dialler.dialling(SessionKind.FULL)

    def _to_attempt(self, count: int, can_dial: Callable[[Multiaddr], bool]) -> list[Multiaddr]:
        if count <= 0:
            return []
        now_ms = self._scheduler.wall_ms()
        groups = self._registry.outbound_groups
        found = self._store.to_attempt(count, now_ms, avoided_groups=groups, can_dial=can_dial)
        for address in found:
            self._store.mark_tried(address, now_ms)
        return found

    def _somebody_new(self) -> Multiaddr | None:
        return next(iter(self._to_attempt(1, self._is_welcome)), None)

    def _some_bootnode(self) -> Multiaddr | None:
        return next(iter(self._some_bootnodes(1, self._is_welcome)), None)

    def _some_bootnodes(self, count: int, can_dial: Callable[[Multiaddr], bool]) -> list[Multiaddr]:
        ready = [address for address in self._settings.bootnodes if can_dial(address)]
        return self._rng.sample(ready, min(count, len(ready))) if count > 0 else []

    def _dial(self, address: Multiaddr) -> None:
        patience = self._patience.get(address)
        if patience is None:
            self._dialler.dial(address)
        elif patience.next_at <= self._scheduler.now():
            self._dialler.dial(address, SessionKind.FULL, lambda fault: self._learn(address, patience, fault))

    def _learn(self, address: Multiaddr, patience: _Patience, fault: str | None) -> None:
        """A configured address has answered, or not. Answers of a peer whose last sessions were of no use count as
        failures."""
        now = self._scheduler.now()
        if fault is None:
            patience.failures = self._rests.times(address.peer_id, now)
            patience.next_at = now + min(self._pause(patience.failures), MAX_PAUSE)
            return
        patience.failures += 1
        is_whitelisted = address in self._settings.whitelist
        wait = min(self._pause(patience.failures), self._pause(1) if is_whitelisted else MAX_BACKOFF)
        patience.next_at = now + wait
        if patience.failures.bit_count() == 1:  # more and more seldom
            log.info("a configured peer does not answer", address=str(address), reason=fault, again_after_s=round(wait))

    def _pause(self, failures: int) -> float:
        """Seconds until the next dial: ticks that double with each failure; half a tick is left out, so that a slow
        failure does not cost a whole one."""
        ticks = 2 ** min(failures, MAX_DOUBLINGS) / 2 - 0.5 if failures else 0.0
        return ticks * self._settings.interval

    def _refresh(self) -> None:
        """An address that has been connected for days must not look as if it had not been seen for days."""
        now_ms = self._scheduler.wall_ms()
        for entry in self._registry:
            if not entry.is_inbound:
                self._store.still_connected(entry.address, now_ms)
