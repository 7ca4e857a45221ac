"""Templates of mock-transaction files, in the notation of ckb-debugger, so that programs need not be pasted as hex.

0x{{ data FILE }}     bytes of a file, which is named relative to the mock transaction
0x{{ hash FILE }}     their hash
{{ def_type NAME }}   a type script of that name
0x{{ ref_type NAME }} the hash of that type script
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from ckb_node.jsonrpc_types.chain import script_json
from ckb_node.runtime.errors import CommandError
from consensus.crypto.hashing import data_hash
from consensus.params import TYPE_ID_CODE_HASH
from consensus.types.blockchain import HASH_TYPE_TYPE, Script

MAX_FILE_BYTES = 16 << 20
MAX_TEXT_BYTES = 64 << 20

# A template that is replaced by a JSON object takes the quotes around it along.
_TEMPLATE: Final = re.compile(
    rb'"?\{\{ ?(?P<object>def_type) (?P<type>[^{}"]{1,1000}?) ?\}\}"?'
    rb'|\{\{ ?(?P<kind>data|hash|ref_type) (?P<name>[^{}"]{1,1000}?) ?\}\}'
)


def fill_templates(text: bytes, directory: Path) -> bytes:
    """The text with all templates replaced. OSError; CommandError when it grows too large."""

    @cache
    def content(name: bytes) -> bytes:
        with (directory / name.decode(errors="surrogateescape")).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise CommandError(f"{file.name}: larger than {MAX_FILE_BYTES} bytes")
        return data

    def filling(match: re.Match[bytes]) -> bytes:
        if match["object"]:
            return msgspec.json.encode(script_json(_type_script(match["type"])))
        name = match["name"]
        match match["kind"]:
            case b"ref_type":
                return _type_script(name).hash.hex().encode()
            case b"hash":
                return data_hash(content(name)).hex().encode()
        return content(name).hex().encode()

    parts: list[bytes] = []
    end = size = 0
    for match in _TEMPLATE.finditer(text):
        parts += [text[end : match.start()], filling(match)]
        end = match.end()
        size += len(parts[-1])
        if size > MAX_TEXT_BYTES:
            raise CommandError(f"the templates of a mock transaction stand for more than {MAX_TEXT_BYTES} bytes")
    return b"".join([*parts, text[end:]])


def _type_script(name: bytes) -> Script:
    """A type script that differs from others by its name only."""
    return Script(code_hash=TYPE_ID_CODE_HASH, hash_type=HASH_TYPE_TYPE, args=name)
