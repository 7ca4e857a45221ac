"""All rules of blocks and transactions: the errors that each raises, a test that just passes, one that just fails.

A rule is a function of consensus/ (or a file of the chain writer) with its errors; a fault of an error stands behind
a dot. Below it `+` is a test of a block or transaction that just passes, `-` of one that just fails, `+-` of both; they
are named by room, file and function: `block.test_x` is in tests/consensus/rules/test_block.py, `fast/chain.test_x` in
tests/consensus/fast/test_chain.py, `script/code.test_x` in tests/script/test_code.py.
`test_rules.py` holds the table against the code and the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

TABLE = """
# headers
rules.pow.verify_pow: PowError
    + pow.test_the_target_itself_is_still_met
    - pow.test_another_nonce_fails_with_its_facts
rules.header.verify_header: UnknownParentError
    + header.test_verify_header_accepts_a_good_child
    - header.test_unknown_parent_is_temporary_and_names_the_parent
rules.header.verify_version: BlockVersionError
    +- header.test_version
rules.header.verify_number: NumberError
    +- header.test_number
rules.header.verify_epoch_continuity: EpochMalformedError
    + header.test_continuous_epoch
    - header.test_malformed_epoch
rules.header.verify_epoch_continuity: EpochContinuityError
    + header.test_continuous_epoch
    - header.test_discontinuous_epoch
rules.header.verify_after_median: BlockTimeTooOldError
    +- header.test_timestamp_must_be_after_the_median
rules.header.verify_not_in_future: BlockTimeTooNewError
    +- header.test_timestamp_may_be_15_seconds_ahead
rules.epoch.verify_block_epoch: EpochNumberMismatchError EpochTargetMismatchError
    +- epoch.test_block_epoch_rule
rules.epoch.epoch_statistics: EpochArithmeticError
    + epoch.test_statistics_of_a_later_epoch_count_from_the_block_before
    - epoch.test_time_that_ran_backwards_is_refused
rules.epoch.adjusted_epoch: EpochArithmeticError
    + epoch.test_bounds_always_hold
    - epoch.test_values_beyond_256_bits_are_refused

# headers in bulk, whose other rules are those above
fast.header_batch.verify_continuous: NotContinuousError
    + fast/header_batch.test_a_batch_of_valid_headers
    - fast/header_batch.test_gaps_come_before_all_else
fast.header_batch.verify_headers: InvalidAncestorError
    + fast/header_batch.test_a_batch_of_valid_headers
    - fast/header_batch.test_unknown_and_invalid_parents

# epochs, as far as headers show them
rules.epoch_floor.verify_next_epoch: TargetTooEasyError
    +- epoch_floor.test_a_short_epoch_makes_the_next_harder
rules.epoch_floor.verify_next_epoch: EpochDurationError
    + epoch_floor.test_an_epoch_in_its_time_may_be_followed_by_one_as_hard
    - epoch_floor.test_an_epoch_that_ends_before_it_begins
rules.epoch_floor.verify_next_epoch: EpochLengthError
    + epoch_floor.test_an_epoch_in_its_time_may_be_followed_by_one_as_hard
    - epoch_floor.test_lengths_that_no_uncles_give

# the block alone
rules.block.verify_commitments: UnknownFieldsError
    +- block.test_a_sixth_field_is_committed_to_by_nothing
rules.block.verify_commitments: TransactionsRootError ProposalsHashError ExtraHashError UncleProposalsHashError
    + block.test_a_block_with_everything
    - block.test_each_part_of_the_body_is_committed_to
rules.block.verify_proposals_limit: TooManyProposalsError
    +- block.test_proposals_limit
rules.block.verify_block_size: BlockSizeError
    +- block.test_block_size_leaves_out_what_uncles_propose
rules.block.verify_no_duplicates: DuplicateTransactionError
    +- block.test_duplicate_transactions_are_those_with_one_hash_whatever_their_witnesses
