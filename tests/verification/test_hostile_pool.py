"""A hostile script in the pool of a node: others go on, it can be withdrawn, and the node stops at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from threading import Thread

import pytest

from ckb_node.txpool.rejects import Invalidated, Reject, VerificationFailed
from ckb_node.verification import scripts as chain_scripts
from ckb_node.verification.stopping import BudgetExceeded
from consensus.types.blockchain import OutPoint, Transaction
from tests.support.builders.dev_transactions import ALICE, with_code
from tests.support.builders.wallet import issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import Funds, funded
from tests.support.nodes.process import NodeProcess, RpcFailure
from tests.support.nodes.quiet import init_directory, send
from tests.verification.kit import calling_for_ever, endless

CURRENT_CYCLES = 2042


async def hostile_in(funds: Funds, code: bytes) -> Transaction:
    """A transaction that runs the program, which the pool has just got."""
    storing, running = with_code(
        funds.dev.consensus, (OutPoint(tx_hash=funds.splitting.hash, index=8), _change(funds)), code
    )
    await funds.submit(storing)
    return running


def _change(funds: Funds) -> int:
    return funds.splitting.body.outputs[8].capacity


async def test_out_of_time_is_a_typed_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_scripts, "MIN_POOL_S", 0.3)
    monkeypatch.setattr(chain_scripts, "POOL_CYCLES_PER_S", 1e15)
    async with funded() as funds:
        reason = await funds.refusal(await hostile_in(funds, calling_for_ever(CURRENT_CYCLES)))
        assert isinstance(reason, VerificationFailed)
        assert isinstance(reason.cause, BudgetExceeded)


async def stopped(funds: Funds, tx: Transaction) -> Reject:
    """What the sender is told; nobody remembers it, for it says nothing of the transaction."""
    with pytest.raises(Reject) as refused:
        await funds.pool.submit(tx)
    assert await funds.pool.transaction(tx.hash) is None
    return refused.value


@pytest.mark.parametrize("way", ["remove", "clear", "clear_verify_queue", "stop"])
async def test_withdrawn_while_it_runs(way: str) -> None:
    async with funded() as funds, asyncio.timeout(60):
        tx = await hostile_in(funds, endless())
        asked = stopped(funds, tx) if way == "stop" else funds.refusal(tx)
        run = asyncio.get_running_loop().create_task(asked)
        await asyncio.sleep(0.5)
        await funds.submit(funds.spend(), funds.spend(), funds.spend())
        assert not run.done(), "others are taken meanwhile"
        match way:
            case "remove":
                assert await funds.pool.remove(tx.hash)
            case "clear":
                await funds.pool.clear()
            case "clear_verify_queue":
                await funds.pool.clear_verify_queue()
            case _:
                funds.dev.scripts.end_runs()
        assert isinstance(await run, Invalidated), "an endless script ends in no other way within the test's time"


async def test_blocks_come_in_while_it_runs() -> None:
    async with funded() as funds, asyncio.timeout(60):
        tx = await hostile_in(funds, endless())
        run = asyncio.get_running_loop().create_task(funds.refusal(tx))
        await asyncio.sleep(0.5)
        await funds.dev.mine(2)
        assert not run.done()
        assert await funds.pool.remove(tx.hash)
        assert isinstance(await run, Invalidated)


@pytest.mark.parametrize("code", [endless(), calling_for_ever(CURRENT_CYCLES)], ids=["endless", "system calls"])
def test_ctrl_c_while_a_hostile_script_runs(tmp_path: Path, code: bytes) -> None:
    directory = tmp_path / "node"
    port = init_directory(directory)
    consensus = dev_consensus()
    storing, running = with_code(consensus, issued_cell(consensus, ALICE), code)
    node = NodeProcess(directory, "run", port=port)
    try:
        node.wait_until_ready()
        send(node.rpc, storing)

        def submit() -> None:
            with pytest.raises((OSError, RpcFailure)):
                send(node.rpc, running)

        client = Thread(target=submit)
        client.start()
        time.sleep(2.0)
        assert client.is_alive(), "the script runs"
        assert node.rpc.tip() == 0
        node.stop()  # bounded, and the script would never end
        client.join(5)
        assert not client.is_alive()
    finally:
        if node.process.poll() is None:
            node.kill()
