"""Random PyTorch modules: a table of operators, and the module that a seed stands for."""
# ruff: noqa: E501 - a table, a row a line

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.random_models.drawing import Op, Step, Table, Value, drawn, steps, unused
from tests.random_models.trial import Description

# Whole numbers that are divided by, shifted by or compared with.
BY = (2, 3, -3, 5, -1)
# fmt: off
OPS = (
    *(Op("f", f"torch.{name}({{a}})") for name in (
        "abs", "neg", "exp", "sin", "cos", "tanh", "atan", "sigmoid", "relu", "floor", "ceil", "round", "trunc", "sign", "erf", "erfc",
        "expm1", "sinh", "cosh", "asinh", "square", "exp2", "nan_to_num", "deg2rad", "rad2deg", "isfinite", "isnan", "reciprocal", "special.expit",
        "positive", "logit", "rsqrt", "log1p", "log2", "log10", "sqrt", "acosh")),
    *(Op("f", f"torch.nn.functional.{name}({{a}})") for name in (
        "gelu", "silu", "softplus", "elu", "selu", "celu", "hardtanh", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "tanhshrink", "softsign",
        "mish", "logsigmoid", "leaky_relu", "relu6")),
    Op("f", "torch.log({a}.abs() + 1)"), Op("f", "torch.sqrt({a}.abs())"), Op("f", "torch.rsqrt({a}.abs() + 0.5)"), Op("f", "torch.asin({a}.tanh())"),
    Op("f", "torch.nn.functional.gelu({a}, approximate='tanh')"), Op("f", "torch.nn.functional.softplus({a}, beta={p}, threshold={q})", (1, 2, 0.5), (20, 5)),
    Op("f", "torch.nn.functional.threshold({a}, {p}, {q})", (0.5, -1.0, 0.0), (7.0, -2.0)), Op("f", "torch.nn.functional.hardtanh({a}, {p}, {q})", (-2.0, -1.0), (0.5, 3.0)),
    Op("f", "torch.nn.functional.elu({a}, {p})", (0.5, 2.0)), Op("f", "torch.nn.functional.leaky_relu({a}, {p})", (0.2, -0.1)),
    Op("f", "torch.nn.functional.hardshrink({a}, {p})", (1.0, 0.1)), Op("f", "torch.nn.functional.softshrink({a}, {p})", (1.0, 0.1)),
    Op("f", "torch.round({a}, decimals={p})", (1, 2, -1)), Op("f", "torch.logit({a}.sigmoid(), eps={p})", (1e-6, 0.1)), Op("f", "{a}.nan_to_num({p}, 5.0, -5.0)", (1.5,)),
    Op("n", "{a}.clamp({p}, {q})", (-2, 0, -10), (1, 6)), Op("n", "{a}.clamp(min={p})", (0, -3)), Op("n", "{a}.clamp(max={p})", (0, 3)),
    Op("f", "{a} ** {p}", (2, 3, 0.5, -1, 0, -2)), Op("f", "{a} * {p}", (0.1, -2.0, 3)), Op("f", "{a} + {p}", (0.5, -1, 100)), Op("f", "{p} - {a}", (1.0, 0)), Op("f", "{a} / {p}", (3, -0.7)), Op("f", "{p} / {a}", (1.0, 2)),
    *(Op("ff", text) for text in (
        "{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / {b}", "torch.maximum({a}, {b})", "torch.minimum({a}, {b})", "torch.fmod({a}, {b})", "torch.remainder({a}, {b})",
        "torch.floor_divide({a}, {b})", "torch.div({a}, {b}, rounding_mode='trunc')", "torch.atan2({a}, {b})", "torch.heaviside({a}, {b})",
        "torch.lerp({a}, {b}, 0.3)", "torch.where({a} > {b}, {a}, {b} * 2)", "torch.addcmul({a}, {a}, {b}, value=0.5)",
        "{a} < {b}", "{a} >= {b}", "{a} == {b}", "torch.isclose({a}, {b})", "{a}.abs() ** {b}.clamp(-3, 3)", "torch.xlogy({a}, {b}.abs())",
        "torch.nn.functional.cosine_similarity({a}, {b}, dim=-1)", "torch.nn.functional.pairwise_distance({a}, {b})", "torch.ldexp({a}, {b}.round().clamp(-4, 4))")),
    Op("f", "torch.fmod({a}, {p})", (2.0, -1.5, 3)), Op("f", "torch.remainder({a}, {p})", (2.0, -1.5, 3)), Op("f", "torch.floor_divide({a}, {p})", (2.0, -1.5, 3)), Op("f", "{a} // {p}", (2, -3)), Op("f", "{a} % {p}", (2, -3)),
    *(Op("i", text) for text in ("{a}.abs()", "-{a}", "~{a}", "{a}.sign()", "{a} * {a}", "{a}.square()", "torch.relu({a})", "{a}.float()", "{a}.to(torch.int32)", "{a}.to(torch.uint8)", "{a}.to(torch.int8)", "{a}.to(torch.int16)", "{a}.bool()", "{a}.double()", "{a}.float().sqrt()")),
    *(Op("i", f"{{a}} {sign} {{p}}", BY) for sign in ("//", "%", "+", "-", "*", "&", "|", "^")), *(Op("i", f"{{a}} {sign} {{p}}", (1, 2, 5)) for sign in ("<<", ">>")),
    Op("i", "torch.div({a}, {p}, rounding_mode='{q}')", BY, ("trunc", "floor")), Op("i", "torch.fmod({a}, {p})", BY), Op("i", "torch.remainder({a}, {p})", BY), Op("i", "{a} / {p}", BY), Op("i", "{p} // ({a} * 2 + 1)", BY), Op("i", "{p} % ({a} * 2 + 1)", BY), Op("i", "{a} ** {p}", (2, 3)), Op("i", "{p} ** {a}.clamp(0, 5)", (2, 3)),
    *(Op("ii", text) for text in ("{a} + {b}", "{a} * {b}", "{a} - {b}", "{a} & {b}", "{a} ^ {b}", "torch.maximum({a}, {b})", "{a} < {b}", "{a} == {b}", "{a} // ({b} * 2 + 1)", "{a} % ({b} * 2 + 1)", "torch.fmod({a}, {b} * 2 + 1)", "{a} << {b}.clamp(0, 4)", "{a} >> {b}.clamp(0, 4)", "torch.where({a} > {b}, {a}, -{b})")),
    Op("i", "torch.nn.functional.one_hot({a} % {p}, {p})", (3, 5)), Op("i", "{layer}({a} % {p})", (7, 3), layer="torch.nn.Embedding({p}, 4)"), Op("i", "{layer}({a}.remainder({p}))", (7,), layer="torch.nn.Embedding({p}, 3, padding_idx=0)"), Op("i", "{layer}({a} % 6)", rank=1, layer="torch.nn.EmbeddingBag(6, 4, mode='mean')"),
    Op("fi", "{a}[:, {b}.flatten()[0] % {channels}]"), Op("fi", "torch.gather({a}, 1, {b} % {channels})"), Op("fi", "torch.take_along_dim({a}, {b} % {last}, dim=-1)"), Op("fi", "{a}.scatter(1, {b} % {channels}, 1.5)"), Op("fi", "{a}.scatter_add(1, {b} % {channels}, {b} * 0.5)"), Op("fi", "{a} * {b}"), Op("fi", "{a} ** {b}.clamp(-2, 3)"), Op("fi", "{a} > {b}"), Op("fi", "torch.ldexp({a}, {b}.clamp(-5, 5))"),
    Op("f", "{a}.long()"), Op("f", "{a}.int()"), Op("f", "{a}.to(torch.uint8)"), Op("f", "{a}.to(torch.int8)"), Op("f", "{a}.bool()"), Op("f", "{a}.half().float()"), Op("f", "{a}.to(torch.bfloat16).float()"), Op("f", "{a}.double()"), Op("f", "{a}.round().long()"), Op("f", "{a}.double().float()"),
    *(Op("n", f"{{a}} {sign} {{p}}", (0, 1, -2)) for sign in ("<", "<=", ">", ">=", "==", "!=")),
    Op("b", "~{a}"), Op("bb", "{a} & {b}"), Op("bb", "{a} | {b}"), Op("bb", "{a} ^ {b}"), Op("b", "{a}.float()"), Op("b", "{a}.long()"), Op("b", "{a}.any({p})", (-1,)), Op("b", "{a}.all({p})", (-1,)), Op("b", "{a}.sum({p})", (-1, 1)), Op("b", "{a}.long().cumsum({p})", (1, -1)), Op("bb", "torch.logical_xor({a}, {b})"), Op("b", "{a}.int().argmax(-1)"),
    Op("bff", "torch.where({a}, {b}, {c})"), Op("bii", "torch.where({a}, {b}, {c})"), Op("fb", "{a}.masked_fill({b}, {p})", (-1e9, 0.0, float("inf"))), Op("fb", "torch.where({b}, {a}, 0.0)"), Op("ib", "{a}.masked_fill({b}, -7)"), Op("fb", "{a} * {b}"),
    *(Op("f", f"{{a}}.{name}({{p}})", (-1, 1)) for name in ("sum", "mean", "amax", "amin", "prod", "std", "var", "logsumexp", "argmax", "argmin", "softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp", "norm", "argsort", "nanmean", "diff", "count_nonzero")),
    *(Op("i", f"{{a}}.{name}({{p}})", (-1, 1)) for name in ("sum", "prod", "amax", "amin", "argmax", "argmin", "cumsum", "argsort", "any", "all", "count_nonzero")),
    *(Op("f", f"{{a}}.{name}({{p}}).{{q}}", (-1, 1), ("values", "indices")) for name in ("max", "min", "sort")),
    Op("f", "{a}.mean(({p}, -1), keepdim={q})", (1,), (True, False), rank=2), Op("f", "{a}.std({p}, unbiased={q})", (-1, 1), (True, False)), Op("f", "{a}.norm({p}, dim={q})", (1, 2, 3, float("inf"), 0), (-1, 1)), Op("f", "{a}.sum({p}, keepdim=True)", (-1, 1)),
    Op("n", "{a}.topk({p}, dim=-1, largest={q}).values", (1, 2), (True, False)), Op("n", "{a}.topk({p}, dim=-1, largest={q}).indices", (1, 2), (True, False)), Op("f", "torch.aminmax({a}, dim=-1).max"), Op("f", "{a}.sort(-1, descending=True).values"), Op("n", "{a}.argsort(-1, descending=True)"),
    Op("f", "torch.bucketize({a}, torch.tensor([-1.0, 0.0, 0.5, 2.0]), right={p})", (True, False)), Op("i", "torch.bucketize({a}, torch.tensor([-2, 0, 3]), right={p})", (True, False)),
    Op("n", "{a}.transpose(1, -1)", rank=2), Op("n", "{a}.flatten(1)"), Op("n", "{a}.unsqueeze({p})", (1, -1)), Op("n", "{a}[:, {p}]", ("1:", "-1:", "::2", ":-1", "0", "-1", "[1, 0]", "[-1, 0, 0]", "None")), Op("n", "{a}[..., {p}]", ("1:", "-1", "::2", "[-1, 0]", ":2")), Op("n", "{a}.flip({p})", (1, -1)), Op("n", "{a}.roll({p}, {q})", (1, -2), (1, -1)), Op("n", "{a}.chunk(2, {p})[{q}]", (-1, 1), (0, -1)), Op("n", "{a}.split(2, -1)[{p}]", (0, -1)), Op("n", "{a}.narrow({p}, 1, 1)", (1, -1)),
    Op("nn", "torch.cat([{a}, {b}], {p})", (1, -1)), Op("nn", "torch.stack([{a}, {b}], {p})", (1, -1)), Op("n", "{a}.repeat_interleave({p}, {q})", (2, 3), (1, -1)), Op("n", "{a}.repeat(1, 2)"), Op("n", "{a}.tile(2)"), Op("n", "{a}.expand(2, *{a}.shape).movedim(0, 1)"), Op("n", "{a}.reshape({a}.shape[0], -1, {p})", (2, 3)), Op("n", "{a}.view({a}.shape[0], {p}, -1)", (2, 3)), Op("n", "{a}.tril({p})", (0, 1, -1), rank=2), Op("n", "{a}.triu({p})", (0, 1, -1), rank=2), Op("n", "torch.rot90({a}, {p}, [1, 2])", (1, -1, 2), rank=2), Op("n", "{a}.unfold(-1, 2, {p})", (1, 2)), Op("n", "{a}.diagonal(dim1=1, dim2=-1)", rank=2), Op("n", "{a}.index_select({p}, torch.tensor([1, 0, 1]))", (1, -1)),
    Op("f", "torch.nn.functional.pad({a}, ({p}), mode='{q}')", ("1, 2", "1, 0"), ("constant", "reflect", "replicate", "circular"), rank=2), Op("n", "torch.nn.functional.pad({a}, ({p}), value={q})", ("1, 1", "0, 2", "-1, 1"), (0, 3)),
    Op("f", "torch.nn.functional.max_pool1d({a}, {p}, ceil_mode={q})", ("2", "3, 2", "3, 2, 1", "2, 1, 0, 2"), (True, False), rank=2), Op("f", "torch.nn.functional.avg_pool1d({a}, {p}, ceil_mode={q})", ("2", "3, 2", "3, 2, 1"), (True, False), rank=2), Op("f", "torch.nn.functional.avg_pool1d({a}, 3, 2, 1, {p}, count_include_pad={q})", (True, False), (True, False), rank=2), Op("f", "torch.nn.functional.adaptive_avg_pool1d({a}, {p})", (1, 2, 4), rank=2), Op("f", "torch.nn.functional.adaptive_max_pool1d({a}, {p})", (1, 3), rank=2), Op("f", "torch.nn.functional.lp_pool1d({a}, {p}, 2)", (1, 2, 3), rank=2),
    Op("f", "torch.nn.functional.max_pool2d({a}[:, None], {p}, ceil_mode={q})", ("2", "3, 2, 1"), (True, False), rank=2), Op("f", "torch.nn.functional.avg_pool2d({a}[:, None], {p}, ceil_mode={q})", ("2", "3, 2, 1"), (True, False), rank=2), Op("f", "torch.nn.functional.avg_pool2d({a}[:, None], 2, divisor_override=3)", rank=2),
    Op("f", "torch.nn.functional.interpolate({a}, scale_factor={p}, mode='{q}')", (2, 0.5, 1.5), ("nearest", "linear", "nearest-exact"), rank=2), Op("f", "torch.nn.functional.interpolate({a}[:, None], size=({p}), mode='{q}')", ("5, 7", "3, 3"), ("nearest", "bilinear", "bicubic", "area"), rank=2), Op("f", "torch.nn.functional.interpolate({a}[:, None], scale_factor=2, mode='{q}', align_corners={p})", (True, False), ("bilinear", "bicubic"), rank=2),
    Op("f", "{layer}({a})", (3, 5), layer="torch.nn.Linear({last}, {p})"), Op("f", "{layer}({a})", (2, 4), ("bias=False", "stride=2, padding=1", "padding='same'", "dilation=2, padding=2", "padding=1, padding_mode='reflect'", "padding=1, padding_mode='circular'"), rank=2, layer="torch.nn.Conv1d({channels}, {p}, 3, {q})"), Op("f", "{layer}({a})", (2, 3), ("stride=2", "stride=2, padding=1, output_padding=1", "dilation=2"), rank=2, layer="torch.nn.ConvTranspose1d({channels}, {p}, 3, {q})"), Op("f", "{layer}({a}[:, None])", (1, 2), (1, "(1, 0)"), rank=2, layer="torch.nn.Conv2d(1, 3, ({p}, 2), padding={q})"),
    Op("f", "{layer}({a})", layer="torch.nn.LayerNorm({last})"), Op("f", "{layer}({a})", layer="torch.nn.RMSNorm({last})"), Op("f", "{layer}({a})", layer="torch.nn.BatchNorm1d({channels})"), Op("f", "{layer}({a})", (1, 2), rank=2, layer="torch.nn.GroupNorm({p}, {channels})"), Op("f", "{layer}({a})", rank=2, layer="torch.nn.InstanceNorm1d({channels}, affine=True)"), Op("f", "{layer}({a})", layer="torch.nn.PReLU({channels})"), Op("f", "torch.nn.functional.normalize({a}, p={p}, dim=-1)", (1, 2)), Op("f", "torch.nn.functional.local_response_norm({a}, {p})", (2, 3), rank=2), Op("f", "torch.nn.functional.glu({a}, {p})", (-1, 1)),
    *(Op("f", "{layer}({a})[0]", (3, 4), ("", ", bidirectional=True", ", num_layers=2"), rank=2, layer=f"torch.nn.{name}({{last}}, {{p}}, batch_first=True{{q}})") for name in ("LSTM", "GRU", "RNN")), Op("f", "{layer}({a})[1][0].transpose(0, 1)", (3,), rank=2, layer="torch.nn.LSTM({last}, {p}, batch_first=True)"), Op("f", "{layer}({a})[1].transpose(0, 1)", (3,), rank=2, layer="torch.nn.GRU({last}, {p}, batch_first=True)"),
    Op("f", "{layer}({a}, {a}, {a})[{p}]", (0, 1), rank=2, layer="torch.nn.MultiheadAttention({last}, 1, batch_first=True)"), Op("f", "torch.nn.functional.scaled_dot_product_attention({a}, {a}, {a}, is_causal={p})", (True, False), rank=2), Op("f", "{layer}({a})", rank=2, layer="torch.nn.TransformerEncoderLayer({last}, 1, 8, batch_first=True)"),
    Op("ff", "{a} @ {b}.transpose(1, -1)", rank=2), Op("ff", "torch.einsum('b...i,b...i->b...', {a}, {b})"), Op("ff", "torch.cdist({a}, {b}, p={p})", (1.0, 2.0), rank=2), Op("f", "torch.bmm({a}, {a}.transpose(1, 2))", rank=2), Op("f", "{a}.softmax(1).argmax(-1)"), Op("f", "(({a} > {p}) * {a}).sum(-1)", (0, 1)), Op("f", "{a} / {a}.sum(-1, keepdim=True).clamp(min={p})", (1e-6, 1.0)), Op("f", "{a} - {a}.mean(-1, keepdim=True)"), Op("f", "torch.nn.functional.softmin({a}, {p})", (-1, 1)), Op("f", "torch.nn.functional.pixel_shuffle({a}[:, None].expand(-1, 4, -1, -1), 2)", rank=2), Op("f", "{a}.masked_fill({a}.isnan(), 0.0)"), Op("f", "torch.cross({a}[..., :3], {a}[..., -3:], dim=-1)"), Op("f", "torch.linalg.vector_norm({a}, {p}, dim=-1)", (1, 2, float("-inf"))), Op("f", "torch.trapezoid({a}, dim=-1)"), Op("f", "torch.renorm({a}, 2, 0, {p})", (1.0,)),
)
# fmt: on
# What no exporter translated at first sight: a model with one is refused, so that few have some.
UNTRANSLATED = (
    *(
        Op("f", f"torch.{name}({{a}})")
        for name in (
            "sinc",
            "frac",
            "signbit",
            "special.i0",
            "atanh",
            "lgamma",
            "digamma",
            "erfinv",
            "special.entr",
            "special.ndtr",
            "special.log_ndtr",
        )
    ),
    *(
        Op("ff", f"torch.{name}({{a}}, {{b}})")
        for name in ("hypot", "copysign", "fmax", "fmin", "logaddexp", "nextafter")
    ),
    Op("ii", "torch.gcd({a}, {b})"),
    Op("f", "{a}.kthvalue({p}, -1).values", (1, 2)),
    Op("f", "{a}.quantile({p}, dim=-1)", (0.3, 0.5)),
    Op("f", "torch.searchsorted(torch.tensor([-1.0, 0.0, 0.5, 2.0]), {a})"),
    Op("f", "{a}.nansum({p})", (-1, 1)),
    *(
        Op("f", f"{{a}}.{name}({{p}}).{{q}}", (-1, 1), ("values", "indices"))
        for name in ("median", "cummax", "cummin", "mode")
    ),
)  # fmt: skip
# Of so many models one may have any operator.
RARELY = 12
INPUTS = (
    ("x", "float32", (3, 4, 6)),
    ("x", "float32", (3, 6)),
    ("k", "int64", (3, 4)),
    ("k", "int64", (3, 4, 6)),
    ("k", "int32", (3, 6)),
    ("m", "bool", (3, 6)),
    ("x", "float64", (3, 5)),
    ("x", "float32", (3, 2, 6, 6)),
)
MODULE = """from typing import Annotated
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
{layers}
    def forward(self, {names}):
{lines}
        return {outputs}


def make() -> Annotated[torch.nn.Module, "{shapes}"]:
    return Net()
"""