rules.block.verify_no_duplicates: DuplicateProposalError
    + block.test_proposals_limit
    - block.test_duplicate_proposals
rules.block.verify_extension_size: EmptyExtensionError ExtensionSizeError
    +- block.test_extension_size
rules.block.verify_cellbase: CellbaseError.QUANTITY
    + block.test_a_block_with_everything
    - block.test_exactly_one_cellbase
rules.block.verify_cellbase: CellbaseError.POSITION
    + block.test_a_block_with_everything
    - block.test_the_cellbase_comes_first
rules.block.verify_cellbase_outputs: CellbaseError.OUTPUT_QUANTITY
    +- block.test_at_most_one_output
rules.block.verify_cellbase_outputs: CellbaseError.OUTPUT_DATA CellbaseError.TYPE_SCRIPT
    + block.test_at_most_one_output
    - block.test_the_output_has_no_data_and_no_type_and_an_enabled_lock
rules.block.verify_cellbase_outputs: CellbaseError.OUTPUT_LOCK
    + rules.test_a_cellbase_pays_to_and_names_locks_of_every_enabled_hash_type
    - block.test_the_output_has_no_data_and_no_type_and_an_enabled_lock
rules.block.verify_cellbase_outputs: CellbaseError.WITNESS
    +- block.test_the_witness_names_the_miners_lock
rules.block.verify_cellbase_input: CellbaseError.INPUT
    + block.test_at_most_one_output
    - block.test_the_since_of_the_input_is_the_block_number

# uncles
rules.uncles.verify_uncles: TooManyUnclesError
    +- uncles.test_up_to_two_uncles_of_any_height
rules.uncles.verify_uncle_place: UncleError.TARGET
    + uncles.test_up_to_two_uncles_of_any_height
    - uncles.test_target_and_epoch_are_the_blocks
rules.uncles.verify_uncle_place: UncleError.EPOCH
    + uncles.test_only_the_number_of_the_epoch_counts
    - uncles.test_target_and_epoch_are_the_blocks
rules.uncles.verify_uncle_place: UncleError.NUMBER
    +- uncles.test_it_is_lower_than_the_block
rules.uncles.verify_uncle_ancestry: UncleError.DESCENDANT
    +- uncles.test_its_parent_may_be_an_earlier_uncle_of_the_block
rules.uncles.verify_uncle_ancestry: UncleError.DESCENDANT
    +- uncles.test_its_parent_may_be_an_uncle_of_the_main_chain
rules.uncles.verify_uncle_is_new: UncleError.DUPLICATE
    + uncles.test_up_to_two_uncles_of_any_height
    - uncles.test_no_uncle_twice
rules.uncles.verify_uncle_is_new: UncleError.DOUBLE_INCLUSION
    + uncles.test_up_to_two_uncles_of_any_height
    - uncles.test_a_main_block_is_not_an_uncle
rules.uncles.verify_uncle_proposals: UncleError.PROPOSALS_LIMIT UncleError.DUPLICATE_PROPOSAL
    +- uncles.test_proposals_limit_and_duplicates
rules.uncles.verify_uncles: PowError
    +- uncles.test_it_is_solved

# the block on its parent
rules.verify_block.prepare_block: NotOnTipError
    + verify_block.test_a_chain_with_transactions_uncles_and_rewards
    - verify_block.test_the_reader_must_stand_on_the_parent
rules.two_phase.verify_two_phase: NotProposedError
    +- two_phase.test_distance_between_proposal_and_commitment
rules.block_contextual.verify_dao_field: DaoFieldMismatchError
    + verify_block.test_a_chain_with_transactions_uncles_and_rewards
    - verify_block.test_the_dao_field_is_computed
rules.block_contextual.verify_reward: CellbaseError.REWARD_AMOUNT CellbaseError.REWARD_TARGET
    +- verify_block.test_the_cellbase_pays_exactly_what_is_due
