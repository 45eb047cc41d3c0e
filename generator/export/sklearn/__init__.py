"""scikit-learn to ONNX with skl2onnx: named outputs in the shapes of scikit-learn's, without maps."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.export.description import describe, source_dims
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.export.sklearn import converters
from modelrepo.generator.export.sklearn.equivalents import equivalent
from modelrepo.generator.export.sklearn.trees import exact_trees
from modelrepo.generator.graphs.runtime import reason
from modelrepo.generator.graphs.walk import inner_graphs, reads
from modelrepo.generator.sources.sklearn import Tabular
from modelrepo.generator.sources.sklearn.boosters import frame_categories
from modelrepo.generator.sources.sklearn.estimators import entries, every_part, is_column_transformer, last_step
from modelrepo.generator.sources.sklearn.fitted_edges import compares_computed
from modelrepo.generator.sources.sklearn.fitted_ranges import FAR
from modelrepo.generator.sources.sklearn.tabular import BATCH, Table
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Dim, TensorSpec
from modelrepo.generator.system.extras import SKLEARN, need
from modelrepo.generator.system.quiet import quiet
from modelrepo.generator.triton.releases import release_named
from modelrepo.generator.verification.inputs import example

TOOL = "skl2onnx"
# The newest operator set that skl2onnx's converters are tested with, and the version of ai.onnx.ml that every release
# of Triton reads: TreeEnsemble, of version 5, is newer than ONNX Runtime 1.19.
MAX_OPSET, ML_OPSET = 22, 3
# The rows of the example that identifies outputs: not a usual number of classes.
EXAMPLE_ROWS = 7
HELP = "docs/how-to/when-export-fails.md#scikit-learn"
COLUMNS = "Say what it takes with --input-shape NAME=1x1:TYPE,… for its columns"


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    """Write ``source`` as ONNX into ``folder``, its batch of any size.

    Raises ConversionError with the estimator that skl2onnx can't convert, and SourceError if the estimator itself fails
    on its inputs.
    """
    need("skl2onnx", SKLEARN)
    if options.opset > MAX_OPSET:
        raise ConversionError(
            f"skl2onnx does not write opset {options.opset}", f"It writes up to {MAX_OPSET}: lower --opset"
        )
    native: Tabular = source.native
    path = folder / TOOL / "model.onnx"
    path.parent.mkdir(parents=True)
    shapes = source_dims(source, COLUMNS)
    converters.register(native.estimator)
    with quiet(), exact_trees():
        model, notes = _written(source, native, options, shapes)
    _tidy(model, release_named(options.target_release).max_ir)
    path.write_bytes(model.SerializeToString())
    return describe(path, (path,), source.inputs, TOOL, options, notes)


def _written(
    source: SourceModel, native: Tabular, options: Options, shapes: Mapping[str, tuple[Dim, ...]]
) -> tuple[Any, tuple[str, ...]]:
    """Return the model with its named inputs and outputs, and notes.

    What compares computed numbers, such as a tree behind a scaler, or takes numbers far from 0, is computed in float64
    as by its estimator; if skl2onnx can't write that, in the type of its inputs, with a note.
    """
    notes: tuple[str, ...] = ()
    if _needs_float64(native):
        try:
            return _of_type(source, native, options, shapes, exact=True), ()
        except ConversionError as error:
            notes = (
                f"it is computed in single precision, which may decide close to a limit; in float64, {error.message}",
            )
    return _of_type(source, native, options, shapes, exact=False), notes


def _needs_float64(native: Tabular) -> bool:
    columns = native.table.columns
    return (
        compares_computed(native.estimator, len(columns))
        or any(each.range.is_far for each in columns)
        or any(_cancels(part) or _counts(part) or _squares(part) for part in every_part(native.estimator))
    )


def _counts(part: Any) -> bool:
    """Whether a naive Bayes adds logarithms times counts, which cancel: thousands of them are lost in float32."""
    return hasattr(part, "feature_log_prob_") and not hasattr(part, "binarize")


def _squares(part: Any) -> bool:
    """Whether a part subtracts sums of squares, or takes the sine of large numbers: few digits are left in float32."""
    return hasattr(part, "rotations_") or "ExpSineSquared" in str(getattr(part, "kernel_", ""))


def _cancels(part: Any) -> bool:
    """Whether a linear model adds a number that is so large that what it is added to must be as large, and cancels."""
    import numpy as np

    coefficients, number = getattr(part, "coef_", None), getattr(part, "intercept_", None)
    if coefficients is None or number is None:
        return False
    return bool(np.max(np.abs(number)) > FAR * abs(coefficients).max())  # coefficients may be sparse


def _of_type(
    source: SourceModel, native: Tabular, options: Options, shapes: Mapping[str, tuple[Dim, ...]], exact: bool
) -> Any:
    """Return the model, within it computed in float64 if it is ``exact``."""
    model = _converted(source.reference, native, options, exact)
    if native.table.split and not _takes_columns(native.estimator):
        _join_columns(model.graph, native.table)
    _name_inputs(model.graph, native.table)
    if exact:
        _widen_inputs(model.graph, native.table)
    _shape_outputs(model, source, shapes)
    return model


def _widen_inputs(graph: Any, table: Table) -> None:
    """Let a graph that takes float64 take the float32 that is served."""
    from onnx import TensorProto, helper

    casts = []
    for value, spec in zip(graph.input, table.inputs, strict=True):
        tensor = value.type.tensor_type
        if spec.dtype == "float32" and tensor.elem_type == TensorProto.DOUBLE:
            inner = f"{value.name}_as_float64"
            for node in graph.node:
                node.input[:] = [inner if name == value.name else name for name in node.input]
            tensor.elem_type = TensorProto.FLOAT
            casts.append(helper.make_node("Cast", [value.name], [inner], to=TensorProto.DOUBLE))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _converted(reference: str, native: Tabular, options: Options, exact: bool) -> Any:
    """Return the estimator converted by skl2onnx."""
    import skl2onnx
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    estimator = equivalent(native.estimator)
    try:
        return skl2onnx.convert_sklearn(
            estimator,
            name=type(estimator).__name__,
            initial_types=list(_initial_types(native, exact)),
            target_opset={"": options.opset, "ai.onnx.ml": ML_OPSET},
            options=_options(estimator),
        )
    except (MissingConverter, MissingShapeCalculator) as error:
        raise ConversionError(
            f"skl2onnx can't convert {_missing(error)}, a part of {reference}",
            f"Register a converter for it, or fit another estimator in its place: {HELP}",
        ) from error
    except ConversionError:
        raise
    except Exception as error:  # any error of a converter's code
        reason = first_line(error)
        raise ConversionError(
            f"skl2onnx can't convert {reference}, a {_described(native.estimator)}: {type(error).__name__}: {reason}",
            f"See {HELP} for what to try",
        ) from error


def _missing(error: Exception) -> str:
    """Return the class without a converter that the message names."""
    first = first_line(error)
    quoted = [part for part in first.split("'") if "class" in first and "." in part and " " not in part]
    return quoted[0] if quoted else first.rstrip(".")


def _described(estimator: Any) -> str:
    """Return the class of an estimator, with the steps of a pipeline."""
    steps = [type(step).__name__ for _, step in getattr(estimator, "steps", ())]
    return f"{type(estimator).__name__}({', '.join(steps)})" if steps else type(estimator).__name__


def _initial_types(native: Tabular, exact: bool) -> Iterator[tuple[str, Any]]:
    """Yield the inputs for skl2onnx: those of the model, or the matrix that its columns are joined to."""
    import numpy as np
    from skl2onnx.common.data_types import _guess_numpy_type  # from numpy's types to skl2onnx's

    table = native.table
    if table.split and not _takes_columns(native.estimator):
        joined = _joined_type(table)
        exact_type = np.dtype("float64") if exact and joined.kind == "f" else joined
        yield _inner_name(0), _guess_numpy_type(exact_type, [None, len(table.columns)])
        return
    kinds = dict(zip(table.used if table.split else (0,), table.inputs, strict=True))
    for place in range(len(table.columns) if table.split else 1):  # columns without an input count as well
        spec = kinds.get(place, table.inputs[0])
        kind = np.dtype(np.str_) if spec.dtype == "object" else np.dtype(spec.dtype)
        kind = np.dtype("float64") if exact and kind.kind == "f" else kind
        yield _inner_name(place), _guess_numpy_type(kind, [None, *spec.shape[1:]])


def _inner_name(place: int) -> str:
    """Return the name of an input within skl2onnx, which may use a column's own name itself."""
    return f"table_input_{place}"


