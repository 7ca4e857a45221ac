"""Messages that came before the connection knew of a hold. It holds on until these are handled."""

from __future__ import annotations

from collections import deque
from collections.abc import KeysView
from typing import Final

from network.limits import ProtocolSpec

__all__ = ["WaitingMessages"]


class WaitingMessages:
    """Of one session, by protocol."""

    def __init__(self) -> None:
        self._lines: Final[dict[ProtocolSpec, deque[bytes]]] = {}
        self.size = 0
        """Bytes."""

    @property
    def protocols(self) -> KeysView[ProtocolSpec]:
        """Those whose messages wait, if there are any."""
        return self._lines.keys()

    def begin(self, protocol: ProtocolSpec) -> bool:
        """From now on messages of this protocol wait. False when they do already."""
        if protocol in self._lines:
            return False
        self._lines[protocol] = deque()
        return True

    def end(self, protocol: ProtocolSpec) -> None:
        """They do not any more; what still waits is lost."""
        self.size -= sum(map(len, self._lines.pop(protocol, ())))

    def has(self, protocol: ProtocolSpec) -> bool:
        return bool(self._lines.get(protocol))

    def add(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        """False when messages of this protocol do not wait."""
        line = self._lines.get(protocol)
        if line is None:
            return False
        line.append(payload)
        self.size += len(payload)
        return True

    def take(self, protocol: ProtocolSpec) -> bytes:
        """The oldest."""
        payload = self._lines[protocol].popleft()
        self.size -= len(payload)
        return payload

    def clear(self) -> None:
        self._lines.clear()
        self.size = 0
