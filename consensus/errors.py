"""The roots of every error that the rules raise. Specific errors stand beside their rule and carry typed fields."""

from typing import ClassVar


class CkbError(Exception):
    """Root of all errors of the rules; `str(error)` is one line that a person can read."""

    kind: ClassVar[str] = ""
    """Name of the family that clients expect around the text, as in `Transaction(Immature(…))`; empty: none."""


class MoleculeError(CkbError):
    """Bytes that are not the serialisation of the declared type (RFC 8)."""

    def __init__(self, type_name: str, reason: str) -> None:
        super().__init__(f"{type_name}: {reason}")
        self.type_name = type_name
        self.reason = reason


class TooManyParts(MoleculeError):  # noqa: N818 - the condition is its name
    """A table with fields that are not known, or a vector with more items than its schema lets a peer send."""

    def __init__(self, type_name: str, count: int, most: int) -> None:
        super().__init__(type_name, f"{count} parts, at most {most}")
        self.count, self.most = count, most


class SpecError(CkbError):
    """A chain spec that cannot be used."""


class HeaderError(CkbError):
    """A header breaks a rule; the block can never be valid unless the subclass says otherwise."""


class EpochError(HeaderError):
    """A header's epoch or compact target is not the one that the chain demands."""


class BlockError(CkbError):
    """A block breaks a rule."""


class TransactionError(CkbError):
    """A transaction breaks a rule."""

    kind = "Transaction"


class ResolveError(CkbError):
    """An out point or header that a transaction names cannot be used."""

    kind = "OutPoint"


class DaoError(CkbError):
    """NervosDAO arithmetic is impossible for this block or transaction (RFC 23)."""

    word: ClassVar[str] = "Unknown"
    """The one word that clients know it by."""


class ScriptError(CkbError):
    """A script group failed or could not be run."""

    kind = "Script"


def text_with_kind(error: CkbError) -> str:
    """The error's text inside its family's name: how one error quotes another."""
    return f"{error.kind}({error})" if error.kind else str(error)
