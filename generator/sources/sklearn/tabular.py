"""The table that a fitted estimator takes: its columns, with the type and the values that its first steps show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.sources.sklearn.estimators import (
    column_parts,
    entries,
    is_column_transformer,
    is_vectorizer,
    last_step,
    parts_of,
    steps_of,
)
from modelrepo.generator.sources.sklearn.fitted_ranges import UNKNOWN, Range, ranges_of
from modelrepo.generator.specs.tensors import Domain, InputShape, TensorSpec
from modelrepo.generator.system.extras import SKLEARN, need

BATCH, MATRIX = "batch", "input"
NUMBER = ("float32", Domain(known=False))
# The words of a text, and the most texts or categories that are kept as examples of an input.
WORDS, CHOICES = 3, 64
BETWEEN = (" ", ", ", " a ", ". Unheard-of ", "! Ünïcode: ")


@dataclass(frozen=True)
class Column:
    """A column of a table: its name in the served model and in the data that the estimator was fitted on.

    Its values are in ``domain``; numbers lie in ``range``.
    """

    name: str
    own_name: str | None
    dtype: str
    domain: Domain
    range: Range


@dataclass(frozen=True)
class Table:
    """The input of an estimator: a matrix of all columns, or an input of shape (batch, 1) for each column."""

    columns: tuple[Column, ...]
    inputs: tuple[TensorSpec, ...]
    # Whether each column is an input.
    split: bool
    # The places of the columns that have an input, since a ColumnTransformer may drop some.
    used: tuple[int, ...]
    # Whether the estimator takes its one column, of texts, as a plain list.
    flat: bool = False
    # Whether the estimator takes float64 only.
    widened: bool = False

    def rows(self, arrays: Mapping[str, Any]) -> Any:
        """Return the estimator's argument for named arrays: a data frame if it was fitted on one."""
        if self.widened:
            arrays = {
                name: array.astype("float64") if array.dtype.kind == "f" else array for name, array in arrays.items()
            }
        if not self.split:
            matrix = arrays[self.inputs[0].name]
            return matrix[:, 0] if self.flat else matrix
        parts = [arrays[spec.name][:, 0] for spec in self.inputs]
        names = [self.columns[place].own_name for place in self.used]
        if all(names):
            pandas = need("pandas", SKLEARN)
            return pandas.DataFrame(dict(zip(names, parts, strict=True)))
        import numpy as np

        if all(part.dtype == parts[0].dtype for part in parts):
            return np.column_stack(parts)
        return np.column_stack([part.astype(object) for part in parts])


def table_of(estimator: Any, asked: tuple[InputShape, ...], reference: str) -> Table:
    """Return the columns of an estimator, and the inputs that it is served with.

    One matrix if all columns have the same type and values; an input for each if they differ, or if a ColumnTransformer
    or ``asked`` names them. Raises SourceError if the number of columns is unknown, and OptionError for ``asked``
    inputs that do not fit.
    """
    kinds, flat, named = _kinds(estimator), _takes_texts(estimator), _names_columns(estimator)
    if not kinds:
        kinds = [NUMBER] * _asked_width(asked, reference)
    own = getattr(estimator, "feature_names_in_", None)
    names = [str(name) for name in own] if own is not None else [f"x{number}" for number in range(len(kinds))]
    own_names = names if own is not None else [None] * len(kinds)
    ranges = ranges_of(estimator, len(kinds))
    columns = tuple(
        Column(name, own_name, *kind, scale)
        for name, own_name, kind, scale in zip(_served_names(names), own_names, kinds, ranges, strict=True)
    )
    by_column = {each.name: each for each in asked} if asked and asked[0].name not in ("", MATRIX) else {}
    split = bool(by_column) or named or len(set(kinds)) > 1
    if not split:
        matrix = _matrix(columns, asked)
        return Table(columns, (matrix,), split, tuple(range(len(columns))), flat, widened=_compares_doubles(estimator))
    used = _used(estimator) if named else tuple(range(len(columns)))
    inputs = tuple(_input(columns[place], by_column.get(columns[place].name)) for place in used)
    unknown = [each.name for each in asked if each.name not in {spec.name for spec in inputs}]
    if unknown:
        raise OptionError(
            f"--input-shape names the input {unknown[0]!r}",
            f"The model's columns are {', '.join(spec.name for spec in inputs)}",
        )
    return Table(columns, inputs, split, used, widened=_compares_doubles(estimator))


def _compares_doubles(estimator: Any) -> bool:
    """Whether an estimator is a KMeans fitted on float64: its compiled code takes nothing else."""
    centers = getattr(last_step(estimator), "cluster_centers_", None)
    return getattr(centers, "dtype", None) == "float64"


def _used(estimator: Any) -> tuple[int, ...]:
    """Return the places of the columns that a ColumnTransformer does not drop."""
    transformers = [entry for entry in entries(estimator) if is_column_transformer(entry)]
    parts = [part for transformer in transformers for part in column_parts(transformer)]
    return tuple(sorted({place for _, part, places in parts if part != "drop" for place in places}))


def _asked_width(asked: tuple[InputShape, ...], reference: str) -> int:
    if not asked:
        raise SourceError(
            f"{reference} does not say how many columns it takes", "Give an example: --input-shape input=1x4:float32"
        )
    return (asked[0].shape or (1,))[-1] if len(asked) == 1 else len(asked)


