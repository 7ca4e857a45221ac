# Everything a developer or operator needs. `make run` and `make test` do all set-up themselves.
# PYTHON: a name or path; by default the first here that needs no compiler, see contrib/setup.sh.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
DATA ?= devnet
INTERVAL ?= 3
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2
# Each process has neighbours of the list, so that what a module prepares is mostly prepared once.
PARALLEL := -n $(JOBS) --dist worksteal
# Compiled modules are kept, also where the environment (often a container's) forbids it: the tests start hundreds of
# processes, and each would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check gates fast sample format setup bench bench-node bench-vm bench-chain bench-chain-kinds bench-import bench-kernels bench-indexer bench-reorg bench-pool bench-rpc bench-sync bench-wire bench-gossip bench-relay bench-mining fuzz soak-kill soak-peers soak-sync soak-mining soak-mining-day soak-libp2p bitrot hostile hostile-peers interop clients conformance-vm fuzz-vm fuzz-chain fuzz-sync fuzz-pool fuzz-wire scripts scripts-check bench-subscribers rpc-docs rpc-readme lock clean

## A dev chain that mines and serves RPC on 127.0.0.1:8114 (Ctrl-C stops it); DATA, INTERVAL and PORT choose others.
run: setup
	@exec $(BIN)/ckb-node dev -C $(DATA) --interval $(INTERVAL) $(if $(PORT),--rpc-port $(PORT))

## All tests of the suite.
test: setup
	$(PYTEST) -q $(PARALLEL)

## What must be green before each commit: format, lint, types, import law, fast tests.
check: gates fast

## All of it that is no test.
gates: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

fast: setup
	$(PYTEST) -q $(PARALLEL) -m "not slow"

## Every module of the tests imported, and one quick test of each: what a further Python breaks.
sample: setup
	$(PYTEST) -q $(PARALLEL) --first-of-each-file

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## Benchmarks: a table for people, build/bench/<name>.json for programs.
bench: bench-node bench-vm bench-chain bench-kernels bench-reorg bench-pool bench-sync bench-wire
bench-node: setup
	$(BIN)/python -m tests.benches.node
## Import of blocks: rates, memory, and (OPTIONS=--profile) where the time goes.
bench-chain: setup
	$(BIN)/python -m tests.benches.chain $(OPTIONS)
## What each kind of transaction takes of an import, beside plain transfers.
bench-chain-kinds: setup
	$(BIN)/python -m tests.benches.chain_kinds $(OPTIONS)
## `ckb-node import` beside the import of another node: REFERENCE=<its binary>, CELLS=<the official system cells>.
bench-import: setup
	$(BIN)/python -m tests.benches.importing --reference $(REFERENCE) --cells $(CELLS)
## Sync from a serving node beside another client: REFERENCE=<its binary>, CELLS=<the official system cells>.
bench-sync: setup
	$(BIN)/python -m tests.benches.syncing $(if $(REFERENCE),--reference $(REFERENCE)) --cells $(CELLS) $(OPTIONS)
## Engines of the VM on our lock and a loop, and system calls at their worst (alone: python -m tests.benches.syscalls); PROGRAMS=<directory> adds the reference VM's benchmark programs, and
## RUNNER=<its example ckb-vm-runner, built with its assembly interpreter> puts it into the same table.
bench-vm: setup
	$(BIN)/python -m tests.benches.vm $(if $(PROGRAMS),--programs $(PROGRAMS)) $(if $(RUNNER),--runner $(RUNNER))
## Proof of work, mining, chain root and filters: kernels beside plain Python.
bench-kernels: setup
	$(BIN)/python -m tests.benches.kernels
## A reorganisation of 1,000 blocks on a running node, and how long RPC is held up by it.
bench-reorg: setup
	$(BIN)/python -m tests.benches.reorg
## The pool: transactions a second by RPC and by relay, templates, memory for each byte that it counts, blocks of a full pool. With REFERENCE=<path of a ckb
## binary> CELLS=<directory with the official ELF files> the reference stands beside it.
bench-pool: setup
	$(BIN)/python -m tests.benches.pool $(if $(REFERENCE),--reference $(abspath $(REFERENCE)) --cells $(abspath $(CELLS)))
	$(BIN)/python -m tests.benches.pool_memory $(COUNT)
	$(BIN)/python -m tests.benches.pool_full
	$(BIN)/python -m tests.benches.pool_blocks

## RPC under load by `wrk`: calls a second, p50 and p99, what a call takes of the main process, import beside calls. With
## REFERENCE=<path of a ckb binary> CELLS=<directory with the official ELF files> the reference stands beside it.
bench-rpc: setup
	$(BIN)/python -m tests.benches.rpc $(if $(REFERENCE),--reference $(abspath $(REFERENCE)) --cells $(abspath $(CELLS))) $(OPTIONS)

