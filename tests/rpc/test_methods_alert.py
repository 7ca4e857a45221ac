"""Module Alert: `send_alert`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from ckb_node.net.assembly import NodeProtocols
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.registry import Module
from ckb_node.sync.service import SyncService
from network.limits import ALERT
from network.messages.protocols import Alert, RawAlert
from network.protocols.alert import AlertKeys, AlertProtocol
from tests.rpc.kit import RpcChain, rpc_chain
from tests.support.asking import RpcFailure, call, dispatcher_of
from tests.support.builders.wallet import BOB_KEY
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.support.nodes.idle_network import idle_net

HOLDERS = [PrivateKey(bytes([number]) * 32) for number in range(1, 5)]
KEYS = AlertKeys(2, frozenset(holder.public_key.format() for holder in HOLDERS))


class Desk:
    """Satisfies ckb_node.net.view.AlertDesk, over the protocol and one peer."""

    def __init__(self, now_ms: int) -> None:
        self._protocol = AlertProtocol(FakeScheduler(wall_ms=now_ms), "0.1.0", lambda _: None, keys=KEYS)
        self.peer = FakePeer(1).connect(self._protocol)
        self.alerts = self._protocol.alerts

    def publish(self, alert: Alert) -> bool:
        self._protocol.publish(alert)
        return True


class Case:
    """The RPC of a node that has a peer."""

    def __init__(self, rpc: RpcChain) -> None:
        self.now_ms = rpc.node.clock.now_ms()
        self.desk = Desk(self.now_ms)
        net = idle_net(rpc.node.chain, BOB_KEY, "0.1.0", rpc.node.clock.now_ms, self.desk)
        self.dispatcher: Dispatcher = dispatcher_of(replace(rpc.services, net=net), tuple(Module))

    def alert(self, signers: Sequence[PrivateKey] = HOLDERS[:2], **changes: Any) -> tuple[dict[str, Any], Alert]:
        """As JSON and as peers see it."""
        values: dict[str, Any] = {
            "notice_until": self.now_ms + 60_000,
            "id": 7,
            "cancel": 0,
            "priority": 20,
            "message": b"update!",
            "min_version": None,
            "max_version": b"1.0.0",
        }
        body = RawAlert(**(values | changes))
        signatures = [signer.sign_recoverable(body.hash, hasher=None) for signer in signers]
        shown: dict[str, Any] = {
            name: hex(value) if isinstance(value, int) else value and value.decode()
            for name, value in (values | changes).items()
        }
        shown["signatures"] = ["0x" + signature.hex() for signature in signatures]
        return shown, Alert(body=body, signatures=signatures)

    async def send(self, shown: dict[str, Any]) -> Any:
        return await call(self.dispatcher, "send_alert", shown)

    async def refusal(self, shown: dict[str, Any]) -> RpcFailure:
        with pytest.raises(RpcFailure) as caught:
            await self.send(shown)
        assert self.desk.peer.take(ALERT) == []
        return caught.value


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with rpc_chain() as rpc:
        yield Case(rpc)


async def test_a_signed_alert_is_shown_and_told(case: Case) -> None:
    shown, alert = case.alert()
    assert await case.send(shown) is None
    assert case.desk.peer.take(ALERT) == [alert.raw]
    info = await call(case.dispatcher, "get_blockchain_info")
    assert info["alerts"] == [
        {"id": "0x7", "priority": "0x14", "notice_until": shown["notice_until"], "message": "update!"}
    ]


@pytest.mark.parametrize(
    ("signers", "text", "data"),
    [
        ([], "The count of sigs is less than threshold.", "SigNotEnough"),
        ([*HOLDERS, HOLDERS[0]], "The count of sigs should be less than privkeys.", "SigCountOverflow"),
        ([HOLDERS[0]] * 2, "Failed to meet threshold 2, actual: 1.", "Threshold { threshold: 2, pass_sigs: 1 }"),
    ],
)
async def test_an_alert_that_is_not_signed(case: Case, signers: Sequence[PrivateKey], text: str, data: str) -> None:
    failure = await case.refusal(case.alert(signers)[0])
    assert (failure.code, failure.message, failure.data) == (-1000, f"AlertFailedToVerifySignatures: {text}", data)


async def test_an_alert_of_the_past(case: Case) -> None:
    past = case.now_ms - 1
    failure = await case.refusal(case.alert(notice_until=past)[0])
    assert failure.code == -32602
    assert failure.message.startswith("InvalidParams: Expected `params[0].notice_until` in the future (> 17")
    assert failure.message.endswith(f"), got {past}")


async def test_an_alert_that_no_message_can_carry(case: Case) -> None:
    failure = await case.refusal(case.alert(message=b"x" * ALERT.max_frame)[0])
    assert failure.code == -32602
    assert f"of at most {ALERT.max_frame - 1}" in failure.message


@pytest.mark.parametrize(
    ("name", "value"), [("id", "7"), ("id", "0x100000000"), ("signatures", ["zz"]), ("message", None)]
)
async def test_an_alert_of_other_types(case: Case, name: str, value: object) -> None:
    failure = await case.refusal(case.alert()[0] | {name: value})
    assert failure.code == -32602


def no_sync(_: object) -> SyncService:
    raise AssertionError("the network does not run")


async def test_without_a_network_nobody_is_told() -> None:
    async with rpc_chain() as rpc:
        case = Case(rpc)
        desk = NodeProtocols(frozenset({ALERT}), "0.1.0", KEYS, None, no_sync)
        net = idle_net(rpc.node.chain, BOB_KEY, "0.1.0", rpc.node.clock.now_ms, desk)
        case.dispatcher = dispatcher_of(replace(rpc.services, net=net), tuple(Module))
        failure = await case.refusal(case.alert()[0])
        assert (failure.code, failure.message) == (-101, "P2PFailedToBroadcast: the network does not run")
        assert (await case.refusal(case.alert([])[0])).code == -1000
