"""The common dialect (leifjacky/ckb-gominer-demo, UUPool, btcpool): nonce1 of 4 bytes, nonce2 of 12, targets as
big-endian hex, the parent's hash in each job. Whoever speaks nothing else is taken to speak it."""

from __future__ import annotations

from ckb_node.stratum.dialects.dialect import Dialect, Hello


class Common(Dialect):
    """All of it stands in Dialect."""

    name = "common"

    def is_spoken_by(self, hello: Hello) -> bool:
        """The last that is asked."""
        del hello
        return True
