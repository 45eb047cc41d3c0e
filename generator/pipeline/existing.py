"""What the repository already has and needs no work, found without importing a framework."""

import glob

from modelrepo.generator.pipeline import rows
from modelrepo.generator.pipeline.job import Context, Target
from modelrepo.generator.plans import status
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.manifest import Provenance
from modelrepo.generator.repository.repository import Published
from modelrepo.generator.specs.options import Options, RunOptions
from modelrepo.generator.specs.report import Result


def find(target: Target, context: Context) -> Result | None:
    """Return the row of a target that is published and in force; None if work is needed."""
    repository = context.repository
    newest = repository.newest(target.name)
    if newest and repository.in_force(newest) and _is_wanted(newest.provenance, target, context.run):
        if newest.untrained:
            context.progress.warn(
                f"{target.name} version {newest.version} has RANDOM weights: its answers mean nothing"
            )
        for file in repository.edited(newest):
            context.progress.warn(
                f"{file} was edited by hand and is left as it is; "
                "to have the edits in every version, put them in a file for --config-patch"
            )
        return rows.published(target, Published("unchanged", newest), repository)
    return None


def pending(target: Target, context: Context) -> PendingPlan | None:
    """Return the entry of a target whose plan only has to be built; None if it is not prepared."""
    plan = PlanStore(context.repository).intact(target.name)
    if plan is None or not _is_wanted(plan.provenance, target, context.run):
        return None
    return plan if status.stand(target.name, context.repository, ()).status not in ("superseded", "damaged") else None


def reactivate(target: Target, context: Context) -> Result | None:
    """Finish a publish that was interrupted before its last step; None if that is not enough."""
    repository = context.repository
    newest = repository.newest(target.name)
    if newest is None or not _is_wanted(newest.provenance, target, context.run):
        return None
    with repository.locked():
        activated = repository.activate(target.name)
    return rows.published(target, activated, repository) if activated else None


def _passed_live(provenance: Provenance) -> bool:
    live = provenance.verification.live
    return live is not None and live.status == "passed"


def _is_wanted(provenance: Provenance, target: Target, run: RunOptions) -> bool:
    """Whether the published model is what these options would produce now, and is proven as they ask."""
    return (
        provenance.key == target.key.digest
        and (provenance.verification.passed is not None or not target.options.verify)
        and (run.live_check != "require" or _passed_live(provenance))
        and _has_wanted_weights(provenance, target.options)
    )


def _has_wanted_weights(provenance: Provenance, options: Options) -> bool:
    """Whether the weights are the wanted ones, or allowed random ones because the wanted ones have not arrived."""
    weights = provenance.source.weights
    if not weights.untrained or options.weights == "random":
        return True
    arrived = glob.glob(weights.expected_at) if weights.expected_at else []  # noqa: PTH207 - a Path has no absolute ones
    return options.allow_untrained and not arrived
