"""SavedModels: signatures, functions, variables and assets, read without TensorFlow."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.inspection import tensor_bundle
from modelrepo.generator.inspection.inspection import Tensor
from modelrepo.generator.inspection.parts import triton_name
from modelrepo.generator.inspection.saved_model import TYPES, inspect
from modelrepo.generator.sources import tensorflow as sources
from tests.generator.inspection.damage import survives


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a layer with two variables, a large constant, a table that reads a file, and two signatures."""
    folder = tmp_path_factory.mktemp("saved")
    tensorflow = sources.tensorflow()
    (folder / "words.txt").write_text("cat\ndog\n", "utf-8")

    class Net(tensorflow.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tensorflow.Variable(np.ones((4, 5), "float32"), name="dense/kernel")
            self.again = tensorflow.Variable(np.ones((4, 5), "float32"), name="dense/kernel")
            self.bias = tensorflow.Variable(np.ones(5, "float16"), name="dense/bias")
            index = tensorflow.lookup.TextFileIndex
            kinds = tensorflow.string, index.WHOLE_LINE, tensorflow.int64, index.LINE_NUMBER
            words = tensorflow.lookup.TextFileInitializer(str(folder / "words.txt"), *kinds)
            self.table = tensorflow.lookup.StaticHashTable(words, -1)

        @tensorflow.function  # type: ignore[untyped-decorator]
        def dense(self, x: Any) -> Any:
            return tensorflow.matmul(x, self.kernel) + tensorflow.cast(self.bias, "float32")

        @tensorflow.function  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            y = tensorflow.nn.relu(self.dense(x))
            return {"y": tensorflow.tile(y, [1, 80]) * tensorflow.constant(np.arange(400.0, dtype="float32"))}

        @tensorflow.function  # type: ignore[untyped-decorator]
        def find(self, word: Any) -> Any:
            return {"place": self.table.lookup(word)}

    net = Net()
    call = net.call.get_concrete_function(tensorflow.TensorSpec([None, 4], "float32", name="x"))
    find = net.find.get_concrete_function(tensorflow.TensorSpec([2], "string", name="word"))
    path = folder / "net"
    tensorflow.saved_model.save(net, str(path), signatures={"serving_default": call, "find": find})
    return path


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "net"))


def test_a_model_is_described(saved: Path) -> None:
    found = inspect(saved)
    assert found.valid
    assert found.inputs == (Tensor("x", "FP32", (None, 4)),)
    assert [(each.name, each.data_type) for each in found.outputs] == [("y", "FP32")]
    assert found.batching is not None
    assert (found.batching.verdict, found.batching.by) == ("yes", "x")
    assert {name: found.operators.get(name) for name in ("MatMul", "Relu", "AddV2", "HashTableV2")} == {
        **{"MatMul": 1, "Relu": 1, "AddV2": 1},
        "HashTableV2": None,  # of the other signature
    }
    facts = dict(found.facts)
    assert facts["written by"] == f"TensorFlow {sources.tensorflow().__version__}"
    assert facts["tags"] == "serve"
    assert facts["signature find"] == "word STRING [2] -> place INT64 [2]"
    assert found.bytes == sum(each.stat().st_size for each in saved.rglob("*") if each.is_file())
    verdicts = {(use.target, release): use.verdict for use in found.uses for release in use.releases}
    assert verdicts["tensorflow", "24.10"] == "yes"
    assert verdicts["tensorflow", "25.11"] == "no"


def test_variables_and_large_constants_are_weights(saved: Path) -> None:
    weights = {each.name: each for each in inspect(saved).weights}
    kernel, bias = weights["dense/kernel"], weights["dense/bias"]
    assert (kernel.layer, kernel.data_type, kernel.shape, kernel.bytes) == ("dense", "FP32", (4, 5), 80)
    assert (bias.data_type, bias.parameters, bias.bytes) == ("FP16", 5, 10)
    assert kernel.external == "variables/variables.data-00000-of-00001"
    (constant,) = (each for each in weights.values() if each.parameters == 400)
    assert (constant.bytes, constant.external) == (1600, "")


def test_the_index_is_read_as_tensorflow_reads_it(saved: Path) -> None:
    checkpoint = sources.tensorflow().train.load_checkpoint(str(saved / "variables" / "variables"))
    shapes = checkpoint.get_variable_to_shape_map()
    expected = sorted(shape for name, shape in shapes.items() if name != tensor_bundle.OBJECTS)
    bundle = tensor_bundle.read(saved / "variables")
    assert sorted(list(each.shape) for each in (*bundle.variables, *bundle.copies)) == expected


def test_a_variable_that_is_saved_twice_counts_once(saved: Path) -> None:
    found = inspect(saved)
    assert [each.name for each in found.weights if each.shape == (4, 5)] == ["dense/kernel"]
    assert "variables that are saved twice, as Keras does: 1, 80 bytes more" in found.remarks


def test_the_types_are_tensorflows() -> None:
    tensorflow = sources.tensorflow()
    for number, (name, size) in TYPES.items():
        known = tensorflow.dtypes.as_dtype(number)
        assert known.name == name
        assert size in (known.size, 0)
    assert triton_name(TYPES[14][0]) == "BF16"


def test_what_lies_beside_the_graph_is_looked_for(copied: Path) -> None:
    shard = copied / "variables" / "variables.data-00000-of-00001"
    (copied / "assets" / "words.txt").unlink()
    shard.write_bytes(shard.read_bytes()[:5])
    cut, asset = inspect(copied).faults
    assert cut.startswith(f"its variables are cut off: variables/{shard.name} has 5 bytes of ")
    assert asset == "its asset is missing: assets/words.txt"
    shard.unlink()
    assert inspect(copied).faults[0].startswith(f"its variables are missing: variables/{shard.name}")
    shutil.rmtree(copied / "variables")
    assert inspect(copied).faults[0] == "its variables are missing: variables/variables.index"


def test_a_folder_without_a_graph_says_so(tmp_path: Path) -> None:
    assert inspect(tmp_path).faults == ("saved_model.pb is missing",)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert inspect(tmp_path).faults == ("saved_model.pb is empty",)
    (tmp_path / "saved_model.pb").unlink()
    (tmp_path / "saved_model.pbtxt").write_text("saved_model_schema_version: 1", "utf-8")
    assert inspect(tmp_path).faults == ("its graph is a saved_model.pbtxt, as text, which is not read",)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables.index", "variables.data-00000-of-00001"])
def test_damaged_files_never_raise(copied: Path, name: str) -> None:
    assert any(not each.valid for each in survives(lambda _: inspect(copied), copied, next(copied.rglob(name))))