rules.block_contextual.verify_reward: CellbaseError.REWARD_TARGET
    +- verify_block.test_the_first_eleven_blocks_pay_nobody
rules.block_contextual.verify_reward: CellbaseError.REWARD_TARGET
    + verify_block.test_a_reward_that_just_makes_a_cell_is_paid
    - verify_block.test_a_reward_that_cannot_make_a_cell_is_not_paid
rules.block_contextual.verify_chain_root: NoExtensionError ShortExtensionError ChainRootError
    +- verify_block.test_the_extension_starts_with_the_chain_root
rules.block_contextual.verify_chain_root: NoExtensionError
    +- verify_block.test_the_parents_epoch_decides_about_the_chain_root
rules.verify_block.run_scripts: BlockTransactionError
    + verify_block.test_a_chain_with_transactions_uncles_and_rewards
    - verify_block.test_a_failing_script_makes_the_block_invalid
rules.verify_block.finish_block: BlockCyclesError
    +- verify_block.test_the_sum_of_cycles_is_limited

# transactions
rules.transaction.verify_version: TransactionVersionError
    +- transaction.test_version
rules.transaction.verify_size: TransactionSizeError
    +- transaction.test_size_counts_the_offset_in_the_block
rules.transaction.verify_not_empty: EmptyTransactionError
    +- transaction.test_inputs_and_outputs
rules.transaction.verify_no_duplicate_deps: DuplicateCellDepsError
    +- transaction.test_duplicate_cell_deps_are_the_same_out_point_with_the_same_dep_type
rules.transaction.verify_no_duplicate_deps: DuplicateHeaderDepsError
    +- transaction.test_duplicate_header_deps
rules.transaction.verify_outputs_data: OutputsDataLengthError
    + transaction.test_version
    - transaction.test_each_output_has_its_data
rules.transaction.verify_lock_hash_types: LockHashTypeNotPermittedError InvalidLockHashTypeError
    + transaction.test_lock_hash_types
    - transaction.test_lock_hash_types_that_are_not_enabled
rules.transaction.verify_enumerations: InvalidDepTypeError
    +- transaction.test_the_kind_of_a_dep_is_one_that_exists
rules.transaction.verify_enumerations: InvalidTypeHashTypeError
    +- transaction.test_the_hash_type_of_a_type_script_may_be_of_a_future_vm
rules.transaction.verify_maturity: CellbaseImmatureError
    +- transaction.test_a_cellbase_matures_after_four_epochs
rules.transaction.verify_maturity: CellbaseImmatureError
    +- transaction.test_code_from_a_cellbase_matures_too_but_not_its_dep_group
rules.transaction.verify_capacity_sum: OutputsSumOverflowError
    +- transaction.test_outputs_have_no_more_capacity_than_inputs
rules.transaction.verify_capacity_sum: CapacityOverflowError
    + transaction.test_a_sum_of_64_bits_is_not_refused
    - transaction.test_sums_beyond_64_bits_are_refused
rules.transaction.verify_occupied_capacity: InsufficientCellCapacityError
    +- transaction.test_an_output_pays_for_its_bytes
rules.transaction.verify_dao_lock_sizes: DaoLockSizeError
    +- transaction.test_a_withdrawal_keeps_the_size_of_the_lock
rules.transaction.verify_dao_lock_sizes: DaoLockSizeError
    + transaction.test_old_deposits_phase_two_and_other_cells_are_free
    - transaction.test_any_zeros_count_as_a_deposit

# since
rules.since.verify_since: InvalidSinceError
    +- since.test_the_index_of_an_epoch_is_below_its_length_or_both_are_zero
rules.since.verify_since: InvalidSinceError
    + since.test_absolute_block_number
    - since.test_reserved_bits_and_the_fourth_metric_are_invalid
rules.since.verify_since: ImmatureError
    +- since.test_absolute_block_number
