"""Answers that may be many messages: in batches, slower than a peer drops them, and no faster than it reads.

A question of a megabyte can ask for gigabytes, so what is asked for waits as keys, and is looked up when it is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ckb_node.sync.upload import Upload, UploadKind
from consensus.codec.molecule import Table
from network.budget import Allowance
from network.limits import RELAY
from network.peer import Peer, Scheduler, Timer

__all__ = ["MAX_BATCH_BYTES", "PacedAnswers"]

T = TypeVar("T", bound=Table)

MAX_BATCH_BYTES: Final = 1 << 20
MAX_KEYS: Final = 32_767
"""What a peer may ask for and not have yet; more is left out, as if it were not there."""
MESSAGES_PER_S: Final = 25
MESSAGES_AT_ONCE: Final = 25
"""A peer drops more than 30 a second of one kind."""
MAX_UNSENT_BYTES: Final = 2 << 20
"""With so much to be sent a peer waits for more."""
BYTES_PER_TICK: Final = 2 << 20
"""To all peers together."""
PEER_RATE, PEER_BURST = 4 << 20, 16 << 20
"""Bytes a second to one peer, and at once: it may ask for the same again and again."""
KEYS_AT_ONCE: Final = 512
"""Looked up, and packed, before the event loop may do something else."""


@dataclass(slots=True)
class _Line:
    peer: Peer
    messages: Allowance
    volume: Allowance
    """In bytes."""
    keys: deque[bytes] = field(default_factory=deque)
    is_waiting: bool = False
    """It is in the round."""


class PacedAnswers(Generic[T]):
    """`find` looks an item up by its key, `pack` makes the message of some items."""

    def __init__(
        self,
        scheduler: Scheduler,
        find: Callable[[bytes], T | None],
        pack: Callable[[Sequence[T]], bytes],
        upload: Upload,
        kind: UploadKind,
    ) -> None:
        self._scheduler: Final = scheduler
        self._upload, self._kind = upload, kind
        upload.served[kind].waiting = lambda: sum(len(line.keys) for line in self._lines.values())
        self._find, self._pack = find, pack
        self._lines: Final[dict[int, _Line]] = {}
        self._waiting: Final[deque[_Line]] = deque()
        self._left = BYTES_PER_TICK
        self._timer: Timer | None = None

    def waiting(self, session: int) -> int:
        """Keys that a peer waits for."""
        line = self._lines.get(session)
        return 0 if line is None else len(line.keys)

    def ask(self, peer: Peer, keys: Sequence[bytes]) -> None:
        """A peer wants these; what is not there is silently left out."""
        line = self._lines.get(peer.session_id)
        if line is None:
            now = self._scheduler.now()
            allowance = Allowance(MESSAGES_PER_S, MESSAGES_AT_ONCE, now)
            line = self._lines[peer.session_id] = _Line(peer, allowance, Allowance(PEER_RATE, PEER_BURST, now))
        line.keys.extend(keys[: MAX_KEYS - len(line.keys)])
        if line.keys and not line.is_waiting:
            line.is_waiting = True
            self._waiting.append(line)
        self._begin()

    def tick(self) -> None:
        """Each tick has its bytes."""
        self._left = BYTES_PER_TICK
        self._begin()

    def closed(self, session: int) -> None:
        line = self._lines.pop(session, None)
        if line is not None:
            line.keys.clear()

    def _begin(self) -> None:
        if self._timer is None:
            self._turn()

    def _turn(self) -> None:
        """One batch, for the first who may have one; the next when the event loop has done something else."""
        self._timer = None
        for _ in range(len(self._waiting)):
            if self._left <= 0:
                return
            line = self._waiting.popleft()
            may_have_it = bool(line.keys) and self._send_batch(line)
            line.is_waiting = bool(line.keys)
            if line.is_waiting:
                self._waiting.append(line)
            if may_have_it and self._waiting:
                self._timer = self._scheduler.call_later(0.0, self._turn)
                return

    def _send_batch(self, line: _Line) -> bool:
        """Whether the peer may have another now."""
        now = self._scheduler.now()
        peer = line.peer
        is_paced = line.messages.left(now) < 1 or line.volume.left(now) <= 0
        if is_paced or peer.queued_bytes > MAX_UNSENT_BYTES or self._upload.wait(now) > 0.0:
            return False
        items = self._next_batch(line.keys)
        if items:
            message = self._pack(items)
            line.messages.spend(1, now)
            line.volume.spend(len(message), now)
            self._left -= len(message)
            if peer.send(RELAY, message):
                self._upload.sent(self._kind, len(message), now)
        return True

    def _next_batch(self, keys: deque[bytes]) -> Sequence[T]:
        """Items of MAX_BATCH_BYTES at most, or one that is larger."""
        items: list[T] = []
        size = 0
        for _ in range(min(len(keys), KEYS_AT_ONCE)):
            item = self._find(keys[0])
            if item is not None:
                size += item.raw_size
                if items and size > MAX_BATCH_BYTES:
                    break
                items.append(item)
            keys.popleft()
        return items
