"""`generate` in lower precisions: names, rows, what is proven, what is refused, and what is left alone."""

from pathlib import Path

import onnx
import pytest

from generator import options
from generator.options import ConfigFile
from generator.specs import Choice
from tests.conftest import Generate, snapshot

pytestmark = pytest.mark.usefixtures("numpy_models")
LINEAR = ("--model", "numpy:linear", "--repository", "repo", "--max-batch-size", "4")


def choices(written: str, precision: str = "fp32") -> list[tuple[str, str]]:
    flags = {"backends": options.parse_field("backends", written, "--backends"), "precision": precision}
    _, resolved = options.resolve(flags, ConfigFile(), "numpy:linear")
    return [(str(choice), options.published_name("m", resolved, choice)) for choice in resolved.backends]


def test_a_backend_takes_a_precision_of_its_own_and_else_that_of_the_run() -> None:
    assert choices("onnx:fp16,tensorrt", "int8") == [("onnx:fp16", "m_onnx_fp16"), ("tensorrt:int8", "m_tensorrt_int8")]


def test_fp32_leaves_names_as_they_were() -> None:
    assert choices("onnx") == [("onnx", "m")]
    assert choices("onnx,tensorrt:fp32") == [("onnx", "m_onnx"), ("tensorrt", "m_tensorrt")]


def test_one_backend_in_several_precisions_is_several_models() -> None:
    assert [name for _, name in choices("onnx,onnx:fp16,onnx:fp16")] == ["m_onnx", "m_onnx_fp16"]


def test_an_accelerator_is_told_in_the_name_as_triton_takes_it() -> None:
    assert choices("onnx+tensorrt-ep:fp16") == [("onnx+tensorrt-ep:fp16", "m_fp16")]
    assert choices("onnx,onnx+tensorrt-ep")[1] == ("onnx+tensorrt-ep", "m_onnx-tensorrt-ep")


def test_the_name_template_may_place_the_precision() -> None:
    flags = {"backends": (Choice("onnx", "fp16"),), "name_template": "{precision}-{model}"}
    _, resolved = options.resolve(flags, ConfigFile(), "numpy:linear")
    assert options.published_name("m", resolved, Choice("onnx", "fp16")) == "fp16-m"


def test_fp16_is_published_beside_fp32_and_says_what_it_is(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx,onnx:fp16", "--json")
    assert outcome.code == 0, outcome.err
    full, half = outcome.report["results"]
    assert (full["name"], full["precision"]) == ("linear_onnx", "fp32")
    assert (half["name"], half["precision"], half["status"]) == ("linear_onnx_fp16", "fp16", "published")
    assert half["optimization"]["done"] == ["1 of 1 weights are FP16, 48 bytes -> 24 bytes"]
    assert 0 < half["verification"]["max_rel_diff"] < 1e-2
    weights = onnx.load(Path(half["path"]) / "model.onnx").graph.initializer
    assert [tensor.data_type for tensor in weights] == [onnx.TensorProto.FLOAT16]


def test_the_same_again_changes_nothing(generate: Generate) -> None:
    arguments = (*LINEAR, "--backends", "onnx:fp16", "--json")
    assert generate(*arguments).code == 0
    before = snapshot(Path("repo"))
    outcome = generate(*arguments)
    assert outcome.result["status"] == "unchanged"
    assert outcome.result["optimization"]["precision"] == "fp16"
    assert snapshot(Path("repo")) == before


def test_options_that_are_no_matter_to_a_target_make_no_new_version(generate: Generate) -> None:
    assert generate(*LINEAR, "--json").result["status"] == "published"
    again = generate(*LINEAR, "--calibration", "8 random", "--cuda-graphs", "--max-accuracy-drop", "5%", "--json")
    assert again.result["status"] == "unchanged"
