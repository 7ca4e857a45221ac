"""Everything that a block can hold: uncles, header deps, dep groups, type ids, scripts that execute and spawn."""

from __future__ import annotations

from tests.interop import kit_content
from tests.interop.kit_chain import Mirror


def test_uncles_with_proposals(mirror: Mirror) -> None:
    kit_content.uncles_with_proposals(mirror)


def test_dep_groups_header_deps_exec_and_spawn(mirror: Mirror) -> None:
    kit_content.dep_groups_header_deps_exec_and_spawn(mirror)


def test_type_ids_and_code_found_by_type(mirror: Mirror) -> None:
    kit_content.type_ids_and_code_found_by_type(mirror)
