"""Fitted estimators of scikit-learn, XGBoost and LightGBM: `--model sklearn:FILE`."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError, first_line, refused
from modelrepo.generator.progress import Progress, Remark
from modelrepo.generator.sources.sampled import sampled
from modelrepo.generator.sources.sklearn import boosters, estimator_file, tabular
from modelrepo.generator.sources.sklearn.estimators import (
    column_parts,
    entries,
    every_part,
    is_column_transformer,
    last_step,
    steps_of,
)
from modelrepo.generator.sources.sklearn.tabular import Table
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import SKLEARN, need

LABEL, PROBABILITIES, SCORES, PREDICTION, OUTPUT = "label", "probabilities", "scores", "prediction", "output"
SHOWN_COLUMNS = 12
# What compiled code says that was fitted on float32, such as that of KMeans, and is asked float64.
OTHER_TYPE = "Buffer dtype mismatch"
# Transformers to a graph of samples, and those that take dictionaries, hashed features or images.
GRAPHS = ("KNeighborsTransformer", "RadiusNeighborsTransformer")
UNSENDABLE = ("DictVectorizer", "FeatureHasher", "PatchExtractor")
Method = Callable[[Any], Any]


@dataclass(frozen=True)
class Tabular:
    """A fitted estimator to export: the table that it takes, and the method for each output."""

    estimator: Any
    table: Table
    answers: Mapping[str, Method]


def files(name: str) -> tuple[Path, ...]:
    """Return the file; SourceError unless its format may hold an estimator."""
    path = path_of(name)
    estimator_file.kind_of(path)
    return (path,)


def check(name: str, options: Options) -> None:
    """Raise SourceError unless the file may be read: it runs no code, or the user trusts it."""
    estimator_file.check(path_of(name), options.trust_source)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return a fitted estimator: named columns, or one matrix of them, in; labels, probabilities or numbers out.

    A classifier returns ``label`` (batch,) and ``probabilities`` (batch, classes), or ``scores`` if it has none; one
    with several outputs returns ``label`` (batch, outputs), ``probabilities_0`` and so on; a regressor ``prediction``
    (batch, targets), a transformer ``output``. Raises SourceError for a file that can't be used.
    """
    path = path_of(name)
    memory.check(path.stat().st_size if path.is_file() else 0, f"sklearn:{path.name}")
    file = estimator_file.read(path, options.trust_source)
    reference = f"sklearn:{path.name}"
    searched = getattr(file.estimator, "best_estimator_", None)
    estimator = file.estimator if searched is None else searched
    _check_fitted(estimator, path)
    boosters.refuse_own_objective(last_step(estimator), str(path))
    methods = _methods(estimator, path)
    table = tabular.table_of(estimator, options.input_shape, reference, sampled(options.samples, options.label_column))
    taken = {spec.name for spec in table.inputs}
    answers = _answers(estimator, {f"{each}_out" if each in taken else each: own for each, own in methods.items()})
    source = SourceModel(
        reference=reference,
        framework="sklearn",
        native=Tabular(estimator, table, answers),
        inputs=table.inputs,
        output_names=tuple(answers),
        run=_runner(table, answers),
        weights=Weights("file", path.name, untrained=False, sha256=sha256_of(path)),
        labels=_labels(estimator),
        preprocess=_preprocess(estimator, table),
        notes=(*file.notes, *_notes(table, searched), *_told_missing(_missing_texts(estimator, table))),
    )
    return replace(source, wider=_wider(source))


def _wider(source: SourceModel) -> SourceModel | None:
    """Return the same source with float64 in place of float32 inputs; None if it has none."""
    native: Tabular = source.native
    table = tabular.widened(native.table)
    if table == native.table:
        return None
    tabular_model = replace(native, table=table)
    return replace(source, native=tabular_model, inputs=table.inputs, run=_runner(table, native.answers))


def _check_fitted(estimator: Any, path: Path) -> None:
    validation = need("sklearn.utils.validation", SKLEARN)
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import get_tags

    if isinstance(estimator, type):
        raise SourceError(f"{path} holds the class {estimator.__name__}, not an estimator", "Save what fit returns")
    if not hasattr(estimator, "fit"):
        raise SourceError(
            f"{path} holds a {type(estimator).__name__}, not an estimator",
            "Save the fitted estimator itself, such as a Pipeline with all steps before it",
        )
    try:
        validation.check_is_fitted(estimator)
    except NotFittedError as error:
        raise SourceError(
            f"{path} holds a {type(estimator).__name__} that is not fitted", "Fit it, then save it"
        ) from error
    target = get_tags(estimator).target_tags
    if not hasattr(estimator, "predict") and (target.one_d_labels or target.two_d_labels):
        raise SourceError(
            f"{path} holds a {type(estimator).__name__}, which encodes labels and is not a model",
            "Serve the classifier: fitted to the original labels, it returns them",
        )


