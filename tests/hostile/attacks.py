"""The attacks by name. Each is a function of the target that never returns; it runs in a process of its own."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Any

from tests.hostile.chain import Target
from tests.hostile.light_clients import light_clients
from tests.hostile.peers import block_questions, flood_from, monsters, never_complete, unknown_hashes
from tests.hostile.wire import batch, call, connect, held, post, streams, visits
from tests.support.nodes.process import RpcClient

Attack = Callable[[Target], None]
ATTACKS: dict[str, Attack] = {}
TIP = call("get_tip_block_number")
MANY = 400
ALL = 1200
"""More connections than the server keeps."""


def attack(name: str) -> Callable[[Attack], Attack]:
    """Register under a name."""

    def register(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return register


def run_attack(name: str, target: Target, begun: Event) -> None:
    """The attacker's process."""
    begun.set()
    ATTACKS[name](target)


def threads(count: int, function: Callable[..., None], *arguments: Any, **named: Any) -> None:
    """The same in several threads; never returns."""
    started = [threading.Thread(target=function, args=arguments, kwargs=named, daemon=True) for _ in range(count)]
    for each in started:
        each.start()
    for each in started:
        each.join()


# ------------------------------------------------------------ connections and heads


@attack("no attack")
def no_attack(target: Target) -> None:
    threading.Event().wait()


@attack("idle connections, more than fit")
def idle(target: Target) -> None:
    held(target.port, ALL, b"")


@attack("idle connections from many addresses")
def idle_many(target: Target) -> None:
    held(target.port, ALL, b"", from_many=True)


@attack("headers that do not end (f01)")
def endless_header(target: Target) -> None:
    streams(target.port, 100, [b"POST / HTTP/1.1\r\nX: ", b"a" * (20 << 20)])


@attack("many small headers")
def many_headers(target: Target) -> None:
    streams(target.port, 100, [b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 40_000])


@attack("slow heads")
def slow_heads(target: Target) -> None:
    streams(target.port, ALL, [b"POST / HTTP/1.1\r\nHost: x\r\nX: ", *[b"a"] * 1000], pause_s=0.5, from_many=True)


@attack("pipelined requests and reset (f03)")
def pipelined_reset(target: Target) -> None:
    threads(4, visits, target.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 7000, resets=True)


@attack("pipelined calls, answers unread")
def pipelined_unread(target: Target) -> None:
    streams(target.port, 60, [post(TIP) * 500], receive_bytes=4096)


@attack("pipelined calls")
def pipelined(target: Target) -> None:
    streams(target.port, 60, [post(TIP) * 500], reads=True)


@attack("connect and leave")
def churn(target: Target) -> None:
    threads(4, visits, target.port, post(TIP), resets=False)


@attack("connect and reset")
def churn_reset(target: Target) -> None:
    threads(4, visits, target.port, post(TIP), resets=True, from_many=True)


@attack("offers of other protocols (01)")
def upgrades(target: Target) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"
    streams(
        target.port, 30, [post(TIP, offer) * 3, post(TIP, b"Connection: Upgrade\r\nUpgrade: websocket")], reads=True
    )


MALFORMED = [
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n12345",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    b"POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"POST / HTTP/1.1\nHost: x\n\n",
    b"POST / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 5000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST http://evil.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    post(TIP, b"Origin: https://evil.example"),
    post(TIP, b"Expect: 100-continue"),
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\n1\r\n0\r\nTrailer: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 3000,
]


@attack("what is no HTTP, smuggling, foreign pages")
def malformed(target: Target) -> None:
    def visit_all() -> None:
        while True:
            for text in MALFORMED:
                visit_once(target.port, text)

    threads(4, visit_all)


def visit_once(port: int, text: bytes) -> None:
    """Say something and read the answer."""
    client = connect(port)
    if client is None:
        return
    try:
        client.settimeout(2)
        client.sendall(text)
        client.recv(4096)
    except OSError:
        pass
    finally:
        client.close()


# ------------------------------------------------------------ bodies


@attack("slow uploads (f07)")
def slow_uploads(target: Target) -> None:
    start = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\n"
    held(target.port, 40, start + b" " * ((10 << 20) - 1))


@attack("fast uploads of nonsense")
def fast_uploads(target: Target) -> None:
    streams(target.port, 30, [post(b"x" * (10 << 20))], reads=True)


@attack("chunks of two bytes (f15)")
def tiny_chunks(target: Target) -> None:
    streams(
        target.port,
        30,
        [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"2\r\nab\r\n" * 30_000] * 100],
        reads=True,
    )


@attack("chunk extensions that do not end")
def chunk_extensions(target: Target) -> None:
    streams(
        target.port,
        30,
        [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", *[b"a" * (1 << 20)] * 500],
        reads=True,
    )


HARD_JSON = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"jsonrpc":"2.0","id":1,"method":"get_block_hash","params":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"jsonrpc":"2.0","id":' + b"9" * 1_000_000 + b',"method":"get_tip_block_number","params":[]}',
    b'{"jsonrpc":"2.0","id":1e999999999,"method":"get_tip_block_number","params":[]}',
    b'{"jsonrpc":"2.0","id":1,' + b'"method":"get_tip_block_number",' * 30_000 + b'"params":[]}',
    b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe","params":[]}',
    b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 5_000_000 + b'","params":[]}',
    b'{"jsonrpc":"2.0","id":1,"method":"\\ud800\\u2028\\u001b[2J","params":[]}',
    b"[" + b"1," * 4_000_000 + b"1]",
    call("get_block_hash", "0x" + "f" * 5_000_000),
    call("get_block_hash", ["\u2028"] * 100_000),
]


