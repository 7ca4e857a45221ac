"""One block, spoilt in every place: both refuse each, for the same reason, and then take the block as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tests.interop.kit_block import ZERO, block_of, changed, shifted, uncle_of, with_dao
from tests.interop.kit_chain import Mirror
from tests.interop.kit_json import Json, hexed, sent_block
from tests.interop.kit_mirror import assert_same_chain, assert_same_tip
from tests.interop.kit_verdict import answers, said, same_verdict
from tests.support.builders.wallet import CKB

Spoilt = Iterator[tuple[str, Json]]
UNKNOWN = "0x" + "77" * 32
MINUTE_MS = 60_000


def header_faults(block: Json, median_ms: int) -> Spoilt:
    header = block["header"]

    def of(name: str, value: str) -> Json:
        return changed(block, ("header", name), value)

    yield "number + 1", of("number", shifted(header["number"], 1))
    yield "number - 1", of("number", shifted(header["number"], -1))
    yield "target", of("compact_target", shifted(header["compact_target"], 1))
    yield "epoch number", of("epoch", shifted(header["epoch"], 1))
    yield "epoch index", of("epoch", shifted(header["epoch"], 1 << 24))
    yield "epoch length", of("epoch", shifted(header["epoch"], 1 << 40))
    yield "epoch's high byte", of("epoch", shifted(header["epoch"], 1 << 56))
    yield "epoch 0", of("epoch", "0x0")
    yield "time of the median", of("timestamp", hex(median_ms))
    yield "time 0", of("timestamp", "0x0")
    yield "in the future", of("timestamp", shifted(header["timestamp"], MINUTE_MS * 60))
    yield "unknown parent", of("parent_hash", UNKNOWN)
    dao = bytes.fromhex(header["dao"][2:])
    for place in (0, 8, 16, 24):
        spoilt = bytearray(dao)
        spoilt[place] ^= 1
        yield f"dao byte {place}", of("dao", hexed(bytes(spoilt)))
    yield "no dao", of("dao", ZERO)


def cellbase_faults(block: Json) -> Spoilt:
    cellbase = block["transactions"][0]

    def of(path: tuple[str | int, ...], value: Json) -> Json:
        return changed(block, ("transactions", 0, *path), value)

    output = cellbase["outputs"][0]
    yield "no transactions", block | {"transactions": []}
    yield "no cellbase", block | {"transactions": block["transactions"][1:]}
    yield "two cellbases", block | {"transactions": [cellbase, *block["transactions"]]}
    yield "cellbase second", block | {"transactions": [*block["transactions"][1:], cellbase]}
    yield "height", of(("inputs", 0, "since"), shifted(cellbase["inputs"][0]["since"], 1))
    yield "cellbase version", of(("version",), "0x1")
    yield "reward + 1", of(("outputs", 0, "capacity"), shifted(output["capacity"], 1))
    yield "reward - 1", of(("outputs", 0, "capacity"), shifted(output["capacity"], -1))
    yield "another's lock", of(("outputs", 0, "lock", "args"), "0x" + "11" * 20)
    yield "another hash type", of(("outputs", 0, "lock", "hash_type"), "data")
    yield "a type script", of(("outputs", 0, "type"), output["lock"])
    yield "cellbase data", of(("outputs_data", 0), "0x00")
    yield "cellbase without outputs", changed(of(("outputs",), []), ("transactions", 0, "outputs_data"), [])
    yield "two outputs", changed(of(("outputs",), [output, output]), ("transactions", 0, "outputs_data"), ["0x", "0x"])
    yield "outputs without data", of(("outputs_data",), [])
    yield "no witness", of(("witnesses",), [])
    yield "two witnesses", of(("witnesses",), cellbase["witnesses"] * 2)
    yield "an empty second witness", of(("witnesses",), [*cellbase["witnesses"], "0x"])
    yield "empty witness", of(("witnesses",), ["0x"])
    yield "bad witness", of(("witnesses",), ["0x00"])
    yield "witness with a tail", of(("witnesses", 0), cellbase["witnesses"][0] + "00")
    yield "an unknown header dep", of(("header_deps",), [UNKNOWN])
    dep = {"out_point": {"tx_hash": UNKNOWN, "index": "0x0"}, "dep_type": "code"}
    yield "a cell dep", of(("cell_deps",), [dep])
    yield "two inputs", of(("inputs",), cellbase["inputs"] * 2)
    yield "no input", of(("inputs",), [])
    yield "an input", of(("inputs", 0, "previous_output", "index"), "0x0")


def transaction_faults(block: Json) -> Spoilt:
    """Transactions 1 and 2 are both proposed; 2 spends an output of 1."""
    first, second = block["transactions"][1:3]

    def of(path: tuple[str | int, ...], value: Json) -> Json:
        return changed(block, ("transactions", 1, *path), value)

    def only(*transactions: Json) -> Json:
        return block | {"transactions": [block["transactions"][0], *transactions]}

    yield "dao of other content", only(first)
    yield "wrong order", only(second, first)
    yield "only the second", only(second)
    yield "twice", only(first, first, second)
    yield "witness", of(("witnesses", 0), first["witnesses"][0][:-2] + "ff")
    yield "no witnesses", of(("witnesses",), [])
    yield "version", of(("version",), "0x1")
    yield "since", of(("inputs", 0, "since"), "0xffff")
    yield "input", of(("inputs", 0, "previous_output", "tx_hash"), UNKNOWN)
    yield "output", of(("outputs", 0, "capacity"), shifted(first["outputs"][0]["capacity"], 1))
    yield "no outputs", of(("outputs",), [])
    yield "no deps", of(("cell_deps",), [])


def proposal_faults(block: Json, limit: int) -> Spoilt:
    some = "0x" + "01" * 10
    yield "proposed twice", block | {"proposals": [some, some]}
    yield (
        "proposals out of measure",
        block | {"proposals": ["0x" + number.to_bytes(10, "little").hex() for number in range(limit + 1)]},
    )


def extension_faults(block: Json) -> Spoilt:
    root = block["extension"]
    yield "no extension", {key: value for key, value in block.items() if key != "extension"}
    yield "empty extension", block | {"extension": "0x"}
    yield "short extension", block | {"extension": root[:-2]}
    yield "long extension", block | {"extension": root + "00" * 65}
    yield "wrong root", block | {"extension": UNKNOWN}


def uncle_faults(block: Json, parent: Json, others: list[Json]) -> Spoilt:
    """The block has one good uncle."""
    uncle = block["uncles"][0]

    def of(name: str, value: str) -> Json:
        return changed(block, ("uncles", 0, "header", name), value)

    header = uncle["header"]
    yield "uncle twice", block | {"uncles": [uncle, uncle]}
    yield "three uncles", block | {"uncles": [uncle, *others]}
    yield "parent as uncle", block | {"uncles": [{"header": parent["header"], "proposals": parent["proposals"]}]}
    yield "uncle's number", of("number", shifted(header["number"], 1))
    yield "uncle too high", of("number", shifted(header["number"], 5))
    yield "uncle's epoch", of("epoch", shifted(header["epoch"], 1))
    yield "uncle's target", of("compact_target", shifted(header["compact_target"], 1))
    yield "uncle's parent", of("parent_hash", UNKNOWN)


def test_bad_blocks_are_refused_for_the_same_reason(mirror: Mirror) -> None:
    mirror.mine(20)
    first = mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 100 * CKB)
    second = mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 200 * CKB)
    unproposed = mirror.transfer(mirror.bob, mirror.bob.wallet.lock, 200 * CKB)
    mirror.mine(propose=[first, second])
    template = mirror.template()
    parent = sent_block(mirror.mine())
    uncles = [uncle_of(mirror, template, step) for step in (501, 502, 503)]
    template = mirror.filled(commit=[first, second]) | {"uncles": []}
    good = block_of(with_dao(mirror.source, template)) | {"uncles": uncles[:1]}
    median = int(mirror.source.call("get_block_median_time", good["header"]["parent_hash"]), 16)
    limit = int(mirror.source.call("get_consensus")["max_block_proposals_limit"], 16)
    early = with_dao(mirror.source, mirror.filled(commit=[unproposed]) | {"uncles": []})
    faults = chain(
        header_faults(good, median),
        cellbase_faults(good),
        transaction_faults(good),
        [("not proposed", block_of(early))],
        proposal_faults(good, limit),
        extension_faults(good),
        uncle_faults(good, parent, uncles[1:]),
    )
    for name, block in faults:
        assert not same_verdict(mirror, block), name
    for value in ("0x0", "0xffffffff"):
        # No difficulty at all: never the tip. The reference keeps such a block aside unverified, ours refuses it.
        weightless = changed(good, ("header", "compact_target"), value)
        answers(mirror, weightless)
        assert_same_tip(mirror.pair)
    genesis = answers(mirror, changed(good, ("header", "number"), "0x0"))
    assert all(answer.startswith("-3 Invalid") for answer in genesis)
    theirs, ours = answers(mirror, good)
    assert theirs == ours
    assert theirs.startswith("0x")
    theirs, ours = answers(mirror, good)
    assert theirs == ours
    assert_same_chain(mirror.pair)


def test_other_proposals_in_an_uncle(mirror: Mirror) -> None:
    """The block's hash does not cover them, only the uncle's does: the good block must not suffer (ours does not)."""
    mirror.mine(3)
    template = mirror.template()
    mirror.mine()
    uncle = uncle_of(mirror, template, 501)
    good = block_of(mirror.template() | {"uncles": []}) | {"uncles": [uncle]}
    mauled = changed(good, ("uncles", 0, "proposals"), ["0x" + "01" * 10])
    theirs, ours = answers(mirror, mauled)
    assert theirs == ours
    assert theirs.startswith("-3 Invalid")
    assert said(mirror.pair.ours.rpc, good).startswith("0x")


def test_extensions_may_be_longer(mirror: Mirror) -> None:
    for more in (0, 1, 31, 64):
        root = mirror.template()["extension"]
        mirror.mine(extension=root + "a5" * more)
    assert_same_chain(mirror.pair)


def test_other_versions_of_headers(mirror: Mirror) -> None:
    """CKB2023 gave the version to miners."""
    for version in ("0x1", "0xffffffff"):
        mirror.mine(version=version)
    assert_same_chain(mirror.pair)