def _methods(estimator: Any, path: Path) -> dict[str, Method]:
    """Return the methods of an estimator by the names of the outputs."""
    from sklearn.base import is_classifier, is_regressor

    kind = type(estimator).__name__
    if getattr(estimator, "novelty", None) is False:
        raise SourceError(
            f"{path} holds a {kind} fitted with novelty=False, which can't predict new samples",
            "Fit it with novelty=True",
        )
    if kind in GRAPHS:
        raise SourceError(
            f"{path} holds a {kind}, which answers a sparse graph of all samples that it was fitted on",
            "Serve a NearestNeighbors, which answers the places and distances of the nearest",
        )
    first = next((name for each in entries(estimator) if (name := type(each).__name__) in UNSENDABLE), "")
    if first:
        raise SourceError(
            f"{path} begins with a {first}, which takes no table of numbers or texts",
            "Fit the steps after it on their matrix, save those, and do this step in the client",
        )

    def has(*names: str) -> bool:
        return all(hasattr(estimator, name) for name in names)

    if has("predict") and is_classifier(estimator):
        methods: dict[str, Method] = {LABEL: estimator.predict}
        if has("predict_proba"):
            methods[PROBABILITIES] = estimator.predict_proba
        elif has("decision_function"):
            methods[SCORES] = estimator.decision_function
        return methods
    if has("predict") and is_regressor(estimator):
        return {PREDICTION: estimator.predict}
    if has("predict", "predict_proba"):  # mixtures
        return {LABEL: estimator.predict, PROBABILITIES: estimator.predict_proba}
    if has("predict", "decision_function"):  # outlier detectors
        return {LABEL: estimator.predict, SCORES: estimator.decision_function}
    if has("predict", "transform"):  # clusters, and the distance of each
        return {LABEL: estimator.predict, SCORES: estimator.transform}
    if has("predict"):
        return {PREDICTION: estimator.predict}
    if has("kneighbors"):
        return {
            "index": lambda rows: estimator.kneighbors(rows)[1],
            "distance": lambda rows: estimator.kneighbors(rows)[0],
        }
    if has("transform"):
        return {OUTPUT: lambda rows: by_row(estimator.transform(rows), rows)}
    raise SourceError(
        f"{path} holds a {type(estimator).__name__}, which can't predict new samples",
        "It has neither predict nor transform: fit a model that has to its result",
    )


def by_row(answer: Any, rows: Any) -> Any:
    """Return an answer with as many rows as it was asked; SparsePCA of scikit-learn 1.9 answers one row flat."""
    count = len(rows) if hasattr(rows, "__len__") else 0
    return answer.reshape(1, -1) if count == 1 and getattr(answer, "shape", (1,))[0] != 1 else answer


