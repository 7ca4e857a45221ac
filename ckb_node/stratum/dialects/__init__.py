"""The dialects of stratum. An operator adds one as a file here and a line in DIALECTS."""

from __future__ import annotations

from typing import Final

from ckb_node.stratum.dialects.dialect import Dialect, Hello
from ckb_node.stratum.dialects.goldshell import Goldshell
from ckb_node.stratum.dialects.k7 import K7
from ckb_node.stratum.dialects.nicehash import NiceHash
from ckb_node.stratum.dialects.submit_login import SubmitLogin

COMMON: Final[Dialect] = Dialect()
DIALECTS: Final[tuple[Dialect, ...]] = (SubmitLogin(), NiceHash(), K7(), Goldshell(), COMMON)
"""The first that a miner speaks is taken."""


def dialect_of(hello: Hello) -> Dialect:
    """Of a miner that begins so."""
    return next(each for each in DIALECTS if each.is_spoken_by(hello))