rules.since.verify_since: ImmatureError
    +- since.test_absolute_epoch_compares_fractions
rules.since.verify_since: ImmatureError
    +- since.test_absolute_timestamp_is_compared_with_the_median_of_the_parent
rules.since.verify_since: ImmatureError
    +- since.test_relative_block_number
rules.since.verify_since: ImmatureError
    +- since.test_relative_epoch_adds_fractions
rules.since.verify_since: ImmatureError
    +- since.test_relative_timestamp_starts_at_the_cells_block_since_rfc_28
rules.since.verify_since: ImmatureError
    +- since.test_relative_timestamp_started_at_the_median_before_rfc_28
rules.since.verify_since: ImmatureError
    +- since.test_a_relative_timestamp_on_a_genesis_cell_never_passed_before_rfc_28

# cells and header deps
rules.resolve.resolve_transaction: UnknownOutPointError
    + resolve.test_inputs_and_deps_come_in_order_with_groups_expanded_in_place
    - resolve.test_unknown_input_has_the_text_that_clients_match_on
rules.resolve.resolve_transaction: DeadOutPointError
    +- resolve.test_what_an_earlier_transaction_spends_is_dead_as_input_dep_group_and_member
rules.resolve.resolve_transaction: DeadOutPointError
    + resolve.test_a_cell_may_be_input_and_dep_of_one_transaction
    - resolve.test_the_same_input_twice_is_dead
rules.resolve.verify_order_of: OutOfOrderError
    +- resolve.test_names_of_later_transactions_are_out_of_order
rules.resolve.dep_group_members: InvalidDepGroupError
    + resolve.test_groups_are_not_expanded_twice
    - resolve.test_a_dep_group_is_a_list_of_one_or_more_out_points
rules.resolve.resolve_cell_deps: TooManyDepsError
    +- resolve.test_2048_code_cells_fit
rules.resolve.resolve_transaction: InvalidHeaderDepError
    +- verify_block.test_the_parent_is_a_header_dep_but_the_block_itself_and_stale_blocks_are_not

# NervosDAO
rules.dao.transaction_fee: DaoOverflowError
    +- dao.test_fee_of_a_plain_transaction
rules.dao.capacity_moves: DaoOverflowError
    + dao.test_withdrawn_interest_leaves_the_savings
    - dao.test_interest_of_a_block_cannot_exceed_the_savings
rules.dao.dao_field_after: DaoZeroError
    + dao.test_issuance_of_a_block
    - dao.test_a_total_of_zero_divides_nothing
rules.dao.transaction_maximum_withdraw: DaoOutPointError
    + dao.test_withdrawal_gets_interest
    - dao.test_bad_out_points
rules.dao.transaction_maximum_withdraw: DaoOutPointError
    + dao.test_withdrawal_gets_interest
    - dao.test_same_block_earns_nothing
rules.dao.transaction_maximum_withdraw: DaoFormatError
    + dao.test_withdrawal_gets_interest
    - dao.test_bad_witnesses
rules.dao.transaction_maximum_withdraw: DaoHeaderError
    + dao.test_withdrawal_gets_interest
    - dao.test_unknown_headers

# scripts
script.code.CodeIndex: ScriptNotFound
    + script/code.test_data_hash_types_find_code_by_its_hash
    - script/code.test_code_that_no_cell_dep_has_is_not_found
script.code.CodeIndex: MultipleMatches
    + script/code.test_several_cells_may_have_the_type_hash_if_their_data_is_the_same
    - script/code.test_different_data_under_one_type_hash_is_ambiguous
script.code.vm_version_for: InvalidScriptHashType
    + script/code.test_vm_version
    - script/code.test_other_hash_types_neither_find_code_nor_a_vm
script.code.vm_version_for: InvalidVmVersion
    + script/code.test_vm_version
    - script/code.test_a_vm_that_is_not_active_yet
