"""Every error code, and what stands in the error objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.jsonrpc_types.hex_text import BadTextError
from ckb_node.rpc import errors
from ckb_node.rpc.errors import (
    Code,
    RpcError,
    debug_text,
    from_exception,
    invalid_params,
    method_is_deprecated,
    module_is_disabled,
    refused_block,
)
from ckb_node.txpool import rejects
from ckb_node.txpool.views import FeeEstimateError
from consensus.errors import BlockError, CkbError, HeaderError, TransactionError
from consensus.rules.block import TransactionsRootError
from consensus.rules.dao import DaoHeaderError, DaoOverflowError
from consensus.rules.resolve import DeadOutPointError, UnknownOutPointError
from consensus.rules.transaction import EmptyTransactionError, Source
from storage.errors import DiskFull, StorageCorrupt, StorageError

HASH = b"\x11" * 32
UNKNOWN = UnknownOutPointError(HASH + bytes(4))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            rejects.LowFeeRate(1000, 300, 299),
            -1104,
            "The min fee rate is 1000 shannons/KW, requiring a transaction fee",
        ),
        (rejects.TooManyAncestors(), -1105, "exceeded maximum ancestors count limit"),
        (rejects.PoolFull("the fee_rate for this transaction is: 1 shannons/KW"), -1106, "because the pool is full"),
        (rejects.Duplicated(HASH), -1107, "already exists in transaction_pool"),
        (rejects.Malformed("cellbase like"), -1108, "Malformed cellbase like transaction"),
        (rejects.DeclaredWrongCycles(1, 2), -1108, "Declared wrong cycles 1, actual 2"),
        (rejects.Expired(5), -1109, "Expiry transaction, timestamp 5"),
        (rejects.TooLarge(600_000, 512_000), -1110, "Transaction size 600000 exceeded maximum limit 512000"),
        (rejects.RbfRejected("too cheap"), -1111, "RBF rejected: too cheap"),
        (rejects.Invalidated("gone"), -1112, "Invalidated: gone"),
        (rejects.ResolveFailed(UNKNOWN), -301, "Resolve failed Unknown"),
        (rejects.ResolveFailed(DeadOutPointError(HASH + bytes(4))), -301, "Resolve failed Dead"),
        (rejects.VerificationFailed(TransactionError("wrong")), -302, "Verification failed Transaction(wrong)"),
        (UNKNOWN, -301, "Unknown"),
        (TransactionError("wrong"), -302, "Transaction(wrong)"),
        (DaoOverflowError("interest", 1 << 64), -5, "Overflow"),
        (FeeEstimateError("too early"), -1, "too early"),
        (BlockError("bad"), -1, "bad"),
        (HeaderError("bad"), -1, "bad"),
        (StorageCorrupt(Path("db"), "torn"), -202, "db: torn"),
        (DiskFull(Path("db"), "full"), -200, "db: full"),
        (
            StorageError(
                Path("/home/some one/n/data/chain/db"), "IO error: /home/some one/n/data/chain/db/000005.ldb: x"
            ),
            -200,
            "db: IO error: db/000005.ldb: x",
        ),
        (
            StorageCorrupt(Path("/n/data/archive/000001.seg"), "beside /n/data/x/y is 0x1/2"),
            -202,
            "000001.seg: beside y is 0x1/2",
        ),
    ],
)
def test_codes_of_exceptions(error: Exception, code: int, text: str) -> None:
    shown = from_exception(error)
    assert shown.code == code
    assert shown.message.startswith(f"{Code(code).name}: ")
    assert text in shown.message
    assert shown.data


def test_a_bad_text_is_a_bad_parameter() -> None:
    shown = from_exception(BadTextError("not hex"))
    assert (shown.code, shown.message, shown.data) == (-32602, "Invalid params: not hex", None)


def test_every_reject_has_a_code_of_its_own() -> None:
    for kind in rejects.Reject.__subclasses__():
        assert kind in errors._BY_EXCEPTION, kind


def test_the_nearest_base_decides() -> None:
    class RareError(UnknownOutPointError):
        pass

    assert from_exception(RareError(HASH + bytes(4))).code == -301
    assert from_exception(CkbError("?")).code == -1


def test_an_exception_without_a_code_is_a_fault_of_the_program() -> None:
    with pytest.raises(TypeError, match="ZeroDivisionError has no RPC code"):
        from_exception(ZeroDivisionError())


def test_the_numbers_of_the_interface() -> None:
    assert {code.name: int(code) for code in Code} == {
        "CKBInternalError": -1, "Deprecated": -2, "Invalid": -3, "RPCModuleIsDisabled": -4, "DaoError": -5,
        "IntegerOverflow": -6, "ConfigError": -7, "P2PFailedToBroadcast": -101, "DatabaseError": -200,
        "ChainIndexIsInconsistent": -201, "DatabaseIsCorrupt": -202, "TransactionFailedToResolve": -301,
        "TransactionFailedToVerify": -302, "AlertFailedToVerifySignatures": -1000,
        "PoolRejectedTransactionByOutputsValidator": -1102, "PoolRejectedTransactionByIllTransactionChecker": -1103,
        "PoolRejectedTransactionByMinFeeRate": -1104, "PoolRejectedTransactionByMaxAncestorsCountLimit": -1105,
        "PoolIsFull": -1106, "PoolRejectedDuplicatedTransaction": -1107, "PoolRejectedMalformedTransaction": -1108,
        "TransactionExpired": -1109, "PoolRejectedTransactionBySizeLimit": -1110, "PoolRejectedRBF": -1111,
        "PoolRejectedInvalidated": -1112, "Indexer": -1200,
            "ServerIsBusy": -32000, "ParseError": -32700, "InvalidRequest": -32600,
        "MethodNotFound": -32601, "InvalidParams": -32602, "InternalError": -32603,
    }  # fmt: skip


EMPTY = EmptyTransactionError(Source.INPUTS)


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (rejects.LowFeeRate(1000, 592, 500), "LowFeeRate(FeeRate(1000), 592, 500)"),
        (rejects.TooManyAncestors(), "ExceededMaximumAncestorsCount"),
        (rejects.TooLarge(600_000, 512_000), "ExceededTransactionSizeLimit(600000, 512000)"),
        (rejects.Duplicated(HASH), f"Duplicated(Byte32(0x{HASH.hex()}))"),
        (rejects.Malformed("cellbase like"), 'Malformed("cellbase like", "")'),
        (rejects.DeclaredWrongCycles(1, 2), "DeclaredWrongCycles(1, 2)"),
        (rejects.ResolveFailed(UNKNOWN), f"Resolve({UNKNOWN})"),
        (rejects.VerificationFailed(EMPTY), "Verification(Error { kind: Transaction, inner: Empty(Inputs) })"),
        (rejects.RbfRejected("why"), 'RBFRejected("why")'),
        (rejects.Expired(5), "Expiry(5)"),
        (UNKNOWN, str(UNKNOWN)),
        (EMPTY, "Error { kind: Transaction, inner: Empty(Inputs) }"),
        (DaoHeaderError(HASH), "InvalidHeader"),
    ],
)
def test_data_is_as_rust_shows_errors(error: CkbError, data: str) -> None:
    """Seen at the reference."""
    assert debug_text(error) == data


def test_messages_name_the_family_except_of_errors_of_resolving() -> None:
    assert from_exception(EMPTY).message == "TransactionFailedToVerify: Transaction(Empty(Inputs))"
    assert from_exception(UNKNOWN).message == f"TransactionFailedToResolve: {UNKNOWN}"
    assert from_exception(DaoHeaderError(HASH)).message == "DaoError: InvalidHeader"
    failed = from_exception(rejects.VerificationFailed(EMPTY))
    assert failed.message == "TransactionFailedToVerify: Verification failed Transaction(Empty(Inputs))"


def test_a_refused_block() -> None:
    told = refused_block(Code.Invalid, UNKNOWN)
    assert (told.message, told.data) == (
        f"Invalid: OutPoint({UNKNOWN})",
        f"Error {{ kind: OutPoint, inner: {UNKNOWN} }}",
    )
    assert refused_block(Code.Invalid, TransactionsRootError()).message == (
        "Invalid: Block(TransactionsRoot(No reason provided))"
    )


def test_messages_of_errors_without_an_exception() -> None:
    assert invalid_params("x").message == "InvalidParams: x"
    assert RpcError(Code.ParseError, "Parse error").message == "Parse error"
    assert "`block_assembler`" in module_is_disabled("Miner").message
    assert "`block_assembler`" not in module_is_disabled("Net").message
    assert method_is_deprecated("use `b`").code == -2
