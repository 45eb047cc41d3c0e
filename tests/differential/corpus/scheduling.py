"""Dynamic batching, sequences, ensembles, warm-up and labels."""

from collections.abc import Iterable, Mapping

from tests.differential.case import Case
from tests.differential.verdicts import LIGHT

X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } '
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } '
BATCHED = f'backend: "{LIGHT}" max_batch_size: 4 '
NET = BATCHED + X + Y
ALONE = f'backend: "{LIGHT}" ' + X + Y
FILES: Mapping[str, bytes | str] = {
    "warmup/x": bytes(12),
    "warmup/less": bytes(11),
    "warmup/more": bytes(13),
    "warmup/folder/x": "",
    "warmup/words": b"\2\0\0\0ab\0\0\0\0",
    "initial_state/x": bytes(12),
    "initial_state/less": bytes(11),
    "initial_state/folder/x": "",
    "labels.txt": "cat\ndog\n",
    "folder/labels.txt": "cat",
}


def _case(name: str, config: str, *errors: str, alone: bool = False, **more: Case) -> Case:
    return Case(name, config, FILES, errors=errors, alone=alone, others=more)


def _within(field: str, base: str, texts: Mapping[str, str | tuple[str, ...]]) -> Iterable[Case]:
    """Yield a case for each text in a field: its name, and the text, with the codes that are found."""
    for name, told in texts.items():
        text, *errors = (told,) if isinstance(told, str) else told
        yield _case(name, f"{base}{field} {{ {text} }}", *errors)


DELAY = "default_timeout_microseconds: 1 timeout_action: DELAY"
BATCHING = (
    *_within(
        "dynamic_batching",
        NET,
        {
            "dyn": "",
            "dyn_preferred": "preferred_batch_size: [ 1, 4 ]",
            "dyn_zero": ("preferred_batch_size: [ 1, 0 ]", "DYN-PREF"),
            "dyn_negative": ("preferred_batch_size: -1", "DYN-PREF"),
            "dyn_above": ("preferred_batch_size: 5", "DYN-PREF"),
            "prio": "priority_levels: 2 default_priority_level: 2",
            "prio_no_default": ("priority_levels: 2", "PRIO"),
            "prio_default_above": ("priority_levels: 2 default_priority_level: 3", "PRIO"),
            "prio_no_levels": "default_priority_level: 3 priority_queue_policy { key: 9 value { } }",
            "prio_policy": "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value { } }",
            "prio_policy_0": (
                "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 0 value { } }",
                "PRIO",
            ),
            "prio_policy_above": (
                "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value { } }",
                "PRIO",
            ),
            "order": "preserve_ordering: true priority_levels: 1 default_priority_level: 1",
            "order_prio": ("preserve_ordering: true priority_levels: 2 default_priority_level: 1", "PRIO-ORDER"),
            "order_off_prio": "preserve_ordering: false priority_levels: 2 default_priority_level: 1",
            "order_delay": (f"preserve_ordering: true default_queue_policy {{ {DELAY} }}", "PRIO-ORDER"),
            "order_delay_0": "preserve_ordering: true default_queue_policy { timeout_action: DELAY }",
            "order_delay_one": (
                f"preserve_ordering: true priority_queue_policy {{ key: 7 value {{ {DELAY} }} }}",
                "PRIO-ORDER",
            ),
            "delay": f"default_queue_policy {{ {DELAY} max_queue_size: 1 allow_timeout_override: true }}",
        },
    ),
    _case("dyn_alone", ALONE + "dynamic_batching { }"),
    _case("dyn_alone_1", ALONE + "dynamic_batching { preferred_batch_size: 1 }", "DYN-PREF"),
    _case(
        "lib", NET + 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "/no/such.so" } }', "DYN-LIB"
    ),
    _case("lib_empty", NET + 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { } }', "DYN-LIB"),
    Case("lib_text", NET, {"batchstrategy.so": "text"}, errors=("DYN-LIB",)),
    Case("lib_of_version", NET, {"1/batchstrategy.so": "text"}, errors=("DYN-LIB",)),
    Case("lib_of_other_version", NET, {"1/batchstrategy.so": "text"}, versions=("1", "2")),
)