def _joined_type(table: Table) -> Any:
    """Return the type that all columns of a table have in one matrix."""
    import numpy as np

    kinds = {spec.dtype for spec in table.inputs}
    if "object" in kinds:
        if len(kinds) > 1:
            raise ConversionError(
                "its columns hold texts and numbers, and no part of it separates them",
                "Fit a Pipeline that begins with a ColumnTransformer",
            )
        return np.dtype(np.str_)
    return np.dtype("float64" if "float64" in kinds else "float32")


def _takes_columns(estimator: Any) -> bool:
    """Whether a part of an estimator handles each column by itself, so that skl2onnx takes separate columns."""
    return bool(frame_categories(estimator)) or any(
        is_column_transformer(entry) or isinstance(getattr(entry, "categories_", None), list)
        for entry in entries(estimator)
    )


def _options(estimator: Any) -> dict[Any, dict[str, Any]]:
    """Return skl2onnx's options: plain arrays instead of maps, and raw decisions if there are no probabilities."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import _converter_pool

    last = last_step(estimator)
    converter = _converter_pool.get(sklearn_operator_name_map.get(type(last)))
    allowed = (converter.get_allowed_options() if converter else None) or {}
    wanted = {"zipmap": False, **({} if hasattr(last, "predict_proba") else {"raw_scores": True})}
    chosen = {name: value for name, value in wanted.items() if name in allowed}
    return {id(last): chosen}


def _join_columns(graph: Any, table: Table) -> None:
    """Insert inputs of one column each before a graph that takes a matrix of them."""
    from onnx import helper

    (matrix,) = graph.input
    element = matrix.type.tensor_type.elem_type
    nodes, parts, inputs = [], [], []
    for place, spec in enumerate(table.inputs, 1):
        own = helper.np_dtype_to_tensor_dtype(_numpy_type(spec))
        inputs.append(helper.make_tensor_value_info(_inner_name(place), own, [BATCH, 1]))
        parts.append(f"{_inner_name(place)}_as_joined")
        nodes.append(helper.make_node("Cast", [inputs[-1].name], [parts[-1]], to=element))
    nodes.append(helper.make_node("Concat", parts, [matrix.name], axis=1))
    own_nodes = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *own_nodes])
    graph.input.extend(inputs)


def _name_inputs(graph: Any, table: Table) -> None:
    """Give the inputs of a graph their served names; rename other tensors with such a name."""
    places = table.used if len(graph.input) > len(table.inputs) else range(len(table.inputs))
    kept = [graph.input[place] for place in places]
    del graph.input[:]
    graph.input.extend(kept)
    for value, name in zip(graph.input, [spec.name for spec in table.inputs], strict=True):
        _rename(graph, name, f"{name}_within")
        _rename(graph, value.name, name)
        value.name = name


def _numpy_type(spec: TensorSpec) -> Any:
    import numpy as np

    return np.dtype(object) if spec.dtype == "object" else np.dtype(spec.dtype)


def _shape_outputs(model: Any, source: SourceModel, shapes: Mapping[str, tuple[Dim, ...]]) -> None:
    """Give the outputs the names, shapes and types of the source's; drop other outputs of the graph."""
    from onnx import TensorProto, helper

    precise = any(spec.dtype == "float64" for spec in source.inputs)
    graph = model.graph
    arrays = {spec.name: example(spec, {BATCH: EXAMPLE_ROWS}) for spec in source.inputs}
    found = _run(model, arrays, source.reference)
    wanted = [
        (name, tuple(EXAMPLE_ROWS if dim == BATCH else dim for dim in shapes[name])) for name in source.output_names
    ]
    origins = [value.name for value in graph.output]
    for origin in origins:
        _rename(graph, origin, f"{origin}_as_converted")
    del graph.output[:]
    for place, (name, shape) in enumerate(wanted):
        stem, _, number = name.rpartition("_")
        listed = stem in ("probabilities", "scores") and number.isdigit()
        index = min(place, 1) if listed else place
        if index >= len(origins):
            raise ConversionError(f"skl2onnx writes {len(origins)} outputs instead of {', '.join(source.output_names)}")
        origin, answer = f"{origins[index]}_as_converted", found[index]
        element = int(number) if listed else None
        kind = _element_type(answer, element)
        served = TensorProto.FLOAT if kind == TensorProto.DOUBLE and not precise else kind
        graph.node.extend(_steps(origin, answer, name, shape, element, graph))
        if served != kind:
            graph.node[-1].CopyFrom(helper.make_node("Cast", graph.node[-1].input, [name], to=served))
        graph.output.append(helper.make_tensor_value_info(name, served, shapes[name]))


