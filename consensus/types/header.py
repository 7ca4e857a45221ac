"""Block headers (`blockchain.mol`, RFC 27): 208 bytes, read and hashed one by one or many together."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

from consensus.codec.layout import HEADER_SIZE, RAW_HEADER
from consensus.codec.molecule import BYTE32, UINT32, UINT64, UINT128, Field, Struct, field, kind
from consensus.crypto.hashing import ckb_hash
from consensus.lazy import lazy

T = TypeVar("T")


class RawHeader(Struct):
    """A header without its nonce."""

    version: Field[int] = field(UINT32)
    compact_target: Field[int] = field(UINT32)
    timestamp: Field[int] = field(UINT64)
    number: Field[int] = field(UINT64)
    epoch: Field[int] = field(UINT64)
    parent_hash: Field[bytes] = field(BYTE32)
    transactions_root: Field[bytes] = field(BYTE32)
    proposals_hash: Field[bytes] = field(BYTE32)
    extra_hash: Field[bytes] = field(BYTE32)
    dao: Field[bytes] = field(BYTE32)

    @classmethod
    def view(cls, buf: bytes, start: int, end: int) -> Self:
        """All fields are unpacked at once: readers of one field usually read most."""
        self = super().view(buf, start, end)
        self.__dict__.update(zip(_RAW_HEADER_FIELDS, RAW_HEADER.unpack_from(buf, start), strict=True))
        return self


_RAW_HEADER_FIELDS = tuple(declared.name for declared in RawHeader.FIELDS)


class _OfBody(Generic[T]):
    """A field of a header's body, reachable in the header too; read once."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, header: None, owner: type) -> Self: ...
    @overload
    def __get__(self, header: Header, owner: type) -> T: ...
    def __get__(self, header: Header | None, owner: type) -> Self | T:
        if header is None:
            return self
        value: T = getattr(header.body, self._name)
        header.__dict__[self._name] = value
        return value


class Header(Struct):
    """A header, 208 bytes. `body` is the schema's field `raw`; its fields are reachable here too."""

    body: Field[RawHeader] = field(kind(RawHeader))
    nonce: Field[int] = field(UINT128)

    @lazy
    def hash(self) -> bytes:
        """Block hash."""
        return ckb_hash(self.raw)

    @lazy
    def pow_hash(self) -> bytes:
        """What the miner extends by a nonce: hash of the header without nonce."""
        return ckb_hash(self.body.raw)

    version = _OfBody[int]()
    compact_target = _OfBody[int]()
    timestamp = _OfBody[int]()
    """Milliseconds since 1970."""
    number = _OfBody[int]()
    epoch = _OfBody[int]()
    """Packed epoch number with fraction; see consensus.types.core.EpochFraction."""
    parent_hash = _OfBody[bytes]()
    transactions_root = _OfBody[bytes]()
    proposals_hash = _OfBody[bytes]()
    extra_hash = _OfBody[bytes]()
    dao = _OfBody[bytes]()

    @classmethod
    def view(cls, buf: bytes, start: int, end: int) -> Self:
        """As RawHeader.view: the fields of the body are the header's first bytes."""
        self = super().view(buf, start, end)
        self._set(RAW_HEADER.unpack_from(buf, start))
        return self

    def _set(self, fields: tuple[Any, ...]) -> None:
        """Those of the body, in order. One by one: to ask for `__dict__` takes longer than to set them all."""
        (
            self.version,
            self.compact_target,
            self.timestamp,
            self.number,
            self.epoch,
            self.parent_hash,
            self.transactions_root,
            self.proposals_hash,
            self.extra_hash,
            self.dao,
        ) = fields

    def apart(self) -> Header:
        """The same header with bytes of its own: it does not keep the block in memory that it was read from."""
        if len(self._buf) == HEADER_SIZE:
            return self
        made = Header.trusted(self.raw)
        made.__dict__["hash"] = self.hash
        return made

    def with_fields(self, **changes: object) -> Header:
        """A copy with fields of the raw header, or the nonce, changed."""
        nonce = changes.pop("nonce", self.nonce)
        return self.replace(body=self.body.replace(**changes), nonce=nonce)
