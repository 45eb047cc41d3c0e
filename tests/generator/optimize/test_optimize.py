"""Graphs after a recipe: FP16, BF16, pruned, cleaned up. Each is a valid model with correct answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ml_dtypes import bfloat16
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.errors import ConversionError, ModelRepoError, OptionError
from modelrepo.generator.graphs import edit, onnx_file, taps
from modelrepo.generator.graphs.runtime import open_model
from modelrepo.generator.optimize import bf16, fp16, made, prune, simplify
from modelrepo.generator.optimize.recipe import Lowered, Request
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Pruning
from modelrepo.generator.verification.comparison import BF16
from tests import onnx_files
from tests.conftest import Generate
from tests.onnx_files import BOOL, FLOAT

IMAGE = ("x", FLOAT, ["batch", 8, 6, 6])
SCORES = ("y", FLOAT, ["batch", 5])


def weights(name: str, *shape: int, scale: float = 0.3) -> onnx.TensorProto:
    random = np.random.default_rng(len(name))
    return numpy_helper.from_array((scale * random.standard_normal(shape)).astype("float32"), name)


def constant(name: str, *values: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, "float32"), name)


def node(operator: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), name or outputs.split()[0], **attributes)


def classifier() -> onnx.ModelProto:
    """Return Conv, Relu, pooling and Gemm: 8 x 8 x 3 x 3 and 5 x 8 weights."""
    return onnx_files.model(
        nodes=[
            node("Conv", "x kernel bias", "conv", pads=[1, 1, 1, 1]),
            node("Relu", "conv", "relu"),
            node("GlobalAveragePool", "relu", "pool"),
            node("Flatten", "pool", "flat"),
            node("Gemm", "flat matrix", "y", "gemm", transB=1),
        ],
        inputs=[IMAGE],
        outputs=[SCORES],
        initializers=[weights("kernel", 8, 8, 3, 3), weights("bias", 8), weights("matrix", 5, 8)],
    )


def rows(*nodes: onnx.NodeProto, initializers: Any = (), **more: Any) -> onnx.ModelProto:
    """Return a model of rows of four numbers, x, that answers y."""
    return onnx_files.model(nodes=nodes, initializers=initializers, **more)


def exported(model: onnx.ModelProto, folder: Path) -> Export:
    path = folder / "source" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    signature = onnx_file.read_signature(model.graph)
    return Export(path, (path,), signature, "test", edit.opset_of(model), model.ir_version)


def lowered(recipe: Any, model: onnx.ModelProto, folder: Path, *kept: str) -> Lowered:
    outcome = recipe.lower(Request(exported(model, folder), folder / "lowered", kept))
    assert isinstance(outcome, Lowered)
    onnx.checker.check_model(str(outcome.export.path), full_check=True)
    return outcome


def answers(path: Path, **inputs: Any) -> Any:
    return next(iter(open_model(path)(inputs).values()))


def types(path: Path) -> dict[str, int]:
    return {name: tensor.data_type for name, tensor in edit.places(edit.load(path)).items()}


def images() -> Any:
    return np.random.default_rng(1).standard_normal((3, 8, 6, 6)).astype("float32")


def relative(wanted: Any, got: Any) -> float:
    return float(np.abs(wanted - got).max() / np.abs(wanted).max())


# FP16


def test_fp16_halves_the_weights_and_keeps_inputs_and_outputs(tmp_path: Path) -> None:
    outcome = lowered(fp16, classifier(), tmp_path)
    assert set(types(outcome.export.path).values()) == {TensorProto.FLOAT16}
    assert outcome.done == "3 of 3 weights are FP16, 2.5 kB -> 1.2 kB"
    assert outcome.layers == ("conv", "relu", "pool", "gemm")
    assert outcome.export.signature == exported(classifier(), tmp_path).signature
    assert outcome.runs_here
    precise = answers(tmp_path / "source" / "model.onnx", x=images())
    half = answers(outcome.export.path, x=images())
    assert half.dtype == np.float32
    assert 0 < relative(precise, half) < 2e-3


def test_nodes_to_keep_pass_fp32_to_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    million = rows(
        node("Mul", "x thousand", "a"),
        node("Mul", "a thousand", "b"),
        node("Mul", "b millionth", "c"),
        node("Mul", "c vector", "y", "last"),
        initializers=[constant("thousand", 1e3), constant("millionth", 1e-6), constant("vector", 1, 1, 1, 1)],
    )
    x = np.ones((1, 4), "float32")
    twin = lowered(fp16, million, tmp_path).twin
    assert twin is not None
    assert np.isinf(answers(twin, x=x)).all()
    kept = lowered(fp16, million, tmp_path, "a", "b", "c")
    assert kept.layers == ("last",)
    assert types(kept.export.path)["thousand"] == TensorProto.FLOAT
    for path in (kept.export.path, kept.twin):
        assert path is not None
        np.testing.assert_allclose(answers(path, x=x), x, rtol=1e-3)


def test_a_kept_result_is_fp32_without_a_detour(tmp_path: Path) -> None:
    model = rows(
        node("Mul", "x vector", "a"),
        node("Add", "a large", "y", "last"),
        initializers=[constant("vector", 1, 1, 1, 1), constant("large", 1e5, 1e5, 1e5, 1e5)],
    )
    outcome = lowered(fp16, model, tmp_path, "last")
    assert answers(outcome.export.path, x=np.ones((1, 4), "float32"))[0, 0] == 100001


def test_operators_without_fp16_may_share_an_input(tmp_path: Path) -> None:
    model = rows(
        node("Mul", "x vector", "a"),
        node("Min", "a vector", "b"),
        node("Max", "a vector", "c"),
        node("Add", "b c", "y"),
        initializers=[constant("vector", 1, 2, 3, 4)],
    )
    outcome = lowered(fp16, model, tmp_path)
    x = np.array([[1, -1, 2, 0.5]], "float32")
    np.testing.assert_allclose(answers(outcome.export.path, x=x), np.array([[2, 0, 9, 6]], "float32"))


def test_constants_of_every_form_become_half(tmp_path: Path) -> None:
    model = rows(
        node("Constant", "", "one", value_float=1.5),
        node("Constant", "", "four", value_floats=[1.0, 2.0, 3.0, 4.0]),
        node("Mul", "x one", "a"),
        node("Add", "a four", "y"),
    )
    outcome = lowered(fp16, model, tmp_path)
    assert outcome.done.startswith("2 of 2 weights are FP16")
    np.testing.assert_allclose(answers(outcome.export.path, x=np.ones((1, 4), "float32")), [[2.5, 3.5, 4.5, 5.5]])


def test_the_scales_of_a_resize_stay_fp32(tmp_path: Path) -> None:
    model = onnx_files.model(
        nodes=[node("Conv", "x kernel", "conv"), node("Resize", "conv  scales".replace("  ", " none "), "y")],
        inputs=[IMAGE],
        outputs=[("y", FLOAT, ["batch", 8, 12, 12])],
        initializers=[weights("kernel", 8, 8, 1, 1), constant("scales", 1, 1, 2, 2)],
    )
    model.graph.node[1].input[1] = ""
    outcome = lowered(fp16, model, tmp_path)
    assert types(outcome.export.path) == {"kernel": TensorProto.FLOAT16, "scales": TensorProto.FLOAT}
    assert answers(outcome.export.path, x=images()).shape == (3, 8, 12, 12)


def branching(operator: str = "Mul") -> onnx.ModelProto:
    """Return a model with one of two graphs in it, which read its weights."""

    def branch(name: str, weight: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(name, FLOAT, None)
        return helper.make_graph([node(operator, f"a {weight}", name, f"{name}_node")], name, [], [result])

    nodes = [
        node("Mul", "x vector", "a"),
        node("If", "flag", "b", then_branch=branch("then", "vector"), else_branch=branch("else", "other")),
        node("Mul", "b vector", "y"),
    ]
    return rows(
        *nodes,
        initializers=[constant("vector", 1, 2, 3, 4), constant("other", 4, 3, 2, 1)],
        inputs=[("x", FLOAT, ["batch", 4]), ("flag", BOOL, [])],
    )


@pytest.mark.parametrize("recipe", [fp16, bf16])
def test_graphs_within_nodes_are_lowered_too(recipe: Any, tmp_path: Path) -> None:
    outcome = lowered(recipe, branching(), tmp_path)
    assert {"then_node", "else_node"} <= set(outcome.layers)
    path = outcome.twin or outcome.export.path
    x = np.ones((1, 4), "float32")
    np.testing.assert_allclose(answers(path, x=x, flag=np.array(True)), [[1, 8, 27, 64]])
    np.testing.assert_allclose(answers(path, x=x, flag=np.array(False)), [[4, 12, 18, 16]])


def sibling(last: float = 1.0) -> onnx.ModelProto:
    """Return a model whose two branches each have their own tensors w and r."""

    def branch(name: str, *values: float) -> onnx.GraphProto:
        result = helper.make_tensor_value_info("r", FLOAT, None)
        nodes = [node("Mul", "a w", "r", f"{name}_node")]
        return helper.make_graph(nodes, name, [], [result], [constant("w", *values)])

    return rows(
        node("Mul", "x w", "a"),
        node("If", "flag", "y", then_branch=branch("then", 1, 2, 3, 4), else_branch=branch("else", 4, 3, 2, last)),
        initializers=[constant("w", 1, 1, 1, 1)],
        inputs=[("x", FLOAT, ["batch", 4]), ("flag", BOOL, [])],
    )


@pytest.mark.parametrize(("recipe", "kind"), [(fp16, TensorProto.FLOAT16), (bf16, TensorProto.BFLOAT16)])
def test_branches_may_give_different_tensors_the_same_name(recipe: Any, kind: int, tmp_path: Path) -> None:
    outcome = lowered(recipe, sibling(), tmp_path)
    assert types(outcome.export.path) == {"w": kind, "w_2": kind, "w_3": kind}
    assert outcome.done.startswith("3 of 3 weights")
    x = np.ones((1, 4), "float32")
    for path in filter(None, (outcome.export.path if outcome.runs_here else None, outcome.twin)):
        np.testing.assert_allclose(answers(path, x=x, flag=np.array(True)), [[1, 2, 3, 4]])
        np.testing.assert_allclose(answers(path, x=x, flag=np.array(False)), [[4, 3, 2, 1]])


def test_a_weight_of_a_branch_that_is_too_large_is_found_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"the weights 'w_[23]' reach 1e\+05, but FP16 ends at 65504. Use bf16$"):
        lowered(fp16, sibling(last=1e5), tmp_path)


def test_assertions_of_the_converter_become_errors_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit, "name_tensors", lambda model: None)  # so that it finds two tensors of one name
    with pytest.raises(ConversionError, match="ONNX Runtime can't convert the model: AssertionError"):
        lowered(fp16, sibling(), tmp_path)


def test_masks_become_the_lowest_half(tmp_path: Path) -> None:
    lowest = float(np.finfo(np.float32).min)
    model = rows(
        node("Add", "x mask", "a"), node("Softmax", "a", "y"), initializers=[constant("mask", 0, 0, 0, lowest)]
    )
    outcome = lowered(fp16, model, tmp_path)
    np.testing.assert_allclose(
        answers(outcome.export.path, x=np.zeros((1, 4), "float32")), [[1 / 3] * 3 + [0]], rtol=1e-3
    )


ZERO = constant("zero", 0)
MASKS: dict[str, list[onnx.NodeProto]] = {
    "added": [node("Mul", "x low", "m"), node("Softmax", "m", "y")],
    "chosen": [node("Greater", "x zero", "some"), node("Where", "some low x", "m"), node("Softmax", "m", "y")],
    "filled": [
        node("Shape", "x", "shape"),
        node("ConstantOfShape", "shape", "full", value=helper.make_tensor("v", FLOAT, [1], [-1e9])),
        node("Add", "x full", "m"),
        node("Softmax", "m", "y"),
    ],
}


@pytest.mark.parametrize("low", [-1e9, float(np.finfo(np.float32).min), -1e38, -7e4])
@pytest.mark.parametrize("form", MASKS)
def test_masks_work_in_fp16_also_where_everything_is_masked(form: str, low: float, tmp_path: Path) -> None:
    """Added to scores in FP16, -65504 would become -inf, and a row of these NaN."""
    outcome = lowered(fp16, with_a_weight(rows(*MASKS[form], initializers=[constant("low", low), ZERO])), tmp_path)
    x = np.array([[0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 0, 0]], "float32")
    assert outcome.twin is not None
    np.testing.assert_allclose(answers(outcome.twin, x=x), answers(tmp_path / "source" / "model.onnx", x=x), atol=1e-3)


def test_masks_are_kept_precise_if_their_sum_is_too_large_for_fp16(generate: Generate, tmp_path: Path) -> None:
    nodes = [node("Mul", "x low", "m"), node("Add", "m m", "n"), node("Softmax", "n", "y")]
    model = with_a_weight(rows(*nodes, initializers=[constant("low", -1e9)]))
    onnx.save(model, str(tmp_path / "net.onnx"))
    result = generate("--model", "onnx:net.onnx", "--backends", "onnx:fp16", "--json").result
    assert result["status"] == "published", result
    path = tmp_path / "model_repository" / "net_fp16" / "1" / "model.onnx"
    np.testing.assert_allclose(answers(path, x=np.ones((1, 4), "float32")), [[0.25] * 4], atol=1e-3)


def with_a_weight(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with a weight that becomes FP16."""
    model.graph.node.add().CopyFrom(node("Mul", "y ones", "scaled"))
    model.graph.output[0].name = "scaled"
    model.graph.initializer.append(constant("ones", 1, 1, 1, 1))
    return model


