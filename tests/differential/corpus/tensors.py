"""Inputs, outputs, and tensors that come from batches."""

from tests.differential.texts import BATCHED, LIGHT, PLAIN, X, Y, cases


def _input(more: str) -> str:
    return f'input {{ name: "z" data_type: TYPE_FP32 {more} }}'


def _output(more: str) -> str:
    return f'output {{ name: "z" data_type: TYPE_FP32 {more} }}'


def _batch(more: str) -> str:
    return f"batch_input {{ {more} }}"


CASES = [
    *cases(
        "io",
        LIGHT,
        [
            ("none", "", ""),
            ("no_input", Y, ""),
            ("no_output", X, ""),
            ("nameless", X + Y + "input { data_type: TYPE_FP32 dims: 1 }", "IO"),
            ("nameless_output", X + Y + "output { data_type: TYPE_FP32 dims: 1 }", "IO"),
            ("empty", X + Y + "input { }", "IO"),
            ("typeless_output", X + 'output { name: "y" dims: 1 }', "IO"),
            ("without_dims", X + Y + _input(""), "IO"),
            ("without_dims_output", X + Y + _output(""), "IO"),
            ("empty_dims", X + Y + _input("dims: [ ]"), "IO"),
            ("twice_the_input", X + X + Y, ""),
            ("twice_the_output", X + Y + Y, ""),
            ("input_is_output", X + 'output { name: "x" data_type: TYPE_FP32 dims: 1 }', ""),
            ("strange_name", Y + 'input { name: " a/b:0 \\303\\244 " data_type: TYPE_FP32 dims: 1 }', ""),
        ],
    ),
    *cases(
        "dims",
        BATCHED,
        [
            ("zero", _input("dims: [ 4, 0 ]"), "DIM"),
            ("minus_two", _input("dims: -2"), "DIM"),
            ("minus_one", _input("dims: [ -1, -1 ]"), ""),
            ("zero_output", _output("dims: 0"), "DIM"),
            ("minus_two_output", _output("dims: [ -2, 4 ]"), "DIM"),
            ("huge", _input("dims: 9223372036854775807"), ""),
            ("too_huge", _input("dims: 9223372036854775808"), "PARSE"),
            ("many", _input("dims: [ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 ]"), ""),
            ("repeated", _input("dims: 1 dims: 2"), ""),
            ("product_too_large", _input("dims: [ 4294967296, 4294967296, 4294967296 ]"), ""),
        ],
    ),
    *cases(
        "format",
        PLAIN,
        [
            ("nchw", _input("dims: [ 3, 2, 2 ] format: FORMAT_NCHW"), ""),
            ("nhwc", _input("dims: [ 2, 2, 3 ] format: FORMAT_NHWC"), ""),
            ("nchw_four", _input("dims: [ 1, 3, 2, 2 ] format: FORMAT_NCHW"), "FORMAT"),
            ("nhwc_two", _input("dims: [ 2, 3 ] format: FORMAT_NHWC"), "FORMAT"),
            ("none_of_one", _input("dims: 4 format: FORMAT_NONE"), ""),
            ("reshaped", _input("dims: [ 3, 2, 2 ] format: FORMAT_NCHW reshape { shape: [ 1, 3, 2, 2 ] }"), ""),
            ("of_output", _output("dims: 4 format: FORMAT_NCHW"), "PARSE"),
        ],
    ),
    *cases(
        "reshape",
        PLAIN,
        [
            ("same_count", _input("dims: [ 4, 3 ] reshape { shape: 12 }"), ""),
            ("other_count", _input("dims: [ 4, 3 ] reshape { shape: 13 }"), "RESHAPE"),
            ("empty_of_one", _input("dims: 1 reshape { }"), "RESHAPE"),
            ("empty_list", _input("dims: 1 reshape { shape: [ ] }"), "RESHAPE"),
            ("empty_of_two", _input("dims: 2 reshape { }"), "RESHAPE"),
            ("minus_one", _input("dims: [ -1, 4 ] reshape { shape: [ 1, -1, 4 ] }"), ""),
            ("minus_one_less", _input("dims: [ -1, 4 ] reshape { shape: 4 }"), "RESHAPE"),
            ("minus_one_more", _input("dims: [ 4, 4 ] reshape { shape: [ -1, 4 ] }"), "RESHAPE"),
            ("zero", _input("dims: 4 reshape { shape: [ 0 ] }"), "RESHAPE"),
            ("minus_two", _input("dims: 4 reshape { shape: [ -2, -2 ] }"), "RESHAPE"),
            ("two_variable", _input("dims: [ -1, -1 ] reshape { shape: [ -1, 1, -1 ] }"), ""),
            ("variable_swapped", _input("dims: [ -1, 4 ] reshape { shape: [ 4, -1 ] }"), "RESHAPE"),
            ("variable_split", _input("dims: [ -1, 4 ] reshape { shape: [ -1, 2, 2 ] }"), ""),
            ("between", _input("dims: [ 4, -1, 6 ] reshape { shape: [ 2, 2, -1, 6 ] }"), ""),
            ("between_wrong", _input("dims: [ 4, -1, 6 ] reshape { shape: [ 6, -1, 4 ] }"), "RESHAPE"),
            ("of_output", _output("dims: [ 4, 3 ] reshape { shape: [ 3, 4 ] }"), ""),
            ("of_output_wrong", _output("dims: [ 4, 3 ] reshape { shape: [ 3, 3 ] }"), "RESHAPE"),
            ("of_output_empty", _output("dims: 1 reshape { }"), "RESHAPE"),
        ],
    ),
    *cases(
        "reshape_batched",
        BATCHED,
        [
            ("empty_of_one", _input("dims: 1 reshape { }"), ""),
            ("empty_of_ones", _input("dims: [ 1, 1 ] reshape { shape: [ ] }"), ""),
            ("empty_of_two", _input("dims: 2 reshape { }"), "RESHAPE"),
            ("empty_of_variable", _input("dims: -1 reshape { }"), "RESHAPE"),
            ("of_output_empty", _output("dims: 1 reshape { shape: [ ] }"), ""),
        ],
    ),
    *cases(
        "shape_tensor",
        BATCHED,
        [
            ("light", _input("dims: 1 is_shape_tensor: true"), "SHAPE-T"),
            ("light_output", _output("dims: 1 is_shape_tensor: true"), "SHAPE-T"),
            ("false", _input("dims: 1 is_shape_tensor: false"), ""),
            ("non_linear", _input("dims: [ 3, 2, 2 ] is_non_linear_format_io: true"), "NON-LINEAR"),
            ("non_linear_output", _output("dims: [ 3, 2, 2 ] is_non_linear_format_io: true"), "NON-LINEAR"),
        ],
    ),
    *cases(
        "plan",
        f'platform: "tensorrt_plan" max_batch_size: 8 {X}{Y}',
        [
            ("shape_tensor", _input("dims: 1 is_shape_tensor: true"), ""),
            ("shape_tensor_output", _output("dims: 1 is_shape_tensor: true"), ""),
            ("non_linear", _input("dims: [ 3, 2, 2 ] is_non_linear_format_io: true"), ""),
            ("non_linear_of_two", _input("dims: [ 2, 2 ] is_non_linear_format_io: true"), "NON-LINEAR"),
            ("non_linear_shape", _input("dims: [ 3, 2, 2 ] is_non_linear_format_io: true is_shape_tensor: true"), ""),
        ],
    ),
    *cases(
        "optional",
        BATCHED,
        [
            ("one", _input("dims: 1 optional: true"), ""),
            ("ragged", _input("dims: -1 allow_ragged_batch: true"), ""),
            ("ragged_reshaped", _input("dims: 4 allow_ragged_batch: true reshape { shape: [ 2, 2 ] }"), ""),
            ("ragged_fixed", _input("dims: [ 1, 2 ] allow_ragged_batch: true"), ""),
        ],
    ),
    *cases("ragged", PLAIN, [("unbatched", _input("dims: -1 allow_ragged_batch: true"), "")]),
    *cases(
        "batch_input",
        BATCHED,
        [
            (
                "count",
                _batch('kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 source_input: "x"'),
                "",
            ),
            (
                "index",
                _batch(
                    'kind: BATCH_MAX_ELEMENT_COUNT_AS_SHAPE target_name: "n" data_type: TYPE_INT32 source_input: "x"'
                ),
                "",
            ),
            (
                "zero_accumulated",
                _batch(
                    "kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO"
                    ' target_name: "n" data_type: TYPE_INT32 source_input: "x"'
                ),
                "",
            ),
            ("empty", _batch(""), "BATCHIO"),
            ("no_source", _batch('target_name: "n" data_type: TYPE_FP32'), "BATCHIO"),
            (
                "two_sources",
                _batch('target_name: "n" data_type: TYPE_FP32 source_input: "x" source_input: "x"'),
                "BATCHIO",
            ),
            ("unknown_source", _batch('target_name: "n" data_type: TYPE_FP32 source_input: "a"'), "BATCHIO"),
            ("no_target", _batch('data_type: TYPE_FP32 source_input: "x"'), ""),
            (
                "two_targets",
                _batch('target_name: ["n", "m"] data_type: TYPE_FP32 source_input: "x"'),
                "",
            ),
            ("int64", _batch('target_name: "n" data_type: TYPE_INT64 source_input: "x"'), "BATCHIO"),
            ("no_type", _batch('target_name: "n" source_input: "x"'), "BATCHIO"),
            (
                "target_is_an_input",
                _batch('target_name: "x" data_type: TYPE_FP32 source_input: "x"'),
                "",
            ),
            (
                "target_twice",
                2 * _batch('target_name: "n" data_type: TYPE_FP32 source_input: "x"'),
                "",
            ),
            ("output_source", _batch('target_name: "n" data_type: TYPE_FP32 source_input: "y"'), "BATCHIO"),
        ],
    ),
    *cases(
        "batch_output",
        BATCHED,
        [
            (
                "scatter",
                'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "y" source_input: "x" }',
                "",
            ),
            ("unknown_target", 'batch_output { target_name: "a" source_input: "x" }', "BATCHIO"),
            ("unknown_source", 'batch_output { target_name: "y" source_input: "a" }', "BATCHIO"),
            ("no_source", 'batch_output { target_name: "y" }', "BATCHIO"),
            ("two_sources", 'batch_output { target_name: "y" source_input: ["x", "x"] }', "BATCHIO"),
            ("no_target", 'batch_output { source_input: "x" }', ""),
            ("target_twice", 2 * 'batch_output { target_name: "y" source_input: "x" }', ""),
            ("empty", "batch_output { }", "BATCHIO"),
        ],
    ),
    *cases(
        "label", PLAIN, [("missing", 'output { name: "z" data_type: TYPE_FP32 dims: 4 label_filename: "l" }', "LABEL")]
    ),
]
