"""Templates as JSON texts: many miners ask for the same one, which only differs in its time."""

from __future__ import annotations

from typing import Final

from ckb_node.jsonrpc_types.hex_text import uint_text
from ckb_node.mining.template import BlockTemplate
from ckb_node.mining.template_json import BlockTemplateJson, template_json
from ckb_node.rpc.calls import EncodedJson, encode

_TIME: Final = b'"current_time":"'


def is_written(template: BlockTemplate) -> bool:
    """The text is there but for its time."""
    return bool(template.text)


def template_text(template: BlockTemplate) -> EncodedJson[BlockTemplateJson]:
    """The text of a template. Takes long for one that `is_written` says no of. From any thread."""
    if not template.text:
        # The members before it are numbers in hex, so the first such text is the member.
        head, _, rest = encode(template_json(template)).partition(_TIME)
        template.text[:] = [head + _TIME, rest[rest.index(b'"') :]]
    head, rest = template.text
    return EncodedJson(head + uint_text(template.current_time).encode() + rest)