BEYOND: dict[str, list[onnx.NodeProto]] = {
    "scaled up and down": [node("Mul", "x large", "m"), node("Div", "m large", "y")],
    "answered": [node("Greater", "x zero", "some"), node("Where", "some large x", "y")],
    "logarithm": [node("Relu", "x", "r"), node("Add", "r tiny", "a"), node("Log", "a", "y")],
    "clipped": [node("Clip", "x tiny", "a"), node("Log", "a", "y")],
    "log-softmax": [node("Mul", "x large", "m"), node("LogSoftmax", "m", "y")],
}


@pytest.mark.parametrize("form", BEYOND)
def test_other_constants_that_fp16_can_not_hold_are_computed_with_in_fp32(form: str, tmp_path: Path) -> None:
    model = rows(
        node("Mul", "x ones", "given"),
        *BEYOND[form],
        initializers=[
            constant("large", 1e6),
            constant("tiny", 1e-12),
            constant("zero", 0),
            constant("ones", 1, 1, 1, 1),
        ],
    )
    outcome = lowered(fp16, model, tmp_path)
    x = np.array([[0, 0.5, 1, -2], [-1, -1, -1, -1]], "float32")
    wanted = answers(tmp_path / "source" / "model.onnx", x=x)
    for path in (outcome.export.path, outcome.twin):
        assert path is not None
        np.testing.assert_allclose(answers(path, x=x), wanted, rtol=1e-3)


