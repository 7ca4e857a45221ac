"""The files of the peer store: the reference's forms, and that no content of them stops the node."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.peers import store_files
from network.peers.anchors import Anchors
from network.peers.bans import Ban, BanList
from network.peers.store import PeerStore
from network.peers.store_files import ADDRESSES_FILE, ANCHORS_FILE, BANS_FILE, Problem, Snapshot, StoreFiles
from storage.files import set_aside, write_whole
from tests.network.peers.kit import ALL_FLAGS, DAY, HOUR, NOW, address, in_group
from tests.support.fuzz import examples

A, B = address("11.0.0.1"), address("2606:4700::1", 9)


class Node:
    """What a node has in memory, and its files."""

    def __init__(self, directory: Path, limit: int = 100) -> None:
        self.bans, self.anchors = BanList(), Anchors()
        self.store = PeerStore(Random(1), self.bans, limit)
        self.files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)

    def load(self, now_ms: int = NOW) -> list[Problem]:
        return self.files.load(self.store, self.bans, self.anchors, now_ms)

    def save(self, now_ms: int = NOW) -> None:
        self.files.save(Snapshot.of(self.store, self.bans, self.anchors, now_ms))


def test_a_node_starts_without_files(tmp_path: Path) -> None:
    node = Node(tmp_path / "peer_store")
    assert node.load() == []
    assert len(node.store) == len(node.bans) == len(node.anchors) == 0


def test_all_is_as_before_after_a_restart(tmp_path: Path) -> None:
    node = Node(tmp_path / "data" / "peer_store")
    node.store.add_told(A, 0x0E, NOW, in_group(7, 7))
    node.store.mark_tried(A, NOW + 1)
    node.store.add_connected(B, ALL_FLAGS, NOW - HOUR)
    node.bans.add(Ban(ip_network("11.9.0.0/16"), NOW + DAY, "by hand", NOW - 5, is_manual=True), NOW)
    node.bans.add(Ban(ip_network("2001:db8::/64"), NOW + HOUR, "ping flood", NOW - 6), NOW)
    node.bans.add(Ban(ip_network("11.8.0.1/32"), NOW + 1, "soon over", NOW - 6), NOW)
    for number in range(3):
        node.anchors.add(in_group(number, 3))
    node.save(NOW + 2)

    again = Node(tmp_path / "data" / "peer_store")
    assert again.load(NOW + 2) == []
    told, tried = again.store.get(A), again.store.get(B)
    assert told is not None
    assert tried is not None
    assert (told.flags, told.source, told.last_tried_ms, told.attempts) == (0x0E, "11.7", NOW + 1, 1)
    assert (tried.flags, tried.last_connected_ms) == (ALL_FLAGS, NOW - HOUR)
    assert again.bans.current(NOW + 2) == node.bans.current(NOW + 2)
    assert len(again.bans) == 2
    assert list(again.anchors) == [in_group(1, 3), in_group(2, 3)]
    again.save(NOW + 2)
    assert sorted(one.name for one in (tmp_path / "data" / "peer_store").iterdir()) == [
        ADDRESSES_FILE,
        ANCHORS_FILE,
        BANS_FILE,
    ]


def test_the_form_is_the_reference_s(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.store.add_connected(A, 63, NOW)
    node.bans.add(Ban(ip_network("11.9.9.9"), NOW + DAY, "why", NOW), NOW)
    node.anchors.add(B)
    node.save()
    [entry] = json.loads((tmp_path / ADDRESSES_FILE).read_bytes())
    assert entry == {
        "addr": str(A),
        "score": 100,
        "last_connected_at_ms": NOW,
        "last_tried_at_ms": 0,
        "attempts_count": 0,
        "random_id_pos": 0,
        "flags": 63,
        "source": "",
    }
    [ban] = json.loads((tmp_path / BANS_FILE).read_bytes())
    assert ban == {
        "address": "11.9.9.9/32",
        "ban_until": NOW + DAY,
        "ban_reason": "why",
        "created_at": NOW,
        "manual": False,
    }
    assert json.loads((tmp_path / ANCHORS_FILE).read_bytes()) == [str(B)]


def test_files_of_the_reference_are_read(tmp_path: Path) -> None:
    old = {
        "addr": str(A),
        "score": -7,
        "last_connected_at_ms": NOW - HOUR,
        "last_tried_at_ms": NOW - HOUR,
        "attempts_count": 4294967295,
        "random_id_pos": 18446744073709551615,
    }
    (tmp_path / ADDRESSES_FILE).write_text(json.dumps([old, {**old, "addr": str(B), "flags": 62, "later": {"x": [1]}}]))
    (tmp_path / BANS_FILE).write_text(
        '[{"address":"2001:db8::7/128","ban_until":18446744073709551615,"ban_reason":"ü","created_at":0}]'
    )
    (tmp_path / ANCHORS_FILE).write_text(json.dumps([f"/ip4/11.0.0.1/tcp/8115/ws/p2p/{A.peer_id}"]))
    node = Node(tmp_path)
    assert node.load() == []
    assert {known.address: known.flags for known in node.store} == {A: 1, B: 62}
    assert node.bans.is_banned(ip_address("2001:db8::7"), NOW)
    assert [str(one.transport.value) for one in node.anchors] == ["ws"]


@pytest.mark.parametrize("name", [ADDRESSES_FILE, BANS_FILE, ANCHORS_FILE])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b'[{"addr"',
        b"\x00" * 100,
        b"\xff\xfe[]",
        b"null",
        b"{}",
        b"[1]",
        b"[[]]",
        b'[{"addr":"/ip4/1.2.3.4","last_connected_at_ms":-1,"last_tried_at_ms":0,"attempts_count":0}]',
        b'[{"address":"1.2.3.4","ban_until":1e99,"ban_reason":"","created_at":0}]',
        b"[" * 100_000,
        b'[{"address":"1.2.3.4","ban_until":' + b"9" * 10_000 + b',"ban_reason":"","created_at":0}]',
        b'[{"x":' * 50_000,
        b'["' + b"\xed\xa0\x80" + b'"]',
    ],
    ids=lambda content: repr(content[-12:]),
)
def test_a_damaged_file_is_named_and_kept_aside_and_the_node_starts(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    node = Node(tmp_path)
    [problem] = node.load()
    assert problem.path == tmp_path / name
    assert problem.reason
    assert problem.kept_as is not None
    assert problem.kept_as.read_bytes() == content
    assert not (tmp_path / name).exists()
    assert len(node.store) == len(node.bans) == len(node.anchors) == 0
    node.save()
    assert Node(tmp_path).load() == []


def test_a_cut_file_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for number in range(3):
        node.store.add_connected(in_group(number, 1), ALL_FLAGS, NOW)
    node.save()
    whole = (tmp_path / ADDRESSES_FILE).read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / ADDRESSES_FILE).write_bytes(whole[:size])
        [problem] = Node(tmp_path).load()
        assert problem.kept_as is not None
        problem.kept_as.unlink()


@pytest.mark.parametrize("name", [ADDRESSES_FILE, BANS_FILE, ANCHORS_FILE])
@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "dangling"])
def test_what_is_no_regular_file_is_kept_aside(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "directory":
        (path / "inside").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path / "nowhere")
    node = Node(tmp_path)
    [problem] = node.load()
    assert problem.kept_as is not None
    node.save()
    assert path.is_file()


def test_a_file_that_is_too_large_is_not_read_further(tmp_path: Path) -> None:
    with (tmp_path / BANS_FILE).open("wb") as file:
        file.truncate(store_files.MAX_FILE + 1)
    [problem] = Node(tmp_path).load()
    assert "more than" in problem.reason


def test_a_file_that_cannot_be_renamed_is_named_all_the_same(tmp_path: Path) -> None:
    def fail(path: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / ANCHORS_FILE).write_text("?")
    node = Node(tmp_path)
    node.files = StoreFiles(tmp_path, write_whole=write_whole, set_aside=fail)
    [problem] = node.load()
    assert problem.kept_as is None
    assert problem.reason.endswith("it cannot be renamed: Permission denied")


def test_entries_that_are_no_addresses_are_passed_over_and_counted(tmp_path: Path) -> None:
    def entry(text: str, **other: object) -> dict[str, object]:
        return {"addr": text, "last_connected_at_ms": 0, "last_tried_at_ms": 0, "attempts_count": 0, **other}

    bad = ["", "x", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/1", f"/memory/1/p2p/{A.peer_id}", "/dns4/" + "a" * 9999]
    entries = [*map(entry, bad), entry(str(B), source="x" * 99), entry(str(A))]
    (tmp_path / ADDRESSES_FILE).write_text(json.dumps(entries))
    (tmp_path / ANCHORS_FILE).write_text(json.dumps([str(A), "/ip4/1.2.3.4/tcp/1"]))
    ban = {"ban_until": NOW + DAY, "ban_reason": "", "created_at": 0}
    (tmp_path / BANS_FILE).write_text(
        json.dumps([{"address": text, **ban} for text in ("1.2.3.4/33", "", "11.5.0.0/16")])
    )
    node = Node(tmp_path)
    assert {problem.path.name: problem.skipped for problem in node.load()} == {
        ADDRESSES_FILE: 7,
        ANCHORS_FILE: 1,
        BANS_FILE: 2,
    }
    assert [known.address for known in node.store] == [A]
    assert (tmp_path / ADDRESSES_FILE).exists()


def test_a_file_with_too_many_entries_fills_the_store_and_no_more(tmp_path: Path) -> None:
    large = Node(tmp_path, limit=1000)
    for number in range(700):
        large.store.add_connected(in_group(number, 1), ALL_FLAGS, NOW - HOUR)
        large.store.add_told(in_group(1000 + number, 1), ALL_FLAGS, NOW)
    large.save()
    small = Node(tmp_path, limit=100)
    assert small.load() == []
    assert (len(small.store), small.store.tried_count) == (100, 75)


def test_of_more_entries_than_a_node_writes_the_rest_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make room for each of a hundred thousand would keep the start waiting for a minute."""
    monkeypatch.setattr(store_files, "MAX_ENTRIES", 10)
    entries = [str(in_group(number, number)) for number in range(30)]
    (tmp_path / ANCHORS_FILE).write_text(json.dumps(["no address", *entries]))
    node = Node(tmp_path)
    (problem,) = node.load()
    assert problem.skipped == 22
    assert set(map(str, node.anchors)) <= set(entries[:9])


