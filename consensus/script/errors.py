"""Why scripts fail. The texts are the ones that clients of a CKB node parse."""
# ruff: noqa: N818  (the names are part of those texts)

from __future__ import annotations

from consensus.errors import ScriptError
from consensus.rules.hardfork import is_hash_type
from consensus.types.blockchain import HASH_TYPE_TYPE, Script
from vm.errors import VmError

ERROR_CODES_PAGE = "https://nervosnetwork.github.io/ckb-script-error-codes"
ARGV_TOO_LONG_TEXT = "@@@VM@@@UNEXPECTED@@@ARGV@@@TOOLONG@@@"
"""Marks a failure that older nodes do not detect: the sender of such a transaction must not be banned."""


class ScriptNotFound(ScriptError):
    """No cell dep has the code that a script names."""

    def __init__(self, code_hash: bytes) -> None:
        super().__init__(f"ScriptNotFound: code_hash: Byte32(0x{code_hash.hex()})")
        self.code_hash = code_hash


class MultipleMatches(ScriptError):
    """Cell deps with the type hash that a script names hold different code (RFC 29)."""

    def __init__(self) -> None:
        super().__init__("MultipleMatches")


class InvalidScriptHashType(ScriptError):
    """The hash type does not exist, or no VM for it yet."""

    def __init__(self, hash_type: int) -> None:
        if is_hash_type(hash_type):
            reason = f"The ScriptHashType/Data{hash_type // 2} has not been activated, and is not permitted for use."
        else:
            reason = f"Invalid script hash type {hash_type}"
        super().__init__(f"InvalidScriptHashType: {reason}")
        self.hash_type = hash_type


class InvalidVmVersion(ScriptError):
    """The VM of the hash type is not active yet (RFC 32, RFC 49)."""

    def __init__(self, vm_version: int) -> None:
        super().__init__(f"Invalid VM Version: {vm_version}")
        self.vm_version = vm_version


class ExceededMaximumCycles(ScriptError):
    """The cycles that were left for a group do not suffice."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"ExceededMaximumCycles: expect cycles <= {limit}")
        self.limit = limit


class ValidationFailure(ScriptError):
    """The script ended with an exit code other than 0. `exit_code` is -128..127."""

    def __init__(self, script: Script, exit_code: int) -> None:
        page = f"{ERROR_CODES_PAGE}/{_error_page(script)}.html#{exit_code}"
        super().__init__(f"ValidationFailure: see error code {exit_code} on page {page}")
        self.code_hash = script.code_hash
        self.exit_code = exit_code


class VmInternalError(ScriptError):
    """The VM failed."""

    def __init__(self, error: VmError) -> None:
        super().__init__(f"VM Internal Error: {error}")
        self.error = error


class TransactionScriptError(ScriptError):
    """A script of a transaction failed. `source` names the first cell of its group, for example `Inputs[0].Lock`."""

    def __init__(self, source: str, cause: ScriptError) -> None:
        super().__init__(f"TransactionScriptError {{ source: {source}, cause: {cause} }}")
        self.source = source
        self.cause = cause


class SnapshotDataLoadError(VmError):
    """A program to execute names a cell or witness that is not there."""


def _error_page(script: Script) -> str:
    """Path of the page that documents the error codes of a script."""
    kind = "type" if script.hash_type == HASH_TYPE_TYPE else "data"
    return f"by-{kind}-hash/{script.code_hash.hex()}"
