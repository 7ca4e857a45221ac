"""The stratum server over a dev chain: jobs follow the tip, blocks of shares reach the chain, bad miners leave."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import WeakSet

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from ckb_node.runtime.settings import ConfigError
from ckb_node.stratum import gate
from ckb_node.stratum import server as server_module
from ckb_node.stratum.found import Outcome
from ckb_node.stratum.limits import LINE_BYTES, TLS_BUFFER_BYTES
from ckb_node.stratum.service import StratumService
from ckb_node.stratum.settings import StratumSection
from consensus.address import AddressNetwork, encode_address
from consensus.crypto.difficulty import compact_to_target
from consensus.types.blockchain import CellbaseWitness
from tests.stratum.kit_net import EASY, SECONDS, NetMiner, miner, serving
from tests.support.builders.wallet import ALICE_KEY, Wallet
from tests.support.chains.devchain import dev_chain, dev_consensus
from tests.support.chains.funded_pool import funded

BLOCK = compact_to_target(dev_consensus().genesis_epoch.compact_target)


async def test_connections_that_wait_are_taken_a_few_at_a_time() -> None:
    """All that waited were taken in one step: a thousand held the event loop for 30 ms, refused ones without end."""
    async with dev_chain() as dev, serving(dev) as server, AsyncExitStack() as stack:
        for _ in range(20 * server_module.ACCEPTED_AT_ONCE):
            wire = stack.enter_context(socket.socket())
            wire.connect((server.host, server.port))  # the system takes it, without the server
        counts = [server.service.gate.count]
        while counts[-1] < 20 * server_module.ACCEPTED_AT_ONCE:
            await asyncio.sleep(0)
            counts.append(server.service.gate.count)
        assert max(later - before for before, later in pairwise(counts)) <= server_module.ACCEPTED_AT_ONCE


async def test_a_miner_finds_blocks_and_gets_the_next_job() -> None:
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one:
        await one.join()
        for height in (1, 2, 3):
            await one.until_job(height)
            one.send("mining.submit", ["worker", one.job[0], one.find(BLOCK)], 10 + height)
            assert (await one.answer(10 + height))["result"] is True
            with dev.chain.view() as view:
                assert view.tip_header().number == height
        assert server.service.outcomes()[Outcome.MAIN] == 3
        assert server.service.dialects() == {"common": 1}
        assert server.service.hashrate() >= 0


async def test_miners_with_headers_of_their_own_come_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their jobs take longer to make."""
    async with dev_chain() as dev, serving(dev) as server, AsyncExitStack() as stack:
        for agent in ["intminer/1.0"] * 5 + ["a miner"] * 5:
            one = await stack.enter_async_context(miner(server))
            one.send("mining.subscribe", [agent], 1)
            await one.answer(1)
            one.send("mining.authorize", ["worker", "x"], 2)
            await one.answer(2)
        told: list[bool] = []
        for connection in server.service._server.connections:
            own = connection.session.has_own_header
            monkeypatch.setattr(connection.session, "new_round", partial(_note, told, own))
        for _ in server.service._server.tell(is_clean=True):
            pass
        assert told == [False] * 5 + [True] * 5


def _note(told: list[bool], own: bool, **_: object) -> None:
    told.append(own)


async def test_miners_get_the_transactions_of_the_pool() -> None:
    async with funded() as funds, serving(funds.dev) as server, miner(server) as one:
        await one.join()
        await funds.submit(funds.spend())
        await funds.dev.mine(2)  # proposes it, and the window opens
        while True:
            await one.read()
            round_ = server.service.desk.rounds.get(one.job[0]) if one.job else None
            if round_ is not None and round_.prepared.template.transactions:
                break
        one.send("mining.submit", ["worker", one.job[0], one.find(BLOCK)], 5)
        await one.answer(5)
        with funds.dev.chain.view() as view:
            block = view.block(view.tip_header().hash)
        assert block is not None
        assert len(block.transactions) == 2


async def test_a_transaction_that_comes_makes_a_better_job() -> None:
    async with funded() as funds, serving(funds.dev) as server, miner(server) as one:
        await one.join()
        while not one.job:
            await one.read()
        await funds.submit(funds.spend())
        while True:
            round_ = server.service.desk.rounds.get(one.job[0])
            if round_ is not None and round_.prepared.template.proposals:
                break
            await one.read()
        assert one.job[4] is False


