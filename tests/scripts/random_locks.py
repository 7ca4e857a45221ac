"""Random transactions for the two secp256k1 locks: signed as wallets do, then spoilt in some of many ways."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace

from consensus.crypto.hashing import blake160
from consensus.types.blockchain import WitnessArgs
from tests.scripts.comparison import by_type, named_deps
from tests.support.builders.mock_transactions import DAO, DATA, MULTISIG, SIGHASH, Cell, Key, Mock, message, witness

KEYS = [Key(1000 + n) for n in range(6)]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNATURE = 65
LIMIT = 32768
"""The largest witness and script that the locks read."""
DEPS = [SIGHASH, DAO, DATA, MULTISIG]

Source = random.Random


def chance(source: Source, probability: float) -> bool:
    return source.random() < probability


def odd_numbers(source: Source) -> bytes:
    """r or s at the limits."""
    return source.choice([0, 1, 2, ORDER - 1, ORDER, ORDER + 1, ORDER // 2, 2**256 - 1]).to_bytes(32, "big")


def spoilt_signature(source: Source, signature: bytes) -> bytes:
    """Another 65 bytes."""
    r, s, v = signature[:32], signature[32:64], signature[64]
    match source.randrange(7):
        case 0:
            return odd_numbers(source) + s + bytes([v])
        case 1:
            return r + odd_numbers(source) + bytes([v])
        case 2:
            return r + s + bytes([source.choice([0, 1, 2, 3, 4, 5, 27, 28, 127, 128, 255])])
        case 3:
            return source.randbytes(64) + bytes([source.randrange(4)])
        case 4:  # the other signature of the same key and message
            high = ORDER - int.from_bytes(s, "big")
            return r + (high % ORDER).to_bytes(32, "big") + bytes([v ^ 1])
        case 5:
            flipped = bytearray(signature)
            flipped[source.randrange(SIGNATURE)] ^= 1 << source.randrange(8)
            return bytes(flipped)
        case _:
            return bytes(SIGNATURE)


def spoilt_bytes(source: Source, data: bytes) -> bytes:
    """Molecule with another byte, size, offset, field, or end."""
    changed = bytearray(data)
    match source.randrange(8):
        case 0 if changed:
            changed[source.randrange(min(len(changed), 24))] = source.choice([0, 1, 16, 20, 255, source.randrange(256)])
        case 1 if changed:
            del changed[source.randrange(len(changed)) :]
        case 2:
            changed += source.randbytes(source.choice([1, 2, 4, 60]))
        case 3 if len(changed) >= 16:
            place = 4 * source.randrange(4)
            (value,) = struct.unpack_from("<I", changed, place)
            near = value + source.choice([-4, -1, 1, 4, 2**31])
            struct.pack_into("<I", changed, place, near % 2**32)
        case 4:  # a table of a later schema: one field more
            extra = source.randbytes(source.choice([0, 3, 8]))
            starts = (
                [struct.unpack_from("<I", changed, 4 + 4 * i)[0] + 4 for i in range(3)] if len(changed) >= 16 else []
            )
            if starts:
                end = len(changed) + 4
                changed = bytearray(struct.pack("<5I", end + len(extra), *starts, end)) + changed[16:] + extra
        case 5:
            changed = bytearray(source.randbytes(source.choice([0, 1, 3, 4, 15, 16, 17, 20, 65])))
        case 6 if len(changed) >= 20:  # the size of the first Bytes
            struct.pack_into("<I", changed, 16, source.choice([0, 64, 65, 66, 2**31, 2**32 - 1]))
        case _:
            changed += bytes(LIMIT + source.choice([-1, 0, 1]) - len(changed)) if len(changed) < LIMIT else b""
    return bytes(changed)


def padding(source: Source) -> bytes | None:
    """Content of a field that the locks only hash, some near the largest witness."""
    sizes = [0, 1, 8, 100, 1000]
    if chance(source, 0.05):
        sizes = [LIMIT - 200, LIMIT - 20 - SIGNATURE - 4, LIMIT - 19 - SIGNATURE - 4, LIMIT]
    return None if chance(source, 0.6) else source.randbytes(source.choice(sizes))


def plain_witness(source: Source) -> bytes:
    """One that is only hashed."""
    sizes = [0, 0, 1, 7, 8, 127, 128, 129, 1000]
    if chance(source, 0.05):
        sizes = [LIMIT - 1, LIMIT, LIMIT + 1, 40000]
    return source.randbytes(source.choice(sizes))


def random_deps(source: Source) -> list[Cell]:
    names = list(DEPS)
    if chance(source, 0.3):
        source.shuffle(names)
    if chance(source, 0.04):
        names.remove(DATA)
    if chance(source, 0.1):
        names.insert(source.randrange(len(names) + 1), source.choice(["other", DATA]))
    return named_deps(names)


def spoil_transaction(source: Source, mock: Mock, first: int) -> Mock:
    """After signing: other witnesses, outputs or inputs than those that were signed."""
    witnesses, spoiled = list(mock.witnesses), mock
    match source.randrange(7):
        case 0 | 1 if witnesses:
            index = first if chance(source, 0.8) and first < len(witnesses) else source.randrange(len(witnesses))
            witnesses[index] = spoilt_bytes(source, witnesses[index])
        case 2:
            del witnesses[source.randrange(len(witnesses) + 1) :]
        case 3:
            witnesses.append(plain_witness(source))
        case 4:
            source.shuffle(witnesses)
        case 5:
            spoiled = replace(mock, outputs=[*mock.outputs, Cell(capacity=source.randrange(2**64))])
        case _:
            inputs = list(mock.inputs)
            index = source.randrange(len(inputs))
            inputs[index] = replace(inputs[index], since=source.getrandbits(64))
            spoiled = replace(mock, inputs=inputs)
    return replace(spoiled, witnesses=witnesses)


def signed(mock: Mock, group: list[int], make_lock: Callable[[bytes], bytes]) -> Mock:
    """Fill the lock of the group's first witness, if it still is a WitnessArgs."""
    try:
        args = WitnessArgs.parse(mock.witnesses[group[0]])
    except ValueError:
        return mock
    return mock.with_witness(group[0], args.replace(lock=make_lock(message(mock, group))).raw)


