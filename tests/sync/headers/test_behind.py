"""Outbound peers whose chain stays behind ours."""

from __future__ import annotations

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.headers.behind import ANSWER_SECONDS, CATCH_UP_SECONDS, Behind, Step
from tests.sync.headers.kit_headers import GENESIS, branch

HEADERS = branch(GENESIS, 3)


def tip(work: int) -> KnownTip:
    return KnownTip(HEADERS[0], work)


def test_who_has_our_tip_is_not_behind() -> None:
    behind = Behind()
    assert behind.look(10, tip(10), 0.0) is Step.NOTHING
    assert behind.mark is None


def test_who_stays_behind_is_asked_once_and_given_up() -> None:
    behind = Behind()
    assert behind.look(None, tip(10), 0.0) is Step.NOTHING
    assert behind.look(None, tip(11), CATCH_UP_SECONDS) is Step.NOTHING
    assert behind.look(5, tip(12), CATCH_UP_SECONDS + 1) is Step.ASK
    assert behind.mark == tip(10)  # the tip of the beginning
    asked = CATCH_UP_SECONDS + 1
    assert behind.look(5, tip(12), asked + ANSWER_SECONDS) is Step.NOTHING
    assert behind.look(5, tip(12), asked + ANSWER_SECONDS + 1) is Step.GIVE_UP


def test_who_reaches_the_mark_gets_another_one() -> None:
    behind = Behind()
    behind.look(5, tip(10), 0.0)
    assert behind.look(10, tip(12), CATCH_UP_SECONDS + 1) is Step.NOTHING
    assert behind.mark == tip(12)
    assert behind.look(10, tip(12), 2 * CATCH_UP_SECONDS) is Step.NOTHING
    assert behind.look(12, tip(12), 2 * CATCH_UP_SECONDS) is Step.NOTHING
    assert behind.mark is None


def test_time_in_which_we_stood_still_does_not_count() -> None:
    behind = Behind()
    behind.look(5, tip(10), 0.0)
    behind.put_off(1000.0)
    assert behind.look(5, tip(10), CATCH_UP_SECONDS + 999) is Step.NOTHING
    assert behind.look(5, tip(10), CATCH_UP_SECONDS + 1001) is Step.ASK
