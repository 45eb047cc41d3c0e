"""Choosing golden requests: inputs that the source answers steadily, few and small enough to be kept with a version."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification import sequences
from modelrepo.generator.verification.comparison import FP32, TF32, Comparison, Precision
from modelrepo.generator.verification.golden import Golden, Request, Wanted, size, within
from modelrepo.generator.verification.inputs import FAMILIES, ODD_BATCH, Pool, batch_sizes, generated
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.verify import Run, answered, nudged

# All requests of a version together, and the first one if it is larger than that; in bytes, compressed.
BYTES, LARGEST = 1 << 20, 16 << 20
REQUESTS = 8
# Rows of each kind of input to learn from.
SEVERAL = 7
# The largest batch of a request, if the model takes so many.
BATCH = 8
# The order in which the kinds of generated inputs are asked: the usual ones first.
ORDER = ("random 1", "zeros", "ones", "random 2", "small (x0.1)", "large (x10)", "random 3")
# If inputs change by this share of the largest, the answer must stay within its limit: other machines round otherwise.
STEADY = 1e-5

UNVERIFIED = "it was published with --no-verify, so its right answers are not known"
STATEFUL = "its sequences have a state inside Triton, which its source does not have"
RAGGED = "it has ragged batching or batch inputs, which its source does not have"
UNSTEADY = "the source answers none of the inputs in the same way if they change by rounding"


@dataclass(frozen=True)
class Limits:
    """How far answers may be from the source's, as a proof has it."""

    tolerance: Tolerance | None = None  # the user's
    precision: Precision | None = None  # of the served model; None: as the type of each output
    ranges: Mapping[str, float] | None = None  # as in ``Comparison``

    def comparisons(self) -> tuple[Comparison, Comparison]:
        """Return what knows the limits, and what knows those where a GPU computes."""
        coarser = self.precision
        if coarser is None or coarser.tolerance.relative < TF32.tolerance.relative:
            coarser = TF32
        return tuple(  # type: ignore[return-value]
            Comparison(self.tolerance, precision=each, ranges=self.ranges) for each in (self.precision, coarser)
        )

    def __str__(self) -> str:
        """In words."""
        return str(self.tolerance or (self.precision.tolerance if self.precision else "that of each output's type"))


@dataclass(frozen=True)
class Model:
    """A model whose answers are known: those of its source, to inputs of this signature.

    ``max_batch_size`` is the configuration's: above 0, all tensors have the batch as their leading axis.
    """

    source: Run
    signature: Signature
    max_batch_size: int
    limits: Limits


Asked = tuple[Pool, tuple[int, ...]]  # inputs, and the sizes of the batches that they are asked in
Group = tuple[Pool, list[int]]  # inputs, and the rows of one request


def golden_of(proven: Proven, config: str, max_batch_size: int, tolerance: Tolerance | None, seed: int) -> Golden:
    """Return the golden requests of a proven model with this configuration, or the reason why there are none."""
    if proven.verification.passed is None:
        return Golden(reason=UNVERIFIED)
    model = Model(
        proven.reference.recall,
        proven.export.signature,
        max_batch_size,
        Limits(tolerance, proven.precision, proven.ranges),
    )
    parsed = pbtxt.parse(config, "the configuration")
    try:
        if parsed.batch_input or parsed.batch_output or any(each.allow_ragged_batch for each in parsed.input):
            return Golden(reason=RAGGED)
        if parsed.HasField("sequence_batching"):
            return _in_sequences(model, parsed, proven.samples.compared, seed)
        samples = [(pool, _sizes(model, few=True)) for pool in proven.samples.compared]
        return chosen(model, samples, () if proven.only_samples else _generated(model, seed))
    except ModelRepoError as error:
        return Golden(reason=error.message)


