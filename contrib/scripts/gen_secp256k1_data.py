"""Write the data cell of the secp256k1 scripts and the C constants that go with it.

    gen_secp256k1_data.py DATA_FILE HEADER_FILE

Everything is computed here from the curve's definition (SEC 2, section 2.4.1), the
same bytes on every machine. The data cell holds 2 * TABLE_SIZE points: odd multiples
1, 3, 5, ... of G, then of 2^128 G; each point is x then y, 32 bytes little-endian.
That is the data cell of the public chains, byte for byte, so every lock that looks for
it by its hash finds it. Our locks load only the first USED_SIZE multiples of each half.
"""

import hashlib
import sys
from math import isqrt
from pathlib import Path

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
TABLE_SIZE = 8192
PUBLIC_HASH = "9799bee251b975b82c45a02154ce28cec89c5853ecc14d12b7b8cccfc19e0af4"
# Width of our signed digits for G. Wider saves additions and costs loading: 1 cycle per 4 bytes.
G_WINDOW = 9
USED_SIZE = 2 ** (G_WINDOW - 2)

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """a + b for points of which neither the sum nor an operand is infinity."""
    rise, run = (3 * a[0] * a[0], 2 * a[1]) if a == b else (b[1] - a[1], b[0] - a[0])
    slope = rise * pow(run, -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def odd_multiples(base: Point) -> list[Point]:
    """base, 3 base, 5 base, ..."""
    twice = add(base, base)
    points = [base]
    while len(points) < TABLE_SIZE:
        points.append(add(points[-1], twice))
    return points


def multiply(k: int, point: Point) -> Point:
    """k * point for 0 < k < n."""
    result = point
    for bit in bin(k)[3:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def cube_root_of_unity(modulus: int) -> int:
    """The smallest root of x^2 + x + 1, for a prime that is 1 modulo 3."""
    base = 2
    while (root := pow(base, (modulus - 1) // 3, modulus)) == 1:
        base += 1
    return min(root, root * root % modulus)


def endomorphism() -> tuple[int, int]:
    """(beta, lambda) with lambda (x, y) = (beta x, y)."""
    beta, lam = cube_root_of_unity(P), cube_root_of_unity(N)
    if multiply(lam, G) != (beta * G[0] % P, G[1]):
        lam = lam * lam % N
    assert multiply(lam, G) == (beta * G[0] % P, G[1])
    return beta, lam


def short_basis(lam: int) -> list[Point]:
    """Two short vectors (x, y) with x + y lambda = 0 (mod n), y negative in the first and positive in the second."""
    rows = [(N, 0), (lam, 1)]  # (r, t) with r = t lambda (mod n), by Euclid's algorithm
    while rows[-2][0] >= isqrt(N):
        quotient = rows[-2][0] // rows[-1][0]
        rows.append((rows[-2][0] - quotient * rows[-1][0], rows[-2][1] - quotient * rows[-1][1]))
    # The first row below the square root, and the shorter of those around it; the signs of t alternate.
    before, middle, after = ((r, -t) for r, t in rows[-3:])
    return sorted((middle, min(before, after, key=lambda v: v[0] ** 2 + v[1] ** 2)), key=lambda v: v[1])


def split_constants(lam: int) -> dict[str, int]:
    """What scalar_split multiplies by."""
    (a1, b1), (a2, b2) = short_basis(lam)
    assert b1 < 0 < b2
    assert a1 * b2 - a2 * b1 == N
    assert all((x + y * lam) % N == 0 for x, y in ((a1, b1), (a2, b2)))
    # Rounding leaves at most half of each basis vector; the C code wants halves below 2^128.
    assert abs(a1) + abs(a2) < 2**129 - 2**100
    assert abs(b1) + abs(b2) < 2**129 - 2**100
    return {
        "SPLIT_G1": (2**385 * b2 + N) // (2 * N),
        "SPLIT_G2": (2**385 * -b1 + N) // (2 * N),
        "SPLIT_MINUS_B1": -b1 % N,
        "SPLIT_MINUS_B2": -b2 % N,
        "SPLIT_MINUS_LAMBDA": -lam % N,
    }


def words(value: int, count: int = 4) -> str:
    """Little-endian 64-bit words as a C initializer."""
    assert 0 <= value < 2 ** (64 * count)
    return ", ".join(f"0x{value >> 64 * i & (2**64 - 1):016x}ULL" for i in range(count))


def modulus_record(modulus: int) -> str:
    """The modinv_modulus of a prime."""
    limbs = ", ".join(f"0x{modulus >> 62 * i & (2**62 - 1):016x}LL" for i in range(5))
    return f"{{{{{limbs}}}, 0x{pow(modulus, -1, 2**62):016x}ULL}}"


def main(data_path: Path, header_path: Path) -> None:
    """Write both files."""
    points = odd_multiples(G) + odd_multiples(multiply(2**128, G))
    data = b"".join(value.to_bytes(32, "little") for point in points for value in point)
    data_hash = hashlib.blake2b(data, digest_size=32, person=b"ckb-default-hash").digest()
    assert data_hash.hex() == PUBLIC_HASH, "not the data cell of the public chains"
    beta, lam = endomorphism()
    constants = {"ORDER": N, "HALF_ORDER": N // 2, "BETA": beta, **split_constants(lam)}

    lines = [
        f"/* Written by {Path(__file__).name}. */",
        "#ifndef SECP256K1_PARAMS_H",
        "#define SECP256K1_PARAMS_H",
        f"#define G_WINDOW {G_WINDOW}",
        f"#define G_TABLE_SIZE {USED_SIZE}",
        f"#define SECP256K1_DATA_SIZE {len(data)}",
        *(f"#define {name}_WORDS {words(value)}" for name, value in constants.items()),
        f"#define COMPLEMENT_WORDS {words(2**256 - N, 3)}",
        f"#define FIELD_MODULUS {modulus_record(P)}",
        f"#define ORDER_MODULUS {modulus_record(N)}",
        f"#define SECP256K1_DATA_HASH {', '.join(f'0x{byte:02x}' for byte in data_hash)}",
        "#endif",
    ]
    data_path.write_bytes(data)
    header_path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