def _flag(more: str, kind: str = "CONTROL_SEQUENCE_START") -> str:
    return f'control_input {{ name: "c" control {{ kind: {kind} {more} }} }}'


def _state(initial: str, dims: str = "[ 3 ]", data_type: str = "TYPE_FP32") -> str:
    state = f'input_name: "i" output_name: "o" data_type: {data_type} dims: {dims}'
    return f"state {{ {state} initial_state {{ {initial} }} }}"


FIRST = 'name: "n" data_type: TYPE_FP32 dims: [ 3 ] '
CORRID = "CONTROL_SEQUENCE_CORRID"
SEQUENCES = (
    *_within(
        "sequence_batching",
        NET,
        {
            "seq": "",
            "seq_iterative": "iterative_sequence: true",
            "seq_int": _flag("int32_false_true: [ 0, 1 ]"),
            "seq_fp": _flag("fp32_false_true: [ 0, 1 ]"),
            "seq_bool": _flag("bool_false_true: [ false, true ]"),
            "seq_no_name": ("control_input { }", "SEQ"),
            "seq_no_controls": 'control_input { name: "a" }',
            "seq_two_names": ('control_input [ { name: "a" }, { name: "a" } ]', "SEQ"),
            "seq_no_list": (_flag(""), "SEQ-VALUES"),
            "seq_two_lists": (_flag("fp32_false_true: [ 0, 1 ] int32_false_true: [ 0, 1 ]"), "SEQ-VALUES"),
            "seq_one_value": (_flag("fp32_false_true: 0"), "SEQ-VALUES"),
            "seq_three_values": (_flag("int32_false_true: [ 0, 1, 2 ]"), "SEQ-VALUES"),
            "seq_two_kinds": (
                f'{_flag("int32_false_true: [ 0, 1 ]")} control_input {{ name: "d" control {{ '
                "int32_false_true: [ 0, 1 ] } }",
                "SEQ-KIND",
            ),
            "seq_unknown_kind": _flag("", "77"),
            "seq_id": _flag("data_type: TYPE_UINT64", CORRID),
            "seq_id_text": _flag("data_type: TYPE_STRING", CORRID),
            "seq_id_untyped": (_flag("", CORRID), "SEQ-CORRID"),
            "seq_id_fp": (_flag("data_type: TYPE_FP32", CORRID), "SEQ-CORRID"),
            "seq_id_list": (_flag("data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ]", CORRID), "SEQ-CORRID"),
            "seq_oldest": "oldest { max_candidate_sequences: 8 preferred_batch_size: [ 1, 4 ] }",
            "seq_oldest_above": ("oldest { preferred_batch_size: 5 }", "SEQ-OLDEST"),
            "seq_oldest_zero": ("oldest { preferred_batch_size: 0 }", "SEQ-OLDEST"),
            "seq_direct": "direct { minimum_slot_utilization: 1 }",
            "seq_direct_above": ("direct { minimum_slot_utilization: 1.1 }", "SEQ-DIRECT"),
            "seq_direct_below": ("direct { minimum_slot_utilization: -0.1 }", "SEQ-DIRECT"),
            "seq_direct_nan": "direct { minimum_slot_utilization: nan }",
            "state_zero": _state(FIRST + "zero_data: true"),
            "state_zero_false": _state(FIRST + "zero_data: false"),
            "state_file": _state(FIRST + 'data_file: "x"'),
            "state_absolute": _state(FIRST + 'data_file: "/x"'),
            "state_any": _state(FIRST + "zero_data: true", "[ -1 ]"),
            "state_twice": "state [ { input_name: 'i' }, { input_name: 'i' } ]",
            "state_grows": "state { input_name: 'i' use_growable_memory: true }",
        },
    ),
    _case("seq_alone_oldest", ALONE + "sequence_batching { oldest { preferred_batch_size: 1 } }", "SEQ-OLDEST"),
    _case(
        "seq_lib",
        NET + 'sequence_batching { } parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "x" } }',
        "SEQ-LIB",
    ),
    # The server dies of these, or may.
    *(
        _case(f"state_{name}", f"{NET}sequence_batching {{ {text} }}", "SEQ-INIT", alone=True)
        for name, text in {
            "no_data": _state(FIRST),
            "no_name": _state("data_type: TYPE_FP32 dims: [ 3 ] zero_data: true"),
            "type": _state('name: "n" data_type: TYPE_FP64 dims: [ 3 ] zero_data: true'),
            "rank": _state('name: "n" data_type: TYPE_FP32 dims: [ 3, 1 ] zero_data: true'),
            "size": _state('name: "n" data_type: TYPE_FP32 dims: [ 4 ] zero_data: true'),
            "variable": _state('name: "n" data_type: TYPE_FP32 dims: [ -1 ] zero_data: true', "[ -1 ]"),
            "negative": _state('name: "n" data_type: TYPE_FP32 dims: [ -2 ] zero_data: true', "[ -2 ]"),
            "no_file": _state(FIRST + 'data_file: "y"'),
            "less": _state(FIRST + 'data_file: "less"'),
            "folder": _state(FIRST + 'data_file: "folder"'),
        }.items()
    ),
)