## Both indexers: build rate, answers, disk; REFERENCE=<its binary> beside; CELLS=<directory of the official system cells>.
bench-indexer: setup
	$(BIN)/python -m tests.benches.indexing --cells $(abspath $(CELLS)) $(if $(REFERENCE),--reference $(abspath $(REFERENCE))) $(if $(TRANSACTIONS),--transactions $(TRANSACTIONS)) $(if $(KEEP),--keep $(abspath $(KEEP))) $(if $(ONLY),--only $(ONLY))
## The wires of peers on loopback: rates by size of messages on both, handshakes, memory of an idle session.
bench-wire: setup
	$(BIN)/python -m tests.benches.wire
## Gossip over libp2p without relay and sync: the share that arrives, how soon, CPU for a message.
bench-gossip: setup
	$(BIN)/python -m tests.benches.gossip $(OPTIONS)
## The stratum server: answers to 2,000 miners, jobs to 500 on new tips. What the miner does: nonces a second, all cores against one. With
## REFERENCE=<path of a ckb binary> CELLS=<directory with the official ELF files> its miner stands beside it.
bench-mining: setup
	$(BIN)/python -m tests.benches.mining_stratum $(OPTIONS)
	$(BIN)/python -m tests.benches.mining_miner $(if $(REFERENCE),--reference $(abspath $(REFERENCE)) --cells $(abspath $(CELLS)))
## Blocks from `submit_block` to every tip, eight nodes in a line and in a mesh, and what one node takes of that. With
## REFERENCE=<path of a ckb binary> CELLS=<directory with the official ELF files> two nodes of the reference stand among them.
bench-relay: setup
	$(BIN)/python -m tests.benches.relay $(if $(REFERENCE),--reference $(abspath $(REFERENCE)) --cells $(abspath $(CELLS))) $(OPTIONS)

## Property tests with many times the examples (FUZZ_FACTOR, default 50).
fuzz: setup
	CKB_FUZZ_FACTOR=$${FUZZ_FACTOR:-50} $(PYTEST) -q -n $(JOBS) -m fuzz

## Attacks on the RPC of a mining node and by peers, one after the other, with four honest clients: who waits, memory, SIGTERM.
## ATTACKS="f03 upload" picks some by parts of their names; SECONDS (default 8) is the length of each.
hostile: setup
	$(BIN)/python -m tests.hostile $(ATTACKS) --seconds $(or $(SECONDS),8)

## Attacks of peers on a node that follows a mining one: floods of transactions of each kind, questions at their limits,
## headers, bodies and compact blocks that lead nowhere, peers that are slow, deaf or gone. Some 15 s each.
hostile-peers: setup
	$(BIN)/python -m tests.hostile.following $(ATTACKS) --seconds $(or $(SECONDS),8)

## kill -9 at random moments, 50 times, while mining and sending.
soak-kill: setup
	$(BIN)/python -m tests.soak.kill --rounds $${ROUNDS:-50}

## Many real nodes, each in a network namespace where root runs this, else on loopback: they find peers, half of them are
## killed, one gets Ctrl-C with a hundred sessions, one is attacked. Ten minutes. With REFERENCE=<path of a ckb binary>
## CELLS=<directory with the official ELF files> two nodes of the reference take part; OPTIONS="--help" tells more.
soak-peers: setup
	$(BIN)/python -m tests.soak.peers $(if $(REFERENCE),--reference $(abspath $(REFERENCE)) --cells $(abspath $(CELLS))) $(OPTIONS)

## Sync from two nodes, 100 times, while nodes are killed and stopped and cables pulled; OPTIONS="--rounds 10 --seed N".
soak-sync: setup
	$(BIN)/python -m tests.soak.sync $(OPTIONS)

## Mining by turns with another node while wallets send to both: REFERENCE=<its binary>, CELLS=<the official system
## cells>, OPTIONS="--minutes 30".
soak-mining: setup
	$(BIN)/python -m tests.soak.mining --reference $(REFERENCE) --cells $(CELLS) $(OPTIONS)

## A day of mining in MINUTES (default 10): node and miner are killed, branches reorganised, the pool is full.
soak-mining-day: setup
	$(BIN)/python -m tests.soak.mining_day --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

## Nodes that have only libp2p (2, 5, 10), and nodes of both wires, whose sides mine while what joins them is dead. With
## REFERENCE=<path of a ckb binary> CELLS=<directory with the official ELF files> that node is among them. Some minutes.
soak-libp2p: setup
	$(BIN)/python -m tests.soak.libp2p $(if $(REFERENCE),--reference $(abspath $(REFERENCE)) --cells $(abspath $(CELLS))) $(OPTIONS)

## Bit rot, lost and older files on copies of a node's directory: start, run, compaction, check and recover. Minutes;
## SEEDS=<n> for other places of the damage, ONLY=<text in a point's name>.
bitrot: setup
	$(BIN)/python -m tests.bitrot --seeds $(or $(SEEDS),1) --only "$(ONLY)"

