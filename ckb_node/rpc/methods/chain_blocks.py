"""Module Chain: blocks, headers, epochs, parameters."""

from __future__ import annotations

from typing import Final

from ckb_node.jsonrpc_types.chain import (
    BlockViewJson,
    EpochViewJson,
    HeaderViewJson,
    epoch_json,
    header_view_json,
)
from ckb_node.jsonrpc_types.fast_write import block_view_json
from ckb_node.jsonrpc_types.hex_text import bytes_text, optional_hash, uint_text
from ckb_node.rpc.calls import EncodedJson, as_json, encode
from ckb_node.rpc.chain_results import BlockFilterJson, BlockWithCyclesJson, ConsensusJson, consensus_json
from ckb_node.rpc.errors import Code, RpcError, bad_verbosity
from ckb_node.rpc.params import H256, Bool, Uint32, Uint64
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import ChainView, Services
from consensus.rules.header import median_time
from consensus.types.blockchain import Header

METHODS = Methods(Module.CHAIN)

HEX, HEADER_JSON, BLOCK_JSON = 0, 1, 2
"""Levels of `verbosity`."""

_HEADER: Final = b"header"
"""Before its hash: under that alone, texts of blocks are kept."""

MainBlockAnswer = EncodedJson[BlockViewJson] | str | EncodedJson[BlockWithCyclesJson] | None


def _price_by_hash(services: Services, block_hash: bytes, *_: object) -> int:
    """Bytes of a stored block."""
    return services.chain.shared_view().block_size(block_hash)


def _price_by_number(services: Services, number: int, *_: object) -> int:
    """Bytes of a block of the main chain."""
    view = services.chain.shared_view()
    block_hash = view.main_hash(number)
    return 0 if block_hash is None else view.block_size(block_hash)


# ---------------------------------------------------------------- blocks and headers


def _block_answer(
    services: Services, view: ChainView, block_hash: bytes, level: int
) -> EncodedJson[BlockViewJson] | str | None:
    """A stored block; its JSON is kept."""
    _check_verbosity(level, BLOCK_JSON)
    if level == BLOCK_JSON and (kept := services.kept.get(block_hash)) is not None:
        return None if view.header(block_hash) is None else EncodedJson(kept)
    block = view.block(block_hash)
    if block is None:
        return None
    if level == HEX:
        return bytes_text(block.raw)
    return EncodedJson(services.kept.put(block_hash, encode(block_view_json(block))))


def _header_answer(services: Services, header: Header, verbosity: int) -> EncodedJson[HeaderViewJson] | str:
    """A header; its JSON is kept."""
    if verbosity == HEADER_JSON:
        name = _HEADER + header.hash
        return EncodedJson(services.kept.get(name) or services.kept.put(name, encode(header_view_json(header))))
    if verbosity == HEX:
        return bytes_text(header.raw)
    raise bad_verbosity(HEX, HEADER_JSON)


def _check_verbosity(verbosity: int, json_level: int) -> None:
    """Refuse an unknown level also where there is nothing to show."""
    if verbosity not in (HEX, json_level):
        raise bad_verbosity(HEX, json_level)


def _main_block_answer(
    services: Services, view: ChainView, block_hash: bytes, verbosity: int | None, *, with_cycles: bool | None
) -> MainBlockAnswer:
    """A main-chain block; None when the store has it not."""
    answer = _block_answer(services, view, block_hash, BLOCK_JSON if verbosity is None else verbosity)
    if answer is None or not with_cycles:
        return answer
    ext = view.block_ext(block_hash)
    cycles = None if ext is None or ext.cycles is None else [uint_text(each) for each in ext.cycles]
    return EncodedJson(b'{"block":%b,"cycles":%b}' % (as_json(answer), encode(cycles)))


def _kept_block(
    services: Services, block_hash: bytes, verbosity: int | None = None, with_cycles: bool | None = None
) -> bytes | None:
    """As `get_block`, for blocks whose JSON is kept."""
    if verbosity not in (None, BLOCK_JSON) or with_cycles or (kept := services.kept.get(block_hash)) is None:
        return None
    return kept if services.chain.shared_view().is_main(block_hash) else b"null"


def _kept_block_by_number(
    services: Services, number: int, verbosity: int | None = None, with_cycles: bool | None = None
) -> bytes | None:
    """As `get_block_by_number`, for blocks whose JSON is kept."""
    if verbosity not in (None, BLOCK_JSON) or with_cycles:
        return None
    block_hash = services.chain.shared_view().main_hash(number)
    return None if block_hash is None else services.kept.get(block_hash)


def _inconsistent(number: int, block_hash: bytes) -> RpcError:
    return RpcError(
        Code.ChainIndexIsInconsistent,
        f"Chain Index says block #{number} is {bytes_text(block_hash)}, but that block is not in the database",
    )


@METHODS.method(price=_price_by_hash, at_once=_kept_block)
def get_block(
    services: Services, block_hash: H256, verbosity: Uint32 | None = None, with_cycles: Bool | None = None
) -> MainBlockAnswer:
    """A block of the main chain by its hash; null when the hash is unknown or not on the main chain.

    `verbosity` 2 (default) answers JSON, 0 the serialised block in hex. `with_cycles` wraps either as
    `{block, cycles}`, with the cycles of all transactions but the cellbase.
    """
    with services.chain.view() as view:
        if not view.is_main(block_hash):
            return None
        return _main_block_answer(services, view, block_hash, verbosity, with_cycles=with_cycles)


