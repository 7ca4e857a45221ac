"""Antminer K7 (GodMiner): nonce1 and nonce2 of 8 bytes each, target and first job right after the answer to subscribe,
the share's target in the place of the parent's hash."""

from __future__ import annotations

from ckb_node.stratum.dialects.dialect import POOL_CODES, Dialect, Hello, Task


class K7(Dialect):
    """Agents `GodMiner/2.0.1` and `ckbminer…`. The demo miner calls itself `ckbminer-v1.0.0` too, with a null behind
    it, and speaks the common dialect."""

    name = "k7"
    nonce1_size = 8
    starts_at_subscribe = True
    has_target_in_job = True
    codes = POOL_CODES

    def is_spoken_by(self, hello: Hello) -> bool:
        agent = hello.agent.lower()
        is_demo = len(hello.params) == 2 and hello.params[1] is None
        return agent.startswith("godminer") or (agent.startswith("ckbminer") and not is_demo)

    def fourth(self, task: Task) -> str:
        return f"{task.target:064x}"
