"""Key recovery compiled for this machine and compared with libsecp256k1, on random and on odd numbers."""

import ctypes
import itertools
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import coincurve
import pytest

SOURCES = Path(__file__).resolve().parents[2] / "contrib" / "scripts"
FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GENERATOR_X = 0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798

Recover = Callable[[bytes, bytes], bytes | None]


def number(value: int) -> bytes:
    return (value % 2**256).to_bytes(32, "big")


def expected(signature: bytes, message: bytes) -> bytes | None:
    """libsecp256k1's answer."""
    try:
        return coincurve.PublicKey.from_signature_and_message(signature, message, hasher=None).format()
    except Exception:  # noqa: BLE001  coincurve raises Exception itself
        return None


def used_points(table: bytes) -> bytes:
    """What the locks load of the data cell: the first multiples of each half."""
    half, used = len(table) // 2, 128 * 64
    return table[:used] + table[half : half + used]


@pytest.fixture(scope="module")
def recover(tmp_path_factory: pytest.TempPathFactory) -> Recover:
    """Our answer."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    build = tmp_path_factory.mktemp("recover")
    table, library = build / "secp256k1_data", build / "recover.so"
    subprocess.run([sys.executable, SOURCES / "gen_secp256k1_data.py", table, build / "secp256k1_params.h"], check=True)
    sources = [SOURCES / f"{name}.c" for name in ("recover", "group", "scalar", "field", "modinv")]
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", f"-I{build}", "-o", library, *sources], check=True)
    function = ctypes.CDLL(str(library)).recover
    points = used_points(table.read_bytes())

    def call(signature: bytes, message: bytes) -> bytes | None:
        key = ctypes.create_string_buffer(33)
        return key.raw if function(key, signature[:64], signature[64], message, points) == 0 else None

    return call


def test_random_signatures(recover: Recover) -> None:
    source = random.Random(1)
    for _ in range(300):
        key, message = coincurve.PrivateKey(source.randbytes(32)), source.randbytes(32)
        signature = key.sign_recoverable(message, hasher=None)
        assert recover(signature, message) == key.public_key.format()
        high = number(ORDER - int.from_bytes(signature[32:64], "big"))
        high_signature = signature[:32] + high + bytes([signature[64] ^ 1])
        assert recover(high_signature, message) == key.public_key.format()


def test_random_numbers(recover: Recover) -> None:
    source = random.Random(2)
    found = 0
    for _ in range(500):
        signature, message = source.randbytes(64) + bytes([source.randrange(4)]), source.randbytes(32)
        answer = recover(signature, message)
        assert answer == expected(signature, message)
        found += answer is not None
    assert found > 50


def test_numbers_at_the_limits(recover: Recover) -> None:
    values = [0, 1, 2, 3, 4, ORDER - 1, ORDER, ORDER + 1, FIELD - 1, FIELD, 2**256 - 1, 2**128, ORDER // 2, GENERATOR_X]
    values += [FIELD - ORDER + n for n in range(-6, 3)]
    found = 0
    for r, s, m, recovery_id in itertools.product(values, values[:12], values[:12], range(4)):
        signature = number(r) + number(s) + bytes([recovery_id])
        answer = recover(signature, number(m))
        assert answer == expected(signature, number(m))
        found += answer is not None and recovery_id > 1
    assert found > 0, "no key was recovered from an x above the group order"


def test_results_near_the_point_at_infinity(recover: Recover) -> None:
    """s R - m G is infinity, or one of the additions on the way meets equal or opposite points."""
    for k, s, offset in itertools.product([1, 2, 3, 5, 15, 255, ORDER - 1, ORDER - 2, 2**128], [1, 7], range(-3, 4)):
        point = coincurve.PrivateKey(number(k)).public_key.format()
        for parity in range(2):
            signature = point[1:] + number(s) + bytes([parity])
            message = number((s * k + offset) % ORDER)
            assert recover(signature, message) == expected(signature, message)