@METHODS.method(price=_price_by_number, at_once=_kept_block_by_number)
def get_block_by_number(
    services: Services, block_number: Uint64, verbosity: Uint32 | None = None, with_cycles: Bool | None = None
) -> MainBlockAnswer:
    """A block of the main chain by its number; null above the tip. Parameters as of `get_block`."""
    with services.chain.view() as view:
        block_hash = view.main_hash(block_number)
        if block_hash is None:
            return None
        answer = _main_block_answer(services, view, block_hash, verbosity, with_cycles=with_cycles)
        if answer is None:
            raise _inconsistent(block_number, block_hash)
        return answer


@METHODS.method
def get_header(
    services: Services, block_hash: H256, verbosity: Uint32 | None = None
) -> EncodedJson[HeaderViewJson] | str | None:
    """A header of the main chain by its hash; null when unknown or not on the main chain.

    `verbosity` 1 (default) answers JSON, 0 the serialised header in hex.
    """
    view = services.chain.shared_view()
    if not view.is_main(block_hash):
        return None
    level = HEADER_JSON if verbosity is None else verbosity
    if level == HEADER_JSON and (kept := services.kept.get(_HEADER + block_hash)) is not None:
        return EncodedJson(kept)
    header = view.header(block_hash)
    return None if header is None else _header_answer(services, header, level)


@METHODS.method
def get_header_by_number(
    services: Services, block_number: Uint64, verbosity: Uint32 | None = None
) -> EncodedJson[HeaderViewJson] | str | None:
    """A header of the main chain by its number; null above the tip. `verbosity` as of `get_header`."""
    view = services.chain.shared_view()
    block_hash = view.main_hash(block_number)
    if block_hash is None:
        return None
    level = HEADER_JSON if verbosity is None else verbosity
    _check_verbosity(level, HEADER_JSON)
    header = view.header(block_hash)
    if header is None:
        raise _inconsistent(block_number, block_hash)
    return _header_answer(services, header, level)


@METHODS.method
def get_tip_header(services: Services, verbosity: Uint32 | None = None) -> EncodedJson[HeaderViewJson] | str:
    """The header of the tip. `verbosity` as of `get_header`."""
    tip = services.chain.shared_view().tip_header()
    return _header_answer(services, tip, HEADER_JSON if verbosity is None else verbosity)


@METHODS.method
def get_tip_block_number(services: Services) -> str:
    """The number of the tip."""
    return uint_text(services.chain.shared_view().tip_header().number)


@METHODS.method
def get_block_hash(services: Services, block_number: Uint64) -> str | None:
    """The hash of a main-chain block by its number; null above the tip."""
    return optional_hash(services.chain.shared_view().main_hash(block_number))


@METHODS.method(price=_price_by_hash)
def get_fork_block(
    services: Services, block_hash: H256, verbosity: Uint32 | None = None
) -> EncodedJson[BlockViewJson] | str | None:
    """A stored block that is not on the main chain; null otherwise. `verbosity` as of `get_block`."""
    with services.chain.view() as view:
        if view.is_main(block_hash):
            return None
        return _block_answer(services, view, block_hash, BLOCK_JSON if verbosity is None else verbosity)


@METHODS.method(price=_price_by_hash)
def get_block_filter(services: Services, block_hash: H256) -> BlockFilterJson | None:
    """The filter of a main-chain block (RFC 45) and its filter hash; null when the block is not on the main chain, its
    filter is not built, or filters are switched off.
    """
    with services.chain.view() as view:
        header = view.header(block_hash)
        if services.filters is None or header is None or view.main_hash(header.number) != block_hash:
            return None
        found = services.filters.block_filter(header.number, block_hash)
        return None if found is None else BlockFilterJson(bytes_text(found.data), bytes_text(found.hash))


@METHODS.method
def get_block_median_time(services: Services, block_hash: H256) -> str | None:
    """Median timestamp (ms) of up to 37 blocks that end in this one; null when it is not on the main chain."""
    view = services.chain.shared_view()
    if not view.is_main(block_hash):
        return None
    return uint_text(median_time(view, block_hash, services.chain.consensus.median_time_block_count))


# ---------------------------------------------------------------- epochs and parameters


@METHODS.method
def get_current_epoch(services: Services) -> EpochViewJson:
    """The epoch of the tip."""
    return epoch_json(services.chain.shared_view().tip_epoch())


@METHODS.method
def get_epoch_by_number(services: Services, epoch_number: Uint64) -> EpochViewJson | None:
    """An epoch of the main chain by its number; null when the chain is not there yet."""
    epoch = services.chain.shared_view().epoch_by_number(epoch_number)
    return None if epoch is None else epoch_json(epoch)


@METHODS.method
def get_consensus(services: Services) -> ConsensusJson:
    """The parameters of the chain, with hard fork features by RFC number and softforks."""
    return consensus_json(services.chain.consensus)
