"""A network alert as JSON-RPC writes it."""

from __future__ import annotations

from msgspec import Struct

from ckb_node.jsonrpc_types.hex_text import parse_bytes, parse_uint32, parse_uint64
from network.messages.protocols import Alert, RawAlert


class AlertJson(Struct, frozen=True):
    """A notice with its signatures. `cancel`: the id that it ends, 0x0 for none. Versions as in Semantic Versioning."""

    id: str
    cancel: str
    priority: str
    notice_until: str
    message: str
    signatures: list[str]
    min_version: str | None = None
    max_version: str | None = None


def read_alert(value: AlertJson) -> Alert:
    """Raises BadTextError."""
    body = RawAlert(
        notice_until=parse_uint64(value.notice_until),
        id=parse_uint32(value.id),
        cancel=parse_uint32(value.cancel),
        priority=parse_uint32(value.priority),
        message=value.message.encode(),
        min_version=None if value.min_version is None else value.min_version.encode(),
        max_version=None if value.max_version is None else value.max_version.encode(),
    )
    return Alert(body=body, signatures=[parse_bytes(signature) for signature in value.signatures])
