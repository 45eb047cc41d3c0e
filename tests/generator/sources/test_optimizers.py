"""SavedModels that hold an optimizer of Keras 2, which this Python has not loaded."""

import os
from pathlib import Path

import numpy as np
import pytest

from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import savedmodel
from modelrepo.generator.sources.tensorflow import optimizers, tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WEIGHTS = np.arange(6, dtype="float32").reshape(3, 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model that an optimizer has trained, under the name that Keras 2 gives to its own optimizers."""
    library = tensorflow()
    folder = tmp_path_factory.mktemp("saved") / "trained"

    class Net(library.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weights = library.Variable(WEIGHTS)
            self.optimizer = library.compat.v1.train.AdamOptimizer()

    net = Net()
    serve = library.function(
        lambda x: {"y": x @ net.weights}, input_signature=[library.TensorSpec([None, 3], "float32", "x")]
    )
    net.optimizer.apply_gradients([(library.zeros_like(net.weights), net.weights)])
    library.saved_model.save(net, str(folder), signatures=serve)
    _rename(folder / "saved_model.pb")
    return folder


def _rename(path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    (owner,) = (node for node in saved.meta_graphs[0].object_graph_def.nodes if node.slot_variables)
    owner.user_object.identifier = optimizers.IDENTIFIER
    path.write_bytes(saved.SerializeToString())


def test_a_model_that_was_trained_answers_without_its_optimizer(trained: Path) -> None:
    reference = f"savedmodel:{trained}"
    source = savedmodel.load(str(trained), resolve({}, ConfigFile(), reference)[1], Progress())
    answer = source.run({"x": np.eye(3, dtype="float32")})
    np.testing.assert_array_equal(answer["y"], WEIGHTS)


def test_tensorflow_alone_cannot_load_it_yet(trained: Path) -> None:
    with pytest.raises(AttributeError, match="add_slot"):
        tensorflow().saved_model.load(str(trained))


def test_what_is_registered_for_loading_is_taken_back() -> None:
    from tensorflow.python.saved_model import revived_types

    with optimizers.forgotten():
        assert optimizers.IDENTIFIER in revived_types._REVIVED_TYPE_REGISTRY
    assert optimizers.IDENTIFIER not in revived_types._REVIVED_TYPE_REGISTRY
    assert revived_types.serialize(object()) is None, "models can still be saved"