@attack("JSON that is hard to read")
def hard_json(target: Target) -> None:
    streams(target.port, 12, [post(text) for text in HARD_JSON], reads=True)


@attack("compressed bodies")
def compressed(target: Target) -> None:
    bomb = gzip.compress(b" " * (100 << 20))
    streams(target.port, 20, [post(bomb, b"Content-Encoding: gzip"), post(bomb, b"Content-Encoding: br")], reads=True)


# ------------------------------------------------------------ calls


@attack("endless scripts by estimate_cycles (f02)")
def estimates(target: Target) -> None:
    calls = [post(call("estimate_cycles", transaction)) for transaction in target.endless]
    threads(len(calls[:30]), lambda: visits_in_turn(target.port, calls))


@attack("endless scripts, client leaves at once")
def estimates_left(target: Target) -> None:
    threads(4, visits, target.port, post(call("estimate_cycles", target.endless[0])), resets=False)


def visits_in_turn(port: int, texts: list[bytes]) -> None:
    """One connection that waits for each answer."""
    streams(port, 1, texts, reads=True)


@attack("batches of dear calls (f04)")
def dear_batches(target: Target) -> None:
    body = batch(2000, "get_block_economic_state", target.full_block)
    streams(target.port, 3, [post(body)], reads=True)


@attack("batches of blocks, answers unread (f06)")
def blocks_unread(target: Target) -> None:
    body = post(batch(100, "get_block", target.full_block)) + post(TIP, b"Expect: 100-continue")
    streams(target.port, 20, [body], receive_bytes=4096)


@attack("batches of blocks, many clients, answers unread")
def many_blocks_unread(target: Target) -> None:
    streams(target.port, 300, [post(batch(100, "get_block", target.full_block))], receive_bytes=4096, from_many=True)


@attack("batches of transactions, many clients, answers unread")
def many_transactions_unread(target: Target) -> None:
    block = RpcClient(target.port).call("get_block", target.full_block)
    largest = max(block["transactions"], key=lambda each: sum(map(len, each["outputs_data"] + each["witnesses"])))
    body = batch(2000, "get_transaction", largest["hash"])
    streams(target.port, 300, [post(body)], receive_bytes=4096, from_many=True)


@attack("batches of cheap calls, many clients")
def many_cheap_batches(target: Target) -> None:
    streams(target.port, 120, [post(batch(2000, "get_tip_header"))], reads=True, from_many=True)


@attack("batches of cheap calls")
def cheap_batches(target: Target) -> None:
    streams(target.port, 8, [post(batch(2000, "get_tip_header"))], reads=True)


@attack("submit_block with long work_id (f05)")
def log_flood(target: Target) -> None:
    block = RpcClient(target.port).call("get_block", target.full_block)
    del block["header"]["hash"]
    cellbase = {key: value for key, value in block["transactions"][0].items() if key != "hash"}
    short = block | {"transactions": [cellbase]}
    long_id = call("submit_block", "\x1b[2J\n" * 1_000_000, short)
    streams(target.port, 4, [post(long_id), post(batch(200, "submit_block", "\nforged\x1b[2J", short))], reads=True)


@attack("all cells of a lock, answers unread (f08)")
def cells_unread(target: Target) -> None:
    streams(target.port, 60, [post(call("get_cells", target.search, "asc", "0xffffffff"))], receive_bytes=4096)


@attack("all cells of a lock")
def cells(target: Target) -> None:
    streams(target.port, 12, [post(call("get_cells", target.search, "asc", "0xffffffff"))], reads=True)


@attack("searches that find nothing (f20)")
def searches(target: Target) -> None:
    nothing = target.search | {"filter": {"output_capacity_range": ["0xffffffffffff", "0xffffffffffff"]}}
    streams(target.port, 8, [post(batch(100, "get_cells", nothing, "asc", "0x1"))], reads=True)


@attack("capacity of all cells")
def capacities(target: Target) -> None:
    streams(target.port, 12, [post(call("get_cells_capacity", target.search))], reads=True)


@attack("templates, many at a time")
def templates(target: Target) -> None:
    streams(target.port, 20, [post(call("get_block_template"))], reads=True)


@attack("200 light clients at their limits")
def many_light_clients(target: Target) -> None:
    light_clients(target.port)


@attack("peers: unasked messages of 8 MB")
def peers_monsters(target: Target) -> None:
    flood_from(target.port, 4, monsters)


@attack("peers: compact blocks that never complete")
def peers_never_complete(target: Target) -> None:
    flood_from(target.port, 4, never_complete)


@attack("peers: hashes of transactions that never come")
def peers_hashes(target: Target) -> None:
    flood_from(target.port, 8, unknown_hashes)


@attack("peers: the chain's blocks, again and again")
def peers_blocks(target: Target) -> None:
    flood_from(target.port, 4, block_questions)


@attack("half-closed calls")
def half_closed(target: Target) -> None:
    def visit() -> None:
        while True:
            client = connect(target.port)
            if client is None:
                continue
            try:
                client.settimeout(2)
                client.sendall(post(call("get_cells_capacity", target.search)))
                client.shutdown(socket.SHUT_WR)
                client.recv(4096)
            except OSError:
                pass
            finally:
                client.close()

    threads(6, visit)