def chosen(model: Model, samples: Iterable[Asked], others: Iterable[Asked]) -> Golden:
    """Return golden requests: a few of the user's samples first, and then of other inputs, as many as are small enough.

    All answers are learnt from before the first limit is taken: it depends on how far apart answers to different inputs
    are.
    """
    comparisons = model.limits.comparisons()
    rest = _in_turn([_groups(model, each, comparisons) for each in others])
    first = _in_turn([_groups(model, each, comparisons) for each in samples])
    requests, reason = _within(model, (*first[: REQUESTS // 2], *rest), comparisons)
    return Golden(requests, reason, str(model.limits), model.limits.precision is not None)


def _in_turn(lists: Sequence[Sequence[Group]]) -> list[Group]:
    """Return the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [each[number] for number in range(longest) for each in lists if number < len(each)]


def _within(
    model: Model, groups: Iterable[Group], comparisons: Sequence[Comparison]
) -> tuple[tuple[Request, ...], str]:
    """Return the requests that fit into BYTES, or a single one that fits into LARGEST; or none, and the reason."""
    kept: list[Request] = []
    left, large = BYTES, False
    for pool, rows in groups:
        room = left if kept else LARGEST
        request, own = _request(model, pool, rows, comparisons, room)
        large |= own > room
        if request:
            kept.append(request)
            left -= own
        if len(kept) == REQUESTS or left <= 0:
            break
    if not kept:
        return (), f"its smallest request has more than {LARGEST >> 20} MB" if large else UNSTEADY
    return tuple(kept), ""


def _sizes(model: Model, *, few: bool = False) -> tuple[int, ...]:
    """Return the sizes of batches to ask: 1 for a model that takes none."""
    if model.signature.batch_dim is None:
        return (1,)
    most = min(model.max_batch_size or ODD_BATCH, BATCH)
    return tuple(sorted({1, min(4, most)} if few else {*batch_sizes(min(ODD_BATCH, most)), most}))


def _generated(model: Model, seed: int) -> list[Asked]:
    """Return generated inputs of a few shapes, with and without optional ones; large ones if small ones are refused."""
    found: list[Asked] = []
    for for_refusing, pool in generated(model.signature, 1, seed):
        if for_refusing and any(_is_answered(model, each) for each, _ in found):
            break
        rows = sorted(range(len(FAMILIES)), key=lambda row: ORDER.index(pool.families[row]))
        found.append((pool.only(rows), _sizes(model)))
    return found


def _is_answered(model: Model, pool: Pool) -> bool:
    try:
        return any(True for _ in answered(pool.only([0]), model.source, model.signature))
    except ModelRepoError:
        return False


def _groups(model: Model, asked: Asked, comparisons: Sequence[Comparison]) -> list[Group]:
    """Return batches of the rows that the source answers with numbers; the comparisons learn from the answers."""
    pool, sizes = asked
    try:
        answers = dict(answered(pool.only(range(min(len(pool.families), SEVERAL))), model.source, model.signature))
    except ModelRepoError:
        return []
    pool = pool.only(list(answers))
    _learn(model, pool, _together(model, pool) or list(answers.values()), comparisons)
    decided = [row for row, each in enumerate(answers.values()) if _is_decided(model, each, comparisons[0])]
    if model.signature.batch_dim is None:
        return [(pool, [row]) for row in decided[: REQUESTS // 2]]
    rows = cycle(decided)
    return [(pool, list(islice(rows, size))) for size in sizes if decided]


def _is_decided(model: Model, answers: Arrays, comparison: Comparison) -> bool:
    """Whether no label in the answers to one row is one of two that the source hardly prefers."""
    lead = model.signature.batch_dim is not None
    rows = {name: each if lead else each[np.newaxis] for name, each in answers.items()}
    return all(comparison.undecided(rows, rows, 0, name) == "no" for name in rows)


def _together(model: Model, pool: Pool) -> list[Arrays]:
    """Return the answers to the rows of one batch, if rows of a request may influence each other; else nothing."""
    if model.max_batch_size or model.signature.batch_dim is None:
        return []
    count = len(pool.families)
    try:
        found = {name: np.asarray(each) for name, each in model.source(pool.rows(range(count))).items()}
    except ModelRepoError:
        return []
    if any(each.shape[:1] != (count,) for each in found.values()):
        return []
    return [{name: each[[row]] for name, each in found.items()} for row in range(count)]


def _learn(model: Model, pool: Pool, answers: Sequence[Arrays], comparisons: Sequence[Comparison]) -> None:
    """Let the comparisons learn from the answers to each row of a pool."""
    lead = model.signature.batch_dim is not None
    rows = {name: [each[name][0, ...] if lead else each[name] for each in answers] for name in answers[0]}
    for comparison in comparisons:
        comparison.learn(rows, pool)


def _request(
    model: Model, pool: Pool, rows: list[int], comparisons: Sequence[Comparison], room: int
) -> tuple[Request | None, int]:
    """Return a request of some rows of a pool, and its size in bytes.

    None with a size above ``room`` if it is too large; else None if the source does not answer it, or rounding decides
    its answer.
    """
    batch = pool.rows(rows) if model.signature.batch_dim is not None else pool.whole(rows[0])
    given = (spec for spec in model.signature.inputs if spec.name in batch)
    inputs = {spec.name: _written(batch[spec.name], spec, model.max_batch_size) for spec in given}
    own = size(inputs.values(), room)
    if own > room:
        return None, own
    try:
        answers = _answers(model, pool, rows)
    except ModelRepoError:
        return None, 0
    nudge, outputs = _nudged_answers(model, batch), {}
    for spec in model.signature.outputs:
        right = np.asarray(answers[spec.name])
        limits = [_limits(model, spec.name, right, each) for each in comparisons]
        moved = nudge.get(spec.name, right)
        least = _least(right, spec.name, comparisons[0])
        steady = right.shape == moved.shape and within(right, moved, [max(each, least) for each in limits[0]]).right
        if not steady or not all(map(math.isfinite, (*limits[0], *limits[1]))):
            return None, 0
        outputs[spec.name] = Wanted(_written(right, spec, model.max_batch_size), *limits)
    own += size((each.array for each in outputs.values()), room - own)
    request = Request(tuple(pool.families[row] for row in rows), inputs, outputs)
    return (request if own <= room else None), own


def _least(right: Array, name: str, comparison: Comparison) -> float:
    """Return how far any answer may move: to an input of zeros, the limit is that of an answer of zeros."""
    return FP32.tolerance.relative * comparison.scale[name] if right.dtype.kind == "f" else 0.0


def _nudged_answers(model: Model, inputs: Arrays) -> Arrays:
    """Return the source's answers if the inputs change a little; none if it refuses them, or they can't change."""
    changed = nudged(inputs, 1, 0, STEADY)
    if all(changed[name] is inputs[name] for name in inputs):
        return {}
    try:
        return {name: np.asarray(answer) for name, answer in model.source(changed).items()}
    except ModelRepoError:
        return {}


def _answers(model: Model, pool: Pool, rows: list[int]) -> Arrays:
    """Return the source's answers to a batch: those to each row alone, which are remembered, if Triton batches."""
    if model.signature.batch_dim is None:
        return model.source(pool.whole(rows[0]))
    if not model.max_batch_size:
        return model.source(pool.rows(rows))
    alone = [model.source(pool.rows([row])) for row in rows]
    return {name: np.concatenate([np.asarray(each[name]) for each in alone]) for name in alone[0]}


def _limits(model: Model, name: str, right: Array, comparison: Comparison) -> tuple[float, ...]:
    rows = right if model.max_batch_size else right[np.newaxis]
    return tuple(float(comparison.limit(name, row)) for row in _each(rows))


def _each(rows: Array) -> Iterator[Array]:
    return (rows[number, ...] for number in range(len(rows)))


def _written(array: Array, spec: TensorSpec, max_batch_size: int) -> Array:
    """Return an array as Triton has it: text as bytes, and a dimension for tensors with one value a sample."""
    array = np.asarray(array)
    own = 1 if max_batch_size else 0
    if array.ndim == own and len(spec.shape) == own:
        array = array[..., np.newaxis]
    if array.dtype.kind not in "OUS":
        return array
    texts = np.empty(array.shape, object)
    for place, item in enumerate(array.ravel()):
        texts.flat[place] = bytes(item) if isinstance(item, bytes) else str(item).encode()
    return texts


def _in_sequences(model: Model, config: Any, samples: Iterable[Pool], seed: int) -> Golden:
    """Return the steps of two short sequences; the source is given the controls that Triton's batcher fills in."""
    if config.sequence_batching.state:
        return Golden(reason=STATEFUL)
    pool = sequences.asked(config, model.signature, model.source, samples, seed)
    controls = sequences.controls(config)
    comparisons = model.limits.comparisons()
    _learn(model, pool, [answer for _, answer in answered(pool, model.source, model.signature)], comparisons)
    steps = []
    for row, step in enumerate(sequences.order(config)):
        room = LARGEST // len(pool.families)
        request, own = _request(model, pool, [row], comparisons, room)
        if request is None:
            large = f"its sequences have more than {LARGEST >> 20} MB"
            return Golden(reason=large if own > room else UNSTEADY)
        sent = {name: array for name, array in request.inputs.items() if name not in controls}
        steps.append(replace(request, inputs=sent, step=step))
    return Golden(tuple(steps), "", str(model.limits), model.limits.precision is not None, not _told_ids(config))


def _told_ids(config: Any) -> bool:
    """Whether the model is given the correlation IDs of its sequences."""
    from tritonclient.grpc import model_config_pb2

    told = model_config_pb2.ModelSequenceBatching.Control.CONTROL_SEQUENCE_CORRID
    return any(each.kind == told for tensor in config.sequence_batching.control_input for each in tensor.control)
