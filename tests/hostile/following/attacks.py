"""The attacks by name, and the process of the attackers."""

from __future__ import annotations

from multiprocessing.connection import Connection

from network.libp2p.service import is_installed
from tests.hostile.chain import Target
from tests.hostile.following.branches import BRANCHES
from tests.hostile.following.lab import Attack, Lab, run_peers
from tests.hostile.following.over_libp2p import OVER_LIBP2P, run_over_libp2p
from tests.hostile.following.questions import QUESTIONS
from tests.hostile.following.slow import SLOW, run_slow
from tests.hostile.following.transactions import FLOODS
from tests.support.nodes.process import RpcClient


class Control(Attack):
    """Peers that only listen."""


PEERS: dict[str, type[Attack]] = {each.__name__: each for each in (Control, *FLOODS, *QUESTIONS, *BRANCHES)}
NAMES = (*PEERS, *SLOW, *(OVER_LIBP2P if is_installed() else ()))


def run_attack(name: str, target: Target, ports: tuple[int, int], out: Connection) -> None:
    """The attackers' process."""
    lab = Lab(victim=RpcClient(ports[1]), miner=RpcClient(ports[0]), target=target)

    def told(sessions: int, sent: int) -> None:
        if sent or name == "Control":
            out.send((sessions, sent))

    if name in OVER_LIBP2P:
        run_over_libp2p(lab, name, told)
    elif name in SLOW:
        run_slow(lab, name, told)
    else:
        run_peers(lab, PEERS[name], told)
