"""--make-batch-dynamic: an ONNX file with a fixed batch takes batches of any size, or is refused with the reason."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export.onnx import batch
from modelrepo.generator.graphs import runtime
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec
from modelrepo.generator.verification.inputs import make_pool
from tests import onnx_files
from tests.conftest import Generate, snapshot
from tests.coverage.light_models import MODELS, LightModel
from tests.onnx_files import FLOAT, INT64, Declared, write

node = helper.make_node
RANDOM = np.random.default_rng(0)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RANDOM.standard_normal(shape).astype("float32"), name)


def sizes(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def parts(
    inputs: Sequence[Declared],
    outputs: Sequence[Declared],
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    **more: Any,
) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "nodes": nodes, "initializers": initializers, **more}


def image(count: int) -> list[Declared]:
    return [("x", FLOAT, [count, 2, 4, 4])]


FLAT = parts(
    image(1),
    [("y", FLOAT, [1, 3])],
    [node("Reshape", ["x", "flat"], ["f"]), node("MatMul", ["f", "w"], ["y"])],
    [sizes("flat", 1, 32), weights("w", 32, 3)],
)
# Every way in which exporters fix the batch that was met: name, model.
FIXED: dict[str, dict[str, Any]] = {
    "a flat one": FLAT,
    "IR 3, where initializers are inputs": {
        **FLAT,
        "inputs": [*image(1), ("flat", INT64, [2]), ("w", FLOAT, [32, 3])],
        "ir_version": 3,
        "opset": 9,
    },
    "a batch of 4, flat, with one size left open": parts(
        image(4),
        [("y", FLOAT, [4, 32])],
        [node("Reshape", ["x", "flat"], ["y"])],
        [sizes("flat", 4, -1)],
    ),
    "an open length beside the batch": parts(
        [("x", FLOAT, [1, "length", 6])],
        [("y", FLOAT, [1, "length", 2, 3])],
        [node("Reshape", ["x", "heads"], ["y"])],
        [sizes("heads", 1, -1, 2, 3)],
    ),
    "an open length, merged with the batch and taken apart": parts(
        [("x", FLOAT, [2, "length", 6])],
        [("y", FLOAT, [2, "length", 3])],
        [
            node("Reshape", ["x", "merged"], ["m"]),
            node("MatMul", ["m", "w"], ["p"]),
            node("Reshape", ["p", "apart"], ["y"]),
        ],
        [sizes("merged", -1, 6), weights("w", 6, 3), sizes("apart", 2, -1, 3)],
    ),
    "time first, merged with the batch behind it": parts(
        [("x", FLOAT, [1, 5, 6])],
        [("y", FLOAT, [1, 5, 3])],
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("Reshape", ["t", "merged"], ["m"]),
            node("MatMul", ["m", "w"], ["p"]),
            node("Softmax", ["p"], ["s"], axis=-1),
            node("Reshape", ["s", "apart"], ["a"]),
            node("CumSum", ["a", "first"], ["c"]),
            node("Transpose", ["c"], ["y"], perm=[1, 0, 2]),
        ],
        [
            sizes("merged", 5, 6),
            weights("w", 6, 3),
            sizes("apart", 5, 1, 3),
            numpy_helper.from_array(np.array(0), "first"),
        ],
    ),
    "heads of attention, merged with the batch before them": parts(
        [("x", FLOAT, [2, 5, 6])],
        [("y", FLOAT, [2, 5, 6])],
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("Reshape", ["t", "heads"], ["h"]),
            node("Transpose", ["h"], ["q"], perm=[1, 0, 2]),
            node("Transpose", ["h"], ["k"], perm=[1, 2, 0]),
            node("MatMul", ["q", "k"], ["scores"]),
            node("Softmax", ["scores"], ["shares"], axis=-1),
            node("MatMul", ["shares", "q"], ["v"]),
            node("Transpose", ["v"], ["back"], perm=[1, 0, 2]),
            node("Reshape", ["back", "whole"], ["w"]),
            node("Transpose", ["w"], ["y"], perm=[1, 0, 2]),
        ],
        [sizes("heads", 5, 6, 2), sizes("whole", 5, 2, 6)],
    ),
    "a token that is written once a sample": parts(
        [("x", FLOAT, [2, 3, 4])],
        [("y", FLOAT, [2, 4, 4])],
        [
            node("Slice", ["t", "0", "1", "0"], ["one"]),
            node("Expand", ["one", "both"], ["cls"]),
            node("Concat", ["cls", "x"], ["y"], axis=1),
        ],
        [weights("t", 2, 1, 4), sizes("0", 0), sizes("1", 1), sizes("both", 2, 1, 4)],
    ),
    "weights that are written once a sample": parts(
        [("x", FLOAT, [3, 4])],
        [("y", FLOAT, [3, 4])],
        [node("Mul", ["x", "same"], ["y"])],
        [numpy_helper.from_array(np.tile(np.arange(4, dtype="float32"), (3, 1)), "same")],
    ),
    "the state that a recurrent layer starts with": parts(
        [("x", FLOAT, [1, 5, 2])],
        [("y", FLOAT, [1, 1, 3])],
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("GRU", ["t", "w", "r", "", "", "h"], ["", "last"], hidden_size=3),
            node("Transpose", ["last"], ["y"], perm=[1, 0, 2]),
        ],
        [weights("w", 1, 9, 2), weights("r", 1, 9, 3), weights("h", 1, 1, 3)],
    ),
    "the sizes of a Resize": parts(
        image(2),
        [("y", FLOAT, [2, 2, 7, 5])],
        [node("Resize", ["x", "", "", "larger"], ["y"])],
        [sizes("larger", 2, 2, 7, 5)],
    ),
    "a Slice from the first sample to the last": parts(
        image(2),
        [("y", FLOAT, [2, 2, 3, 4])],
        [node("Slice", ["x", "from", "to", "axes"], ["y"])],
        [sizes("from", 0, 1), sizes("to", 2, 4), sizes("axes", 0, -2)],
    ),
    "an Expand to the batch": parts(
        [("x", FLOAT, [2, 1, 4])],
        [("y", FLOAT, [2, 3, 4])],
        [node("Expand", ["x", "wide"], ["y"])],
        [sizes("wide", 2, 3, 4)],
    ),
    "places that a GridSample looks at": parts(
        image(1),
        [("y", FLOAT, [1, 2, 3, 3])],
        [node("GridSample", ["x", "grid"], ["y"])],
        [numpy_helper.from_array(RANDOM.uniform(-1, 1, (1, 3, 3, 2)).astype("float32"), "grid")],
    ),
    "an output that is the same for every sample": parts(
        [("x", FLOAT, [2, 4])],
        [("y", FLOAT, [2, 4]), ("anchors", FLOAT, [2, 3])],
        [node("Relu", ["x"], ["y"])],
        [numpy_helper.from_array(np.tile(np.arange(3, dtype="float32"), (2, 1)), "anchors")],
    ),
    "sizes that are computed of a shape": parts(
        image(1),
        [("y", FLOAT, [1, 2, 16])],
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "second"], ["channels"]),
            node("Mod", ["two", "one"], ["nothing"]),
            node("Concat", ["one", "channels", "rest"], ["sizes"], axis=0),
            node("Reshape", ["x", "sizes"], ["y"]),
        ],
        [sizes("second", 1), sizes("one", 1), sizes("two", 2), sizes("rest", -1)],
    ),
    "several inputs and outputs": parts(
        [("ids", INT64, [1, 3]), ("x", FLOAT, [1, 3, 2])],
        [("y", FLOAT, [1, 6]), ("z", FLOAT, [1])],
        [
            node("Gather", ["table", "ids"], ["words"]),
            node("Add", ["words", "x"], ["sum"]),
            node("Reshape", ["sum", "flat"], ["y"]),
            node("ReduceSum", ["y", "last"], ["z"], keepdims=0),
        ],
        [weights("table", 2, 2), sizes("flat", 1, 6), sizes("last", 1)],
    ),
    "names of its own for each first dimension": parts(
        [("x", FLOAT, ["unk_1", 4])],
        [("y", FLOAT, ["unk_2", 2, 2])],
        [node("Reshape", ["x", "square"], ["y"])],
        [sizes("square", -1, 2, 2)],
    ),
}


def run_of(path: str) -> Callable[[Arrays], dict[str, Array]]:
    return runtime.open_model(Path(path))


def rows(declared: Sequence[Declared], count: int) -> Arrays:
    dtypes: dict[int, str] = {FLOAT: "float32", INT64: "int64"}
    specs = [
        TensorSpec(name, dtypes[kind], ("row", *(size if isinstance(size, int) else 7 for size in (shape or ())[1:])))
        for name, kind, shape in declared
        if name not in ("flat", "w")
    ]
    return make_pool(specs, count, 1).only(range(count)).arrays


def asked_in_batches_of(size: int, run: Callable[[Arrays], dict[str, Array]], arrays: Arrays) -> dict[str, Array]:
    count = len(next(iter(arrays.values())))
    answers = [
        run({name: array[start : start + size] for name, array in arrays.items()}) for start in range(0, count, size)
    ]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


@pytest.mark.parametrize("kind", FIXED)
def test_a_fixed_batch_becomes_dynamic_and_every_sample_keeps_its_answer(
    generate: Generate, workdir: Path, kind: str
) -> None:
    model = FIXED[kind]
    write("net.onnx", **model)
    outcome = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--max-batch-size", "5", "--json", "-q")
    assert outcome.code == 0, outcome.err
    result = outcome.result
    assert (result["max_batch_size"], result["verification"]["batch_invariant"]) == (5, True)
    assert result["notes"][0].startswith("its batch of ")
    served = onnx.load("model_repository/net/1/model.onnx")
    onnx.checker.check_model(served, full_check=True)
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in served.graph.output} == {"batch"}
    fixed = model["inputs"][0][2][0]
    arrays = rows(model["inputs"], 12)
    wanted = asked_in_batches_of(fixed if isinstance(fixed, int) else 1, run_of("net.onnx"), arrays)
    for size in (1, 5, 12):
        for name, answer in asked_in_batches_of(size, run_of("model_repository/net/1/model.onnx"), arrays).items():
            np.testing.assert_allclose(answer, wanted[name], rtol=1e-5, atol=1e-6, err_msg=f"{name} at {size}")


def test_triton_merges_requests_to_a_model_that_took_one_sample(generate: Generate, workdir: Path) -> None:
    write("net.onnx", **FIXED["several inputs and outputs"])
    outcome = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--live-check", "require", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["live"]["largest_merged_batch"] > 1


def test_without_the_flag_a_fixed_batch_is_served_unchanged_and_the_flag_is_named(
    generate: Generate, workdir: Path
) -> None:
    write("net.onnx", **FIXED["a batch of 4, flat, with one size left open"])
    content = Path("net.onnx").read_bytes()
    result = generate("--model", "onnx:net.onnx", "--json", "-q").result
    assert result["max_batch_size"] == 0
    assert any("--make-batch-dynamic" in note for note in result["notes"])
    assert Path("model_repository/net/1/model.onnx").read_bytes() == content
    result = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--json", "-q").result
    assert (result["version"], result["max_batch_size"]) == (2, 16)


def whole_numbers(*names: str | None) -> dict[str, Any]:
    """Return the parts of a model that adds two inputs of whole numbers, with these names of first dimensions."""
    a, b, y = ((name, TensorProto.INT32, [first, 1]) for name, first in zip("aby", names, strict=True))
    return parts([a, b], [y], [node("Add", ["a", "b"], ["y"])])


@pytest.mark.parametrize(
    "names", [(None, None, None), ("a", "b", "c"), ("batch", None, "batch"), ("batch", 1, "batch")]
)
def test_first_dimensions_without_one_name_get_one_if_asked_and_the_flag_is_named(
    generate: Generate, workdir: Path, names: Any
) -> None:
    """These are Triton's own QA models; with no tensor of floats, no value within the graph is looked at."""
    write("net.onnx", **whole_numbers(*names))
    plain = generate("--model", "onnx:net.onnx", "--json", "-q").result
    assert plain["max_batch_size"] == 0
    assert any("if they are one batch, --make-batch-dynamic" in note for note in plain["notes"])
    asked = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--json", "-q").result
    assert asked["max_batch_size"] == 16
    assert not any("--make-batch-dynamic" in note for note in asked["notes"])


