"""Why a question gets no answer."""

from __future__ import annotations

from typing import Final

from network.peers.penalties import Misbehaviour

__all__ = ["RefusedQuestion", "UnansweredQuestion"]


class RefusedQuestion(Exception):  # noqa: N818 - the condition is its name
    """It breaks the protocol, which costs the asker what `network.peers.penalties` says."""

    def __init__(self, misbehaviour: Misbehaviour, detail: str) -> None:
        super().__init__(detail)
        self.misbehaviour: Final = misbehaviour
        self.detail: Final = detail


class UnansweredQuestion(Exception):  # noqa: N818
    """Nothing true can be said to it, or not in one message. Nobody is to blame."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: Final = reason
