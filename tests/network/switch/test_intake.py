"""Who has to wait when peers cause much work."""

from __future__ import annotations

from network.intake import Intake, IntakeLimits

LIMITS = IntakeLimits(rate_peer=100.0, burst_peer=50.0, rate=200.0, burst=100.0)


def test_a_peer_waits_when_it_has_used_up_its_own() -> None:
    intake = Intake(LIMITS, 0.0)
    one, other = intake.enter(0.0), intake.enter(0.0)
    intake.spend(one, 60.0, 0.0)
    assert 0.1 < intake.wait(one, 0.0) < 0.2
    assert intake.wait(other, 0.0) == 0.0
    assert intake.wait(one, 0.2) == 0.0


def test_when_all_is_used_up_only_those_wait_who_had_more_than_their_part() -> None:
    intake = Intake(LIMITS, 0.0)
    quiet, *loud = [intake.enter(0.0) for _ in range(5)]
    for peer in loud:
        intake.spend(peer, 30.0, 0.0)
    assert all(intake.wait(peer, 0.0) > 0.0 for peer in loud)
    assert intake.wait(quiet, 0.0) == 0.0
    intake.spend(quiet, 10.0, 0.0)
    assert intake.wait(quiet, 0.0) == 0.0
    assert all(intake.wait(peer, 1.0) == 0.0 for peer in loud)


def test_parts_grow_when_peers_leave() -> None:
    intake = Intake(LIMITS, 0.0)
    peers = [intake.enter(0.0) for _ in range(10)]
    for peer in peers:
        intake.spend(peer, 12.0, 0.0)
    assert all(intake.wait(peer, 0.0) > 0.0 for peer in peers)
    for _ in range(5):
        intake.leave()
    assert all(intake.wait(peer, 0.0) == 0.0 for peer in peers)


def test_in_need_smaller_slices_are_read() -> None:
    intake = Intake(LIMITS, 0.0)
    peer = intake.enter(0.0)
    usual = intake.slice_size(0.0)
    intake.spend(peer, 100.0, 0.0)
    assert intake.slice_size(0.0) < usual
    assert intake.slice_size(1.0) == usual