def _answers(estimator: Any, methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return the method for each output; the probabilities of several outputs become one output each."""
    classes = _classes(estimator)
    several = len(classes) if isinstance(classes, list) else 0
    answers: dict[str, Method] = {}
    for name, method in methods.items():
        if name.startswith((PROBABILITIES, SCORES)) and several and _answers_lists(estimator):
            for number in range(several):
                answers[f"{name}_{number}"] = _part(method, number)
        else:
            answers[name] = method
    return answers


def _part(method: Method, number: int) -> Method:
    return lambda rows: method(rows)[number]


def _classes(estimator: Any) -> Any:
    last = last_step(estimator)
    try:
        return getattr(last, "classes_", None)
    except AttributeError:
        return None


def _answers_lists(estimator: Any) -> bool:
    """Whether several outputs are returned as a list of arrays, one each, instead of one array."""
    return hasattr(last_step(estimator), "predict_proba")


def _labels(estimator: Any) -> tuple[str, ...]:
    """Return the names of a classifier's classes, which Triton adds to its probabilities."""
    from sklearn.base import is_classifier

    classes = _classes(estimator)
    if not is_classifier(estimator) or classes is None or isinstance(classes, list):
        return ()
    return tuple(str(each) for each in classes.tolist())


def _preprocess(estimator: Any, table: Table) -> Mapping[str, Any] | None:
    """Return the columns that the estimator was fitted on, and those of texts that it knows missing values of."""
    names = [column.own_name for column in table.columns]
    if not all(names):
        return None
    return {"kind": "table", "columns": names, "missing": _missing_texts(estimator, table)}


def _notes(table: Table, searched: Any) -> tuple[str, ...]:
    best = f"the best estimator of the search is served: {type(searched).__name__}"
    notes = [] if searched is None else [Remark(best)]
    names = [column.own_name for column in table.columns]
    if not table.split and len(names) > 1 and all(names):
        shown = ", ".join(map(str, names[:SHOWN_COLUMNS]))
        more = f" and {len(names) - SHOWN_COLUMNS} more" if len(names) > SHOWN_COLUMNS else ""
        notes.append(Remark(f"{table.inputs[0]} holds the columns {shown}{more}, in this order"))
    return tuple(notes)


def _missing_texts(estimator: Any, table: Table) -> dict[str, str]:
    """Return the inputs of texts that the estimator knows missing values of, apart from all texts that are sent.

    Each with the text that a first imputer puts in the place of a missing one; empty if there is none.
    """
    width = len(table.columns)
    tables = [entry for entry in entries(estimator) if is_column_transformer(entry)]
    parts = [(part, places) for each in tables for _, part, places in column_parts(each) if not isinstance(part, str)]
    known = {
        place: _filled_in(part, number, len(places))
        for part, places in parts or [(estimator, list(range(width)))]
        for number, place in enumerate(places)
        if any(_knows_missing_texts(each, number, len(places)) for each in every_part(part))
    }
    specs = zip(table.used, table.inputs, strict=True) if table.split else ((place, table.inputs[0]) for place in known)
    return {spec.name: known[place] for place, spec in specs if place in known and spec.dtype == "object"}


def _filled_in(part: Any, number: int, width: int) -> str:
    """Return the text that a SimpleImputer, as the first step of a part, puts in the place of a missing one."""
    first = (steps_of(part) or [part])[0]
    statistics: Any = getattr(first, "statistics_", ())
    plain = len(statistics) == width and not getattr(first, "add_indicator", True)
    return str(statistics[number]) if plain and isinstance(statistics[number], str) else ""


def _told_missing(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on text inputs whose missing values can't be sent, if there are any."""
    if not texts:
        return ()
    return (
        f"the model knows what to do without {' or '.join(texts)}, but Triton can't send a missing text: '' and 'nan' "
        f"are texts like any other. {_instead(texts)}",
    )


def _instead(texts: Mapping[str, str]) -> str:
    """Return what is sent in place of missing texts."""
    if all(texts.values()):
        fills = " and ".join(f"{text!r} for {name}" for name, text in texts.items())
        return f"Send what the model itself fills in: {fills}"
    return "If a cell may be empty, fit the model on a text in its place, such as 'missing', and send that"


def _knows_missing_texts(part: Any, number: int, width: int) -> bool:
    """Whether an encoder has a category for missing texts of a column, or an imputer replaces these.

    ``number`` is that of the column among ``width``; a part of another width stands for all of them.
    """
    lists = getattr(part, "categories_", None)
    if isinstance(lists, list):
        return any(
            any(isinstance(each, str) for each in values) and any(each is None or each != each for each in values)
            for values in (each.tolist() for each in (lists[number : number + 1] if len(lists) == width else lists))
        )
    statistics: Any = getattr(part, "statistics_", None)
    if statistics is None or isinstance(getattr(part, "missing_values", None), str):
        return False
    return any(isinstance(each, str) for each in (statistics[[number]] if len(statistics) == width else statistics))


def _runner(table: Table, answers: Mapping[str, Method]) -> Callable[[Arrays], dict[str, Any]]:
    from threadpoolctl import ThreadpoolController

    precise = any(spec.dtype == "float64" for spec in table.inputs)
    # With few rows the threads of OpenMP mostly wait for each other: a HistGradientBoostingClassifier takes 4 ms for 3
    # rows on one thread, and 250 ms on all threads of a busy machine.
    threads = ThreadpoolController()

    def answered(arrays: Arrays, *, exact: bool) -> dict[str, Any]:
        with warnings.catch_warnings(), threads.limit(limits=1):
            warnings.simplefilter("ignore")  # of columns without names, and of values out of range
            rows = table.rows(arrays, exact=exact)
            return {name: as_served(name, answer(rows), precise) for name, answer in answers.items()}

    def run(arrays: Arrays) -> dict[str, Any]:
        try:
            try:
                return answered(arrays, exact=True)
            except ValueError as error:
                if OTHER_TYPE not in str(error):
                    raise
                return answered(arrays, exact=False)
        except Exception as error:  # any error of the estimator's code
            reason = first_line(error)
            raise refused(arrays, f"{type(error).__name__}: {reason}") from error

    return run


def as_served(name: str, answer: Any, precise: bool = False) -> Any:
    """Return an output as it is served: labels as int64 or text, floats as float32, single values as a column."""
    import numpy as np

    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    if array.dtype.kind in "US":
        array = array.astype(object)
    elif array.dtype.kind in "biu" or (name.startswith(LABEL) and array.dtype.kind == "f"):
        array = array.astype(np.int64)
    elif array.dtype.kind == "f" and not precise:
        array = array.astype(np.float32)
    return array[:, np.newaxis] if array.ndim == 1 and not name.startswith(LABEL) else array


SOURCE = file_source(
    form="sklearn:FILE",
    summary="scikit-learn, XGBoost and LightGBM: .skops, XGBoost's .json and .ubj, LightGBM's .txt; pickles if trusted",
    frameworks=("sklearn",),
    load=load,
    check=check,
    files=files,
    options=("input_shape", "trust_source", "opset"),
    packages=("scikit-learn", "skops", "joblib", "xgboost", "lightgbm"),
    extras=(SKLEARN,),
)
