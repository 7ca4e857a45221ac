"""Hash of a header that is only JSON."""

from __future__ import annotations

import msgspec

from ckb_node.rpc.jsontypes import HeaderJson, read_header
from tests.interop.kit_json import Json, hexed


def header_hash(header: Json) -> str:
    return hexed(read_header(msgspec.convert(header, HeaderJson)).hash)
