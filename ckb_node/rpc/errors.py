"""Error objects of JSON-RPC: one table of codes, one table from exceptions to codes.

`message` is `Name: text`; `data` shows the error with its fields. Clients match on both.
"""

from __future__ import annotations

import re
from enum import IntEnum

from ckb_node.jsonrpc_types.hex_text import BadTextError
from ckb_node.rpc.answer_room import NoRoomError
from ckb_node.rpc.param_faults import one_of
from ckb_node.runtime.lane import TooLongError
from ckb_node.txpool import rejects
from ckb_node.txpool.views import FeeEstimateError
from consensus.errors import CkbError, DaoError, ResolveError, ScriptError, TransactionError, text_with_kind
from storage.errors import ChainMismatch, StorageCorrupt, StorageError


class Code(IntEnum):
    """Codes of CKB, each by the name that stands before its message; below -32000 those of JSON-RPC itself."""

    CKBInternalError = -1
    Deprecated = -2
    Invalid = -3
    RPCModuleIsDisabled = -4
    DaoError = -5
    IntegerOverflow = -6
    ConfigError = -7
    P2PFailedToBroadcast = -101
    DatabaseError = -200
    ChainIndexIsInconsistent = -201
    DatabaseIsCorrupt = -202
    TransactionFailedToResolve = -301
    TransactionFailedToVerify = -302
    AlertFailedToVerifySignatures = -1000
    PoolRejectedTransactionByOutputsValidator = -1102
    PoolRejectedTransactionByIllTransactionChecker = -1103
    PoolRejectedTransactionByMinFeeRate = -1104
    PoolRejectedTransactionByMaxAncestorsCountLimit = -1105
    PoolIsFull = -1106
    PoolRejectedDuplicatedTransaction = -1107
    PoolRejectedMalformedTransaction = -1108
    TransactionExpired = -1109
    PoolRejectedTransactionBySizeLimit = -1110
    PoolRejectedRBF = -1111
    PoolRejectedInvalidated = -1112
    Indexer = -1200
    ServerIsBusy = -32000
    ParseError = -32700
    InvalidRequest = -32600
    MethodNotFound = -32601
    InvalidParams = -32602
    InternalError = -32603


_BY_EXCEPTION: dict[type[BaseException], Code] = {
    rejects.LowFeeRate: Code.PoolRejectedTransactionByMinFeeRate,
    rejects.TooManyAncestors: Code.PoolRejectedTransactionByMaxAncestorsCountLimit,
    rejects.TooLarge: Code.PoolRejectedTransactionBySizeLimit,
    rejects.PoolFull: Code.PoolIsFull,
    rejects.Duplicated: Code.PoolRejectedDuplicatedTransaction,
    rejects.Malformed: Code.PoolRejectedMalformedTransaction,
    rejects.DeclaredWrongCycles: Code.PoolRejectedMalformedTransaction,
    rejects.ResolveFailed: Code.TransactionFailedToResolve,
    rejects.VerificationFailed: Code.TransactionFailedToVerify,
    rejects.Expired: Code.TransactionExpired,
    rejects.RbfRejected: Code.PoolRejectedRBF,
    rejects.Invalidated: Code.PoolRejectedInvalidated,
    ResolveError: Code.TransactionFailedToResolve,
    TransactionError: Code.TransactionFailedToVerify,
    ScriptError: Code.TransactionFailedToVerify,
    DaoError: Code.DaoError,
    NoRoomError: Code.ServerIsBusy,
    TooLongError: Code.ServerIsBusy,
    FeeEstimateError: Code.CKBInternalError,
    StorageCorrupt: Code.DatabaseIsCorrupt,
    ChainMismatch: Code.DatabaseIsCorrupt,
    StorageError: Code.DatabaseError,
    CkbError: Code.CKBInternalError,
}
"""The nearest class in an exception's own order of bases decides."""

KNOWN_EXCEPTIONS = (CkbError, StorageError, FeeEstimateError, BadTextError, NoRoomError, TooLongError)
"""Exceptions that are an answer to the caller. All others are faults of this program."""


