"""The chain that is attacked: many cells of one lock, full blocks, and scripts that do not end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ckb_node.jsonrpc_types.chain import transaction_json
from consensus.crypto.hashing import data_hash
from consensus.types.blockchain import (
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from tests.support.builders.wallet import ALICE_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import init_directory, quiet_node, send
from tests.support.vm.script_programs import Program

DATA2 = 4
CELLS_AT_ONCE = 2500
SPLITS = 40
FEE = CKB


@dataclass(frozen=True)
class Target:
    """A node's directory, and what attackers need to know of its chain."""

    directory: str
    port: int
    search: dict[str, Any]
    """A search key that finds CELLS_AT_ONCE * SPLITS cells."""
    full_block: str
    """Hash of a block of CELLS_AT_ONCE outputs and more."""
    endless: list[dict[str, Any]]
    """Transactions whose script never ends."""


def target_in(directory: Path) -> Target:
    """The target in a directory, made if it is not there; some 30 s."""
    kept = directory / "target.json"
    if not kept.exists():
        target = _make_target(directory / "node")
        kept.write_bytes(msgspec.json.encode(target))
    return msgspec.json.decode(kept.read_bytes(), type=Target)


def _make_target(directory: Path) -> Target:
    """Mine the chain, and wait for the indexer."""
    port = init_directory(directory)
    with quiet_node(directory, port) as node:
        maker = _Maker(node.rpc)
        always, endless = _exiting(), _endless()
        maker.deploy(always, endless)
        free = Script(code_hash=data_hash(always), hash_type=DATA2, args=b"\x07")
        splits = [maker.split(free) for _ in range(SPLITS)]
        maker.wait_for(splits[-1])
        coins = [OutPoint(tx_hash=splits[0].hash, index=index) for index in range(40)]
        evil = [maker.running(coin, endless, bytes([number])) for number, coin in enumerate(coins)]
        full_block = maker.status(splits[1])["block_hash"]
        while int(node.rpc.call("get_indexer_tip")["block_number"], 16) < node.rpc.tip():
            time.sleep(0.2)
    key = {"code_hash": "0x" + free.code_hash.hex(), "hash_type": "data2", "args": "0x07"}
    return Target(str(directory), port, {"script": key, "script_type": "lock"}, full_block, evil)


class _Maker:
    """Spends Alice's money."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._consensus = dev_consensus()
        self._alice = Wallet(ALICE_KEY)
        self._cell = issued_cell(self._consensus, self._alice)
        self._deps: dict[bytes, CellDep] = {}

    def deploy(self, *programs: bytes) -> None:
        """Put programs on the chain."""
        outputs = [(self._alice.lock, (len(program) + 100) * CKB, program) for program in programs]
        made = self._pay(outputs)
        for index, program in enumerate(programs):
            self._deps[program] = CellDep(out_point=OutPoint(tx_hash=made.hash, index=index), dep_type=0)
        self.wait_for(made)

    def split(self, lock: Script) -> Transaction:
        """Many cells of a lock."""
        return self._pay([(lock, 100 * CKB, b"")] * CELLS_AT_ONCE)

    def running(self, coin: OutPoint, program: bytes, args: bytes) -> dict[str, Any]:
        """A transaction that runs a program as the type script of its output; not sent."""
        always = next(iter(self._deps))
        script = Script(code_hash=data_hash(program), hash_type=DATA2, args=args)
        output = CellOutput(capacity=99 * CKB, lock=Script(code_hash=bytes(32), hash_type=0, args=b""), type_=script)
        body = _body([coin], [output], [b""], [self._deps[always], self._deps[program]])
        built: dict[str, Any] = msgspec.to_builtins(transaction_json(Transaction(body=body, witnesses=[])))
        return built

    def _pay(self, outputs: Sequence[tuple[Script, int, bytes]]) -> Transaction:
        cell, capacity = self._cell
        change = capacity - sum(amount for _, amount, _ in outputs) - FEE
        cells = [CellOutput(capacity=amount, lock=lock, type_=None) for lock, amount, _ in outputs]
        cells.append(CellOutput(capacity=change, lock=self._alice.lock, type_=None))
        datas = [data for _, _, data in outputs] + [b""]
        made = self._alice.sign(_body([cell], cells, datas, [sighash_dep(self._consensus)]))
        send(self._rpc, made)
        self._cell = OutPoint(tx_hash=made.hash, index=len(outputs)), change
        return made

    def wait_for(self, transaction: Transaction) -> None:
        """Mine until it is on the chain."""
        while self.status(transaction)["status"] != "committed":
            self._rpc.call("generate_block")

    def status(self, transaction: Transaction) -> dict[str, Any]:
        """Where a transaction is."""
        found: dict[str, Any] = self._rpc.call("get_transaction", "0x" + transaction.hash.hex(), "0x1")["tx_status"]
        return found


def _body(
    inputs: Sequence[OutPoint], outputs: list[CellOutput], datas: list[bytes], deps: list[CellDep]
) -> RawTransaction:
    return RawTransaction(
        version=0,
        cell_deps=deps,
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=out_point) for out_point in inputs],
        outputs=outputs,
        outputs_data=datas,
    )


def _exiting() -> bytes:
    program = Program()
    program.exit(0)
    return program.elf()


def _endless() -> bytes:
    program = Program()
    program.label("again")
    program.jump("again")
    return program.elf()
