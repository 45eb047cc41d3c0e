"""Keras files of other versions: what they answer, and what they are refused for.

tests/data/keras2 was made by tf-keras 2.21, with its own answers: convolutions that write ``groups``, recurrent layers
with ``time_major``, states and Keras 2's hard_sigmoid, tensors as named arguments, and layers that Keras 3 dropped.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.options.resolve import default_options
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import keras
from modelrepo.generator.sources import tensorflow as sources
from modelrepo.generator.sources.tensorflow.versions import Written, readable, translated
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system.quiet import quiet
from tests.conftest import PROJECT

DATA = PROJECT / "tests/data/keras2"
Change = Callable[[dict[str, Any]], None]


def loaded(path: Path) -> SourceModel:
    return keras.load(str(path), default_options(f"keras:{path}"), Progress())


def saved(path: Path, *layers: Any, inputs: tuple[int, ...] = (4,)) -> Any:
    """Save a model of layers in a row, and return it."""
    library = sources.keras()
    model = library.Sequential([library.Input(inputs, name="x"), *layers])
    with quiet():
        model.save(path)
    return model


def changed(path: Path, name: str, version: str, **arguments: Any) -> None:
    """Write other arguments of a layer, and another version of Keras, into a file."""

    def described(config: str) -> str:
        tree = json.loads(config)
        for each in tree["config"]["layers"]:
            if each["class_name"] == name:
                each["config"].update(arguments)
        return json.dumps(tree)

    if path.suffix == ".h5":
        import h5py  # type: ignore[import-untyped]

        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = described(file.attrs["model_config"])
            file.attrs["keras_version"] = version
        return
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    members["config.json"] = described(members["config.json"].decode()).encode()
    members["metadata.json"] = json.dumps({"keras_version": version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_a_file_of_keras_2_answers_as_keras_2_does(name: str) -> None:
    source = loaded(DATA / name)
    wanted = np.load(DATA / "answers.npz")
    first, second = source.run({"image": wanted["image"]}).values()
    np.testing.assert_allclose(first, wanted["first"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(second, wanted["second"])


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_an_argument_that_changes_nothing_is_left_out(tmp_path: Path, suffix: str) -> None:
    """Keras-team/keras#19151."""
    path = tmp_path / f"old{suffix}"
    model = saved(path, sources.keras().layers.DepthwiseConv2D(2), inputs=(4, 4, 1))
    changed(path, "DepthwiseConv2D", "2.15.0", groups=1)
    rows = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32)
    (answer,) = loaded(path).run({"x": rows}).values()
    np.testing.assert_allclose(answer, model(rows), rtol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_another_argument_is_named_with_its_layer_and_both_versions(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"old{suffix}"
    saved(path, sources.keras().layers.DepthwiseConv2D(2, name="seen"), inputs=(4, 4, 1))
    changed(path, "DepthwiseConv2D", "2.15.0", groups=2)
    with pytest.raises(SourceError) as raised:
        loaded(path)
    here = sources.keras().__version__
    assert raised.value.message == (
        f"can't load {path}: layer 'seen', a DepthwiseConv2D, has the argument groups=2 of Keras 2.15.0, which "
        f"Keras {here} does not know"
    )
    assert raised.value.hint == (
        "With Keras 2.15.0, save it with tf.saved_model.save(model, FOLDER), and give --model savedmodel:FOLDER"
    )


def test_a_value_that_a_layer_refuses_is_named_without_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "odd.keras"
    saved(path, sources.keras().layers.Dense(2))
    changed(path, "Dense", "3.0.0", units=-1)
    with pytest.raises(SourceError, match="units") as raised:
        loaded(path)
    assert "kernel_initializer" not in raised.value.message


def test_a_layer_that_resizes_only_in_keras_2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "crop.keras"
    saved(path, sources.keras().layers.RandomCrop(2, 2, name="crop"), inputs=(4, 4, 1))
    loaded(path)
    changed(path, "RandomCrop", "2.15.0")
    with pytest.raises(SourceError, match="layer 'crop', a RandomCrop, resizes its images in Keras 2"):
        loaded(path)


def test_several_axes_of_an_h5_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "axes.h5"
    model = saved(path, sources.keras().layers.Softmax(axis=(1, 2)), inputs=(3, 4))
    rows = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    (answer,) = loaded(path).run({"x": rows}).values()
    np.testing.assert_allclose(answer, model(rows), rtol=1e-6)


def test_a_first_layer_without_an_input_layer_keeps_its_shape(tmp_path: Path) -> None:
    old = {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Dense", "config": {"batch_input_shape": [None, 3], "units": 2}}]},
    }
    (layer,) = translated(old, archive=False)["config"]["layers"]
    assert layer["config"] == {"input_shape": [3], "units": 2}


def test_a_class_of_the_user_keeps_its_arguments() -> None:
    own = {"class_name": "LSTM", "registered_name": "mine>LSTM", "config": {"time_major": False}}
    assert translated(own, archive=True) == own


def test_keras_still_needs_these_translations(tmp_path: Path) -> None:
    """One that fails tells that a mend is no longer needed."""
    library = sources.keras()
    layers, load = library.layers, library.saving.load_model
    for kind, argument in (("LSTM", "time_major"), ("Conv2DTranspose", "groups"), ("RandomFlip", "rng_type")):
        own = getattr(layers, kind)(2) if kind != "Conv2DTranspose" else layers.Conv2DTranspose(2, 2)
        with pytest.raises((TypeError, ValueError), match=argument):
            type(own).from_config({**own.get_config(), argument: None})
    path, rows = tmp_path / "axes.h5", np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    model = saved(path, layers.Softmax(axis=(1, 2)), inputs=(3, 4))
    with quiet():
        assert np.abs(load(path)(rows) - model(rows)).max() > 1e-3
        with pytest.raises(TypeError):
            load(DATA / "model.keras")


def test_keras_is_as_it_was_after_a_file_was_read(tmp_path: Path) -> None:
    library = sources.keras()
    with readable(tmp_path / "none.h5", Written({}, "2.4.0")):
        assert float(library.activations.get("hard_sigmoid")(library.ops.ones(()))) == pytest.approx(0.7)
    assert float(library.activations.get("hard_sigmoid")(library.ops.ones(()))) == pytest.approx(4 / 6)


def test_weights_alone_are_told_before_their_suffix(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "net.pth"
    with h5py.File(path, "w") as file:
        file["dense/kernel"] = [1.0]
    with pytest.raises(SourceError, match="holds weights, not a model"):
        keras.files(str(path))
