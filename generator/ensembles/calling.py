"""Steps that call models themselves (business logic scripting): a function of the user's, and a cascade."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrepo.generator.ensembles.combine_step import specs
from modelrepo.generator.ensembles.member import Member
from modelrepo.generator.ensembles.step_runner import DTYPES, Callee
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import TensorSpec
from modelrepo.generator.system.templates import environment

CASCADE_TEMPLATE, CASCADE = "cascade.py.j2", "modelrepo_cascade"


def callee(alias: str, member: Member, outputs: Iterable[str] = ()) -> Callee:
    """Return a member as a function calls it, with those of its outputs, or all.

    Raises OptionError for BF16, which numpy lacks.
    """
    config = member.config
    batched, wanted = config.max_batch_size > 0, tuple(outputs)
    taken, given = specs(config.input, batched=batched), specs(config.output, batched=batched)
    given = tuple(spec for spec in given if not wanted or spec.name in wanted)
    strange = next((spec for spec in (*taken, *given) if spec.dtype not in DTYPES), None)
    if strange:
        raise OptionError(
            f"{alias} ({member.name}) has {strange.dtype} {strange}, which Python steps can't take or give"
        )
    types = [{spec.name: spec.dtype for spec in each} for each in (taken, given)]
    return Callee(alias, member.name, member.version, config.max_batch_size, *types)


def write_cascade(
    path: Path, sure: float, scores: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, softmax: bool
) -> None:
    """Write the function of a cascade as a Python module: see ``cascades.threshold`` for what ``sure`` means."""
    template = environment().get_template(CASCADE_TEMPLATE)
    values: Mapping[str, Any] = {
        "comment": "A small model first, and a large one where it is unsure: made by modelrepo.",
        "sure": sure,
        "scores": scores,
        "softmax": softmax,
        "inputs": [_annotated(spec) for spec in inputs],
        "outputs": [_annotated(spec) for spec in outputs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template.render(values), "utf-8")


def _annotated(spec: TensorSpec) -> Mapping[str, str]:
    dims = ", ".join("?" if isinstance(dim, str) and axis else str(dim) for axis, dim in enumerate(spec.shape))
    return {"name": spec.name, "annotation": f"{spec.name}={spec.dtype}[{dims}]"}
