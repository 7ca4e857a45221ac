"""Facts of blocks that are kept for a while."""

from __future__ import annotations

from storage.recent import Recent


def test_many_at_once_are_kept_like_one_by_one() -> None:
    recent = Recent[int](4)
    for first in range(0, 30, 3):
        values = {bytes([each]): each for each in range(first, first + 3)}
        recent.put_all(values)
        assert [recent.get(key) for key in values] == list(values.values())
        kept = [each for each in range(first + 3) if recent.get(bytes([each])) is not None]
        assert kept == list(range(max(0, first - 3), first + 3)), "the last ones, and those before them"
    recent.put(b"one", 1)
    assert recent.get(b"one") == 1
    recent.put_all({})
    assert recent.get(b"one") == 1
    recent.forget(b"one")
    assert recent.get(b"one") is None