def warmed(value: str, base: str = NET, name: str = "x", more: str = "batch_size: 1") -> str:
    """Return a configuration with a warm-up request of one input."""
    return f'{base}model_warmup {{ name: "w" {more} inputs {{ key: "{name}" value {{ {value} }} }} }}'


GIVEN = "data_type: TYPE_FP32 dims: [ 3 ] "
ZERO = GIVEN + "zero_data: true "
ANY = BATCHED + X.replace("[ 3 ]", "[ -1 ]") + Y
WORDS = ANY.replace("TYPE_FP32", "TYPE_STRING", 1)
PASSIVE = "instance_group { kind: KIND_CPU passive: true } "
WARMUP = (
    *(
        _case(f"warm_{name}", config, *errors)
        for name, (config, *errors) in {
            "zero": (warmed(ZERO),),
            "zero_false": (warmed(GIVEN + "zero_data: false"),),
            "random": (warmed(GIVEN + "random_data: true"),),
            "file": (warmed(GIVEN + 'input_data_file: "x"'),),
            "file_absolute": (warmed(GIVEN + 'input_data_file: "/x"'),),
            "file_more": (warmed(GIVEN + 'input_data_file: "more"'),),
            "file_less": (warmed(GIVEN + 'input_data_file: "less"'), "WARM"),
            "file_missing": (warmed(GIVEN + 'input_data_file: "none"'), "WARM"),
            "file_slash": (warmed(GIVEN + 'input_data_file: "x/"'), "WARM"),
            "no_data": (warmed(GIVEN), "WARM"),
            "no_data_no_batch": (warmed(GIVEN, more=""),),
            "no_data_passive": (warmed(GIVEN, NET + PASSIVE),),
            "no_data_half_passive": (warmed(GIVEN, NET + PASSIVE + "instance_group { kind: KIND_CPU }"), "WARM"),
            "variable": (warmed("data_type: TYPE_FP32 dims: [ -1 ] zero_data: true", ANY), "WARM"),
            "any": (warmed(ZERO, ANY),),
            "none": (warmed("data_type: TYPE_FP32 dims: [ 0 ] zero_data: true", ANY),),
            "negative": (warmed("data_type: TYPE_FP32 dims: [ -2 ] zero_data: true", ANY), "WARM-INPUT"),
            "size": (warmed("data_type: TYPE_FP32 dims: [ 4 ] zero_data: true"), "WARM-INPUT"),
            "rank": (warmed("data_type: TYPE_FP32 dims: [ 1, 3 ] zero_data: true"), "WARM-INPUT"),
            "type": (warmed("data_type: TYPE_FP16 dims: [ 3 ] zero_data: true"), "WARM-INPUT"),
            "other_input": (warmed(ZERO, name="z"), "WARM-INPUT"),
            "no_input": (NET + "model_warmup { batch_size: 1 }", "WARM-INPUT"),
            "no_input_optional": (
                f"{BATCHED}{X.replace('dims', 'optional: true dims')}{Y}model_warmup {{ batch_size: 1 }}",
            ),
            "control_too": (
                warmed(ZERO) + ' model_warmup { batch_size: 1 inputs { key: "c" value { dims: 1 zero_data: true } } '
                f'inputs {{ key: "x" value {{ {ZERO} }} }} }}',
            ),
            "words": (warmed('data_type: TYPE_STRING dims: [ 2 ] input_data_file: "words"', WORDS),),
            "words_zero": (warmed("data_type: TYPE_STRING dims: [ 2 ] zero_data: true", WORDS),),
            "words_less": (warmed('data_type: TYPE_STRING dims: [ 3 ] input_data_file: "words"', WORDS), "WARM"),
            "words_more": (warmed('data_type: TYPE_STRING dims: [ 1 ] input_data_file: "words"', WORDS), "WARM"),
            "words_cut": (warmed('data_type: TYPE_STRING dims: [ 1 ] input_data_file: "less"', WORDS), "WARM"),
            "large": (warmed(ZERO, more="batch_size: 9"),),
        }.items()
    ),
    _case("warm_folder", warmed(GIVEN + 'input_data_file: "folder"'), "WARM", alone=True),
    _case(
        "warm_words_negative",
        warmed("data_type: TYPE_STRING dims: [ -2 ] zero_data: true", WORDS),
        "WARM-INPUT",
        alone=True,
    ),
)


