"""Alerts between peers: each is checked, shown, and told to everyone who does not know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consensus.errors import MoleculeError
from network.limits import ALERT, ProtocolSpec
from network.messages.protocols import Alert
from network.peer import Peer, Scheduler
from network.peer_info import AlertMessage
from network.peers.penalties import Misbehaviour, apply_penalty
from network.protocols.alert.book import AlertBook
from network.protocols.alert.keys import DEVELOPERS, AlertKeys
from network.protocols.alert.signatures import AlertSignatureError, verify_signatures
from network.protocols.pace import MessagePace

__all__ = ["AlertProtocol"]

MESSAGES_PER_SECOND: Final = 4.0
MESSAGES_AT_ONCE: Final = 128.0


class AlertProtocol:
    """Satisfies network.peer.Handler. The reference remembers for the last 64 peers which alerts they know; here it is
    remembered for all that are connected, and only for alerts that are still told."""

    def __init__(
        self,
        scheduler: Scheduler,
        version: str,
        on_alert: Callable[[AlertMessage], None],
        *,
        keys: AlertKeys = DEVELOPERS,
    ) -> None:
        """`version` of this software (`0.206.0`). `on_alert` hears of each new alert that is for this version: for the
        log, and for the operator's script (`notify.network_alert_notify_script`)."""
        self._scheduler, self._on_alert, self._keys = scheduler, on_alert, keys
        self._book: Final = AlertBook(version)
        self._peers: Final[dict[int, Peer]] = {}
        self._knows: Final[dict[int, set[int]]] = {}
        """By alert: the sessions that know it."""
        self._pace: Final = MessagePace(scheduler, ALERT, rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE)

    @property
    def protocol(self) -> ProtocolSpec:
        return ALERT

    def alerts(self) -> Sequence[AlertMessage]:
        """What is to be shown now, the most important first."""
        return self._book.shown(self._scheduler.wall_ms())

    def publish(self, alert: Alert) -> None:
        """Show an alert here and tell everyone; RPC `send_alert`. Raises AlertSignatureError."""
        verify_signatures(alert, self._keys)
        self._take(alert)
        self._tell(alert, set())

    def opened(self, peer: Peer) -> None:
        self._peers[peer.session_id] = peer
        for alert in self._book.current(self._scheduler.wall_ms()):
            self._known_by(alert.body.id).add(peer.session_id)
            peer.send(ALERT, alert.raw)

    def closed(self, peer: Peer) -> None:
        self._peers.pop(peer.session_id, None)
        self._pace.forget(peer)
        for sessions in self._knows.values():
            sessions.discard(peer.session_id)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._pace.spend(peer)
        alert = _decode(payload)
        if isinstance(alert, Misbehaviour):
            apply_penalty(peer, alert)
            return
        if self._book.has_seen(alert.body.id):
            return
        try:
            verify_signatures(alert, self._keys)
        except AlertSignatureError as error:
            apply_penalty(peer, Misbehaviour.ALERT_BAD_SIGNATURES, str(error))
            return
        self._take(alert)
        self._tell(alert, {peer.session_id})

    def _take(self, alert: Alert) -> None:
        now_ms = self._scheduler.wall_ms()
        if self._book.add(alert, now_ms):
            body = alert.body
            self._on_alert(AlertMessage(body.id, body.priority, body.notice_until, body.message.decode()))

    def _tell(self, alert: Alert, except_to: set[int]) -> None:
        """Also one that has expired: others may not know what it cancels."""
        knows = self._known_by(alert.body.id) | except_to
        for session_id, peer in list(self._peers.items()):
            if session_id not in knows:
                peer.send(ALERT, alert.raw)
        self._known_by(alert.body.id).update(except_to, self._peers)
        self._forget_old()

    def _known_by(self, alert_id: int) -> set[int]:
        return self._knows.setdefault(alert_id, set())

    def _forget_old(self) -> None:
        current = {alert.body.id for alert in self._book.current(self._scheduler.wall_ms())}
        for alert_id in self._knows.keys() - current:
            del self._knows[alert_id]


def _decode(payload: bytes) -> Alert | Misbehaviour:
    try:
        alert = Alert.parse(payload)
        for text in (alert.body.message, alert.body.min_version, alert.body.max_version):
            if text is not None:
                text.decode()
    except MoleculeError:
        return Misbehaviour.ALERT_UNDECODABLE
    except UnicodeDecodeError:
        return Misbehaviour.ALERT_NOT_UTF8
    return alert