def _served_names(names: Sequence[str]) -> list[str]:
    """Return names that every client can write: letters, digits and underscores, each once."""
    served: list[str] = []
    for name in names:
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name) or "column"
        plain = f"_{plain}" if plain[0].isdigit() else plain
        while plain in served:
            plain += "_"
        served.append(plain)
    return served


def _matrix(columns: tuple[Column, ...], asked: tuple[InputShape, ...]) -> TensorSpec:
    width = len(columns)
    shape, dtype = (asked[0].shape, asked[0].dtype) if asked else ((1, width), "")
    if len(asked) > 1 or shape[-1:] != (width,) or len(shape) > 2:
        raise OptionError(
            f"input shape {'x'.join(map(str, shape))} does not fit a model of {width} columns",
            f"Give 1x{width}, or a type for a column: {columns[0].name}=1x1:float64",
        )
    return TensorSpec(MATRIX, dtype or columns[0].dtype, (BATCH, width), _domain(columns))


def _input(column: Column, asked: InputShape | None) -> TensorSpec:
    if asked and asked.shape not in ((1,), (1, 1)):
        raise OptionError(
            f"input shape {'x'.join(map(str, asked.shape))} does not fit the column {column.name}", "Give 1x1"
        )
    return TensorSpec(column.name, (asked and asked.dtype) or column.dtype, (BATCH, 1), _domain((column,)))


def _domain(columns: tuple[Column, ...]) -> Domain:
    """Return the domain of columns that differ only in their ranges."""
    domain, ranges = columns[0].domain, [column.range for column in columns]
    if all(each is UNKNOWN for each in ranges) or domain.choices:
        return domain
    return replace(domain, center=tuple(each.center for each in ranges), spread=tuple(each.spread for each in ranges))


def _takes_texts(estimator: Any) -> bool:
    return any(is_vectorizer(entry) for entry in entries(estimator))


def _names_columns(estimator: Any) -> bool:
    return hasattr(estimator, "feature_names_in_") and any(map(is_column_transformer, entries(estimator)))


def _kinds(estimator: Any) -> list[tuple[str, Domain]]:
    """Return the type and the values of each column; nothing if an estimator does not say how many it takes."""
    if is_vectorizer(estimator):
        return [("object", Domain(known=False, choices=_texts(getattr(estimator, "vocabulary_", {}))))]
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        return next(filter(None, map(_kinds, parts_of(estimator))), [])
    if is_column_transformer(estimator):
        return _kinds_of_parts(estimator, width)
    categories = getattr(estimator, "categories_", None)
    if isinstance(categories, list) and len(categories) == width:
        return [_of_categories(each) for each in categories]
    if hasattr(estimator, "n_categories_"):  # CategoricalNB: each column holds indices of categories
        return [
            ("float32", Domain(known=False, choices=tuple(map(float, range(min(estimator.n_categories_))))))
        ] * width
    if hasattr(estimator, "feature_log_prob_") and not hasattr(estimator, "binarize"):  # counts, in naive Bayes
        return [("float32", Domain(0, None, known=False))] * width
    process: Any = getattr(estimator, "base_estimator_", None)
    if hasattr(process, "X_train_"):
        # Far from its samples a Gaussian process classifier is undecided, and rounding decides.
        return [("float32", Domain(float(process.X_train_.min()), float(process.X_train_.max()), known=False))] * width
    found = [_kinds_behind(estimator), *map(_kinds, parts_of(estimator))]
    return next((each for each in found if len(each) == width), [NUMBER] * width)


def _kinds_behind(estimator: Any) -> list[tuple[str, Domain]]:
    """Return the columns of the step after an imputer, which keeps their places."""
    steps = steps_of(estimator)
    if len(steps) > 1 and hasattr(steps[0], "statistics_"):
        behind = _kinds(steps[1])
        if behind:
            return behind
    statistics: Any = getattr(estimator, "statistics_", None)
    if getattr(getattr(statistics, "dtype", None), "kind", "") == "O":
        return [("object", Domain(known=False))] * len(statistics)
    return []


def _kinds_of_parts(transformer: Any, width: int) -> list[tuple[str, Domain]]:
    kinds = [NUMBER] * width
    for _, part, places in column_parts(transformer):
        for place, kind in zip(places, [] if isinstance(part, str) else _kinds(part), strict=False):
            if kind != NUMBER:
                kinds[place] = kind
    return kinds


def _of_categories(categories: Any) -> tuple[str, Domain]:
    values = [value for value in categories.tolist() if value is not None and value == value]
    if all(isinstance(value, str) for value in values):
        return "object", Domain(known=False, choices=tuple(values[:CHOICES]))
    whole = all(isinstance(value, int) for value in values)
    return "int64" if whole else "float32", Domain(known=False, choices=tuple(values[:CHOICES]))


def _texts(vocabulary: Iterable[str]) -> tuple[str, ...]:
    """Return texts of a few words each, spread over a vocabulary, joined by characters and words outside of it."""
    words = sorted(vocabulary)
    step = max(1, len(words) // CHOICES)
    parts = [words[at : at + WORDS] for at in range(0, len(words), step)]
    return tuple(BETWEEN[number % len(BETWEEN)].join(each) for number, each in enumerate(parts))[:CHOICES]
