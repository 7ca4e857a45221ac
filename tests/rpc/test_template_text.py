"""Texts of templates: the same as those of their structs, made once."""

from __future__ import annotations

import msgspec
import pytest

from ckb_node.mining.template_json import BlockTemplateJson, template_json
from ckb_node.rpc import template_text as templatetext
from ckb_node.rpc.template_text import is_written, template_text
from tests.support.chains.funded_pool import funded


async def test_the_text_is_that_of_the_struct_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        await funds.pool.submit(funds.spend())
        template = await funds.dev.assembler.block_template()
        assert not is_written(template)
        assert template_text(template).text == msgspec.json.encode(template_json(template))
        monkeypatch.setattr(templatetext, "template_json", None)
        later = (await funds.dev.assembler.block_template()).at(template.current_time + 0x10000)
        assert is_written(later)
        text = template_text(later).text
        assert msgspec.json.decode(text, type=BlockTemplateJson) == template_json(later)


async def test_another_dao_field_is_another_text() -> None:
    async with funded() as funds:
        template = await funds.dev.assembler.block_template()
        template_text(template)
        other = template.with_dao(bytes(32))
        assert not is_written(other)
        assert b'"dao":"0x' + b"00" * 32 in template_text(other).text


async def test_another_template_is_written_anew() -> None:
    async with funded() as funds:
        first = await funds.dev.assembler.block_template()
        template_text(first)
        await funds.dev.mine()
        assert not is_written(await funds.dev.assembler.block_template())
