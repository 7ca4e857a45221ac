"""Module Alert: notices of the developers to all nodes."""

from __future__ import annotations

from ckb_node.rpc.errors import Code, RpcError, invalid_params
from ckb_node.rpc.params import AlertParam
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services
from network.limits import ALERT
from network.protocols.alert import AlertSignatureError

METHODS = Methods(Module.ALERT)

MAX_ALERT = ALERT.max_frame - 1
"""Bytes, beside the one that says how it is compressed."""


@METHODS.method
def send_alert(services: Services, alert: AlertParam) -> None:
    """Show a signed alert, and tell it to all peers.

    Errors: -1000 without enough signatures of those who may send alerts, -101 when the network does not run, -32602 for
    an alert that has expired.
    """
    now_ms = services.clock.now_ms()
    notice_until = alert.body.notice_until
    if notice_until < now_ms:
        raise invalid_params(f"Expected `params[0].notice_until` in the future (> {now_ms}), got {notice_until}")
    if alert.raw_size > MAX_ALERT:
        raise invalid_params(f"an alert of {alert.raw_size} bytes, of at most {MAX_ALERT}")
    try:
        is_told = services.net.send_alert(alert)
    except AlertSignatureError as error:
        raise RpcError(Code.AlertFailedToVerifySignatures, str(error), error.name) from error
    if not is_told:
        raise RpcError(Code.P2PFailedToBroadcast, "the network does not run")
