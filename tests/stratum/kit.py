"""Sessions without sockets: a desk whose clock stands still, jobs whose headers are given, a wire that remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ckb_node.mining.template import BlockTemplate, CellbaseTemplate
from ckb_node.stratum.desk import Desk, DeskRules
from ckb_node.stratum.found import FoundBlock
from ckb_node.stratum.jobs import Prepared, Rounds, Work, prepare
from ckb_node.stratum.nonces import NonceSpace
from ckb_node.stratum.session import Session
from ckb_node.stratum.shares import Judge
from ckb_node.stratum.vardiff import VardiffRules
from consensus.address import AddressNetwork
from consensus.params import PowFunc
from consensus.types.blockchain import (
    NULL_OUT_POINT,
    Block,
    CellbaseWitness,
    CellInput,
    Header,
    RawHeader,
    RawTransaction,
    Transaction,
)
from tests.support.builders.wallet import ALICE_KEY, Wallet

FIRST_JOB = 0x1611
"""The number of the first job, as in the demo's example."""
ANY_TARGET = (1 << 256) - 1
NO_TARGET = 0
RULES = VardiffRules(10.0, 1, 1, 1 << 60)
"""Every hash is a share at the start."""


@dataclass
class Wire:
    """What a session sends, and why it was dropped."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    dropped: str = ""
    is_banned: bool = False

    def send(self, data: bytes) -> None:
        assert data.endswith(b"\n")
        self.sent += [json.loads(line) for line in data.splitlines()]

    def drop(self, reason: str, *, is_ban: bool = False) -> None:
        self.dropped, self.is_banned = self.dropped or reason, self.is_banned or is_ban

    def take(self) -> list[dict[str, Any]]:
        taken, self.sent = self.sent, []
        return taken


@dataclass
class Solved:
    """A block that was submitted; `decide` answers the miner."""

    block: Block
    found: FoundBlock
    decide: Callable[[], None]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self.now_s * 1000)


def a_template(header: RawHeader | None = None, **fields: Any) -> BlockTemplate:
    """Of an empty block; numbers are the header's."""
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=NULL_OUT_POINT)],
        outputs=[],
        outputs_data=[],
    )
    witness = CellbaseWitness(lock=Wallet(ALICE_KEY).lock, message=b"message")
    values: dict[str, Any] = {
        "version": 0,
        "compact_target": 0x1A10_0000 if header is None else header.compact_target,
        "current_time": 1_700_000_000_000 if header is None else header.timestamp,
        "number": 1 if header is None else header.number,
        "epoch": 0 if header is None else header.epoch,
        "parent_hash": bytes(32) if header is None else header.parent_hash,
        "cycles_limit": 1,
        "bytes_limit": 1,
        "uncles_count_limit": 2,
        "uncles": [],
        "transactions": [],
        "proposals": [],
        "cellbase": CellbaseTemplate(Transaction(body=body, witnesses=[witness.raw])),
        "work_id": 1,
        "dao": bytes(32) if header is None else header.dao,
        "extension": None,
    }
    return BlockTemplate(**(values | fields))


def real_job(raw: bytes) -> Prepared:
    """The work of a real header, whose block is another one: only the header counts."""
    header = Header.parse(raw).body
    return replace(prepare(a_template(header)), header=header)


def easy_job(target: int = NO_TARGET, **fields: Any) -> Prepared:
    """Work of an empty block with this target; 0: no share is a block."""
    return replace(prepare(a_template(**fields)), target=target)


@dataclass(frozen=True, slots=True)
class FixedWork(Work):
    """Work whose pow hash is known and whose header is not."""

    fixed: bytes = b""

    def pow_hash(self, time_offset: int) -> bytes:
        del time_offset
        return self.fixed


class Bench:
    """A desk, and miners at it."""

    def __init__(
        self,
        job: Prepared | None = None,
        *,
        rules: VardiffRules = RULES,
        function: PowFunc = PowFunc.EAGLESONG,
        policy: Any = "assembler",
        first_number: int = 0x00C904BD,
    ) -> None:
        self.clock = Clock()
        self.solved: list[Solved] = []
        self.desk = Desk(
            DeskRules(policy, AddressNetwork.MAINNET, rules, grace_s=3.0, idle_s=900.0),
            Judge(function),
            Rounds(FIRST_JOB),
            lambda block, found, decide: self.solved.append(Solved(block, found, decide)),
            self.clock.monotonic_s,
            self.clock.now_ms,
            NonceSpace(first_number),
        )
        if job is not None:
            self.desk.rounds.add(job, self.clock.now_s)

    def miner(self) -> Miner:
        return Miner(self)

    def new_job(self, job: Prepared, *miners: Miner) -> None:
        """All miners hear of it."""
        _, is_new_tip = self.desk.rounds.add(job, self.clock.now_s)
        for each in miners:
            each.session.new_round(is_clean=is_new_tip)


class Miner:
    """One at the other end of a session."""

    def __init__(self, bench: Bench) -> None:
        self.wire = Wire()
        self.session = Session(bench.desk, self.wire)

    def ask(self, method: str, params: Any, message_id: Any = 1) -> list[dict[str, Any]]:
        """What comes back at once."""
        self.session.line(json.dumps({"id": message_id, "method": method, "params": params}).encode())
        return self.wire.take()

    def join(self, user: str = "worker", *agent: Any) -> list[dict[str, Any]]:
        """Subscribe and authorise; all that comes back."""
        came = self.ask("mining.subscribe", list(agent or ("a miner",)))
        return came + self.ask("mining.authorize", [user, "x"], 2)
