"""The types of method parameters: how each is written in JSON and what the method gets.

A method declares `block_hash: H256, verbosity: Uint32 | None = None`; for the type checker these are `bytes` and
`int`, for the registry they carry the codec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from ckb_node.jsonrpc_types import chain as jsontypes
from ckb_node.jsonrpc_types import hex_text as hextext
from ckb_node.jsonrpc_types.alert import AlertJson, read_alert
from ckb_node.jsonrpc_types.fast_read import block_of, transaction_of
from ckb_node.mining import template_json as templatejson
from ckb_node.mining.template import BlockTemplate
from ckb_node.rpc import chain_results as chainresults
from ckb_node.rpc.outputs_validator import OutputsValidator
from ckb_node.rpc.param_faults import TEXT
from ckb_node.txpool.views import FeePriority
from consensus.types.blockchain import Block, OutPoint, Script, Transaction
from network.messages.protocols import Alert


@dataclass(frozen=True, slots=True)
class Codec:
    """One parameter type: its name in the documents, its JSON type for msgspec, and the last step to the value."""

    name: str
    wire: Any
    read: Callable[[Any], Any]

    def decoder(self, *, optional: bool) -> msgspec.json.Decoder[Any]:
        """Decoder of the JSON type, or of that or null."""
        return msgspec.json.Decoder(self.wire | None if optional else self.wire)


def _itself(value: Any) -> Any:
    return value


def _read_hashes(texts: list[str]) -> list[bytes]:
    return [hextext.parse_hash(text) for text in texts]


def _read_withdrawing(value: str | jsontypes.OutPointJson) -> bytes | OutPoint:
    return hextext.parse_hash(value) if isinstance(value, str) else jsontypes.read_out_point(value)


Bool = Annotated[bool, Codec("bool", bool, _itself)]
Text = Annotated[str, Codec(TEXT, str, _itself)]
Uint32 = Annotated[int, Codec("Uint32", str, hextext.parse_uint32)]
Uint64 = Annotated[int, Codec("Uint64", str, hextext.parse_uint64)]
H256 = Annotated[bytes, Codec("H256", str, hextext.parse_hash)]
Hashes = Annotated[list[bytes], Codec("Array<H256>", list[str], _read_hashes)]
ScriptParam = Annotated[Script, Codec("Script", jsontypes.ScriptJson, jsontypes.read_script)]
OutPointParam = Annotated[OutPoint, Codec("OutPoint", jsontypes.OutPointJson, jsontypes.read_out_point)]
TransactionParam = Annotated[Transaction, Codec("Transaction", jsontypes.TransactionJson, transaction_of)]
BlockParam = Annotated[Block, Codec("Block", jsontypes.BlockJson, block_of)]
ValidatorParam = Annotated[OutputsValidator, Codec("OutputsValidator", OutputsValidator, _itself)]
PriorityParam = Annotated[FeePriority, Codec("EstimateMode", FeePriority, _itself)]
WithdrawingParam = Annotated[
    bytes | OutPoint, Codec("DaoWithdrawingCalculationKind", str | jsontypes.OutPointJson, _read_withdrawing)
]
TransactionProofParam = Annotated[
    chainresults.TransactionProofJson, Codec("TransactionProof", chainresults.TransactionProofJson, _itself)
]
TransactionAndWitnessProofParam = Annotated[
    chainresults.TransactionAndWitnessProofJson,
    Codec("TransactionAndWitnessProof", chainresults.TransactionAndWitnessProofJson, _itself),
]
AlertParam = Annotated[Alert, Codec("Alert", AlertJson, read_alert)]
TemplateParam = Annotated[
    BlockTemplate, Codec("BlockTemplate", templatejson.BlockTemplateJson, templatejson.read_template)
]