async def test_a_late_block_becomes_an_uncle() -> None:
    """Of two blocks of one height the second is handed in after the tip has moved; the next block embeds it."""
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one:
        await dev.mine()
        await one.join()
        await one.until_job(2)
        late, nonce = one.job[0], one.find(BLOCK)
        await dev.mine()
        await one.until_job(3)
        one.send("mining.submit", ["worker", late, nonce], 5)
        assert (await one.answer(5))["result"] is True
        assert server.service.outcomes()[Outcome.ORPHANED] == 1
        await dev.mine()
        assert server.service.outcomes()[Outcome.UNCLE] == 1


async def test_a_block_that_the_chain_refuses_is_told_in_the_log() -> None:
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one:
        await one.join()
        await one.until_job(1)
        round_ = server.service.desk.rounds.current
        assert round_ is not None
        broken = round_.work(None)
        without_dao = broken.header.replace(dao=bytes(32))
        round_._works.put(None, type(broken)(broken.template, broken.cellbase, without_dao))
        one.send("mining.suggest_difficulty", [1e-9], 4)  # the job once more
        await one.answer(4)
        await one.read()
        with capture_logs() as logs:
            one.send("mining.submit", ["worker", one.job[0], one.find(BLOCK)], 5)
            await one.answer(5)
        assert [each["event"] for each in logs] == ["a miner's block is refused"]
        (found,) = server.service.desk.found.newest_first()
        assert found.error
        assert server.service.outcomes()[Outcome.REFUSED] == 1


async def test_users_are_paid_to_their_addresses() -> None:
    section = msgspec.structs.replace(EASY, solo_payout="user")
    async with dev_chain() as dev, serving(dev, section) as server, miner(server) as one:
        user = f"{encode_address(Wallet(ALICE_KEY).lock, AddressNetwork.TESTNET)}.rig"
        await one.join(user)
        await one.until_job(1)
        one.send("mining.submit", [user, one.job[0], one.find(BLOCK)], 5)
        await one.answer(5)
        with dev.chain.view() as view:
            block = view.block(view.tip_header().hash)
        assert block is not None
        assert CellbaseWitness.parse(block.transactions[0].witnesses[0]).lock == Wallet(ALICE_KEY).lock


# ---------------------------------------------------------------- hostile miners


@pytest.mark.parametrize("data", [b"x" * (LINE_BYTES + 1), b"x" * (LINE_BYTES + 1) + b"\n", b"\0" * (1 << 20)])
async def test_a_long_line_ends_the_connection_and_bans(data: bytes) -> None:
    async with dev_chain() as dev, serving(dev) as server:
        async with miner(server) as one:
            one.writer.write(data)
            await one.closed()
        async with miner(server) as again:
            await again.closed()
        assert server.service.connection_count == 0
        assert server.service.gate.refused == 1


async def test_lines_come_in_any_pieces() -> None:
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one:
        line = json.dumps({"id": 1, "method": "mining.subscribe", "params": ["x"]}).encode() + b"\n"
        for byte in line:
            one.writer.write(bytes([byte]))
            await one.writer.drain()
        assert (await one.answer(1))["result"][2] == 12
        one.writer.write(line.replace(b'"id": 1', b'"id": 2') + line.replace(b'"id": 1', b'"id": 3') + line[:10])
        await one.answer(2)
        await one.answer(3)
        one.writer.write(line[10:])
        await one.answer(1)


async def test_many_connections_of_one_address_are_refused() -> None:
    section = msgspec.structs.replace(EASY, max_connections_per_address=2)
    async with dev_chain() as dev, serving(dev, section) as server:
        async with miner(server) as first, miner(server) as second:
            await first.join()
            await second.join()
            async with miner(server) as third:
                await third.closed()
        while server.service.connection_count:  # noqa: ASYNC110 - of the other side
            await asyncio.sleep(0.01)