def test_addresses_that_were_banned_are_not_loaded(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.store.add_connected(A, ALL_FLAGS, NOW)
    node.bans.add(Ban(ip_network("11.0.0.0/8"), NOW + DAY, "", NOW), NOW)
    node.save()
    again = Node(tmp_path)
    again.load()
    assert len(again.store) == 0
    assert len(again.bans) == 1


def test_files_are_as_before_when_one_cannot_be_written(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.store.add_connected(A, ALL_FLAGS, NOW)
    node.save()
    before = (tmp_path / ADDRESSES_FILE).read_bytes()
    (tmp_path / f"{ADDRESSES_FILE}.new").mkdir()
    node.store.add_connected(B, ALL_FLAGS, NOW)
    with pytest.raises(OSError):
        node.save()
    assert (tmp_path / ADDRESSES_FILE).read_bytes() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["addr", "address", "ban_until", "last_connected_at_ms", "last_tried_at_ms", "flags"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(60), deadline=None)
@given(JSON, st.sampled_from([ADDRESSES_FILE, BANS_FILE, ANCHORS_FILE]))
def test_any_json_is_loaded_or_kept_aside(tmp_path_factory: pytest.TempPathFactory, value: object, name: str) -> None:
    directory = tmp_path_factory.mktemp("store")
    (directory / name).write_text(json.dumps(value))
    node = Node(directory)
    node.load()
    node.save()
    assert Node(directory).load() == []
