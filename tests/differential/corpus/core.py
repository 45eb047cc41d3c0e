"""What the core decides of one configuration: its text, its backend, its tensors, its instances and its versions."""

from tests.differential.case import Case

X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'
LIGHT = 'backend: "light"\n'
PLAN = f'{LIGHT}platform: "tensorrt_plan"\n'
FILES_WITHOUT_BACKEND = ("model.plan/x", "model.pt/x", "model.graphdef/x", "weights.bin")
LIBRARY = "libtriton_light.so"


def _rows(prefix: str, before: str, rows: dict[str, tuple[str, str]]) -> list[Case]:
    return [
        Case(f"core_{prefix}_{name}", before + text, errors=tuple(codes.split()))
        for name, (text, codes) in rows.items()
    ]


TEXTS = {
    "minus_apart": ("max_batch_size: - 0", ""),
    "minus_and_comment": ("max_batch_size: - # less\n 1", "MBS-NEG"),
    "exponent": ("max_batch_size: 1e1", "PARSE"),
    "letter_behind": ("max_batch_size: 8x", "PARSE"),
    "hexadecimal_without_digits": ("max_batch_size: 0x", "PARSE"),
    "zero_twice": ("max_batch_size: 0 max_batch_size: 8", ""),
    "false_twice": ("response_cache { enable: false enable: false }", ""),
    "message_twice": ("response_cache { } response_cache { }", "PARSE"),
    "key_twice": ('metric_tags { key: "" key: "a" }', "PARSE"),
    "unknown_escape": (r'metric_tags { value: "\q" }', "PARSE"),
    "escape_in_capitals": (r'metric_tags { value: "\X41" }', "PARSE"),
    "escape_above_unicode": (r'metric_tags { value: "\U00110000" }', ""),
    "escape_far_above_unicode": (r'metric_tags { value: "\U00200000" }', "PARSE"),
    "escape_too_short": (r'metric_tags { value: "\u12" }', "PARSE"),
    "octal_above_a_byte": (r'parameters { key: "a" value { string_value: "\777" } }', ""),
    "bytes_that_are_no_text": ('parameters { key: "a" value { string_value: "\udcff" } }', ""),
    "bytes_in_a_comment": ("# \udcff", ""),
    "bytes_outside": ("\udcff", "PARSE"),
    "control_in_a_string": ('metric_tags { value: "\x01\x7f" }', ""),
    "nul_in_a_comment": ("# \0", "PARSE"),
    "nul_in_a_string": ('metric_tags { value: "\0" }', "PARSE"),
    "point_behind_a_name": ("name.5: 1", "PARSE"),
    "space_before_colon": ("max_batch_size : 1", ""),
    "nothing_between": ('max_batch_size:1default_model_filename:"a"', "PARSE"),
    "list_of_lists": ("instance_group [ [ ] ]", "PARSE"),
    "trailing_comma": ("instance_group [ { }, ]", "PARSE"),
    "driver_s": ('parameters { key: "m" value { string_value: "{\'a\': "driver\'s"}" } }', "PARSE"),
}
TENSORS = {
    "overflow": ("dims: [ 4611686018427387904, 4 ] reshape { shape: [ 4, 4611686018427387904 ] }", ""),
    "overflow_to_zero": ("dims: 1 reshape { shape: [ 4294967296, 4294967296 ] }", ""),
    "pieces": ("dims: [ 2, 3, -1, 4, -1 ] reshape { shape: [ 6, -1, 2, 2, -1, 1 ] }", ""),
    "pieces_swapped": ("dims: [ 2, -1, 3 ] reshape { shape: [ 3, -1, 2 ] }", "RESHAPE"),
    "format_by_number": ("dims: 4 format: 9", ""),
}

