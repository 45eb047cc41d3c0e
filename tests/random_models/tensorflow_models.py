"""Random TensorFlow functions: a table of operators, and the function that a seed stands for."""
# ruff: noqa: E501 - a table, a row a line

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.random_models.drawing import Op, Step, Table, Value, drawn, steps, unused
from tests.random_models.trial import Description

BY = (2, 3, -3, 5, -1)
# fmt: off
OPS = (
    *(Op("f", f"tf.{name}({{a}})") for name in (
        "abs", "exp", "sin", "cos", "tan", "tanh", "atan", "sigmoid", "nn.relu", "floor", "math.ceil", "round", "math.rint", "sign", "math.erf", "math.erfc", "math.expm1", "sinh", "cosh", "asinh", "square",
        "nn.softplus", "nn.softsign", "nn.elu", "nn.selu", "nn.relu6", "nn.silu", "nn.gelu", "math.log_sigmoid", "math.log1p", "math.reciprocal_no_nan", "math.is_finite", "math.is_nan", "sqrt", "math.rsqrt", "math.reciprocal", "math.negative",
        "nn.softmax", "nn.log_softmax", "nn.leaky_relu", "nn.crelu", "math.is_inf", "math.sign", "math.softplus", "nn.swish", "math.acosh", "math.log", "acos", "asin", "atanh", "math.ndtri", "math.erfinv", "math.sigmoid")),
    *(Op("ff", text) for text in ("{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / {b}", "tf.maximum({a}, {b})", "tf.minimum({a}, {b})", "tf.math.floormod({a}, {b})", "{a} // {b}", "tf.math.divide_no_nan({a}, {b})", "tf.atan2({a}, {b})", "tf.math.squared_difference({a}, {b})", "tf.where({a} > {b}, {a}, {b} * 2.0)", "{a} < {b}", "{a} >= {b}", "tf.equal({a}, {b})", "tf.pow(tf.abs({a}), tf.clip_by_value({b}, -3.0, 3.0))", "tf.math.xlogy({a}, tf.abs({b}))", "tf.math.xdivy({a}, {b})")),
    *(Op("f", f"tf.math.{name}({{a}}, {{p}})", (2.0, -1.5, 3.0)) for name in ("floormod", "mod", "floordiv", "pow", "maximum", "minimum")),
    Op("f", "tf.clip_by_value({a}, {p}, {q})", (-2.0, 0.0), (0.5, 6.0)), Op("f", "{a} ** {p}", (2, 3, -1, 0)), Op("f", "{a} * {p} + 1.0", (0.1, -2.0)), Op("f", "{p} / {a}", (1.0,)), Op("f", "tf.nn.leaky_relu({a}, {p})", (0.3, 0.01)), Op("f", "tf.nn.gelu({a}, approximate={p})", (True, False)),
    *(Op("ii", text) for text in ("{a} + {b}", "{a} * {b}", "{a} - {b}", "tf.maximum({a}, {b})", "{a} < {b}", "tf.equal({a}, {b})", "{a} // ({b} * 2 + 1)", "{a} % ({b} * 2 + 1)", "tf.truncatediv({a}, {b} * 2 + 1)", "{a} / ({b} * 2 + 1)", "tf.where({a} > {b}, {a}, -{b})", "tf.math.squared_difference({a}, {b})")),
    *(Op("i", text, BY) for text in ("{a} // {p}", "{a} % {p}", "tf.math.floormod({a}, {p})", "tf.truncatediv({a}, {p})", "{a} / {p}", "{a} * {p}", "{a} - {p}", "{p} // ({a} * 2 + 1)", "{p} % ({a} * 2 + 1)", "tf.math.floordiv({a}, {p})")),
    *(Op("i", text) for text in ("tf.abs({a})", "-{a}", "tf.sign({a})", "tf.square({a})", "tf.cast({a}, tf.float32)", "tf.cast({a}, tf.int64)", "tf.cast({a}, tf.uint8)", "tf.cast({a}, tf.int8)", "tf.cast({a}, tf.bool)", "tf.nn.relu({a})", "tf.pow({a}, 2)", "tf.clip_by_value({a}, -2, 3)")),
    *(Op("i", "tf.one_hot({a}, {p}, {q})", (3, 5), ("1.0, 0.0", "5.0, -1.0", "on_value=True, off_value=False", "axis=1")) for _ in range(2)), Op("i", "tf.gather(tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]), {a} % 3)"), Op("i", "tf.nn.embedding_lookup(tf.reshape(tf.range(12.0), [4, 3]), {a} % 4)"), Op("i", "tf.sequence_mask({a}, {p})", (4, 6)), Op("i", "tf.math.cumsum({a}, 1, exclusive={p}, reverse={q})", (True, False), (True, False)), Op("i", "tf.cast({a}, tf.float64)"), Op("i", "tf.math.floormod(tf.cast({a}, tf.int64), {p})", BY),
    *(Op("f", f"tf.cast({{a}}, tf.{name})") for name in ("int32", "int64", "int8", "uint8", "bool", "float64", "int16", "uint32")), Op("f", "tf.cast(tf.cast({a}, tf.float16), tf.float32)"), Op("f", "tf.cast(tf.round({a}), tf.int32)"), Op("f", "tf.saturate_cast({a}, tf.{p})", ("int8", "uint8", "int32")), Op("f", "tf.cast(tf.cast({a}, tf.bfloat16), tf.float32)"),
    *(Op("f", f"{{a}} {sign} {{p}}", (0.0, 1.0, -2.0)) for sign in ("<", "<=", ">", ">=")), *(Op("i", f"{{a}} {sign} {{p}}", (0, 1, -2)) for sign in ("<", "<=", ">", ">=")), Op("n", "tf.not_equal({a}, 0)"),
    Op("b", "tf.logical_not({a})"), Op("bb", "{a} & {b}"), Op("bb", "{a} | {b}"), Op("bb", "tf.math.logical_xor({a}, {b})"), Op("b", "tf.cast({a}, tf.float32)"), Op("b", "tf.cast({a}, tf.int32)"), Op("b", "tf.reduce_any({a}, {p})", (-1, 1)), Op("b", "tf.reduce_all({a}, {p})", (-1, 1)), Op("b", "tf.argmax(tf.cast({a}, tf.int32), -1)"), Op("bff", "tf.where({a}, {b}, {c})"), Op("bii", "tf.where({a}, {b}, {c})"), Op("b", "tf.math.count_nonzero({a}, -1)"),
    *(Op("f", f"tf.{name}({{a}}, {{p}}, keepdims={{q}})", (-1, 1), (True, False)) for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_logsumexp", "math.reduce_std", "math.reduce_variance", "norm")),
    *(Op("i", f"tf.{name}({{a}}, {{p}})", (-1, 1)) for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin", "reduce_mean", "argsort", "sort", "math.count_nonzero")),
    *(Op("f", f"tf.{name}({{a}}, {{p}})", (-1, 1)) for name in ("argmax", "argmin", "argsort", "sort", "cumsum", "math.cumprod", "nn.softmax", "math.l2_normalize", "nn.log_softmax")), Op("f", "tf.cumsum({a}, 1, exclusive={p}, reverse={q})", (True, False), (True, False)), Op("f", "tf.sort({a}, -1, direction='DESCENDING')"), Op("f", "tf.argsort({a}, -1, direction='DESCENDING')"), Op("f", "tf.math.top_k({a}, {p}).values", (1, 2)), Op("f", "tf.math.top_k({a}, {p}).indices", (1, 2)), Op("f", "tf.math.cumulative_logsumexp({a}, -1)"),
    Op("f", "tf.searchsorted(tf.tile([[-1.0, 0.0, 2.0]], [tf.shape({a})[0], 1]), tf.reshape({a}, [tf.shape({a})[0], -1]), side='{p}')", ("left", "right")), Op("f", "tf.raw_ops.Bucketize(input={a}, boundaries=[-1.0, 0.0, 2.0])"), Op("f", "tf.histogram_fixed_width_bins({a}, [-2.0, 2.0], 5)"), Op("f", "tf.quantization.fake_quant_with_min_max_args({a}, {p}, 4.0)", (-2.0, 0.0)),
    Op("n", "tf.transpose({a}, [0, 2, 1])", rank=2), Op("n", "tf.reshape({a}, [tf.shape({a})[0], -1])"), Op("n", "tf.expand_dims({a}, {p})", (1, -1)), Op("n", "{a}[:, {p}]", ("1:", "-1:", "::2", ":-1", "0", "-1", "::-1", "tf.newaxis")), Op("n", "{a}[..., {p}]", ("1:", "-1", "::2", "::-1")), Op("n", "tf.reverse({a}, [{p}])", (1, -1)), Op("n", "tf.roll({a}, {p}, {q})", (1, -2), (1, -1)), Op("n", "tf.split({a}, 2, {p})[1]", (-1, 1)), Op("nn", "tf.concat([{a}, {b}], {p})", (1, -1)), Op("nn", "tf.stack([{a}, {b}], {p})", (1, -1)), Op("n", "tf.repeat({a}, {p}, axis={q})", (2, 3), (1, -1)), Op("n", "tf.gather({a}, [1, 0, 1], axis={p})", (1, -1)), Op("n", "tf.linalg.band_part({a}, {p}, {q})", (0, 1, -1), (0, -1), rank=2), Op("n", "tf.linalg.diag_part({a})", rank=2), Op("n", "tf.linalg.diag({a})"), Op("n", "tf.squeeze(tf.expand_dims({a}, 1), 1)"), Op("n", "tf.unstack({a}, axis=1)[-1]", rank=2),
    Op("n", "tf.pad({a}, [[0, 0]] * (len({a}.shape) - 1) + [[{p}]], '{q}')", ("1, 2", "1, 0"), ("CONSTANT", "REFLECT", "SYMMETRIC")), Op("n", "tf.tile({a}, [1] * (len({a}.shape) - 1) + [2])"), Op("fi", "tf.gather({a}, {b} % {last}, axis=-1, batch_dims=1)", rank=1), Op("fi", "{a} * tf.cast({b}, {a}.dtype)"), Op("n", "tf.reverse_sequence({a}, tf.fill([tf.shape({a})[0]], 2), seq_axis=1)"), Op("n", "tf.slice({a}, [0] * len({a}.shape), [-1] * len({a}.shape))"), Op("n", "tf.boolean_mask({a}, tf.constant([True, False] * 3)[:{channels}], axis=1)"), Op("n", "tf.tensor_scatter_nd_update(tf.transpose({a}), [[0]], tf.transpose({a})[1:2] * 2)", rank=1),
    Op("f", "tf.nn.max_pool1d({a}, 2, {p}, '{q}')", (1, 2), ("SAME", "VALID"), rank=2), Op("f", "tf.nn.avg_pool1d({a}, 3, {p}, '{q}')", (1, 2), ("SAME", "VALID"), rank=2), Op("f", "tf.nn.conv1d({a}, tf.ones([3, {last}, 2]), {p}, '{q}')", (1, 2), ("SAME", "VALID"), rank=2), Op("f", "tf.image.resize({a}[..., tf.newaxis], [5, 7], '{p}')", ("nearest", "bilinear", "bicubic", "area"), rank=2), Op("f", "tf.image.resize({a}[..., tf.newaxis], [3, 3], '{p}', antialias={q})", ("bilinear", "nearest"), (True, False), rank=2), Op("f", "tf.nn.lrn({a}[:, tf.newaxis], {p})", (1, 2), rank=2), Op("f", "tf.nn.depth_to_space(tf.tile({a}[..., tf.newaxis], [1, 1, 1, 4]), 2)", rank=2), Op("f", "tf.image.per_image_standardization({a}[..., tf.newaxis])", rank=2), Op("f", "tf.image.adjust_contrast({a}[..., tf.newaxis], 2.0)", rank=2),
    Op("ff", "tf.matmul({a}, {b}, transpose_b=True)", rank=2), Op("ff", "tf.einsum('...i,...i->...', {a}, {b})"), Op("f", "tf.matmul({a}, tf.ones([{last}, 2]))"), Op("f", "tf.linalg.normalize({a}, axis=-1)[0]"), Op("f", "tf.clip_by_norm({a}, {p}, axes=[-1])", (1.0,)), Op("f", "tf.nn.moments({a}, [-1])[{p}]", (0, 1)), Op("f", "tf.cond(tf.reduce_max({a}) > {p}, lambda: {a} / 2.0, lambda: {a} * 3.0)", (2.0, 50.0, 0.0)), Op("f", "tf.while_loop(lambda v: tf.reduce_max(tf.abs(v)) > {p}, lambda v: v / 2.0, [{a}])[0]", (1.0, 8.0)), Op("f", "tf.map_fn(lambda v: tf.reduce_max(v) * v, {a})"), Op("f", "tf.vectorized_map(lambda v: v / (1.0 + tf.reduce_sum(tf.abs(v))), {a})"), Op("f", "tf.math.segment_max(tf.transpose({a}), [0, 0, 1, 1, 2, 2][:{last}])[:1, 0] + {a}[:, 0]", rank=1),
    *(Op("f", "{layer}({a})", p, q, rank, layer) for p, q, rank, layer in (
        ((2, 4), ("relu", "tanh", "softmax", "gelu", "hard_sigmoid", "selu", "exponential", "hard_silu", "log_softmax", "mish", "sparsemax"), 1, "built(tf.keras.layers.Dense({p}, activation='{q}'), {shape})"),
        ((2, 3), ("padding='same'", "strides=2", "padding='causal'", "dilation_rate=2"), 2, "built(tf.keras.layers.Conv1D({p}, 3, {q}), {shape})"), ((2,), ("strides=2", "padding='same', strides=2"), 2, "built(tf.keras.layers.Conv1DTranspose({p}, 3, {q}), {shape})"),
        ((3,), ("LSTM", "GRU", "SimpleRNN"), 2, "built(tf.keras.layers.{q}({p}, return_sequences=True), {shape})"), ((3,), ("LSTM", "GRU"), 2, "built(tf.keras.layers.Bidirectional(tf.keras.layers.{q}({p})), {shape})"), ((3,), ("GRU", ), 2, "built(tf.keras.layers.{q}({p}, reset_after=False), {shape})"),
        (("LayerNormalization()", "BatchNormalization()", "UnitNormalization()", "PReLU()", "ReLU(6.0, 0.1, 1.0)", "LeakyReLU(0.3)", "ELU(2.0)", "Softmax()", "Rescaling(2.0, -1.0)", "Discretization([-1.0, 0.0, 2.0])"), ("",), 1, "built(tf.keras.layers.{p}, {shape})"),
        (("GlobalMaxPooling1D()", "GlobalAveragePooling1D()", "MaxPooling1D(2, padding='same')", "AveragePooling1D(2, padding='same')", "UpSampling1D(2)", "ZeroPadding1D(1)", "Cropping1D(1)", "SeparableConv1D(2, 3)", "DepthwiseConv1D(3)"), ("",), 2, "built(tf.keras.layers.{p}, {shape})"),
    )),
)
# fmt: on
# What tf2onnx did not convert at first sight: a function with one is refused, so that few have some.
UNCONVERTED = (
    Op("f", "tf.math.lgamma({a})"),
    Op("f", "tf.math.digamma({a})"),
    Op("ff", "tf.math.multiply_no_nan({a}, {b})"),
    Op("ff", "tf.math.nextafter({a}, {b})"),
    Op("ii", "tf.bitwise.bitwise_and({a}, {b})"),
    Op("ii", "tf.bitwise.bitwise_xor({a}, {b})"),
    Op("i", "tf.bitwise.bitwise_or({a}, {p})", BY),
    Op("i", "tf.bitwise.invert({a})"),
    Op("i", "tf.bitwise.left_shift({a}, {p})", (1, 3)),
    Op("i", "tf.bitwise.right_shift({a}, {p})", (1, 3)),
    Op("f", "tf.math.reduce_euclidean_norm({a}, -1)"),
    Op("f", "tf.switch_case(tf.cast(tf.reduce_sum({a}) > 0.0, tf.int32), [lambda: {a}, lambda: -{a}])"),
    Op("f", "tf.math.in_top_k(tf.zeros([tf.shape({a})[0]], tf.int32), {a}, 2)"),
    Op("f", "tf.truncatemod({a}, tf.constant({p}, {a}.dtype))", (2.0, -1.5)),
    Op("ii", "tf.truncatemod({a}, {b} * 2 + 1)"),
    Op("i", "tf.truncatemod({a}, {p})", BY),
)  # fmt: skip
# Of so many functions one may have any operator.
RARELY = 12
INPUTS = (
    ("x", "float32", (3, 4, 6)),
    ("x", "float32", (3, 6)),
    ("k", "int32", (3, 4)),
    ("k", "int64", (3, 4, 6)),
    ("k", "int32", (3, 6)),
    ("m", "bool", (3, 6)),
    ("x", "float64", (3, 5)),
)
MODULE = """import tensorflow as tf


def built(layer, shape):
    layer.build((None, *shape[1:]))
    return layer


class Net(tf.Module):
    def __init__(self):
        super().__init__()
{layers}
    @tf.function(input_signature=[{signature}])
    def __call__(self, {names}):
{lines}
        return {{{outputs}}}


def make():
    return Net()
"""


def _built(layer: Any, shape: Sequence[int]) -> Any:
    layer.build((None, *shape[1:]))
    return layer


def _value(name: str, tensor: Any) -> Value | None:
    array = tensor.numpy()
    if not array.size or array.size > 5000 or array.shape[:1] != (3,) or array.dtype.kind not in "fiub":
        return None
    return Value(name, {"u": "i"}.get(array.dtype.kind, array.dtype.kind), array.shape, tensor)


def _trial(step: Step, values: Sequence[Value]) -> Value | None:
    import tensorflow as tf

    names = {each.name: each.example for each in values}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if step.layer:
                layer = eval(step.layer, {"tf": tf, "built": _built})
                names["self"] = type("Self", (), {step.name: staticmethod(layer)})()
            # One namespace: lambdas see no locals.
            return _value(step.name, eval(step.text, {"tf": tf, **names}))
    except Exception:  # the operands do not fit
        return None


def _example(dtype: str, shape: Sequence[int]) -> Any:
    import numpy as np
    import tensorflow as tf

    values = np.random.default_rng(0).standard_normal(shape) * 3
    return tf.constant(values > 0 if dtype == "bool" else values.astype(dtype))


@st.composite
def functions(draw: Any, ops: Sequence[Op], every: bool) -> str:
    """Return the text of a Python module whose function ``make`` returns a tf.Module; ``every`` step may be an output."""
    chosen = draw(st.lists(st.sampled_from(INPUTS), min_size=1, max_size=2, unique_by=lambda each: each[0]))
    kinds = {"bool": "b"}
    inputs = [Value(name, kinds.get(dtype, dtype[0]), shape, _example(dtype, shape)) for name, dtype, shape in chosen]
    made = draw(steps(ops, inputs, _trial))
    words = {word for step in made for word in re.findall(r"(?<![.\w])\w+", step.text)}
    read = [each for each in chosen if each[0] in words]
    outputs = [step.name for step in made] if every else unused(made)[-3:]
    layers = [f"        self.{step.name} = {step.layer}" for step in made if step.layer]
    return MODULE.format(
        layers="\n".join([*layers, ""]),
        signature=", ".join(
            f"tf.TensorSpec({[None, *shape[1:]]}, tf.{dtype}, name='{name}')" for name, dtype, shape in read
        ),
        names=", ".join(name for name, _, _ in read),
        lines="\n".join(f"        {step.name} = {step.text}" for step in made),
        outputs=", ".join(f'"{name}": {name}' for name in outputs),
    )


def describe(seed: int) -> Description:
    """Return the model of a seed, always the same."""
    ops = OPS if seed % RARELY else (*OPS, *UNCONVERTED * 5)
    return _described(str(drawn(functions(Table(ops), every=seed % 2 == 1), seed)))


def describe_each(number: int) -> Description:
    """Return the function that consists of one operator, by its number from 1."""
    return _described(str(drawn(functions(Table([(*OPS, *UNCONVERTED)[number - 1]]), every=True), number)))


def _described(text: str) -> Description:
    return Description(text, "python:nets:make", lambda folder: _write(folder, text))


def _write(folder: Path, text: str) -> None:
    (folder / "nets.py").write_text(text)