class RpcError(Exception):
    """An error object: what a method raises when it knows the code itself."""

    def __init__(self, code: Code, text: str, data: str | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.data = code, text, data

    @property
    def message(self) -> str:
        """What clients read. The codes of JSON-RPC itself have no name of ours before the text."""
        if self.code in _PLAIN:
            return self.text
        return f"{self.code.name}: {self.text}"


_PLAIN = frozenset({Code.ParseError, Code.InvalidRequest, Code.MethodNotFound, Code.InternalError})


def invalid_params(text: str) -> RpcError:
    """-32602 that a method gives."""
    return RpcError(Code.InvalidParams, text)


def bad_verbosity(*levels: int) -> RpcError:
    """-32602 for a level of verbosity that a method does not know."""
    return invalid_params(f"invalid verbosity level, expected {one_of([hex(level) for level in levels])}")


class BadParameterError(RpcError):
    """-32602 for parameters that no method ever saw: the text has no name before it."""

    def __init__(self, text: str) -> None:
        super().__init__(Code.InvalidParams, text)

    @property
    def message(self) -> str:
        """What clients read."""
        return self.text


def from_exception(error: BaseException) -> RpcError:
    """The error object of one of the KNOWN_EXCEPTIONS."""
    if isinstance(error, BadTextError):  # in a parameter that the method itself reads
        return BadParameterError(f"Invalid params: {error}")
    for base in type(error).__mro__:
        if base in _BY_EXCEPTION:
            # An error of resolving, and all that is no rule's, stands by itself; the others inside their family's name.
            stands_alone = isinstance(error, ResolveError | rejects.Reject) or not isinstance(error, CkbError)
            text = _plain_text(error) if stands_alone else _rule_text(error)
            return RpcError(_BY_EXCEPTION[base], text, debug_text(error))
    raise TypeError(f"{type(error).__name__} has no RPC code") from error


def refused_block(code: Code, error: CkbError) -> RpcError:
    """A block that breaks a rule, under a code that the method decides."""
    return RpcError(code, text_with_kind(error), _rule_data(error))


def debug_text(error: BaseException) -> str:
    """What `data` shows of an error, in the way of Rust's Debug, which clients match: `Malformed("Overflow", "…")`."""
    match error:
        case rejects.Reject():
            return _reject_data(error)
        case DaoError():
            return error.word
        case ResolveError():
            return str(error)
        case CkbError():
            return _rule_data(error)
        case _:
            return _plain_text(error)


def _plain_text(error: BaseException) -> str:
    """The error's text; of a file only the name: callers must not learn paths of this machine."""
    if not isinstance(error, StorageError):
        return str(error)
    return _DIRECTORIES.sub("", str(error).replace(f"{error.path.parent}/", ""))


_DIRECTORIES = re.compile(r"(?<![\w.])/(?:[^/\s:'\"]+/)+")
"""Of an absolute path in a text."""


def _rule_text(error: BaseException) -> str:
    if isinstance(error, DaoError):
        return error.word
    return text_with_kind(error) if isinstance(error, CkbError) else _plain_text(error)


def _rule_data(error: CkbError) -> str:
    """`Block(InvalidDAO)` as `Error { kind: Block, inner: InvalidDAO }`."""
    kind, _, inner = text_with_kind(error).partition("(")
    return f"Error {{ kind: {kind}, inner: {inner.removesuffix(')')} }}" if inner else kind


def _reject_data(reject: rejects.Reject) -> str:
    match reject:
        case rejects.LowFeeRate():
            fields = f"FeeRate({reject.min_fee_rate}), {reject.required_fee}, {reject.fee}"
        case rejects.TooLarge():
            fields = f"{reject.size}, {reject.limit}"
        case rejects.Duplicated():
            fields = f"Byte32(0x{reject.tx_hash.hex()})"
        case rejects.Malformed():
            fields = f'"{reject.what}", "{reject.detail}"'
        case rejects.DeclaredWrongCycles():
            fields = f"{reject.declared}, {reject.actual}"
        case rejects.ResolveFailed():
            fields = debug_text(reject.cause)
        case rejects.VerificationFailed():
            fields = _rule_data(reject.cause)
        case rejects.Expired():
            fields = str(reject.timestamp)
        case rejects.PoolFull() | rejects.RbfRejected() | rejects.Invalidated():
            fields = f'"{reject.detail}"'
        case _:
            return reject.kind
    return f"{reject.kind}({fields})"


def module_is_disabled(module: str) -> RpcError:
    """-4 with what to do about it."""
    also = " and `block_assembler`" if module == "Miner" else ""
    return RpcError(
        Code.RPCModuleIsDisabled,
        f"This RPC method is in the module `{module}`. Add the module to `rpc.modules`{also} in config.toml "
        "and restart the node to enable it.",
    )


def method_not_found(name: str, *, closed: str | None = None) -> RpcError:
    """-32601. `closed`: the module that would have the method if it were on."""
    text = f"Method not found: `{name[:MAX_NAME]}`"
    if closed is not None:
        text += f" is in the module `{closed}`. Add the module to `rpc.modules` in config.toml and restart the node."
    return RpcError(Code.MethodNotFound, text)


def needs_open_connection(method: str) -> RpcError:
    """-32601 to who calls by HTTP what needs a connection that stays open."""
    return RpcError(
        Code.MethodNotFound,
        f"Method not found: `{method}` needs a connection that stays open, of TCP (`rpc.tcp_listen_address` in "
        "config.toml) or WebSocket (`rpc.ws_listen_address`).",
    )


MAX_NAME = 80


def method_is_deprecated(instead: str) -> RpcError:
    """-2 with what to use instead."""
    return RpcError(
        Code.Deprecated,
        f"This RPC method is deprecated and will be removed; {instead}. "
        "Set `enable_deprecated_rpc = true` in the `[rpc]` section of config.toml to enable it for now.",
    )


def foreign_page(method: str) -> RpcError:
    """-4 to a web page of another machine."""
    return RpcError(
        Code.RPCModuleIsDisabled,
        f"`{method}` commands the node, or shows its inside, and is not answered to web pages of other machines, "
        "whatever `rpc.cors_origins` lets in.",
    )
