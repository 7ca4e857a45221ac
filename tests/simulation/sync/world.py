"""Networks of nodes that sync: topologies, miners, wallets, and liars among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from random import Random
from typing import Final, Protocol

from ckb_node.chain.events import Verdict
from ckb_node.mining.uncles import choose_uncles
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.epoch import next_epoch_ext
from consensus.types.blockchain import Block, Transaction
from network.identity import Identity
from network.multiaddr import Multiaddr
from network.peer import Handler
from tests.simulation.clock import Clock
from tests.simulation.libp2p import libp2p_address
from tests.simulation.node import PORT, SimNode
from tests.simulation.sync.blocks import build_block, sim_consensus
from tests.simulation.sync.chain import ChainCosts
from tests.simulation.sync.node import NodePlan, SyncNode
from tests.simulation.sync.stores import SimStore
from tests.simulation.sync.traffic import Traffic
from tests.simulation.wires import Cable, Wires, tcp_address
from tests.simulation.world import host_ip

LIARS_FROM: Final = 1000
"""Hosts from this number on are liars'."""


class Speaker(Protocol):
    """What a hostile node says: `Impostor` is one."""

    def handlers(self) -> Iterable[Handler]:
        """For its peer layer."""


class SyncWorld:
    """Nodes with chains, by number. The same seed gives the same run."""

    def __init__(self, seed: int, cable: Cable | None = None, consensus: Consensus | None = None) -> None:
        self.seed: Final = seed
        self.rng: Final = Random(f"sync:{seed}")
        self.clock: Final = Clock()
        self.wires: Final = Wires(self.clock, Random(f"{seed}:wires"), cable)
        self.consensus: Final = consensus or sim_consensus()
        self.traffic: Final = Traffic()
        self.nodes: Final[list[SyncNode]] = []
        self.liars: Final[list[SimNode]] = []
        self.mined: Final[dict[bytes, tuple[float, str]]] = {}
        """When each block was made, and by which node."""
        self._is_mining = False

    @property
    def running(self) -> list[SyncNode]:
        return [node for node in self.nodes if node.is_running]

    # --- nodes ---

    def address(self, number: int) -> Multiaddr:
        """Of the node of this number, whether there is one yet or not."""
        return tcp_address(host_ip(number), PORT).with_peer_id(self._identity(number).peer_id)

    def _identity(self, number: int) -> Identity:
        return Identity(sha256(f"{self.seed}:{_name(number)}".encode()).digest())

    def add(
        self,
        dials: Sequence[int] | None = (),
        *,
        store: SimStore | None = None,
        costs: ChainCosts | None = None,
        bootnodes: Sequence[int] = (),
        max_outbound: int = 8,
        with_filters: bool = False,
        libp2p: Sequence[int] | None = None,
        gossip_loss: float = 0.0,
        finds_libp2p: bool = False,
    ) -> SyncNode:
        """A node more, not started. `dials`: numbers of those whom it dials, that need not be there yet; None: it finds
        so many peers by discovery from `bootnodes`. `libp2p`: whom it dials over that wire; None: it has only the CKB
        wire. It begins with a copy of `store`."""
        number = len(self.nodes)
        plan = NodePlan(
            name=_name(number),
            ip=host_ip(number),
            seed=self.seed,
            consensus=self.consensus,
            neighbours=None if dials is None else [self.address(each) for each in dials],
            bootnodes=[self.address(each) for each in bootnodes],
            costs=costs or ChainCosts(),
            max_outbound=max_outbound,
            with_filters=with_filters,
            libp2p=None if libp2p is None else [libp2p_address(self._identity(each), host_ip(each)) for each in libp2p],
            gossip_loss=gossip_loss,
            finds_libp2p=finds_libp2p,
        )
        copy = SimStore() if store is None else store.copied()
        node = SyncNode(plan, self.wires, self.traffic, copy)
        self.nodes.append(node)
        return node

    def add_graph(self, edges: Sequence[Sequence[int]], store: SimStore | None = None) -> list[SyncNode]:
        """For each node whom it dials."""
        return [self.add(dials, store=store) for dials in edges]

    def add_finding(self, count: int, max_outbound: int = 8, store: SimStore | None = None) -> list[SyncNode]:
        """Nodes that find each other: each knows one of those before it."""
        added: list[SyncNode] = []
        for _ in range(count):
            bootnodes = [self.nodes.index(self.rng.choice(added))] if added else []
            added.append(self.add(None, bootnodes=bootnodes, max_outbound=max_outbound, store=store))
        return added

    def start(self, nodes: Iterable[SyncNode] | None = None, within: float = 1.0) -> None:
        """At random moments of the next seconds."""
        for node in list(self.nodes if nodes is None else nodes):
            self.clock.call_later(self.rng.random() * within, node.start)

    def reborn(self, node: SyncNode) -> SyncNode:
        """The same node in a new process, not started: it has its disk and its addresses."""
        new = SyncNode(node.plan, self.wires, self.traffic, node.store, node.tables)
        self.nodes[self.nodes.index(node)] = new
        return new

    def restart_later(self, node: SyncNode, after: float) -> None:
        """Start it again, if nobody has done so meanwhile."""

        def restart() -> None:
            if node in self.nodes and not node.is_running:
                self.reborn(node).start()

        self.clock.call_later(after, restart)

    def add_liar(self, impostor: Speaker, target: SimNode | None = None) -> SimNode:
        """A hostile node on a host of its own, started; it dials `target`, if any."""
        number = LIARS_FROM + len(self.liars)
        liar = SimNode(
            self.wires,
            _name(number),
            host_ip(number),
            seed=self.seed,
            handlers=lambda _: impostor.handlers(),
        )
        self.liars.append(liar)
        liar.start()
        if target is not None:
            liar.switch.dial(target.address)
        return liar

    def liar_address(self, number: int = 0) -> Multiaddr:
        """Of a liar, whether there is one yet or not: for nodes that are to dial it."""
        return self.address(LIARS_FROM + number)

    # --- time ---

    def run(self, seconds: float) -> None:
        self.clock.run_for(seconds)

    def run_until(self, condition: Callable[[], bool], limit: float, look: float = 0.25) -> float | None:
        """Seconds until the condition holds; None when it did not within `limit`."""
        begin = self.clock.now()
        while not condition():
            if self.clock.now() - begin >= limit:
                return None
            self.clock.run_for(look)
        return self.clock.now() - begin

    def has_one_tip(self, nodes: Sequence[SyncNode] | None = None) -> bool:
        return len({node.tip for node in (self.running if nodes is None else nodes)}) == 1

    def settle(self, limit: float = 120.0) -> float | None:
        """Seconds until all running nodes have one tip."""
        return self.run_until(self.has_one_tip, limit)

    # --- miners and wallets ---

    def mine(self, node: SyncNode, *, count: int = 1) -> None:
        """The node's miner finds a block; with more, each when the one before has its verdict."""
        if not node.is_running:
            return
        block = self._template(node)
        self.mined[block.hash] = (self.clock.now(), node.name)

        def done(verdict: object) -> None:
            assert not isinstance(verdict, CkbError), f"{node.name} made a bad block: {verdict}"
            if isinstance(verdict, Verdict):
                node.sync.relay.announce(block)
            if count > 1:
                self.mine(node, count=count - 1)

        node.chain.mine(block, done)

    def _template(self, node: SyncNode) -> Block:
        with node.chain.view() as view:
            epoch = next_epoch_ext(self.consensus, view.tip_header(), view.tip_epoch(), view)
            uncles = choose_uncles(self.consensus, node.pool.candidates.lowest_first(), epoch, view)
            is_current = node.pool.pool.tip.hash == view.tip_header().hash
            return build_block(
                self.consensus,
                view,
                self.clock.wall_ms(),
                node.name,
                node.pool.to_commit() if is_current else (),
                proposals=node.pool.proposals(),
                uncles=uncles,
            )

    def mine_every(self, interval: float, nodes: Sequence[int] | None = None) -> None:
        """From now on somebody finds a block every so often, on average; `stop_mining` ends it."""
        self._is_mining = True

        def turn() -> None:
            if not self._is_mining:
                return
            self.clock.call_later(self.rng.expovariate(1 / interval), turn)
            able = [node for at, node in enumerate(self.nodes) if node.is_running and (nodes is None or at in nodes)]
            if able:
                self.mine(self.rng.choice(able))

        self.clock.call_later(self.rng.expovariate(1 / interval), turn)

    def stop_mining(self) -> None:
        self._is_mining = False

    def send(self, node: SyncNode, transaction: Transaction) -> None:
        """A wallet gives a transaction to a node."""
        if node.is_running:
            node.pool.submit_local(transaction)


def _name(number: int) -> str:
    return f"node {number}"


def line(count: int) -> list[list[int]]:
    """Each dials the one before."""
    return [[] if number == 0 else [number - 1] for number in range(count)]


def ring(count: int) -> list[list[int]]:
    return [[(number - 1) % count] for number in range(count)]


def star(count: int) -> list[list[int]]:
    return [[] if number == 0 else [0] for number in range(count)]


def mesh(count: int) -> list[list[int]]:
    """Each dials all before."""
    return [list(range(number)) for number in range(count)]


def random_graph(rng: Random, count: int, degree: int = 3) -> list[list[int]]:
    """Connected: each but the first dials an earlier node, and some others. Who dials nobody cannot download a chain:
    those who dial it leave it while it has none."""
    edges: list[list[int]] = []
    for number in range(count):
        first = [rng.randrange(number)] if number else []
        others = {each for each in rng.sample(range(count), min(degree - 1, count)) if each != number}
        dials = {*first, *(each for each in others if number not in (edges[each] if each < number else []))}
        edges.append(sorted(dials))
    return edges
