"""Small networks of PyTorch, each a row: its inputs, its layers and what it computes."""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Torch:
    """A network: ``shapes`` as --input-shape takes them, layers by their names, and the expression of its answer.

    ``script``: it is scripted, which keeps its branches. ``exported``: by torch.export, whatever its place.
    ``body`` are lines before the answer. ``whole`` is the range of its whole numbers.
    """

    shapes: str
    answer: str
    layers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    script: bool = False
    exported: bool = False
    whole: tuple[int, int] | None = None


TEXT = """from typing import Annotated
import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
{layers}

    def forward(self, {names}):
{body}
        return {answer}


def make() -> Annotated[nn.Module, "{shapes}"]:
    torch.manual_seed(0)
    net = Net().eval()
    for name, each in net.named_parameters():
        torch.nn.init.normal_(each, std=0.6) if each.ndim > 1 else torch.nn.init.normal_(each, 0.5, 0.3)
    for each in net.modules():
        if hasattr(each, "running_mean") and each.running_mean is not None:
            each.running_mean.normal_()
            each.running_var.uniform_(0.3, 2)
    return {made}
"""


def text(model: Torch) -> str:
    """Return the text of a module whose function ``make`` returns the network."""
    names = [f"{each.partition('=')[0]}: torch.Tensor" for each in model.shapes.split(",")]
    return TEXT.format(
        layers="\n".join(f"        self.{name} = {layer}" for name, layer in model.layers.items()) or "        pass",
        names=", ".join(names),
        body="\n".join(f"        {line}" for line in model.body.split("\n")) if model.body else "        pass",
        answer=model.answer,
        shapes=model.shapes,
        made="torch.jit.script(net)" if model.script else "net",
    )


