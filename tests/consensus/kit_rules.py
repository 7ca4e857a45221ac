"""All rules of blocks and transactions: the error that each raises, a test that just passes, one that just fails.

Tests are named by room, file and function: `block.test_x` is in tests/consensus/test_block.py, `script/code.test_x`
is in tests/script/test_code.py. `test_rules.py` holds the table against the code and the tests.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """`rule` is a function of consensus/ (of ckb_node/chain where it says so), `error` a class or a fault of one."""

    rule: str
    error: str
    passes: str
    fails: str


def both(rule: str, error: str, test: str) -> Rule:
    """One test has both sides."""
    return Rule(rule, error, test, test)


HEADER = (
    Rule(
        "pow.verify_pow",
        "PowError",
        "pow.test_the_target_itself_is_still_met",
        "pow.test_another_nonce_fails_with_its_facts",
    ),
    Rule(
        "header.verify_header",
        "UnknownParentError",
        "header.test_verify_header_accepts_a_good_child",
        "header.test_unknown_parent_is_temporary_and_names_the_parent",
    ),
    both("header.verify_version", "BlockVersionError", "header.test_version"),
    both("header.verify_number", "NumberError", "header.test_number"),
    Rule(
        "header.verify_epoch_continuity",
        "EpochMalformedError",
        "header.test_continuous_epoch",
        "header.test_malformed_epoch",
    ),
    Rule(
        "header.verify_epoch_continuity",
        "EpochContinuityError",
        "header.test_continuous_epoch",
        "header.test_discontinuous_epoch",
    ),
    both("header.verify_after_median", "BlockTimeTooOldError", "header.test_timestamp_must_be_after_the_median"),
    both("header.verify_not_in_future", "BlockTimeTooNewError", "header.test_timestamp_may_be_15_seconds_ahead"),
    both("epoch.verify_block_epoch", "EpochNumberMismatchError", "epoch.test_block_epoch_rule"),
    both("epoch.verify_block_epoch", "EpochTargetMismatchError", "epoch.test_block_epoch_rule"),
    Rule(
        "epoch.epoch_statistics",
        "EpochArithmeticError",
        "epoch.test_statistics_of_a_later_epoch_count_from_the_block_before",
        "epoch.test_time_that_ran_backwards_is_refused",
    ),
    Rule(
        "epoch.adjusted_epoch",
        "EpochArithmeticError",
        "epoch.test_bounds_always_hold",
        "epoch.test_values_beyond_256_bits_are_refused",
    ),
)

BODY = (
    both("block.verify_commitments", "UnknownFieldsError", "block.test_a_sixth_field_is_committed_to_by_nothing"),
    *(
        Rule(
            "block.verify_commitments",
            error,
            "block.test_a_block_with_everything",
            "block.test_each_part_of_the_body_is_committed_to",
        )
        for error in ("TransactionsRootError", "ProposalsHashError", "ExtraHashError", "UncleProposalsHashError")
    ),
    both("block.verify_proposals_limit", "TooManyProposalsError", "block.test_proposals_limit"),
    both("block.verify_block_size", "BlockSizeError", "block.test_block_size_leaves_out_what_uncles_propose"),
    both(
        "block.verify_no_duplicates",
        "DuplicateTransactionError",
        "block.test_duplicate_transactions_are_those_with_one_hash_whatever_their_witnesses",
    ),
    Rule(
        "block.verify_no_duplicates",
        "DuplicateProposalError",
        "block.test_proposals_limit",
        "block.test_duplicate_proposals",
    ),
    both("block.verify_extension_size", "EmptyExtensionError", "block.test_extension_size"),
    both("block.verify_extension_size", "ExtensionSizeError", "block.test_extension_size"),
    Rule(
        "block.verify_cellbase",
        "CellbaseError.QUANTITY",
        "block.test_a_block_with_everything",
        "block.test_exactly_one_cellbase",
    ),
    Rule(
        "block.verify_cellbase",
        "CellbaseError.POSITION",
        "block.test_a_block_with_everything",
        "block.test_the_cellbase_comes_first",
    ),
    both("block.verify_cellbase_outputs", "CellbaseError.OUTPUT_QUANTITY", "block.test_at_most_one_output"),
    *(
        Rule(
            "block.verify_cellbase_outputs",
            error,
            "block.test_at_most_one_output",
            "block.test_the_output_has_no_data_and_no_type_and_an_enabled_lock",
        )
        for error in ("CellbaseError.OUTPUT_DATA", "CellbaseError.TYPE_SCRIPT")
    ),
    Rule(
        "block.verify_cellbase_outputs",
        "CellbaseError.OUTPUT_LOCK",
        "rules.test_a_cellbase_pays_to_and_names_locks_of_every_enabled_hash_type",
        "block.test_the_output_has_no_data_and_no_type_and_an_enabled_lock",
    ),
    both("block.verify_cellbase_outputs", "CellbaseError.WITNESS", "block.test_the_witness_names_the_miners_lock"),
    Rule(
        "block.verify_cellbase_input",
        "CellbaseError.INPUT",
        "block.test_at_most_one_output",
        "block.test_the_since_of_the_input_is_the_block_number",
    ),
)

UNCLES = (
    both("uncles.verify_uncles", "TooManyUnclesError", "uncles.test_up_to_two_uncles_of_any_height"),
    Rule(
        "uncles.verify_uncle_place",
        "UncleError.TARGET",
        "uncles.test_up_to_two_uncles_of_any_height",
        "uncles.test_target_and_epoch_are_the_blocks",
    ),
    Rule(
        "uncles.verify_uncle_place",
        "UncleError.EPOCH",
        "uncles.test_only_the_number_of_the_epoch_counts",
        "uncles.test_target_and_epoch_are_the_blocks",
    ),
    both("uncles.verify_uncle_place", "UncleError.NUMBER", "uncles.test_it_is_lower_than_the_block"),
    both(
        "uncles.verify_uncle_ancestry",
        "UncleError.DESCENDANT",
        "uncles.test_its_parent_may_be_an_earlier_uncle_of_the_block",
    ),
    both(
        "uncles.verify_uncle_ancestry",
        "UncleError.DESCENDANT",
        "uncles.test_its_parent_may_be_an_uncle_of_the_main_chain",
    ),
    Rule(
        "uncles.verify_uncle_is_new",
        "UncleError.DUPLICATE",
        "uncles.test_up_to_two_uncles_of_any_height",
        "uncles.test_no_uncle_twice",
    ),
    Rule(
        "uncles.verify_uncle_is_new",
        "UncleError.DOUBLE_INCLUSION",
        "uncles.test_up_to_two_uncles_of_any_height",
        "uncles.test_a_main_block_is_not_an_uncle",
    ),
    both("uncles.verify_uncle_proposals", "UncleError.PROPOSALS_LIMIT", "uncles.test_proposals_limit_and_duplicates"),
    both(
        "uncles.verify_uncle_proposals", "UncleError.DUPLICATE_PROPOSAL", "uncles.test_proposals_limit_and_duplicates"
    ),
    both("uncles.verify_uncles", "PowError", "uncles.test_it_is_solved"),
)

CONTEXT = (
    Rule(
        "verify_block.prepare_block",
        "NotOnTipError",
        "verify_block.test_a_chain_with_transactions_uncles_and_rewards",
        "verify_block.test_the_reader_must_stand_on_the_parent",
    ),
    both("two_phase.verify_two_phase", "NotProposedError", "two_phase.test_distance_between_proposal_and_commitment"),
    Rule(
        "block_context.verify_dao_field",
        "DaoFieldMismatchError",
        "verify_block.test_a_chain_with_transactions_uncles_and_rewards",
        "verify_block.test_the_dao_field_is_computed",
    ),
    both(
        "block_context.verify_reward",
        "CellbaseError.REWARD_AMOUNT",
        "verify_block.test_the_cellbase_pays_exactly_what_is_due",
    ),
    both(
        "block_context.verify_reward",
        "CellbaseError.REWARD_TARGET",
        "verify_block.test_the_cellbase_pays_exactly_what_is_due",
    ),
    both(
        "block_context.verify_reward",
        "CellbaseError.REWARD_TARGET",
        "verify_block.test_the_first_eleven_blocks_pay_nobody",
    ),
    Rule(
        "block_context.verify_reward",
        "CellbaseError.REWARD_TARGET",
        "verify_block.test_a_reward_that_just_makes_a_cell_is_paid",
        "verify_block.test_a_reward_that_cannot_make_a_cell_is_not_paid",
    ),
    *(
        both("block_context.verify_chain_root", error, "verify_block.test_the_extension_starts_with_the_chain_root")
        for error in ("NoExtensionError", "ShortExtensionError", "ChainRootError")
    ),
    both(
        "block_context.verify_chain_root",
        "NoExtensionError",
        "verify_block.test_the_parents_epoch_decides_about_the_chain_root",
    ),
    Rule(
        "verify_block.run_scripts",
        "BlockTransactionError",
        "verify_block.test_a_chain_with_transactions_uncles_and_rewards",
        "verify_block.test_a_failing_script_makes_the_block_invalid",
    ),
    both("verify_block.finish_block", "BlockCyclesError", "verify_block.test_the_sum_of_cycles_is_limited"),
)

TRANSACTION = (
    both("transaction.verify_version", "TransactionVersionError", "transaction.test_version"),
    both("transaction.verify_size", "TransactionSizeError", "transaction.test_size_counts_the_offset_in_the_block"),
    both("transaction.verify_not_empty", "EmptyTransactionError", "transaction.test_inputs_and_outputs"),
    both(
        "transaction.verify_no_duplicate_deps",
        "DuplicateCellDepsError",
        "transaction.test_duplicate_cell_deps_are_the_same_out_point_with_the_same_dep_type",
    ),
    both(
        "transaction.verify_no_duplicate_deps",
        "DuplicateHeaderDepsError",
        "transaction.test_duplicate_header_deps",
    ),
    Rule(
        "transaction.verify_outputs_data",
        "OutputsDataLengthError",
        "transaction.test_version",
        "transaction.test_each_output_has_its_data",
    ),
    *(
        Rule(
            "transaction.verify_lock_hash_types",
            error,
            "transaction.test_lock_hash_types",
            "transaction.test_lock_hash_types_that_are_not_enabled",
        )
        for error in ("LockHashTypeNotPermittedError", "InvalidLockHashTypeError")
    ),
    both(
        "transaction.verify_enumerations",
        "InvalidDepTypeError",
        "transaction.test_the_kind_of_a_dep_is_one_that_exists",
    ),
    both(
        "transaction.verify_enumerations",
        "InvalidTypeHashTypeError",
        "transaction.test_the_hash_type_of_a_type_script_may_be_of_a_future_vm",
    ),
    both(
        "transaction.verify_maturity",
        "CellbaseImmatureError",
        "transaction.test_a_cellbase_matures_after_four_epochs",
    ),
    both(
        "transaction.verify_maturity",
        "CellbaseImmatureError",
        "transaction.test_code_from_a_cellbase_matures_too_but_not_its_dep_group",
    ),
    both(
        "transaction.verify_capacity_sum",
        "OutputsSumOverflowError",
        "transaction.test_outputs_have_no_more_capacity_than_inputs",
    ),
    Rule(
        "transaction.verify_capacity_sum",
        "CapacityOverflowError",
        "transaction.test_a_sum_of_64_bits_is_not_refused",
        "transaction.test_sums_beyond_64_bits_are_refused",
    ),
    both(
        "transaction.verify_occupied_capacity",
        "InsufficientCellCapacityError",
        "transaction.test_an_output_pays_for_its_bytes",
    ),
    both(
        "transaction.verify_dao_lock_sizes",
        "DaoLockSizeError",
        "transaction.test_a_withdrawal_keeps_the_size_of_the_lock",
    ),
    Rule(
        "transaction.verify_dao_lock_sizes",
        "DaoLockSizeError",
        "transaction.test_old_deposits_phase_two_and_other_cells_are_free",
        "transaction.test_any_zeros_count_as_a_deposit",
    ),
)

SINCE = (
    both(
        "since.verify_since",
        "InvalidSinceError",
        "since.test_the_index_of_an_epoch_is_below_its_length_or_both_are_zero",
    ),
    Rule(
        "since.verify_since",
        "InvalidSinceError",
        "since.test_absolute_block_number",
        "since.test_reserved_bits_and_the_fourth_metric_are_invalid",
    ),
    *(
        both("since.verify_since", "ImmatureError", f"since.{test}")
        for test in (
            "test_absolute_block_number",
            "test_absolute_epoch_compares_fractions",
            "test_absolute_timestamp_is_compared_with_the_median_of_the_parent",
            "test_relative_block_number",
            "test_relative_epoch_adds_fractions",
            "test_relative_timestamp_starts_at_the_cells_block_since_rfc_28",
            "test_relative_timestamp_started_at_the_median_before_rfc_28",
            "test_a_relative_timestamp_on_a_genesis_cell_never_passed_before_rfc_28",
        )
    ),
)

RESOLVE = (
    Rule(
        "resolve.resolve_transaction",
        "UnknownOutPointError",
        "resolve.test_inputs_and_deps_come_in_order_with_groups_expanded_in_place",
        "resolve.test_unknown_input_has_the_text_that_clients_match_on",
    ),
    both(
        "resolve.resolve_transaction",
        "DeadOutPointError",
        "resolve.test_what_an_earlier_transaction_spends_is_dead_as_input_dep_group_and_member",
    ),
    Rule(
        "resolve.resolve_transaction",
        "DeadOutPointError",
        "resolve.test_a_cell_may_be_input_and_dep_of_one_transaction",
        "resolve.test_the_same_input_twice_is_dead",
    ),
    both("resolve.verify_order_of", "OutOfOrderError", "resolve.test_names_of_later_transactions_are_out_of_order"),
    Rule(
        "resolve.dep_group_members",
        "InvalidDepGroupError",
        "resolve.test_groups_are_not_expanded_twice",
        "resolve.test_a_dep_group_is_a_list_of_one_or_more_out_points",
    ),
    both("resolve.resolve_cell_deps", "TooManyDepsError", "resolve.test_2048_code_cells_fit"),
    both(
        "resolve.resolve_transaction",
        "InvalidHeaderDepError",
        "verify_block.test_the_parent_is_a_header_dep_but_the_block_itself_and_stale_blocks_are_not",
    ),
)

DAO = (
    both("dao.transaction_fee", "DaoOverflowError", "dao.test_fee_of_a_plain_transaction"),
    Rule(
        "dao.capacity_moves",
        "DaoOverflowError",
        "dao.test_withdrawn_interest_leaves_the_savings",
        "dao.test_interest_of_a_block_cannot_exceed_the_savings",
    ),
    Rule(
        "dao.dao_field_after",
        "DaoZeroError",
        "dao.test_issuance_of_a_block",
        "dao.test_a_total_of_zero_divides_nothing",
    ),
    Rule(
        "dao.transaction_maximum_withdraw",
        "DaoOutPointError",
        "dao.test_withdrawal_gets_interest",
        "dao.test_bad_out_points",
    ),
    Rule(
        "dao.transaction_maximum_withdraw",
        "DaoOutPointError",
        "dao.test_withdrawal_gets_interest",
        "dao.test_same_block_earns_nothing",
    ),
    Rule(
        "dao.transaction_maximum_withdraw",
        "DaoFormatError",
        "dao.test_withdrawal_gets_interest",
        "dao.test_bad_witnesses",
    ),
    Rule(
        "dao.transaction_maximum_withdraw",
        "DaoHeaderError",
        "dao.test_withdrawal_gets_interest",
        "dao.test_unknown_headers",
    ),
)

SCRIPTS = (
    Rule(
        "script.code.CodeIndex",
        "ScriptNotFound",
        "script/code.test_data_hash_types_find_code_by_its_hash",
        "script/code.test_code_that_no_cell_dep_has_is_not_found",
    ),
    Rule(
        "script.code.CodeIndex",
        "MultipleMatches",
        "script/code.test_several_cells_may_have_the_type_hash_if_their_data_is_the_same",
        "script/code.test_different_data_under_one_type_hash_is_ambiguous",
    ),
    Rule(
        "script.code.vm_version_for",
        "InvalidScriptHashType",
        "script/code.test_vm_version",
        "script/code.test_other_hash_types_neither_find_code_nor_a_vm",
    ),
    Rule(
        "script.code.vm_version_for",
        "InvalidVmVersion",
        "script/code.test_vm_version",
        "script/code.test_a_vm_that_is_not_active_yet",
    ),
    both("script.verifier.ScriptVerifier", "ExceededMaximumCycles", "script/verifier.test_the_limit_is_exact"),
    Rule(
        "script.verifier.ScriptVerifier",
        "ValidationFailure",
        "script/verifier.test_an_exit_value_whose_low_byte_is_0_passes",
        "script/verifier.test_exit_codes",
    ),
    Rule(
        "script.verifier.ScriptVerifier",
        "VmInternalError",
        "script/verifier.test_a_script_that_exits_with_0_passes_at_its_price",
        "script/verifier.test_a_system_call_that_nobody_answers",
    ),
    Rule(
        "script.verifier.ScriptVerifier",
        "TransactionScriptError",
        "script/verifier.test_a_script_that_exits_with_0_passes_at_its_price",
        "script/verifier.test_an_exit_code_is_the_low_byte_with_sign_and_names_its_page",
    ),
    Rule(
        "script.type_id.verify_type_id",
        "ValidationFailure",
        "script/verifier.test_type_id_runs_without_code_and_costs_a_million",
        "script/type_id.test_a_transaction_without_inputs_creates_nothing",
    ),
)

GENESIS = tuple(
    Rule(f"genesis.{rule}", error, "genesis.test_good_genesis", f"genesis.{test}")
    for rule, error, test in (
        ("verify_number_is_zero", "NumberError", "test_number"),
        ("verify_epoch_is_zero", "EpochNumberMismatchError", "test_epoch_number"),
        ("verify_no_parent", "UnknownParentError", "test_parent"),
        ("verify_cellbase", "GenesisCellbaseError", "test_cellbase"),
        ("verify_no_uncles", "GenesisUnclesError", "test_uncles"),
        ("verify_dao", "GenesisDaoError", "test_dao_field"),
    )
)

CHAIN_ROOT = (
    Rule("mmr.merge", "MmrNumberError", "mmr.test_merge", "mmr.test_merge_wants_adjacent_blocks"),
    Rule(
        "mmr.merge",
        "MmrEpochError",
        "mmr.test_merge_crosses_epochs_and_starts_at_genesis",
        "mmr.test_merge_wants_adjacent_epochs",
    ),
    Rule("mmr.merge", "MmrDifficultyError", "mmr.test_merge", "mmr.test_total_difficulty_must_fit"),
    *(
        Rule("mmr.verify_digest", error, "mmr.test_consistent_digests", "mmr.test_inconsistent_digests")
        for error in ("MmrNumberError", "MmrEpochError", "MmrDifficultyError")
    ),
)

PROCESSOR = (
    Rule(
        "ckb_node.chain.processor",
        "ForeignGenesisError",
        "chain/processor.test_known_blocks",
        "chain/processor.test_another_genesis_block_is_refused",
    ),
    both(
        "ckb_node.chain.processor",
        "KnownInvalidBlockError",
        "chain/processor.test_an_invalid_block_is_remembered_and_changes_nothing",
    ),
    both(
        "ckb_node.chain.processor",
        "InvalidParentError",
        "chain/processor.test_all_that_stand_on_an_invalid_block_are_invalid",
    ),
    both(
        "ckb_node.chain.processor",
        "InvalidBranchError",
        "chain/processor.test_an_invalid_block_in_the_middle_leaves_what_is_below_it",
    ),
)

RULES = (
    *HEADER,
    *BODY,
    *UNCLES,
    *CONTEXT,
    *TRANSACTION,
    *SINCE,
    *RESOLVE,
    *DAO,
    *SCRIPTS,
    *GENESIS,
    *CHAIN_ROOT,
    *PROCESSOR,
)
