"""TensorFlow functions as SavedModels, and Keras models as files."""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.neighbours.case import Made, Neighbour, Question


def tf() -> Any:
    from modelrepo.generator.sources.tensorflow import tensorflow

    return tensorflow()


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
            names = ["input" if len(parts) == 1 else value.name for value in model.inputs]
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


def _layers(shape: Sequence[Any], dtype: str, *layers: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a maker of a Sequential model; each layer is made from the module ``keras.layers``."""

    def build() -> Any:
        import keras

        return keras.Sequential([keras.Input(shape, dtype=dtype), *(layer(keras.layers) for layer in layers)])

    return build


def _masked(layer: Callable[[Any], Any]) -> Callable[[], Any]:
    return _layers((5,), "int32", lambda layers: layers.Embedding(12, 6, mask_zero=True), layer)


def _attention() -> Any:
    import keras

    tokens = keras.Input((5,), dtype="int32")
    vectors = keras.layers.Embedding(12, 6, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.MultiHeadAttention(2, 3)(vectors, vectors))


def _operators() -> Any:
    import keras

    values = keras.Input((4,), dtype="int32")
    return keras.Model(values, keras.ops.stack([values // 3, values % -3, keras.ops.sign(values)], -1))


WHOLE = {"x": ("int32", [None]), "y": ("int32", [None])}
LONG = {"x": ("int64", [None])}
ROWS = {"x": ("float32", [None, 4])}
FLOATS = {"x": ("float32", [None])}
SEGMENTS = {"x": ("float32", [None]), "segments": ("int32", [None])}
LEFT, RIGHT = [-7, 7, -8, 8, 0, 2**30, -1, -(2**31) + 1], [2, -2, -3, 3, -5, -7, 9, 100]
FAR = [-7, 7, -(2**40), 2**40 + 1, 0, 3, 2**53 + 1, -(2**62)]
HARD = [[1.5, -2.5, 0.5, np.nan], [-0.0, 1e30, -1e-3, 3], [-np.inf, np.inf, 88.9, -104]]
STEADY = [[1.5, -2.5, 0.5, 7], [-0.0, 1e4, -1e-3, 3], [-30, 30, 88, -104]]
TOKENS = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [9, 0, 0, 0, 0], [0, 3, 0, 2, 1], [0, 0, 0, 0, 1]])
SERIES = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(2, 6, 5, 3)).astype(np.float32)
WORDS = np.array([["a"], ["b"], [""], ["zz"], ["A"], ["[UNK]"], ["é"]], object)

# fmt: off
NEIGHBOURS = (
    function("whole numbers divided by negative ones", lambda x, y: tf().stack([x // y, x % y, tf().truncatediv(x, y), tf().truncatemod(x, y)]), WHOLE, (LEFT, RIGHT)),
    function("long numbers divided", lambda x: tf().stack([x // 3, x // -3, x % -7]), LONG, (FAR,)),
    function("floats divided to whole ones", lambda x: tf().stack([x // 2.5, x % -2.5, x % 0.1]), FLOATS, ([-7.5, 7.5, -0.0, 0, 100],)),
    function("bits shifted and inverted", lambda x, y: tf().stack([tf().bitwise.right_shift(x, y), tf().bitwise.left_shift(x, y), tf().bitwise.invert(x)]), WHOLE, (LEFT, [1, 2, 3, 4, 5, 0, 31, 7])),
    function("casts that cut and wrap", lambda x: tf().stack([tf().cast(tf().cast(x, kind), "int32") for kind in ("int8", "uint8", "int16", "bool")]), {"x": ("int32", [None])}, ([300, -300, 127, -129, 2**30 + 5, -1],), slow=True),
    function("one-hot along the first axis", lambda x: tf().one_hot(x, 5, axis=0, on_value=2.0, off_value=-1.0), {"x": ("int32", [None])}, ([-1, 0, 4, 5, 2, -5],)),
    function("long numbers compared", lambda x: tf().stack([tf().cast(x > 2**53, "int64"), tf().maximum(x, 2**53 + 1), tf().minimum(x, 5)]), LONG, (FAR,), slow=True),
    function("gaps between segments", lambda x, y: tf().math.segment_max(x, y), SEGMENTS, ([1, -2, 3, -4, -5], [0, 0, 1, 1, 3])),
    function("means of segments", lambda x, y: tf().math.segment_mean(x, y), SEGMENTS, ([1, -2, 3, -4, -5], [0, 0, 1, 1, 3]), slow=True),
    function("segments left out by -1", lambda x, y: tf().math.unsorted_segment_sum(x, y, 4), SEGMENTS, ([1, -2, 3, -4, -5], [3, 0, -1, 1, 3])),
    function("first of equal numbers", lambda x: tf().stack([tf().argsort(x, stable=True), tf().math.top_k(x, 4)[1]]), ROWS, ([[1, 1, -2, 1], [0, 0, 5, 5]],)),
    function("halves rounded", lambda x: tf().stack([tf().round(x), tf().math.rint(x), tf().floor(x), tf().sign(x)]), FLOATS, ([0.5, 1.5, -0.5, -1.5, 2.5, -2.5, 0, -0.0, 1e9],)),
    function("NaN in maxima and clips", lambda x: tf().stack([tf().maximum(x, 0.0), tf().nn.relu(x), tf().clip_by_value(x, -1, 1), tf().nn.relu6(x)]), ROWS, (HARD,)),
    function("logarithms far out", lambda x: tf().stack([tf().math.log_sigmoid(x), tf().math.softplus(x), tf().nn.log_softmax(x)]), ROWS, (STEADY,), ([[-200] * 4, [200, 0, 0, -200]],)),
    function("a branch on values", lambda x: tf().cond(tf().reduce_sum(x) > 1000, lambda: x * 2, lambda: x - 1), ROWS, ([[1, 2, 3, 4]],), ([[900, 100, 1, 0]],)),
    function("a loop as long as its values", lambda x: tf().while_loop(lambda v: tf().reduce_sum(tf().abs(v)) > 10, lambda v: (v / 2,), (x,))[0], ROWS, (STEADY,), ([[0] * 4],)),
    function("rows chosen by their values", lambda x: tf().boolean_mask(x, x[:, 0] > 0), ROWS, (STEADY,), ([[-1, 1, 1, 1]],)),
    function("ragged rows added", lambda x, y: tf().reduce_sum(tf().RaggedTensor.from_row_lengths(x, y), 1), SEGMENTS, ([1, 2, 3, 4, 5], [2, 0, 3]), slow=True),
    function("letters counted", lambda x: tf().strings.length(x), {"x": ("string", [None])}, (["a", ""],), verdict="can't convert StringLength"),
    keras_row("words looked up", _layers((1,), "string", lambda layers: layers.StringLookup(vocabulary=["a", "b"], mask_token="")), WORDS),
    keras_row("words as columns", _layers((1,), "string", lambda layers: layers.StringLookup(vocabulary=["a", "é"], output_mode="one_hot")), WORDS, slow=True),
    keras_row("numbers looked up", _layers((1,), "int64", lambda layers: layers.IntegerLookup(vocabulary=[3, -5, 100], mask_token=0)), np.array([[3], [-5], [100], [0], [-1], [2**40]])),
    keras_row("words hashed", _layers((1,), "string", lambda layers: layers.Hashing(5)), WORDS, verdict="can't convert StringToHashBucketFast"),
    keras_row("numbers in bins", _layers((2,), "float32", lambda layers: layers.Discretization([-1.0, 0.0, 2.5])), np.array([[-1, -1.0001], [0, -0.0], [2.5, 3]])),
    keras_row("categories counted", _layers((3,), "int32", lambda layers: layers.CategoryEncoding(6, output_mode="count")), np.array([[0, 5, 5], [1, 2, 3]])),
    keras_row("columns without variance", _layers((3,), "float32", lambda layers: layers.Normalization(mean=[1e4, 2, 3], variance=[4.0, 0.0, 1e-8])), SERIES[:, 0]),
    keras_row("padding before an LSTM", _masked(lambda layers: layers.LSTM(4)), TOKENS, slow=True),
    keras_row("padding before a GRU that runs backwards", _masked(lambda layers: layers.GRU(4, go_backwards=True, return_sequences=True)), TOKENS, slow=True),
    keras_row("padding in both directions", _masked(lambda layers: layers.Bidirectional(layers.LSTM(4))), TOKENS, slow=True),
    keras_row("padding left out of a mean", _masked(lambda layers: layers.GlobalAveragePooling1D()), TOKENS),
    keras_row("padding that is not attended", _attention, TOKENS),
    keras_row("two directions multiplied", _layers((5, 3), "float32", lambda layers: layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="mul")), SERIES, SERIES * 50, slow=True),
    keras_row("means far from 0", _layers((6, 5, 3), "float32", lambda layers: layers.LayerNormalization()), IMAGES, IMAGES * 50 + 1000),
    keras_row("images enlarged", _layers((6, 5, 3), "float32", lambda layers: layers.UpSampling2D((2, 3), interpolation="bilinear")), IMAGES),
    keras_row("images cut to an aspect", _layers((6, 5, 3), "float32", lambda layers: layers.Resizing(4, 9, crop_to_aspect_ratio=True)), IMAGES, slow=True),
    keras_row("an older file", _layers((6, 5, 3), "float32", lambda layers: layers.Conv2D(4, 3, strides=2, padding="same"), lambda layers: layers.BatchNormalization()), IMAGES, suffix=".h5", slow=True),
    keras_row("operators of Keras below zero", _operators, np.array([[-7, 7, -3, 0], [5, -1, 2**30, 8]])),
)
# fmt: on
