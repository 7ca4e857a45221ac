"""[notify]: the operator's programs, told of each new tip and of each network alert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.chain.events import ChainChanged
from ckb_node.net.settings import NotifySection
from ckb_node.runtime.operator_script import OperatorScript


class OperatorScripts:
    """Those that are configured."""

    def __init__(self, section: NotifySection) -> None:
        def script(path: str | None, of: str) -> OperatorScript | None:
            return OperatorScript(path, section.script_timeout, of) if path else None

        self.of_alerts: Final = script(section.network_alert_notify_script, "network alerts")
        self.of_blocks: Final = script(section.new_block_notify_script, "new blocks")

    @property
    def configured(self) -> Sequence[OperatorScript]:
        return [script for script in (self.of_alerts, self.of_blocks) if script is not None]

    def on_change(self, change: ChainChanged) -> None:
        """For ckb_node.chain.service.ChainService.listen."""
        if self.of_blocks is not None:
            self.of_blocks.call(f"0x{change.new_tip.hash.hex()}")
