"""Blocks as JSON, from templates, to be spoilt one member at a time."""

from __future__ import annotations

from typing import Any

from tests.interop.kit_chain import Mirror
from tests.interop.kit_json import Json, sent_block
from tests.support.nodes.process import RpcClient

ZERO = "0x" + "00" * 32
HEADER_MEMBERS = ("version", "compact_target", "number", "epoch", "parent_hash", "dao")


def block_of(template: Json, **header: Any) -> Json:
    """The block of a template, as submit_block takes it; whoever takes it computes the three roots."""
    block = {
        "header": {key: template[key] for key in HEADER_MEMBERS}
        | {
            "timestamp": template["current_time"],
            "transactions_root": ZERO,
            "proposals_hash": ZERO,
            "extra_hash": ZERO,
            "nonce": "0x0",
        }
        | header,
        "uncles": [{"header": uncle["header"], "proposals": uncle["proposals"]} for uncle in template["uncles"]],
        "transactions": [template["cellbase"]["data"], *(each["data"] for each in template["transactions"])],
        "proposals": template["proposals"],
    }
    return block | ({} if template.get("extension") is None else {"extension": template["extension"]})


def with_dao(rpc: RpcClient, template: Json) -> Json:
    """The template with the dao field of its content."""
    return template | {"dao": rpc.call("calculate_dao_field", template)}


def shifted(text: str, by: int) -> str:
    """A hex number moved."""
    return hex((int(text, 16) + by) % (1 << 64))


def changed(value: Json, path: tuple[str | int, ...], new: Json) -> Json:
    """A copy of JSON with one place changed."""
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def uncle_of(mirror: Mirror, template: Json, step_ms: int) -> Json:
    """A brother of the tip on both nodes, as blocks have uncles."""
    brother = template | {"current_time": shifted(template["current_time"], step_ms)}
    view = mirror.source.call("get_fork_block", mirror.make(brother))
    block = sent_block(view)
    mirror.target.call("submit_block", "0x0", block)
    return {"header": block["header"], "proposals": block["proposals"]}
