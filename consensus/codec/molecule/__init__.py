"""Molecule serialisation (RFC 8): declared schemas, zero-copy lazy views, strict and compatible checks, builders.

A schema is a class whose fields are declared in order:

    class OutPoint(Struct):
        tx_hash: Field[bytes] = field(BYTE32)
        index: Field[int] = field(UINT32)

`OutPoint.parse(data)` checks the bytes once and gives a view that reads fields when they are asked for (and keeps
them); `OutPoint(tx_hash=…, index=…)` builds one. Both hold the same raw bytes, so nothing is ever serialised twice.
A table may end in `trailing(…)` fields: older serialisations lack them and they read as None.
"""

from consensus.codec.molecule.composites import (
    Composite,
    CompositeKind,
    Field,
    Struct,
    Table,
    UnionKind,
    field,
    kind,
    trailing,
)
from consensus.codec.molecule.kinds import (
    BE_UINT32,
    BOOL,
    BYTE,
    BYTE32,
    BYTE32_VEC,
    BYTES,
    BYTES_OPT,
    BYTES_OPT_VEC,
    BYTES_VEC,
    UINT16,
    UINT32,
    UINT32_VEC,
    UINT64,
    UINT64_VEC,
    UINT128,
    UINT256,
    UINT256_VEC,
    ByteArrayKind,
    BytesKind,
    DynVecKind,
    FixVecKind,
    Kind,
    OptionKind,
    UintKind,
    Vec,
    at_most,
    optional,
    pack_parts,
    part_bounds,
    vector,
)

__all__ = [
    "BE_UINT32",
    "BOOL",
    "BYTE",
    "BYTE32",
    "BYTE32_VEC",
    "BYTES",
    "BYTES_OPT",
    "BYTES_OPT_VEC",
    "BYTES_VEC",
    "UINT16",
    "UINT32",
    "UINT32_VEC",
    "UINT64",
    "UINT64_VEC",
    "UINT128",
    "UINT256",
    "UINT256_VEC",
    "ByteArrayKind",
    "BytesKind",
    "Composite",
    "CompositeKind",
    "DynVecKind",
    "Field",
    "FixVecKind",
    "Kind",
    "OptionKind",
    "Struct",
    "Table",
    "UintKind",
    "UnionKind",
    "Vec",
    "at_most",
    "field",
    "kind",
    "optional",
    "pack_parts",
    "part_bounds",
    "trailing",
    "vector",
]
