"""The stratum server as a part of the node: templates in, jobs to miners, their blocks to the chain."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from ckb_node.chain.service import ChainService
from ckb_node.mining.template import BlockTemplate
from ckb_node.runtime.settings import ConfigError
from ckb_node.runtime.slices import in_slices
from ckb_node.stratum.desk import Desk, desk_rules
from ckb_node.stratum.found import FoundBlock, Outcome
from ckb_node.stratum.gate import Gate, GateRules
from ckb_node.stratum.jobs import Prepared, Rounds, prepare
from ckb_node.stratum.limits import SUBMITS_AT_ONCE, TLS_BUFFER_BYTES
from ckb_node.stratum.payout import network_of
from ckb_node.stratum.server import Listener, StratumServer, listening_socket
from ckb_node.stratum.settings import StratumSection
from ckb_node.stratum.shares import Judge
from consensus.errors import CkbError
from consensus.types.blockchain import Block

log = structlog.get_logger("stratum")

Address = tuple[str, int]


class StratumService:
    """Satisfies mining.feed.TemplateListener. Belongs to the event loop."""

    def __init__(
        self,
        chain: ChainService,
        section: StratumSection,
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain: Final = chain
        self.section: Final = section
        self.desk: Final = Desk(
            desk_rules(section, network_of(chain.consensus.id)),
            Judge(chain.consensus.pow_func),
            Rounds(secrets.randbits(31)),
            self._solve,
            monotonic_s,
            now_ms,
        )
        rules = GateRules(section.max_connections, section.max_connections_per_address, section.ban_secs)
        self.gate: Final = Gate(rules)
        self._server: Final = StratumServer(self.desk, self.gate, monotonic_s)
        self._listeners: Final[list[Listener]] = []
        self._newest: BlockTemplate | None = None
        self._submits: asyncio.TaskGroup | None = None
        self._under_way = 0

    # ------------------------------------------------------------ listening

    def listen(self, address: Address, root: Path, *, is_tls: bool) -> None:
        """Open a socket. Raises OSError, and ConfigError for a certificate that cannot be used."""
        context = tls_context(self.section, root) if is_tls else None
        if is_tls:
            SSLProtocol.max_size = TLS_BUFFER_BYTES  # of the whole process: a node has few other connections by TLS
        self._listeners.append(Listener(listening_socket(*address), context))

    @property
    def addresses(self) -> Sequence[tuple[Address, bool]]:
        """Where it listens, and whether by TLS."""
        return [(each.address, each.tls is not None) for each in self._listeners]

    def close(self) -> None:
        """Listen no more."""
        for each in self._listeners:
            each.socket.close()
        self._listeners.clear()

    async def run(self) -> None:
        """Serve until cancelled. A fault ends all connections; miners come back when it is started again."""
        async with asyncio.TaskGroup() as group, asyncio.TaskGroup() as submits:
            self._submits = submits
            try:
                if self._newest is not None:
                    group.create_task(self.on_full(self._newest))
                await self._server.run(self._listeners)
            finally:
                self._submits = None

    # ------------------------------------------------------------ jobs

    def on_short(self, template: BlockTemplate) -> Iterator[None]:
        self._newest = template
        if self._submits is not None:
            yield from self._add(prepare(template))

    async def on_full(self, template: BlockTemplate) -> None:
        self._newest = template
        if self._submits is None:
            return
        prepared = await self._chain.run_in_reader(prepare, template)
        if self._newest is template:
            await in_slices(self._add(prepared), lambda: self._newest is not template)

    def _add(self, prepared: Prepared) -> Iterator[None]:
        """All miners get it, one after the other."""
        _, is_new_tip = self.desk.rounds.add(prepared, self.desk.monotonic_s())
        yield from self._server.tell(is_clean=is_new_tip)

    # ------------------------------------------------------------ blocks

    def _solve(self, block: Block, found: FoundBlock, decided: Callable[[], None]) -> None:
        """The submission begins here; the answer to the miner waits for it."""
        submits = self._submits
        if submits is None or self._under_way >= SUBMITS_AT_ONCE:
            found.error = "the node ends" if submits is None else "too many blocks are under way"
            decided()
            return
        self._under_way += 1
        submits.create_task(self._submit(block, found, decided))

    async def _submit(self, block: Block, found: FoundBlock, decided: Callable[[], None]) -> None:
        fields = {"number": found.number, "hash": f"0x{found.hash.hex()}", "worker": found.worker}
        try:
            await asyncio.shield(self._chain.submit_block(block))
        except CkbError as error:
            found.error = str(error)
            self.desk.found.refused += 1
            log.warning("a miner's block is refused", reason=str(error), **fields)
        else:
            found.is_taken = True
            log.info("a miner found a block", **fields)
        finally:
            self._under_way -= 1
        decided()

    # ------------------------------------------------------------ figures

    @property
    def connection_count(self) -> int:
        """Admitted, whether they work or not."""
        return self.gate.count

    def dialects(self) -> Mapping[str, int]:
        """Working miners by dialect."""
        return Counter(each.session.dialect for each in self._server.connections if each.session.is_working)

    def outcomes(self) -> Mapping[Outcome, int]:
        """Of the found blocks that are remembered."""
        with self._chain.view() as view:
            return self.desk.found.outcomes(view)

    def hashrate(self) -> float:
        """Of all miners, in hashes a second, from their shares."""
        return self.desk.workers.rate.at(self.desk.monotonic_s())


def tls_context(section: StratumSection, root: Path) -> ssl.SSLContext:
    """Raises ConfigError."""
    if section.tls_cert_path is None or section.tls_key_path is None:
        raise ConfigError("stratum.tls_listen_address needs tls_cert_path and tls_key_path")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(root / section.tls_cert_path, root / section.tls_key_path)
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
        raise ConfigError(f"stratum.tls_cert_path, tls_key_path: {reason}") from None
    return context