def odd_args(source: Source, args: bytes) -> bytes:
    """Args of another length."""
    sizes = [0, 1, 19, 21, 27, 28, 29, 32, LIMIT - 53 - 20, LIMIT - 52 - 20, LIMIT - 54 - 20, 33000]
    return (args + source.randbytes(33000))[: source.choice(sizes)]


def random_payment(source: Source) -> Mock:
    """Inputs of one to three default locks."""
    count = source.choice([1, 1, 1, 2, 3, 4, 5, 9])
    keys = [source.choice(KEYS[:3]) for _ in range(count)]
    args = {key: odd_args(source, key.hash) if chance(source, 0.05) else key.hash for key in KEYS}
    inputs = [Cell(lock=by_type(SIGHASH, args[key]), since=source.choice([0, 0, 5, 2**63])) for key in keys]
    firsts = {key: keys.index(key) for key in keys}
    witnesses = [plain_witness(source) if chance(source, 0.3) else b"" for _ in range(count)]
    size = SIGNATURE if chance(source, 0.9) else source.choice([0, 1, 64, 66, 130, 32000])
    for index in firsts.values():
        witnesses[index] = witness(bytes(size), padding(source), padding(source))
    witnesses += [plain_witness(source) for _ in range(source.choice([0, 0, 0, 1, 3]))]
    outputs = [Cell(capacity=source.getrandbits(40)) for _ in range(source.choice([0, 1, 2, 70]))]
    mock = Mock(inputs, outputs, witnesses, deps=random_deps(source))
    spoil_keys = chance(source, 0.3)
    for key in firsts:
        group = [index for index, other in enumerate(keys) if other == key]
        signer = source.choice(KEYS) if chance(source, 0.03) else key

        def lock(digest: bytes, signer: Key = signer) -> bytes:
            signature = signer.sign(digest)
            signature = spoilt_signature(source, signature) if spoil_keys else signature
            return (signature + bytes(size))[:size]

        mock = signed(mock, group, lock)
    return spoil_transaction(source, mock, 0) if chance(source, 0.4) else mock


