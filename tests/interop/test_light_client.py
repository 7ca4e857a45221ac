"""Both programs as servers of light clients: the same bytes, the same silence, the same bans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest

from consensus.codec.molecule import Composite
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.types.blockchain import Block
from network.limits import FILTER, LIGHT_CLIENT, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    BlockFilterCheckPoints,
    BlockFilterHashes,
    BlockFilters,
    GetBlockFilters,
    GetBlocksProof,
    GetLastState,
    GetLastStateProof,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastState,
    SendLastStateProof,
    SendTransactionsProof,
)
from tests.interop.kit_chain import COUNTS, Mirror, mirror_of, wait_until
from tests.interop.kit_json import sent_block
from tests.interop.kit_light_client import SENTINELS, Client, Outcome, connected_client
from tests.interop.kit_light_questions import Known, random_question
from tests.interop.kit_mirror import assert_same_filters, tip_hash
from tests.interop.kit_scenes import SCENES
from tests.support.builders.wallet import CKB, Wallet
from tests.support.nodes.process import RpcClient
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(900)

Tip = SendLastStateProof | SendBlocksProof | SendTransactionsProof
QUESTIONS = 400
CAROL = Wallet(bytes(31) + b"\x0c")


@dataclass
class Servers:
    """A client of each."""

    reference: Client
    ours: Client
    latest_filter: int = -1
    """From higher blocks on the reference says nothing: it knows the last filter by a snapshot of when the tip came,
    which may have been before the filter of the tip was built. All others it reads as they are."""

    def compare(self, protocol: ProtocolSpec, payload: bytes) -> bytes | Outcome:
        """What both say to a question."""
        theirs, ours = self.reference.ask(protocol, payload), self.ours.ask(protocol, payload)
        if protocol is FILTER and isinstance(ours, bytes):
            ours = filters_as_of(ours, self.latest_filter)
        assert shape(protocol, ours) == shape(protocol, theirs), f"{protocol.name}: {payload.hex()}"
        COUNTS["answers to light clients" if isinstance(ours, bytes) else f"questions that got {ours.value}"] += 1
        return ours


def shape(protocol: ProtocolSpec, answer: bytes | Outcome) -> object:
    """The bytes of an answer; blocks of transactions, which come in any order, in one order."""
    if protocol is FILTER or isinstance(answer, Outcome):
        return answer
    message = LIGHT_CLIENT_MESSAGE.parse(answer)
    if not isinstance(message, SendTransactionsProof) or message.blocks_uncles_hash is None:
        return answer
    assert message.blocks_extension is not None
    groups = zip(message.filtered_blocks, message.blocks_uncles_hash, message.blocks_extension, strict=True)
    blocks = sorted((block.raw, uncles, extension) for block, uncles, extension in groups)
    proof = [node.raw for node in message.proof]
    return message.last_header.raw, proof, list(message.missing_tx_hashes), blocks, len(answer)


def filters_as_of(answer: bytes, latest: int) -> bytes | Outcome:
    """What is answered where the last filter is believed to be that of block `latest`."""
    message = BLOCK_FILTER_MESSAGE.parse(answer)
    assert isinstance(message, BlockFilters | BlockFilterHashes | BlockFilterCheckPoints)
    return answer if message.start_number <= latest else Outcome.SILENCE


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def servers_of(pair: Pair, network_name: str, directory: Path, stack: ExitStack) -> Servers:
    reference, ours = (
        stack.enter_context(connected_client(node, network_name, directory / f"client of {node.name}"))
        for node in (pair.reference, pair.ours)
    )
    return Servers(reference, ours)


def block_of(rpc: RpcClient, block_hash: str) -> Block:
    return Block.parse(bytes.fromhex(rpc.call("get_block", block_hash, "0x0")[2:]))


def known(pair: Pair, side: list[Block], seed: int) -> Known:
    rpc = pair.ours.rpc
    blocks = [block_of(rpc, rpc.call("get_block_hash", hex(number))) for number in range(rpc.tip() + 1)]
    totals = list(accumulate(compact_to_difficulty(block.header.compact_target) for block in blocks))
    return Known(blocks, totals, side, Random(seed))


def fork(mirror: Mirror, depth: int) -> list[Block]:
    """A branch of `depth` blocks, which both know, and a longer one in its place: the blocks that lost."""
    root = tip_hash(mirror.source)
    mirror.commit(mirror.transfer(mirror.alice, CAROL.lock, 100 * CKB))
    mirror.mine(max(0, depth - 3))
    lost = [block_of(mirror.source, each) for each in hashes_above(mirror.source, root)]
    views = [mirror.source.call("get_block", f"0x{block.hash.hex()}") for block in lost]
    mirror.source.call("truncate", root)
    wait_until(lambda: tip_hash(mirror.source) == root)
    for _ in range(len(lost) + 1):
        view = mirror.source.call("get_block", mirror.make(mirror.filled()))
        mirror.target.call("submit_block", "0x0", sent_block(view))
    for view in views:
        mirror.source.call("submit_block", "0x0", sent_block(view))
    assert tip_hash(mirror.source) == tip_hash(mirror.target)
    return lost


def hashes_above(rpc: RpcClient, root: str) -> list[str]:
    first = int(rpc.call("get_header", root)["number"], 16) + 1
    return [rpc.call("get_block_hash", hex(number)) for number in range(first, rpc.tip() + 1)]


@pytest.mark.parametrize("scene", SCENES)
def test_random_questions(tmp_path: Path, stack: ExitStack, scene: str) -> None:
    make, params = SCENES[scene]
    pair = stack.enter_context(pair_of_nodes(tmp_path, spec_text(Path(CELLS), **params)))
    mirror = mirror_of(pair, "reference")
    make(mirror)
    side = fork(mirror, 5)
    mirror.mine(2)
    assert_same_filters(pair)
    mirror.mine()
    assert_same_filters(pair)
    servers = servers_of(pair, mirror.consensus.network_name, tmp_path, stack)
    chain = known(pair, side, seed=len(scene))
    probe = BLOCK_FILTER_MESSAGE.pack(GetBlockFilters(start_number=chain.tip))
    servers.latest_filter = chain.tip - (servers.reference.ask(FILTER, probe) is Outcome.SILENCE)
    for _ in range(QUESTIONS):
        protocol, payload = random_question(chain)
        if payload not in SENTINELS.values():
            servers.compare(protocol, payload)
    assert servers.reference.tell(LIGHT_CLIENT) == servers.ours.tell(LIGHT_CLIENT)
    filters = filters_as_of(servers.ours.tell(FILTER), servers.latest_filter)
    assert servers.reference.tell(FILTER) == filters
    assert pair.reference.rpc.tip() == pair.ours.rpc.tip()


def test_questions_that_stop_the_reference(tmp_path: Path, stack: ExitStack) -> None:
    """Ours answers them, or not, and serves on; nobody is banned but who says what is no message."""
    pair = stack.enter_context(pair_of_nodes(tmp_path, spec_text(Path(CELLS))))
    mirror = mirror_of(pair, "ours")
    mirror.mine(5)
    name = mirror.consensus.network_name
    client = stack.enter_context(connected_client(pair.ours, name, tmp_path / "client"))
    blocks = known(pair, [], 1).blocks
    genesis, third = blocks[0].hash, blocks[3]
    state = GetLastStateProof(
        last_hash=genesis, start_hash=genesis, start_number=0, last_n_blocks=9, difficulty_boundary=1, difficulties=[]
    )
    cases: list[tuple[Composite, type[Tip] | Outcome]] = [
        (state, SendLastStateProof),
        (GetBlocksProof(last_hash=genesis, block_hashes=[third.hash]), SendBlocksProof),
        (GetTransactionsProof(last_hash=genesis, tx_hashes=[third.transactions[0].hash]), SendTransactionsProof),
        (state.replace(last_hash=third.hash, start_number=4), Outcome.SILENCE),
        (state.replace(last_hash=third.hash, start_number=(1 << 64) - 1), Outcome.SILENCE),
        (state.replace(last_n_blocks=1 << 63), Outcome.BAN),
        (GetLastState(subscribe=b"\2"), Outcome.BAN),
    ]
    for question, answer in cases:
        got = client.ask(LIGHT_CLIENT, LIGHT_CLIENT_MESSAGE.pack(question))
        if isinstance(answer, Outcome):
            assert got is answer
        else:
            assert isinstance(got, bytes)
            message = LIGHT_CLIENT_MESSAGE.parse(got)
            assert isinstance(message, answer)
            assert message.last_header.header.hash == blocks[-1].hash
    twice = [third.transactions[0].hash] * 2
    got = client.ask(
        LIGHT_CLIENT, LIGHT_CLIENT_MESSAGE.pack(GetTransactionsProof(last_hash=blocks[-1].hash, tx_hashes=twice))
    )
    assert isinstance(got, bytes)
    assert client.tell(LIGHT_CLIENT)


def test_subscribers_hear_of_submitted_blocks(tmp_path: Path, stack: ExitStack) -> None:
    """The same bytes from both."""
    pair = stack.enter_context(pair_of_nodes(tmp_path, spec_text(Path(CELLS))))
    mirror = mirror_of(pair, "reference")
    mirror.mine(2)
    servers = servers_of(pair, mirror.consensus.network_name, tmp_path, stack)
    template = mirror.filled()
    subscribe = LIGHT_CLIENT_MESSAGE.pack(GetLastState(subscribe=b"\1"))
    for client in (servers.reference, servers.ours):
        client._send(LIGHT_CLIENT, subscribe)
        assert isinstance(LIGHT_CLIENT_MESSAGE.parse(client._next(LIGHT_CLIENT)), SendLastState)
    block_hash = mirror.make(template)  # generated: the reference tells nobody, so it hears of it once more
    view = mirror.source.call("get_block", block_hash)
    for node in (pair.reference, pair.ours):
        node.rpc.call("submit_block", "0x0", sent_block(view))
    pushed = servers.ours._next(LIGHT_CLIENT)
    assert pushed == servers.ours.tell(LIGHT_CLIENT) == servers.reference.tell(LIGHT_CLIENT)
