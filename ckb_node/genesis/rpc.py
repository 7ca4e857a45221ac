"""A node's JSON-RPC as a source of the genesis block."""

from __future__ import annotations

from dataclasses import dataclass

from ckb_node.genesis.files import MAX_GENESIS_BYTES, GenesisSourceError
from ckb_node.jsonrpc_types.block_view import BlockTextError, decode_block_view
from ckb_node.runtime.log_text import shown
from ckb_node.runtime.rpc_client import NULL, TOTAL_S, RpcCallError, RpcClient
from consensus.chainspec.spec import ChainSpec
from consensus.types.blockchain import Block


@dataclass(frozen=True, slots=True)
class RpcSource:
    """Any CKB node's RPC address, http or https."""

    url: str
    total_s: float = TOTAL_S

    def __str__(self) -> str:
        return self.url

    def load(self, _: ChainSpec) -> Block:
        """Block 0 of that node. GenesisSourceError."""
        try:
            answer = RpcClient(self.url, MAX_GENESIS_BYTES, self.total_s).call("get_block_by_number", "0x0")
        except RpcCallError as error:
            raise GenesisSourceError(str(error)) from error
        if answer == NULL:
            raise GenesisSourceError(f"{self.url}: the node has no block 0")
        try:
            return decode_block_view(answer)
        except BlockTextError as error:
            raise GenesisSourceError(f"{self.url}: {shown(str(error))}") from error
