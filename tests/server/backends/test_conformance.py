"""A few of the ONNX project's own cases, published and served: types, scalars, text, shapes known only at run time.

`make conformance` runs them all.
"""

import numpy as np
import pytest
from onnx import helper

from modelrepo.generator.specs.tensors import Array
from tests import onnx_files
from tests.conformance import DATA, Case, Outcome, folder_case, mismatch, node_cases, page, run
from tests.onnx_files import FLOAT, STRING

# The modules of onnx.backend.test.case.node, and those of their cases that are run here.
NODES = {
    "add": ["test_add", "test_add_bcast", "test_add_int8", "test_add_uint8"],
    "bitwiseand": ["test_bitwise_and_i16_3d", "test_bitwise_and_ui64_bcast_3v1d"],
    "identity": ["test_identity_sequence"],
    "isnan": ["test_isnan_float16"],
    "max": ["test_max_float16", "test_max_float64", "test_max_uint32"],
    "nonzero": ["test_nonzero_example"],
    "pow": ["test_pow_bcast_scalar", "test_pow_types_float32_int64"],
    "regex_full_match": ["test_regex_full_match_basic", "test_regex_full_match_empty"],
    "size": ["test_size"],
    "string_concat": ["test_string_concat_utf8", "test_string_concat_zero_dimensional"],
    "string_split": ["test_string_split_maxsplit"],
    "topk": ["test_top_k"],
    "where": ["test_where_long_example"],
}
CONVERTED = ["test_Embedding", "test_Conv2d_strided"]
OUT = {
    "test_identity_sequence": "not a tensor, which is all that Triton has: a sequence",
    "test_regex_full_match_empty": "a fixed dimension of size 0, which Triton refuses",
}


def identity_case(name: str, kind: int, values: Array) -> Case:
    model = onnx_files.model(
        nodes=(helper.make_node("Identity", ["x"], ["y"]),),
        inputs=(("x", kind, ["rows", "columns"]),),
        outputs=(("y", kind, ["rows", "columns"]),),
    )
    return Case(name, "node", model, (((values,), (values,)),), rtol=0, atol=0)


OWN = [
    identity_case("no_rows", FLOAT, np.zeros((2, 0), "float32")),
    identity_case("no_texts", STRING, np.zeros((1, 0), object)),
    identity_case("long_texts", STRING, np.array([["é" * 70_000, ""]], object)),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    wanted = {name for names in NODES.values() for name in names}
    cases = [case for case in node_cases(NODES) if case.name in wanted]
    assert {case.name for case in cases} == wanted
    cases += [folder_case("pytorch-converted", DATA / "pytorch-converted" / name) for name in CONVERTED]
    return {outcome.name: outcome for outcome in run([*cases, *OWN], tmp_path_factory.mktemp("conformance"))}


SERVED = [name for names in NODES.values() for name in names if name not in OUT]


@pytest.mark.parametrize("name", [*SERVED, *CONVERTED, *(case.name for case in OWN)])
def test_a_case_is_published_and_answers_as_expected(outcomes: dict[str, Outcome], name: str) -> None:
    assert (outcomes[name].status, outcomes[name].reason) == ("served", "")


@pytest.mark.parametrize("name", OUT)
def test_a_case_that_triton_cannot_express_is_out_for_that_reason(outcomes: dict[str, Outcome], name: str) -> None:
    assert (outcomes[name].status, outcomes[name].reason) == ("out", OUT[name])


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (np.zeros((2, 1), "float32"), "shape of y"),
        (np.zeros((2, 0), "float64"), "type of y"),
    ],
)
def test_an_answer_of_a_different_shape_or_type_is_reported(got: Array, message: str) -> None:
    (case, *_) = OWN
    assert message in str(mismatch(case, case.data_sets[0][1], {"y": got}))


def test_a_different_answer_is_reported() -> None:
    case = OWN[2]
    ((_, expected),) = case.data_sets
    assert mismatch(case, expected, {"y": expected[0]}) is None
    assert mismatch(case, expected, {"y": np.array([["", ""]], object)})


def test_the_page_counts_every_case_and_names_what_is_out_or_failed() -> None:
    found = [
        Outcome("test_a", "node", "served"),
        Outcome("test_b", "simple", "out", "newer than others"),
        Outcome("test_c", "node", "failed", "type of y"),
    ]
    text = page(found)
    assert "| **all** | 3 | 1 | 1 | 1 |" in text
    assert "- `test_c`: type of y" in text
    assert "### Newer than others (1)\n\n`test_b`" in text
