"""JSON that cannot change is kept within a bound."""

from __future__ import annotations

from ckb_node.rpc.kept_texts import MAX_TEXT_BYTES, KeptTexts


def test_the_least_recently_used_leave() -> None:
    kept = KeptTexts(max_bytes=4000)
    for name in (b"a", b"b", b"c"):
        assert kept.put(name, name * 900) == name * 900
    assert kept.get(b"a") == b"a" * 900
    kept.put(b"d", b"d" * 900)
    assert kept.get(b"b") is None
    assert [kept.get(name) is not None for name in (b"a", b"c", b"d")] == [True] * 3
    assert kept.size_bytes <= 4000


def test_large_texts_are_not_kept() -> None:
    kept = KeptTexts()
    kept.put(b"a", b"x" * (MAX_TEXT_BYTES + 1))
    assert kept.get(b"a") is None
    kept.put(b"a", b"x" * MAX_TEXT_BYTES)
    assert kept.get(b"a") is not None
