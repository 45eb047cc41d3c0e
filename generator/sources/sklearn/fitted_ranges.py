"""The range of the numbers in each column that an estimator was fitted on, as far as its fitted parts show it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.sources.sklearn.boosters import is_booster, limits_of
from modelrepo.generator.sources.sklearn.estimators import column_parts, is_column_transformer, parts_of, steps_of

# float32 has 24 bits: beyond, it rounds a number by more than 1e-4 of the spread, as for seconds since 1970 in a day.
FAR = 2000


@dataclass(frozen=True)
class Range:
    """Numbers around ``center`` with the standard deviation ``spread``."""

    center: float
    spread: float

    @property
    def is_far(self) -> bool:
        """Whether numbers lie so far from 0, next to their differences, that float32 does not tell them apart."""
        return abs(self.center) > FAR * self.spread


UNKNOWN = Range(0.0, 1.0)
# Numbers of a column in a fitted part: those of samples, or limits that it compares them with.
Values = Any
Columns = list[Values]


def ranges_of(estimator: Any, width: int) -> list[Range]:
    """Return the range of each column, UNKNOWN for one that no fitted part shows.

    Far from the data that it was fitted on, a tree always returns the same leaf, which proves nothing.
    """
    return [_range(column) for column in _columns(estimator, width)]


def _columns(estimator: Any, width: int, behind: Any = None) -> Columns:
    """Return the numbers of each column in an estimator, or in the first of its parts that has some; maybe none.

    ``behind`` is the step of a pipeline that gets the output of the estimator.
    """
    if is_column_transformer(estimator):
        return _of_column_transformer(estimator, width, behind)
    for read in READERS:
        columns = read(estimator)
        if columns is not None and len(columns) == width:
            return columns
    for part, following in _parts(estimator):
        columns = _columns(part, width, following)
        if any(map(len, columns)):
            return columns
    return [()] * width


def _parts(estimator: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the estimators that see the columns unchanged, each with the next step; an imputer changes none."""
    steps = steps_of(estimator)
    for step, following in zip(steps, [*steps[1:], None], strict=False):
        yield step, following
        if not hasattr(step, "statistics_"):
            return
    yield from ((part, None) for part in (() if steps else parts_of(estimator)))


def _of_column_transformer(transformer: Any, width: int, behind: Any) -> Columns:
    columns: Columns = [()] * width
    made = max((places.stop for places in transformer.output_indices_.values()), default=0)
    for name, part, places in column_parts(transformer):
        own = transformer.output_indices_[name]
        if part == "drop" or not places:
            continue
        if part == "passthrough" or (getattr(part, "func", 0) is None and own.stop - own.start == len(places)):
            found = _columns(behind, made)[own] if behind is not None else [()] * len(places)
        else:
            found = _columns(part, len(places))
        for place, column in zip(places, found, strict=True):
            columns[place] = column
    return columns


def _range(column: Values) -> Range:
    import numpy as np

    if not len(column):
        return UNKNOWN
    numbers = np.asarray(column, np.float64)
    numbers = numbers[np.isfinite(numbers) & (np.abs(numbers) < np.finfo(np.float32).max / 100)]
    if not numbers.size:
        return UNKNOWN
    center, spread = float(numbers.mean()), float(numbers.std())
    return Range(center, spread or abs(center) / 2 or 1.0)


def _scaled(estimator: Any) -> Columns | None:
    """Return the columns of scalers, from a center and a scale."""
    center = next((each for each in _having(estimator, "mean_", "center_") if each is not None), None)
    scale = _deviations(estimator) if hasattr(estimator, "components_") else getattr(estimator, "scale_", None)
    if scale is None or not hasattr(scale, "__len__") or hasattr(estimator, "data_min_"):
        return None
    centers = center if center is not None else [0.0] * len(scale)
    return [(at - by, at + by) for at, by in zip(centers, scale, strict=True)]


def _deviations(estimator: Any) -> Any:
    """Return the standard deviations of the columns of a decomposition, such as PCA; None if it does not keep them."""
    import numpy as np

    return np.sqrt(np.diag(estimator.get_covariance())) if hasattr(estimator, "get_covariance") else None


def _limited(estimator: Any) -> Columns | None:
    """Return the columns of estimators that keep the smallest and the largest number of each, or bins."""
    if hasattr(estimator, "data_min_"):
        return list(zip(estimator.data_min_, estimator.data_max_, strict=True))
    if hasattr(estimator, "bin_edges_"):
        return list(estimator.bin_edges_)
    bins = getattr(estimator, "_bin_mapper", None)
    if bins is not None and getattr(estimator, "_preprocessor", None) is None:
        return list(bins.bin_thresholds_)
    return None


def _sampled(estimator: Any) -> Columns | None:
    """Return the columns of estimators that keep samples, or points among them, as a matrix."""
    names = ("_fit_X", "X_train_", "support_vectors_", "quantiles_", "theta_", "cluster_centers_", "means_")
    matrix = next((each for each in _having(estimator, *names) if getattr(each, "ndim", 0) == 2), None)
    return None if matrix is None or hasattr(matrix, "tocsr") else list(matrix.T)


def _split(estimator: Any) -> Columns | None:
    """Return the columns of trees: the limits that they compare each with."""
    import numpy as np

    trees = [estimator.tree_] if hasattr(estimator, "tree_") else []
    if not trees and hasattr(estimator, "estimators_"):
        inner = list(np.ravel(np.asarray(estimator.estimators_, object)))
        trees = [each.tree_ for each in inner if hasattr(each, "tree_")]
        places = getattr(estimator, "estimators_features_", None)
        if places is not None and any(len(each) != estimator.n_features_in_ for each in places):
            return None
    if not trees:
        return None
    features = np.concatenate([tree.feature for tree in trees])
    limits = np.concatenate([tree.threshold for tree in trees])
    return [limits[features == place] for place in range(trees[0].n_features)]


def _boosted(estimator: Any) -> Columns | None:
    """Return the columns of the trees of XGBoost and LightGBM: the limits that they compare each with."""
    return limits_of(estimator, estimator.n_features_in_) if is_booster(estimator) else None


def _having(estimator: Any, *names: str) -> Iterator[Any]:
    for name in names:
        if hasattr(estimator, name):
            yield getattr(estimator, name)


READERS: tuple[Callable[[Any], Columns | None], ...] = (_scaled, _limited, _sampled, _split, _boosted)
