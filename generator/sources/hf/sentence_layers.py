"""The modules of sentence-transformers in torch: pooling, dense layers and normalisation, from their saved settings.

Their formulas are those of sentence-transformers 6.2, which needs no installation here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import pytorch
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf.sentences import EMBEDDING, PROMPT, TOKENS, Layer, Sentences

Features: TypeAlias = dict[str, Any]
MASK = "attention_mask"
# The smallest divisor of a mean.
SMALLEST = 1e-9
# The smallest length of a normalised embedding before, which is that of torch.nn.functional.normalize.
SMALLEST_NORM = 1e-12
# The activation of a dense layer whose settings name none, and the package of those that have no code of their own.
USUAL, PACKAGE = "torch.nn.modules.activation.Tanh", "torch.nn."


def whole(transformer: Any, sentences: Sentences, names: Sequence[str], taken: Sequence[str], seed: int | None) -> Any:
    """Return a module that takes the inputs ``names`` in order, and returns the sentence embedding by its name.

    The transformer gets those of them that it has, ``taken``. With a ``seed``, the weights of its layers are random.
    Raises SourceError for layers whose weights are missing or don't fit.
    """
    import torch

    steps = [_step(layer, seed) for layer in sentences.layers]

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer
            self.layers = torch.nn.ModuleList(own for _, own in steps if own is not None)

        def forward(self, *tensors: Any) -> Any:
            features = dict(zip(names, tensors, strict=True))
            answer = self.transformer(**{name: features[name] for name in taken})
            features[TOKENS] = answer["last_hidden_state"]
            for step, _ in steps:
                step(features)
            return {EMBEDDING: features[EMBEDDING]}

    return Whole().eval()


def _step(layer: Layer, seed: int | None) -> tuple[Callable[[Features], None], Any]:
    """Return the function that adds a layer's features, and the module of its weights; None if it has none."""
    if layer.kind == "Pooling":
        return partial(_pool, modes=layer.modes, whole_text=layer.settings.get("include_prompt", True)), None
    if layer.kind == "Normalize":
        return partial(_normalize, settings=layer.settings), None
    if layer.kind == "Dropout":
        return _nothing, None
    module = pytorch.seeded(partial(_dense if layer.kind == "Dense" else _norm, layer), seed or 0)
    if seed is None:
        _fill(module, layer.folder)
    return partial(_through, module=module, settings=layer.settings), module


def _nothing(features: Features) -> None:
    """Do nothing, as dropout does outside of training."""


def _normalize(features: Features, settings: Mapping[str, Any]) -> None:
    taken, given = _names(settings)
    if taken in features:
        # As torch.nn.functional.normalize, without its expand_as: of that TorchScript's exporter knows no sizes.
        features[given] = features[taken] / features[taken].norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)


def _through(features: Features, module: Any, settings: Mapping[str, Any]) -> None:
    taken, given = _names(settings)
    features[given] = module(features[taken])


def _names(settings: Mapping[str, Any]) -> tuple[str, str]:
    taken = settings.get("module_input_name") or EMBEDDING
    return taken, settings.get("module_output_name") or taken


def _pool(features: Features, modes: Sequence[str], whole_text: bool) -> None:
    """Pool token embeddings in each mode, and join the answers; a prompt's tokens may be left out."""
    import torch

    tokens = features[TOKENS]
    mask = features.get(MASK)
    mask = torch.ones_like(tokens[..., 0], dtype=torch.int32) if mask is None else mask.to(torch.int32)
    places = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.int32).unsqueeze(0)
    start = mask.argmax(dim=1, keepdim=True).to(torch.int32)  # a tokenizer may pad on the left
    pooled = mask
    if not whole_text:
        pooled = mask * (places >= start + features[PROMPT].to(torch.int32)).to(torch.int32)
    answers = [POOLED[mode](tokens, pooled, places - start + 1) for mode in modes]
    features[EMBEDDING] = torch.cat(answers, dim=-1)


def _at(tokens: Any, places: Any) -> Any:
    """Return the token at a place of each row."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, 1, tokens.shape[-1])).squeeze(1)


def _first(tokens: Any, mask: Any, order: Any) -> Any:
    return _at(tokens, mask.argmax(dim=1, keepdim=True))


def _last(tokens: Any, mask: Any, order: Any) -> Any:
    """Return the last token of the mask; a first one that is not in it is zeros."""
    import torch

    places = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.int32).unsqueeze(0)
    return _at(tokens * mask.unsqueeze(-1), (mask * places).argmax(dim=1, keepdim=True))


def _largest(tokens: Any, mask: Any, order: Any) -> Any:
    return tokens.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)


def _weighted(tokens: Any, weights: Any, root: bool = False) -> Any:
    weights = weights.unsqueeze(-1).to(tokens.dtype)
    total = weights.sum(dim=1).clamp(min=SMALLEST)
    return (tokens * weights).sum(dim=1) / (total.sqrt() if root else total)


# By the library's names: (batch, tokens, size), a mask and the order of tokens from 1, both (batch, tokens), to
# (batch, size).
POOLED: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "cls": _first,
    "max": _largest,
    "mean": lambda tokens, mask, order: _weighted(tokens, mask),
    "mean_sqrt_len_tokens": lambda tokens, mask, order: _weighted(tokens, mask, root=True),
    "weightedmean": lambda tokens, mask, order: _weighted(tokens, mask * order),
    "lasttoken": _last,
}


def _dense(layer: Layer) -> Any:
    import torch

    settings = layer.settings
    before, after = settings["in_features"], settings["out_features"]
    activation = _activation(settings.get("activation_function", USUAL), layer.folder)

    class Dense(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(before, after, bias=settings.get("bias", True))
            self.activation = activation
            if settings.get("use_residual") and before != after:
                self.residual = torch.nn.Linear(before, after, bias=False)

        def forward(self, values: Any) -> Any:
            answer = self.activation(self.linear(values))
            if not settings.get("use_residual"):
                return answer
            return answer + (self.residual(values) if before != after else values)

    return Dense()


def _activation(named: str, folder: Path) -> Any:
    import torch

    kind = getattr(torch.nn, str(named).rpartition(".")[2], None)
    if not str(named).startswith(PACKAGE) or not isinstance(kind, type) or not issubclass(kind, torch.nn.Module):
        raise SourceError(
            f"the activation function {named} in {folder} is not one of torch.nn",
            "Serve the whole from Python: python:MODULE:FACTORY",
        )
    return kind()


def _norm(layer: Layer) -> Any:
    import torch

    class Norm(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(layer.settings["dimension"])

        def forward(self, values: Any) -> Any:
            return self.norm(values)

    return Norm()


def _fill(module: Any, folder: Path) -> None:
    """Load the weights of one layer; SourceError if they are missing, broken or don't fit."""
    import torch
    from safetensors.torch import load_file

    files = folders.weights(folder).checked(trust=False)
    try:
        if files[0].suffix == ".safetensors":
            found = {name: each for file in files for name, each in load_file(file).items()}
        else:
            found = torch.load(files[0], map_location="cpu", weights_only=True)
        module.load_state_dict({name: each.float() for name, each in found.items()})
    except Exception as error:  # torch, pickle and safetensors have no common class
        raise SourceError(
            f"can't use the weights in {folder}: {pytorch.cause(error)}", "Save or download the model again"
        ) from error
