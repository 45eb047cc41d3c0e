"""The table that a fitted estimator takes: its columns, with the type and the values that its first steps show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.sources.sklearn.boosters import frame_categories
from modelrepo.generator.sources.sklearn.estimators import (
    column_parts,
    entries,
    is_column_transformer,
    is_vectorizer,
    parts_of,
    steps_of,
)
from modelrepo.generator.sources.sklearn.fitted_edges import edges_of, takes_missing
from modelrepo.generator.sources.sklearn.fitted_ranges import UNKNOWN, Range, ranges_of
from modelrepo.generator.specs.tensors import Domain, InputShape, TensorSpec
from modelrepo.generator.system.extras import SKLEARN, need

BATCH, MATRIX = "batch", "input"
NUMBER = ("float32", Domain(known=False))
# The words of a text, and the most texts or categories that are kept as examples of an input.
WORDS, CHOICES = 3, 64
BETWEEN = (" ", ", ", " a ", ". Unheard-of ", "! Ünïcode: ")
# Texts that hardly any vocabulary has, words of a vocabulary that are asked alone, and characters of a long text.
ODD = (
    *(
        "",
        " ",
        "\t\n ",
        "a",
        "I",
        "é",
        "I've don't l'été",
        " a I x ",
        "naïve café Straße",
        "İstanbul ΣΊΣΥΦΟΣ",
        "日本語 テキスト",
    ),
    *(
        "٣٤ 34 ½ x²",
        "😀 good😀",
        "e\u0301te\u0301",
        "#tag @user ## !?",
        "_a_ __ a_b 1_000",
        "A.B.C. 3,14 1e-5",
        "x" * 300,
    ),
)
ALONE, LONG = 16, 5000
# Functions of a FunctionTransformer that take no numbers below zero, and the least number that they are asked.
ROOTS, LEAST = ("log", "log1p", "sqrt"), 1e-3
# Categories that are hardly fitted.
UNHEARD = ("", " ", "Unheard-of", "Ünïcode 日本 🙂", "nan", "None", "0")


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
    edges: tuple[float, ...] = ()
    missing: bool = False
    # The categories of a data frame's column, which the estimator gets by their places.
    categories: Sequence[Any] = ()


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

    def rows(self, arrays: Mapping[str, Any], *, exact: bool = True) -> Any:
        """Return the estimator's argument for named arrays: a data frame if it was fitted on one.

        Numbers are float64 if ``exact``, as users have them: with float32 scikit-learn itself rounds on the way to its
        limits.
        """
        floats = [name for name, array in arrays.items() if exact and array.dtype.kind == "f"]
        arrays = {**arrays, **{name: arrays[name].astype("float64") for name in floats}}
        if not self.split:
            matrix = arrays[self.inputs[0].name]
            return matrix[:, 0] if self.flat else matrix
        parts = [
            self._column(place, arrays[spec.name][:, 0]) for place, spec in zip(self.used, self.inputs, strict=True)
        ]
        names = [self.columns[place].own_name for place in self.used]
        if all(names):
            pandas = need("pandas", SKLEARN)
            return pandas.DataFrame(dict(zip(names, parts, strict=True)))
        import numpy as np

        if all(part.dtype == parts[0].dtype for part in parts):
            return np.column_stack(parts)
        return np.column_stack([part.astype(object) for part in parts])

    def _column(self, place: int, values: Any) -> Any:
        """Return the values of a column as the estimator takes them: one of categories as such."""
        categories = self.columns[place].categories
        return need("pandas", SKLEARN).Categorical(values, categories=categories) if categories else values


def table_of(estimator: Any, asked: tuple[InputShape, ...], reference: str, shown: Sequence[InputShape] = ()) -> Table:
    """Return the columns of an estimator, and the inputs that it is served with.

    One matrix if all columns have the same type and values; an input for each if they differ, or if a ColumnTransformer
    or ``asked`` names them. If neither says how many there are, the samples that are ``shown`` do. Raises SourceError
    if the number of columns is unknown, and OptionError for ``asked`` inputs that do not fit.
    """
    kinds, flat, named = _kinds(estimator), _takes_texts(estimator), _names_columns(estimator)
    if not kinds:
        kinds = [NUMBER] * _asked_width(asked or shown, reference)
    frame = frame_categories(estimator)
    own = _own_names(estimator, bool(frame))
    names = [str(name) for name in own] if own is not None else [f"x{number}" for number in range(len(kinds))]
    own_names = names if own is not None else [None] * len(kinds)
    width = len(kinds)
    ranges, edges, missing = ranges_of(estimator, width), edges_of(estimator, width), takes_missing(estimator, width)
    columns = tuple(
        Column(name, own_names[place], *kinds[place], ranges[place], edges[place], missing[place], frame.get(place, ()))
        for place, name in enumerate(_served_names(names))
    )
    by_column = {each.name: each for each in asked} if asked and asked[0].name not in ("", MATRIX) else {}
    split = bool(by_column or frame) or named or len(set(kinds)) > 1
    if not split:
        matrix = _matrix(columns, asked)
        return Table(columns, (matrix,), split, tuple(range(len(columns))), flat)
    used = _used(estimator) if named else tuple(range(len(columns)))
    inputs = tuple(_input(columns[place], by_column.get(columns[place].name)) for place in used)
    unknown = [each.name for each in asked if each.name not in {spec.name for spec in inputs}]
    if unknown:
        raise OptionError(
            f"--input-shape names the input {unknown[0]!r}",
            f"The model's columns are {', '.join(spec.name for spec in inputs)}",
        )
    return Table(columns, inputs, split, used)


def widened(table: Table) -> Table:
    """Return a table whose inputs hold all digits of users' numbers, except where only some numbers are known."""
    narrow = ("float16", "float32")
    inputs = (
        replace(spec, dtype="float64") if spec.dtype in narrow and not spec.domain.choices else spec
        for spec in table.inputs
    )
    return replace(table, inputs=tuple(inputs))


