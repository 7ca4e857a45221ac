"""What both programs tell their subscribers by TCP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.interop.kit_chain import wait_until
from tests.support.nodes.reference import Pair

TOPICS = ("new_tip_header", "new_tip_block", "new_transaction", "proposed_transaction", "rejected_transaction")


class Heard:
    """A subscriber of all topics; a thread reads, so that nothing is lost while the test does other things."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._lines = self._socket.makefile("rb")
        self.events: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
        self.ids = {self._answer("subscribe", topic): topic for topic in TOPICS}
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _answer(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(self._lines.readline())["result"]

    def _listen(self) -> None:
        try:
            for line in self._lines:
                message = json.loads(line)
                assert message.keys() == {"jsonrpc", "method", "params"}
                assert message["method"] == "subscribe"
                topic = self.ids[message["params"]["subscription"]]
                self.events[topic].append(json.loads(message["params"]["result"]))
        except (OSError, ValueError):
            return  # closed by the test

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=30)
        self._lines.close()
        self._socket.close()


@contextmanager
def both_heard(pair: Pair) -> Iterator[tuple[Heard, Heard]]:
    """Subscribers of the reference and of ours."""
    theirs = Heard(pair.reference.tcp_port)
    ours = Heard(pair.ours.tcp_port)
    try:
        yield theirs, ours
    finally:
        theirs.close()
        ours.close()


def assert_same_events(theirs: Heard, ours: Heard, last_tip: str, more: dict[str, int] | None = None) -> None:
    """The same events of each topic in the same order, once both have told of `last_tip` and `more` of some topics."""

    def is_told(heard: Heard) -> bool:
        tips = heard.events["new_tip_block"]
        enough = all(len(heard.events[topic]) >= count for topic, count in (more or {}).items())
        return bool(tips) and tips[-1]["header"]["hash"] == last_tip and enough

    wait_until(lambda: is_told(theirs) and is_told(ours))
    for topic in TOPICS:
        assert [_plain(each) for each in ours.events[topic]] == [_plain(each) for each in theirs.events[topic]], topic


def _plain(event: Any) -> Any:
    """Without the time at which a transaction came."""
    if isinstance(event, list):
        return [_plain(each) for each in event]
    return event | {"timestamp": "0x0"} if "cycles" in event else event