def _element_type(answer: Any, element: int | None) -> int:
    import numpy as np
    from onnx import helper

    array = answer[element] if isinstance(answer, list) and element is not None else answer
    kind = np.asarray(array).dtype
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(object) if kind.kind in "OUS" else kind))


def _steps(origin: str, answer: Any, name: str, shape: tuple[Dim, ...], element: int | None, graph: Any) -> list[Any]:
    """Return the nodes that turn an output of skl2onnx into the wanted one.

    These take one part of a list, remove the extra axis of a label, or take the last columns of twice as many, such as
    those of a decision and its negative.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    nodes: list[Any] = []

    def then(operator: str, *constants: Any, **attributes: Any) -> None:
        nonlocal origin
        names: list[str] = []
        for value in constants:
            names.append(f"{name}_constant_{len(nodes)}_{len(names)}")
            graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), names[-1]))
        result = f"{name}_step_{len(nodes)}"
        nodes.append(helper.make_node(operator, [origin, *names], [result], **attributes))
        origin = result

    got: tuple[int, ...]
    if element is not None and isinstance(answer, list):
        then("SequenceAt", element)
        got = np.shape(answer[element])
    elif element is not None:
        then("Gather", element, axis=0)
        got = np.shape(answer)[1:]
    else:
        got = np.shape(answer)
    if got != shape and len(shape) == 2 and got == (shape[0], 2 * int(shape[1])):
        then("Slice", [int(shape[1])], [2 * int(shape[1])], [1])
    elif got != shape and np.prod(got) == np.prod([int(dim) for dim in shape]) and 1 in (*got, *shape):
        then("Reshape", [-1, *(int(dim) for dim in shape[1:])])
    elif got != shape:
        raise ConversionError(f"skl2onnx returns {name} with shape {list(got)}, scikit-learn with shape {list(shape)}")
    return [*nodes, helper.make_node("Identity", [origin], [name])]


def _run(model: Any, arrays: Mapping[str, Any], reference: str) -> list[Any]:
    """Return the outputs of a model in ONNX Runtime."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        return list(session.run(None, dict(arrays)))
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ConversionError(
            f"ONNX Runtime can't run {reference} as skl2onnx converts it: {reason(error)}",
            f"See {HELP} for what to try",
        ) from error


def _rename(graph: Any, old: str, new: str) -> None:
    """Rename a tensor of a graph, where it is written and wherever it is read."""
    for tensor in (*graph.initializer, *graph.output):
        if tensor.name == old:
            tensor.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
        for inner in inner_graphs(node):
            _rename(inner, old, new)


def _tidy(model: Any, max_ir: int) -> None:
    """Name the batch of each input, list each operator domain once and in order, and leave out unneeded nodes."""
    graph = model.graph
    for value in graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        versions[entry.domain] = max(entry.version, versions.get(entry.domain, 0))
    del model.opset_import[:]
    for domain, version in sorted(versions.items()):  # converters list them in the order of a set
        entry = model.opset_import.add()
        entry.domain, entry.version = domain, version
    model.ir_version = min(model.ir_version, max_ir)
    _prune(graph)


def _prune(graph: Any) -> None:
    """Leave out nodes and constants that no output depends on."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(reads(node))
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


TO_ONNX = Exporter(export=export, packages=("scikit-learn", "skl2onnx", "onnxmltools", "onnx"))