def test_samples_prove_a_batch_of_a_model_that_refuses_generated_sizes(generate: Generate, workdir: Path) -> None:
    model = parts(
        [("x", FLOAT, [None, "length"])],
        [("y", FLOAT, [None, 3])],
        [node("Reshape", ["x", "sizes"], ["r"]), node("MatMul", ["r", "w"], ["y"])],
        [sizes("sizes", -1, 50), weights("w", 50, 3)],
    )
    write("net.onnx", **model)
    np.savez("sample.npz", x=np.random.default_rng(0).standard_normal((1, 50)).astype("float32"))
    arguments = ("--model", "onnx:net.onnx", "--make-batch-dynamic", "-q")
    assert "nothing proves it" in generate(*arguments).err
    assert generate(*arguments, "--samples", "sample.npz", "--json").result["max_batch_size"] == 16


def test_a_dynamic_batch_stays_unchanged_with_a_note(generate: Generate, workdir: Path) -> None:
    content = write("net.onnx").read_bytes()
    result = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--json", "-q").result
    assert "its batch is dynamic already: --make-batch-dynamic changes nothing" in result["notes"]
    assert Path("model_repository/net/1/model.onnx").read_bytes() == content


def test_external_weights_stay_where_they_are(generate: Generate, workdir: Path) -> None:
    model = onnx_files.model(**FLAT)
    large = model.graph.initializer[1]
    Path("w.bin").write_bytes(large.raw_data)
    large.ClearField("raw_data")
    large.data_location = TensorProto.EXTERNAL
    large.external_data.add(key="location", value="w.bin")
    Path("net.onnx").write_bytes(model.SerializeToString())
    outcome = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 16
    assert Path("model_repository/net/1/w.bin").stat().st_size == Path("w.bin").stat().st_size


