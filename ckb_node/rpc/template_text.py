"""Templates as JSON texts: many miners ask for the same one, which only differs in its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Final

from ckb_node.jsonrpc_types.fast_write import transaction_json
from ckb_node.jsonrpc_types.hex_text import uint_text
from ckb_node.mining.template import BlockTemplate, TransactionTemplate
from ckb_node.mining.template_json import BlockTemplateJson, template_json
from ckb_node.rpc.calls import EncodedJson, encode
from ckb_node.runtime.bounded import BoundedMap

_TIME: Final = b'"current_time":"'
_NO_TRANSACTIONS: Final = b'"transactions":[]'

MAX_TEXT_BYTES: Final = 16 << 20
"""Of transactions: one template follows the other with nearly the same ones."""


_Key = tuple[bytes, int | None, bool, tuple[int, ...] | None]
"""Bytes of the transaction, cycles, whether it is required, what it depends on."""


class TransactionTexts:
    """JSON of transactions of templates; the least recently used leave. Any thread."""

    def __init__(self, max_bytes: int = MAX_TEXT_BYTES) -> None:
        self._texts: Final[BoundedMap[_Key, bytes]] = BoundedMap(max_bytes=max_bytes, size_of=len)
        self._lock: Final = Lock()

    def of(self, templates: Sequence[TransactionTemplate]) -> list[bytes]:
        """The JSON of a TransactionTemplateJson, of each."""
        with self._lock:
            return [self._of(each) for each in templates]

    def _of(self, template: TransactionTemplate) -> bytes:
        depends = None if template.depends is None else tuple(template.depends)
        key = template.transaction.raw, template.cycles, template.required, depends
        text = self._texts.use(key)
        if text is None:
            text = self._write(template)
            self._texts.put(key, text)
        return text

    def _write(self, template: TransactionTemplate) -> bytes:
        transaction, depends = template.transaction, template.depends
        return b'{"hash":"0x%b","required":%b,"cycles":%b,"depends":%b,"data":%b}' % (
            transaction.hash.hex().encode(),
            b"true" if template.required else b"false",
            b"null" if template.cycles is None else b'"%#x"' % template.cycles,
            b"null" if depends is None else encode([uint_text(each) for each in depends]),
            encode(transaction_json(transaction)),
        )


_TEXTS: Final = TransactionTexts()


def is_written(template: BlockTemplate) -> bool:
    """The text is there but for its time."""
    return bool(template.text)


def template_text(template: BlockTemplate) -> EncodedJson[BlockTemplateJson]:
    """The text of a template. Takes long for one that `is_written` says no of. From any thread."""
    if not template.text:
        # The members before it are numbers in hex, so the first such text is the member.
        bare = encode(template_json(replace(template, transactions=())))
        head, _, rest = bare.partition(_TIME)
        before, _, behind = rest[rest.index(b'"') :].partition(_NO_TRANSACTIONS)  # uncles have no such member
        texts = b",".join(_TEXTS.of(template.transactions))
        template.text[:] = [head + _TIME, b'%b"transactions":[%b]%b' % (before, texts, behind)]
    return EncodedJson(text_at(template, template.current_time))


def text_at(template: BlockTemplate, time_ms: int) -> bytes:
    """The text of a template that `is_written`, with another time."""
    head, rest = template.text
    return head + uint_text(time_ms).encode() + rest
