"""The alerts of this node: which came, which are cancelled, which are shown.

Better than the reference in two points: all of it is bounded, and an alert that has expired is passed on once at most,
however often it comes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from network.messages.protocols import Alert
from network.peer_info import AlertMessage
from network.protocols.alert.versions import SoftwareVersion

__all__ = ["AlertBook"]

MAX_ALERTS: Final = 64
MAX_CANCELLED: Final = 128
MAX_SEEN: Final = 1024
"""Ids that are remembered longer than their alerts."""


class AlertBook:
    """Alerts whose signatures are good."""

    def __init__(self, version: str) -> None:
        """`version` of this software: an alert may be for some versions only. One that is none sees all alerts."""
        self._version: Final = SoftwareVersion.parse(version)
        self._alerts: Final[dict[int, Alert]] = {}
        self._cancelled: Final[OrderedDict[int, None]] = OrderedDict()
        self._seen: Final[OrderedDict[int, None]] = OrderedDict()

    def has_seen(self, alert_id: int) -> bool:
        """It came before, or is cancelled."""
        return alert_id in self._seen or alert_id in self._cancelled

    def add(self, alert: Alert, now_ms: int) -> bool:
        """Take a new one; whether it is to be shown now. An expired one only cancels what it cancels."""
        self.expire(now_ms)
        alert_id, cancels = alert.body.id, alert.body.cancel
        if self.has_seen(alert_id):
            return False
        _remember(self._seen, alert_id, MAX_SEEN)
        if cancels:
            _remember(self._cancelled, cancels, MAX_CANCELLED)
            self._alerts.pop(cancels, None)
        if alert.body.notice_until <= now_ms or cancels == alert_id:
            return False
        self._alerts[alert_id] = alert
        if len(self._alerts) > MAX_ALERTS:
            least = min(self._alerts.values(), key=lambda other: other.body.priority)
            del self._alerts[least.body.id]
        return alert_id in self._alerts and self._is_for_us(alert)

    def expire(self, now_ms: int) -> None:
        """Drop what nobody is to read any more."""
        for alert_id in [key for key, alert in self._alerts.items() if alert.body.notice_until <= now_ms]:
            del self._alerts[alert_id]

    def current(self, now_ms: int) -> Sequence[Alert]:
        """All that have not expired, for others."""
        self.expire(now_ms)
        return list(self._alerts.values())

    def shown(self, now_ms: int) -> Sequence[AlertMessage]:
        """Those for this version, the most important first."""
        alerts = [alert.body for alert in self.current(now_ms) if self._is_for_us(alert)]
        alerts.sort(key=lambda body: -body.priority)
        return [
            AlertMessage(body.id, body.priority, body.notice_until, body.message.decode(errors="replace"))
            for body in alerts
        ]

    def _is_for_us(self, alert: Alert) -> bool:
        """Between the two versions that the alert names; a bound that is no version excludes all."""
        own = self._version
        if own is None:
            return True
        at_least, at_most = alert.body.min_version, alert.body.max_version
        if at_least is not None:
            lowest = SoftwareVersion.parse(at_least.decode(errors="replace"))
            if lowest is None or own < lowest:
                return False
        if at_most is not None:
            highest = SoftwareVersion.parse(at_most.decode(errors="replace"))
            if highest is None or own > highest:
                return False
        return True


def _remember(ids: OrderedDict[int, None], alert_id: int, limit: int) -> None:
    ids[alert_id] = None
    ids.move_to_end(alert_id)
    if len(ids) > limit:
        ids.popitem(last=False)
