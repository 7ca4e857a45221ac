"""What the two programs say to a block that may be bad: the verdict must be the same, and so must the words."""

from __future__ import annotations

import re

from tests.interop.kit_block import block_of
from tests.interop.kit_chain import COUNTS, Mirror
from tests.interop.kit_json import Json
from tests.interop.kit_mirror import tip_hash
from tests.support.nodes.process import RpcClient, RpcFailure


def answers(mirror: Mirror, block: Json) -> tuple[str, str]:
    """The reference's answer to submit_block, and ours: the block's hash, or code and message."""
    return said(mirror.pair.reference.rpc, block), said(mirror.pair.ours.rpc, block)


def said(rpc: RpcClient, block: Json) -> str:
    try:
        return str(rpc.call("submit_block", "0x0", block))
    except RpcFailure as failure:
        # Clock times differ.
        return re.sub(r"\d{13}", "TIME", f"{failure.code} {failure.message}")


def same_verdict(mirror: Mirror, block: Json) -> bool:
    """Whether both made the block their tip; fails when only one did, or for other reasons. The tip is restored."""
    is_good, theirs, ours = common_verdict(mirror, block)
    assert theirs == ours, f"reference: {theirs}, ours: {ours}"
    return is_good


def common_verdict(mirror: Mirror, block: Json) -> tuple[bool, str, str]:
    """Whether both made the block their tip, and what they said; fails when only one did. The tip is restored."""
    before = tip_hash(mirror.source)
    theirs, ours = answers(mirror, block)
    COUNTS["verdicts"] += 1
    moved = [tip_hash(rpc) != before for rpc in (mirror.pair.reference.rpc, mirror.pair.ours.rpc)]
    for rpc, has_moved in zip((mirror.pair.reference.rpc, mirror.pair.ours.rpc), moved, strict=True):
        if has_moved:
            rpc.call("truncate", before)
    assert moved[0] == moved[1], f"reference: {theirs}, ours: {ours}"
    return moved[0], theirs, ours


def block_with(mirror: Mirror, template: Json) -> Json:
    """The block of a template with the dao field of its content; both must compute the same, if any."""
    fields = [_dao_field(rpc, template) for rpc in (mirror.pair.reference.rpc, mirror.pair.ours.rpc)]
    assert fields[0] == fields[1] or not any(field.startswith("0x") for field in fields), f"dao fields {fields}"
    return block_of(template | ({"dao": fields[0]} if fields[0].startswith("0x") else {}))


def _dao_field(rpc: RpcClient, template: Json) -> str:
    try:
        return str(rpc.call("calculate_dao_field", template))
    except RpcFailure as failure:
        return f"{failure.code} {failure.message}"
