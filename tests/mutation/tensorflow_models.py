"""Small TensorFlow functions and Keras models, each a row: its inputs and what it computes."""
# ruff: noqa: E501 - a table, a row a line

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """A function: ``signature`` has the arguments of tf.TensorSpec by their names; ``answer`` is its expression."""

    signature: str
    answer: str
    whole: tuple[int, int] | None = None


@dataclass(frozen=True)
class Keras:
    """A Keras model: the shape and type of its input, and its layers."""

    shape: str
    layers: str
    whole: tuple[int, int] | None = None


FUNCTION = """import tensorflow as tf


class Net(tf.Module):
    @tf.function(input_signature=[{specs}])
    def __call__(self, {names}):
        return {answer}


def make():
    return Net()
"""
KERAS = """import keras
import numpy as np
from keras import layers as L


def make():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input({shape}), {layers}])
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([random.uniform(0.4, 2, each.shape) for each in layer.get_weights()])
        elif layer.weights and not isinstance(layer, (L.Normalization, L.Embedding)):
            layer.set_weights([random.normal(0, 0.6, each.shape) for each in layer.get_weights()])
    return model
"""


def text(model: Function | Keras) -> str:
    """Return the text of a module whose function ``make`` returns the model."""
    if isinstance(model, Keras):
        return KERAS.format(shape=model.shape, layers=model.layers)
    inputs = dict(each.split("=") for each in model.signature.split(";"))
    specs = [f"tf.TensorSpec({spec}, name='{name}')" for name, spec in inputs.items()]
    return FUNCTION.format(specs=", ".join(specs), names=", ".join(inputs), answer=model.answer)


X, K, SEQUENCE = "x=[None, 6], tf.float32", "k=[None, 5], tf.int32", "x=[None, 5, 6], tf.float32"
# fmt: off
MODELS: dict[str, Function | Keras] = {
    **{f"whole {name}": Function(K, answer, (-30, 30)) for name, answer in {"floormod": "tf.math.floormod(k, 3)", "floordiv": "k // 4", "truncatemod": "tf.truncatemod(k, 4)", "compare": "tf.cast(k > 4, tf.int32) + k", "one hot": "tf.one_hot(k, 5)", "clip": "tf.clip_by_value(k, -3, 12)", "divide": "k / 4", "gather": "tf.gather(tf.constant([[1.0, 2.0], [3.0, 5.0], [7.0, 4.0]]), k % 3)", "sum": "tf.reduce_sum(k, -1)", "argmax": "tf.argmax(k, -1)"}.items()},
    **{f"float {name}": Function(X, answer) for name, answer in {"floormod": "tf.math.floormod(x, 3.0)", "where": "tf.where(x > 20.0, x / 3.0, x - 1.0)", "clip": "tf.clip_by_value(x, -2.0, 40.0)", "relu6": "tf.nn.relu6(x) + x", "round": "tf.round(x * 1.5)", "cast": "tf.cast(x, tf.int32)", "softmax": "tf.nn.softmax(x)", "selu": "tf.nn.selu(x)", "softplus": "tf.nn.softplus(x)", "top": "tf.math.top_k(x, 3).values", "argmax": "tf.argmax(x, -1)", "cond": "tf.cond(tf.reduce_sum(x) > 0.0, lambda: x + 1.0, lambda: x * -3.0)", "loop": "tf.while_loop(lambda v: tf.reduce_max(tf.abs(v)) > 8.0, lambda v: v / 2.0, [x])[0]", "norm": "tf.math.l2_normalize(x, -1)", "no nan": "tf.math.divide_no_nan(x, x - 1.0)", "sign": "tf.sign(x) * 2.0 + tf.floor(x)"}.items()},
    "mean": Function(SEQUENCE, "tf.reduce_mean(x, 1)"), "cumsum": Function(SEQUENCE, "tf.cumsum(x, 1, exclusive=True)"), "matmul": Function(SEQUENCE, "tf.matmul(x, x, transpose_b=True)"), "reverse": Function(SEQUENCE, "tf.reverse(x, [1]) + x"), "pad": Function(SEQUENCE, "tf.pad(x, [[0, 0], [1, 2], [0, 0]], constant_values=3.0)"), "resize": Function("x=[None, 4, 4, 3], tf.float32", "tf.image.resize(x, [8, 8])"), "two": Function("x=[None, 6], tf.float32;z=[None, 6], tf.float32", "tf.maximum(x, z) - tf.minimum(x, 2.0 * z)"),
    **{f"keras dense {name}": Keras("(6,)", f"L.Dense(8, '{name}'), L.Dense(3)") for name in ("relu", "gelu", "sigmoid", "elu", "softplus", "hard_sigmoid", "leaky_relu")}, "keras softmax": Keras("(6,)", "L.Dense(8, 'relu'), L.Dense(4, 'softmax')"), "keras batch norm": Keras("(6,)", "L.Dense(5), L.BatchNormalization(), L.ReLU(3.0)"),
    **{f"keras cnn {name}": Keras("(12, 12, 3)", f"L.Conv2D(4, 3, {conv}), L.ReLU(), L.GlobalAveragePooling2D(), L.Dense(3)") for name, conv in {"valid": "padding='valid'", "same": "strides=2, padding='same'", "dilated": "dilation_rate=2"}.items()}, "keras pools": Keras("(12, 12, 3)", "L.MaxPooling2D(3, 2, 'same'), L.AveragePooling2D(2, 1, 'same')"), "keras depthwise": Keras("(8, 8, 3)", "L.DepthwiseConv2D(3), L.ReLU(6.0), L.SeparableConv2D(2, 3)"),
    "keras lstm": Keras("(5, 6)", "L.LSTM(4), L.Dense(2)"), "keras gru": Keras("(5, 6)", "L.GRU(4)"), "keras bidirectional": Keras("(5, 6)", "L.Bidirectional(L.LSTM(3))"), "keras conv1d": Keras("(7, 6)", "L.Conv1D(4, 3, padding='causal'), L.GlobalMaxPooling1D()"), "keras embedding": Keras("(5,), dtype='int32'", "L.Embedding(9, 4), L.GlobalAveragePooling1D(), L.Dense(3)", (0, 8)), "keras layer norm": Keras("(5, 6)", "L.LayerNormalization(), L.Dense(3)"), "keras rescaling": Keras("(4, 4, 3)", "L.Rescaling(1 / 127.5, -1.0), L.Conv2D(2, 3)"),
}
# fmt: on
