"""Attacks over libp2p on a node that follows the miner over libp2p, too; the attackers are processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from tests.hostile.following.lab import Lab, address_of
from tests.support.nodes.process import RpcClient, free_port

PREFIX: Final = "Libp2p"
OVER_LIBP2P: Final = {
    f"{PREFIX}{name.title()}": name for name in ("garbage", "key", "streams", "window", "control", "flood")
}
"""Attacks of tests/network/libp2p/attacker.py, by the names that they have here."""
BANNED: Final = frozenset({f"{PREFIX}Flood", f"{PREFIX}Window"})
"""Those that say what has no meaning."""
AT_ONCE: Final = 3
LOOK_S: Final = 1.0


def listen_over_libp2p(directory: Path) -> None:
    """A node's configuration says so, and that it listens for nobody else."""
    config = directory / "config.toml"
    listen = f'["/ip4/127.0.0.1/tcp/{free_port()}"]'
    section = f"[network.libp2p]\nenabled = true\nlisten_addresses = {listen}\n"
    config.write_text(f"{config.read_text(encoding='utf-8')}\n{section}", encoding="utf-8")


def libp2p_address(node: RpcClient) -> str | None:
    """Where a node listens over libp2p, once it does."""
    addresses = (each["address"] for each in node.call("local_node_info")["addresses"])
    return next((each for each in addresses if "/p2p/16Uiu2" in each), None)


def run_over_libp2p(lab: Lab, name: str, told: Callable[[int, int], None]) -> None:
    """The process of an attack; never returns. `told`: see `run_peers`; sent are attacks that were begun."""
    running, numbers = list[subprocess.Popen[bytes]](), count()
    begun = 0
    while True:
        running = [each for each in running if each.poll() is None]
        address = libp2p_address(lab.victim)
        while address is not None and len(running) < AT_ONCE:
            source = address_of(next(numbers) % 200)
            words = [address, OVER_LIBP2P[name], lab.consensus.network_name, source]
            command = [sys.executable, "-m", "tests.network.libp2p.attacker", *words]
            ends = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            running.append(subprocess.Popen(command, **ends))  # type: ignore[call-overload]
            begun += 1
        told(len(running), begun)
        time.sleep(LOOK_S)
