"""The stretched keys: vectors of the reference, and which half is whose."""

from __future__ import annotations

import pytest

from network.ckb_wire.secio.key_schedule import direction_keys, stretch

SECRET_64 = bytes.fromhex(
    "9da650904dc1c60617dc57dcbf48a8c53621dbe1549ca52595e0f420aa4f7d23"
    "ab1ab2b05ca8161bcd2ce53d9815de51f15174ec4aa6599105a26ce637360911"
)


@pytest.mark.parametrize(
    ("secret", "first_32"),
    [
        (bytes(32), "67903cc75591ef474fc655a420358fcd3230990a25205501e23dc1019a78cf50"),
        (SECRET_64, "2797b63fb4afe08b2a83827437923e1f9d5fd90f49510a53f38d40e367906379"),
    ],
)
def test_the_reference_stretches_to_the_same_bytes(secret: bytes, first_32: str) -> None:
    assert stretch(secret, "sha256", 32).hex() == first_32


@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_a_longer_key_begins_like_a_shorter_one(hash_name: str) -> None:
    long = stretch(b"secret", hash_name, 200)
    assert len(long) == 200
    assert all(stretch(b"secret", hash_name, size) == long[:size] for size in range(200))


@pytest.mark.parametrize("key_size", [16, 32])
def test_the_sides_use_the_halves_crosswise(key_size: int) -> None:
    first = direction_keys(b"secret", "sha256", key_size, local_first=True)
    second = direction_keys(b"secret", "sha256", key_size, local_first=False)
    assert first == tuple(reversed(second))
    stretched = stretch(b"secret", "sha256", 2 * (12 + key_size + 20))
    assert first.local == stretched[12 : 12 + key_size]
    assert first.remote == stretched[12 + key_size + 20 + 12 :][:key_size]
