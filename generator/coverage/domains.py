"""The values that an input of unknown domain takes, found by asking its source.

Of an input that is a size, a length, an index or an axis, only the type may be known; most of what is generated for it
is then refused. Ranges that the graph and the shapes suggest are tried, for all such inputs at once and then for each,
and the range that the source answers most often is kept: of several the widest. If the source answers most of the usual
values, only indices get another range: that of what they are indices into. It fails, and changes nothing, if values fit
only together, as the sizes of a Reshape: then samples of the user's are needed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from modelrepo.generator.coverage.flows import Flow, flows
from modelrepo.generator.errors import VerificationError
from modelrepo.generator.graphs import outline
from modelrepo.generator.specs.tensors import Domain, Signature, TensorSpec
from modelrepo.generator.verification.comparison import why_useless
from modelrepo.generator.verification.inputs import FAMILIES, Pool, generated
from modelrepo.generator.verification.verify import Run

# The usual values are kept if at least this share of them is answered.
ENOUGH = 0.6
# Requests that one search may take: a source that refuses them answers quickly.
MOST = 600
# Sets of sizes of symbolic dimensions that are tried.
TURNS = 3
# A costly model is asked no more than these rows if it answers them all: random ones, and zeros.
AT_FIRST = 4
# Upper ends of ranges of whole numbers, besides the sizes of the inputs' axes.
ENDS = (2, 4, 8, 16)
# Axes longer than this are not lengths.
LONGEST = 4096
# Ranges of floats: shares, and numbers above zero, such as scales and variances.
SHARES = Domain(0.0, 1.0, known=False, center=(0.5,), spread=(0.25,))
POSITIVE = Domain(0.05, None, known=False, center=(1.0,), spread=(0.4,))
SCALES = Domain(1.0, None, known=False, center=(2.0,), spread=(0.5,))


@dataclass
class _Asked:
    """Counts how many generated rows a source answers."""

    run: Run
    signature: Signature
    seed: int
    left: int = MOST

    def share(self, inputs: Mapping[str, TensorSpec], turns: int = TURNS, most: int = len(FAMILIES)) -> float:
        """Return the share of the generated rows that are answered with numbers, with these inputs.

        Asked are the first ``most`` rows of so many sets of sizes.
        """
        signature = _with(self.signature, inputs).required
        pools = [pool for _, pool in islice(generated(signature, 1, self.seed), turns)]
        rows = [(pool, row) for pool in pools for row in range(most)]
        return float(np.mean([self._answers(pool, row, signature) for pool, row in rows]))

    def _answers(self, pool: Pool, row: int, signature: Signature) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        lead = () if signature.batch_dim is not None else (np.newaxis,)
        try:
            answers = {name: np.asarray(each)[lead] for name, each in self.run(pool.single(row, signature)).items()}
        except VerificationError:
            return False
        return why_useless(answers, pool, [row]) is None


def narrowed(run: Run, signature: Signature, path: Path, seed: int) -> Signature:
    """Return a signature whose inputs of unknown domain have ranges that the source answers.

    ``path`` is the exported model. Domains stay unknown: the source may refuse some of their values.
    """
    open_ = {spec.name: spec for spec in signature.inputs if _is_open(spec)}
    if not open_:
        return signature
    asked = _Asked(run, signature, seed)
    known = flows(outline.read(path), path.parent)
    indices = {name: _as_index(spec, known.get(name, Flow())) for name, spec in open_.items()}
    if asked.share(indices, turns=1, most=AT_FIRST) == 1:
        return _with(signature, indices)
    best, chosen = asked.share(open_), dict(open_)
    if indices != open_ and (share := asked.share(indices)) >= best:
        best, chosen = share, indices
    if best >= ENOUGH:
        return _with(signature, chosen)
    suggested = {name: list(_suggested(spec, known.get(name, Flow()), signature)) for name, spec in open_.items()}
    whole = [name for name, spec in open_.items() if np.dtype(spec.dtype).kind in "iu"]
    for group in (whole, *([name] for name in (*whole, *(open_.keys() - {*whole})))):
        for domain in dict.fromkeys(domain for name in group for domain in suggested[name]):
            tried = {**chosen, **{name: replace(chosen[name], domain=domain) for name in group}}
            share = asked.share(tried)
            if share > best or (share == best and chosen != open_ and _wider(tried, chosen, group)):
                best, chosen = share, tried
    return _with(signature, chosen)


def _with(signature: Signature, inputs: Mapping[str, TensorSpec]) -> Signature:
    return replace(signature, inputs=tuple(inputs.get(spec.name, spec) for spec in signature.inputs))


def _as_index(spec: TensorSpec, flow: Flow) -> TensorSpec:
    """Return an input with the range of an index into the shortest axis that it is used for; the same without one."""
    if not flow.indexed or np.dtype(spec.dtype).kind not in "iu":
        return spec
    return replace(spec, domain=Domain(0.0, max(1.0, min(flow.indexed) - 1.0), known=False))


def _is_open(spec: TensorSpec) -> bool:
    domain = spec.domain
    return not domain.known and not domain.choices and not domain.mask and np.dtype(spec.dtype).kind in "iuf"


def _wider(tried: Mapping[str, TensorSpec], chosen: Mapping[str, TensorSpec], group: list[str]) -> bool:
    """Whether whole numbers of a group reach further up, and no number of another kind changes."""

    def reach(spec: TensorSpec) -> float:
        return (spec.domain.high or 1.0) - (spec.domain.low or 0.0) if np.dtype(spec.dtype).kind in "iu" else 0.0

    return all(reach(tried[name]) > reach(chosen[name]) for name in group)


def _suggested(spec: TensorSpec, flow: Flow, signature: Signature) -> Iterator[Domain]:
    """Yield the ranges to try for an input, by what the graph does with it and the sizes of all inputs."""
    if np.dtype(spec.dtype).kind == "f":
        yield from (POSITIVE, SHARES, SCALES)
        return
    sizes = {size for each in signature.inputs for size in each.shape if isinstance(size, int) and size <= LONGEST}
    ends = sorted({*ENDS, *sizes} - {0, 1})
    for size in sorted(flow.indexed):
        yield Domain(0.0, size - 1.0, known=False)
    yield Domain(1.0, 1.0, known=False)
    for end in ends:
        yield Domain(1.0, float(end), known=False)
        if not flow.divides:
            yield Domain(0.0, end - 1.0, known=False)
    yield from (Domain(float(low), 4.0 * low, known=False) for low in (4, 16, 64))
    if not flow.divides and np.dtype(spec.dtype).kind == "i":
        yield Domain(-1.0, -1.0, known=False)
