"""Known addresses of peers: bounded, and chosen so that no party gets a larger share of our dials than it has networks.

Two classes are kept apart. *Told* addresses are the word of some peer; anyone can invent them in any number and any
network. They compete by who told them: when room is short, the source (a network group of peers) that told the most
loses one. *Tried* addresses were dialled by us and proved their key; an attacker needs hosts for them. They compete by
their network group. Told addresses never take the room of tried ones. See decision 35.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from random import Random
from typing import Final

from network.ip import IpAddress
from network.multiaddr import Multiaddr
from network.peers.bans import BanList
from network.peers.groups import group_of
from network.peers.known import ATTEMPT_MS, MINUTE, REQUIRED_FLAGS, SHARE_MS, KnownAddress, serves
from network.peers.picking import Picker
from network.peers.random_set import Pools

__all__ = ["MAX_ADDRESSES", "PeerStore"]

MAX_ADDRESSES: Final = 16_384
MAX_PER_IP: Final = 8
"""Addresses, of each class, with one global IP address: peers are free to invent ports and peer ids."""
SAMPLE: Final = 8
SWEEP_MS: Final = MINUTE
MAX_SHARED: Final = 2500
"""Addresses from which an answer to a peer is made."""
MAX_SHARED_OF_GROUP: Final = 32
SHARE_ONCE_FROM: Final = 1000
SHARE_ONCE_MS: Final = MINUTE


class PeerStore:
    """At most `limit` addresses, three quarters of them tried. One thread."""

    def __init__(self, rng: Random, bans: BanList, limit: int = MAX_ADDRESSES) -> None:
        self._rng, self._bans, self._limit = rng, bans, limit
        self._max_tried: Final = limit * 3 // 4
        self._known: Final = dict[Multiaddr, KnownAddress]()
        self._tried: Final = Pools[KnownAddress]()
        """By network group."""
        self._told: Final = Pools[KnownAddress]()
        """By source."""
        self._by_ip: Final = dict[IpAddress, list[KnownAddress]]()
        self._tried_count = 0
        self._swept_ms = 0
        self._shared = list[KnownAddress]()
        self._shared_ms = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def tried_count(self) -> int:
        """Addresses that were connected once."""
        return self._tried_count

    def __iter__(self) -> Iterator[KnownAddress]:
        """All, to be shown or saved; they must not be changed."""
        return iter(self._known.values())

    def get(self, address: Multiaddr) -> KnownAddress | None:
        return self._known.get(address.stored)

    # --- what is learnt ---

    def add_told(self, address: Multiaddr, flags: int, now_ms: int, source: Multiaddr | None = None) -> bool:
        """A peer (`source`, the address of its session) tells an address; whether it is now known.

        What cannot be dialled or is banned is not taken.
        """
        known = self._known.get(address.stored)
        if known is not None:
            known.mark_told(flags, now_ms)
            return True
        if not self._is_welcome(address, now_ms):
            return False
        teller = "" if source is None else group_of(source)
        return self._insert_told(KnownAddress(address.stored, flags, teller), now_ms)

    def add_connected(self, address: Multiaddr, flags: int, now_ms: int) -> bool:
        """We dialled it, and the peer has proved its id and told its flags; whether it is now known."""
        known = self._known.get(address.stored)
        if known is None and not self._is_welcome(address, now_ms):
            return False
        if known is None:
            known = KnownAddress(address.stored, flags)
        elif not known.was_connected:
            self._remove(known)
        known.flags, known.last_connected_ms, known.attempts = flags, now_ms, 0
        if known.address not in self._known:
            self._insert_tried(known, now_ms)
        return True

    def still_connected(self, address: Multiaddr, now_ms: int) -> None:
        """An outbound session lives, or has just ended."""
        known = self._known.get(address.stored)
        if known is not None and known.was_connected:
            known.last_connected_ms = now_ms

    def mark_tried(self, address: Multiaddr, now_ms: int) -> None:
        """It is being dialled."""
        known = self._known.get(address.stored)
        if known is not None:
            known.mark_tried(now_ms)

    def remove(self, address: Multiaddr) -> None:
        known = self._known.get(address.stored)
        if known is not None:
            self._remove(known)

    def remove_ip(self, ip: IpAddress) -> None:
        """All addresses with this IP address, which was banned: another port is no way around it."""
        for known in list(self._by_ip.get(ip, ())):
            self._remove(known)

    def restore(self, known: KnownAddress, now_ms: int) -> None:
        """Take an address from a saved store. Times in the future become the present."""
        known.last_connected_ms = min(known.last_connected_ms, now_ms)
        known.last_tried_ms = min(known.last_tried_ms, now_ms)
        if known.address in self._known or not self._is_welcome(known.address, now_ms):
            return
        if known.was_connected:
            self._insert_tried(known, now_ms)
        else:
            self._insert_told(known, now_ms)

    # --- what is chosen ---

    def to_attempt(
        self,
        count: int,
        now_ms: int,
        *,
        required: int = REQUIRED_FLAGS,
        connected: Collection[str] = (),
        avoided_groups: Collection[str] = (),
        can_dial: Callable[[Multiaddr], bool] = lambda _: True,
    ) -> list[Multiaddr]:
        """To be dialled for a session: connected in the last days, but not in the last seconds.

        Groups come in turn, those of `avoided_groups` (which our outbound sessions have) last, and so do addresses that
        did not answer lately. `connected`: peer ids.
        """

        def is_fit(known: KnownAddress) -> bool:
            return (
                known.connected_within(ATTEMPT_MS, now_ms)
                and known.has_rested_since_connected(now_ms)
                and known.peer_id not in connected
                and serves(known.flags, required)
                and can_dial(known.address)
            )

        picker = self._picker(count, now_ms, avoided_groups)
        picker.pick(self._tried, lambda known: is_fit(known) and not known.is_resting(now_ms))
        picker.pick(self._tried, is_fit)
        return [known.address for known in picker.found]

    def to_feel(
        self,
        count: int,
        now_ms: int,
        *,
        connected: Collection[str] = (),
        can_dial: Callable[[Multiaddr], bool] = lambda _: True,
    ) -> list[Multiaddr]:
        """To be dialled for a look: not connected in the last days, nor dialled in the last minute. Half of them, where
        there are so many, were connected once; of those that never were, each source has its turn."""

        def is_fit(known: KnownAddress) -> bool:
            return (
                not known.connected_within(ATTEMPT_MS, now_ms)
                and not known.was_tried_within(MINUTE, now_ms)
                and known.peer_id not in connected
                and can_dial(known.address)
            )

        picker = self._picker(count, now_ms)
        picker.pick(self._tried, is_fit, count - count // 2)
        picker.pick(self._told, is_fit)
        picker.pick(self._tried, is_fit)
        return [known.address for known in picker.found]

    def to_punch(
        self, count: int, now_ms: int, *, required: int = REQUIRED_FLAGS, connected: Collection[str] = ()
    ) -> list[Multiaddr]:
        """Never connected, with an IP address: perhaps behind a NAT. Also those that are not worth another dial: who
        does not answer is who must be met in another way. (The reference leaves them out.)"""

        def is_fit(known: KnownAddress) -> bool:
            return known.ip is not None and known.peer_id not in connected and serves(known.flags, required)

        picker = Picker(self._rng, count, lambda known: not self._is_banned(known, now_ms))
        picker.pick(self._told, is_fit)
        return [known.address for known in picker.found]

    def to_share(self, count: int, now_ms: int, required: int) -> list[KnownAddress]:
        """To be told to a peer: connected in the last week. A large store is asked for the same ones for a minute, so
        that who asks often costs little and learns little."""
        age = now_ms - self._shared_ms
        if self._tried_count < SHARE_ONCE_FROM or not 0 <= age < SHARE_ONCE_MS:
            picker = self._picker(MAX_SHARED, now_ms, max_per_group=MAX_SHARED_OF_GROUP)
            picker.pick(self._tried, lambda known: known.connected_within(SHARE_MS, now_ms))
            self._shared, self._shared_ms = picker.found, now_ms
        present = (known for known in self._shared if self._known.get(known.address) is known)
        return list(islice((known for known in present if serves(known.flags, required)), count))

    def _picker(
        self, count: int, now_ms: int, avoided_groups: Collection[str] = (), max_per_group: int | None = None
    ) -> Picker:
        def is_allowed(known: KnownAddress) -> bool:
            return known.is_connectable(now_ms) and not self._is_banned(known, now_ms)

        return Picker(self._rng, count, is_allowed, avoided_groups, max_per_group)

    def _is_banned(self, known: KnownAddress, now_ms: int) -> bool:
        return known.ip is not None and self._bans.is_banned(known.ip, now_ms)

    # --- room ---

    def _is_welcome(self, address: Multiaddr, now_ms: int) -> bool:
        ip = address.ip
        return address.is_dialable and not (ip is not None and self._bans.is_banned(ip, now_ms))

    def _insert_told(self, known: KnownAddress, now_ms: int) -> bool:
        self._limit_ip(known)
        if len(self._known) >= self._limit and self._sweep(now_ms) == 0 and not self._evict_told():
            return False
        self._told.add(known.source, known)
        self._insert(known)
        return True

    def _insert_tried(self, known: KnownAddress, now_ms: int) -> None:
        self._limit_ip(known)
        if self._tried_count >= self._max_tried:
            self._evict_tried()
        if len(self._known) >= self._limit and self._sweep(now_ms) == 0:
            self._evict_told()
        self._tried.add(known.group, known)
        self._tried_count += 1
        self._insert(known)

    def _insert(self, known: KnownAddress) -> None:
        self._known[known.address] = known
        if known.ip is not None:
            self._by_ip.setdefault(known.ip, []).append(known)

    def _remove(self, known: KnownAddress) -> None:
        del self._known[known.address]
        if known.was_connected:
            self._tried.discard(known.group, known)
            self._tried_count -= 1
        else:
            self._told.discard(known.source, known)
        if known.ip is not None:
            beside = self._by_ip[known.ip]
            beside.remove(known)
            if not beside:
                del self._by_ip[known.ip]

    def _sweep(self, now_ms: int) -> int:
        """Remove what is not worth another dial, at most once a minute; how many those were."""
        if 0 <= now_ms - self._swept_ms < SWEEP_MS:
            return 0
        self._swept_ms = now_ms
        dead = [known for known in self._known.values() if not known.is_connectable(now_ms)]
        for known in dead:
            self._remove(known)
        return len(dead)

    def _evict_told(self) -> bool:
        """The largest source loses the worst of a few of its addresses; False when there are none."""
        if not self._told:
            return False
        source = self._told.largest()
        self._remove(max(source.some(self._rng, SAMPLE), key=lambda known: known.attempts))
        return True

    def _evict_tried(self) -> None:
        """The largest network group loses what was connected least recently, of a few."""
        group = self._tried.largest()
        self._remove(min(group.some(self._rng, SAMPLE), key=lambda known: known.last_connected_ms))

    def _limit_ip(self, known: KnownAddress) -> None:
        """Make room beside other addresses with the same global IP, of the same class."""
        everything = () if known.ip is None else self._by_ip.get(known.ip, ())
        beside = [other for other in everything if other.was_connected == known.was_connected]
        if len(beside) < MAX_PER_IP or not known.address.is_reachable:
            return
        if known.was_connected:
            self._remove(min(beside, key=lambda other: other.last_connected_ms))
            return
        tellers = [known.source, *(other.source for other in beside)]
        largest = max(tellers.count(other.source) for other in beside)
        self._remove(self._rng.choice([other for other in beside if tellers.count(other.source) == largest]))