## Run ELF programs on every engine of the VM and on the reference's debugger, and compare:
##   make conformance-vm PROGRAMS=<directory> ORACLE=<ckb-debugger.wasm, of the npm package ckb-testtool>
## Programs with atomics, which CKB and so the debugger refuses: all engines must agree, and exit with 0 on version 2:
##   make conformance-vm PROGRAMS=<directory> ISA=ckb+a
conformance-vm: setup
	$(BIN)/python -m tests.conformance $(PROGRAMS) $(ORACLE) --isa $(or $(ISA),ckb)

## Random programs on every engine of the VM, for SECONDS (default 120).
fuzz-vm: setup
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),120)

## The wire's decoders and state machines, for SECONDS (default 130) in all, guided by coverage where `atheris` can be
## installed. TARGETS="yamux connection" picks some; what fails, and what was interesting, is kept in build/fuzz/wire.
fuzz-wire: setup
	-$(BIN)/python -m pip install --quiet --only-binary :all: atheris==3.0.0
	$(BIN)/python -m tests.wire_fuzz --seconds $(or $(SECONDS),130) $(addprefix --target ,$(TARGETS))

## Simulated chains: trees of good and bad blocks in many orders, for SECONDS (default 120), from SEED (default: the clock).
fuzz-chain: setup
	$(BIN)/python -m tests.simulator --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))

## Simulated networks that sync and relay, with kills, partitions, full disks and liars, for MINUTES (default 2), from SEED
## (default: the clock).
fuzz-sync: setup
	$(BIN)/python -m tests.simulation sync --minutes $(or $(MINUTES),2) $(if $(SEED),--seed $(SEED))

## Random walks of a pool (transactions, blocks, reorganisations, restarts, a hardfork) held against plain rules, for SECONDS
## (default 120), from SEED (default: the clock).
fuzz-pool: setup
	$(BIN)/python -m tests.pool_walk --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))

## The same chains, blocks and requests to the reference node and to this one, both on loopback. Not part of `make test`:
## it needs a built reference (REFERENCE=path of its `ckb`) and the official system scripts (CELLS=directory of the ELFs);
## LIGHT_CLIENT=<path of a ckb-light-client binary> tries that program with each as its server, too; CKB_CLI=<path of a
## ckb-cli binary>, also alone, tries keystore files both ways.
interop: setup
ifeq ($(and $(REFERENCE),$(CELLS)),)
	@echo "SKIPPED: the node was NOT COMPARED with the reference." \
		"Say: make interop REFERENCE=<path of a ckb binary> CELLS=<directory with the official ELF files>"
	$(if $(CKB_CLI),CKB_CLI=$(abspath $(CKB_CLI)) $(PYTEST) -q -rs tests/interop)
else
	CKB_REFERENCE=$(abspath $(REFERENCE)) CKB_CELLS=$(abspath $(CELLS)) $(if $(CKB_CLI),CKB_CLI=$(abspath $(CKB_CLI))) \
		$(if $(LIGHT_CLIENT),CKB_LIGHT_CLIENT=$(abspath $(LIGHT_CLIENT))) $(PYTEST) -q -rs tests/interop
endif

## Wallets and SDKs of others (CCC, Lumos, pyckb) against a dev chain; a part of `make test`, alone and with what each took.
## npm keeps their packages in CKB_CLIENTS=<directory>, by default in the user's cache. With REFERENCE=<path of a ckb binary>
## CELLS=<directory with the official ELF files> they meet that node too.
clients: setup
	$(if $(REFERENCE),CKB_REFERENCE=$(abspath $(REFERENCE)) CKB_CELLS=$(abspath $(CELLS))) \
		$(PYTEST) -q -rs --durations=0 --durations-min=1 tests/clients

## Rebuild the on-chain scripts of the dev chain (needs riscv64-unknown-elf-gcc); `scripts-check` proves they are unchanged.
scripts:
	$(MAKE) -C contrib/scripts install
scripts-check:
	$(MAKE) -C contrib/scripts check

setup:
	@contrib/setup.sh $(VENV) $(PYTHON)

## A thousand subscribers by WebSocket and a block a second; REFERENCE=<binary> CELLS=<directory> beside the reference.
bench-subscribers:
	$(BIN)/python -m tests.benches.subscribers $(if $(REFERENCE),--reference $(REFERENCE) --cells $(CELLS))

## The examples of the reference's rpc/README.md against this node, on the chain they were made on. SOURCE: the directory of
## the reference's source.
rpc-readme:
	CKB_SOURCE=$(SOURCE) $(PYTEST) -q tests/rpc/test_readme.py

## Renew docs/openrpc.json and docs/RPC.md from the methods.
rpc-docs:
	$(BIN)/python -m tests.rpc.kit_docs

## Renew requirements.lock, and what the extra libp2p needs besides, from pyproject.toml (needs uv).
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
lock:
	$(COMPILE) --group dev --extra rich-indexer --extra postgres --output-file requirements.lock pyproject.toml contrib/build-requirements.in
	$(COMPILE) --extra libp2p --constraint requirements.lock --output-file contrib/libp2p.lock \
		$$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock) pyproject.toml

clean:
	rm -rf $(VENV) build dist
