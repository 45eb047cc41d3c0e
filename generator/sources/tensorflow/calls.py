"""How the layers of a Keras 2 model are called, as Keras 3 reads it.

Keras 3 takes a tensor that Keras 2 wrote among named arguments for a list, as of ``MultiHeadAttention()(x, value=y)``,
and the states of a recurrent layer for more sequences (no issues known).
"""

from collections.abc import Mapping
from typing import Any

STATEFUL = ("RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional")


def called(layers: list[Any]) -> list[Any]:
    """Return the layers of a functional model, those calls written as Keras 3 writes them."""
    names = {each["name"] for each in layers if isinstance(each, dict) and isinstance(each.get("name"), str)}
    return [_called(each, names) if isinstance(each, dict) else each for each in layers]


def _called(layer: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    own = layer.get("inbound_nodes") or []
    if not any(isinstance(each, list) for each in own):
        return {**layer}
    # A call builds the layer, whose shapes of several inputs ``build_config`` of Keras 2 lacks.
    left = {name: value for name, value in layer.items() if name != "build_config"}
    return {**left, "inbound_nodes": [_call(layer.get("class_name", ""), each, names) for each in own]}


def _call(kind: str, call: Any, names: set[str]) -> Any:
    """Return a call: a list of tensors (layer, call, place, named arguments) in Keras 2, arguments in Keras 3."""
    if not isinstance(call, list) or not call or not all(_is_tensor(each[:3], names) for each in call):
        return call
    more = call[-1][3] if len(call[-1]) > 3 else {}
    tensors = [_tensor(each) for each in call]
    states = kind in STATEFUL and len(tensors) > 1
    replaced = _with_tensors(more, names)
    if replaced == more and not states:
        return call
    if states:
        return {"args": tensors[:1], "kwargs": {**replaced, "initial_state": tensors[1:]}}
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": replaced}


def _with_tensors(value: Any, names: set[str]) -> Any:
    if _is_tensor(value, names):
        return _tensor(value)
    if isinstance(value, list):
        return [_with_tensors(each, names) for each in value]
    return {name: _with_tensors(each, names) for name, each in value.items()} if isinstance(value, dict) else value


def _is_tensor(value: Any, names: set[str]) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and value[0] in names
        and all(type(each) is int for each in value[1:])
    )


def _tensor(value: list[Any]) -> dict[str, Any]:
    """Return a tensor as Keras 3 writes it: only where it is from is read."""
    return {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": value[:3]}}
