"""Alert (protocol 110), row by row of its rules."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from network.limits import ALERT
from network.messages.protocols import Alert, RawAlert
from network.peer_info import AlertMessage
from network.protocols.alert import (
    DEVELOPERS,
    AlertKeys,
    AlertProtocol,
    AlertSignatureError,
    SignatureFault,
    verify_signatures,
)
from network.protocols.alert.book import MAX_ALERTS
from network.protocols.alert.handler import MESSAGES_AT_ONCE
from network.protocols.alert.signatures import CURVE_ORDER
from tests.support.network.clock import WALL_MS, FakeScheduler
from tests.support.network.peers import FakePeer

HOLDERS = [PrivateKey(bytes([number]) * 32) for number in range(1, 5)]
STRANGER = PrivateKey(bytes([9]) * 32)
KEYS = AlertKeys(2, frozenset(holder.public_key.format() for holder in HOLDERS))
LATER = WALL_MS + 3_600_000

# Sent to the public network in 2023.
ALERT_20230001 = Alert(
    body=RawAlert(
        notice_until=1_681_574_400_000,
        id=20_230_001,
        cancel=0,
        priority=20,
        message=b"CKB v0.105.* have bugs. Please upgrade to the latest version.",
        min_version=b"0.105.0-pre",
        max_version=b"0.105.1",
    ),
    signatures=[
        bytes.fromhex(
            "8dca283684ff3cd024bd6a67efb24617e90e31dc69ac809ac6ac5e243a57b7aa"
            "6711228dfbd8a5cc89a68d3065b685e5c56c70740e8d3487fd538dc914d0c97c00"
        ),
        bytes.fromhex(
            "4554b37824e17ea02432507e372c869301a415bf718e0a5a33b6df75cd32fbab"
            "7cf8176ca8b079c28266ce1f33c3f61fbff19e27be2a85f5a14faa2b1b474e0a01"
        ),
    ],
)


def raw(
    alert_id: int = 1,
    *,
    cancel: int = 0,
    priority: int = 1,
    until: int = LATER,
    text: bytes = b"hello",
    at_least: bytes | None = None,
    at_most: bytes | None = None,
) -> RawAlert:
    return RawAlert(
        notice_until=until,
        id=alert_id,
        cancel=cancel,
        priority=priority,
        message=text,
        min_version=at_least,
        max_version=at_most,
    )


def sign(body: RawAlert, signers: Sequence[PrivateKey] = HOLDERS[:2]) -> Alert:
    return Alert(body=body, signatures=[signer.sign_recoverable(body.hash, hasher=None) for signer in signers])


def with_s_negated(signature: bytes) -> bytes:
    """The other of the two signatures that say the same: with a high s."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])


class Case:
    """A handler, and what it showed."""

    def __init__(self, version: str = "0.206.0") -> None:
        self.scheduler, self.heard = FakeScheduler(), list[AlertMessage]()
        self.handler = AlertProtocol(self.scheduler, version, self.heard.append, keys=KEYS)

    def peer(self, seed: int = 1) -> FakePeer:
        return FakePeer(seed).connect(self.handler)

    def receive(self, peer: FakePeer, alert: Alert | bytes) -> FakePeer:
        self.handler.received(peer, alert if isinstance(alert, bytes) else alert.raw)
        return peer

    def shown(self) -> list[int]:
        return [alert.id for alert in self.handler.alerts()]


# --- signatures ---


def test_the_developers_keys_have_signed_a_public_alert() -> None:
    verify_signatures(ALERT_20230001, DEVELOPERS)
    assert DEVELOPERS.threshold == 2
    assert len(DEVELOPERS.public_keys) == 4


def test_a_changed_text_is_not_signed() -> None:
    changed = ALERT_20230001.replace(body=ALERT_20230001.body.replace(priority=21))
    with pytest.raises(AlertSignatureError) as caught:
        verify_signatures(changed, DEVELOPERS)
    assert caught.value.fault is SignatureFault.THRESHOLD
    assert caught.value.valid == 0


@pytest.mark.parametrize("signers", [HOLDERS[:2], HOLDERS[2:], HOLDERS, [HOLDERS[3], STRANGER, HOLDERS[0]]])
def test_two_of_four_suffice(signers: Sequence[PrivateKey]) -> None:
    verify_signatures(sign(raw(), signers), KEYS)


@pytest.mark.parametrize(
    ("signers", "fault"),
    [
        ([], SignatureFault.TOO_FEW),
        (HOLDERS[:1], SignatureFault.TOO_FEW),
        ([HOLDERS[0], HOLDERS[0]], SignatureFault.THRESHOLD),
        ([HOLDERS[0], STRANGER], SignatureFault.THRESHOLD),
        ([*HOLDERS, HOLDERS[0]], SignatureFault.TOO_MANY),
    ],
)
def test_fewer_do_not(signers: Sequence[PrivateKey], fault: SignatureFault) -> None:
    with pytest.raises(AlertSignatureError) as caught:
        verify_signatures(sign(raw(), signers), KEYS)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    "nothing",
    [b"", bytes(64), bytes(65), b"\xff" * 64 + b"\0", bytes([1]) * 64 + b"\2", (bytes(31) + b"\1") * 2 + b"\0\0"],
)
def test_what_is_no_signature_does_not_count_at_all(nothing: bytes) -> None:
    alert = sign(raw())
    verify_signatures(alert.replace(signatures=[*alert.signatures, *[nothing] * 20]), KEYS)


