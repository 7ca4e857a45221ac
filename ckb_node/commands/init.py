"""`ckb-node init`: the files of a new node directory."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ckb_node.commands.init_files import NewFiles
from ckb_node.commands.template import AssemblerOptions, ConfigOptions, config_text
from ckb_node.config import CONFIG_NAME, Config, load_config, parse_config
from ckb_node.dev_accounts import MINER_ARG
from ckb_node.genesis.crates import official_cells
from ckb_node.genesis.obtain import GenesisMissingError, GenesisSource, obtain_consensus
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.mining.settings import AssemblerSection
from ckb_node.net.settings import DEFAULT_P2P_PORT
from ckb_node.rpc.settings import DEFAULT_RPC_PORT
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.text_file import decode, read_text
from ckb_node.specs import CELL_PREFIX, bundled_text
from ckb_node.specs.published import OFFICIAL_CELLS
from consensus.chainspec.genesis_build import OUTPUT_SIGHASH_ALL, genesis_type_id
from consensus.chainspec.spec import parse_spec
from consensus.params import PowFunc

Say = Callable[[str], None]

PUBKEY_HASH_TEXT_SIZE = 42
MAX_SPEC_BYTES = 1 << 20
DUMMY_TARGET = 0x2001_0000
MINED_TARGET = 0x1E01_0000
"""Some 17 million hashes a block."""

_BUNDLED_CELL: Final = re.compile(rf'\bbundled\s*=\s*"{CELL_PREFIX}')

OWN_CELLS_WARNING = (
    "WARN: the spec takes its system cells from the program. Those of ckb-node have other code than those of ckb, "
    "which makes another genesis block: for one chain with ckb, add --system-cells DIR (specs/cells of the crate "
    "ckb-system-scripts)."
)


class InitError(CommandError):
    """The directory cannot be made as asked for; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What the user asked for."""

    root: Path
    chain: str
    force: bool = False
    rpc_port: int = DEFAULT_RPC_PORT
    p2p_port: int = DEFAULT_P2P_PORT
    log_to_file: bool = True
    log_to_stdout: bool = True
    ba_code_hash: str | None = None
    ba_args: tuple[str, ...] = ()
    ba_hash_type: str = "type"
    ba_message: str | None = None
    genesis_message: str | None = None
    pow_func: PowFunc = PowFunc.DUMMY
    """Of a dev chain."""
    import_spec: str | None = None
    """A file, or the spec's own text after `-`, see `spec_text`."""
    spec_text: str | None = None
    """The text of a spec that came by standard input."""
    system_cells: Path | None = None
    """Directory with the public chains' system cells, for a dev chain that uses them instead of the bundled ones."""
    genesis_sources: Callable[[Config], Sequence[GenesisSource]] = lambda _: ()
    """Where the genesis block may be got from, when it cannot be built from the spec."""


def init_directory(options: InitOptions, say: Say, warn: Say) -> None:
    """Write config.toml and, where the chain wants one, specs/<chain>.toml; tell what was done.

    Raises InitError, ConfigError or SpecError when the result cannot be used, and OSError. Then nothing is left behind.
    """
    if options.chain != "dev" and options.genesis_message is not None:
        raise InitError("a genesis message can only be chosen for dev chains")
    if options.pow_func is not PowFunc.DUMMY and (options.chain != "dev" or options.import_spec is not None):
        raise InitError("a proof of work can only be chosen for dev chains that come with the node")
    if options.system_cells is not None and options.chain != "dev":
        raise InitError("system cells can only be chosen for dev chains (--chain dev)")
    is_there = (options.root / CONFIG_NAME).exists()
    if is_there and not options.force:
        raise InitError("Config files already exist; use --force to overwrite.")
    # All of it is checked before the first file is written.
    spec = _spec_text(options)
    text = config_text(_config_options(options, spec, warn))
    parse_config(text)
    with NewFiles() as files:
        files.directory(options.root)
        say(f"{'Reinitialized' if is_there else 'Initialized'} CKB directory in {options.root}")
        if spec is not None:
            _write_spec(options, spec, files, say, warn)
        say(f"Create {CONFIG_NAME}")
        files.write(options.root / CONFIG_NAME, text.encode())
        say(f"Genesis Hash: {bytes_text(_genesis_hash(options, say, warn))}")


def next_step(root: Path, chain: str) -> str:
    """What a person does after `init`."""
    directory = shlex.quote(str(root))
    run = f"Next: ckb-node run -C {directory}"
    return f"{run} (or, to mine as well: ckb-node dev -C {directory})" if chain == "dev" else run


def _genesis_hash(options: InitOptions, say: Say, warn: Say) -> bytes:
    """Of the chain's genesis block, or what the spec says of a genesis block for which no source is given."""
    config = load_config(options.root)
    sources = options.genesis_sources(config)
    try:
        return obtain_consensus(config, sources, say).genesis_hash
    except GenesisMissingError as error:
        expected = config.load_spec()[0].genesis_hash
        if sources or expected is None:
            raise
        if config.file.network.bootnodes:
            say("The genesis block is not here yet: `ckb-node run` gets it from the chain's peers.")
        else:
            warn(f"WARN: the node cannot run yet: {error}")
        return expected


