"""The operator's scripts for alerts and blocks."""

from __future__ import annotations

from pathlib import Path

from ckb_node.chain.events import ChainChanged
from ckb_node.net.operator_scripts import OperatorScripts
from ckb_node.net.settings import NotifySection
from tests.support.builders.blocks import a_header
from tests.support.operator_scripts import running, script, until_lines


async def test_each_new_tip_is_told_to_the_script_of_blocks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    section = NotifySection(new_block_notify_script=script(tmp_path / "script", f'echo "$1" >> {out}'))
    scripts = OperatorScripts(section)
    (of_blocks,) = scripts.configured
    genesis, block = a_header(number=0), a_header(number=1)
    async with running(of_blocks):
        scripts.on_change(ChainChanged(genesis, block, detached=[], attached=[]))
        assert await until_lines(out, 1) == [f"0x{block.hash.hex()}"]


def test_without_scripts_nothing_runs() -> None:
    scripts = OperatorScripts(NotifySection(new_block_notify_script=""))
    scripts.on_change(ChainChanged(a_header(number=0), a_header(number=1), detached=[], attached=[]))
    assert scripts.configured == []
