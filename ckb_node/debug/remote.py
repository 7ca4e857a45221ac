"""A transaction of a node, by its hash: its cells and headers are fetched by JSON-RPC when they are needed.

Cells that are spent by now are found as well, since they are read from the transactions that made them. What comes is
compared with the hash that was asked for.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Struct

from ckb_node.debug.case import DebugCase, Rules, cell_in_block
from ckb_node.debug.mock import HeaderText, TransactionText, read_header_text
from ckb_node.jsonrpc_types.block_view import BlockTextError, decode_block_view
from ckb_node.jsonrpc_types.chain import read_transaction
from ckb_node.jsonrpc_types.hex_text import BadTextError, bytes_text, parse_hash, parse_uint64
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.rpc_client import NULL, RpcCallError, RpcClient
from consensus.errors import MoleculeError
from consensus.params import NEVER, Hardforks
from consensus.rules.resolve import resolve_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Block, Header, Transaction
from consensus.types.core import CellMeta

MAX_ANSWER_BYTES = 16 << 20

T = TypeVar("T")


class _Status(Struct):
    status: str
    block_hash: str | None = None


class _Found(Struct):
    tx_status: _Status
    transaction: TransactionText | None = None


class _Feature(Struct):
    rfc: str
    epoch_number: str | None = None


class _ConsensusText(Struct):
    hardfork_features: list[_Feature]


class Place(Struct, frozen=True):
    """A transaction and the hash of the block that holds it, None while it waits."""

    transaction: Transaction
    block_hash: bytes | None


class RemoteChain:
    """Looks things up at a node. Satisfies CellProvider, ScriptChain and resolve.HeaderChecker. Raises CommandError."""

    def __init__(self, url: str) -> None:
        self._client = RpcClient(url, MAX_ANSWER_BYTES)
        self.place = cache(self._place)
        self.header = cache(self._header)

    def cell(self, out_point: bytes) -> CellMeta | None:
        """The cell, spent or not; None if there never was one."""
        place = self.place(out_point[:32])
        index = int.from_bytes(out_point[32:], "little")
        if place is None:
            return None
        body = place.transaction.body
        if index >= min(len(body.outputs), len(body.outputs_data)):
            return None
        return cell_in_block(out_point, body.outputs[index], bytes(body.outputs_data[index]), place.block_hash)

    def is_main(self, block_hash: bytes) -> bool:
        return self.header(block_hash) is not None

    def block(self, block_hash: bytes) -> Block | None:
        answer = self._call("get_block", bytes_text(block_hash))
        if answer == NULL:
            return None
        try:
            block = decode_block_view(answer)
        except BlockTextError as error:
            raise self._refusal("get_block", error) from error
        self._check_hash("get_block", block.hash, block_hash)
        return block

    def tip_header(self) -> Header:
        """The header of the tip."""
        return self._read_header("get_tip_header", self._call("get_tip_header"))

    def rules(self) -> Rules:
        """Since when which VM is active."""
        features = self._decode("get_consensus", self._call("get_consensus"), _ConsensusText).hardfork_features
        try:
            epochs = {
                each.rfc: NEVER if each.epoch_number is None else parse_uint64(each.epoch_number) for each in features
            }
        except BadTextError as error:
            raise self._refusal("get_consensus", error) from error
        return Rules(Hardforks(rfc_0032=epochs.get("0032", NEVER), rfc_0049=epochs.get("0049", NEVER)))

    def _place(self, tx_hash: bytes) -> Place | None:
        method = "get_transaction"
        found = self._decode(method, self._call(method, bytes_text(tx_hash)), _Found)
        if found.transaction is None:
            return None
        try:
            transaction = read_transaction(found.transaction)
            block_hash = None if found.tx_status.block_hash is None else parse_hash(found.tx_status.block_hash)
        except (BadTextError, MoleculeError) as error:
            raise self._refusal(method, error) from error
        self._check_hash(method, transaction.hash, tx_hash)
        return Place(transaction, block_hash)

    def _header(self, block_hash: bytes) -> Header | None:
        answer = self._call("get_header", bytes_text(block_hash))
        if answer == NULL:
            return None
        header = self._read_header("get_header", answer)
        self._check_hash("get_header", header.hash, block_hash)
        return header

    def _read_header(self, method: str, answer: bytes) -> Header:
        try:
            return read_header_text(self._decode(method, answer, HeaderText))
        except (BadTextError, MoleculeError) as error:
            raise self._refusal(method, error) from error

    def _call(self, method: str, *params: str) -> bytes:
        try:
            return self._client.call(method, *params)
        except RpcCallError as error:
            raise CommandError(f"{method}: {error}") from error

    def _decode(self, method: str, answer: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._refusal(method, error) from error

    def _check_hash(self, method: str, answered: bytes, asked: bytes) -> None:
        if answered != asked:
            raise CommandError(f"{method}: {self._client.url} answered {bytes_text(answered)} for {bytes_text(asked)}")

    def _refusal(self, method: str, error: Exception) -> CommandError:
        return CommandError(f"{method}: {self._client.url}: {error}")


def fetch_case(url: str, tx_hash_text: str) -> DebugCase:
    """The case of a node's transaction, under the rules of its chain. CommandError, ResolveError.

    A committed transaction is judged in its block's epoch, one that waits in that of the next block.
    """
    try:
        tx_hash = parse_hash(tx_hash_text)
    except BadTextError as error:
        raise CommandError(str(error)) from error
    chain = RemoteChain(url)
    place = chain.place(tx_hash)
    if place is None:
        raise CommandError(f"{url} does not know transaction {tx_hash_text}")
    return _case(chain, place)


def case_over_rpc(url: str, transaction: Transaction) -> DebugCase:
    """The case of any transaction, as if it was sent to the node now. CommandError, ResolveError."""
    return _case(RemoteChain(url), Place(transaction, None))


def _case(chain: RemoteChain, place: Place) -> DebugCase:
    return DebugCase(resolve_transaction(place.transaction, chain, chain, ()), chain, chain.rules(), _env(chain, place))


def _env(chain: RemoteChain, place: Place) -> TxEnv:
    if place.block_hash is None:
        return TxEnv.submitted(chain.tip_header())
    header = chain.header(place.block_hash)
    if header is None:
        raise CommandError("the node does not know the block of the transaction")
    return TxEnv.committed(header)