def attention() -> onnx.ModelProto:
    """Return an attention whose initializers are listed among the types of tensors, as torch.export lists them."""
    built = onnx_files.model(
        nodes=[
            node("MatMul", "x matrix", "scores"),
            node("Greater", "x zero", "some"),
            node("Cast", "some", "keep", to=FLOAT),
            node("Sub", "one keep", "drop"),
            node("Mul", "drop low", "mask"),
            node("Add", "scores mask", "masked"),
            node("Softmax", "masked", "shares"),
            node("MatMul", "shares matrix", "y"),
        ],
        inputs=[("x", FLOAT, ["batch", 4])],
        outputs=[("y", FLOAT, ["batch", 4])],
        initializers=[weights("matrix", 4, 4), constant("zero", 0), constant("one", 1), constant("low", -1e9)],
    )
    built.graph.value_info.extend(
        helper.make_tensor_value_info(each.name, FLOAT, each.dims) for each in built.graph.initializer
    )
    return built


@pytest.mark.parametrize("kept", [each.name for each in attention().graph.node])
def test_any_node_can_stay_precise(kept: str, tmp_path: Path) -> None:
    outcome = lowered(fp16, attention(), tmp_path, kept)
    x = np.array([[0, 0.5, 1, -2], [-1, 2, -1, -1]], "float32")
    wanted = answers(tmp_path / "source" / "model.onnx", x=x)
    for path in (outcome.export.path, outcome.twin):
        assert path is not None
        np.testing.assert_allclose(answers(path, x=x), wanted, atol=3e-3)


