"""Where a pool is: `host:port`, or with a scheme that says whether by TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ckb_node.miner.work import MinerError

_PLAIN: Final = ("stratum", "stratum+tcp", "tcp")
_TLS: Final = ("stratum+ssl", "stratum+tls", "stratums", "ssl", "tls")
_FORM: Final = re.compile(r"(?:([a-z+]+)://)?(\[[0-9A-Fa-f:.%\w]+\]|[^\s:/@\[\]]+):(\d{1,5})/?", re.ASCII)
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Host without brackets, port, and whether by TLS."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str, *, is_tls: bool = False) -> Endpoint:
    """The parts of a pool's address. Raises MinerError."""
    found = _FORM.fullmatch(text)
    scheme = found[1] if found else None
    if found is None or not 0 < int(found[3]) <= _MAX_PORT or (scheme and scheme not in (*_PLAIN, *_TLS)):
        known = ", ".join((_PLAIN[1], _TLS[0]))
        raise MinerError(f"--stratum: {text[:200]!r} is no host:port, nor one behind {known}://")
    return Endpoint(found[2].strip("[]"), int(found[3]), is_tls or scheme in _TLS)
