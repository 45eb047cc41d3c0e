"""Operators that tf2onnx writes wrongly, on the values where it does: each answers as TensorFlow once it is mended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.tensorflow import TO_ONNX, operators
from modelrepo.generator.graphs.runtime import open_model
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.sources.tensorflow import tensorflow
from modelrepo.generator.sources.tensorflow.declared import Declared
from modelrepo.generator.sources.tensorflow.function import function_source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Domain

# Divisors are 1 in the example that an export runs.
ONE = Domain(1.0, 1.0)
WHOLE = np.array([-(2**31) + 1, -100, -7, -5, -3, -1, 0, 1, 3, 5, 7, 100, 2**24, 2**24 + 1, 2**31 - 1], np.int32)
LONG = np.array([-(2**62), -(2**53) - 1, -7, -1, 0, 1, 7, 2**53, 2**53 + 1, 2**62], np.int64)
HARD = np.array([-np.inf, -1e30, -7.5, -2.5, -0.5, -0.0, 0, 0.5, 1, 2.5, 7.5, 1e30, np.inf, np.nan], np.float32)
FAR = np.array([[0, 200, -200], [1, 2, 3], [1e4, 0, -1e4]], np.float32)
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2) - 4
IMAGES = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)


def int32(values: Sequence[Any]) -> Any:
    return np.array(values, np.int32)


def int64(values: Sequence[Any]) -> Any:
    return np.array(values, np.int64)


def uint8(values: Sequence[Any]) -> Any:
    return np.array(values, np.uint8)


def float32(values: Sequence[Any]) -> Any:
    return np.array(values, np.float32)


@dataclass(frozen=True)
class Case:
    """A TensorFlow function on inputs that tell: ``mended`` is the operator, ``answers`` are some of its answers."""

    mended: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    answers: Mapping[str, Any] | None = None
    domains: tuple[Domain, ...] = ()


def tf() -> Any:
    return tensorflow()


def pairs(values: Any, others: Any) -> tuple[Any, Any]:
    return np.repeat(values, len(others)), np.tile(others, len(values)).astype(values.dtype)


def case(mended: str, function: Callable[..., Any], *inputs: Any, **more: Any) -> Any:
    return pytest.param(Case(mended, function, inputs, **more), id=mended)


DIVISORS = [-7, -2, -1, 1, 2, 3]
HALVES = np.array([-7.5, -7, -0.5, -0.0, 0, 0.5, 6, 7, 1e6, 1e30], np.float32)
DIVIDED = {"domains": (Domain(), ONE)}
DIVISION = [
    case("FloorDiv", lambda x, y: tf().math.floordiv(x, y), *pairs(WHOLE, DIVISORS), **DIVIDED),
    case("FloorDiv", lambda x: tf().math.floordiv(x, 3), int32([-4, -3, 4]), answers={"output": [-2, -1, 1]}),
    case("FloorDiv", lambda x, y: tf().math.floordiv(x, y), *pairs(LONG, DIVISORS), **DIVIDED),
    case("FloorMod", lambda x: tf().math.floormod(x, 3), int32([-5, -3, 7]), answers={"output": [1, 0, 1]}),
    case("FloorMod", lambda x, y: tf().math.floormod(x, y), *pairs(LONG, DIVISORS), **DIVIDED),
    case("FloorMod", lambda x, y: tf().math.floormod(x, y), *pairs(HALVES, [-3, -0.5, 0.5, 3, np.inf]), **DIVIDED),
    case("TruncateMod", lambda x, y: tf().truncatemod(x, y), *pairs(WHOLE, DIVISORS), **DIVIDED),
    case("TruncateMod", lambda x, y: tf().truncatemod(x, y), *pairs(HALVES, [-3, 0.5, 3]), **DIVIDED),
]
CHOICES = [
    case(
        "SelectV2",
        lambda x: tf().where(x > 0, tf().sqrt(x), tf().zeros_like(x)),
        float32([-4, 4, -np.inf]),
        answers={"output": [0, 2, 0]},
    ),
    case("SelectV2", lambda x: tf().where(x > 0, x, -x), HARD),
    case("SelectV2", lambda x: tf().reduce_logsumexp(x, 1), float32([[-np.inf] * 2, [np.inf, 0], [1e3, -1e3]])),
    case("Select", lambda x: tf().compat.v1.where(x[:, 0] > 0, x, -x), float32([[1, -np.inf], [-1, np.inf]])),
    case("MatrixBandPart", lambda x: tf().linalg.band_part(x, 1, 0), np.full((1, 3, 4), np.nan, np.float32)),
]
COMPARISONS = [
    case("Less", lambda x: x < 2**24 + 1, WHOLE),
    case("Greater", lambda x: x > 2**53, LONG, answers={"output": [False] * 8 + [True] * 2}),
    case(
        "Equal", lambda x: tf().equal(x, ""), np.array(["", "a", "é"], object), answers={"output": [True, False, False]}
    ),
    case("NotEqual", lambda x: tf().not_equal("é", x), np.array(["", "é"], object), answers={"output": [True, False]}),
]
BEYOND = int32([-5, -4, -1, 0, 3, 4, 100])
ONE_HOT = [
    case("OneHot", lambda x: tf().one_hot(x, 2), int32([-1, 0, 2]), answers={"output": [[0, 0], [1, 0], [0, 0]]}),
    case("OneHot", lambda x: tf().one_hot(x, 4, on_value=3.0, off_value=-1.0), BEYOND),
    case("OneHot", lambda x: tf().one_hot(x, 4, axis=1, dtype="int64"), BEYOND.astype("int64").reshape(7, 1)),
    case("OneHot", lambda x: tf().one_hot(x, 4, axis=0, on_value=True, off_value=False), BEYOND.reshape(7, 1)),
]
NEAR = int32([-128, -7, -1, 0, 1, 7, 127])
BITS = [
    case("RightShift", lambda x, y: tf().bitwise.right_shift(x, y), *pairs(NEAR.astype("int8"), [0, 1, 7, 9])),
    case("RightShift", lambda x, y: tf().bitwise.right_shift(x, y), *pairs(LONG, [0, 1, 40, 63])),
    case("LeftShift", lambda x, y: tf().bitwise.left_shift(x, y), *pairs(LONG, [0, 1, 40, 63])),
    case("Invert", lambda x: tf().bitwise.invert(x), NEAR, answers={"output": [127, 6, 0, -1, -2, -8, -128]}),
    case("Invert", lambda x: tf().bitwise.invert(x), uint8([0, 1, 255])),
]
SEGMENTED = int32([0, -1, 2, 2, 0])
COLOURS = np.concatenate(
    [IMAGES * 40, np.zeros((2, 5, 7, 3), np.float32), np.full((2, 5, 7, 3), -3, np.float32), np.abs(IMAGES) % 1]
)
GATHERED = (ROWS, int32([4, 0, 0, 2]), int32([0, 0, 2, 4]))
SEGMENTS = [
    case("SparseSegmentMean", lambda x, i, ids: tf().sparse.segment_mean(x, i, ids), *GATHERED),
    case("SparseSegmentSqrtN", lambda x, i, ids: tf().sparse.segment_sqrt_n(x, i, ids), *GATHERED),
    *(
        case(
            f"UnsortedSegment{name}",
            lambda x, ids, name=name: getattr(tf().math, f"unsorted_segment_{name.lower()}")(x, ids, 4),
            ROWS,
            SEGMENTED,
        )
        for name in ("Sum", "Prod", "Max", "Min")
    ),
    *(
        case(
            f"Segment{name}",
            lambda x, ids, name=name: getattr(tf().math, f"segment_{name.lower()}")(x, ids),
            ROWS,
            int32([0, 0, 3, 3, 4]),
        )
        for name in ("Max", "Min", "Mean")
    ),
    case(
        "ScatterNd",
        lambda i, x: tf().scatter_nd(i, x, [3]),
        int32([[0], [2], [2]]),
        float32([1, 2, 3]),
        answers={"output": [1, 0, 5]},
    ),
    case(
        "DenseBincount",
        lambda x, w: tf().raw_ops.DenseBincount(input=x, size=3, weights=w),
        int32([[0, 0], [2, 9]]),
        float32([[0.5, 1], [2, 3]]),
        answers={"output": [[1.5, 0, 0], [0, 0, 2]]},
    ),
    case(
        "DenseBincount",
        lambda x: tf().raw_ops.DenseBincount(input=x, size=3, weights=np.zeros(0, "f4"), binary_output=True),
        int32([[0, 0], [2, 9]]),
        answers={"output": [[1, 0, 0], [0, 0, 1]]},
    ),
]
WHOLE_NUMBERS = [
    case("Sum", lambda x: tf().reduce_sum(x), int64([2**53, 1, 1, 1]), answers={"output": 2**53 + 3}),
    case("Sum", lambda x: tf().reduce_sum(x, 1, keepdims=True), int32([[2**30, 2**30, 2**30]])),
    case("TopKV2", lambda x: tf().math.top_k(x, 2)[0], WHOLE[None], answers={"output": [[2**31 - 1, 2**24 + 1]]}),
    case("Pow", lambda x: x ** tf().constant(5, "int64"), LONG),
    case("Pow", lambda x, y: x**y, *pairs(NEAR, [0, 1, 2, 31])),
]
TINY = float32([-np.inf, -90, -1e-6, -0.0, 1e-6, 1, 80, np.inf])
STEPS = float32([-9, -6, -0.5, 0, 0.02352941, 0.5, 6, 9])
FUNCTIONS = [
    case("Expm1", lambda x: tf().math.expm1(x), TINY),
    case("Log1p", lambda x: tf().math.log1p(x), float32([-1, -1e-6, -0.0, 1e-6, 1, 1e30, np.inf])),
    case("Erfc", lambda x: tf().math.erfc(x), TINY),
    case("Xlogy", lambda x, y: tf().math.xlogy(x, y), *pairs(HARD, HARD)),
    case("Xlog1py", lambda x, y: tf().math.xlog1py(x, y), *pairs(HARD, HARD)),
    case("Xdivy", lambda x, y: tf().math.xdivy(x, y), *pairs(HARD, HARD)),
    case("MulNoNan", lambda x, y: tf().math.multiply_no_nan(x, y), *pairs(HARD, HARD)),
    case(
        "SparseSoftmaxCrossEntropyWithLogits",
        lambda x, of: tf().nn.sparse_softmax_cross_entropy_with_logits(of, x),
        FAR,
        int32([2, 0, 1]),
    ),
    case("L2Loss", lambda x: tf().nn.l2_loss(x), ROWS),
    case("EuclideanNorm", lambda x: tf().math.reduce_euclidean_norm(x, 1), ROWS),
    case("Atan2", lambda x, y: tf().math.atan2(x, y), *pairs(HARD, HARD)),
    case("Bucketize", lambda x: tf().raw_ops.Bucketize(input=x, boundaries=[0.5, 1.0]), int32([-1, 0, 1])),
    case("Bucketize", lambda x: tf().raw_ops.Bucketize(input=x, boundaries=[0.0, 1.0]), HARD),
    case("FakeQuantWithMinMaxArgs", lambda x: tf().quantization.fake_quant_with_min_max_args(x, -6, 6), STEPS),
]
RESIZING = [
    case("ResizeArea", lambda x: tf().image.resize(x, (3, 4), "area"), IMAGES),
    case("ResizeBicubic", lambda x: tf().image.resize(x, (3, 9), "bicubic"), IMAGES),
    case("ScaleAndTranslate", lambda x: tf().image.resize(x, (3, 9), antialias=True), IMAGES),
]
CASES = [
    *(*DIVISION, *CHOICES, *COMPARISONS, *ONE_HOT, *BITS, *SEGMENTS, *WHOLE_NUMBERS, *FUNCTIONS, *RESIZING),
]
# Operators in the table that no case removes, since tf2onnx writes them rightly or not at all.
OTHERS = {"Div", "Mod", "TruncateDiv", "SegmentSum", "SegmentProd", "FakeQuantWithMinMaxVars"} | {
    *("FakeQuantWithMinMaxVarsPerChannel", "AdjustHue", "AdjustSaturation"),
}


def source_of(case: Case) -> SourceModel:
    domains = case.domains or (Domain(),) * len(case.inputs)
    declared = [
        Declared(f"x{number}", array.dtype.name, (None, *array.shape[1:]), domain)
        for number, (array, domain) in enumerate(zip(case.inputs, domains, strict=True))
    ]
    weights = Weights("own", "own", untrained=False)
    return function_source("python:own", lambda tensors: case.function(*tensors), declared, options(), weights)


def options(**given: Any) -> Any:
    return resolve({"model": "python:own", **given}, ConfigFile(), "python:own")[1]


def exported(source: SourceModel, inputs: Sequence[Any], folder: Path, **given: Any) -> dict[str, Any]:
    path = TO_ONNX.export(source, folder, options(**given)).path
    return open_model(path)({spec.name: array for spec, array in zip(source.inputs, inputs, strict=True)})


def same(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return all(
        wanted[name].shape == found[name].shape
        and wanted[name].dtype == found[name].dtype
        and np.allclose(wanted[name], found[name], 1e-5, 1e-6, equal_nan=True)
        and (wanted[name].dtype.kind == "f" or np.array_equal(wanted[name], found[name]))
        for name in wanted
    )


@pytest.mark.parametrize("case", CASES)
def test_an_operator_answers_as_tensorflow(case: Case, tmp_path: Path) -> None:
    """Below zero, at ties and edges, beside infinities and NaN, for large whole numbers."""
    source = source_of(case)
    wanted = source.run({spec.name: array for spec, array in zip(source.inputs, case.inputs, strict=True)})
    found = exported(source, case.inputs, tmp_path)
    assert same(wanted, found), (wanted, found)
    for name, answer in (case.answers or {}).items():
        assert found[name].tolist() == answer


def test_each_operator_of_the_table_has_a_case() -> None:
    assert {each.values[0].mended for each in CASES} | OTHERS == operators.WRITERS.keys()


@pytest.mark.parametrize("operator", sorted({each.values[0].mended for each in CASES}))
def test_a_mend_is_still_needed(operator: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it, tf2onnx writes something else or refuses: once this fails, the row of the table can go."""
    kept = {name: writer for name, writer in operators.WRITERS.items() if name != operator}
    monkeypatch.setattr(operators, "WRITERS", kept)
    cases = [each.values[0] for each in CASES if each.values[0].mended == operator]
    assert any(differs(each, tmp_path) for each in cases)


