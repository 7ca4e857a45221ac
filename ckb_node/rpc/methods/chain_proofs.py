"""Module Chain: Merkle proofs that transactions are in a block (RFC 6)."""

from __future__ import annotations

from ckb_node.jsonrpc_types.hex_text import bytes_text, parse_hash
from ckb_node.rpc.chain_results import (
    MerkleProofJson,
    TransactionAndWitnessProofJson,
    TransactionProofJson,
    merkle_proof_json,
    read_merkle_proof,
)
from ckb_node.rpc.errors import Code, RpcError, invalid_params
from ckb_node.rpc.params import H256, Hashes, TransactionAndWitnessProofParam, TransactionProofParam
from ckb_node.rpc.registry import Methods, Module, always_expensive
from ckb_node.rpc.services import ChainView, Services
from consensus.crypto.merkle import MerkleProofError, build_proof, merkle_root, proof_root, proven_leaves
from consensus.types.blockchain import Block

METHODS = Methods(Module.CHAIN)


@METHODS.method(price=always_expensive)
def get_transaction_proof(
    services: Services, tx_hashes: Hashes, block_hash: H256 | None = None
) -> TransactionProofJson:
    """Proof that transactions are in one block of the main chain, for `verify_transaction_proof`.

    Error -32602 when the hashes are none, repeat, are not committed, or lie in several blocks or not in `block_hash`.
    """
    with services.chain.view() as view:
        block, positions = _locate(view, tx_hashes, block_hash)
    witnesses_root = merkle_root([tx.witness_hash for tx in block.transactions])
    proof = build_proof([tx.hash for tx in block.transactions], positions)
    return TransactionProofJson(bytes_text(block.hash), bytes_text(witnesses_root), merkle_proof_json(proof))


@METHODS.method(price=always_expensive)
def verify_transaction_proof(services: Services, tx_proof: TransactionProofParam) -> list[str]:
    """Hashes of the transactions that a proof proves to be in its block; -32602 when it is wrong."""
    with services.chain.view() as view:
        block = _block(view, tx_proof.block_hash)
    hashes, root = _proven(tx_proof.proof, [tx.hash for tx in block.transactions], "transaction proof")
    if merkle_root([root, parse_hash(tx_proof.witnesses_root)]) != block.header.transactions_root:
        raise invalid_params("Invalid transaction proof")
    return [bytes_text(tx_hash) for tx_hash in hashes]


@METHODS.method(price=always_expensive)
def get_transaction_and_witness_proof(
    services: Services, tx_hashes: Hashes, block_hash: H256 | None = None
) -> TransactionAndWitnessProofJson:
    """Proof that transactions with their witnesses are in one block, for `verify_transaction_and_witness_proof`.

    Errors as of `get_transaction_proof`.
    """
    with services.chain.view() as view:
        block, positions = _locate(view, tx_hashes, block_hash)
    return TransactionAndWitnessProofJson(
        bytes_text(block.hash),
        merkle_proof_json(build_proof([tx.hash for tx in block.transactions], positions)),
        merkle_proof_json(build_proof([tx.witness_hash for tx in block.transactions], positions)),
    )


@METHODS.method(price=always_expensive)
def verify_transaction_and_witness_proof(services: Services, tx_proof: TransactionAndWitnessProofParam) -> list[str]:
    """Hashes of the transactions that a proof proves, with their witnesses, to be in its block; -32602 when wrong."""
    fault = "transaction_and_witness proof"
    with services.chain.view() as view:
        block = _block(view, tx_proof.block_hash)
    _, witnesses_root = _proven(tx_proof.witnesses_proof, [tx.witness_hash for tx in block.transactions], fault)
    hashes, root = _proven(tx_proof.transactions_proof, [tx.hash for tx in block.transactions], fault)
    if merkle_root([root, witnesses_root]) != block.header.transactions_root:
        raise invalid_params(f"Invalid {fault}")
    return [bytes_text(tx_hash) for tx_hash in hashes]


def _block(view: ChainView, block_hash_text: str) -> Block:
    """The block that a proof names; -32602 when it is not stored."""
    block = view.block(parse_hash(block_hash_text))
    if block is None:
        raise invalid_params(f"Cannot find block {block_hash_text}")
    return block


def _proven(proof: MerkleProofJson, leaves: list[bytes], fault: str) -> tuple[list[bytes], bytes]:
    """The leaves that a proof names, and the root that it leads to."""
    try:
        tree_proof = read_merkle_proof(proof)
        proven = proven_leaves(leaves, tree_proof)
        return proven, proof_root(tree_proof, proven)
    except MerkleProofError:
        raise invalid_params(f"Invalid {fault}") from None


def _locate(view: ChainView, tx_hashes: list[bytes], block_hash: bytes | None) -> tuple[Block, list[int]]:
    """The one block that committed all transactions, and their places in it."""
    if not tx_hashes:
        raise invalid_params("Empty transaction hashes")
    found_hash: bytes | None = None
    positions: set[int] = set()
    for tx_hash in tx_hashes:
        info = view.transaction_info(tx_hash)
        if info is None:
            raise invalid_params(f"Transaction {bytes_text(tx_hash)} not yet in block")
        if found_hash not in (None, info.block_hash):
            raise invalid_params("Not all transactions found in retrieved block")
        found_hash = info.block_hash
        if info.tx_index in positions:
            raise invalid_params(f"Duplicated tx_hash {bytes_text(tx_hash)}")
        positions.add(info.tx_index)
    if block_hash not in (None, found_hash):
        raise invalid_params("Not all transactions found in specified block")
    block = None if found_hash is None else view.block(found_hash)
    if block is None:
        shown = bytes_text(found_hash or b"")
        raise RpcError(
            Code.ChainIndexIsInconsistent,
            f"Chain TransactionInfo says block {shown} existing, but that block is not in the database",
        )
    return block, sorted(positions)