X, K, SEQUENCE, PICTURE = "x=2x6", "k=2x5:int64", "x=2x5x6", "x=2x3x12x12"
# fmt: off
ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "silu", "softplus", "elu", "selu", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "mish", "logsigmoid", "softsign", "relu6", "celu")
MODELS = {
    **{f"mlp {name}": Torch(X, f"self.b(F.{name}(self.a(x)))", {"a": "nn.Linear(6, 8)", "b": "nn.Linear(8, 3)"}) for name in ACTIVATIONS},
    "mlp softmax": Torch(X, "self.b(self.a(x).relu()).softmax(-1)", {"a": "nn.Linear(6, 8)", "b": "nn.Linear(8, 3)"}), "mlp log_softmax": Torch(X, "self.a(x).log_softmax(-1)", {"a": "nn.Linear(6, 4)"}), "mlp prelu": Torch(X, "self.b(self.a(x))", {"a": "nn.Linear(6, 8)", "b": "nn.PReLU(8)"}),
    **{f"cnn {name}": Torch(PICTURE, "self.b(self.a(x).relu()).mean((2, 3))", {"a": f"nn.Conv2d(3, 4, 3, {conv})", "b": "nn.Conv2d(4, 5, 3)"}) for name, conv in {"padding": "padding=1", "stride": "stride=2, padding=1", "dilation": "dilation=2", "groups": "groups=1, bias=False", "reflect": "padding=1, padding_mode='reflect'"}.items()},
    **{f"pool {name}": Torch(PICTURE, pool) for name, pool in {"max": "F.max_pool2d(x, 3, 2, 1)", "avg": "F.avg_pool2d(x, 3, 2, 1)", "avg no pad": "F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)", "ceil": "F.max_pool2d(x, 3, 2, ceil_mode=True)", "adaptive": "F.adaptive_avg_pool2d(x, 4)", "lp": "F.lp_pool2d(x, 2, 3)"}.items()},
    **{f"norm {name}": Torch(PICTURE, "self.a(x)", {"a": norm}) for name, norm in {"batch": "nn.BatchNorm2d(3)", "group": "nn.GroupNorm(3, 3)", "instance": "nn.InstanceNorm2d(3, affine=True)", "layer": "nn.LayerNorm(12)", "local": "nn.LocalResponseNorm(2)"}.items()},
    "cnn deep": Torch(PICTURE, "self.d(F.max_pool2d(self.c(self.b(self.a(x))).relu(), 2).flatten(1))", {"a": "nn.Conv2d(3, 4, 3, padding=1)", "b": "nn.BatchNorm2d(4)", "c": "nn.Conv2d(4, 4, 3, padding=1)", "d": "nn.Linear(144, 5)"}), "transposed": Torch(PICTURE, "self.a(x)", {"a": "nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1)"}), "residual": Torch(PICTURE, "F.relu(x + self.a(x))", {"a": "nn.Conv2d(3, 3, 3, padding=1)"}),
    **{f"resize {mode}": Torch(PICTURE, f"F.interpolate(x, scale_factor=2, mode='{mode}'{more})") for mode, more in {"nearest": "", "bilinear": ", align_corners=False", "bicubic": ", align_corners=True"}.items()}, "pad": Torch(PICTURE, "F.pad(x, (1, 2, 0, 1), value=0.5)"), "pad reflect": Torch(PICTURE, "F.pad(x, (1, 2, 2, 1), mode='reflect')"), "shuffle": Torch("x=2x4x3x3", "F.pixel_shuffle(x, 2)"), "grid": Torch("x=2x1x4x4,g=2x3x3x2", "F.grid_sample(x, g, align_corners=False)"),
    **{f"rnn {name}": Torch(SEQUENCE, "self.b(self.a(x)[0][:, -1])", {"a": f"nn.{name}", "b": f"nn.Linear({width}, 2)"}) for name, width in {"LSTM(6, 4, batch_first=True)": 4, "GRU(6, 4, batch_first=True)": 4, "RNN(6, 4, batch_first=True)": 4, "LSTM(6, 3, batch_first=True, bidirectional=True)": 6, "GRU(6, 3, 2, batch_first=True)": 3}.items()},
    "attention": Torch(SEQUENCE, "self.a(x, x, x)[0]", {"a": "nn.MultiheadAttention(6, 2, batch_first=True)"}), "encoder": Torch(SEQUENCE, "self.a(x)", {"a": "nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)"}), "masked attention": Torch("x=2x5x6,m=2x5:bool", "((x @ x.transpose(1, 2)).masked_fill(m[:, None], -1e4)).softmax(-1) @ x"), "causal": Torch(SEQUENCE, "F.scaled_dot_product_attention(x, x, x, is_causal=True)"),
    "where": Torch(X, "torch.where(x > 1, x * 2, x - 1)"), "where three": Torch(X, "torch.where(x > 10, x / 3, torch.where(x < -10, x * 0.1, x))"), "clamp": Torch(X, "x.clamp(-2, 50) * 2"), "clamp low": Torch(X, "(x + 1).clamp(min=0.25).log()"), "threshold": Torch(X, "F.threshold(x, 0.3, -5)"), "huber": Torch(X, "torch.where(x.abs() < 20, 0.5 * x * x, 20 * (x.abs() - 10))"), "nan": Torch(X, "torch.nan_to_num(x / x, 5.0)"),
    **{f"round {name}": Torch(X, f"torch.{name}(x * 1.5) + x") for name in ("round", "floor", "ceil", "trunc", "sign")}, "fmod": Torch(X, "torch.fmod(x, 3.0)"), "remainder": Torch(X, "torch.remainder(x, 3.0)"), "minmax": Torch("x=2x6,z=2x6", "torch.maximum(x, z) - torch.minimum(x, 2 * z)"), "atan2": Torch("x=2x6,z=2x6", "torch.atan2(x, z)"),
    **{f"whole {name}": Torch(K, answer, whole=(-30, 30)) for name, answer in {"floor": "k // 3", "mod": "k % 4", "fmod": "torch.fmod(k, 4)", "trunc": "torch.div(k, 3, rounding_mode='trunc')", "abs": "k.abs() * 2 - k", "mean": "k.float().mean(-1)", "compare": "(k > 4).long() + (k <= -2).long() * 10", "divide": "k / 4", "clamp": "k.clamp(-3, 12)", "cumsum": "k.cumsum(-1)"}.items()}, "whole small": Torch("k=2x5:int32", "k * 3 + 7", whole=(-1000, 1000)), "cast": Torch(X, "x.long() * 2"), "cast round": Torch(X, "x.round().int()"), "cast bool": Torch(X, "x.bool().float() * 3 + 1"), "bytes": Torch("k=2x3x4x4:uint8", "(k.float() / 255 - 0.45) / 0.22"),
    "embedding": Torch(K, "self.b(self.a(k).mean(1))", {"a": "nn.Embedding(9, 4)", "b": "nn.Linear(4, 3)"}, whole=(0, 8)), "embedding mod": Torch(K, "self.a(k % 7)", {"a": "nn.Embedding(7, 3)"}, whole=(-20, 20)), "embedding pad": Torch(K, "(self.a(k) * (k != 0)[..., None]).sum(1) / (k != 0).sum(1, keepdim=True).clamp(min=1)", {"a": "nn.Embedding(9, 4, padding_idx=0)"}, whole=(0, 8)), "gather": Torch("x=2x6,k=2x3:int64", "torch.gather(x, 1, k % 6)", whole=(-9, 9)), "one hot": Torch(K, "F.one_hot(k.clamp(0, 4), 5).float() * 2", whole=(-3, 8)),
    "argmax": Torch(X, "self.a(x).argmax(-1)", {"a": "nn.Linear(6, 4)"}), "argmin": Torch(X, "x.argmin(-1)"), "topk": Torch(X, "torch.cat([*x.topk(3, -1)], -1)"), "topk small": Torch(X, "x.topk(2, -1, largest=False)[0]"), "sort": Torch(X, "x.sort(-1).values"), "any": Torch(X, "((x > 2).any(-1), (x > 0).all(-1))"), "max": Torch(SEQUENCE, "(x.max(1).values, x.min(-1).indices)"), "bucketize": Torch(X, "torch.bucketize(x, torch.tensor([-1.0, 0.0, 2.0]))"), "cumsum": Torch(SEQUENCE, "x.cumsum(1)"),
    **{f"reduce {name}": Torch(SEQUENCE, f"x.{name}") for name in ("mean(1)", "sum(-1)", "amax(1)", "prod(-1)", "std(-1)", "logsumexp(1)", "norm(dim=-1)", "var(1, unbiased=False)")}, "distance": Torch(SEQUENCE, "torch.cdist(x, x + 1)"), "cosine": Torch("x=2x6,z=2x6", "F.cosine_similarity(x, z)"), "einsum": Torch(SEQUENCE, "torch.einsum('bij,bkj->bik', x, x)"), "normalize": Torch(X, "F.normalize(x, dim=-1)"), "triangle": Torch(SEQUENCE, "torch.tril(x @ x.transpose(1, 2))"), "views": Torch(SEQUENCE, "x[:, 1:, ::2].transpose(1, 2).reshape(x.shape[0], -1).flip(-1)"), "cat": Torch(SEQUENCE, "torch.cat([x[:, -1:], x[:, :-1]], 1)"), "roll": Torch(SEQUENCE, "x.roll(1, -1) + x.repeat_interleave(2, 1)[:, :5]"),
    "branch": Torch(X, "x * 2", body="if bool((x > 100).any()):\n    x = x / 255", script=True), "branch both": Torch(X, "y", body="if bool(x.sum() > 0):\n    y = x + 1\nelse:\n    y = -x * 3", script=True), "turns": Torch(X, "x", body="for i in range(3):\n    if bool(x.abs().max() > 5):\n        x = x / 2", script=True), "loop": Torch(X, "x", body="while bool(x.abs().max() > 8):\n    x = x * 0.5", script=True),
    "boxes": Torch("b=2x5x4,s=2x5x3", "(torch.cat([b[..., :2] - b[..., 2:].exp() / 2, b[..., :2] + b[..., 2:].exp() / 2], -1).clamp(0, 64), s.sigmoid().max(-1).values, s.argmax(-1))"), "anchors": Torch("x=2x4x3x3", "(self.a(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 2).softmax(-1), self.a(x).tanh() * 4)", {"a": "nn.Conv2d(4, 6, 1)"}),
    "cond": Torch(X, "torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * -3, (x,))", exported=True), "gelu tanh": Torch(X, "F.gelu(x, approximate='tanh')", exported=True), "exported mlp": Torch(X, "self.b(self.a(x).relu()).softmax(-1)", {"a": "nn.Linear(6, 8)", "b": "nn.Linear(8, 3)"}, exported=True), "exported lstm": Torch(SEQUENCE, "self.a(x)[0]", {"a": "nn.LSTM(6, 4, batch_first=True)"}, exported=True),
}
# fmt: on
