"""Small faults in a graph: the table FAULTS has a row for each kind.

A fault finds its places in a model. A place is said in words, and makes its change in that same model.
"""
# ruff: noqa: E501 - a table, a row a line

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelrepo.generator.graphs.edit import element_types
from modelrepo.generator.graphs.walk import graphs
from modelrepo.generator.specs.tensors import Array

# A place of a fault in words, and what changes the model there.
Place = tuple[str, Callable[[], None]]
Find = Callable[[Any], Iterator[Place]]
INT, FLOAT, STRING, INTS, FLOATS, STRINGS = 2, 1, 3, 7, 6, 8
LARGEST = 4  # of the elements of a weight, those of the largest magnitude are changed


@dataclass(frozen=True)
class Fault:
    """A kind of fault: its name, what is changed in words, and how its places are found."""

    name: str
    title: str
    find: Find


def nodes(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each node of a model with the graph that it is in."""
    for graph in graphs(model):
        for node in graph.node:
            yield graph, node


def said(node: Any) -> str:
    """Return how a node is called in a row."""
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')}"


# Attributes by their names: the operators that have them, and what becomes of the value. None: it stays.
def _attribute(names: Sequence[str], change: Callable[[Any], Any], operators: Sequence[str] = ()) -> Find:
    def find(model: Any) -> Iterator[Place]:
        import onnx

        for _, node in nodes(model):
            for attribute in node.attribute:
                if attribute.name not in names or (operators and node.op_type not in operators):
                    continue
                old = onnx.helper.get_attribute_value(attribute)
                old = old.decode() if isinstance(old, bytes) else list(old) if isinstance(old, Sequence) else old
                new = change(old)
                if new is not None and new != old:
                    yield f"{said(node)}: {attribute.name} {old} -> {new}"[:200], _setting(attribute, new)

    return find


def _setting(attribute: Any, value: Any) -> Callable[[], None]:
    import onnx

    made = onnx.helper.make_attribute(attribute.name, value, attr_type=attribute.type)
    return lambda: attribute.CopyFrom(made)


def _missing(name: str, value: Any, operators: Sequence[str]) -> Find:
    """Set an attribute that is not there: its default is what the graph relies on."""

    def find(model: Any) -> Iterator[Place]:
        import onnx

        for _, node in nodes(model):
            if node.op_type in operators and all(each.name != name for each in node.attribute):
                made = onnx.helper.make_attribute(name, value)
                yield f"{said(node)}: {name} = {value}", _adding(node, made)

    return find


def _adding(node: Any, attribute: Any) -> Callable[[], None]:
    return lambda: node.attribute.append(attribute)


def _shifted_pads(pads: list[int]) -> list[int] | None:
    """Return pads with one moved from the end of the first axis to its beginning; the sizes stay."""
    half = len(pads) // 2
    changed = list(pads)
    if pads[half] > 0:
        changed[0], changed[half] = pads[0] + 1, pads[half] - 1
    elif pads[0] > 0:
        changed[0], changed[half] = pads[0] - 1, pads[half] + 1
    else:
        return None
    return changed


def _swapped(values: list[int]) -> list[int] | None:
    """Return a permutation whose last two axes are swapped."""
    return [*values[:-2], values[-1], values[-2]] if len(values) > 1 else None


MODES = {
    "constant": "edge", "reflect": "edge", "edge": "reflect", "wrap": "edge", "linear": "nearest", "nearest": "linear", "cubic": "linear", "bilinear": "nearest",
    "half_pixel": "asymmetric", "pytorch_half_pixel": "asymmetric", "asymmetric": "half_pixel", "align_corners": "half_pixel", "round_prefer_floor": "ceil", "floor": "ceil", "ceil": "floor", "round_prefer_ceil": "floor",
    "none": "tanh", "tanh": "none", "zeros": "border", "forward": "reverse", "reverse": "forward", "SAME_UPPER": "SAME_LOWER", "SAME_LOWER": "SAME_UPPER", "LEFT": "RIGHT", "RIGHT": "LEFT", "DCR": "CRD", "CRD": "DCR",
    "SOFTMAX": "NONE", "LOGISTIC": "NONE", "NONE": "LOGISTIC", "SOFTMAX_ZERO": "SOFTMAX", "PROBIT": "LOGISTIC", "SUM": "AVERAGE", "AVERAGE": "SUM", "MAX": "L1", "L1": "L2", "L2": "L1", "RBF": "LINEAR", "LINEAR": "RBF", "POLY": "LINEAR", "SIGMOID": "LINEAR",
    "LOWER": "NONE", "UPPER": "LOWER", "TF": "IDF", "IDF": "TF", "TFIDF": "TF",
}  # fmt: skip
NEIGHBOURS = {
    "Less": ("LessOrEqual", "Greater"), "LessOrEqual": ("Less", "GreaterOrEqual"), "Greater": ("GreaterOrEqual", "Less"), "GreaterOrEqual": ("Greater", "LessOrEqual"), "Equal": ("GreaterOrEqual",), "And": ("Or",), "Or": ("And", "Xor"), "Xor": ("Or",),
    "Add": ("Sub",), "Sub": ("Add",), "Mul": ("Div",), "Div": ("Mul",), "Max": ("Min",), "Min": ("Max",), "Floor": ("Ceil", "Round"), "Ceil": ("Floor",), "Round": ("Floor",), "ReduceMean": ("ReduceSum", "ReduceMax"), "ReduceSum": ("ReduceMean",), "ReduceMax": ("ReduceMin", "ReduceMean"), "ReduceMin": ("ReduceMax",), "ReduceProd": ("ReduceSum",), "ReduceL2": ("ReduceL1",), "ReduceLogSumExp": ("ReduceMax",), "ReduceSumSquare": ("ReduceSum",),
    "Sigmoid": ("HardSigmoid", "Tanh"), "Tanh": ("Softsign", "Sigmoid"), "Relu": ("Abs", "Softplus", "LeakyRelu"), "Softplus": ("Relu",), "Erf": ("Tanh",), "HardSigmoid": ("Sigmoid",), "HardSwish": ("Relu",), "Elu": ("Selu",), "Selu": ("Elu",), "LeakyRelu": ("Relu",), "Softmax": ("LogSoftmax",), "LogSoftmax": ("Softmax",), "MaxPool": ("AveragePool",), "GlobalAveragePool": ("GlobalMaxPool",), "GlobalMaxPool": ("GlobalAveragePool",),
    "ArgMax": ("ArgMin",), "ArgMin": ("ArgMax",), "Exp": ("Softplus",), "Sqrt": ("Abs",), "Abs": ("Neg", "Relu"), "Neg": ("Abs",), "Sign": ("Identity",), "Sin": ("Cos",), "Cos": ("Sin",), "Reciprocal": ("Identity",), "Identity": ("Neg",), "IsNaN": ("IsInf",), "IsInf": ("IsNaN",), "BitwiseAnd": ("BitwiseOr",), "Not": ("Identity",), "Log": ("Sqrt",), "Pow": ("Mul",),
}  # fmt: skip


def _neighbour(model: Any) -> Iterator[Place]:
    for _, node in nodes(model):
        for other in NEIGHBOURS.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ():
            yield f"{said(node)} -> {other}", _renaming(node, other)


def _renaming(node: Any, other: str) -> Callable[[], None]:
    def change() -> None:
        node.op_type = other
        if other in (
            "Abs",
            "Softplus",
            "Tanh",
            "Sigmoid",
            "Sqrt",
            "Cos",
            "Relu",
            "Softsign",
            "GlobalMaxPool",
            "Identity",
        ):
            del node.attribute[:]
        if other == "AveragePool":
            kept = [each for each in node.attribute if each.name not in ("storage_order", "dilations")]
            del node.attribute[:]
            node.attribute.extend(kept)

    return change


def _constants(model: Any, kinds: str) -> Iterator[tuple[str, Any, Array]]:
    """Yield each constant tensor of a model with its name and values, if of these kinds of numpy's types."""
    import onnx

    for graph in graphs(model):
        held = [(each.name, each) for each in getattr(graph, "initializer", ())]
        held += [
            (node.output[0], each.t)
            for node in graph.node
            if node.op_type == "Constant"
            for each in node.attribute
            if each.HasField("t")
        ]
        for name, tensor in held:
            if tensor.data_type == onnx.TensorProto.STRING or not np.prod(tensor.dims, dtype=int):
                continue
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype.kind in kinds:
                yield name, tensor, values


def _element(change: Callable[[Any], Any], kinds: str = "f") -> Find:
    """Change one element of a constant; of many, those of the largest magnitude."""

    def find(model: Any) -> Iterator[Place]:
        import onnx

        for name, tensor, values in _constants(model, kinds):
            flat = values.ravel()
            with np.errstate(invalid="ignore"):
                places = np.argsort(-np.abs(np.nan_to_num(flat.astype(np.float64))), kind="stable")[:LARGEST]
            for place in places.tolist():
                new = flat.copy()
                with np.errstate(all="ignore"):
                    new[place] = change(flat[place])
                if new[place] == flat[place]:
                    continue
                made = onnx.numpy_helper.from_array(new.reshape(values.shape), tensor.name)
                yield f"{name}[{place}] of {list(values.shape)}: {flat[place]} -> {new[place]}", _copying(tensor, made)

    return find


def _copying(target: Any, made: Any) -> Callable[[], None]:
    return lambda: target.CopyFrom(made)


def _constant_input(place: int, operators: Sequence[str], value: Any) -> Find:
    """Let an input of some operators be a constant."""

    def find(model: Any) -> Iterator[Place]:
        for _, node in nodes(model):
            if node.op_type in operators and len(node.input) > place and node.input[place]:
                yield f"{said(node)}: input {place} is always {value}", _fixing(model, node, place, value)

    return find


def _fixing(model: Any, node: Any, place: int, value: Any) -> Callable[[], None]:
    import onnx

    def change() -> None:
        name = _fresh(model, "always")
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        node.input[place] = name

    return change


def _fresh(model: Any, stem: str) -> str:
    return f"{stem}_{sum(len(graph.node) for graph in graphs(model))}_{len(model.graph.initializer)}"


def _no_bound(model: Any) -> Iterator[Place]:
    for _, node in nodes(model):
        for place in range(1, len(node.input)):
            if node.op_type == "Clip" and node.input[place]:
                yield f"{said(node)}: no {('', 'lower', 'upper')[place]} bound", _emptying(node, place)


def _emptying(node: Any, place: int) -> Callable[[], None]:
    def change() -> None:
        node.input[place] = ""

    return change


def _before(
    operators: Sequence[str],
    place: int,
    wrap: Sequence[tuple[str, Mapping[str, Any]]],
    when: Callable[[Any], bool] = lambda node: True,
) -> Find:
    """Put operators before an input of some operators."""

    def find(model: Any) -> Iterator[Place]:
        for graph, node in nodes(model):
            if node.op_type in operators and len(node.input) > place and when(node):
                yield (
                    f"{said(node)}: {', '.join(name for name, _ in wrap)} before input {place}",
                    _wrapping(model, graph, node, place, wrap),
                )

    return find


def _wrapping(
    model: Any, graph: Any, node: Any, place: int, wrap: Sequence[tuple[str, Mapping[str, Any]]]
) -> Callable[[], None]:
    import onnx

    def change() -> None:
        where = next(number for number, each in enumerate(graph.node) if each is node or each == node)
        name = node.input[place]
        for step, (operator, attributes) in enumerate(wrap):
            made = f"{_fresh(model, 'before')}_{step}"
            graph.node.insert(where + step, onnx.helper.make_node(operator, [name], [made], **attributes))
            name = made
        graph.node[where + len(wrap)].input[place] = name

    return change


def _to_whole(node: Any) -> bool:
    return any(each.name == "to" and each.i in (6, 7, 3, 5) for each in node.attribute)


# Types of whole numbers by their numbers in ONNX, and narrower ones that hold most of their values.
NARROWER = {7: 6, 6: 5}


def _narrowed(model: Any) -> Iterator[Place]:
    """Cut what an operator that computes reads to a narrower type, and widen it again."""
    types = _types(model)
    for graph, node in nodes(model):
        old = types.get(node.input[0], 0) if node.input else 0
        if node.op_type in COMPUTING and old in NARROWER:
            wrap = (("Cast", {"to": NARROWER[old]}), ("Cast", {"to": old}))
            yield (
                f"{said(node)}: input 0 as type {NARROWER[old]} instead of {old}",
                _wrapping(model, graph, node, 0, wrap),
            )


def _rounded_cast(model: Any) -> Iterator[Place]:
    types = _types(model)
    for graph, node in nodes(model):
        if node.op_type == "Cast" and _to_whole(node) and types.get(node.input[0]) in (1, 11):
            yield f"{said(node)}: Round before it", _wrapping(model, graph, node, 0, (("Round", {}),))


def _types(model: Any) -> dict[str, int]:
    """Return the element types of a model's tensors, by their names."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return element_types(onnx.shape_inference.infer_shapes(copy))


def _frozen_size(model: Any) -> Iterator[Place]:
    """Let a size that is read from a tensor be one that it has with a batch of 2."""
    for _, node in nodes(model):
        if node.op_type == "Shape":
            yield f"{said(node)}: always with a batch of 2", _multiplying(model, node)


def _multiplying(model: Any, node: Any) -> Callable[[], None]:
    """Replace the first of the sizes by 2."""
    import onnx

    def change() -> None:
        graph = next(graph for graph, each in nodes(model) if each is node or each == node)
        where = next(number for number, each in enumerate(graph.node) if each == node)
        own, made = node.output[0], _fresh(model, "sizes")
        index, two = f"{made}_first", f"{made}_two"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), index))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), two))
        graph.node[where].output[0] = made
        graph.node.insert(where + 1, onnx.helper.make_node("ScatterElements", [made, index, two], [own], axis=0))

    return change


def _frozen_reshape(model: Any) -> Iterator[Place]:
    import onnx

    targets = {node.input[1] for _, node in nodes(model) if node.op_type == "Reshape"}
    for name, tensor, values in _constants(model, "i"):
        for place in np.flatnonzero(values.ravel() <= 0).tolist() if name in targets else ():
            new = values.copy()
            new.ravel()[place] = 2
            yield (
                f"{name}: {values.tolist()} -> {new.tolist()}",
                _copying(tensor, onnx.numpy_helper.from_array(new, tensor.name)),
            )


def _list(names: Sequence[str], change: Callable[[Any], Any], count: int = LARGEST) -> Find:
    """Change one element of an attribute that is a list of numbers or texts; of numbers, the largest ones."""

    def find(model: Any) -> Iterator[Place]:
        for _, node in nodes(model):
            for attribute in node.attribute:
                if attribute.name not in names:
                    continue
                values = {FLOATS: attribute.floats, INTS: attribute.ints, STRINGS: attribute.strings}.get(
                    attribute.type
                )
                if values is None:
                    continue
                order = range(len(values))
                if attribute.type != STRINGS:
                    order = np.argsort(
                        [-abs(each) if np.isfinite(each) else 0 for each in values], kind="stable"
                    ).tolist()
                for place in (
                    order[:count]
                    if len(order) <= 3 * count
                    else (*order[:count], *order[len(order) // 4 :: len(order) // count])
                ):
                    new = change(values[place])
                    if new != values[place]:
                        yield (
                            f"{said(node)}: {attribute.name}[{place}] {values[place]!r} -> {new!r}",
                            _putting(values, place, new),
                        )

    return find


def _putting(values: Any, place: int, new: Any) -> Callable[[], None]:
    def change() -> None:
        values[place] = new

    return change


def _split(change: Callable[[Any, int, Sequence[Any]], tuple[str, Callable[[], None]] | None]) -> Find:
    """Change a split of a tree ensemble: its node and number in the lists are given, and its modes."""

    def find(model: Any) -> Iterator[Place]:
        for _, node in nodes(model):
            modes = next((each.strings for each in node.attribute if each.name == "nodes_modes"), None)
            if modes is None:
                continue
            inner = [place for place, mode in enumerate(modes) if mode != b"LEAF"]
            for place in (*inner[:3], *inner[3 :: max(1, len(inner) // 4)]):
                made = change(node, place, modes)
                if made:
                    yield f"{said(node)}: split {place}, {made[0]}", made[1]

    return find


def _of(node: Any, name: str) -> Any:
    """Return the values of an attribute that is a list; None if the node has none."""
    attribute = next((each for each in node.attribute if each.name == name), None)
    return None if attribute is None else {FLOATS: attribute.floats, INTS: attribute.ints}.get(attribute.type)


def _threshold(move: Callable[[float, list[float]], float]) -> Find:
    def change(node: Any, place: int, modes: Sequence[Any]) -> tuple[str, Callable[[], None]] | None:
        values, features = _of(node, "nodes_values"), _of(node, "nodes_featureids")
        if values is None:
            return None
        same = sorted(
            {values[each] for each, mode in enumerate(modes) if mode != b"LEAF" and features[each] == features[place]}
        )
        new = float(np.float32(move(values[place], same)))
        return (
            None if new == values[place] else (f"threshold {values[place]!r} -> {new!r}", _putting(values, place, new))
        )

    return _split(change)


def _next_fitted(value: float, same: list[float]) -> float:
    later = [each for each in same if each > value]
    return later[0] if later else value


def _ulp(direction: float) -> Callable[[float, list[float]], float]:
    return lambda value, same: float(np.nextafter(np.float32(value), np.float32(direction)))


def _mode(node: Any, place: int, modes: Any) -> tuple[str, Callable[[], None]] | None:
    other = {
        b"BRANCH_LEQ": b"BRANCH_LT",
        b"BRANCH_LT": b"BRANCH_LEQ",
        b"BRANCH_GTE": b"BRANCH_GT",
        b"BRANCH_GT": b"BRANCH_GTE",
    }.get(modes[place])
    return (f"{modes[place]!r} -> {other!r}", _all_modes(modes, modes[place], other)) if other else None


def _all_modes(modes: Any, old: bytes, new: bytes) -> Callable[[], None]:
    """Change a mode in all splits: ONNX Runtime takes the fast path only where all are the same."""

    def change() -> None:
        modes[:] = [new if each == old else each for each in modes]

    return change


def _missing_flag(node: Any, place: int, modes: Any) -> tuple[str, Callable[[], None]] | None:
    flags = _of(node, "nodes_missing_value_tracks_true")
    if not flags:
        return None
    return f"missing values: {flags[place]} -> {1 - flags[place]}", _putting(flags, place, 1 - flags[place])


def _children(node: Any, place: int, modes: Any) -> tuple[str, Callable[[], None]]:
    yes, no = _of(node, "nodes_truenodeids"), _of(node, "nodes_falsenodeids")

    def change() -> None:
        yes[place], no[place] = no[place], yes[place]

    return "sides swapped", change


def _turns(model: Any) -> Iterator[Place]:
    """Let a loop turn at most once."""
    for _, node in nodes(model):
        if node.op_type == "Loop" and node.input:
            yield f"{said(node)}: at most one turn", _fixing(model, node, 0, np.int64(1))


COMPUTING = (
    "Mul",
    "Add",
    "Sub",
    "Mod",
    "Div",
    "MatMul",
    "Gemm",
    "Greater",
    "Less",
    "Equal",
    "ReduceSum",
    "Identity",
    "Cast",
)
FLAGS = (
    "keepdims",
    "ceil_mode",
    "count_include_pad",
    "transA",
    "transB",
    "fmod",
    "largest",
    "select_last_index",
    "exclusive",
    "reverse",
    "upper",
    "linear_before_reset",
    "align_corners",
    "zeros",
    "is_case_sensitive",
    "layout",
)
AXIS = ("axis", "batch_dims")
COEFFICIENTS = (
    "coefficients",
    "intercepts",
    "rho",
    "support_vectors",
    "kernel_params",
    "prob_a",
    "prob_b",
    "offset",
    "scale",
    "imputed_value_floats",
    "weights",
    "base_values",
    "boundaries",
    "values_floats",
)
LEAVES = ("class_weights", "target_weights", "leaf_weights")
DEFAULTS = ("default_int64", "default_float", "replaced_value_float", "threshold")
KEYS = (
    "keys_strings",
    "keys_int64s",
    "keys_floats",
    "cats_strings",
    "cats_int64s",
    "pool_strings",
    "classlabels_strings",
    "classlabels_int64s",
    "stopwords",
    "values_int64s",
)


def _other_text(value: Any) -> Any:
    return value + b"_" if isinstance(value, bytes) else value + 1


FAULTS = (
    Fault("axis", "an axis is the one before", _attribute(AXIS, lambda old: {0: 1, 1: 0}.get(old, old - 1))),
    Fault("alpha", "alpha, beta, gamma or bias is 10% larger", _attribute(("alpha", "beta", "gamma", "bias", "lambd"), lambda old: old * 1.1)),
    Fault("epsilon", "epsilon is a thousandth more", _attribute(("epsilon",), lambda old: old + 1e-2)),
    Fault("pads", "padding is moved from the end to the beginning", _attribute(("pads",), _shifted_pads)),
    Fault("strides", "a stride is one more", _attribute(("strides",), lambda old: [*old[:-1], old[-1] + 1])),
    Fault("dilations", "a dilation is one more", _attribute(("dilations",), lambda old: [*old[:-1], old[-1] + 1])),
    Fault("flag", "a flag such as keepdims, ceil_mode, fmod or transB is flipped", _attribute(FLAGS, lambda old: 1 - old)),
    Fault("flag set", "a flag that is not there is set", lambda model: (place for each in UNSET for place in _missing(*each)(model))),
    Fault("mode", "a mode such as that of a Resize, a pad, a norm or a post-transform is another", _attribute(("mode", "coordinate_transformation_mode", "nearest_mode", "approximate", "padding_mode", "direction", "auto_pad", "post_transform", "aggregate_function", "norm", "kernel_type", "case_change_action"), MODES.get)),
    Fault("perm", "a transposition swaps two other axes", _attribute(("perm",), _swapped)),
    Fault("neighbour", "an operator is replaced by its neighbour", _neighbour),
    Fault("weight +10%", "an element of a constant is 10% larger", _element(lambda value: value * 1.1)),
    Fault("weight sign", "an element of a constant has the other sign", _element(lambda value: -value)),
    Fault("weight zero", "an element of a constant is 0", _element(lambda value: 0)),
    Fault("whole constant", "an element of a constant of whole numbers is one more", _element(lambda value: value + 1, "iu")),
    Fault("bool constant", "an element of a constant of booleans is flipped", _element(lambda value: not value, "b")),
    Fault("then", "an If always takes its first branch, a Where its first side", _constant_input(0, ("If", "Where"), True)),
    Fault("else", "an If always takes its second branch, a Where its second side", _constant_input(0, ("If", "Where"), False)),
    Fault("turns", "a loop turns at most once", _turns),
    Fault("no bound", "a Clip has one bound less", _no_bound),
    Fault("frozen size", "a size is that of a batch of 2", _frozen_size),
    Fault("frozen reshape", "a size of a Reshape is 2", _frozen_reshape),
    Fault("round", "a cast to whole numbers rounds instead of truncating", _rounded_cast),
    Fault("negative index", "an index below zero does not count from the end", _before(("Gather", "GatherElements", "ScatterElements"), 1, (("Abs", {}),))),
    Fault("absolute", "what is compared, rounded or divided loses its sign", _before(("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Mod", "Div", "Floor", "Cast"), 0, (("Abs", {}),))),
    Fault("narrow", "whole numbers that are computed with go through a narrower type", _narrowed),
    Fault("default", "a default, replaced or threshold value is one more", _attribute(DEFAULTS, lambda old: old + 1 if np.isfinite(old) else 0.0)),
    Fault("default text", "a default text is another", _attribute(("default_string",), lambda old: old + "_")),
    Fault("key", "a category, label or word is another", _list(KEYS, _other_text)),
    Fault("coefficient", "a coefficient of an ai.onnx.ml operator is 10% larger", _list(COEFFICIENTS, lambda old: old * 1.1)),
    Fault("leaf", "a leaf's value is 10% larger", _list(LEAVES, lambda old: old * 1.1)),
    Fault("leaf sign", "a leaf's value has the other sign", _list(LEAVES, lambda old: -old)),
    Fault("threshold next", "a tree's threshold is the next fitted one", _threshold(_next_fitted)),
    Fault("threshold 10%", "a tree's threshold is 10% larger", _threshold(lambda value, same: value * 1.1)),
    Fault("threshold up", "a tree's threshold is the next float above", _threshold(_ulp(np.inf))),
    Fault("threshold down", "a tree's threshold is the next float below", _threshold(_ulp(-np.inf))),
    Fault("split mode", "the splits compare with < instead of <=, or the other way round", _split(_mode)),
    Fault("missing", "a missing value takes the other side of a split", _split(_missing_flag)),
    Fault("sides", "the sides of a split are swapped", _split(_children)),
    Fault("tokens", "a token pattern or separator is another", _list(("separators",), lambda old: b"[.]")),
    Fault("token pattern", "a token has a letter more", _attribute(("tokenexp",), lambda old: "[a-z]+" if old != "[a-z]+" else "[a-zA-Z]+")),
)  # fmt: skip
UNSET: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("keepdims", 0, ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ArgMax", "ArgMin")),
    ("ceil_mode", 1, ("MaxPool", "AveragePool")),
    ("count_include_pad", 1, ("AveragePool",)),
    ("fmod", 1, ("Mod",)),
    ("select_last_index", 1, ("ArgMax", "ArgMin")),
    ("exclusive", 1, ("CumSum",)),
    ("reverse", 1, ("CumSum",)),
    ("transB", 1, ("Gemm",)),
    ("axis", 1, ("Softmax", "LogSoftmax", "Gather", "Split")),
    ("largest", 0, ("TopK",)),
)


def places(model: Any) -> dict[str, list[Place]]:
    """Return the places of each fault that a model has some for, by the fault's name."""
    found = {fault.name: list(fault.find(model)) for fault in FAULTS}
    return {name: each for name, each in found.items() if each}