def _own_names(estimator: Any, frame: bool) -> Any:
    """Return the names of the columns in the data that an estimator was fitted on; None if they had none."""
    own = getattr(estimator, "feature_names_in_", None)
    if own is None and frame:  # a booster's own file keeps the names
        own = estimator.booster_.feature_name() if hasattr(estimator, "booster_") else None
        own = estimator.get_booster().feature_names if own is None else own
    return own


def _used(estimator: Any) -> tuple[int, ...]:
    """Return the places of the columns that a ColumnTransformer does not drop."""
    transformers = [entry for entry in entries(estimator) if is_column_transformer(entry)]
    parts = [part for transformer in transformers for part in column_parts(transformer)]
    return tuple(sorted({place for _, part, places in parts if part != "drop" for place in places}))


def _asked_width(asked: Sequence[InputShape], reference: str) -> int:
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
    return TensorSpec(MATRIX, dtype or _dtype(columns), (BATCH, width), _domain(columns))


def _input(column: Column, asked: InputShape | None) -> TensorSpec:
    if asked and asked.shape not in ((1,), (1, 1)):
        raise OptionError(
            f"input shape {'x'.join(map(str, asked.shape))} does not fit the column {column.name}", "Give 1x1"
        )
    return TensorSpec(column.name, (asked and asked.dtype) or _dtype((column,)), (BATCH, 1), _domain((column,)))


def _dtype(columns: tuple[Column, ...]) -> str:
    """Return the type of columns: float64 where float32 rounds away what tells their numbers apart."""
    kind = columns[0].dtype
    return "float64" if kind == "float32" and any(each.range.is_far for each in columns) else kind


def _domain(columns: tuple[Column, ...]) -> Domain:
    """Return the domain of columns that differ only in their ranges and edges."""
    domain, ranges = columns[0].domain, [column.range for column in columns]
    if columns[0].dtype.startswith("float"):
        edges = tuple(column.edges for column in columns)
        missing = all(column.missing for column in columns)
        domain = replace(domain, missing=missing, edges=edges if any(edges) else ())
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
        vocabulary = sorted(getattr(estimator, "vocabulary_", {}))
        return [("object", Domain(known=False, choices=_texts(vocabulary), others=_odd_texts(vocabulary)))]
    width = getattr(estimator, "n_features_in_", None)
    frame = frame_categories(estimator)
    if frame:
        return [_of_values(frame[place]) if place in frame else NUMBER for place in range(width or 0)]
    if width is None:
        return next(filter(None, map(_kinds, parts_of(estimator))), [])
    if is_column_transformer(estimator):
        return _kinds_of_parts(estimator, width)
    categories = getattr(estimator, "categories_", None)
    if isinstance(categories, list) and len(categories) == width:
        return [_of_categories(estimator, place) for place in range(width)]
    if hasattr(estimator, "n_categories_"):  # CategoricalNB: each column holds indices of categories
        return [
            ("float32", Domain(known=False, choices=tuple(map(float, range(min(estimator.n_categories_))))))
        ] * width
    if hasattr(estimator, "feature_log_prob_") and not hasattr(estimator, "binarize"):  # counts, in naive Bayes
        return [("float32", Domain(0, None, known=False))] * width
    if (
        getattr(estimator, "method", "") == "box-cox"
        or getattr(getattr(estimator, "func", None), "__name__", "") in ROOTS
        or hasattr(estimator, "skewedness")
        or _takes_positive_only(estimator)
    ):
        return [("float32", Domain(LEAST, None, known=False))] * width
    process: Any = getattr(estimator, "base_estimator_", None)
    if hasattr(process, "X_train_"):
        # Far from its samples a Gaussian process classifier is undecided, and rounding decides.
        return [("float32", Domain(float(process.X_train_.min()), float(process.X_train_.max()), known=False))] * width
    found = [_kinds_behind(estimator), *map(_kinds, parts_of(estimator))]
    return next((each for each in found if len(each) == width), [NUMBER] * width)


