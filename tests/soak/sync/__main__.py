"""A client syncs from two servers, again and again; each time something happens to one of them at a random moment.

`python -m tests.soak.sync --rounds 100` (or `make soak-sync`). The client or a server is killed (-9) and started
again, or stopped (SIGSTOP) for a while, or a server's cable is pulled. The client must reach the tip all the same, must
know as many headers after its death as it said before it, and its tip never falls.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from random import Random

from ckb_node.jsonrpc_types.block_view import encode_block_view
from ckb_node.specs import bundled_text
from consensus.types.blockchain import Block
from tests.soak.sync.cable import Cable
from tests.support.chains.long_chain import ChainMaker
from tests.support.nodes.process import NodeProcess, free_port, run_command

BUILD = Path("build/soak")
COMMAND_S = 600.0
ROUND_S = 120.0
"""A round that takes longer has failed."""
LATEST_S = 4.0
"""Something happens at most so long after the start of a sync."""
STOPPED_S = 3.0
SERVERS = 2
MINER_ARG = "0x" + "11" * 20
BLOCKS = 3_000
TWO_TX_BLOCKS = 1_500


class SyncFailed(Exception):  # noqa: N818 - the condition is its name
    """A round did not end as it must."""


@dataclass
class Server:
    """A node with the whole chain, behind a cable."""

    directory: Path
    rpc_port: int
    p2p_port: int
    node: NodeProcess
    cable: Cable | None = None

    def start(self) -> None:
        self.node = NodeProcess(self.directory, "run", port=self.rpc_port)

    def restart(self) -> None:
        self.start()
        self.node.wait_until_ready()


@dataclass
class Client:
    """The node that syncs. `headers` and `tip`: the most that it said to have."""

    directory: Path
    rpc_port: int
    node: NodeProcess
    headers: int = 0
    tip: int = 0

    def look(self) -> None:
        """Raises SyncFailed when it has less than it had."""
        try:
            tip = self.node.rpc.tip()
            headers = int(self.node.rpc.call("sync_state")["best_known_block_number"], 16)
        except (OSError, HTTPException):
            if self.node.process.poll() is not None:
                raise SyncFailed(f"the client ended:\n{self.node.output()}") from None
            return
        if tip < self.tip or headers < self.headers:
            raise SyncFailed(f"tip {self.tip} and headers {self.headers} have become {tip} and {headers}")
        self.tip, self.headers = tip, headers

    def kill_and_restart(self) -> None:
        self.node.kill()
        self.node = NodeProcess(self.directory, "run", port=self.rpc_port)
        self.node.wait_until_ready()
        self.look()


def main() -> int:
    """Make a chain, serve it, sync it as often as asked for."""
    parser = argparse.ArgumentParser(description="Sync under disturbance")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--scale", type=float, default=1.0, help="of the chain's length")
    options = parser.parse_args()
    seed = Random().randrange(1 << 30) if options.seed is None else options.seed
    BUILD.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sync-", dir=BUILD) as name:
        run(Path(name).absolute(), options.rounds, seed, options.scale)
    return 0


def run(directory: Path, rounds: int, seed: int, scale: float = 1.0) -> int:
    """The rounds; how many disturbances there were. Raises SyncFailed."""
    rng, disturbed = Random(seed), 0
    chain = directory / "chain.jsonl"
    make_chain(chain, scale)
    with serving(directory, chain) as servers:
        for number in range(rounds):
            with cables(servers):
                disturbed += one_round(directory / "client", servers, rng, number)
    print(f"{rounds} rounds, {disturbed} disturbances: no failure", flush=True)
    return disturbed


def make_chain(path: Path, scale: float) -> None:
    """Empty blocks, then blocks of two transfers."""
    maker = ChainMaker()
    for _ in range(int(BLOCKS * scale)):
        maker.add()
    count = int(TWO_TX_BLOCKS * scale)
    transfers = list(maker.transfers(maker.cells(2 * count)))
    maker.add_in_two_phases([transfers[at : at + 2] for at in range(0, len(transfers), 2)])
    with path.open("wb") as file:
        for block in (maker.consensus.genesis_block, *map(Block.parse, maker.raw_blocks)):
            file.write(encode_block_view(block) + b"\n")


@contextmanager
def serving(directory: Path, chain: Path) -> Iterator[Sequence[Server]]:
    """Servers with the chain and a block of now; all get the same one."""
    with ExitStack() as stack:
        servers = []
        for at in range(SERVERS):
            place, rpc_port, p2p_port = directory / f"server{at}", free_port(), free_port()
            init(place, rpc_port, p2p_port, [])
            command("import", "-C", str(place), "--skip-script-verify", str(chain))
            server = Server(place, rpc_port, p2p_port, NodeProcess(place, "run", port=rpc_port))
            stack.callback(stop, server)
            server.node.wait_until_ready()
            servers.append(server)
        block = servers[0].node.rpc.call("get_block_template")
        for server in servers:
            server.node.rpc.call("generate_block_with_template", block)
        yield servers


def stop(server: Server) -> None:
    if server.node.process.poll() is None:
        os.kill(server.node.process.pid, signal.SIGCONT)
        server.node.kill()


@contextmanager
def cables(servers: Sequence[Server]) -> Iterator[None]:
    for server in servers:
        server.cable = Cable(server.p2p_port)
    try:
        yield
    finally:
        for server in servers:
            assert server.cable is not None
            server.cable.close()


def init(directory: Path, rpc_port: int, p2p_port: int, bootnodes: Sequence[str]) -> None:
    ports = ("--rpc-port", str(rpc_port), "--p2p-port", str(p2p_port))
    spec = directory.parent / "spec.toml"
    spec.write_text(bundled_text("dev"), encoding="utf-8")
    command("init", "-C", str(directory), "-c", "dev", "--import-spec", str(spec), *ports, "--ba-arg", MINER_ARG)
    path = directory / "config.toml"
    text = path.read_text(encoding="utf-8")
    listed = ", ".join(f'"{each}"' for each in bootnodes)
    text = text.replace("bootnodes = []", f"bootnodes = [{listed}]\nconnect_outbound_interval_secs = 1", 1)
    path.write_text(text, encoding="utf-8")


def command(*arguments: str) -> None:
    done = run_command(*arguments, timeout_s=COMMAND_S)
    if done.returncode != 0:
        raise SyncFailed(done.stdout + done.stderr)


# --- a round ---


def one_round(directory: Path, servers: Sequence[Server], rng: Random, number: int) -> int:
    """A fresh client to the tip; how many times it was disturbed."""
    shutil.rmtree(directory, ignore_errors=True)
    rpc_port = free_port()
    init(directory, rpc_port, free_port(), [address(server) for server in servers])
    client = Client(directory, rpc_port, NodeProcess(directory, "run", port=rpc_port))
    begun, height = time.monotonic(), max(server.node.rpc.tip() for server in servers)
    try:
        client.node.wait_until_ready()
        disturbances = [rng.choice(DISTURBANCES) for _ in range(rng.randint(1, 3))]
        for disturb in disturbances:
            watch(client, rng.random() * LATEST_S)
            print(f"  headers {client.headers}, tip {client.tip}: {disturb.__name__.replace('_', ' ')}", flush=True)
            disturb(client, rng.choice(servers), rng)
        while client.tip < height:
            watch(client, 0.2)
            if time.monotonic() - begun > ROUND_S:
                raise SyncFailed(f"tip {client.tip} of {height}, headers {client.headers}:\n{client.node.output()}")
        wanted = servers[0].node.rpc.call("get_tip_header")["hash"]
        if client.node.rpc.call("get_tip_header")["hash"] != wanted:
            raise SyncFailed("another tip than the servers'")
        print(
            f"round {number}: {time.monotonic() - begun:.1f} s, client stopped after {client.node.stop():.2f} s",
            flush=True,
        )
        return len(disturbances)
    finally:
        if client.node.process.poll() is None:
            client.node.kill()


def address(server: Server) -> str:
    """Through its cable."""
    assert server.cable is not None
    peer_id = server.node.rpc.call("local_node_info")["node_id"]
    return f"/ip4/127.0.0.1/tcp/{server.cable.port}/p2p/{peer_id}"


def watch(client: Client, seconds: float) -> None:
    """Look at the client for so long."""
    end = time.monotonic() + seconds
    while True:
        client.look()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(0.05, left))


def client_killed(client: Client, server: Server, rng: Random) -> None:
    del server, rng
    client.kill_and_restart()


def client_stopped(client: Client, server: Server, rng: Random) -> None:
    del server
    os.kill(client.node.process.pid, signal.SIGSTOP)
    time.sleep(rng.random() * STOPPED_S)
    os.kill(client.node.process.pid, signal.SIGCONT)


def server_killed(client: Client, server: Server, rng: Random) -> None:
    server.node.kill()
    watch(client, rng.random() * STOPPED_S)
    server.restart()


def server_stopped(client: Client, server: Server, rng: Random) -> None:
    os.kill(server.node.process.pid, signal.SIGSTOP)
    try:
        watch(client, rng.random() * 3 * STOPPED_S)
    finally:
        os.kill(server.node.process.pid, signal.SIGCONT)


def cable_pulled(client: Client, server: Server, rng: Random) -> None:
    assert server.cable is not None
    server.cable.pull()
    watch(client, rng.random() * 3 * STOPPED_S)
    server.cable.plug()


Disturbance = Callable[[Client, Server, Random], None]
DISTURBANCES: Sequence[Disturbance] = (client_killed, client_stopped, server_killed, server_stopped, cable_pulled)

if __name__ == "__main__":
    sys.exit(main())