def random_since(source: Source) -> int:
    """A value of RFC 17, sensible or not."""
    flags = source.choice([0, 0x20, 0x40, 0x80, 0xA0, 0xC0, 0x60, source.randrange(256)])
    if flags & 0x60 == 0x20:
        length = source.choice([0, 1, 2, 1000, 1800, 65535])
        index = source.choice([0, 1, length // 2, max(0, length - 1), length])
        return flags << 56 | length << 40 | index << 24 | source.choice([0, 5, 6, 7, 2**24 - 1])
    return flags << 56 | source.choice([0, 1, 99, 100, 101, 2**56 - 1])


def near_since(source: Source, since: int) -> int:
    if chance(source, 0.6):
        return since
    return (since + source.choice([1, -1, 1 << 24, -(1 << 24), 1 << 40, -(1 << 40), 1 << 56])) % 2**64


def configuration(source: Source, keys: list[Key]) -> bytes:
    """Flags, mostly possible ones, and key hashes."""
    count = len(keys)
    threshold = source.randrange(1, count + 1) if count and chance(source, 0.96) else source.choice([0, count + 1, 255])
    require = source.randrange(threshold + 1) if chance(source, 0.96) else source.choice([threshold + 1, 255])
    stated = count if chance(source, 0.96) else source.choice([0, count + 1, max(0, count - 1), 255])
    reserved = 0 if chance(source, 0.97) else source.randrange(1, 256)
    flags = [value % 256 for value in (reserved, require, threshold, stated)]
    return bytes(flags) + b"".join(key.hash for key in keys)


def random_shared(source: Source) -> Mock:
    """One group of the multi-signature lock, with since in every other one."""
    keys = [source.choice(KEYS) for _ in range(source.choice([1, 2, 3, 3, 4, 6]) if chance(source, 0.97) else 0)]
    if chance(source, 0.9):
        keys = list(dict.fromkeys(keys))
    config = configuration(source, keys)
    threshold = config[2]
    args = blake160(config) if chance(source, 0.95) else source.randbytes(20)
    required = 0 if chance(source, 0.5) else random_since(source)
    if required or chance(source, 0.1):
        args += required.to_bytes(8, "little")
    if chance(source, 0.05):
        args = odd_args(source, args)
    lock = by_type(MULTISIG, args)
    count = source.choice([1, 1, 1, 2, 3])
    inputs = [Cell(lock=lock, since=near_since(source, required)) for _ in range(count)]
    if chance(source, 0.2):
        inputs.insert(source.randrange(count + 1), Cell(since=random_since(source)))
    group = [index for index, cell in enumerate(inputs) if cell.lock == lock]
    size = SIGNATURE * threshold if chance(source, 0.92) else source.choice([0, 1, 64, 65 * (threshold + 1), 30000])
    witnesses = [plain_witness(source) if chance(source, 0.2) else b"" for _ in inputs]
    witnesses[group[0]] = witness(config + bytes(size), padding(source), padding(source))
    witnesses += [plain_witness(source) for _ in range(source.choice([0, 0, 1, 2]))]
    if len(config) + size > 4 * LIMIT:
        size = 0
    mock = Mock(inputs, [Cell()], witnesses, deps=random_deps(source))
    signers = keys[:threshold] if chance(source, 0.4) else source.sample(keys, min(threshold, len(keys)))
    if chance(source, 0.1):
        del signers[source.randrange(len(signers) + 1) :]
    signers += [source.choice(KEYS) for _ in range(min(threshold, 8) - len(signers))]
    spoil_keys = chance(source, 0.2)

    def make_lock(digest: bytes) -> bytes:
        signatures = [signer.sign(digest) for signer in signers]
        if spoil_keys and signatures:
            index = source.randrange(len(signatures))
            signatures[index] = spoilt_signature(source, signatures[index])
        return (config + b"".join(signatures) + bytes(size))[: len(config) + size]

    mock = signed(mock, group, make_lock)
    return spoil_transaction(source, mock, group[0]) if chance(source, 0.4) else mock