def _takes_positive_only(estimator: Any) -> bool:
    from sklearn.utils import get_tags

    return hasattr(estimator, "__sklearn_tags__") and bool(get_tags(estimator).input_tags.positive_only)


def _kinds_behind(estimator: Any) -> list[tuple[str, Domain]]:
    """Return the columns of the step after an imputer, which keeps their places."""
    steps = steps_of(estimator)
    if len(steps) > 1 and hasattr(steps[0], "statistics_"):
        behind = _kinds(steps[1])
        if behind:
            return behind
    statistics: Any = getattr(estimator, "statistics_", None)
    if getattr(getattr(statistics, "dtype", None), "kind", "") == "O" and any(
        isinstance(each, str) for each in statistics
    ):
        return [("object", Domain(known=False))] * len(statistics)
    return []


def _kinds_of_parts(transformer: Any, width: int) -> list[tuple[str, Domain]]:
    kinds = [NUMBER] * width
    for _, part, places in column_parts(transformer):
        for place, kind in zip(places, [] if isinstance(part, str) else _kinds(part), strict=False):
            if kind != NUMBER:
                kinds[place] = kind
    return kinds


def _of_categories(encoder: Any, place: int) -> tuple[str, Domain]:
    """Return the type and the values of a column of an encoder; all infrequent categories are among them."""
    infrequent = getattr(encoder, "infrequent_categories_", None)
    rare = [] if infrequent is None or infrequent[place] is None else infrequent[place].tolist()
    return _of_values(encoder.categories_[place].tolist(), rare)


def _of_values(categories: Sequence[Any], rare: Sequence[Any] = ()) -> tuple[str, Domain]:
    """Return the type and the values of a column with these categories."""
    known = [value for value in categories if value is not None and value == value]
    step = -(-len(known) // CHOICES) or 1
    choices = tuple(dict.fromkeys([*known[::step], *(value for value in rare if value in known)]))
    if all(isinstance(value, str) for value in known):
        return "object", Domain(known=False, choices=choices, others=_other_texts(known))
    others = _other_numbers(known)
    if all(isinstance(value, int) for value in known):
        return "int64", Domain(known=False, choices=choices, others=others)
    return _float_of(known), Domain(known=False, choices=choices, others=others)


def _float_of(numbers: Sequence[float]) -> str:
    """Return the narrowest type that holds these numbers exactly."""
    import numpy as np

    exact = np.array(numbers, np.float64)
    return "float32" if (exact.astype(np.float32) == exact).all() else "float64"


def _other_texts(known: Sequence[str]) -> tuple[str, ...]:
    """Return texts that are not among the known ones, and some that differ from one only in case or by a blank."""
    near = [change(each) for each in known[:2] for change in (str.upper, str.lower, lambda text: f"{text} ")]
    return tuple(dict.fromkeys(each for each in (*UNHEARD, *near) if each not in known))


def _other_numbers(known: Sequence[float]) -> tuple[float, ...]:
    """Return numbers below, between and above the known ones."""
    low, high = min(known, default=0), max(known, default=0)
    near = (low - 1, high + 1, -1, 0, int((low + high) // 2), high * 100 + 7)
    return tuple(dict.fromkeys(each for each in near if each not in known))


def _odd_texts(words: Sequence[str]) -> tuple[str, ...]:
    """Return texts that a tokenizer may split in another way: of other scripts, in another case, blank, very long."""
    step = -(-len(words) // ALONE) or 1
    alone = words[::step]
    accented = [each for each in words if not each.isascii()][:ALONE]
    cases = [change(each) for each in (*alone, *accented) for change in (str.upper, str.title)]
    joined = [between.join(alone[:WORDS]) for between in ("'", "-", "_", "\u00a0", "\n", "  ", "\u0301 ", "a")]
    long = " ".join(alone[: WORDS * 2]) + " unheard-of "
    return tuple(dict.fromkeys([*ODD, *alone, *accented, *cases, *joined, long * (LONG // len(long) + 1)]))


def _texts(words: Sequence[str]) -> tuple[str, ...]:
    """Return texts of a few words each, spread over a vocabulary, joined by characters and words outside of it."""
    step = max(1, len(words) // CHOICES)
    parts = [words[at : at + WORDS] for at in range(0, len(words), step)]
    return tuple(BETWEEN[number % len(BETWEEN)].join(each) for number, each in enumerate(parts))[:CHOICES]
