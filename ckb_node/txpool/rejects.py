"""Why the pool refuses a transaction. The RPC code of each stands in `ckb_node/rpc/errors.py`.

The texts are a part of the interface: clients match on them.
"""

from __future__ import annotations

from typing import ClassVar

from consensus.errors import CkbError, text_with_kind


class Reject(CkbError):  # noqa: N818 - the pool's own word, which clients see too
    """The pool refuses a transaction. `kind` names the reason in `get_transaction` and in subscriptions."""

    kind: ClassVar[str] = "Reject"


class LowFeeRate(Reject):
    """The fee is below what the pool asks for a transaction of this size. Rate in shannons/kB, fees in shannons."""

    kind = "LowFeeRate"

    def __init__(self, min_fee_rate: int, required_fee: int, fee: int) -> None:
        super().__init__(
            f"The min fee rate is {min_fee_rate} shannons/KW, requiring a transaction fee of at least {required_fee} "
            f"shannons, but the fee provided is only {fee}"
        )
        self.min_fee_rate, self.required_fee, self.fee = min_fee_rate, required_fee, fee


class TooManyAncestors(Reject):
    """The transaction would stand on too many others that wait in the pool."""

    kind = "ExceededMaximumAncestorsCount"

    def __init__(self) -> None:
        super().__init__("Transaction exceeded maximum ancestors count limit; try later")


class TooLarge(Reject):
    """Serialised size in a block over the limit, in bytes."""

    kind = "ExceededTransactionSizeLimit"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"Transaction size {size} exceeded maximum limit {limit}")
        self.size, self.limit = size, limit


class PoolFull(Reject):
    """The pool is full and this is the transaction that pays least."""

    kind = "Full"

    def __init__(self, detail: str) -> None:
        super().__init__(f"Transaction is replaced because the pool is full, {detail}")
        self.detail = detail


class Duplicated(Reject):
    """The pool has a transaction of this hash, or of the same proposal short id."""

    kind = "Duplicated"

    def __init__(self, tx_hash: bytes) -> None:
        super().__init__(f"Transaction(Byte32(0x{tx_hash.hex()})) already exists in transaction_pool")
        self.tx_hash = tx_hash


class Malformed(Reject):
    """Makes no sense in the pool; `what` names the kind of transaction, for example `cellbase like`."""

    kind = "Malformed"

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(f"Malformed {what} transaction")
        self.what, self.detail = what, detail


class DeclaredWrongCycles(Reject):
    """A peer declared another number of cycles than the scripts took."""

    kind = "DeclaredWrongCycles"

    def __init__(self, declared: int, actual: int) -> None:
        super().__init__(f"Declared wrong cycles {declared}, actual {actual}")
        self.declared, self.actual = declared, actual


class ResolveFailed(Reject):
    """An out point or header that it names cannot be used; `cause` is the ResolveError."""

    kind = "Resolve"

    def __init__(self, cause: CkbError) -> None:
        super().__init__(f"Resolve failed {cause}")
        self.cause = cause


class VerificationFailed(Reject):
    """It breaks a rule or a script failed; `cause` is the TransactionError, ScriptError or DaoError."""

    kind = "Verification"

    def __init__(self, cause: CkbError) -> None:
        super().__init__(f"Verification failed {text_with_kind(cause)}")
        self.cause = cause


class Expired(Reject):
    """It waited longer than the pool keeps transactions; `timestamp` (ms) is when it came."""

    kind = "Expiry"

    def __init__(self, timestamp: int) -> None:
        super().__init__(f"Expiry transaction, timestamp {timestamp}")
        self.timestamp = timestamp


class RbfRejected(Reject):
    """It conflicts with transactions of the pool and may not replace them."""

    kind = "RBFRejected"

    def __init__(self, detail: str) -> None:
        super().__init__(f"RBF rejected: {detail}")
        self.detail = detail


class Invalidated(Reject):
    """Something it depends on was spent or left the chain."""

    kind = "Invalidated"

    def __init__(self, detail: str) -> None:
        super().__init__(f"Invalidated: {detail}")
        self.detail = detail


class PeerDropped(Invalidated):
    """Whoever gave it was banned before it was verified: nothing was found about the transaction."""

    def __init__(self) -> None:
        super().__init__("the peer that gave it was banned")