def _config_options(options: InitOptions, spec: str | None, warn: Say) -> ConfigOptions:
    """`spec`: the text of the one that is written beside the configuration. Raises SpecError."""
    return ConfigOptions(
        chain=options.chain,
        is_spec_file=spec is not None,
        rpc_port=options.rpc_port,
        p2p_port=options.p2p_port,
        log_to_file=options.log_to_file,
        log_to_stdout=options.log_to_stdout,
        block_assembler=_assembler(options, warn),
        is_mined=spec is not None and parse_spec(spec).pow_func is not PowFunc.DUMMY,
    )


def dev_miner_lock() -> AssemblerSection:
    """The lock that a dev chain mines for when none is configured."""
    code_hash = bytes_text(genesis_type_id(OUTPUT_SIGHASH_ALL).hash)
    return AssemblerSection(code_hash=code_hash, args=MINER_ARG, hash_type="type")


def _assembler(options: InitOptions, warn: Say) -> AssemblerOptions | None:
    if options.ba_code_hash is None and not options.ba_args:
        warn("WARN: Mining is disabled because no block assembler is configured (--ba-arg).")
        return None
    default = bytes_text(genesis_type_id(OUTPUT_SIGHASH_ALL).hash)
    chosen = AssemblerOptions(
        code_hash=options.ba_code_hash or default,
        args="0x" + "".join(arg.removeprefix("0x") for arg in options.ba_args),
        hash_type=options.ba_hash_type,
        message=options.ba_message or "0x",
    )
    if (fault := _unusual(chosen, default)) is not None:
        warn(f"WARN: {fault}. `ckb-node run --ba-advanced` is needed to mine with it.")
    return chosen


def _unusual(chosen: AssemblerOptions, default: str) -> str | None:
    if chosen.hash_type != "type":
        return f"the default lock has hash type `type`, not `{chosen.hash_type}`"
    if chosen.code_hash != default:
        return f"the default lock has code hash `{default}`, not `{chosen.code_hash}`"
    if len(chosen.args) != PUBKEY_HASH_TEXT_SIZE:
        return "the block assembler's argument is not the hash of a public key"
    return None


def _spec_text(options: InitOptions) -> str | None:
    """None for a chain whose spec stays in the program."""
    if options.spec_text is not None:
        return plain_spec(options.spec_text)
    if options.import_spec is not None:
        return read_text(Path(options.import_spec), MAX_SPEC_BYTES, only_regular=False)
    if options.chain != "dev":
        return None
    return _mined(dev_spec_text(options.genesis_message), options.pow_func)


def _write_spec(options: InitOptions, text: str, files: NewFiles, say: Say, warn: Say) -> None:
    target = options.root / "specs" / f"{options.chain}.toml"
    if options.spec_text is not None:
        say(f"Create specs/{options.chain}.toml from stdin")
    elif options.import_spec is not None:
        say(f"copy {options.import_spec} to specs/{options.chain}.toml")
    else:
        say("Create specs/dev.toml")
    if options.system_cells is not None:
        _copy_official_cells(options.system_cells, target.parent / "cells", files, say)
        text = _BUNDLED_CELL.sub('file = "cells/', text)
    elif options.import_spec is not None and _is_built_of_our_cells(text):
        warn(OWN_CELLS_WARNING)
    files.write(target, text.encode())


def plain_spec(text: str) -> str:
    """A spec as it is, or decoded from base64, which is how the reference takes it from standard input."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return text
    return decode(data, MAX_SPEC_BYTES, "standard input")


def _is_built_of_our_cells(text: str) -> bool:
    """Whether the genesis block is made here of the cells that come with the node. SpecError."""
    return _BUNDLED_CELL.search(text) is not None and parse_spec(text).genesis_hash is None


def _copy_official_cells(source: Path, target: Path, files: NewFiles, say: Say) -> None:
    """Copy the four files beside the spec. SpecError unless they are the public chains' own."""
    load = official_cells([source])
    contents = {cell.file: load(cell.file) for cell in OFFICIAL_CELLS}
    for name, data in contents.items():
        base = name.removeprefix(CELL_PREFIX)
        say(f"copy {source / base} to specs/cells/{base}")
        files.write(target / base, data)


def dev_spec_text(message: str | None) -> str:
    """The bundled dev spec, with another message in its genesis block when one is given."""
    text = bundled_text("dev")
    if message is None:
        return text
    old = 'message = "ckb_dev"'
    if text.count(old) != 1:
        raise InitError("the bundled dev spec has no message to replace")
    return text.replace(old, f"message = {_toml_text(message)}")


def _mined(text: str, function: PowFunc) -> str:
    """The dev spec with this proof of work. The first blocks take a core some seconds each; then it is adjusted."""
    if function is PowFunc.DUMMY:
        return text
    pow_, target = f'func = "{PowFunc.DUMMY.value}"', f"compact_target = {DUMMY_TARGET:#x}"
    if text.count(pow_) != 1 or text.count(target) != 1:
        raise InitError("the bundled dev spec has no proof of work to replace")
    return text.replace(pow_, f'func = "{function.value}"').replace(target, f"compact_target = {MINED_TARGET:#x}")


def _toml_text(text: str) -> str:
    """A basic string. JSON's is one too, but for a letter outside of the BMP as two halves and a plain DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
