"""CCC and Lumos, as npm has them, against a running node; our own RPC calls say whether what they did is true."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.kit_asserted import (
    ACCEPT,
    DAO_OCCUPIED,
    MAX_FEE,
    OWNER,
    REFUSE,
    as_rpc,
    capacity,
    cells,
    committed,
    exiting,
    fee,
    interest,
    is_dead,
    lock_of,
    multisig_args,
    new_key,
    number,
    spent,
    tokens,
    type_id_of,
    uses,
)
from tests.clients.kit_served import Run, Served
from tests.support.builders.wallet import BOB_KEY, CKB
from tests.support.vm.token_program import TOO_MUCH, token_code

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SDKS = ["ccc", "lumos"]
WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
MULTISIG_TYPE_HASH = "0x5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8"
OWNER_LOCK = lock_of(f"0x{BOB_KEY.hex()}")

each_sdk = pytest.mark.parametrize("sdk", SDKS)


@each_sdk
def test_balance_and_transfer(node: Served, run: Run, sdk: str) -> None:
    said = run(f"{sdk}/transfer.mjs", other=new_key(f"{sdk} transfer"), words=WORDS)
    transfer, back = (committed(node, said[name]) for name in ("hash", "returned"))
    assert capacity(transfer["outputs"][0]) == 1000 * CKB == number(said["received"])
    fees = [fee(node, each) for each in (transfer, back)]
    assert all(0 < each < MAX_FEE for each in fees)
    before, paid, after, rest = (number(said[name]) for name in ("before", "paid", "after", "rest"))
    assert before - paid == 1000 * CKB + fees[0]
    assert after + rest == before - sum(fees)


@each_sdk
def test_deploy_and_upgrade(node: Served, run: Run, sdk: str) -> None:
    """Users of a type id run the new code from then on."""
    accepting, refusing = exiting(ACCEPT), exiting(REFUSE)
    said = run(f"{sdk}/deploy.mjs", accepting=accepting, refusing=refusing)
    deployed, upgraded = (committed(node, said[name]) for name in ("deployed", "upgraded"))
    assert deployed["outputs"][0]["type"] == upgraded["outputs"][0]["type"] == as_rpc(said["typeId"])
    assert said["typeId"]["args"] == type_id_of(deployed)
    assert (deployed["outputs_data"][0], upgraded["outputs_data"][0]) == (refusing, accepting)
    assert is_dead(node, said["deployed"])
    (found,) = cells(node, as_rpc(said["typeId"]), "type")
    assert found["out_point"] == {"tx_hash": said["upgraded"], "index": "0x0"}
    assert committed(node, said["used"])["outputs"][0]["type"]["hash_type"] == "type"
    if sdk == "ccc":
        refused = said["refused"]
        assert (refused["class"], refused["errorCode"]) == ("ErrorClientVerification", REFUSE)
        assert (refused["source"], refused["sourceIndex"]) == ("outputType", "0x0")
        assert (said["found"], said["data"]) == (said["upgraded"], accepting)
    else:
        assert f"error code {REFUSE}" in said["refused"]
        assert said["same"] == [True, False]
        assert committed(node, said["data"])["outputs_data"][0] == accepting


@each_sdk
def test_dao(node: Served, run: Run, sdk: str) -> None:
    amount = 10_000_000
    said = run(f"{sdk}/dao.mjs", amount=amount, other=new_key(f"{sdk} saver"))
    deposit, withdrawal, unlocked = (committed(node, said[name]) for name in ("deposit", "withdrawal", "unlocked"))
    assert capacity(deposit["outputs"][0]) == amount * CKB == capacity(withdrawal["outputs"][0])
    assert deposit["outputs_data"][0] == "0x" + "00" * 8
    earned = interest(node, said["deposit"], said["withdrawal"], DAO_OCCUPIED)
    assert 0 < earned == number(said["profit"])
    maximum = node.rpc.call(
        "calculate_dao_maximum_withdraw", {"tx_hash": said["deposit"], "index": "0x0"}, _place(said)
    )
    assert number(maximum) == amount * CKB + earned
    paid = earned - sum(map(capacity, unlocked["outputs"])) + sum(map(capacity, spent(node, unlocked)))
    assert 0 < paid < MAX_FEE
    assert "Immature" in said["early"]


def _place(said: Any) -> dict[str, str]:
    return {"tx_hash": said["withdrawal"], "index": "0x0"}


@each_sdk
def test_multisig(node: Served, run: Run, sdk: str) -> None:
    """Two of three keys, the first among them; two others are too few."""
    members = [new_key(f"{sdk} member {index}") for index in range(3)]
    said = run(f"{sdk}/multisig.mjs", members=members)
    assert as_rpc(said["lock"]) == {
        "code_hash": MULTISIG_TYPE_HASH,
        "hash_type": "type",
        "args": multisig_args(1, 2, members),
    }
    assert committed(node, said["paid"])["outputs"][0] == {
        "capacity": hex(500 * CKB),
        "lock": as_rpc(said["lock"]),
        "type": None,
    }
    transfer = committed(node, said["spent"])
    assert transfer["outputs"][0] == {"capacity": hex(200 * CKB), "lock": OWNER_LOCK, "type": None}
    assert number(said["rest"]) == 300 * CKB - fee(node, transfer)
    assert "Script" in str(said["early"])


@each_sdk
def test_sudt(node: Served, run: Run, sdk: str) -> None:
    other = new_key(f"{sdk} token")
    said = run(f"{sdk}/sudt.mjs", code=f"0x{token_code().hex()}", other=other)
    token = as_rpc(said["type"])
    assert token["args"] == f"0x{OWNER.lock.hash.hex()}"
    assert [tokens(cell) for cell in cells(node, lock_of(other), filter={"script": token})] == [
        700 if sdk == "ccc" else 300
    ]
    held = {name: number(said[name]) for name in ("owner", "other")}
    assert held == ({"owner": 300, "other": 700} if sdk == "ccc" else {"owner": 700, "other": 300})
    assert sum(map(tokens, cells(node, token, "type"))) == 1000
    for name in ("issued", "passed"):
        committed(node, said[name])
    if sdk == "ccc":
        assert (said["tooMuch"]["class"], said["tooMuch"]["errorCode"]) == ("ErrorClientVerification", TOO_MUCH)


@each_sdk
def test_paging(node: Served, run: Run, sdk: str) -> None:
    """Page by page comes what one large page shows, in the same order."""
    said = run(f"{sdk}/paging.mjs", other=new_key(f"{sdk} pages"), cells=[17, 1, 11], page=7)
    lock = as_rpc(said["lock"])
    places = [(each["out_point"]["tx_hash"], number(each["out_point"]["index"])) for each in cells(node, lock)]
    assert len(places) == 29
    assert [(tx_hash, number(index)) for tx_hash, index in said["cells"]] == places
    assert said["backwards"] == said["cells"][::-1]
    expected = [(tx_hash, number(index), is_input) for tx_hash, index, is_input in uses(node, lock)]
    assert [(tx_hash, number(index), is_input) for tx_hash, index, is_input in said["transactions"]] == expected
    assert said["transactionsBackwards"] == said["transactions"][::-1]
    if sdk == "ccc":
        hashes = dict.fromkeys(tx_hash for tx_hash, _, _ in expected)
        assert said["grouped"] == [[tx_hash, count] for tx_hash, count in zip(hashes, [17, 1, 11], strict=True)]
        assert number(said["capacity"]) == sum(capacity(each["output"]) for each in cells(node, lock))
    else:
        assert said["hashes"] == [tx_hash for tx_hash, _, _ in expected]
        assert said["count"] == len(places)


def test_ccc_reads_refusals(node: Served, run: Run) -> None:
    """The SDK finds out with regular expressions what a refusal means."""
    with node.miner.paused():
        said = run("ccc/errors.mjs", other=new_key("ccc errors"))
    assert said["duplicated"]["class"] == "ErrorClientDuplicatedTransaction"
    assert said["cheap"]["class"] == "ErrorClientRBFRejected"
    assert number(said["cheap"]["currentFee"]) == 100_001
    assert number(said["cheap"]["leastFee"]) > 100_001
    statuses = [node.rpc.call("get_transaction", said[name])["tx_status"] for name in ("replaced", "replacement")]
    assert statuses[0]["status"] == "rejected"
    assert "RBFRejected" in statuses[0]["reason"]
    assert statuses[1]["status"] in ("pending", "proposed", "committed")
    assert said["unknown"]["class"] == "ErrorClientResolveUnknown"
    assert said["unknown"]["outPoint"] == {"txHash": "0x" + "11" * 32, "index": "0x5"}
    assert said["poor"]["class"] == "ErrorClientBase"
    assert said["poor"]["code"] == -1104


def test_ccc_by_web_socket_and_subscriptions(node: Served, run: Run) -> None:
    """What is told by WebSocket and TCP is the chain's, without a gap."""
    said = run("ccc/subscribe.mjs", other=new_key("ccc news"))
    assert fee(node, committed(node, said["hash"])) == number(said["fee"])
    for heard in (said["webSocket"], said["tcp"]):
        assert [topic for topic, _, _ in heard["pool"]] == ["new_transaction", "proposed_transaction"]
        assert {told for _, told, _ in heard["pool"]} == {said["fee"]}
        for blocks in (heard["headers"], heard["blocks"]):
            numbers = [number(height) for height, _ in blocks]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert all(node.rpc.call("get_block_hash", height) == hash_ for height, hash_ in blocks)


def test_lumos_hears_of_a_lock(node: Served, run: Run) -> None:
    with node.miner.paused():
        said = run("lumos/subscribe.mjs", other=new_key("lumos news"))
    committed(node, said["hash"])
    assert said["changed"] is True
    assert number(said["medianTime"]) > 0


def test_lumos_reads_every_answer(node: Served, run: Run) -> None:
    with node.miner.paused():
        said = run("lumos/rpc.mjs")
    single = said["single"]
    faults = {name: value for name, value in single.items() if isinstance(value, dict) and "error" in value}
    assert not faults
    assert said["batch"] == list(single.values())[1:8]
    assert said["proof"] == [single["getBlock"]["transactions"][0]["hash"]]
    assert single["getBlock"] == single["getBlockByNumber"]
    assert single["getBlock"]["header"]["hash"] == said["genesis"] == node.rpc.call("get_block_hash", "0x0")
    assert single["getTransaction"]["txStatus"]["status"] == "committed"
    assert single["getLiveCell"]["status"] == "live"
    assert single["getConsensus"]["id"] == node.rpc.call("get_consensus")["id"]
