"""Settings of the interpreter for the node's process."""

from __future__ import annotations

import gc
import sys

from ckb_node.runtime.interpreter import (
    SELDOM_THRESHOLDS,
    SWITCH_S,
    THRESHOLDS,
    collect_seldom,
    stay_responsive,
)


def test_threads_hand_over_soon_and_collections_are_small() -> None:
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        stay_responsive()
        assert sys.getswitchinterval() == SWITCH_S < before[0]
        assert gc.get_threshold() == THRESHOLDS
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000, "what was loaded is not looked at again"
        assert gc.collect() >= 0
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])


def test_processes_that_run_scripts_seldom_look_for_garbage() -> None:
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold() == SELDOM_THRESHOLDS > before
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