def test_functions_are_inlined(generate: Generate, workdir: Path) -> None:
    model = onnx_files.model(
        nodes=[node("Flat", ["x"], ["y"], domain="mine")], inputs=image(1), outputs=[("y", FLOAT, [1, 32])]
    )
    constant = node("Constant", [], ["s"], value_ints=[1, 32])
    body = [constant, node("Reshape", ["x", "s"], ["y"])]
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("mine", "Flat", ["x"], ["y"], body, opsets))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    Path("net.onnx").write_bytes(model.SerializeToString())
    outcome = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 16


# What is refused.

ONE: Declared = ("x", FLOAT, [1, 4])
SAME: Declared = ("y", FLOAT, [1, 4])
LABEL: Declared = ("y", INT64, [1])
CERTAIN = numpy_helper.from_array(np.array([0, 0, 0, 1000], "float32"), "certain")
FIRST = numpy_helper.from_array(np.array(0), "first")
REFUSED: dict[str, dict[str, Any]] = {
    "mean-of-the-batch": parts(
        [ONE], [SAME], [node("ReduceMean", ["x", "0"], ["m"], "mean"), node("Sub", ["x", "m"], ["y"])], [sizes("0", 0)]
    ),
    "mean-of-4": parts(
        [("x", FLOAT, [4, 4])],
        [("y", FLOAT, [4, 4])],
        [node("ReduceMean", ["x", "0"], ["m"], "mean"), node("Add", ["x", "m"], ["y"])],
        [sizes("0", 0)],
    ),
    "first-sample": parts(
        [ONE],
        [SAME],
        [node("Gather", ["x", "first"], ["f"], "pick"), node("Unsqueeze", ["f", "0"], ["y"])],
        [FIRST, sizes("0", 0)],
    ),
    "squeezed": parts(
        [ONE],
        [SAME],
        [node("Squeeze", ["x", "0"], ["f"], "drop"), node("Relu", ["f"], ["r"]), node("Unsqueeze", ["r", "0"], ["y"])],
        [sizes("0", 0)],
    ),
    "scalar-input": parts([ONE, ("scale", FLOAT, [])], [SAME], [node("Mul", ["x", "scale"], ["y"])]),
    "different-sizes": parts([ONE, ("z", FLOAT, [2, 4])], [("y", FLOAT, [2, 4])], [node("Add", ["x", "z"], ["y"])]),
    "output-without-batch": parts(
        [("x", FLOAT, [2, 4])], [("y", FLOAT, [4])], [node("ReduceSum", ["x", "0"], ["y"], keepdims=0)], [sizes("0", 0)]
    ),
    # What no noise shows: noise is always of the same class, is never that large, and never fills a batch of 4.
    "class-of-the-first": parts(
        [ONE],
        [LABEL],
        [
            node("Gather", ["x", "first"], ["f"], "pick"),
            node("Add", ["f", "certain"], ["s"]),
            node("ArgMax", ["s"], ["a"], keepdims=0),
            node("Unsqueeze", ["a", "0"], ["y"]),
        ],
        [FIRST, CERTAIN, sizes("0", 0)],
    ),
    "class-of-a-share": parts(
        [ONE],
        [LABEL],
        [
            node("Softmax", ["x"], ["shares"], "share", axis=0),
            node("Add", ["shares", "certain"], ["s"]),
            node("ArgMax", ["s"], ["y"], axis=1, keepdims=0),
        ],
        [CERTAIN],
    ),
    "limit-of-the-batch": parts(
        [ONE],
        [SAME],
        [
            node("ReduceMax", ["x"], ["m"], "largest", keepdims=0),
            node("Less", ["m", "limit"], ["l"]),
            node("Where", ["l", "x", "limit"], ["y"]),
        ],
        [numpy_helper.from_array(np.array(1000, "float32"), "limit")],
    ),
    "place-in-the-batch": parts(
        [("x", FLOAT, [4, 4])],
        [("y", FLOAT, [4, 4])],
        [node("Add", ["x", "last"], ["y"])],
        [numpy_helper.from_array(np.array([[0], [0], [0], [1]], "float32"), "last")],
    ),
    "nothing-answered": parts([ONE], [SAME], [node("Sqrt", ["x"], ["s"]), node("Log", ["s"], ["y"])]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_batch_that_stays_fixed_is_refused_with_the_node_that_keeps_it(
    generate: Generate, workdir: Path, golden: Callable[[str, str], None], case: str
) -> None:
    write("net.onnx", **REFUSED[case])
    before = snapshot(workdir)
    outcome = generate("--model", "onnx:net.onnx", "--make-batch-dynamic", "--quiet")
    assert outcome.code == ConversionError.exit_code
    assert outcome.err.count("\n") == 1
    assert snapshot(workdir) == before
    golden(f"messages/onnx/batch/{case}.txt", outcome.err)


# Networks of others.


@pytest.mark.parametrize(
    "network",
    [
        network if name == "light_shufflenet" else pytest.param(network, marks=pytest.mark.slow)
        for name, network in MODELS.items()
    ],
    ids=list(MODELS),
)
def test_a_light_network_answers_as_expected_in_a_batch_of_three(network: LightModel, tmp_path: Path) -> None:
    model = onnx.load(network.path)
    batch.make_dynamic(model, 1, network.path.parent)
    onnx.save(model, tmp_path / "model.onnx")
    answers = run_of(str(tmp_path / "model.onnx"))(
        {name: np.repeat(array, 3, 0) for name, array in network.inputs.items()}
    )
    for row in range(3):
        network.check({name: answer[row : row + 1] for name, answer in answers.items()})
