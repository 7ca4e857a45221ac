"""The table of rules is whole: each rule and each error of the code is in it, and the tests that it names exist.

That the failing tests raise the named errors is seen in their source: they (or the helper that they call) ask
`pytest.raises`, catch, or look at the `error` of a verdict, and they name it. Whether they pass, they say themselves.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from consensus.rules.block import CellbaseFault, verify_block_body
from consensus.rules.uncles import UncleFault
from consensus.types.blockchain import CellbaseWitness
from tests.consensus.rules.kit_rules import RULES, Rule
from tests.support.builders.blocks import a_cellbase, a_consensus, a_header, an_output, lock_script

ROOT = Path(__file__).parents[3]
RULE_FILES = (
    "consensus/rules/block.py",
    "consensus/rules/block_contextual.py",
    "consensus/rules/dao.py",
    "consensus/rules/epoch.py",
    "consensus/rules/epoch_floor.py",
    "consensus/chainspec/genesis.py",
    "consensus/rules/header.py",
    "consensus/fast/header_batch.py",
    "consensus/rules/mmr.py",
    "consensus/rules/pow.py",
    "consensus/rules/resolve.py",
    "consensus/rules/since.py",
    "consensus/rules/transaction.py",
    "consensus/rules/two_phase.py",
    "consensus/rules/uncles.py",
    "consensus/rules/verify_block.py",
    "consensus/rules/verify_transaction.py",
    "consensus/script/code.py",
    "consensus/script/errors.py",
    "consensus/script/type_id.py",
    "ckb_node/chain/errors.py",
)
DRIVERS = {
    "rules.block.verify_block_body",
    "rules.block_contextual.verify_dao_field_after",  # the same rule for the fast path, see fast/test_block.py
    "chainspec.genesis.verify_genesis",
    "fast.header_batch.verify_next",
    "rules.resolve.verify_order",
    "rules.transaction.verify_capacity",
    "rules.transaction.verify_time_relative",
    "rules.verify_transaction.verify_transaction_non_contextual",
    "rules.verify_transaction.verify_transaction_contextual",
    "rules.verify_block.verify_block",
    "rules.verify_block.verify_block_transactions",
    "rules.verify_transaction.verify_block_transaction",
    "rules.verify_transaction.verify_transaction",
}
"""They only call rules, in order."""

NO_RULES = {"SnapshotDataLoadError", "TruncateError"}
"""An error inside the VM that scripts see as VmInternalError, and one of a tool for tests of others."""

FAULTS = {"CellbaseError": CellbaseFault, "UncleError": UncleFault}


@cache
def functions(path: Path) -> dict[str, str]:
    """Source of the functions of a file, decorators included."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found


def place(test: str) -> tuple[Path, str]:
    """File and function of a test that the table names."""
    where, _, name = test.rpartition(".")
    room, _, file = where.rpartition("/")
    inside = ROOT / "tests" / "consensus" / (room or "rules")
    return (inside if inside.is_dir() else ROOT / "tests" / room) / f"test_{file}.py", name


def defined_errors() -> set[str]:
    """Classes that the rule files raise or define to be raised."""
    found = set()
    for name in RULE_FILES:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef) and is_error(node)}
        bases = {ast.unparse(base) for node in classes.values() for base in node.bases}
        found |= {each for each in classes if each not in bases}
    return found - NO_RULES


def is_error(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith("Error") for base in node.bases)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rule}-{rule.error}-{rule.fails}")
def test_the_tests_of_a_rule_exist(rule: Rule) -> None:
    for test in (rule.passes, rule.fails):
        path, name = place(test)
        assert name in functions(path), f"no {name} in {path.name}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rule}-{rule.error}-{rule.fails}")
def test_the_failing_test_raises_the_named_error(rule: Rule) -> None:
    path, name = place(rule.fails)
    sources = functions(path)
    called = [source for helper, source in sources.items() if re.search(rf"\b{helper}\(", sources[name])]
    with_helpers = "\n".join([sources[name], *called])
    assert re.search(r"raises\(|except |\.error\b", with_helpers)
    error, _, fault = rule.error.partition(".")
    wanted = f"{FAULTS[error].__name__}.{fault}" if fault else error
    assert re.search(rf"\b{re.escape(wanted)}\b", with_helpers), f"{wanted} is not named"


def test_every_error_of_a_rule_is_in_the_table() -> None:
    assert {rule.error.partition(".")[0] for rule in RULES} >= defined_errors()


FAMILIES = {"HeaderError", "EpochError", "BlockError", "TransactionError", "ResolveError", "DaoError", "ScriptError"}


def test_every_file_with_errors_of_rules_is_looked_at() -> None:
    found = set()
    for path in (ROOT / "consensus").rglob("*.py"):
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        bases = {ast.unparse(base) for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases}
        if not bases.isdisjoint(FAMILIES):
            found.add(path.relative_to(ROOT).as_posix())
    assert found - {"consensus/errors.py"} <= set(RULE_FILES)


def test_every_fault_of_cellbases_and_uncles_is_in_the_table() -> None:
    named = {rule.error for rule in RULES}
    assert {f"{error}.{fault.name}" for error, faults in FAULTS.items() for fault in faults} <= named


def test_every_rule_is_in_the_table() -> None:
    """A function `verify_…` is a rule, or it calls rules in order."""
    found = set()
    for name in RULE_FILES:
        module = name.removeprefix("consensus/").removesuffix(".py").replace("/", ".")
        names = re.findall(r"^ *def (verify_\w+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        found |= {f"{module}.{each}" for each in names}
    assert found - DRIVERS <= {rule.rule for rule in RULES}
    assert found >= DRIVERS


def test_the_rules_of_the_table_exist() -> None:
    for rule in {rule.rule for rule in RULES if not rule.rule.startswith("ckb_node")}:
        module, _, name = rule.rpartition(".")
        text = (ROOT / "consensus" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"^ *(def|class) {name}\b", text, re.MULTILINE), rule


SOURCE_AND_CONDITION = re.compile(r'(ckb, no RFC|RFC \d+ "[^"]+"[^:]*): \S.{9,}')


def documented(path: Path) -> dict[str, str]:
    """Docstrings of the functions, methods and classes of a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        node.name: ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def first_paragraph(rule: str) -> str:
    module, _, name = rule.rpartition(".")
    docstring = documented(ROOT / "consensus" / f"{module.replace('.', '/')}.py")[name]
    return docstring.partition("\n\n")[0].replace("\n", " ")


def test_every_rule_names_its_rfc_and_says_its_condition() -> None:
    """Its docstring begins with the RFC and the section, or "ckb, no RFC"; one sentence with the condition follows."""
    rules = sorted({each.rule for each in RULES if not each.rule.startswith("ckb_node")})
    assert [rule for rule in rules if not SOURCE_AND_CONDITION.match(first_paragraph(rule))] == []


# ---------------------------------------------------------------- what other files lack


@pytest.mark.parametrize("hash_type", [0, 1, 2, 4])
def test_a_cellbase_pays_to_and_names_locks_of_every_enabled_hash_type(hash_type: int) -> None:
    lock = lock_script(b"miner", hash_type)
    witness = CellbaseWitness(lock=lock, message=b"").raw
    consensus = a_consensus()
    block = consensus.genesis_block.replace(
        header=a_header(number=5), transactions=[a_cellbase(5, [an_output(lock=lock)], witness)]
    )
    verify_block_body(consensus, block.with_roots())