async def test_a_miner_that_does_not_read_is_disconnected() -> None:
    """It asks and asks; its answers are not kept for ever."""
    async with dev_chain() as dev, serving(dev) as server:
        deaf = socket.create_connection((server.host, server.port))
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        with capture_logs() as logs:
            await loop.sock_sendall(deaf, b'{"id":1,"method":"mining.subscribe","params":["intminer"]}\n')
            while not server.service._server.connections:  # noqa: ASYNC110 - of the other side
                await asyncio.sleep(0.01)
            (connection,) = server.service._server.connections
            while connection._transport is None:  # noqa: ASYNC110 - of the other side
                await asyncio.sleep(0.01)
            for _ in range(1_000_000):
                if connection.has_ended:
                    break
                connection.send(b"x" * 10_000 + b"\n")
        assert connection.has_ended
        assert logs[-1]["reason"] == "does not read what it is sent"
        deaf.close()


async def test_a_fault_of_the_server_ends_connections_and_it_serves_again() -> None:
    """As the node's tasks start it again after a fault."""
    async with dev_chain() as dev:
        service = StratumService(dev.chain, EASY, dev.clock.now_ms)
        service.listen(("127.0.0.1", 0), Path(), is_tls=False)
        address = service.addresses[0][0]
        async with asyncio.timeout(SECONDS):
            for _ in range(2):
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(service.run())
                    one = NetMiner(*await asyncio.open_connection(*address))
                    await one.join()
                    task.cancel()
                await one.closed()
                one.writer.close()
        service.close()
        assert service.connection_count == 0


# ---------------------------------------------------------------- TLS


def certificate(directory: Path) -> ssl.SSLContext:
    """Of a server on this machine; a client's context that trusts it."""
    write_certificate(directory)
    context = ssl.create_default_context(cafile=str(directory / "cert.pem"))
    context.check_hostname = False
    return context


def write_certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


TLS = msgspec.structs.replace(EASY, tls_cert_path="cert.pem", tls_key_path="key.pem")


async def test_by_tls(tmp_path: Path) -> None:
    context = certificate(tmp_path)
    async with dev_chain() as dev, serving(dev, TLS, tmp_path) as server:
        async with miner(server, context) as one:
            await one.join()
            await one.until_job(1)
        async with miner(server) as plain:  # does not speak it
            plain.send("mining.subscribe", [])
            await plain.closed()
        while server.service.connection_count:  # noqa: ASYNC110 - of the other side
            await asyncio.sleep(0.01)


async def test_half_handshakes_are_few_at_once_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait have no buffers yet; who comes behind them has its turn."""
    context = certificate(tmp_path)
    monkeypatch.setattr(gate, "HANDSHAKES_OF_ADDRESS", 1)
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 0.2)
    monkeypatch.setattr(server_module, "LOGIN_SECONDS", SECONDS)
    async with dev_chain() as dev, serving(dev, TLS, tmp_path) as server:
        halves = [await asyncio.open_connection(server.host, server.port) for _ in range(3)]
        for _, writer in halves:
            writer.write(b"\x16\x03\x01")
        async with miner(server, context) as one:
            await one.join()
        for reader, writer in halves:
            assert await reader.read() == b""
            writer.close()
        while server.service.connection_count:  # noqa: ASYNC110 - of the other side
            await asyncio.sleep(0.01)
        assert server.service._server._handshakes._lines == {}


async def test_a_failed_handshake_leaves_no_buffers_behind(tmp_path: Path) -> None:
    """Without the garbage collector, which comes too seldom for them."""
    certificate(tmp_path)
    made: WeakSet[SSLProtocol] = WeakSet()

    class Noted(SSLProtocol):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.add(self)
            assert len(self.__dict__["_ssl_buffer"]) == TLS_BUFFER_BYTES

    async with dev_chain() as dev, serving(dev, TLS, tmp_path) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("asyncio.sslproto.SSLProtocol", Noted)
            gc.disable()
            try:
                for _ in range(5):
                    async with miner(server) as plain:
                        plain.send("mining.subscribe", [])
                        await plain.closed()
                while server.service.connection_count:  # noqa: ASYNC110 - of the other side
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0)
                left = len(made)
            finally:
                gc.enable()
    assert left <= 1  # the loop may still hold the last


@pytest.mark.parametrize("section", [StratumSection(), TLS])
async def test_without_a_certificate_there_is_no_tls(section: StratumSection, tmp_path: Path) -> None:
    async with dev_chain() as dev:
        service = StratumService(dev.chain, section, dev.clock.now_ms)
        with pytest.raises(ConfigError, match=r"stratum\.tls_"):
            service.listen(("127.0.0.1", 0), tmp_path, is_tls=True)