def _labelled(file: str) -> str:
    return NET.replace('name: "y"', f'name: "y" label_filename: "{file}"')


LABELS = (
    _case("label", _labelled("labels.txt")),
    _case("label_inside", _labelled("folder/labels.txt")),
    _case("label_absolute", _labelled("/labels.txt")),
    _case("label_over_missing", _labelled("none/../labels.txt"), "LABEL"),
    _case("label_missing", _labelled("none.txt"), "LABEL"),
    _case("label_slash", _labelled("labels.txt/"), "LABEL"),
    _case("label_folder", _labelled("folder"), "LABEL", alone=True),
    _case("label_twice", _labelled("labels.txt") + Y.replace("dims", 'label_filename: "labels.txt" dims'), "LABEL-DUP"),
)

A = 'input { name: "A" data_type: TYPE_FP32 dims: [ 3 ] } '
B = 'output { name: "B" data_type: TYPE_FP32 dims: [ 3 ] } '


def step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str], version: str = "-1") -> str:
    """Return a step of an ensemble."""
    maps = [f'input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()]
    maps += [f'output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()]
    asked = f"model_version: {version} " if version else ""
    return f'step {{ model_name: "{model}" {asked}{" ".join(maps)} }} '


def joined(*steps: str, tensors: str = A + B, more: str = "", batch: int = 4) -> str:
    """Return the configuration of an ensemble with some steps."""
    scheduling = f"ensemble_scheduling {{ {''.join(steps)}}} "
    return f'platform: "ensemble" max_batch_size: {batch} {tensors}{scheduling}{more}'


def _ensemble_case(name: str, config: str, *errors: str, member: str = NET, versions: tuple[str, ...] = ("1",)) -> Case:
    """Return an ensemble, whose models are named ``NAME_net`` and ``NAME_two``, the same and decoupled."""
    others = {
        f"{name}_net": Case(f"{name}_net", member, versions=versions),
        f"{name}_two": Case(f"{name}_two", NET + "model_transaction_policy { decoupled: true }"),
    }
    return Case(name, config.replace("NET", f"{name}_net").replace("TWO", f"{name}_two"), errors=errors, others=others)


ONE = step("NET", {"x": "A"}, {"y": "B"})
TWO_WAYS = (
    step("TWO", {"x": "A"}, {"y": "s"}),
    step("TWO", {"x": "A"}, {"y": "t"}),
)
PAIR = NET + X.replace('"x"', '"z"')
ENSEMBLES = (
    _ensemble_case("ens", joined(ONE)),
    _ensemble_case("ens_no_platform", joined(ONE).replace('platform: "ensemble"', ""), "ENS"),
    _ensemble_case("ens_backend", joined(ONE, more=f'backend: "{LIGHT}"'), "ENS"),
    _ensemble_case("ens_file", joined(ONE, more='default_model_filename: "model.onnx"'), "ENS"),
    _ensemble_case("ens_other_file", joined(ONE, more='default_model_filename: "net.onnx"')),
    _ensemble_case("ens_group", joined(ONE, more="instance_group { }"), "ENS"),
    _ensemble_case("ens_optimization", joined(ONE, more="optimization { }"), "ENS"),
    _ensemble_case("ens_warmup", joined(ONE, more="model_warmup { }"), "ENS"),
    _case("ens_without", 'platform: "ensemble" ' + A + B, "ENS"),
    _case("ens_no_step", joined(), "ENS-STEP"),
    _ensemble_case("ens_no_model", joined(ONE.replace('model_name: "NET"', "")), "ENS-STEP"),
    _ensemble_case("ens_no_input_map", joined(step("NET", {}, {"y": "B"})), "ENS-STEP"),
    _ensemble_case("ens_no_output_map", joined(step("NET", {"x": "A"}, {})), "ENS-STEP"),
    _ensemble_case("ens_input_unused", joined(ONE, tensors=A + B + A.replace('"A"', '"C"')), "ENS-FLOW"),
    _ensemble_case("ens_output_unknown", joined(ONE, tensors=A + B + B.replace('"B"', '"C"')), "ENS-FLOW"),
    _ensemble_case("ens_output_is_input", joined(ONE, tensors=A + B + B.replace('"B"', '"A"'))),
    _ensemble_case("ens_output_unwritten", joined(step("NET", {"x": "Z"}, {"y": "B"}), tensors=B), "ENS-FLOW"),
    _ensemble_case("ens_tensor_unused", joined(ONE, step("NET", {"x": "A"}, {"y": "t"})), "ENS-FLOW"),
    _ensemble_case("ens_twice", joined(ONE, ONE), "ENS-FLOW"),
    _ensemble_case("ens_loop", joined(ONE, step("NET", {"x": "s"}, {"y": "t"}), step("NET", {"x": "t"}, {"y": "s"})),
                   "ENS-FLOW"),
    _ensemble_case("ens_chain", joined(step("NET", {"x": "t"}, {"y": "B"}), step("NET", {"x": "A"}, {"y": "t"}))),
    _ensemble_case("ens_version_0", joined(step("NET", {"x": "A"}, {"y": "B"}, "0")), "ENS-VER"),
    _ensemble_case("ens_version_absent", joined(step("NET", {"x": "A"}, {"y": "B"}, "")), "ENS-VER"),
    _ensemble_case("ens_version_2", joined(step("NET", {"x": "A"}, {"y": "B"}, "2")), "ENS-VER"),
    _ensemble_case("ens_version_1", joined(step("NET", {"x": "A"}, {"y": "B"}, "1"))),
    _ensemble_case("ens_version_old", joined(step("NET", {"x": "A"}, {"y": "B"}, "1")), "ENS-VER",
                   versions=("1", "2")),
    _ensemble_case("ens_version_all", joined(step("NET", {"x": "A"}, {"y": "B"}, "1")),
                   member=NET + "version_policy { all { } }", versions=("1", "2")),
    _ensemble_case("ens_unknown", joined(ONE.replace("NET", "nobody")), "ENS-MODEL"),
    _ensemble_case("ens_refused", joined(ONE), "ENS-MODEL", member=warmed(GIVEN)),
    _ensemble_case("ens_batch", joined(ONE, batch=5), "ENS-MBS"),
    _ensemble_case("ens_batch_less", joined(ONE, batch=3)),
    _ensemble_case("ens_batch_alone", joined(ONE, batch=5), member=ALONE),
    _ensemble_case("ens_batch_first", joined(ONE), member=ALONE.replace("[ 3 ]", "[ -1, 3 ]")),
    _ensemble_case("ens_no_input", joined(step("NET", {"q": "A"}, {"y": "B"})), "ENS-MAP"),
    _ensemble_case("ens_no_output", joined(step("NET", {"x": "A"}, {"q": "B"})), "ENS-MAP"),
    _ensemble_case("ens_not_mapped", joined(ONE), "ENS-MAP", member=PAIR),
    _ensemble_case("ens_not_mapped_optional", joined(ONE), member=PAIR.replace('"z"', '"z" optional: true')),
    _ensemble_case("ens_both_mapped", joined(step("NET", {"x": "A", "z": "A"}, {"y": "B"})), member=PAIR),
    _ensemble_case("ens_two_outputs", joined(ONE), "ENS-MAP", member=NET + Y),
    _ensemble_case("ens_type", joined(ONE), "ENS-TYPE", member=NET.replace("FP32", "FP16", 1)),
    _ensemble_case("ens_shape", joined(ONE), "ENS-TYPE", member=NET.replace("[ 3 ]", "[ 4 ]", 1)),
    _ensemble_case("ens_rank", joined(ONE), "ENS-TYPE", member=NET.replace("[ 3 ]", "[ 1, 3 ]", 1)),
    _ensemble_case("ens_any", joined(ONE), member=NET.replace("[ 3 ]", "[ -1 ]")),
    _ensemble_case("ens_reshape", joined(ONE, tensors=A.replace("[ 3 ]", "[ 1, 3 ] reshape { shape: 3 }") + B)),
    _ensemble_case("ens_reshaped_net", joined(ONE), "ENS-TYPE",
                   member=NET.replace("[ 3 ]", "[ 1, 3 ] reshape { shape: 3 }", 1)),
    _ensemble_case("ens_decoupled", joined(ONE.replace("NET", "TWO"))),
    _ensemble_case("ens_decoupled_cache", joined(ONE.replace("NET", "TWO"), more="response_cache { enable: true }"),
                   "ENS-CACHE"),
    _ensemble_case("ens_cache", joined(ONE, more="response_cache { enable: true }")),
    _ensemble_case("ens_mixed", joined(*TWO_WAYS, step("NET", {"x": "s", "z": "t"}, {"y": "B"})), "ENS-DECOUP",
                   member=PAIR),
    _ensemble_case("ens_mixed_outputs",
                   joined(*TWO_WAYS, tensors=A + B.replace('"B"', '"s"') + B.replace('"B"', '"t"')), "ENS-DECOUP"),
    _case("ens_itself", joined(step("ens_itself", {"A": "A"}, {"B": "B"})), "ENS-MODEL"),
    Case("ens_without_version", joined(step("ens_wv_net", {"x": "A"}, {"y": "B"})), versions=(),
         errors=("VDIR-ENS",), others={"ens_wv_net": Case("ens_wv_net", NET)}),
    Case("ens_circle", joined(step("ens_circle_two", {"A": "A"}, {"B": "B"})), errors=("ENS-MODEL",),
         others={"ens_circle_two": Case("ens_circle_two", joined(step("ens_circle", {"A": "A"}, {"B": "B"})))}),
    Case("ens_before_circle", joined(step("circle_one", {"A": "A"}, {"B": "B"})), errors=("ENS-MODEL",), alone=True,
         others={
             "circle_one": Case("circle_one", joined(step("circle_two", {"A": "A"}, {"B": "B"}))),
             "circle_two": Case("circle_two", joined(step("circle_one", {"A": "A"}, {"B": "B"}))),
         }),
)  # fmt: skip
CASES = (*BATCHING, *SEQUENCES, *WARMUP, *LABELS, *ENSEMBLES)