def differs(case: Case, folder: Path) -> bool:
    source = source_of(case)
    wanted = source.run({spec.name: array for spec, array in zip(source.inputs, case.inputs, strict=True)})
    try:
        return not same(wanted, exported(source, case.inputs, folder))
    except Exception:  # what tf2onnx writes can't be opened, or fails
        return True


def bitwise(x: Any, y: Any) -> Any:
    return {name: getattr(tf().bitwise, f"bitwise_{name}")(x, y) for name in ("and", "or", "xor")}


def test_bits_are_combined_in_the_opset_that_has_them(tmp_path: Path) -> None:
    """An older one is asked for: the operator and the opset are named, instead of a graph that can't be opened."""
    case = Case("BitwiseAnd", bitwise, pairs(NEAR, NEAR))
    source = source_of(case)
    x, y = case.inputs
    found = exported(source, case.inputs, tmp_path)
    assert same({"and": x & y, "or": x | y, "xor": x ^ y}, found)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 18
    with pytest.raises(ConversionError, match=r"Bitwise\w+ of python:own: ONNX has a form of it from opset 18 on"):
        exported(source, case.inputs, tmp_path, opset=17)


def test_a_divisor_of_unknown_domain_is_not_refused_for_zero(tmp_path: Path) -> None:
    x, y = pairs(NEAR, [-3, 3])
    case = Case("FloorDiv", lambda x, y: tf().math.floordiv(x, y), (x, y), domains=(Domain(known=False),) * 2)
    source = source_of(case)
    assert same({"output": x // y}, exported(source, case.inputs, tmp_path))


def test_other_graphs_keep_the_opset_that_pools_well(tmp_path: Path) -> None:
    exported(source_of(CASES[0].values[0]), CASES[0].values[0].inputs, tmp_path)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 17


def test_a_newer_opset_that_is_not_written_is_told(tmp_path: Path) -> None:
    source = source_of(CASES[0].values[0])
    assert "written in opset 17" in TO_ONNX.export(source, tmp_path / "newer", replace(options(), opset=18)).notes[0]
    assert not any("opset" in note for note in TO_ONNX.export(source, tmp_path / "usual", options()).notes)


@pytest.mark.parametrize(
    ("mended", "amounts"),
    [("AdjustHue", {"delta": -5.8}), ("AdjustHue", {"delta": 0.3}), ("AdjustSaturation", {"scale": 5.0})],
)
def test_colours_of_any_numbers_are_changed_by_any_amount(
    mended: str, amounts: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tf2onnx changes those between 0 and 1, by less than a turn; rounding counts next to the largest channel."""
    case = Case(mended, lambda x: getattr(tf().raw_ops, mended)(images=x, **amounts), (COLOURS,))
    source = source_of(case)
    wanted = source.run({source.inputs[0].name: COLOURS})["output"]
    found = exported(source, case.inputs, tmp_path / "mended")["output"]
    np.testing.assert_allclose(found, wanted, atol=3e-6 * np.abs(COLOURS).max())
    if amounts != {"delta": 0.3}:
        monkeypatch.delitem(operators.WRITERS, mended)
        assert not np.allclose(exported(source, case.inputs, tmp_path / "own")["output"], wanted, atol=1)


def test_areas_of_images_of_any_size_are_refused_with_what_to_do(tmp_path: Path) -> None:
    def halved(tensors: Any) -> Any:
        return tf().image.resize(tensors[0], (2, 2), "area")

    weights, declared = Weights("own", "own", untrained=False), [Declared("x", "float32", (None, None, None, 3))]
    source = function_source("python:own", halved, declared, options(), weights)
    with pytest.raises(ConversionError, match=r"ResizeArea .* area resizing needs sizes that are fixed.*--input-shape"):
        exported(source, [IMAGES], tmp_path)


def test_dilated_convolutions_of_any_size_have_pads_in_numbers(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype("float32")

    def convolved(tensors: Any) -> Any:
        return tf().nn.conv2d(tensors[0], kernel, 1, "SAME", dilations=2)

    weights, declared = Weights("own", "own", untrained=False), [Declared("x", "float32", (None, None, None, 3))]
    source = function_source("python:own", convolved, declared, options(), weights)
    assert same(source.run({"x": IMAGES}), exported(source, [IMAGES], tmp_path))
    unmended = onnx.load(tmp_path / "model.onnx")
    (node,) = (node for node in unmended.graph.node if node.op_type == "Conv")
    kept = [each for each in node.attribute if each.name != "pads"]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("auto_pad", "SAME_UPPER")])
    onnx.save(unmended, tmp_path / "unmended.onnx")
    with pytest.raises(Exception, match="Dilation not supported"):
        open_model(tmp_path / "unmended.onnx")({"x": IMAGES})


def test_operators_within_loops_and_branches_are_mended(tmp_path: Path) -> None:
    """Loops of no, one and many turns, both sides of a branch; the counter of a loop is compared with an int32."""

    def turned(x: Any, n: Any) -> Any:
        library = tf()
        last = library.while_loop(lambda i, a: i < n[0], lambda i, a: (i + 1, library.math.floordiv(a - i, 3)), (0, x))
        side = library.cond(
            n[0] > 1, lambda: library.math.floormod(x, 3), lambda: library.one_hot(x, 2, dtype="int32")[:, 1]
        )
        return {"loop": last[1], "side": side}

    for turns in (0, 1, 9):
        case = Case("", turned, (NEAR, int32([turns])))
        source = source_of(case)
        wanted = source.run({"x0": NEAR, "x1": int32([turns])})
        assert same(wanted, exported(source, case.inputs, tmp_path))
