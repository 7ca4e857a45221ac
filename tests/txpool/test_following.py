"""The pool follows the chain in steps, and whatever comes between two of them finds it sound."""

from __future__ import annotations

import asyncio

import pytest

from ckb_node.chain import publisher
from ckb_node.txpool import service
from ckb_node.txpool.rejects import Reject, ResolveFailed
from consensus.types.blockchain import Block
from tests.benches.chain_maker import ChainMaker
from tests.chain.kit_branches import submit_all
from tests.functional.test_reorg import pool_hashes
from tests.kit.devchain import dev_chain
from tests.kit.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet


async def test_a_big_block_is_followed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "SLICE_S", 0.0)
    monkeypatch.setattr(service, "AT_ONCE", 8)
    maker = ChainMaker()
    cells = maker.cells(30)
    transfers = list(maker.transfers(cells))
    maker.add_in_two_phases([transfers])
    blocks = [Block.parse(raw) for raw in maker.raw_blocks]
    late = Wallet(ALICE_KEY).transfer(maker.consensus, [cells[-1]], [(Wallet(BOB_KEY).lock, 900 * CKB)])
    async with dev_chain() as dev:
        await submit_all(dev, blocks[:-1])
        for transfer in transfers:
            await dev.pool.submit(transfer)
        before, sizes, refused = dev.chain.view(), list[int](), list[Reject]()
        submission = asyncio.get_running_loop().create_task(dev.chain.submit_block(blocks[-1]))
        while not submission.done():
            sizes.append(len(dev.pool.pool.graph))
            if 0 < sizes[-1] < len(transfers):
                with pytest.raises(Reject) as caught:
                    dev.pool.pool.check(late)
                refused.append(caught.value)
                assert dev.pool.pool.tip == blocks[-1].header, "the pool has moved before it is told of the block"
            await asyncio.sleep(0)
        await submission
        assert before.tip_header() == blocks[-2].header
        assert sorted(set(sizes), reverse=True) == [30, 22, 14, 6, 0]
        assert refused
        assert all(isinstance(reason, ResolveFailed) for reason in refused), "its cell is spent, by pool or chain"
        assert await pool_hashes(dev) == set()
        (await dev.assembler.block_template()).to_block()
