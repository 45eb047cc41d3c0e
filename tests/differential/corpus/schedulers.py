"""Batching, queues and sequences."""

from tests.differential.texts import BATCHED, PLAIN, cases

OLDEST = "sequence_batching { oldest { max_candidate_sequences: 4 } "


def _control(more: str) -> str:
    return f'sequence_batching {{ control_input {{ name: "c" control {{ {more} }} }} }}'


def _state(more: str) -> str:
    return f"sequence_batching {{ state {{ {more} }} }}"


STATE = 'input_name: "i" output_name: "o" data_type: TYPE_FP32 dims: 4 '

CASES = [
    *cases(
        "batch",
        PLAIN,
        [
            ("negative", "max_batch_size: -1", "MBS-NEG"),
            ("zero", "max_batch_size: 0", ""),
            ("dynamic_of_zero", "dynamic_batching { }", ""),
            ("preferred_of_zero", "dynamic_batching { preferred_batch_size: 4 }", "DYN-PREF"),
            ("delay_of_zero", "dynamic_batching { max_queue_delay_microseconds: 100 }", ""),
        ],
    ),
    *cases(
        "dynamic",
        BATCHED,
        [
            ("plain", "dynamic_batching { }", ""),
            ("preferred", "dynamic_batching { preferred_batch_size: [ 2, 4, 8 ] }", ""),
            ("preferred_unsorted", "dynamic_batching { preferred_batch_size: [ 8, 2, 2 ] }", ""),
            ("preferred_too_large", "dynamic_batching { preferred_batch_size: [ 4, 9 ] }", "DYN-PREF"),
            ("preferred_zero", "dynamic_batching { preferred_batch_size: 0 }", "DYN-PREF"),
            ("preferred_negative", "dynamic_batching { preferred_batch_size: -1 }", "DYN-PREF"),
            ("delay", "dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }", ""),
            ("delay_negative", "dynamic_batching { max_queue_delay_microseconds: -1 }", "PARSE"),
            ("ordering", "dynamic_batching { preserve_ordering: true }", ""),
            ("levels", "dynamic_batching { priority_levels: 3 default_priority_level: 2 }", ""),
            ("levels_without_default", "dynamic_batching { priority_levels: 3 }", "PRIO"),
            ("default_above_levels", "dynamic_batching { priority_levels: 3 default_priority_level: 4 }", "PRIO"),
            ("default_without_levels", "dynamic_batching { default_priority_level: 1 }", ""),
            ("one_level", "dynamic_batching { priority_levels: 1 default_priority_level: 1 }", ""),
            (
                "ordering_of_levels",
                "dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }",
                "PRIO-ORDER",
            ),
            (
                "ordering_of_one_level",
                "dynamic_batching { preserve_ordering: true priority_levels: 1 default_priority_level: 1 }",
                "",
            ),
            (
                "policy_of_a_level",
                "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
                "priority_queue_policy { key: 2 value { max_queue_size: 3 } } }",
                "",
            ),
            (
                "policy_above_levels",
                "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
                "priority_queue_policy { key: 3 value { max_queue_size: 3 } } }",
                "PRIO",
            ),
            (
                "policy_of_level_0",
                "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
                "priority_queue_policy { key: 0 value { max_queue_size: 3 } } }",
                "PRIO",
            ),
            (
                "policy_without_levels",
                "dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 3 } } }",
                "",
            ),
            (
                "default_policy",
                "dynamic_batching { default_queue_policy { timeout_action: DELAY allow_timeout_override: true "
                "default_timeout_microseconds: 5 max_queue_size: 7 } }",
                "",
            ),
        ],
    ),
    *cases(
        "sequence",
        BATCHED,
        [
            ("plain", "sequence_batching { }", ""),
            ("direct", "sequence_batching { direct { } }", ""),
            ("direct_delay", "sequence_batching { direct { max_queue_delay_microseconds: 5 } }", ""),
            ("slots", "sequence_batching { direct { minimum_slot_utilization: 0.5 } }", ""),
            ("slots_above_1", "sequence_batching { direct { minimum_slot_utilization: 1.5 } }", "SEQ-DIRECT"),
            ("slots_below_0", "sequence_batching { direct { minimum_slot_utilization: -0.5 } }", "SEQ-DIRECT"),
            ("slots_nan", "sequence_batching { direct { minimum_slot_utilization: nan } }", ""),
            ("oldest", OLDEST + "}", ""),
            ("oldest_empty", "sequence_batching { oldest { } }", ""),
            ("candidates_negative", "sequence_batching { oldest { max_candidate_sequences: -1 } }", ""),
            (
                "oldest_preferred",
                "sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: [ 4, 8 ] } }",
                "",
            ),
            (
                "oldest_preferred_too_large",
                "sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: 9 } }",
                "SEQ-OLDEST",
            ),
            (
                "oldest_preferred_zero",
                "sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: 0 } }",
                "SEQ-OLDEST",
            ),
            ("idle", "sequence_batching { max_sequence_idle_microseconds: 1 }", ""),
            ("iterative", "sequence_batching { iterative_sequence: true }", ""),
            ("cached", "sequence_batching { } response_cache { enable: true }", "CACHE"),
        ],
    ),
    *cases("sequence_unbatched", PLAIN, [("plain", "sequence_batching { }", ""), ("oldest", OLDEST + "}", "")]),
    *cases(
        "control",
        BATCHED,
        [
            ("start", _control("kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ]"), ""),
            ("start_float", _control("kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1.5 ]"), ""),
            ("start_bool", _control("kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ]"), ""),
            ("end", _control("kind: CONTROL_SEQUENCE_END int32_false_true: [ 1, 0 ]"), ""),
            ("ready", _control("kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 0 ]"), ""),
            ("corrid", _control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64"), ""),
            ("corrid_string", _control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING"), ""),
            ("corrid_float", _control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32"), "SEQ-CORRID"),
            ("corrid_without_type", _control("kind: CONTROL_SEQUENCE_CORRID"), "SEQ-CORRID"),
            (
                "corrid_with_values",
                _control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ]"),
                "SEQ-CORRID",
            ),
            ("no_values", _control("kind: CONTROL_SEQUENCE_START"), "SEQ-VALUES"),
            ("one_value", _control("kind: CONTROL_SEQUENCE_START int32_false_true: 1"), "SEQ-VALUES"),
            ("three_values", _control("kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1, 2 ]"), "SEQ-VALUES"),
            (
                "two_lists",
                _control("kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] fp32_false_true: [ 0, 1 ]"),
                "SEQ-VALUES",
            ),
            (
                "values_and_type",
                _control("kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] data_type: TYPE_INT32"),
                "",
            ),
            ("none", 'sequence_batching { control_input { name: "c" } }', ""),
            ("nothing_said", _control(""), "SEQ-VALUES"),
            (
                "nameless",
                "sequence_batching { control_input { control "
                "{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }",
                "SEQ",
            ),
            (
                "start_twice",
                "sequence_batching { "
                + 'control_input { name: "c" control { int32_false_true: [ 0, 1 ] } } '
                + 'control_input { name: "d" control { int32_false_true: [ 0, 1 ] } } }',
                "SEQ-KIND",
            ),
            (
                "name_twice",
                "sequence_batching { "
                + 'control_input { name: "c" control { int32_false_true: [ 0, 1 ] } } '
                + 'control_input { name: "c" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } } }',
                "SEQ",
            ),
            (
                "of_an_input",
                'sequence_batching { control_input { name: "x" control { int32_false_true: [ 0, 1 ] } } }',
                "",
            ),
            (
                "two_of_a_tensor",
                'sequence_batching { control_input { name: "c" control { int32_false_true: [ 0, 1 ] } '
                "control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } } }",
                "",
            ),
            ("unknown_kind", _control("kind: 9 int32_false_true: [ 0, 1 ]"), ""),
        ],
    ),
    *cases(
        "state",
        BATCHED,
        [
            ("plain", _state(STATE), ""),
            ("empty", _state(""), ""),
            ("zero", _state(STATE + 'initial_state { name: "s" data_type: TYPE_FP32 dims: 4 zero_data: true }'), ""),
            (
                "two_initial",
                _state(STATE + 2 * 'initial_state { name: "s" data_type: TYPE_FP32 dims: 4 zero_data: true }'),
                "SEQ-INIT",
            ),
            (
                "other_type",
                _state(STATE + 'initial_state { name: "s" data_type: TYPE_INT32 dims: 4 zero_data: true }'),
                "SEQ-INIT",
            ),
            (
                "other_dims",
                _state(STATE + 'initial_state { name: "s" data_type: TYPE_FP32 dims: 5 zero_data: true }'),
                "SEQ-INIT",
            ),
            ("no_data", _state(STATE + 'initial_state { name: "s" data_type: TYPE_FP32 dims: 4 }'), "SEQ-INIT"),
            (
                "nameless",
                _state(STATE + "initial_state { data_type: TYPE_FP32 dims: 4 zero_data: true }"),
                "SEQ-INIT",
            ),
            (
                "missing_file",
                _state(STATE + 'initial_state { name: "s" data_type: TYPE_FP32 dims: 4 data_file: "f" }'),
                "SEQ-INIT",
            ),
            (
                "variable_initial",
                _state(
                    'input_name: "i" output_name: "o" data_type: TYPE_FP32 dims: -1 '
                    'initial_state { name: "s" data_type: TYPE_FP32 dims: -1 zero_data: true }'
                ),
                "SEQ-INIT",
            ),
            ("same_buffer", _state(STATE + "use_same_buffer_for_input_output: true"), ""),
            ("growable", _state(STATE + "use_growable_memory: true use_same_buffer_for_input_output: true"), ""),
            ("growable_alone", _state(STATE + "use_growable_memory: true"), ""),
        ],
    ),
    *cases(
        "cache",
        BATCHED,
        [
            ("on", "response_cache { enable: true }", ""),
            ("off", "response_cache { }", ""),
            ("decoupled", "response_cache { enable: true } model_transaction_policy { decoupled: true }", "CACHE"),
            ("decoupled_off", "response_cache { enable: false } model_transaction_policy { decoupled: true }", ""),
            ("dynamic", "response_cache { enable: true } dynamic_batching { }", ""),
        ],
    ),
]
