"""The search for inputs that show what has not been seen yet.

First come values that conversions are known to get wrong: those of ``values``, alone, mixed and everywhere; every
category; missing values; the numbers that a column is compared with, and their neighbours; rows that reach each leaf of
each tree. Then rows that were answered are changed at random, as a fuzzer does that knows what its inputs reach
(libFuzzer's idea; Odena et al., TensorFuzz, 2018, for networks): a change that shows a behaviour for the first time is
kept, and changed again. The search ends when every behaviour was seen, or its budget is spent. It is the same each time
for the same seed, unless its budget is a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.coverage import trees
from modelrepo.generator.coverage.code import OwnCode
from modelrepo.generator.coverage.effort import MOST, Budget, budget_of, work_of
from modelrepo.generator.coverage.flows import Flow, flows
from modelrepo.generator.coverage.observer import Observer
from modelrepo.generator.coverage.values import as_dtype, neighbours, values_of
from modelrepo.generator.graphs import outline
from modelrepo.generator.graphs.runtime import LARGE_BYTES
from modelrepo.generator.specs import dimensions
from modelrepo.generator.specs.findings import Coverage
from modelrepo.generator.specs.options import Effort
from modelrepo.generator.specs.tensors import Array, Signature, TensorSpec
from modelrepo.generator.verification.inputs import Pool, example_sizes, make_pool, without_denormals
from modelrepo.generator.verification.probing import Kind, Probe

# Rows of one probe, and the elements of an input that one probe may hold.
CHUNK, ELEMENTS = 128, 1 << 22
# Multiplications of one probe: a costly model gains nothing from larger batches, and its layers would fill the memory.
TOGETHER = 8e9
# Shares of the budget: values, edges and leaves, and other sizes. Random changes get what these leave, and values the
# rest.
VALUES, LARGE, EDGES, SIZES = 0.4, 0.05, 0.35, 0.05
# A whole number may be a length or a count, for which a source takes memory before it refuses it: larger ones than the
# first are asked if one of at least the second was answered.
LARGEST, ENOUGH = 1000, 100
# Larger ones are not mixed: ONNX Runtime sums whole numbers beyond 2^53, such as products of two, as float64.
MIXED = 1 << 24
# The rows that shares are of, if the budget is a time.
LONGEST = MOST["thorough"]
# Sizes of open dimensions that are tried besides the usual small ones: odd, round, and longer than most windows.
LONGER = (5, 8, 17, 40, 130, 300)
# Rows of random values that come before all others: a costly model gets few more.
AT_FIRST = 4
# Elements of a small input that are tried one by one.
FEW = 16
NAMED = 100
Row = dict[str, Array]


@dataclass(frozen=True)
class Made:
    """A row, and how it came about."""

    family: str
    row: Row
    kind: Kind = Kind.RANDOM
    tried: tuple[str, Any] | None = None  # the input and the only value in which it differs from an answered row


class Search:
    """Makes probes for one exported model; implements ``Probing``.

    A ``flushing`` source takes denormal numbers for zero, and is not asked for them. Nodes whose names begin with
    one of ``beside`` are not the model's.
    """

    def __init__(
        self,
        path: Path,
        signature: Signature,
        effort: Effort,
        seed: int,
        *,
        code: OwnCode | None = None,
        cautious: bool = False,
        flushing: bool = False,
        beside: tuple[str, ...] = (),
    ) -> None:
        self.flushing = flushing
        model = outline.read(path)
        self.signature, self.effort, self.code = signature, effort, code
        self.inputs = tuple(spec for spec in signature.inputs if not spec.optional)
        self.flows = flows(model, path.parent)
        self.batched = signature.batch_dim is not None
        self.values = {
            spec.name: values_of(spec, self.flows.get(spec.name, Flow()), cautious=cautious) for spec in self.inputs
        }
        self.withheld = {spec.name: self._withhold(spec) for spec in self.inputs}
        self.accepted: dict[str, float] = {}  # the largest magnitude of an input that was answered
        self.observer = Observer(path, any(spec.domain.missing for spec in self.inputs), beside)
        self.work = work_of(model, self._sizes())
        self.random = np.random.default_rng([seed, 15])
        self.corpus: list[Row] = []
        self.made = self.refused = 0
        self.asked: list[Made] = []
        # The rows of a large model are observed in the end, when no other session holds its weights.
        self.later: list[Pool] | None = [] if _bytes_of(path) >= LARGE_BYTES else None

    # What verification calls.

    def probes(self, batch: int) -> Iterator[Probe]:
        """Yield probes; batches are larger than Triton's, since only their rows matter."""
        if not self.corpus:
            return
        batched = self.batched and batch > 1
        budget = self._budget(batched)
        size = self._chunk() if batched else 1
        rows, able = min(budget.rows, LONGEST), any(self.values.values())
        values = self._of_values()
        yield from self._within(budget, int(rows * VALUES), size, values)
        yield from self._within(budget, int(rows * LARGE), size, self._of_large())
        yield from self._within(budget, int(rows * EDGES), size, self._of_edges(), self._of_leaves())
        yield from self._within(budget, max(1, int(rows * SIZES)), size, self._of_sizes())
        if able and self.later is None:
            yield from self._within(budget, budget.rows, size, self._of_leaves(), self._changed())
        yield from self._within(budget, budget.rows, size, values)

    def took(self, pool: Pool) -> None:
        """Observe rows that were compared, and keep those of the usual sizes, or with something new, for changes."""
        required = {spec.name for spec in self.inputs}
        if not required <= pool.arrays.keys():
            return
        rows = [pool.whole(row) for row in range(len(pool.families))]
        self.observer.takes_missing |= any(
            array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in pool.arrays.values()
        )
        if self.later is not None:
            self.later.append(pool)
        news = self.later is None and self._observe(pool)
        news |= self.code is not None and self.code.news()
        usual = not self.corpus or all(rows[0][name].shape == self.corpus[0][name].shape for name in required)
        if usual and (news or not self.corpus):
            self.corpus += [{name: row[name] for name in required} for row in rows]

    def answered(self, probe: Probe, rows: Sequence[int]) -> None:
        """Observe the rows of the last probe that were answered, and never try the values of the others again."""
        kept = set(rows)
        for place, made in enumerate(self.asked):
            if not made.tried:
                continue
            name, value = made.tried
            if place in kept:
                if not isinstance(value, str):
                    self.accepted[name] = max(self.accepted.get(name, 0.0), abs(value))
            else:
                left = [each for each in self.values[name] if each is not value]
                self.values[name] = left or self.values[name]
        self.made += len(rows)
        self.refused += len(self.asked) - len(rows)
        if rows:
            self.took(probe.pool.only(rows))

    def coverage(self) -> Coverage:
        """Return what all rows together showed; to be called when the model is no longer open elsewhere."""
        for pool in self.later or ():
            self._observe(pool)
        self.later = None
        own = self.code.counted() if self.code else (0, 0, ())
        graph = self.observer.counted()
        missing = (*own[2], *graph[2])[:NAMED]
        reasons = tuple(self.observer.reasons)
        return Coverage(own[0] + graph[0], own[1] + graph[1], missing, self.made, self.refused, reasons)

    @property
    def complete(self) -> bool:
        """Whether everything was seen."""
        count, seen, _ = self.code.counted() if self.code else (0, 0, ())
        return seen == count and self.observer.complete

    # From rows to probes.

    def _within(self, budget: Budget, share: int, size: int, *kinds: Iterator[Made]) -> Iterator[Probe]:
        """Yield the rows of several iterators in turn as probes, until they end or the share is used."""
        waiting: dict[tuple[Any, ...], list[Made]] = {}
        for made in _in_turn(kinds):
            if share <= 0 or not budget.take():
                break
            share -= 1
            group = waiting.setdefault((made.kind, *(array.shape for array in made.row.values())), [])
            group.append(made)
            if len(group) >= size:
                yield self._probe(group)
                group.clear()
        yield from (self._probe(group) for group in waiting.values() if group)

    def _probe(self, made: list[Made]) -> Probe:
        self.asked = list(made)
        arrays = {name: np.stack([each.row[name] for each in made]) for name in made[0].row}
        if self.flushing:
            arrays = {name: without_denormals(array) for name, array in arrays.items()}
        return Probe(Pool(arrays, tuple(each.family for each in made)), made[0].kind)

    def _chunk(self) -> int:
        elements = sum(array.size for array in self.corpus[0].values())
        return int(np.clip(min(ELEMENTS // max(1, elements), TOGETHER / self.work), 1, CHUNK))

    def _budget(self, batched: bool) -> Budget:
        return budget_of(self.effort, self.work, batched)

    def _sizes(self) -> dict[str, int]:
        return {**example_sizes(self.inputs), **({str(self.signature.batch_dim): 1} if self.batched else {})}

    def _observe(self, pool: Pool) -> bool:
        """Observe rows until everything was seen; return whether something is new. A costly model's are run alone."""
        affordable = self._budget(self.batched).rows
        news, step = False, CHUNK if self.batched and affordable > CHUNK else 1
        for start in range(0, min(len(pool.families), affordable), step):
            if self.observer.tallies and self.observer.complete:
                break
            rows = range(start, min(start + step, len(pool.families)))
            news |= self.observer.observe(pool.rows(rows) if self.batched else pool.whole(start))
        return news

    # Rows.

    def _base(self) -> Row:
        """Return a copy of a row that was answered."""
        row = self.corpus[int(self.random.integers(len(self.corpus)))]
        return {name: array.copy() for name, array in row.items()}

    def _of_values(self) -> Iterator[Made]:
        """Yield rows with each value: mixed with others, everywhere in an input, and in one element."""
        able = [spec for spec in self.inputs if self.values[spec.name]]
        at_random = _in_turn((self._mixed(), self._magnitudes())) if able else iter(())
        yield from _in_turn(tuple(self._masks(spec) for spec in self.inputs if spec.domain.mask))
        yield from islice(at_random, AT_FIRST)
        yield from _in_turn(tuple(map(self._filled, able)))
        yield from _in_turn((at_random, *map(self._single, able)))

    def _withhold(self, spec: TensorSpec) -> list[Any]:
        """Take the large values of an input of whole numbers of unknown domain out of those that are tried first."""
        if spec.domain.known or np.dtype(spec.dtype).kind not in "iu":
            return []
        values = self.values[spec.name]
        self.values[spec.name] = [value for value in values if abs(value) <= LARGEST]
        return [value for value in values if abs(value) > LARGEST]

    def _of_large(self) -> Iterator[Made]:
        """Yield rows with the large values that were withheld, of inputs that take numbers of some size."""
        taken = [spec for spec in self.inputs if self.accepted.get(spec.name, 0) >= ENOUGH and self.withheld[spec.name]]
        for spec in taken:
            self.values[spec.name] += [value for value in self.withheld[spec.name] if abs(value) <= MIXED]
        yield from _in_turn(tuple(self._filled(spec, self.withheld[spec.name]) for spec in taken))
        if taken:
            yield from self._mixed()

    def _filled(self, spec: TensorSpec, values: Sequence[Any] | None = None) -> Iterator[Made]:
        """Yield rows with each value everywhere in an input; a sound is never constant."""
        if spec.domain.wave:
            return
        for value in list(self.values[spec.name] if values is None else values):
            row = self._base()
            row[spec.name] = np.full(row[spec.name].shape, value, row[spec.name].dtype)
            yield Made(f"{spec.name} all {_shown(value)}", row, Kind.SPECIAL, (spec.name, value))

    def _single(self, spec: TensorSpec) -> Iterator[Made]:
        """Yield rows with one element changed: each element of a small input, otherwise one at random."""
        size = self.corpus[0][spec.name].size
        if size < 2:
            return
        for value in list(self.values[spec.name]):
            for place in range(size) if size <= FEW else self.random.integers(size, size=1):
                row = self._base()
                row[spec.name].ravel()[place] = value
                yield Made(f"{spec.name}[{place}] {_shown(value)}", row, Kind.SPECIAL, (spec.name, value))

    def _mixed(self) -> Iterator[Made]:
        """Yield rows whose elements are drawn from the values, and some with a few of them changed."""
        while True:
            row, share = self._base(), self.random.choice((0.1, 0.5, 1.0))
            for spec in self.inputs:
                values = self.values[spec.name]
                if values:
                    array = row[spec.name]
                    chosen = self.random.random(array.shape) < share
                    drawn = self.random.integers(len(values), size=int(chosen.sum()))
                    array[chosen] = _array(values, array.dtype)[drawn]
            yield Made("mixed values", row, Kind.SPECIAL)

    def _magnitudes(self) -> Iterator[Made]:
        """Yield rows of numbers of all magnitudes, from 1e-6 to 1e4, and their signs."""
        numbers = [spec for spec in self.inputs if np.dtype(spec.dtype).kind in "fiu" and self.values[spec.name]]
        while numbers:
            row = self._base()
            for spec in numbers:
                flow = self.flows.get(spec.name, Flow())
                if flow.size or flow.divides or spec.domain.choices:
                    continue
                shape, spread = row[spec.name].shape, spec.domain.spread
                most = 2 if spread else self.random.integers(1, 5)
                drawn = 10 ** self.random.uniform(-6 if spec.dtype[0] == "f" else 0, most, shape)
                drawn = drawn * self.random.choice((-1, 1), shape)
                drawn = np.asarray(spec.domain.center) + np.asarray(spread) * drawn if spread else drawn
                row[spec.name] = as_dtype(drawn, spec)
            yield Made("values of all magnitudes", row)

    def _masks(self, spec: TensorSpec) -> Iterator[Made]:
        """Yield rows whose masks are full, empty, ragged from the left, with holes, and all but empty."""
        shape = self.corpus[0][spec.name].shape
        length = shape[-1] if shape else 0
        if not length:
            return
        places = np.arange(length)
        shapes = {"full": places >= 0, "ragged from the left": places >= length // 2, "one": places == 0}
        shapes |= {"last": places == length - 1, "with holes": places % 2 == 0, "empty": places < 0}
        for name, mask in shapes.items():
            row = self._base()
            row[spec.name] = np.broadcast_to(mask, shape).astype(spec.dtype)
            yield Made(f"{spec.name} {name}", row)

    def _of_sizes(self) -> Iterator[Made]:
        """Yield rows of other sizes of each open dimension, and of all."""
        lead = 1 if self.batched else 0
        every = [dim for spec in self.inputs for dim in spec.shape if isinstance(dim, str)]
        named = [dim for dim in dimensions.own(every) if any(dim in spec.shape[lead:] for spec in self.inputs)]
        usual = self._sizes()
        for size in LONGER if named else ():
            for dims in dict.fromkeys((tuple(dict.fromkeys(named)), *((dim,) for dim in named))):
                sizes = dimensions.settled({**usual, **dict.fromkeys(dims, size)}, every)
                specs = [replace(spec, shape=("row", *spec.sized(sizes)[lead:])) for spec in self.inputs]
                pool = make_pool(specs, 1, int(self.random.integers(1 << 30)))
                yield Made(f"{' and '.join(dims)} {size}", {name: array[0] for name, array in pool.arrays.items()})

    def _of_edges(self) -> Iterator[Made]:
        """Yield rows with the numbers that an element is compared with, and their neighbours."""
        for spec in self.inputs:
            edges = spec.domain.edges
            compared = self.flows.get(spec.name, Flow()).compared
            if compared and not edges and np.dtype(spec.dtype).kind in "fiu" and self.values[spec.name]:
                edges = (tuple(compared),)
            places = [(place, edge) for place, each in enumerate(edges) for edge in each]
            for number in self.random.permutation(len(places)):
                place, edge = places[number]
                for value in neighbours(edge, spec.dtype):
                    row = self._base()
                    array = row[spec.name]
                    if not array.size:
                        return
                    at = place if len(edges) > 1 else int(self.random.integers(array.shape[-1] if array.ndim else 1))
                    array.reshape(-1, array.shape[-1] if array.ndim else 1)[..., at] = as_dtype(np.array(value), spec)
                    yield Made(f"{spec.name}[{at}] {_shown(value)}", row, Kind.EXACT)

    def _of_leaves(self) -> Iterator[Made]:
        """Yield rows that reach each leaf of each tree, where a tree's columns are those of an input."""
        for node, attributes in list(self.observer.nodes()):
            if not node.op_type.startswith("TreeEnsemble"):
                continue
            found = self._columns(node)
            forest, seen = trees.forest(attributes), self.observer.seen_of(node)
            nodes = [place for place in range(len(forest.modes)) if forest.parents[place] >= 0]
            missable = {int(place): len(forest.leaves) + number for number, place in enumerate(forest.splits)}
            for place in self.random.permutation(nodes) if found else ():
                made = [self._towards(forest, int(place), found)]
                number = missable.get(int(place)) if self.observer.takes_missing else None
                if number is not None and not seen[number]:
                    made.append(self._towards(forest, int(place), found, without=True))
                yield from (each for each in made if each)

    def _towards(
        self, forest: trees.Forest, target: int, columns: list[tuple[str, int]], *, without: bool = False
    ) -> Made | None:
        """Return a row that just reaches a node, and at a split is ``without`` the value that it compares."""
        row = self._base()
        table = np.array([row[name].ravel()[place] if name else 0 for name, place in columns], np.float32)
        changed = forest.towards(target, table)
        if changed is None:
            return None
        if without:
            changed[forest.features[target]] = np.nan
        if not (np.isfinite(changed) | (np.isnan(changed) & self.observer.takes_missing)).all():
            return None
        for (name, place), before, after in zip(columns, table, changed, strict=True):
            if before != after and name:
                row[name].ravel()[place] = after
        return Made("towards a leaf", row, Kind.SPECIAL)

    def _columns(self, node: Any) -> list[tuple[str, int]]:
        """Return the input and the place in it of each column of a tree's table; an empty name for computed ones.

        Columns that are equal in several rows are the same: no computation returns its input each time.
        """
        rows = self.corpus[:FEW]
        pool = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        if not self.batched:
            return []
        table = self.observer.operand(node, pool)
        if table is None or table.ndim != 2 or len(table) != len(rows):
            return []
        known = {
            np.ascontiguousarray(array.reshape(len(rows), -1)[:, place].astype(np.float32)).tobytes(): (name, place)
            for name, array in pool.items()
            if array.dtype.kind in "fiu"
            for place in range(min(array.reshape(len(rows), -1).shape[1], 1 << 14))
        }
        columns = [known.get(np.ascontiguousarray(each.astype(np.float32)).tobytes(), ("", 0)) for each in table.T]
        return columns if any(name for name, _ in columns) else []

    def _changed(self) -> Iterator[Made]:
        """Yield changed rows until every behaviour was seen."""
        changes: tuple[Callable[[Array, TensorSpec], Array], ...] = (
            self._scaled, self._negated, self._replaced, self._shifted, self._levelled
        )  # fmt: skip
        able = [spec for spec in self.inputs if self.values[spec.name]]
        while not self.complete and not self.observer.reasons:
            row = self._base()
            for _ in range(int(self.random.integers(1, 4))):
                spec = able[int(self.random.integers(len(able)))]
                change = changes[int(self.random.integers(len(changes)))]
                row[spec.name] = change(row[spec.name], spec)
            yield Made("changed at random", row)

    def _scaled(self, array: Array, spec: TensorSpec) -> Array:
        if not self._is_free(spec):
            return self._replaced(array, spec)
        return as_dtype(array * 10 ** self.random.uniform(-2, 3), spec)

    def _negated(self, array: Array, spec: TensorSpec) -> Array:
        return as_dtype(-array.astype(np.float64), spec) if self._is_free(spec) else self._replaced(array, spec)

    def _shifted(self, array: Array, spec: TensorSpec) -> Array:
        if not self._is_free(spec):
            return self._replaced(array, spec)
        return as_dtype(array + self.random.normal() * 10 ** self.random.uniform(-1, 3), spec)

    def _levelled(self, array: Array, spec: TensorSpec) -> Array:
        """Make all elements one of them: a tie everywhere."""
        if spec.domain.wave:
            return self._replaced(array, spec)
        flat = array.ravel()
        return np.full(array.shape, flat[int(self.random.integers(flat.size))], array.dtype) if flat.size else array

    def _replaced(self, array: Array, spec: TensorSpec) -> Array:
        values, changed = self.values[spec.name], array.copy()
        flat = changed.reshape(-1)
        if flat.size:
            flat[int(self.random.integers(flat.size))] = values[int(self.random.integers(len(values)))]
        return changed

    def _is_free(self, spec: TensorSpec) -> bool:
        """Whether an input takes any number: not a category, a size or a divisor."""
        flow = self.flows.get(spec.name, Flow())
        return np.dtype(spec.dtype).kind in "fiu" and not (flow.size or flow.divides or spec.domain.choices)


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())


def _in_turn(kinds: tuple[Iterator[Made], ...]) -> Iterator[Made]:
    """Yield one of each iterator in turn until all have ended."""
    waiting = list(kinds)
    while waiting:
        for kind in list(waiting):
            made = next(kind, None)
            if made is None:
                waiting.remove(kind)
            else:
                yield made


def _array(values: list[Any], dtype: Any) -> Array:
    array = np.empty(len(values), dtype)
    array[:] = values
    return array


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else f"{value:.9g}"
    return text if len(text) <= 40 else f"{text[:37]}..."
