"""Contents of cells that were read lately."""

from __future__ import annotations

from storage.recent_contents import RecentContents


def test_the_least_recently_used_go_when_there_are_too_many_bytes() -> None:
    contents = RecentContents(max_bytes=4000)
    for name in (b"a", b"b", b"c"):
        contents.put(name, name * 1000)
    assert contents.get(b"a") == b"a" * 1000
    contents.put(b"d", b"d" * 1000)
    assert contents.get(b"b") is None
    assert [contents.get(name) for name in (b"a", b"c", b"d")] == [b"a" * 1000, b"c" * 1000, b"d" * 1000]
    assert contents.size_bytes <= 4000


def test_a_content_is_counted_once_and_one_that_is_too_large_is_not_kept() -> None:
    contents = RecentContents(max_bytes=4000)
    contents.put(b"a", bytes(1000))
    counted = contents.size_bytes
    contents.put(b"a", bytes(1000))
    assert contents.size_bytes == counted
    contents.put(b"large", bytes(4000))
    assert contents.get(b"large") is None
    assert contents.size_bytes <= 4000
