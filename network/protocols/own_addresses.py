"""Where this node can be reached: what it listens on, what is configured or published, and what peers observe.

Peers may lie about what they observe. The reference takes each word for true, and even passes on an address with a
foreign peer id, for which others ban it. Here an observation counts once for each network group of observers, what
more groups tell comes first, and a foreign peer id is not believed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from random import Random
from typing import Final

from network.multiaddr import Multiaddr

__all__ = ["OwnAddresses"]


class OwnAddresses:
    """All with `/p2p/<own id>`."""

    def __init__(self, own_id: str, rng: Random, *, listening: Iterable[Multiaddr] = ()) -> None:
        """`listening`: what sockets are bound to."""
        self._own_id, self._rng = own_id, rng
        self._listening: Final = dict.fromkeys(self._with_own_id(address) for address in listening)
        self._public: Final[dict[Multiaddr, None]] = {}
        self._observed: Final[dict[int, tuple[Multiaddr, Hashable]]] = {}

    @property
    def own_id(self) -> str:
        return self._own_id

    @property
    def listening(self) -> Sequence[Multiaddr]:
        """What sockets are bound to."""
        return list(self._listening)

    def add_listening(self, address: Multiaddr) -> None:
        """A socket listens; a global address is public at the same time."""
        self._listening[self._with_own_id(address)] = None

    def add_public(self, address: Multiaddr) -> None:
        """Configured, or published as an onion service or by the router."""
        self._public[self._with_own_id(address)] = None

    def remove_public(self, address: Multiaddr) -> None:
        self._public.pop(self._with_own_id(address), None)

    def observe(self, session_id: int, address: Multiaddr, observer: Hashable) -> None:
        """A peer tells how it sees us; `observer` is its network group. One word for each session."""
        if address.peer_id in (None, self._own_id):
            self._observed[session_id] = self._with_own_id(address), observer

    def forget(self, session_id: int) -> None:
        """The session is closed."""
        self._observed.pop(session_id, None)

    def public(self) -> list[Multiaddr]:
        """What can be told without asking anybody: reachable ones that we listen on, and all that were added."""
        listening = [address for address in self._listening if address.is_reachable]
        return list(dict.fromkeys([*listening, *self._public]))

    def observed(self) -> list[Multiaddr]:
        """What peers see, by the number of network groups that see it; equal ones in random order."""
        groups: dict[Multiaddr, set[Hashable]] = {}
        for address, observer in self._observed.values():
            groups.setdefault(address, set()).add(observer)
        found = list(groups)
        self._rng.shuffle(found)
        return sorted(found, key=lambda address: -len(groups[address]))

    def told(self, count: int, *, allow_local: bool = False) -> list[Multiaddr]:
        """Up to `count` addresses for others to try: public ones first, a choice of them when there are too many,
        then observed ones. Only reachable ones, unless `allow_local`."""
        public = [address for address in self.public() if allow_local or address.is_reachable]
        if len(public) > count:
            return self._rng.sample(public, count)
        observed = [address for address in self.observed() if allow_local or address.is_reachable]
        return list(dict.fromkeys([*public, *observed]))[:count]

    def listen_port(self, *, allow_local: bool = False) -> int | None:
        """The port of the first address that we listen on and that is reachable, or of any with `allow_local`."""
        ports = (address.port for address in self._listening if allow_local or address.is_reachable)
        return next((port for port in ports if port), None)

    def _with_own_id(self, address: Multiaddr) -> Multiaddr:
        return address if address.peer_id == self._own_id else address.with_peer_id(self._own_id)