INSTANCES = {
    "kind_negative": ("kind: -1", "IG-KIND"),
    "gpu_negative": ("gpus: -1", "IG-AUTO"),
    "empty_profile": ('kind: KIND_CPU profile: ""', "PROFILE"),
    "secondary_by_number": ("kind: KIND_CPU secondary_devices { kind: 9 device_id: -1 }", ""),
    "resources_alike": ('kind: KIND_CPU rate_limiter { resources { name: "R" } resources { name: "R" } }', ""),
}
PROFILES = {
    "padded": ('" 2"', ""),
    "signed": ('"+3"', ""),
    "with_text": ('"1a"', ""),
    "hexadecimal": ('"0x1"', ""),
    "minus_zero": ('"-0"', ""),
    "largest": ('"2147483647"', ""),
    "smallest": ('"-2147483648"', "PROFILE"),
    "space": ('" "', "PROFILE"),
}
RUNTIMES = {
    "own": (f'runtime: "{LIBRARY}"', ""),
    "absolute": (f'runtime: "/{LIBRARY}"', ""),
    "outside": (f'runtime: "../{LIBRARY}"', "BACKEND"),
    "folder": ('runtime: "1"', "BACKEND"),
    "rubbish": ('runtime: "rubbish.so"', "BACKEND"),
    "python": ('runtime: "model.py"', "BACKEND"),
}
CACHES = {
    "sequences": ("response_cache { enable: true } sequence_batching { }", "CACHE"),
    "decoupled": ("response_cache { enable: true } model_transaction_policy { decoupled: true }", "CACHE"),
    "off_and_decoupled": ("response_cache { } model_transaction_policy { decoupled: true }", ""),
    "alone": ("response_cache { enable: true }", ""),
}
PLATFORMS = {
    "graph_and_saved_model": ('platform: "tensorflow_graphdef" default_model_filename: "model.savedmodel"', ""),
    "of_the_file": ('default_model_filename: "model.plan"', ""),
    "of_no_file": ('default_model_filename: "model.bin"', "PLAT"),
    "of_the_later_file": ('default_model_filename: "model.pt2"', "PLAT"),
    "libtorch": ('platform: "libtorch"', "PLAT"),
    "python_runtime": ('backend: "light" platform: "pytorch_libtorch"', ""),
}

CASES = [
    *_rows("text", LIGHT, TEXTS),
    *[
        Case(
            f"core_tensor_{name}",
            f'{LIGHT}input {{ name: "x" data_type: TYPE_FP32 {text} }}',
            errors=tuple(codes.split()),
        )
        for name, (text, codes) in TENSORS.items()
    ],
    *[
        Case(f"core_instance_{name}", f"{LIGHT}instance_group {{ {text} }}", errors=tuple(codes.split()))
        for name, (text, codes) in INSTANCES.items()
    ],
    *[
        Case(
            f"core_profile_{name}",
            f"{PLAN}instance_group {{ kind: KIND_CPU profile: {text} }}",
            errors=tuple(codes.split()),
        )
        for name, (text, codes) in PROFILES.items()
    ],
    Case(
        "core_profile_too_large",
        f'{PLAN}instance_group {{ kind: KIND_CPU profile: "99999999999" }}',
        errors=("PROFILE-SIZE",),
        alone=True,
    ),
    *[
        Case(f"core_runtime_{name}", LIGHT + text, {"rubbish.so": b"\x7fEL"}, errors=tuple(codes.split()))
        for name, (text, codes) in RUNTIMES.items()
    ],
    *_rows("cache", LIGHT, CACHES),
    *_rows("platform", "", PLATFORMS),
    Case("core_policy_missing_twice", f"{LIGHT}version_policy {{ specific {{ versions: [ 7, 7 ] }} }}"),
    Case("core_policy_none_twice", f"{LIGHT}version_policy {{ specific {{ versions: [ 7, 7 ] }} }}", versions=("x",)),
    Case(
        "core_policy_none_once",
        f"{LIGHT}version_policy {{ specific {{ versions: 7 }} }}",
        versions=("x",),
        errors=("VDIR-NONE",),
    ),
    Case(
        "core_policy_ensemble_twice",
        'platform: "ensemble" version_policy { specific { versions: [ 7, 7 ] } } '
        'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 } '
        'ensemble_scheduling { step { model_name: "core_policy_member" model_version: -1 '
        'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }',
        versions=("x",),
        others={"core_policy_member": Case("core_policy_member", LIGHT + X + Y)},
    ),
    Case("core_policy_of_no_choice", f"{LIGHT}version_policy {{ }}", versions=("1", "2")),
    *[
        Case(f"core_guess_{number}", "", {f"1/{path}": b""}, errors=("AUTOFILL",))
        for number, path in enumerate(FILES_WITHOUT_BACKEND)
    ],
    Case("core_guess_hidden", "", {".a/notes": b"", "1/model.plan": b""}, errors=("AUTOFILL",)),
    Case("core_guess.light", X + Y),
    Case("core_guess.unknown", X + Y, errors=("BACKEND",)),
]