def test_the_converter_still_takes_a_listed_constant_for_fp16() -> None:
    """Without ``_forget_constants`` what it leaves in FP32 gets a Cast from FP16."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(attention(), node_block_list=["mask"], disable_shape_infer=True)
    assert any(each.op_type == "Cast" and each.input[0] == "low" for each in converted.graph.node)


@pytest.mark.parametrize("recipe", [fp16, bf16])
def test_weights_above_2_gb_are_stored_beside_the_model(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "PROTOBUF_LIMIT", edit.ROOM_FOR_GRAPH)  # so that nothing fits
    outcome = lowered(recipe, classifier(), tmp_path)
    assert [file.name for file in outcome.export.files] == ["model.onnx", "model.onnx.data"]
    precise = answers(tmp_path / "source" / "model.onnx", x=images())
    assert (
        relative(precise, answers(outcome.twin or outcome.export.path, x=images()))
        < recipe.RECIPE.precision.tolerance.relative
    )


def test_fp16_costs_show_overflow_and_underflow(tmp_path: Path) -> None:
    model = rows(
        node("Mul", "x vector", "ordinary"),
        node("Mul", "ordinary tiny", "small"),
        node("Mul", "ordinary huge", "large"),
        node("Add", "small large", "y", "sum"),
        initializers=[constant("vector", 1, 2, 3, 4), constant("tiny", 1e-7), constant("huge", 6e4)],
    )
    request = Request(exported(model, tmp_path), tmp_path / "lowered")
    costs = fp16.costs(request, fp16.lower(request))
    assert list(costs) == ["ordinary", "small", "large", "sum"]
    assert costs["ordinary"] < 1e-3 < costs["small"] < costs["large"] == float("inf")
    assert sorted(path.name for path in (tmp_path / "lowered").iterdir()) == ["model.onnx", "twin"]


def test_a_twin_answers_if_onnx_runtime_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "opens", lambda path: False)  # a stand-in for the crash of a larger model
    outcome = lowered(fp16, classifier(), tmp_path)
    assert outcome.twin is not None
    assert not outcome.runs_here
    half, twin = (answers(path, x=images()) for path in (outcome.export.path, outcome.twin))
    precise = answers(tmp_path / "source" / "model.onnx", x=images())
    assert relative(half, twin) < 1e-3
    assert 1e-5 < relative(precise, twin) < 2e-3


def test_a_refusal_by_onnx_runtime_is_distinguished_from_a_crash(tmp_path: Path) -> None:
    path = onnx_files.write(str(tmp_path / "bad.onnx"), nodes=[node("Relu", "nowhere", "y")])
    with pytest.raises(ConversionError, match="ONNX Runtime can't open the result"):
        made.opens(path)


def test_modules_in_the_users_folder_do_not_shadow_onnx_runtimes(tmp_path: Path, workdir: Path) -> None:
    (workdir / "onnxruntime.py").write_text("raise RuntimeError('taken from the folder')")
    assert made.opens(exported(classifier(), tmp_path).path)


# BF16


def test_bf16_rounds_weights_to_nearest_and_twin_computes_the_same(tmp_path: Path) -> None:
    model = classifier()
    outcome = lowered(bf16, model, tmp_path)
    assert outcome.done == "3 of 3 weights are BF16, 2.5 kB -> 1.2 kB"
    assert outcome.export.signature == exported(model, tmp_path).signature
    written = edit.places(edit.load(outcome.export.path))
    for tensor in model.graph.initializer:
        wanted = numpy_helper.to_array(tensor).astype(bfloat16)
        np.testing.assert_array_equal(numpy_helper.to_array(written[tensor.name]), wanted)
    assert outcome.twin is not None
    precise, twin = (answers(path, x=images()) for path in (tmp_path / "source" / "model.onnx", outcome.twin))
    assert 1e-4 < relative(precise, twin) < BF16.tolerance.relative / 4


def test_every_tensor_of_the_twin_is_a_bf16(tmp_path: Path) -> None:
    outcome = lowered(bf16, classifier(), tmp_path)
    assert outcome.twin is not None
    (values,) = taps.tapped(outcome.twin, [{"x": images()}])
    for name in ("conv", "relu", "pool", "flat", "y"):
        np.testing.assert_array_equal(values[name], values[name].astype(bfloat16).astype(np.float32), name)
    assert not np.array_equal(values["conv/exact"], values["conv"])


def test_bf16_raises_the_opset_if_an_operator_needs_it(tmp_path: Path) -> None:
    assert lowered(bf16, classifier(), tmp_path).export.opset == bf16.OPSET
    scaled = rows(node("Mul", "x vector", "y"), initializers=[constant("vector", 1, 2, 3, 4)])
    assert lowered(bf16, scaled, tmp_path).export.opset == 20


def test_masks_stay_finite_in_bf16(tmp_path: Path) -> None:
    rounded = bf16.to_bf16(np.array([np.finfo(np.float32).min, -np.inf, np.nan, 1.00390625], "float32"))
    assert np.isfinite(rounded[0])
    assert np.isneginf(rounded[1])
    assert np.isnan(rounded[2])
    assert float(rounded[3]) == 1.0  # a tie goes to the even


def test_bf16_costs_show_what_cancels(tmp_path: Path) -> None:
    model = rows(
        node("Mul", "x vector", "scaled"),
        node("Add", "scaled hundred", "large"),
        node("Sub", "large hundred", "y", "difference"),
        initializers=[constant("vector", 1, 2, 3, 4), constant("hundred", 1000)],
    )
    request = Request(exported(model, tmp_path), tmp_path / "lowered")
    costs = bf16.costs(request, bf16.lower(request))
    assert max(costs, key=lambda name: costs[name]) == "difference"
    assert costs["scaled"] < 5e-3 < 0.1 < costs["difference"]


# What can't be lowered


def already_half() -> onnx.ModelProto:
    vector = numpy_helper.from_array(np.ones(4, np.float16), "vector")
    return rows(
        node("Cast", "x", "a", to=TensorProto.FLOAT16),
        node("Mul", "a vector", "b"),
        node("Cast", "b", "y", to=FLOAT),
        initializers=[vector],
    )


def mixed() -> onnx.ModelProto:
    model = already_half()
    model.graph.node[2].output[0] = "c"
    model.graph.node.append(node("Mul", "c full", "y"))
    model.graph.initializer.append(constant("full", 1, 2, 3, 4))
    return model


REFUSED: dict[str, Callable[[Path], object]] = {
    "no weights": lambda folder: lowered(fp16, rows(node("Relu", "x", "y")), folder),
    "already half": lambda folder: lowered(fp16, already_half(), folder),
    "too large": lambda folder: lowered(fp16, sibling(last=1e5), folder),
    "unknown layer": lambda folder: lowered(fp16, classifier(), folder, "conf"),
    "all kept": lambda folder: lowered(fp16, classifier(), folder, "conv", "gemm"),
    "inner": lambda folder: lowered(fp16, branching("Min"), folder),
    "half in bf16": lambda folder: lowered(bf16, mixed(), folder),
    "no layers": lambda folder: pruned(rows(node("Relu", "x", "y")), folder, Pruning()),
    "too small": lambda folder: pruned(linear("MatMul", 3, 4), folder, Pruning(share=0.01)),
    "no fours": lambda folder: pruned(linear("MatMul", 3, 4), folder, Pruning(structured=True)),
}


def test_models_that_cannot_be_lowered_are_refused_with_a_reason(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    told = []
    for case, attempt in REFUSED.items():
        with pytest.raises(ModelRepoError) as caught:
            attempt(tmp_path)
        assert isinstance(caught.value, OptionError if case == "unknown layer" else ConversionError)
        told.append(f"{case}: {caught.value}\n")
    golden("messages/optimize/refused.txt", "".join(told))


def test_changed_outputs_are_refused(tmp_path: Path) -> None:
    base = exported(classifier(), tmp_path)
    changed = classifier()
    changed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ConversionError, match=r"outputs y\[batch, 5\] of float32 became y\[1, 5\]"):
        made.described(edit.save(changed, tmp_path / "changed"), base)


def test_a_size_that_the_exporter_did_not_know_may_be_inferred(tmp_path: Path) -> None:
    unknown = classifier()
    unknown.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "Divy_dim_1"
    base = exported(unknown, tmp_path)
    made.described(edit.save(classifier(), tmp_path / "inferred"), base)
    named = classifier()
    named.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "unk__1"  # onnx's inference names it so
    made.described(edit.save(named, tmp_path / "named"), base)


def test_a_dimension_without_a_name_may_get_one(tmp_path: Path) -> None:
    unknown, inferred = classifier(), classifier()
    for model, name in ((unknown, "scores_0"), (inferred, "unk__0")):
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = name
    made.described(edit.save(inferred, tmp_path / "inferred"), exported(unknown, tmp_path))


def test_nodes_without_names_get_the_same_ones_each_time(tmp_path: Path) -> None:
    model = rows(node("Relu", "x", "a", "twice"), node("Relu", "a", "b", "twice"), node("Relu", "b", "y"))
    model.graph.node[2].name = ""
    path = exported(model, tmp_path).path
    names = [each.name for each in edit.load(path).graph.node]
    assert names == [each.name for each in edit.load(path).graph.node]
    assert len(set(names)) == 3
    assert "" not in names


# Pruning


def linear(operator: str, terms: int, outputs: int, **attributes: Any) -> onnx.ModelProto:
    shape = (outputs, terms) if attributes.get("transB") else (terms, outputs)
    return onnx_files.model(
        nodes=[helper.make_node(operator, ["x", "matrix"], ["y"], "y", **attributes)],
        inputs=[("x", FLOAT, ["batch", terms])],
        outputs=[("y", FLOAT, ["batch", outputs])],
        initializers=[weights("matrix", *shape)],
    )


def pruned(model: onnx.ModelProto, folder: Path, pruning: Pruning) -> tuple[dict[str, Any], str, float]:
    outcome, done, sparsity = prune.pruned(exported(model, folder), pruning, folder / "pruned")
    read = {name: numpy_helper.to_array(tensor) for name, tensor in edit.places(edit.load(outcome.path)).items()}
    return read, done, sparsity


def test_the_smallest_share_of_each_layer_becomes_zero(tmp_path: Path) -> None:
    model = classifier()
    after, done, sparsity = pruned(model, tmp_path, Pruning(share=0.75))
    for tensor in (model.graph.initializer[0], model.graph.initializer[2]):
        before = numpy_helper.to_array(tensor)
        gone = after[tensor.name] == 0
        assert gone.mean() == 0.75
        assert np.abs(before[gone]).max() < np.abs(before[~gone]).min()
        np.testing.assert_array_equal(before[~gone], after[tensor.name][~gone])
    np.testing.assert_array_equal(after["bias"], numpy_helper.to_array(model.graph.initializer[1]))
    assert sparsity == pytest.approx((432 + 30) / (576 + 40 + 8))
    assert done == "pruned 2 of 2 layers to 75%, 74.0% of all weights are zero"


@pytest.mark.parametrize(
    ("model", "name", "axis"),
    [
        (classifier(), "kernel", 1),
        (classifier(), "matrix", 1),
        (linear("MatMul", 8, 6), "matrix", 0),
        (linear("Gemm", 8, 6), "matrix", 0),
        (linear("Gemm", 8, 6, transB=1), "matrix", 1),
    ],
    ids=["Conv", "Gemm of a classifier", "MatMul", "Gemm", "Gemm with transB"],
)
def test_two_of_each_four_along_the_sum_become_zero(
    model: onnx.ModelProto, name: str, axis: int, tmp_path: Path
) -> None:
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}[name]
    after = pruned(model, tmp_path, Pruning(structured=True))[0][name]
    one, other = np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0)
    for start in range(0, len(one), 4):
        largest = np.sort(np.argsort(np.abs(one[start : start + 4]), axis=0)[2:], axis=0)
        for place in np.ndindex(one.shape[1:]):
            kept = np.flatnonzero(other[(slice(start, start + 4), *place)])
            np.testing.assert_array_equal(kept, largest[(slice(None), *place)])
            rows_of_group = (kept + start, *place)
            np.testing.assert_array_equal(other[rows_of_group], one[rows_of_group])


def test_layers_without_multiples_of_four_are_left_alone_and_reported(tmp_path: Path) -> None:
    model = onnx_files.model(
        nodes=[node("Conv", "x first", "a"), node("Conv", "a second", "y")],
        inputs=[("x", FLOAT, ["batch", 3, 6, 6])],
        outputs=[("y", FLOAT, ["batch", 2, 6, 6])],
        initializers=[weights("first", 8, 3, 1, 1), weights("second", 2, 8, 1, 1)],
    )
    after, done, sparsity = pruned(model, tmp_path, Pruning(structured=True))
    assert np.count_nonzero(after["first"]) == 24
    assert sparsity == pytest.approx(8 / 40)
    assert done == "pruned 1 of 2 layers to 2:4, 1 left alone, 20.0% of all weights are zero"


def test_weights_that_others_read_are_not_pruned(tmp_path: Path) -> None:
    shared = linear("MatMul", 4, 4)
    shared.graph.node[0].output[0] = "a"
    shared.graph.node.append(node("Add", "a matrix", "b"))
    shared.graph.node.append(node("MatMul", "b own", "y"))
    shared.graph.initializer.append(weights("own", 4, 4))
    shared.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    after, done, _ = pruned(shared, tmp_path, Pruning())
    assert np.count_nonzero(after["matrix"]) == 16
    assert np.count_nonzero(after["own"]) == 8
    assert "1 of 1 layers" in done


# Clean-up


def untidy() -> onnx.ModelProto:
    return rows(
        node("Add", "one two", "three"),
        node("Identity", "x", "same"),
        node("Relu", "same", "unread"),
        node("Mul", "same three", "y"),
        initializers=[constant("one", 1, 1, 1, 1), constant("two", 2, 2, 2, 2)],
    )


def test_constants_are_folded_and_dead_ends_go(tmp_path: Path) -> None:
    base = exported(untidy(), tmp_path)
    outcome, done = simplify.simplified(base, tmp_path / "simple", for_tensorrt=True)
    assert done == "simplified: 4 -> 1 nodes"
    assert outcome.signature == base.signature == onnx_file.read_signature(onnx.load(str(outcome.path)).graph)
    x = np.ones((3, 4), "float32")
    np.testing.assert_array_equal(answers(outcome.path, x=x), 3 * x)


def test_a_tidy_graph_is_left_as_it_is(tmp_path: Path) -> None:
    base = exported(classifier(), tmp_path)
    outcome, done = simplify.simplified(base, tmp_path / "simple", for_tensorrt=False)
    assert outcome is base
    assert done == "nothing to simplify in 5 nodes"
    assert not (tmp_path / "simple").exists()


def transformer() -> onnx.ModelProto:
    """Return two residual sums, each before a layer normalization."""
    return onnx_files.model(
        nodes=[
            node("MatMul", "x matrix", "a"),
            node("Add", "x a", "b"),
            node("LayerNormalization", "b scale shift", "c"),
            node("MatMul", "c matrix", "d"),
            node("Add", "c d", "e"),
            node("LayerNormalization", "e scale shift", "y"),
        ],
        inputs=[("x", FLOAT, ["batch", 3, 8])],
        outputs=[("y", FLOAT, ["batch", 3, 8])],
        initializers=[weights("matrix", 8, 8), constant("scale", *[1] * 8), constant("shift", *[0] * 8)],
    )


def test_transformers_are_fused_for_onnx_runtime_alone(tmp_path: Path) -> None:
    base = exported(transformer(), tmp_path)
    fused, done = simplify.simplified(base, tmp_path / "fused", for_tensorrt=False)
    assert done == "simplified: 6 -> 4 nodes, 2 fusions"
    x = np.random.default_rng(2).standard_normal((2, 3, 8)).astype("float32")
    assert relative(answers(base.path, x=x), answers(fused.path, x=x)) < 1e-5
    plain, _ = simplify.simplified(base, tmp_path / "plain", for_tensorrt=True)
    assert {each.domain for each in edit.load(plain.path).graph.node} == {""}


def test_branches_survive_the_clean_up(tmp_path: Path) -> None:
    base = exported(branching(), tmp_path)
    outcome, _ = simplify.simplified(base, tmp_path / "simple", for_tensorrt=True)
    x = np.ones((1, 4), "float32")
    np.testing.assert_allclose(answers(outcome.path, x=x, flag=np.array(False)), [[4, 12, 18, 16]])


def test_a_type_that_the_opset_does_not_allow_is_refused(tmp_path: Path) -> None:
    path = lowered(bf16, classifier(), tmp_path).export.path
    model = edit.load(path)
    model.opset_import[0].version = 20
    with pytest.raises(ConversionError, match="unsupported type"):
        made.check_types(edit.save(model, tmp_path / "older")[0])
