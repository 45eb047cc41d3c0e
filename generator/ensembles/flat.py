"""Steps that are ensembles themselves, replaced by their own steps.

All versions of an ensemble share one config.pbtxt, so that a pinned version of it would follow its newest steps. The
models that do the work are pinned instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from modelrepo.generator.ensembles.reference import Pipeline, Stage
from modelrepo.generator.ensembles.wiring import Wiring


def flat(wiring: Wiring) -> Wiring:
    """Return an ensemble whose steps are no ensembles, and give only what is taken."""
    return replace(wiring, stages=_needed([each for stage in wiring.stages for each in _inner(stage)], wiring.outputs))


def _inner(stage: Stage) -> Iterator[Stage]:
    """Yield the steps of a step that is an ensemble, by the outer names of its tensors; else the step itself."""
    inner = stage.member.reference
    if not isinstance(inner, Pipeline):
        yield stage
        return
    names = {**stage.inputs, **stage.outputs}

    def outer(tensors: Mapping[str, str]) -> dict[str, str]:
        return {port: names.get(name, f"{stage.name}.{name}") for port, name in tensors.items()}

    for each in inner.stages:
        yield Stage(f"{stage.name}.{each.name}", each.member, outer(each.inputs), outer(each.outputs))


def _needed(stages: Sequence[Stage], outputs: Mapping[str, object]) -> tuple[Stage, ...]:
    """Return the steps that lead to the outputs, with what is taken of what they give; Triton refuses all else."""
    taken, found = {*outputs}, []
    for stage in reversed(stages):
        given = {port: name for port, name in stage.outputs.items() if name in taken}
        if given:
            taken |= {*stage.inputs.values()}
            found.append(replace(stage, outputs=given))
    return tuple(reversed(found))
