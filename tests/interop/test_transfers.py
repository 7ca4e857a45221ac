"""Transfers through the pools, chained and many to a block, and multisig with since."""

from __future__ import annotations

import time
from itertools import count

from tests.interop.kit_chain import COUNTS, Mirror, wait_until
from tests.interop.kit_mirror import assert_same_chain, copy_block
from tests.interop.kit_multisig import CAROL, multisig_two_of_three_waits_for_its_since
from tests.support.builders.wallet import CKB

PAUSE_S = 0.3
STALLED_BLOCKS = 20
"""Alone, too, the reference leaves transactions proposed for ever if blocks and transactions come too quickly: when so
many blocks have not committed all, the other program makes the next one."""


def test_what_one_pool_takes_the_other_takes_and_the_chain_commits(mirror: Mirror) -> None:
    mirror.mine(2)
    hashes = []
    for _ in range(4):
        for purse in (mirror.alice, mirror.bob):
            hashes += [mirror.send(mirror.transfer(purse, CAROL.lock, 100 * CKB)) for _ in range(5)]
        block_hash = mirror.source.call("generate_block")
        mirror.copy(block_hash)
        time.sleep(PAUSE_S)

    rounds = count(1)

    def all_committed() -> bool:
        time.sleep(PAUSE_S)
        if next(rounds) % STALLED_BLOCKS:
            mirror.copy(mirror.source.call("generate_block"))
        else:
            copy_block(mirror.target, mirror.source, mirror.target.call("generate_block"))
            COUNTS["blocks of the other one, when a pool stood"] += 1
        answers = (mirror.target.call("get_transaction", tx_hash) for tx_hash in hashes)
        return all(answer["tx_status"]["status"] == "committed" for answer in answers)

    wait_until(all_committed)
    assert_same_chain(mirror.pair)
    for rpc in (mirror.source, mirror.target):
        wait_until(lambda rpc=rpc: rpc.call("tx_pool_info")["total_tx_size"] == "0x0")


def test_multisig_two_of_three_waits_for_its_since(mirror: Mirror) -> None:
    multisig_two_of_three_waits_for_its_since(mirror)