def test_a_signature_that_leads_to_no_key_counts_as_wrong() -> None:
    body = raw()
    one = HOLDERS[0].sign_recoverable(body.hash, hasher=None)
    no_point = (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"\0"  # no point of the curve has this x
    with pytest.raises(AlertSignatureError) as caught:
        verify_signatures(Alert(body=body, signatures=[one, no_point]), KEYS)
    assert (caught.value.fault, caught.value.valid) == (SignatureFault.THRESHOLD, 1)


def test_a_high_s_is_good_but_the_same_key_counts_once() -> None:
    body = raw()
    first, second = (signer.sign_recoverable(body.hash, hasher=None) for signer in HOLDERS[:2])
    verify_signatures(Alert(body=body, signatures=[with_s_negated(first), second]), KEYS)
    with pytest.raises(AlertSignatureError):
        verify_signatures(Alert(body=body, signatures=[first, with_s_negated(first)]), KEYS)


@pytest.mark.parametrize(("threshold", "keys"), [(0, 4), (5, 4), (1, 0)])
def test_a_threshold_must_be_possible(threshold: int, keys: int) -> None:
    with pytest.raises(ValueError, match="cannot sign"):
        AlertKeys(threshold, frozenset(holder.public_key.format() for holder in HOLDERS[:keys]))


@pytest.mark.parametrize("key", [bytes(33), b"\2" * 32, HOLDERS[0].public_key.format(compressed=False)])
def test_what_is_no_compressed_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError):
        AlertKeys(1, frozenset({key}))


# --- between peers ---


def test_a_new_alert_is_shown_and_told_to_all_others_as_it_came() -> None:
    case = Case()
    sender, first, second = case.peer(1), case.peer(2), case.peer(3)
    alert = sign(raw())
    case.receive(sender, alert)
    assert case.heard == [AlertMessage(1, 1, LATER, "hello")]
    assert case.handler.alerts() == case.heard
    assert (sender.take(ALERT), first.take(ALERT), second.take(ALERT)) == ([], [alert.raw], [alert.raw])


def test_it_is_shown_and_told_once() -> None:
    case = Case()
    sender, other = case.peer(1), case.peer(2)
    for _ in range(3):
        case.receive(sender, sign(raw()))
        case.receive(other, sign(raw()))
    assert len(case.heard) == 1
    assert len(other.take(ALERT)) == 1
    assert sender.take(ALERT) == []


def test_who_comes_later_is_told_what_has_not_expired() -> None:
    case = Case()
    case.receive(case.peer(1), sign(raw(1)))
    case.receive(case.peer(2), sign(raw(2, until=LATER + 10)))
    case.scheduler.set_wall_ms(LATER)
    assert case.peer(3).take(ALERT) == [sign(raw(2, until=LATER + 10)).raw]


def test_who_was_told_on_arrival_is_not_told_again() -> None:
    case = Case()
    case.receive(case.peer(1), sign(raw()))
    late = case.peer(2)
    late.take(ALERT)
    case.receive(case.peer(3), sign(raw()))
    assert late.take(ALERT) == []


def test_an_alert_is_shown_until_its_time() -> None:
    case = Case()
    case.receive(case.peer(), sign(raw()))
    case.scheduler.set_wall_ms(LATER - 1)
    assert case.shown() == [1]
    case.scheduler.set_wall_ms(LATER)
    assert case.shown() == []


def test_an_expired_one_is_told_once_and_never_again() -> None:
    case = Case()
    sender, other = case.peer(1), case.peer(2)
    old = sign(raw(until=WALL_MS))
    for _ in range(3):
        case.receive(sender, old)
        case.peer(3)
    assert case.heard == []
    assert other.take(ALERT) == [old.raw]
    assert case.shown() == []


def test_an_alert_can_cancel_another() -> None:
    case = Case()
    peer = case.peer()
    case.receive(peer, sign(raw(1)))
    case.receive(peer, sign(raw(2, cancel=1)))
    assert case.shown() == [2]
    assert case.peer(2).take(ALERT) == [sign(raw(2, cancel=1)).raw]


def test_what_is_cancelled_never_comes() -> None:
    case = Case()
    peer, other = case.peer(1), case.peer(2)
    case.receive(peer, sign(raw(2, cancel=1)))
    case.receive(peer, sign(raw(1)))
    assert case.shown() == [2]
    assert len(other.take(ALERT)) == 1


def test_an_expired_one_cancels_all_the_same() -> None:
    case = Case()
    peer = case.peer()
    case.receive(peer, sign(raw(1)))
    case.receive(peer, sign(raw(2, cancel=1, until=WALL_MS - 1)))
    assert case.shown() == []