script.verifier.ScriptVerifier: ExceededMaximumCycles
    +- script/verifier.test_the_limit_is_exact
script.verifier.ScriptVerifier: ValidationFailure
    + script/verifier.test_an_exit_value_whose_low_byte_is_0_passes
    - script/verifier.test_exit_codes
script.verifier.ScriptVerifier: VmInternalError
    + script/verifier.test_a_script_that_exits_with_0_passes_at_its_price
    - script/verifier.test_a_system_call_that_nobody_answers
script.verifier.ScriptVerifier: TransactionScriptError
    + script/verifier.test_a_script_that_exits_with_0_passes_at_its_price
    - script/verifier.test_an_exit_code_is_the_low_byte_with_sign_and_names_its_page
script.type_id.verify_type_id: ValidationFailure
    + script/verifier.test_type_id_runs_without_code_and_costs_a_million
    - script/type_id.test_a_transaction_without_inputs_creates_nothing

# the genesis block
chainspec.genesis.verify_number_is_zero: NumberError
    + chainspec/genesis.test_good_genesis
    - chainspec/genesis.test_number
chainspec.genesis.verify_epoch_is_zero: EpochNumberMismatchError
    + chainspec/genesis.test_good_genesis
    - chainspec/genesis.test_epoch_number
chainspec.genesis.verify_no_parent: UnknownParentError
    + chainspec/genesis.test_good_genesis
    - chainspec/genesis.test_parent
chainspec.genesis.verify_cellbase: GenesisCellbaseError
    + chainspec/genesis.test_good_genesis
    - chainspec/genesis.test_cellbase
chainspec.genesis.verify_no_uncles: GenesisUnclesError
    + chainspec/genesis.test_good_genesis
    - chainspec/genesis.test_uncles
chainspec.genesis.verify_dao: GenesisDaoError
    + chainspec/genesis.test_good_genesis
    - chainspec/genesis.test_dao_field

# the chain root
rules.mmr.merge: MmrNumberError
    + mmr.test_merge
    - mmr.test_merge_wants_adjacent_blocks
rules.mmr.merge: MmrEpochError
    + mmr.test_merge_crosses_epochs_and_starts_at_genesis
    - mmr.test_merge_wants_adjacent_epochs
rules.mmr.merge: MmrDifficultyError
    + mmr.test_merge
    - mmr.test_total_difficulty_must_fit
rules.mmr.verify_digest: MmrNumberError MmrEpochError MmrDifficultyError
    + mmr.test_consistent_digests
    - mmr.test_inconsistent_digests

# what the chain writer remembers
ckb_node.chain.admission: ForeignGenesisError
    + chain/writer.test_known_blocks
    - chain/writer.test_another_genesis_block_is_refused
ckb_node.chain.admission: KnownInvalidBlockError
    +- chain/writer.test_an_invalid_block_is_remembered_and_changes_nothing
ckb_node.chain.admission: InvalidParentError
    +- chain/writer.test_all_that_stand_on_an_invalid_block_are_invalid
ckb_node.chain.writer: InvalidBranchError
    +- chain/writer.test_an_invalid_block_in_the_middle_leaves_what_is_below_it
"""


class Rule(NamedTuple):
    """One error of one rule with its two tests."""

    rule: str
    error: str
    passes: str
    fails: str


def _read(table: str) -> Iterator[Rule]:
    """A rule for each error of each line that is followed by its tests."""
    lines = [line for line in table.splitlines() if line and not line.startswith("#")]
    while lines:
        rule, _, errors = lines.pop(0).partition(": ")
        tests: dict[str, str] = {}
        while lines and lines[0].startswith(" "):
            signs, name = lines.pop(0).split()
            tests.update(dict.fromkeys(signs, name))
        for error in errors.split():
            yield Rule(rule, error, tests["+"], tests["-"])


RULES = tuple(_read(TABLE))