def _value(name: str, tensor: Any) -> Value | None:
    import torch

    kinds = {"f": tensor.is_floating_point(), "b": tensor.dtype is torch.bool}
    kind = next((kind for kind, yes in kinds.items() if yes), "i")
    if not tensor.numel() or tensor.numel() > 5000 or tensor.is_complex() or tensor.shape[:1] != (3,):
        return None
    return Value(name, kind, tuple(tensor.shape), tensor)


def _example(dtype: str, shape: Sequence[int]) -> Any:
    import torch

    generator = torch.Generator().manual_seed(0)
    values = torch.randn(tuple(shape), generator=generator) * 3
    return values > 0 if dtype == "bool" else values.to(getattr(torch, dtype))


def _trial(step: Step, values: Sequence[Value]) -> Value | None:
    import torch

    names = {each.name: each.example for each in values}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if step.layer:
                layer = eval(step.layer, {"torch": torch}).eval()
                names["self"] = type("Self", (), {step.name: layer})()
            return _value(step.name, eval(step.text, {"torch": torch}, names))
    except Exception:  # the operands do not fit
        return None


@st.composite
def modules(draw: Any, ops: Sequence[Op], every: bool) -> str:
    """Return the text of a Python module whose function ``make`` returns a network.

    With ``every``, each step is an output, so that the first wrong one names the operator.
    """
    chosen = draw(st.lists(st.sampled_from(INPUTS), min_size=1, max_size=2, unique_by=lambda each: each[0]))
    inputs = [Value(name, _kind(dtype), shape, _example(dtype, shape)) for name, dtype, shape in chosen]
    made = draw(steps(ops, inputs, _trial))
    read = [each for each in chosen if any(f"{each[0]}" in _words(step.text) for step in made)]
    shapes = ",".join(f"{name}={'x'.join(map(str, shape))}:{dtype}" for name, dtype, shape in read)
    layers = [f"        self.{step.name} = {step.layer}" for step in made if step.layer]
    return MODULE.format(
        layers="\n".join([*layers, ""]),
        names=", ".join(name for name, _, _ in read),
        lines="\n".join(f"        {step.name} = {step.text}" for step in made),
        outputs=", ".join([step.name for step in made] if every else unused(made)[-3:]),
        shapes=shapes,
    )