def test_the_most_important_is_first() -> None:
    case = Case()
    for alert_id, priority in ((1, 5), (2, 9), (3, 5), (4, 0)):
        case.receive(case.peer(alert_id), sign(raw(alert_id, priority=priority)))
    assert case.shown() == [2, 1, 3, 4]


def test_a_known_id_is_not_looked_at_any_further() -> None:
    case = Case()
    peer = case.peer()
    case.receive(peer, sign(raw(1)))
    case.receive(peer, sign(raw(1, text=b"other"), [STRANGER]))
    assert not peer.has_ended
    assert case.heard[0].message == "hello"


@pytest.mark.parametrize("signers", [[], HOLDERS[:1], [STRANGER, STRANGER], [*HOLDERS, STRANGER]])
def test_bad_signatures_are_banned_for_5_minutes(signers: Sequence[PrivateKey]) -> None:
    case = Case()
    peer, other = case.peer(1), case.peer(2)
    case.receive(peer, sign(raw(), signers))
    assert peer.banned is not None
    assert peer.banned[0] == 300
    assert other.take(ALERT) == []
    assert case.heard == []
    case.receive(other, sign(raw()))  # the id is not spoilt
    assert case.shown() == [1]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(100),
        sign(raw()).raw[:-1],
        sign(raw()).raw + b"\0",
        sign(raw(text=b"\xff")).raw,
        sign(raw(at_least=b"\xff")).raw,
        sign(raw(at_most=b"\xff")).raw,
    ],
)
def test_what_is_no_alert_is_banned_for_5_minutes(payload: bytes) -> None:
    case = Case()
    peer = case.receive(case.peer(), payload)
    assert peer.banned is not None
    assert peer.banned[0] == 300


@given(st.binary(max_size=300))
def test_any_other_bytes_are_banned(payload: bytes) -> None:
    case = Case()
    assert case.receive(case.peer(), payload).banned


# --- versions ---


@pytest.mark.parametrize(
    ("at_least", "at_most", "is_shown"),
    [
        (None, None, True),
        (b"0.206.0", b"0.206.0", True),
        (b"0.206.0-rc1", None, True),
        (b"0.206.1", None, False),
        (None, b"0.205.9", False),
        (None, b"0.206.0-rc1", False),
        (b"0.99.0", b"0.1000.0", True),
        (b"", None, False),
        (None, b"latest", False),
        (b"0.206", None, False),
    ],
)
def test_alerts_for_other_versions_are_passed_on_and_not_shown(
    at_least: bytes | None, at_most: bytes | None, is_shown: bool
) -> None:
    case = Case("0.206.0")
    sender, other = case.peer(1), case.peer(2)
    case.receive(sender, sign(raw(at_least=at_least, at_most=at_most)))
    assert bool(case.shown()) is bool(case.heard) is is_shown
    assert len(other.take(ALERT)) == 1


def test_software_without_a_version_shows_all() -> None:
    case = Case("unknown")
    case.receive(case.peer(), sign(raw(at_least=b"9.0.0")))
    assert case.shown() == [1]


# --- RPC ---


def test_an_alert_of_our_own_is_shown_and_told_to_all() -> None:
    case = Case()
    peers = [case.peer(seed) for seed in range(3)]
    alert = sign(raw())
    case.handler.publish(alert)
    assert case.shown() == [1]
    assert [peer.take(ALERT) for peer in peers] == [[alert.raw]] * 3


def test_an_unsigned_one_is_refused() -> None:
    case = Case()
    with pytest.raises(AlertSignatureError, match="less than threshold"):
        case.handler.publish(sign(raw(), []))
    assert case.shown() == []


# --- bounds ---


def test_the_number_of_alerts_is_bounded_and_the_least_important_leave() -> None:
    case = Case()
    sender = case.peer()
    for alert_id in range(1, MAX_ALERTS + 11):
        case.receive(sender, sign(raw(alert_id, priority=alert_id)))
    assert case.shown() == list(range(MAX_ALERTS + 10, 10, -1))
    assert len(case.handler._knows) <= MAX_ALERTS


def test_a_flood_is_read_slowly() -> None:
    case = Case()
    peer = case.peer()
    for _ in range(int(MESSAGES_AT_ONCE) + 1):
        case.receive(peer, sign(raw()))
    assert ALERT in peer.held
    case.scheduler.advance(1)
    assert ALERT not in peer.held


def test_nothing_is_left_of_closed_sessions() -> None:
    case = Case()
    peers = [case.peer(seed) for seed in range(5)]
    case.receive(peers[0], sign(raw()))
    for peer in peers:
        case.handler.closed(peer)
    assert case.handler._knows == {1: set()}
    assert not case.handler._peers
    assert not len(case.handler._pace)
    case.scheduler.set_wall_ms(LATER)
    case.receive(case.peer(9), sign(raw(2, until=LATER + 1)))
    assert set(case.handler._knows) == {2}
