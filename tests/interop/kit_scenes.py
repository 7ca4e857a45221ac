"""Chains of many kinds of blocks, which tests make to then export them or to compare what was derived from them."""

from __future__ import annotations

from collections.abc import Callable

from tests.interop import kit_content, kit_dao, kit_epochs, kit_multisig
from tests.interop.kit_chain import Mirror

FORK_EPOCH = 2


def transactions_of_each_kind(mirror: Mirror) -> None:
    """Transactions of each kind, uncles, epochs, the fork."""
    kit_multisig.multisig_two_of_three_waits_for_its_since(mirror)
    kit_content.uncles_with_proposals(mirror)
    while mirror.tip_epoch()[0] < FORK_EPOCH:
        mirror.mine()
    kit_content.dep_groups_header_deps_exec_and_spawn(mirror)
    kit_content.type_ids_and_code_found_by_type(mirror)
    deposit = kit_dao.Deposit(mirror, mirror.alice)
    mirror.mine(3)
    mirror.commit(deposit.phase_one())
    mirror.mine(extension=mirror.template()["extension"] + "ff" * 8)


SCENES: dict[str, tuple[Callable[[Mirror], None], dict[str, object]]] = {
    "kinds": (transactions_of_each_kind, {"permanent_difficulty_in_dummy": False, "ckb2023": FORK_EPOCH}),
    "dao": (kit_dao.deposit_withdraw_and_claim, kit_dao.SHORT_EPOCHS),
    "epochs": (kit_epochs.epochs_follow_time_and_uncles, kit_epochs.MOVING_EPOCHS),
}
