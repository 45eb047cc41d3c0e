"""The proof that a model with a dynamic batch returns the same as the original, or the node that prevents it."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelrepo.generator.coverage.ranges import known_ranges
from modelrepo.generator.errors import InputRefused, VerificationError
from modelrepo.generator.export.onnx.batch import mixing
from modelrepo.generator.export.onnx.batch_shapes import depending
from modelrepo.generator.graphs import outline, runtime
from modelrepo.generator.graphs.runtime import Runner
from modelrepo.generator.graphs.taps import tapped
from modelrepo.generator.graphs.walk import stays_fixed
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import Array, Signature
from modelrepo.generator.system import memory
from modelrepo.generator.verification import datasets
from modelrepo.generator.verification.inputs import ODD_BATCH, RANDOM, Pool, generated
from modelrepo.generator.verification.verify import Run, usable, verify

# ONNX Runtime's message about the node that failed; a node within another's graph follows that one.
NAMED = re.compile(r"running (\S+) node\. Name:'(.*?)' Status Message: ((?:(?!Non-zero status).)*)")

# Shares of an output's magnitude: below the first, outputs for different samples are equal, such as a class that all
# noise gets, and hide mixing; above the second, outputs for the same sample differ.
EQUAL, ROUNDING = 1e-5, 1e-2
# The number of nodes with tensors in memory at a time: all tensors of a large network take more than its weights.
AT_ONCE = 20


def prove(source: Run, path: Path, signature: Signature, batch: int, options: Options) -> None:
    """Compare the model at ``path``, in batches of 1, 2 and 3, with ``source``, in batches of ``batch`` samples.

    Raises ConversionError with the node that keeps the batch fixed or mixes its samples, or if the source fails on all
    generated inputs, and on the user's samples.
    """
    signature, seed = signature.required, options.seed
    pools = _pools(source, signature, options)
    rows = pools[-1]
    memory.give_back()
    candidate = Runner(path, mapped=True)  # not optimized, so that messages name its nodes
    try:
        candidate(rows.rows(_pair(rows)))
    except InputRefused as error:
        raise stays_fixed(_failing(str(error.__cause__)) or error.message) from error
    try:
        ranges = known_ranges(path)
        found = verify(source, candidate, signature, max_batch_size=ODD_BATCH, seed=seed, pools=pools, ranges=ranges)
    except VerificationError as error:
        raise stays_fixed(_first_mixing(path, rows) or error.message) from error
    if found.mixing:
        raise stays_fixed(f"the samples of a batch influence each other in {', '.join(found.mixing)}")
    answers = candidate(rows.rows(range(len(rows.families)))).values()
    del candidate  # it holds the weights, as the next session does
    hidden = _first_mixing(path, rows) if any(_equal(answer, EQUAL) for answer in answers) else ""
    if hidden:
        raise stays_fixed(hidden)
    for name, answer in source(rows.rows([0] * batch)).items():
        if not _equal(answer, ROUNDING):
            raise stays_fixed(f"output {name!r} depends on where in the batch a sample stands")


def _pools(source: Run, signature: Signature, options: Options) -> list[Pool]:
    """Return random inputs that the source runs on, one pool for each size of other dimensions, or else samples."""
    pools: list[Pool] = []
    problem: VerificationError | None = None
    for for_refusing, pool in generated(signature, 0, options.seed):
        if pools and for_refusing:
            break
        try:
            random = pool.only([row for row, family in enumerate(pool.families) if family in RANDOM])
            pools.append(usable(random, source, signature))
        except VerificationError as error:
            problem = problem or error
    if not pools and options.samples:
        given = datasets.samples(options.samples, signature, column=options.label_column).compared
        pools = [usable(_with_shuffled(pool, options.seed), source, signature) for pool in given]
    if not pools:
        raise stays_fixed(f"nothing proves it: {problem.message if problem else 'there is no input'}") from problem
    return pools


def _with_shuffled(pool: Pool, seed: int) -> Pool:
    """Return a pool with a row more, of the last one's values in another order: two rows must differ."""
    random = np.random.default_rng(seed)
    arrays = {
        name: np.concatenate([array, random.permutation(array[-1].ravel()).reshape(array[-1:].shape)])
        for name, array in pool.arrays.items()
    }
    return Pool(arrays, (*pool.families, f"{pool.families[-1]}, shuffled"))


def _pair(rows: Pool) -> tuple[int, int]:
    return 0, len(rows.families) - 1


def _failing(reason: str) -> str:
    """Return the innermost node that ONNX Runtime names for a failed run."""
    named = NAMED.findall(reason)
    if not named:
        return ""
    operator, name, message = named[-1]
    return f"{operator} {name!r} takes no other size: {runtime.reason(RuntimeError(message))}"


def _equal(answers: Array, share: float) -> bool:
    """Whether the outputs of all samples are equal within this share of their magnitude."""
    if answers.dtype.kind != "f":
        return bool((answers == answers[:1]).all())
    scale = float(np.abs(answers).max(initial=0.0))
    return bool(np.allclose(answers, answers[:1], rtol=0, atol=share * scale, equal_nan=True))


def _first_mixing(path: Path, rows: Pool) -> str:
    """Return the first node whose outputs for two samples are not those for each; empty if there is none."""
    pair = _pair(rows)
    asked = [rows.rows(each) for each in (pair[:1], pair[1:], pair)]
    nodes = outline.read(path).graph.node
    known = depending(nodes, rows.arrays)
    for start in range(0, len(nodes), AT_ONCE):
        group = nodes[start : start + AT_ONCE]
        names = {name for node in group for name in node.output if name in known}
        memory.trim()
        one, other, both = tapped(path, asked, names)
        for node in group:
            for name in node.output:
                if name in names & both.keys() and not _joins(one[name], other[name], both[name]):
                    return mixing(node, name)
    return ""


def _joins(one: Array, other: Array, both: Array) -> bool:
    """Whether two outputs make up the one for both, along some axis, or the output does not depend on the batch."""
    scale = float(np.abs(one).max(initial=0.0)) + float(np.abs(other).max(initial=0.0))

    def same(first: Array, second: Array) -> bool:
        return first.shape == second.shape and np.allclose(first, second, rtol=0, atol=ROUNDING * scale, equal_nan=True)

    if one.shape != other.shape:
        return True  # the size depends on the values, so they can't be compared
    if both.shape == one.shape:
        return same(one, both) and same(other, both)
    return any(same(joined, both) for axis in range(one.ndim) for joined in _joined([one, other], axis))


def _joined(arrays: Sequence[Array], axis: int) -> tuple[Array, Array]:
    """Return arrays one after the other along an axis, and their elements in turn."""
    shape = list(arrays[0].shape)
    shape[axis] *= len(arrays)
    return np.concatenate(arrays, axis), np.stack(arrays, axis + 1).reshape(shape)
