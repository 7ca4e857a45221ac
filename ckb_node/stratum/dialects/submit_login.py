"""The legacy dialect of SparkPool, NBMiner and BMiner (`ckb_submitLogin`): jobs are a pow hash and a target, shares a
pow hash and the header's nonce as a number. Nothing of ours is in the nonce, so each miner gets headers with a time of
its own. Errors are objects whose code is a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ckb_node.stratum.dialects.dialect import (
    POOL_CODES,
    Action,
    BadMessageError,
    Dialect,
    Fault,
    Hello,
    MessageId,
    Request,
    Submitted,
    Task,
    hex_bytes,
    line,
    short_text,
)
from ckb_node.stratum.limits import USER_CHARS
from ckb_node.stratum.nonces import NONCE_BYTES

PUSH_ID: Final = 0


def _fields(request: Request) -> dict[str, Any]:
    if not isinstance(request.params, dict):
        raise BadMessageError("params are no object")
    return request.params


def _nonce(value: object) -> bytes:
    """A number in hex as 16 little-endian bytes."""
    digits = value.removeprefix("0x") if isinstance(value, str) else ""
    if not digits or len(digits) > 2 * NONCE_BYTES or not digits.isascii() or not digits.isalnum():
        raise BadMessageError(f"the nonce must be a hex number of up to {NONCE_BYTES} bytes")
    try:
        return int(digits, 16).to_bytes(NONCE_BYTES, "little")
    except ValueError:
        raise BadMessageError(f"the nonce must be a hex number of up to {NONCE_BYTES} bytes") from None


class SubmitLogin(Dialect):
    """Whoever begins with a method `ckb_…`."""

    name = "submit_login"
    nonce1_size = 0
    has_target_in_job = True
    actions: Mapping[str, Action] = {
        "ckb_submitLogin": Action.LOGIN,
        "ckb_getWork": Action.GET_WORK,
        "ckb_submitWork": Action.SUBMIT,
        "ckb_submitHashrate": Action.NOTE,
    }
    codes = POOL_CODES

    def is_spoken_by(self, hello: Hello) -> bool:
        return hello.request.method.startswith("ckb_")

    def read_user(self, request: Request) -> tuple[str, str]:
        fields = _fields(request)
        user = short_text(fields.get("login"), "login", USER_CHARS)
        worker = fields.get("worker")
        if worker:
            user = short_text(f"{user}.{worker}" if isinstance(worker, str) else None, "the worker", USER_CHARS)
        return user, ""

    def read_share(self, request: Request, nonce1: bytes) -> Submitted:
        fields = _fields(request)
        pow_hash = hex_bytes(fields.get("pow_hash"), "pow_hash", 32)
        return Submitted(None, pow_hash.hex(), _nonce(fields.get("nonce")))

    def job_key(self, task: Task) -> str:
        return task.pow_hash.hex()

    def answer(self, message_id: MessageId, result: object) -> bytes:
        return line({"id": message_id, "result": result})

    def refusal(self, message_id: MessageId, fault: Fault, text: str = "") -> bytes:
        return line({"id": message_id, "error": {"code": str(self.codes[fault]), "message": text or fault.value}})

    def target(self, target: int) -> bytes:
        """Each job tells it."""
        return b""

    def work(self, task: Task) -> object:
        return {"pow_hash": f"0x{task.pow_hash.hex()}", "target": f"0x{task.target:064x}"}

    def job(self, task: Task) -> bytes:
        return line({"id": PUSH_ID, "result": self.work(task)})