def _words(text: str) -> set[str]:
    import re

    return set(re.findall(r"(?<![.\w])\w+", text))


def _kind(dtype: str) -> str:
    return {"bool": "b"}.get(dtype, "f" if dtype.startswith("float") else "i")


def module(seed: int) -> str:
    """Return the module of a seed, always the same."""
    ops = OPS if seed % RARELY else (*OPS, *UNTRANSLATED * 5)
    return str(drawn(modules(Table(ops), every=seed % 2 == 1), seed))


def describe(seed: int) -> Description:
    """Return the model of a seed; every third is recorded by the older exporter, which is quicker."""
    return _described(module(seed), {"exporter": "torchscript"} if seed % 3 == 0 else {})


def describe_each(number: int) -> Description:
    """Return the network that consists of one operator, by its number from 1; the exporters take turns."""
    place, turn = divmod(number - 1, 2)
    text = str(drawn(modules(Table([(*OPS, *UNTRANSLATED)[place]]), every=True), number))
    return _described(text, {"exporter": "torchscript"} if turn else {})


def _described(text: str, options: Mapping[str, str]) -> Description:
    return Description(text, "python:nets:make", lambda folder: _write(folder, text), options)


def _write(folder: Path, text: str) -> None:
    (folder / "nets.py").write_text(text)
