"""Penalties: each row, against the times and texts that the protocol's description has."""

from __future__ import annotations

import pytest

from network.peers.penalties import PENALTIES, Action, Misbehaviour, apply_penalty, penalty
from tests.network.peers.kit import peer as peer_named

M = Misbehaviour

FIVE_MINUTES = [
    M.IDENTIFY_INNER_UNDECODABLE,
    M.IDENTIFY_OTHER_CHAIN,
    M.IDENTIFY_NO_FLAGS,
    M.TIME_UNDECODABLE,
    M.ALERT_UNDECODABLE,
    M.ALERT_NOT_UTF8,
    M.ALERT_BAD_SIGNATURES,
    M.SYNC_UNDECODABLE,
    M.RELAY_UNDECODABLE,
    M.SYNC_400_MALFORMED,
    M.SYNC_401_INVALID_BLOCK,
    M.RELAY_402_INVALID_HEADER,
    M.RELAY_403_DUPLICATE_SHORT_IDS,
    M.RELAY_404_NO_PREFILLED_CELLBASE,
    M.RELAY_405_DUPLICATE_PREFILLED,
    M.RELAY_406_PREFILLED_OUT_OF_ORDER,
    M.RELAY_407_PREFILLED_OUT_OF_RANGE,
    M.RELAY_409_WRONG_TRANSACTIONS_ROOT,
    M.RELAY_410_WRONG_TRANSACTION_COUNT,
    M.RELAY_411_WRONG_TRANSACTIONS,
    M.RELAY_412_WRONG_UNCLE_COUNT,
    M.RELAY_413_WRONG_UNCLES,
    M.SYNC_415_INVALID_HEADERS,
    M.RELAY_416_TOO_MANY_UNKNOWN_TRANSACTIONS,
    M.SYNC_417_GENESIS_ASKED,
    M.SYNC_418_ASKED_TWICE,
    M.FILTER_UNDECODABLE,
    M.FILTER_4XX,
    M.LIGHT_CLIENT_UNDECODABLE,
    M.LIGHT_CLIENT_400_MALFORMED,
    M.LIGHT_CLIENT_401_UNEXPECTED,
    M.LIGHT_CLIENT_410_INVALID_REQUEST,
    M.LIGHT_CLIENT_411_INVALID_LAST_BLOCK,
    M.LIGHT_CLIENT_412_INVALID_BLOCK,
    M.LIGHT_CLIENT_413_BAD_DIFFICULTY_BOUNDARY,
]
A_DAY = [
    M.PUNCHING_UNDECODABLE,
    M.PUNCHING_410_TOO_MANY_HOPS,
    M.PUNCHING_411_BAD_FROM,
    M.PUNCHING_412_BAD_TO,
    M.PUNCHING_413_BAD_ROUTE,
    M.PUNCHING_414_BAD_ADDRESSES,
]
THREE_DAYS = [M.TRANSACTION_CYCLES_ABOVE_LIMIT, M.TRANSACTION_WRONG_CYCLES, M.TRANSACTION_INVALID]
BANS = [
    *((row, 300) for row in FIVE_MINUTES),
    (M.SYNC_414_NO_COMMON_ANCESTOR, 600),
    *((row, 86_400) for row in A_DAY),
    *((row, 259_200) for row in THREE_DAYS),
]
TEXTS = [
    (M.PING_UNDECODABLE, "ping failed"),
    (M.PONG_WRONG, "ping failed"),
    (M.PING_TIMEOUT, "ping timeout"),
    (M.SYNC_NOT_OPENED, "open protocols error: incomplete open protocols"),
    (M.SYNC_TIMEOUT, "sync timeout eviction"),
    (M.SYNC_NO_BLOCKS, "sync disconnect"),
    (M.SYNC_OUTBOUND_IN_IBD, "outbound in ibd"),
    (M.SYNC_USELESS_IN_IBD, "useless outbound peer in IBD"),
]
ONLY_DISCONNECTED = [
    *(row for row, _ in TEXTS),
    M.OUR_FAULT,
    M.IDENTIFY_UNDECODABLE,
    M.IDENTIFY_TWICE,
    M.IDENTIFY_TIMEOUT,
    M.IDENTIFY_TOO_MANY_ADDRESSES,
    M.IDENTIFY_MISSING_FLAGS,
    M.DISCOVERY_UNDECODABLE,
    M.DISCOVERY_SECOND_GET_NODES,
    M.DISCOVERY_SECOND_NODES,
    M.DISCOVERY_TOO_MANY_ANNOUNCED,
    M.DISCOVERY_TOO_MANY_NODES,
    M.DISCOVERY_TOO_MANY_ADDRESSES,
]
OTHERS = {
    M.BROKEN_FRAME: Action.CLOSE_PROTOCOL,
    M.SYNC_5XX_WARNING: Action.NOTHING,
    M.LIGHT_CLIENT_5XX_WARNING: Action.NOTHING,
}


@pytest.mark.parametrize(("row", "seconds"), BANS, ids=lambda value: getattr(value, "name", None))
def test_rows_with_a_ban(row: Misbehaviour, seconds: int) -> None:
    assert (penalty(row).action, penalty(row).ban_seconds) == (Action.BAN, seconds)


@pytest.mark.parametrize("row", ONLY_DISCONNECTED, ids=lambda row: row.name)
def test_rows_without_a_ban(row: Misbehaviour) -> None:
    assert (penalty(row).action, penalty(row).ban_seconds) == (Action.DISCONNECT, 0)


@pytest.mark.parametrize(("row", "text"), TEXTS, ids=lambda value: getattr(value, "name", None))
def test_texts_that_the_reference_sends(row: Misbehaviour, text: str) -> None:
    assert penalty(row).reason == text


@pytest.mark.parametrize(("row", "action"), OTHERS.items(), ids=lambda value: getattr(value, "name", None))
def test_rows_that_leave_the_session(row: Misbehaviour, action: Action) -> None:
    assert (penalty(row).action, penalty(row).ban_seconds) == (action, 0)


def test_each_misbehaviour_has_one_row_that_is_tested_here() -> None:
    tested = [*(row for row, _ in BANS), *ONLY_DISCONNECTED, *OTHERS]
    assert len(tested) == len(set(tested))
    assert set(tested) == set(PENALTIES) == set(Misbehaviour)


def test_status_codes_stand_in_the_reason() -> None:
    for row in Misbehaviour:
        codes = [word for word in row.name.split("_") if word.isdecimal()]
        assert all(f"{code}:" in penalty(row).reason for code in codes)


def test_a_detail_follows_the_reason() -> None:
    assert penalty(M.IDENTIFY_OTHER_CHAIN, "/ckb/12345678").reason == "identify: another chain: /ckb/12345678"
    assert penalty(M.TRANSACTION_INVALID, "x").ban_seconds == 259_200


class FakePeer:
    """Takes down what is done to it."""

    def __init__(self) -> None:
        self.done = list[tuple[object, ...]]()
        self.peer_id = peer_named("fake")

    def ban(self, seconds: int, reason: str) -> None:
        self.done.append(("ban", seconds, reason))

    def disconnect(self, reason: str) -> None:
        self.done.append(("disconnect", reason))


def test_a_penalty_is_carried_out() -> None:
    fake = FakePeer()
    for row in (M.TIME_UNDECODABLE, M.PONG_WRONG, M.BROKEN_FRAME, M.SYNC_5XX_WARNING):
        apply_penalty(fake, row)
    assert fake.done == [("ban", 300, "time: undecodable message"), ("disconnect", "ping failed")]
