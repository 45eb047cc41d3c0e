"""What the repository already has and needs no work, found without importing a framework."""

import glob

from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.lint import Host, check
from modelrepo.generator.options.names import MODEL_NAME, default_templates, filled_in
from modelrepo.generator.pipeline import rows
from modelrepo.generator.pipeline.job import Context, Target
from modelrepo.generator.plans import status
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.status import spec_of
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import golden
from modelrepo.generator.repository.manifest import Manifest, Provenance
from modelrepo.generator.repository.repository import Published, Repository
from modelrepo.generator.specs.options import Options, RunOptions
from modelrepo.generator.specs.report import Result
from modelrepo.generator.tensorrt import ways
from modelrepo.generator.triton.releases import release_named


def find(target: Target, context: Context) -> Result | PendingPlan | None:
    """Return the row of a target that needs no work here, the entry of a plan that is only to be built, or None.

    Raises RepositoryError if publishing is certain to fail, and OptionError for a version policy that can't hold.
    """
    repository = context.repository
    repository.preflight(target.name)
    _check_served_versions(target, repository)
    row = _in_force(target, context)
    if row is None and not context.dry_run:
        row = _reactivated(target, context)
    plan = None if row else _pending(target, context)
    if plan is None:
        return row
    way = ways.find(spec_of(plan), target.options.plan_builder, context.progress)
    return rows.deferred(target, plan, repository, way.deferral) if way.kind == "deferred" else plan


def under_former_name(target: Target, published: Manifest, repository: Repository) -> str:
    """Return a note if the same model stands under the name that it had with fewer or more backends, or empty text."""
    # A model's own name need not be one that can be published.
    for template in default_templates(target.options) if MODEL_NAME.fullmatch(target.model) else ():
        name = filled_in(template, target.model, target.choice)
        former = repository.newest(name) if name != target.name else None
        if former and _is_of_one_source(former, published):
            unique = {filled_in(template, target.model, choice) for choice in target.options.backends}
            fits = len(unique) == len(target.options.backends)
            way = f"--name-template '{template}'" if fits else f"--backends {target.choice} alone"
            return f"{name} is still there and served as before; {way} publishes under that name again"
    return ""


def _is_of_one_source(one: Manifest, other: Manifest) -> bool:
    """Whether two versions were made of the same source, for the same backend and in the same precision."""

    def made_of(each: Manifest) -> tuple[str, str, str]:
        return each.provenance.source.reference, each.backend, each.provenance.optimization.precision

    return made_of(one) == made_of(other)


def _in_force(target: Target, context: Context) -> Result | None:
    """Return the row of a target that is published and in force; None if work is needed."""
    repository = context.repository
    newest = repository.newest(target.name)
    wanted = newest and _is_wanted(newest.provenance, target, context.run)
    # Requests that are missing make a proof, and no version.
    if newest and repository.in_force(newest) and wanted and (context.dry_run or _is_remembered(newest, repository)):
        if newest.untrained:
            context.progress.warn(
                f"{target.name} version {newest.version} has RANDOM weights: its answers mean nothing"
            )
        judge_edits(newest, target, context)
        notes = tuple(filter(None, [chosen_otherwise(newest, repository)]))
        for note in notes:
            context.progress.warn(f"{target.name}: {note}")
        return rows.published(target, Published("unchanged", newest, notes), repository)
    return None


def chosen_otherwise(newest: Manifest, repository: Repository) -> str:
    """Return a note if an operator chose other versions than the newest to be served, or an empty text."""
    chosen = repository.choice(newest.name)
    if chosen is None or newest.version in chosen.versions:
        return ""
    step = f"`modelrepo promote {newest.name} {newest.version}` serves it"
    return f"version {newest.version} is not served, since {chosen}; {step}"


def judge_edits(published: Manifest, target: Target, context: Context) -> None:
    """Warn of files beside the versions that were edited by hand, and that stay so if nothing is published.

    Raises RepositoryError if they keep Triton from serving the model, and VerificationError if its answers are wrong.
    """
    repository = context.repository
    edited = repository.edited(published)
    if not edited:
        return
    folder = repository.root / target.name
    found = check(folder, [Host(release_named(target.options.target_release))])
    refusal = next((each for each in found if each.severity == "error"), None)
    if refusal:
        place = str(refusal.problem.place).removeprefix(f"{repository.root}/")
        raise RepositoryError(
            f"{' and '.join(file.name for file in edited)} of {target.name}, edited by hand, can't be served: {place}: "
            f"{refusal.code}: {refusal.problem.says}",
            f"{refusal.problem.write}; `modelrepo check {folder}` shows the line",
        )
    if context.gate and not context.dry_run and folder / CONFIG in edited:
        live = context.gate.ask_again(repository, target.name)
        for note in (f"not asked again: {live.detail}",) if live.status == "skipped" else live.notes:
            context.progress.warn(f"{target.name}: {note}")
    for file in edited:
        context.progress.warn(
            f"{file} was edited by hand and is left as it is; "
            "to have the edits in every version, put them in a file for --config-patch"
        )


def _pending(target: Target, context: Context) -> PendingPlan | None:
    """Return the entry of a target whose plan only has to be built; None if it is not prepared."""
    plan = PlanStore(context.repository).intact(target.name)
    if plan is None or not _is_wanted(plan.provenance, target, context.run):
        return None
    return plan if status.stand(target.name, context.repository, ()).status not in ("superseded", "damaged") else None


def _reactivated(target: Target, context: Context) -> Result | None:
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


def _is_remembered(newest: Manifest, repository: Repository) -> bool:
    """Whether golden requests are kept with a version, or need not be; earlier releases kept none.

    Those of a plan were made when it was prepared.
    """
    unproven = newest.provenance.verification.passed is None or bool(newest.provenance.plans)
    return unproven or golden.are_kept(repository, newest.name, newest.version)


def _has_wanted_weights(provenance: Provenance, options: Options) -> bool:
    """Whether the weights are the wanted ones, or allowed random ones because the wanted ones have not arrived."""
    weights = provenance.source.weights
    if not weights.untrained or options.weights == "random":
        return True
    arrived = glob.glob(weights.expected_at) if weights.expected_at else []  # noqa: PTH207 - a Path has no absolute ones
    return options.allow_untrained and not arrived


def _check_served_versions(target: Target, repository: Repository) -> None:
    """Refuse a list with a version that will not exist: Triton would serve none, or log an error."""
    there, coming = repository.versions(target.name), repository.next_version(target.name)
    absent = set(target.options.version_policy.versions) - there - {coming}
    if absent:
        raise OptionError(
            f"the version policy lists version {min(absent)} of {target.name}, which does not exist",
            f"Existing versions: {', '.join(map(str, sorted(there))) or 'none'}; the next will be {coming}",
        )
