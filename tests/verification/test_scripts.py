"""The cache of verified transactions in front of the script verifier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckb_node.verification.scripts import ScriptService, VerifiedTransactions
from consensus.errors import CkbError
from consensus.rules.resolve import resolve_transaction
from consensus.script.errors import ExceededMaximumCycles
from consensus.script.verifier import ScriptVerifier
from consensus.tx_env import TxEnv
from consensus.types.core import ResolvedTransaction
from tests.support.builders.wallet import ALICE_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import DevChain, dev_chain, dev_consensus

ALICE = Wallet(ALICE_KEY)


def test_the_least_recently_used_leave() -> None:
    cache = VerifiedTransactions(limit=2)
    one, two, three = ((bytes([number]) * 32, 1) for number in range(3))
    cache.put(one, 10)
    cache.put(two, 20)
    assert cache.get(one) == 10
    cache.put(three, 30)
    assert [cache.get(each) for each in (one, two, three)] == [10, None, 30]
    assert len(cache) == 2


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Hashes of transactions whose scripts really ran."""
    ran: list[bytes] = []
    verify = ScriptVerifier.verify

    def watched(self: ScriptVerifier, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        ran.append(rtx.hash)
        return verify(self, rtx, env, max_cycles)

    monkeypatch.setattr(ScriptVerifier, "verify", watched)
    return ran


def a_transfer(dev: DevChain, signer: Wallet = ALICE) -> ResolvedTransaction:
    cell = issued_cell(dev.consensus, ALICE)
    tx = signer.transfer(dev.consensus, [cell], [(ALICE.lock, cell[1] - CKB)])
    view = dev.chain.view()
    return resolve_transaction(tx, view, view, ())


async def test_scripts_run_once(runs: list[bytes]) -> None:
    """In the pool; the block that commits the transaction finds it verified."""
    async with dev_chain() as dev:
        tx = a_transfer(dev).transaction
        await dev.pool.submit(tx)
        await dev.mine(4)
        view = dev.chain.view()
        assert view.transaction_info(tx.hash) is not None
        assert runs == [tx.hash]
        info = view.transaction_info(tx.hash)
        assert info is not None
        ext = view.block_ext(info.block_hash)
        assert ext is not None
        assert list(ext.cycles or ()) == [dev.scripts.verified.get((tx.witness_hash, 2))]


async def test_another_witness_is_another_transaction(runs: list[bytes]) -> None:
    async with dev_chain() as dev:
        rtx = a_transfer(dev)
        view = dev.chain.view()
        env, runner = TxEnv.submitted(view.tip_header()), dev.scripts.runner(view)
        cycles = runner.run(rtx, env, dev.consensus.max_block_cycles)
        forged = rtx.transaction.replace(witnesses=[bytes(len(rtx.transaction.witnesses[0]))])
        assert forged.hash == rtx.hash
        with pytest.raises(CkbError):
            runner.run(replace(rtx, transaction=forged), env, dev.consensus.max_block_cycles)
        with pytest.raises(CkbError):
            runner.run(replace(rtx, transaction=forged), env, dev.consensus.max_block_cycles)
        assert runs == [rtx.hash] * 3, "a failure is not remembered"
        assert runner.run(rtx, env, cycles) == cycles
        with pytest.raises(ExceededMaximumCycles):
            runner.run(rtx, env, cycles - 1)
        assert len(runs) == 3


async def test_a_new_vm_version_asks_anew(runs: list[bytes]) -> None:
    """A hardfork between admission and commitment may change the verdict."""
    consensus = replace(dev_consensus(), hardforks=replace(dev_consensus().hardforks, rfc_0049=5))
    async with dev_chain() as dev:
        rtx = a_transfer(dev)
        runner = ScriptService(consensus).runner(dev.chain.view())
        before = TxEnv.submitted(dev.chain.view().tip_header())
        after = before._replace(epoch=before.epoch._replace(number=5))
        for env in (before, after, before, after):
            runner.run(rtx, env, consensus.max_block_cycles)
        assert len(runs) == 2
