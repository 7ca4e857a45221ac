"""NiceHash (EthereumStratum/1.0.0): a nested answer to subscribe, set_difficulty, a nonce1 of another length than
others', which miners must not assume. Jobs and shares are those of the common dialect."""

from __future__ import annotations

from ckb_node.stratum.dialects.dialect import POOL_CODES, Dialect, Hello, push
from ckb_node.stratum.nonces import NONCE_BYTES
from ckb_node.stratum.vardiff import shown_difficulty

VERSION = "EthereumStratum/1.0.0"


class NiceHash(Dialect):
    """Agents `NiceHash/…`, and whoever asks for EthereumStratum."""

    name = "nicehash"
    nonce1_size = 5
    codes = POOL_CODES

    def is_spoken_by(self, hello: Hello) -> bool:
        asked = (each for each in hello.params[1:] if isinstance(each, str))
        return hello.agent.startswith("NiceHash/") or any(each.startswith("EthereumStratum/") for each in asked)

    def subscribed(self, hello: Hello, nonce1: bytes) -> object:
        topic = ["mining.notify", nonce1.hex(), VERSION]
        return [topic, nonce1.hex(), NONCE_BYTES - len(nonce1)]

    def target(self, target: int) -> bytes:
        return push("mining.set_difficulty", [shown_difficulty(target)])
