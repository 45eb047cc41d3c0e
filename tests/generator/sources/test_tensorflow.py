"""TensorFlow models: Keras files, SavedModels and TensorFlow Lite files, generated and served, or refused."""

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.export.tensorflow.graph import LARGE
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import find, keras, savedmodel, tflite
from modelrepo.generator.sources import tensorflow as sources
from modelrepo.generator.sources.tensorflow.declared import declared_from
from modelrepo.generator.sources.tensorflow.function import function_source
from modelrepo.generator.sources.tensorflow.layers import keras_source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.system import extras
from modelrepo.generator.system.quiet import quiet
from tests.conftest import PROJECT, Generate, Outcome, snapshot

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WIDE = 300  # a layer this wide has weights that do not pass through tf2onnx


def save_keras(folder: Path) -> None:
    """Save Keras models: of several inputs, of images, of words, with all operators of ours; and refused ones."""
    library = sources.keras()
    layers = library.layers
    library.utils.set_random_seed(0)

    tokens = library.Input((None,), dtype="int32", name="tokens")
    extra = library.Input((4,), name="extra")
    read = layers.GRU(8)(layers.Embedding(3000, 8)(tokens))
    joined = layers.Dropout(0.9)(layers.Concatenate()([read, layers.Dense(WIDE, activation="gelu")(extra)]))
    score = layers.Dense(2, name="score")(layers.Dense(WIDE)(joined))
    two = {"tokens": tokens, "extra": extra}
    library.Model(two, {"score": score, "parts": [read, joined]}).save(folder / "two.keras")

    image = library.Input((None, None, 16))
    seen = layers.BatchNormalization()(layers.Conv2D(WIDE, 3, strides=4, use_bias=False)(image))
    seen = layers.DepthwiseConv2D(9, padding="same")(layers.RandomFlip()(seen))
    library.Model(image, layers.GlobalAveragePooling2D()(seen)).save(folder / "image.keras")

    word, number = library.Input((1,), dtype="string", name="word"), library.Input((3,), name="number")
    table = [
        layers.StringLookup(vocabulary=["red", "green", "blue"], output_mode="one_hot")(word),
        layers.Discretization(bin_boundaries=[-1.0, 0.0, 2.0], output_mode="one_hot")(number),
        layers.Flatten()(layers.Activation("celu")(number)),
    ]
    library.Model([word, number], layers.Concatenate(name="row")([layers.Flatten()(each) for each in table])).save(
        folder / "table.keras"
    )

    mixed = library.DTypePolicy("mixed_float16")
    half = library.Sequential([library.Input((4,)), layers.Dense(3, dtype=mixed)])
    half.save(folder / "half.keras")
    half.save(folder / "old.h5")
    half.save_weights(folder / "half.weights.h5")
    shutil.copy(folder / "half.weights.h5", folder / "only.h5")
    shutil.copy(folder / "old.h5", folder / "old.model")
    library.Sequential([layers.Dense(3)]).save(folder / "unbuilt.keras")
    library.Sequential([library.Input((4,)), layers.Lambda(lambda x: x + 1)]).save(folder / "code.keras")
    library.Sequential([library.Input(batch_shape=(2, 3, 4)), layers.LSTM(2, stateful=True, name="goes_on")]).save(
        folder / "stateful.keras"
    )
    each_step = layers.TimeDistributed(layers.Dense(2))
    library.Sequential([library.Input((None, 6)), layers.LSTM(4, return_sequences=True), each_step]).save(
        folder / "steps.keras"
    )

    class Own(layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    library.Sequential([library.Input((4,)), Own()]).save(folder / "own.keras")
    text = layers.TextVectorization(output_sequence_length=4, vocabulary=["red", "green"], name="text")
    words = library.Input((None, 3), name="words")
    library.Model(words, layers.Conv1D(2, 16)(words)).save(folder / "wide.keras")
    phrase = library.Input((), dtype="string", name="phrase")
    library.Model(phrase, text(phrase), name="words").save(folder / "phrase.keras")


def save_models(folder: Path) -> None:
    """Save SavedModels, with text and a table, with control flow, without a signature; and a quantized TFLite file."""
    tensorflow = sources.tensorflow()
    library = sources.keras()

    class Words(tensorflow.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            words = tensorflow.lookup.KeyValueTensorInitializer(["0.5", "-1"], tensorflow.constant([3, 4], "int64"))
            self.table = tensorflow.lookup.StaticHashTable(words, 0)
            self.step = tensorflow.Variable(np.eye(3, dtype="float32") * 2)

        @tensorflow.function  # type: ignore[untyped-decorator]
        def find(self, words: Any, values: Any) -> Any:
            return {"place": self.table.lookup(words), "same": words, "twice": values * 2}

        @tensorflow.function  # type: ignore[untyped-decorator]
        def repeat(self, row: Any, times: Any) -> Any:
            for _ in tensorflow.range(times):
                row = tensorflow.matmul(row, self.step)
            return {"row": row if tensorflow.reduce_sum(row) > 0 else row - 1}

    def spec(shape: list[int | None], dtype: str, name: str) -> Any:
        return tensorflow.TensorSpec(shape, dtype, name=name)

    words = Words()
    find = words.find.get_concrete_function(spec([None], "string", "words"), spec([None, 2], "float32", "values"))
    repeat = words.repeat.get_concrete_function(spec([None, 3], "float32", "row"), spec([], "int32", "times"))
    tensorflow.saved_model.save(words, str(folder / "words"), signatures={"serving_default": find, "repeat": repeat})
    tensorflow.saved_model.save(words, str(folder / "choose"), signatures={"find": find, "repeat": repeat})
    tensorflow.saved_model.save(tensorflow.Module(), str(folder / "mute"))
    counting = tensorflow.Module()
    counting.asked = tensorflow.Variable(0.0)
    row = tensorflow.TensorSpec([None, 4], "float32", "x")
    count = tensorflow.function(lambda x: {"y": x + counting.asked.assign_add(1.0)}, input_signature=[row])
    tensorflow.saved_model.save(counting, str(folder / "counting"), signatures=count)

    @tensorflow.function(input_signature=[spec([None, 4], "float32", "x")])  # type: ignore[untyped-decorator]
    def repeated(x: Any) -> Any:
        return {"same": x, "twice": x * 2, "double": x * 2}

    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([repeated.get_concrete_function()])
    (folder / "repeated.tflite").write_bytes(converter.convert())
    both = tensorflow.Module()
    both.repeated = repeated
    signatures = {"one": repeated.get_concrete_function(), "two": repeated.get_concrete_function()}
    tensorflow.saved_model.save(both, str(folder / "both"), signatures=signatures)
    converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(folder / "both"), signature_keys=["one", "two"])
    (folder / "several.tflite").write_bytes(converter.convert())

    library.utils.set_random_seed(1)
    layers = library.layers
    image = library.Sequential(
        [library.Input((8, 8, 3)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(4)]
    )
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(image)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter([[np.random.default_rng(0).random((1, 8, 8, 3), "float32")]] * 4)
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tensorflow.uint8
    (folder / "quantized.tflite").write_bytes(converter.convert())


def save_wide(folder: Path) -> None:
    """Save TensorFlow Lite files with weights that do not pass through tf2onnx: float32, halves, and quantized."""
    tensorflow = sources.tensorflow()
    library = sources.keras()
    layers = library.layers
    library.utils.set_random_seed(0)
    wide = [
        *(library.Input((9, 9, 16), batch_size=1), layers.Conv2D(WIDE, 3, activation="relu")),
        *(layers.DepthwiseConv2D(9, padding="same"), layers.GlobalAveragePooling2D(), layers.Dense(WIDE)),
    ]
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(library.Sequential(wide))
    (folder / "wide.tflite").write_bytes(converter.convert())
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tensorflow.float16]
    (folder / "wide-halves.tflite").write_bytes(converter.convert())
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(library.Sequential(wide))
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter([[np.random.default_rng(0).random((1, 9, 9, 16), "float32")]] * 4)
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (folder / "wide-quantized.tflite").write_bytes(converter.convert())


def save_damaged(folder: Path) -> None:
    """Save copies of quantized.tflite, each with one important number changed."""
    from tf2onnx.tflite.Model import Model

    def damaged(name: str, change: Callable[[bytearray, Any], Any]) -> None:
        content = bytearray((folder / "quantized.tflite").read_bytes())
        change(content, Model.GetRootAs(content).Subgraphs(0))
        (folder / f"{name}.tflite").write_bytes(content)

    def made(graph: Any) -> Any:
        """Return how the outcome of the first operator is quantized, which makes int8 of the input."""
        return graph.Tensors(graph.Operators(0).Outputs(0)).Quantization()

    def cut(content: bytearray, graph: Any) -> None:
        del content[graph._tab.Pos + 16 :]

    damaged("zero-point", lambda content, graph: np.copyto(made(graph).ZeroPointAsNumpy(), -255))
    damaged("scale", lambda content, graph: np.copyto(made(graph).ScaleAsNumpy(), -1e-38))
    damaged("place", lambda content, graph: np.copyto(graph.Operators(1).InputsAsNumpy(), 999))
    damaged("shape", lambda content, graph: np.copyto(graph.Tensors(graph.Inputs(0)).ShapeAsNumpy(), 1 << 20))
    damaged("cut-in-tables", cut)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all models of these tests, made once."""
    folder = tmp_path_factory.mktemp("models")
    with quiet():  # TensorFlow and Keras warn of what they do themselves
        save_keras(folder)
        save_models(folder)
        save_wide(folder)
    save_damaged(folder)
    (folder / "cut.keras").write_bytes((folder / "two.keras").read_bytes()[:2000])
    (folder / "cut.tflite").write_bytes((folder / "quantized.tflite").read_bytes()[:-500])
    shutil.copytree(folder / "words", folder / "cut")
    (folder / "cut/saved_model.pb").write_bytes((folder / "words/saved_model.pb").read_bytes()[:999])
    (folder / "nested/saved_model.pb").mkdir(parents=True)
    shutil.copytree(folder / "words", folder / "bare")
    shutil.rmtree(folder / "bare/variables")
    with zipfile.ZipFile(folder / "leads-out.keras", "w") as archive:
        for name in ("config.json", "metadata.json", "../model.weights.h5"):
            archive.writestr(name, "{}")
    return folder


def options(reference: str, **given: Any) -> Options:
    return resolve({"model": reference, **given}, ConfigFile(), reference)[1]


def served(outcome: Outcome) -> tuple[list[str], list[str], int]:
    """Return the inputs and outputs of the published model and its largest batch; it was run in a real Triton."""
    assert outcome.code == 0, outcome.err
    row = outcome.result
    assert row["verification"]["live"]["status"] == "passed"
    model = onnx.load(Path(row["path"]) / "model.onnx")
    return [each.name for each in model.graph.input], [each.name for each in model.graph.output], row["max_batch_size"]


# What is served.


def test_a_keras_model_of_several_inputs_and_nested_outputs_is_served(generate: Generate, models: Path) -> None:
    outcome = generate("--model", f"keras:{models}/two.keras", "--live-check", "require", "--json")
    assert served(outcome) == (["extra", "tokens"], ["score", "parts_0", "parts_1"], 16)
    assert outcome.result["verification"]["max_rel_diff"] < 1e-5  # dropout would change most of it


def test_a_saved_model_with_text_and_a_table_is_served(generate: Generate, models: Path) -> None:
    outcome = generate("--model", f"savedmodel:{models}/words", "--live-check", "require", "--json")
    inputs, outputs, batch = served(outcome)
    assert (sorted(inputs), sorted(outputs), batch) == (["values", "words"], ["place", "same", "twice"], 16)


def test_a_quantized_file_is_served_in_its_own_numbers(generate: Generate, models: Path) -> None:
    outcome = generate("--model", f"tflite:{models}/quantized.tflite", "--live-check", "require", "--json")
    assert served(outcome)[2] == 16
    model = onnx.load(Path(outcome.result["path"]) / "model.onnx")
    kinds = {each.type.tensor_type.elem_type for each in (*model.graph.input, *model.graph.output)}
    assert kinds == {onnx.TensorProto.UINT8}


def test_a_tensor_may_be_an_input_and_several_outputs(generate: Generate, models: Path) -> None:
    outcome = generate("--model", f"tflite:{models}/repeated.tflite", "--json", "-q")
    assert outcome.code == 0, outcome.err
    model = onnx.load(Path(outcome.result["path"]) / "model.onnx")
    assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["x", "output_0", "x_1", "output_2"]


def test_a_signature_with_control_flow_and_a_scalar_is_chosen(generate: Generate, models: Path) -> None:
    outcome = generate(
        "--model", f"savedmodel:{models}/words", "--signature", "repeat", "--live-check", "require", "--json"
    )
    assert (outcome.code, outcome.result["max_batch_size"]) == (0, 0), outcome.err
    assert "batching is off: times[]" in outcome.result["notes"][-1]


def test_images_of_any_size_become_images_of_one(generate: Generate, models: Path) -> None:
    argument = f"keras:{models}/image.keras"
    outcome = generate("--model", argument, "--max-batch-size", "2", "--input-shape", "32x32x16", "--json")
    assert (outcome.code, outcome.result["max_batch_size"]) == (0, 2), outcome.err
    graph = onnx.load(Path(outcome.result["path"]) / "model.onnx").graph
    shape = [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    assert (graph.input[0].name, shape) == ("input", ["batch", 32, 32, 16])
    outcome = generate("--model", argument, "--max-batch-size", "2", "--name-template", "any", "--json")
    assert outcome.code == 0, outcome.err
    dims = onnx.load(Path(outcome.result["path"]) / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims[:3]] == ["batch", "input_1", "input_2"]


def test_weights_are_written_as_onnx_has_them(generate: Generate, models: Path) -> None:
    """Weights that do not pass through tf2onnx are transposed when they are written, without operators for that."""
    argument = f"keras:{models}/image.keras"
    outcome = generate("--model", argument, "--no-verify", "--input-shape", "32x32x16", "--json")
    graph = onnx.load(Path(outcome.result["path"]) / "model.onnx").graph
    weights = {tuple(each.dims) for each in graph.initializer}
    assert {(WIDE, 16, 3, 3), (WIDE, 1, 9, 9)} <= weights
    names = {each.name for each in graph.initializer}
    assert not any(node.op_type in ("Transpose", "Reshape") and node.input[0] in names for node in graph.node)


@pytest.mark.parametrize("name", ["wide", "wide-halves", "wide-quantized"])
def test_weights_of_a_tensorflow_lite_file_go_from_file_to_file(
    generate: Generate, models: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """tf2onnx gets little, and the result is the same as with all weights: transposed, with their scales."""
    from tf2onnx import tflite_utils

    given = []

    def heard(array: Any, name: str | None = None) -> Any:
        given.append(array.nbytes)
        return onnx.numpy_helper.from_array(array, name)

    monkeypatch.setattr(tflite_utils, "numpy_helper", SimpleNamespace(from_array=heard))
    outcome = generate("--model", f"tflite:{models}/{name}.tflite", "--json")
    assert outcome.code == 0, outcome.err
    assert given
    assert max(given) < LARGE
    graph = onnx.load(Path(outcome.result["path"]) / "model.onnx").graph
    kind = onnx.TensorProto.INT8 if "quantized" in name else onnx.TensorProto.FLOAT
    weights = {tuple(each.dims) for each in graph.initializer if each.data_type == kind}
    assert {(WIDE, 16, 3, 3), (WIDE, 1, 9, 9), (WIDE, WIDE)} <= weights
    stored = {each.name for each in graph.initializer}
    scaled = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored}
    assert not any(
        node.op_type in ("Transpose", "Reshape", "Cast") and node.input[0] in stored | scaled for node in graph.node
    )


def test_words_numbers_and_boundaries_of_a_table_are_converted(generate: Generate, models: Path) -> None:
    outcome = generate("--model", f"keras:{models}/table.keras", "--json")
    assert (outcome.code, outcome.result["max_batch_size"]) == (0, 16), outcome.err
    source = keras.load(f"{models}/table.keras", options(f"keras:{models}/table.keras"), Progress())
    assert [spec.domain.choices for spec in source.inputs] == [("red", "green", "blue"), ()]


@pytest.mark.parametrize("name", ["half.keras", "old.h5"])
def test_mixed_precision_is_served_as_its_weights_are(generate: Generate, models: Path, name: str) -> None:
    outcome = generate("--model", f"keras:{models}/{name}", "--json")
    assert outcome.code == 0, outcome.err
    assert "mixed_float16: they compute in float32" in outcome.result["notes"][0]


def test_code_in_a_file_runs_if_it_is_trusted(generate: Generate, models: Path) -> None:
    assert generate("--model", f"keras:{models}/code.keras", "--trust-source", "-q").code == 0


def test_an_example_describes_inputs_that_a_file_does_not(generate: Generate, models: Path) -> None:
    assert generate("--model", f"keras:{models}/unbuilt.keras", "--input-shape", "1x5", "-q").code == 0
    assert generate("--model", f"keras:{models}/steps.keras", "--input-shape", "1x7x6", "-q").code == 0


def test_models_in_memory_are_sources() -> None:
    """A user's factory may return a Keras model without a graph of layers, or a TensorFlow function."""
    library, tensorflow = sources.keras(), sources.tensorflow()

    class Own(library.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.dense = library.layers.Dense(3)

        def call(self, inputs: Any, training: bool = False) -> Any:
            answer = self.dense(inputs)
            return {"a": answer + 1 if training else answer, "rest": (answer, {"b": answer[:, :1]}, "text")}

    model = Own()
    model(np.zeros((1, 4), "float32"))
    asked = options("python:own:model")
    source = keras_source("python:own", model, asked, Weights("own", "own", untrained=False))
    assert [str(spec) for spec in source.inputs] == ["input[batch, 4]"]
    assert source.output_names == ("a", "rest_0", "rest_1_b")
    assert "'rest_2' is left out" in source.notes[0]
    ones = np.ones((2, 4), "float32")
    np.testing.assert_allclose(source.run({"input": ones})["a"], model(ones)["a"], rtol=1e-6)
    declared = declared_from({"x": tensorflow.TensorSpec([None, 2], "int8")})
    twice = function_source(
        "python:twice", lambda tensors: tensors[0] * 2, declared, asked, Weights("own", "own", untrained=False)
    )
    assert twice.run({"x": np.array([[1, 2]], "int8")})["output"].tolist() == [[2, 4]]


def test_large_weights_do_not_pass_through_tf2onnx(models: Path) -> None:
    """Memory: tf2onnx holds fifty times what passes through it."""
    from modelrepo.generator.export.tensorflow import graph as tensorflow_graph

    source = keras.load(f"{models}/two.keras", options(f"keras:{models}/two.keras"), Progress())
    frozen = tensorflow_graph.frozen(source.native.function)
    assert sorted(weight.shape for weight in frozen.weights.values()) == [(308, WIDE), (3000, 8)]
    assert frozen.definition.ByteSize() < 2 * tensorflow_graph.LARGE


@pytest.mark.parametrize(("name", "dtype"), [("parts.keras", "bfloat16"), ("parts.h5", "float16")])
def test_a_weight_read_in_parts_is_the_same(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory: Keras would hold the largest weight three times."""
    library, path = sources.keras(), tmp_path / name
    layers = library.layers
    model = library.Sequential([library.Input((50,)), layers.Dense(30), layers.Dense(7, dtype=dtype)])
    with quiet():
        model.save(path)
    monkeypatch.setattr(keras, "PART", 256)
    assign = library.Variable.assign
    loaded = keras.load(str(path), options(f"keras:{path}"), Progress()).native.owner
    assert library.Variable.assign is assign
    assert [each.dtype for each in loaded.weights] == ["float32", "float32", dtype, dtype]
    for wanted, found in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["scalar.keras", "scalar.h5"])
def test_scalar_weights_are_read(name: str, tmp_path: Path) -> None:
    """Those of a Normalization that has seen data: tensorflow/tensorflow#46427."""
    library, path = sources.keras(), tmp_path / name
    norm = library.layers.Normalization()
    norm.adapt(np.array([[1, 10], [3, 30]], "float32"))
    with quiet():
        library.Sequential([library.Input((2,)), norm]).save(path)
    source = keras.load(str(path), options(f"keras:{path}"), Progress())
    answer = source.run({source.inputs[0].name: np.array([[3, 10]], "float32")})
    np.testing.assert_allclose(answer[source.output_names[0]], [[1, -1]], rtol=1e-6)


def test_only_the_parts_of_a_saved_model_that_its_signature_needs_are_kept(models: Path, tmp_path: Path) -> None:
    """Memory: Keras saves each weight twice. A table is kept with everything that holds it."""
    library, path = sources.keras(), tmp_path / "twice"
    model = library.Sequential([library.Input((4,)), library.layers.Dense(3)])
    with quiet():
        model.export(path)
    source = savedmodel.load(str(path), options(f"savedmodel:{path}"), Progress())
    assert sorted(tuple(each.shape) for each in source.native.owner) == [(3,), (4, 3)]
    ones = np.ones((2, 4), "float32")
    (name,) = source.output_names
    gc.collect()
    np.testing.assert_allclose(source.run({source.inputs[0].name: ones})[name], model(ones), rtol=1e-6)
    with_table = savedmodel.load(f"{models}/words", options(f"savedmodel:{models}/words"), Progress())
    assert not isinstance(with_table.native.owner, tuple)


def test_tensorflow_prints_nothing(models: Path, tmp_path: Path) -> None:
    """Neither the import nor the conversion prints anything, in Python or in C++."""
    (tmp_path / "modelrepo.toml").write_text(
        f'live_check = "off"\n[models.lite]\nmodel = "tflite:{models}/quantized.tflite"\n'
        f'[models.two]\nmodel = "keras:{models}/two.keras"\n'
    )
    outcome = subprocess.run(
        [sys.executable, "-c", "from modelrepo.cli.entry import generate; generate()", "--json", "-q"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=True,
    )
    assert [row["status"] for row in json.loads(outcome.stdout)["results"]] == ["published"] * 2
    assert not [line for line in outcome.stderr.splitlines() if not line.startswith("warning: two: ")]


# Bad input. Name of the golden message: what is given, and the exit code.

CASES = {
    "missing": ("keras:none.keras", 3),
    "cut-keras": ("keras:cut.keras", 3),
    "leads-out": ("keras:leads-out.keras", 3),
    "code": ("keras:code.keras", 3),
    "own-class": ("keras:own.keras", 3),
    "only-weights": ("keras:only.h5", 3),
    "suffix": ("keras:old.model", 3),
    "unbuilt": ("keras:unbuilt.keras", 3),
    "depends-on-sizes": ("keras:steps.keras", 3),
    "stateful": ("keras:stateful.keras", 4),
    "writes": ("savedmodel:counting", 4),
    "operators": ("keras:phrase.keras", 4),
    "sizes": ("keras:wide.keras", 3),
    "shape-misfit": ("keras:half.keras --input-shape 1x5", 2),
    "shape-unknown": ("keras:half.keras --input-shape other=1x4", 2),
    "shape-ambiguous": ("keras:two.keras --input-shape 1x4", 2),
    "shape-type": ("keras:half.keras --input-shape input=1x4:int8", 2),
    "signature": ("savedmodel:words --signature server", 3),
    "signatures": ("savedmodel:choose", 3),
    "no-signature": ("savedmodel:mute", 3),
    "graph-is-a-folder": ("savedmodel:nested", 3),
    "cut-savedmodel": ("savedmodel:cut", 3),
    "no-variables": ("savedmodel:bare", 3),
    "folder": ("savedmodel:empty", 3),
    "several-tflite": ("tflite:several.tflite", 3),
    "cut-tflite": ("tflite:cut.tflite", 3),
    "crashing-tflite": ("tflite:zero-point.tflite", 3),
    "renamed": ("tflite:half.keras", 3),
}


@pytest.mark.parametrize("case", CASES)
def test_an_unusable_model_gets_one_line(
    generate: Generate, models: Path, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    arguments, code = CASES[case]
    (models / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(models)
    before = snapshot(models)
    outcome = generate("--model", *arguments.split(), "-q")
    assert (outcome.code, outcome.err.count("\n")) == (code, 1), outcome.err
    assert snapshot(models) == before
    golden(f"messages/tensorflow/{case}.txt", re.sub(r"_\d+/", "/", outcome.err))  # Keras counts its layers


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("zero-point", "is damaged: .* crashes on it with SIGSEGV"), ("scale", "is damaged: .* with SIGSEGV")),
        *(("place", "can't open "), ("shape", "can't open "), ("cut-in-tables", "is truncated")),
    ],
)
def test_a_damaged_file_is_refused_without_a_crash(generate: Generate, models: Path, name: str, told: str) -> None:
    outcome = generate("--model", f"tflite:{models}/{name}.tflite", "-q")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1), outcome.err
    assert re.search(told, outcome.err)
    assert not any(path.name == "config.pbtxt" for path in Path.cwd().rglob("*"))


@pytest.mark.parametrize("source", [keras, savedmodel, tflite])
def test_the_extra_is_named_if_tensorflow_is_not_installed(
    models: Path, monkeypatch: pytest.MonkeyPatch, source: Any
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    name = {keras: "half.keras", savedmodel: "words", tflite: "quantized.tflite"}[source]
    with pytest.raises(SourceError, match=r"tensorflow is not installed. pip install 'modelrepo\[tensorflow\]'"):
        source.check(str(models / name), options(f"keras:{name}"))


def test_names_are_those_of_files_and_folders() -> None:
    assert find("savedmodel:net/3")[0].default_name("net/3") == "net"
    assert find("keras:a/net.v2.keras")[0].default_name("a/net.v2.keras") == "net.v2"
