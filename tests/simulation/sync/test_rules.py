"""The table of rules and scenes: each punishment of the chain's protocols has a scene that causes it, and each scene
is in the table."""

from __future__ import annotations

import ast
from pathlib import Path

from network.peers.penalties import PENALTIES, Action, Misbehaviour, penalty
from tests.simulation.sync.attack import Attack
from tests.simulation.sync.attacks import ATTACKS
from tests.simulation.sync.rules import BAD_BRANCHES, HARMLESS, NEVER, RULES

OF_THE_CHAIN = ("SYNC_", "RELAY_", "TRANSACTION_", "FILTER_", "LIGHT_CLIENT_")


def functions_of_this_room() -> set[str]:
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return found


def attacks_of(scene: str) -> list[Attack]:
    return [
        attack
        for attack in ATTACKS
        if attack.name == scene or (scene == BAD_BRANCHES and attack.name.startswith(scene))
    ]


def test_each_rule_has_a_scene() -> None:
    rules = {each for each in Misbehaviour if each.name.startswith(OF_THE_CHAIN)}
    assert rules == {*RULES, *NEVER}
    assert all(RULES.values())


def test_each_scene_is_there_and_costs_what_its_rule_says() -> None:
    tests = functions_of_this_room()
    for rule, scenes in RULES.items():
        row = penalty(rule)
        for scene in scenes:
            found = attacks_of(scene)
            assert found or scene in tests, f"{rule.name}: no scene {scene!r}"
            for attack in found:
                assert row.action is Action.BAN
                assert attack.ban == PENALTIES[rule].ban_seconds, attack
                assert row.reason.startswith(attack.reason), attack
    for scene in HARMLESS:
        assert [attack.ban for attack in attacks_of(scene)] == [0], scene


def test_each_attack_is_in_the_table() -> None:
    named = {attack.name for scenes in (*RULES.values(), HARMLESS) for scene in scenes for attack in attacks_of(scene)}
    assert {attack.name for attack in ATTACKS} == named
    assert len(named) == len(ATTACKS), "each has a name of its own"
