"""The status of a TensorRT plan: pending, built, published or stale, and what has changed since it was built."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.store import PlanStore, changes, file_name
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.plans import BuiltPlan
from modelrepo.generator.tensorrt.plan_spec import PlanSpec

if TYPE_CHECKING:
    from modelrepo.generator.tensorrt.machine import Gpu

PlanStatus = Literal["pending", "built", "published", "stale", "superseded", "damaged"]
# The file that Triton serves if there is one plan for every GPU.
SINGLE = "model.plan"
PREPARE_AGAIN = "Prepare it again with generate"


@dataclass(frozen=True)
class Standing:
    """The state of one entry of ``plans.lock``."""

    name: str
    entry: PendingPlan
    status: PlanStatus
    changed: tuple[str, ...]  # in words: why it is stale, superseded or damaged
    fitting: Mapping[Path, BuiltPlan]  # plans in its folder, built from this entry and proven within its limit
    others: Mapping[Path, BuiltPlan]  # the other plans in its folder
    published: Manifest | None  # the version that it was published as, if that is intact

    @property
    def plans(self) -> tuple[BuiltPlan, ...]:
        """The plans that ``status`` is about."""
        if self.published and self.status in ("published", "stale"):
            return self.published.provenance.plans
        return tuple((self.fitting or self.others).values())

    @property
    def next_step(self) -> str | None:
        """The next step: a command, or advice in words; None if the plan is published."""
        if self.status in ("superseded", "damaged"):
            return PREPARE_AGAIN
        if self.status == "built":
            return f"modelrepo plans build {self.name}"
        return None if self.status == "published" else self.entry.command


def stand(name: str, repository: Repository, gpus: Iterable["Gpu"]) -> Standing:
    """Return the state of one entry on a machine with these GPUs; RepositoryError if files can't be read."""
    entry = PlanStore(repository).entries()[name]
    newer, damage = superseded(name, entry, repository), _damage(name, entry, repository)
    built = PlanStore(repository).built(name)
    fitting = {
        path: plan
        for path, plan in built.items()
        if not damage and _proven(plan, entry) and not changes(plan.inputs, entry.inputs)
    }
    others = {path: plan for path, plan in built.items() if path not in fitting}
    published = _published(name, entry, repository)
    served = published.provenance.plans if published else ()
    fresh = {plan.sha256 for plan in fitting.values()} - {plan.sha256 for plan in served}
    judged = served if served and not fresh else tuple(fitting.values() or others.values())
    changed = newer or damage or (*_changed(judged, entry), *_elsewhere(judged, gpus))
    status: PlanStatus
    if newer:
        status = "superseded"
    elif damage:
        status = "damaged"
    elif changed:
        status = "stale"
    elif served and not fresh:
        status = "published"
    else:
        status = "built" if fitting else "pending"
    return Standing(name, entry, status, changed, fitting, others, published)


def _published(name: str, entry: PendingPlan, repository: Repository) -> Manifest | None:
    newest = repository.newest(name)
    ours = newest and newest.provenance.plans and newest.provenance.key == entry.provenance.key
    return newest if ours else None


def superseded(name: str, entry: PendingPlan, repository: Repository) -> tuple[str, ...]:
    """Say that another model was published under the name, with the version the plan was prepared for or a later one.

    Empty if there is none; RepositoryError for a manifest that can't be read.
    """
    known = repository.manifests(name)
    if not known or entry.version is None or known[-1].version < entry.version:
        return ()
    same = known[-1].provenance.key == entry.provenance.key
    return () if same else (f"version {known[-1].version} was published since",)


def _damage(name: str, entry: PendingPlan, repository: Repository) -> tuple[str, ...]:
    if entry.version is None or not PlanSpec.__dataclass_fields__.keys() <= entry.inputs.keys():
        return ("prepared by an earlier release",)
    try:
        spec_of(entry)
        wanted_tolerance(entry)
    except RepositoryError as error:
        return (error.message,)
    folder = PlanStore(repository).folder(name)
    return tuple(
        f"{file} changed since it was prepared" if (folder / file).exists() else f"{file} is missing"
        for file, record in entry.files.items()
        if not record.matches(folder / file)
    )


def _changed(plans: Iterable[BuiltPlan], entry: PendingPlan) -> tuple[str, ...]:
    found = (change for plan in plans for change in changes(plan.inputs, entry.inputs))
    unproven = ("not proven within the wanted tolerance" for plan in plans if not _proven(plan, entry))
    return tuple(dict.fromkeys((*found, *unproven)))


def _proven(plan: BuiltPlan, entry: PendingPlan) -> bool:
    """Whether a plan's answers were compared, and were within the current limit."""
    from modelrepo.generator.tensorrt.proof import plan_precision

    return plan.is_proven(wanted_tolerance(entry) or plan_precision(entry.precision).tolerance)


def wanted_tolerance(entry: PendingPlan) -> Tolerance | None:
    """Return the tolerance that the user gave when the plan was prepared, if any; RepositoryError if it is damaged."""
    written = entry.provenance.options.get("tolerance")
    try:
        return Tolerance.of(written) if written else None
    except TypeError as error:
        raise _damaged(error) from error


def _elsewhere(plans: Iterable[BuiltPlan], gpus: Iterable["Gpu"]) -> tuple[str, ...]:
    """Say that no plan fits a GPU of this machine; empty if there are no GPUs, or no plans."""
    built = {plan.compute_capability: f"{plan.gpu} ({plan.compute_capability})" for plan in plans}
    here = {gpu.compute_capability: f"{gpu.name} ({gpu.compute_capability})" for gpu in gpus}
    if not built or not here or built.keys() & here.keys():
        return ()
    return (f"built for {', '.join(built.values())}, but this machine has {', '.join(here.values())}",)


def spec_of(entry: PendingPlan) -> PlanSpec:
    """Return the spec of an entry's plan; RepositoryError if the entry is damaged."""
    try:
        return PlanSpec.of(entry.inputs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> RepositoryError:
    return RepositoryError(f"its entry in plans.lock is damaged: {error!r}", PREPARE_AGAIN)


def usable(standing: Standing) -> PendingPlan:
    """Return the entry; RepositoryError if it is superseded or damaged."""
    if standing.status == "superseded":
        raise RepositoryError(f"{', '.join(standing.changed)}, and is not what was prepared", PREPARE_AGAIN)
    if standing.status == "damaged":
        raise RepositoryError(", ".join(standing.changed), PREPARE_AGAIN)
    return standing.entry


def served_files(plans: Iterable[BuiltPlan]) -> dict[str, BuiltPlan]:
    """Return the plan of each file in a version folder: model.plan if there is only one plan."""
    several = list(plans)
    if len(several) == 1:
        return {SINGLE: several[0]}
    return {file_name(plan.compute_capability): plan for plan in several}
