"""Random weights for detectors: without scaling, all boxes would be equally likely."""

from typing import Any

VARIED = (
    "its random weights are scaled layer by layer, and it returns four boxes at most: otherwise all boxes would be"
    " equally likely, and their order would mean nothing"
)


def vary(module: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    """Scale the weights of each layer so that its output for the arguments has a deviation of 1.

    After Mishkin and Matas, "All you need is a good init" (arxiv.org/abs/1511.06422): a detector's layers start with
    weights so small that all scores are equal. A layer that is used several times is scaled at the first use.
    """
    import torch

    layers = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)
    seen: set[Any] = set()

    def scale(layer: Any, given: Any, answer: Any) -> Any:
        if layer in seen:
            return None
        seen.add(layer)
        bias = 0.0 if layer.bias is None else layer.bias.view(-1, *[1] * (answer.ndim - 2))
        deviation = (answer - bias).std()
        if not deviation > 0:
            return None
        layer.weight.div_(deviation)
        return (answer - bias) / deviation + bias

    hooks = [each.register_forward_hook(scale) for each in module.modules() if isinstance(each, layers)]
    args, named = arguments
    with torch.no_grad():
        module(*args, **named)
    for hook in hooks:
        hook.remove()
