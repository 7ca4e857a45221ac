"""Which outputs are well known."""

from __future__ import annotations

from dataclasses import replace
from struct import pack

import pytest

from ckb_node.rpc.outputs_validator import is_known_lock, is_known_type
from ckb_node.specs import cell_file, load_bundled
from consensus.chainspec.spec import build_consensus
from consensus.params import Consensus
from consensus.types.blockchain import HASH_TYPE_DATA, HASH_TYPE_TYPE, CellOutput, Script

DEV = build_consensus(load_bundled("dev"), cell_file)
MAIN = replace(DEV, id="ckb")
SIGHASH = DEV.secp256k1_blake160_sighash_all_type_hash or b""
MULTISIG = DEV.secp256k1_blake160_multisig_all_type_hash or b""
DAO = DEV.dao_type_hash or b""
# Anyone-can-pay and sUDT of the main chain (rpc/src/module/pool.rs of the reference).
ACP = bytes.fromhex("d369597ff47f29fbc0d47d2e3775370d1250b85140c670e4718af712983a2354")
SUDT = bytes.fromhex("5e7a36a77e68eecc013dfa2fe6a23f3b6c344b04005808694ae6dd45eea4cfd5")
KEY = bytes(20)
ABSOLUTE_EPOCH = 0x2003_E800_0000_0005
RELATIVE_EPOCH = 0xA003_E800_0000_0005
ABSOLUTE_NUMBER = 5


def script(code_hash: bytes, args: bytes = KEY, hash_type: int = HASH_TYPE_TYPE) -> Script:
    return Script(code_hash=code_hash, hash_type=hash_type, args=args)


def since_args(since: int) -> bytes:
    return KEY + pack("<Q", since)


@pytest.mark.parametrize(
    ("consensus", "lock", "is_known"),
    [
        (DEV, script(SIGHASH), True),
        (DEV, script(SIGHASH, bytes(21)), False),
        (DEV, script(SIGHASH, b""), False),
        (DEV, script(SIGHASH, hash_type=HASH_TYPE_DATA), False),
        (DEV, script(MULTISIG), True),
        (DEV, script(MULTISIG, since_args(ABSOLUTE_EPOCH)), True),
        (DEV, script(MULTISIG, since_args(ABSOLUTE_NUMBER)), True),
        (DEV, script(MULTISIG, since_args(1 << 60)), False),
        (DEV, script(MULTISIG, since_args(0x6000_0000_0000_0000)), False),
        (DEV, script(MULTISIG, bytes(24)), False),
        (DEV, script(bytes(32)), False),
        (DEV, script(ACP, b""), False),
        (MAIN, script(ACP, b""), True),
        (MAIN, script(ACP), False),
    ],
)
def test_locks(consensus: Consensus, lock: Script, is_known: bool) -> None:
    assert is_known_lock(consensus, lock, ()) is is_known


@pytest.mark.parametrize(
    ("consensus", "lock", "type_script", "is_known"),
    [
        (DEV, script(SIGHASH), None, True),
        (DEV, script(SIGHASH), script(DAO, b""), True),
        (DEV, script(SIGHASH), script(DAO, b"", HASH_TYPE_DATA), False),
        (DEV, script(MULTISIG, since_args(ABSOLUTE_EPOCH)), script(DAO, b""), True),
        (DEV, script(MULTISIG, since_args(RELATIVE_EPOCH)), script(DAO, b""), False),
        (DEV, script(MULTISIG, since_args(ABSOLUTE_NUMBER)), script(DAO, b""), False),
        (DEV, script(SIGHASH), script(SUDT, b""), False),
        (MAIN, script(SIGHASH), script(SUDT, b""), True),
        (MAIN, script(SIGHASH), script(SUDT, bytes(32)), False),
    ],
)
def test_types(consensus: Consensus, lock: Script, type_script: Script | None, is_known: bool) -> None:
    output = CellOutput(capacity=0, lock=lock, type_=type_script)
    assert is_known_type(consensus, output, ()) is is_known


def test_scripts_of_the_configuration() -> None:
    own = script(b"\x11" * 32, b"\x01")
    assert is_known_lock(DEV, own, [own])
    assert not is_known_lock(DEV, script(b"\x11" * 32, b"\x01\x02"), [own])
    assert is_known_type(DEV, CellOutput(capacity=0, lock=script(SIGHASH), type_=own), [own])
