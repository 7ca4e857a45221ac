"""Who may connect, and how much one may send."""

from __future__ import annotations

import pytest

from ckb_node.stratum import gate
from ckb_node.stratum.gate import Allowance, Gate, GateRules
from ckb_node.stratum.limits import MESSAGES_A_SECOND, MESSAGES_AT_ONCE


def test_connections_are_bounded_in_all_and_by_address() -> None:
    door = Gate(GateRules(3, 2, 60))
    assert [door.admit(each, 0.0) for each in ("a", "a", "a", "b", "c")] == [True, True, False, True, False]
    assert (door.count, door.refused) == (3, 2)
    door.leave("a")
    assert door.admit("a", 0.0)
    for each in ("a", "a", "b"):
        door.leave(each)
    assert (door.count, len(door._of_address)) == (0, 0)


def test_fewer_are_let_in_when_the_system_allows_fewer() -> None:
    door = Gate(GateRules(3, 3, 60))
    door.most = 1
    assert [door.admit("a", 0.0), door.admit("a", 0.0)] == [True, False]


def test_a_ban_ends() -> None:
    door = Gate(GateRules(3, 3, 60))
    door.ban("a", 100.0)
    assert not door.admit("a", 159.0)
    assert door.admit("b", 159.0)
    assert door.admit("a", 160.0)
    assert door.banned_count == 0


def test_bans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BANNED_ADDRESSES", 2)
    door = Gate(GateRules(3, 3, 60))
    for address in ("a", "b", "c"):
        door.ban(address, 0.0)
    assert [door.is_banned(each, 1.0) for each in ("a", "b", "c")] == [False, True, True]


def test_an_allowance_comes_back() -> None:
    allowance = Allowance(0.0)
    assert all(allowance.take(0.0) for _ in range(MESSAGES_AT_ONCE))
    assert not allowance.take(0.0)
    allowance = Allowance(0.0)
    assert all(allowance.take(second / MESSAGES_A_SECOND) for second in range(10 * MESSAGES_AT_ONCE))
