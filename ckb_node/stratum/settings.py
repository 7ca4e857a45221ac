"""The section [stratum] of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ckb_node.runtime.settings import Section

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Connections = Annotated[int, Meta(ge=1, le=65_536)]
Difficulty = Annotated[float, Meta(gt=0, le=1e18)]

DEFAULT_PORT = 3333


class StratumSection(Section, frozen=True):
    """[stratum]: off without an address. Difficulty 1 is 2³² hashes a share, as miners count it."""

    listen_address: str | None = None
    tls_listen_address: str | None = None
    tls_cert_path: str | None = None
    tls_key_path: str | None = None
    """Relative to the directory of the configuration."""
    solo_payout: Literal["assembler", "user"] = "assembler"
    """Who is paid for a block: the lock of [block_assembler], or the address that stands in the user's name."""
    start_difficulty: Difficulty = 65_536
    min_difficulty: Difficulty = 0.0001
    max_difficulty: Difficulty = 1e12
    share_interval_secs: Seconds = 10
    """Each miner's difficulty becomes so that it finds a share about so often."""
    grace_millis: Annotated[int, Meta(ge=0, le=600_000)] = 3000
    """Shares for the last tip's jobs count for so long."""
    max_connections: Connections = 4096
    max_connections_per_address: Connections = 2500
    idle_secs: Seconds = 900
    ban_secs: Seconds = 600

    @property
    def is_on(self) -> bool:
        """Miners may connect."""
        return self.listen_address is not None or self.tls_listen_address is not None
