"""TensorFlow functions as SavedModels, and Keras models as files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.neighbours.case import Made, Neighbour, Question


def tf() -> Any:
    import tensorflow

    return tensorflow


def function(
    name: str, compute: Callable[..., Any], shapes: Mapping[str, tuple[str, Sequence[Any]]], *asked: Any, **more: Any
) -> Neighbour:
    """Return the row of a function saved as a SavedModel: inputs with types and shapes, and tuples that it is asked."""

    def make(folder: Path) -> Made:
        library = tf()
        specs = [library.TensorSpec(shape, kind, name=key) for key, (kind, shape) in shapes.items()]
        module = library.Module()
        module.run = library.function(lambda *tensors: {"out": compute(*tensors)}, input_signature=specs)
        library.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": module.run})
        questions = []
        for each in asked:
            arrays = [np.array(value, _numpy(spec.dtype)) for value, spec in zip(each, specs, strict=True)]
            answer = module.run(*map(library.constant, arrays))["out"].numpy()
            questions.append(Question(dict(zip(shapes, arrays, strict=True)), [answer]))
        return Made(f"savedmodel:{folder}/saved", questions)

    return Neighbour(name, make, **more)


def keras_row(name: str, build: Callable[[], Any], *asked: Any, suffix: str = ".keras", **more: Any) -> Neighbour:
    """Return the row of a Keras model saved to a file: an array that it is asked, or a tuple of one for each input."""

    def make(folder: Path) -> Made:
        tf()  # before Keras, which it configures
        import keras

        keras.utils.set_random_seed(0)
        model = build()
        _disturb(model)
        path = folder / f"model{suffix}"
        model.save(path)
        questions = []
        for each in asked:
            parts = each if isinstance(each, tuple) else (each,)
            tensors = [
                tf().constant(part, tf().string if value.dtype == "string" else value.dtype)
                for part, value in zip(parts, model.inputs, strict=True)
            ]
            answer = model(tensors if len(tensors) > 1 else tensors[0], training=False)
            arrays = [_text(tensor.numpy()) for tensor in tensors]
            names = [value.name for value in model.inputs]
            questions.append(Question(dict(zip(names, arrays, strict=True)), [np.asarray(answer)]))
        return Made(f"keras:{path}", questions)

    return Neighbour(name, make, **more)


def _disturb(model: Any) -> None:
    """Give the weights that training would change values that are far from the initial ones."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name.startswith(("moving_", "gamma", "beta", "bias")):
            variable.assign(random.uniform(0.4, 2, variable.shape))


def _text(array: Any) -> Any:
    return np.vectorize(bytes.decode, otypes=[object])(array) if array.dtype == object else array


def _numpy(dtype: Any) -> Any:
    return np.dtype(object) if dtype == tf().string else np.dtype(dtype.as_numpy_dtype)


NEIGHBOURS = (
    function(
        "whole numbers divided by a negative one",
        lambda x, y: tf().math.floordiv(x, y) * 100 + tf().math.floormod(x, y),
        {"x": ("int32", [None]), "y": ("int32", [None])},
        ([-7, 7, -8, 8, 0, 2**30], [2, -2, -3, 3, -5, -7]),
    ),
)
