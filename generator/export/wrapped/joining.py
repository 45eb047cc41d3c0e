"""Graphs that become one: a fragment is put before the graph of a model, or after it."""

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.graphs import edit
from modelrepo.generator.specs.preparation import AFTER, BEFORE, Fragment


def prepared(model: Any, before: Fragment) -> None:
    """Put a fragment before a model; the inputs that it makes are no longer inputs, and its own inputs are.

    ``model`` is an ``onnx.ModelProto`` or its outline, and is changed. Raises ConversionError for an input that the
    model does not have.
    """
    graph, clients = model.graph, [spec.name for spec in before.inputs]
    made = {inner: own for own, inner in before.joins.items()}
    known = {value.name for value in graph.input}
    lacking = next((name for name in made if name not in known), None)
    if lacking:
        raise ConversionError(f"the exported model has no input {lacking!r}")
    names = _made_free(model, clients)
    part = _within(before, BEFORE, {own: names.get(inner, inner) for inner, own in made.items()}, clients)
    left = [value for value in graph.input if value.name not in {names.get(name, name) for name in made}]
    del graph.input[:]
    graph.input.extend([*part.graph.input, *left])
    nodes = [*part.graph.node, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    _take(model, part)


def finished(model: Any, after: Fragment) -> None:
    """Put a fragment after a model; the tensors that it reads are no longer outputs, and its own outputs are.

    ``model`` is as in ``prepared``. A tensor that the fragment reads may be an input, too, which then stays one.
    """
    graph, clients = model.graph, [spec.name for spec in after.outputs]
    read = {own: inner for inner, own in after.joins.items()}
    known = {value.name for value in (*graph.input, *graph.output)}
    lacking = next((name for name in after.joins if name not in known), None)
    if lacking:
        raise ConversionError(f"the exported model has no output {lacking!r}")
    names = _made_free(model, clients, fixed={value.name for value in graph.input})
    part = _within(after, AFTER, {own: names.get(inner, inner) for own, inner in read.items()}, clients)
    left = [value for value in graph.output if value.name not in {names.get(name, name) for name in after.joins}]
    del graph.output[:]
    graph.output.extend([*part.graph.output, *left])
    graph.node.extend(part.graph.node)
    _take(model, part)


def _made_free(model: Any, clients: Iterable[str], fixed: Iterable[str] = ()) -> dict[str, str]:
    """Rename the tensors of a model that have the names which clients will use; return the new names of those.

    Raises ConversionError if one is among the ``fixed``, which clients use already.
    """
    taken = edit.defined(model.graph)
    twice = next((name for name in clients if name in fixed), None)
    if twice:
        raise ConversionError(f"an input and an output would both be called {twice!r}")
    names = {
        name: next(each for n in count(1) if (each := f"{name}_{n}") not in taken) for name in clients if name in taken
    }
    edit.rename(model.graph, names)
    return names


def _within(fragment: Fragment, prefix: str, joined: Mapping[str, str], clients: Iterable[str]) -> Any:
    """Return a copy of a fragment's model, in which all names but those of ``clients`` can't be a model's own."""
    import onnx

    part = onnx.ModelProto()
    part.CopyFrom(fragment.model)
    keep = {**{name: name for name in clients}, **joined}
    edit.rename(part.graph, {name: keep.get(name, f"{prefix}{name}") for name in edit.defined(part.graph)})
    edit.name_nodes(part)
    for node in edit.nodes(part):
        node.name = f"{prefix}{node.name}"
    return part


def _take(model: Any, part: Any) -> None:
    """Give a model what the nodes of a part need: initializers, functions, operator sets and the newer IR."""
    model.graph.initializer.extend(part.graph.initializer)
    model.graph.value_info.extend(part.graph.value_info)
    known = {(function.domain, function.name) for function in model.functions}
    model.functions.extend(each for each in part.functions if (each.domain, each.name) not in known)
    model.ir_version = max(model.ir_version, part.ir_version)
    imported = {entry.domain: entry for entry in model.opset_import}
    for entry in part.opset_import:
        domain = "" if entry.domain in edit.DEFAULT_DOMAINS and "" in imported else entry.domain
        if domain in imported:
            imported[domain].version = max(imported[domain].version, entry.version)
        else:
            model.opset_import.append(entry)
