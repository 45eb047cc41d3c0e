"""The story of `plans`: pending plans are built on a GPU, compared with ONNX Runtime, and only then published."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelrepo.generator.errors import ModelRepoError, OptionError, RepositoryError, ServerError, nearest
from modelrepo.generator.lint import Host
from modelrepo.generator.lint.candidate import Candidate, judged, refuse_refused
from modelrepo.generator.plans.config import PreparedConfig
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.status import Standing, served_files, spec_of, stand, superseded, usable
from modelrepo.generator.plans.store import COMPANIONS, PlanStore, changes
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.layout import CONFIG, LABELS
from modelrepo.generator.repository.repository import Published, Repository, StagedModel
from modelrepo.generator.specs.plans import BuiltPlan
from modelrepo.generator.system.digests import record_files
from modelrepo.generator.system.files import link_or_copy
from modelrepo.generator.tensorrt import machine, plan_spec, ways
from modelrepo.generator.triton.releases import release_named

if TYPE_CHECKING:
    from modelrepo.generator.tensorrt.machine import Gpu, Machine
    from modelrepo.generator.tensorrt.making import Known
    from modelrepo.generator.tensorrt.ways import Wanted, Way

Outcome = Literal["published", "unchanged", "superseded", "deferred", "verified", "failed", "skipped"]


@dataclass(frozen=True)
class PlanResult:
    """The result for one plan."""

    name: str
    entry: PendingPlan
    outcome: Outcome
    version: int | None = None  # the published one
    plans: tuple[BuiltPlan, ...] = ()  # one for each compute capability
    max_rel_diff: float | None = None  # the worst of ``plans``
    reasons: tuple[str, ...] = ()  # why it was built where it was, or why it could not be built
    failure: ModelRepoError | None = None


@dataclass(frozen=True)
class PlansReport:
    """The results of a run, one for each plan."""

    repository: Path
    results: tuple[PlanResult, ...]
    seconds: dict[str, float] = field(default_factory=dict)  # by kind of step
    interrupted: bool = False


def standings(root: Path) -> tuple[Standing, ...]:
    """Return the state of every entry of ``plans.lock``, by name; changes nothing.

    Raises RepositoryError if the repository does not exist, or its state can't be read.
    """
    repository = _opened(root)
    names = sorted(PlanStore(repository).entries())
    gpus, _ = machine.gpus() if names else ((), "")
    try:
        return tuple(stand(name, repository, gpus) for name in names)
    except OSError as error:
        raise _unreadable(error, repository) from error


def build_plans(
    root: Path, names: Sequence[str], progress: Progress, *, wanted: "Wanted" = "auto", rebuild: bool = False
) -> PlansReport:
    """Build pending and stale plans, all or those named, and publish those that are proven.

    A plan that another host has built and proven is published as it is. An entry is left alone if another model was
    published under its name since. A plan that fails stays pending, and the others are still built.
    """
    repository = _opened(root)

    def act(name: str, entry: PendingPlan) -> PlanResult:
        newer = superseded(name, entry, repository)
        if newer:
            return PlanResult(name, entry, "superseded", reasons=newer)
        published, reasons = build_one(name, repository, progress, wanted=wanted, rebuild=rebuild)
        if published is None:
            return PlanResult(name, entry, "deferred", reasons=reasons)
        plans = published.manifest.provenance.plans
        worst = max((plan.proof.max_rel_diff for plan in plans if plan.proof), default=None)
        return PlanResult(name, entry, published.status, published.manifest.version, plans, worst, reasons)

    return _run(repository, _chosen(repository, names), progress, act)


def verify_plans(root: Path, names: Sequence[str], progress: Progress, *, wanted: "Wanted" = "auto") -> PlansReport:
    """Run built plans again on this machine's GPU, and compare their answers; nothing is changed on disk.

    If a plan is published, the published file is run. Raises ServerError if there is no GPU.
    """
    repository = _opened(root)
    chosen = _chosen(repository, names)
    here = machine.look(progress) if chosen else machine.Machine()
    if chosen and not here.gpus:
        raise ServerError(f"can't run a plan here: {here.why_no_gpu}", "Run it on a host with the GPU")

    def act(name: str, entry: PendingPlan) -> PlanResult:
        return _verified(stand(name, repository, here.gpus), repository, here, wanted, progress)

    return _run(repository, chosen, progress, act)


def _opened(root: Path) -> Repository:
    repository = Repository(root)
    if not repository.root.is_dir() and not repository.state.is_dir():
        raise RepositoryError(f"can't find the repository {root}", "Name one with --repository, or run generate first")
    return repository


def _chosen(repository: Repository, names: Sequence[str]) -> dict[str, PendingPlan]:
    """Return the entries that are named, or all; OptionError for an unknown name."""
    entries = PlanStore(repository).entries()
    for name in names:
        if name not in entries:
            hint = nearest(name, sorted(entries)) if entries else f"{PlanStore(repository).lock} lists none"
            raise OptionError(f"unknown plan {name!r}", hint)
    return {name: entries[name] for name in names or sorted(entries)}


def _run(
    repository: Repository,
    entries: Mapping[str, PendingPlan],
    progress: Progress,
    act: Callable[[str, PendingPlan], PlanResult],
) -> PlansReport:
    """Run ``act`` on every plan; an interrupt ends the run, and the report has the results so far."""
    results: list[PlanResult] = []
    interrupted = False
    for name, entry in entries.items():
        result = PlanResult(name, entry, "skipped", reasons=("interrupted",))
        try:
            if not interrupted:
                result = act(name, entry)
        except ModelRepoError as error:
            result = PlanResult(name, entry, "failed", failure=error)
        except OSError as error:
            result = PlanResult(name, entry, "failed", failure=_unreadable(error, repository))
        except KeyboardInterrupt:
            interrupted = True
        results.append(result)
    return PlansReport(repository.root, tuple(results), progress.total(), interrupted)


def _unreadable(error: OSError, repository: Repository) -> RepositoryError:
    return RepositoryError(f"{error.strerror or error}: {error.filename or repository.root}")


# --- build


def build_one(
    name: str, repository: Repository, progress: Progress, *, wanted: "Wanted" = "auto", rebuild: bool = False
) -> tuple[Published | None, tuple[str, ...]]:
    """Build one plan if needed, prove and publish it; return the published version, and the reasons for the way.

    Returns None and the reasons if it can't be built here. Raises RepositoryError if its files changed since they were
    prepared, or another model was published under its name since; ConversionError if it can't be built in the wanted
    way; VerificationError if its answers are wrong. After an error it stays pending.
    """
    here = machine.Machine() if wanted == "defer" else machine.look(progress)
    standing = stand(name, repository, here.gpus)
    entry = usable(standing)
    if standing.published and standing.status == "published" and not rebuild:
        return Published("unchanged", standing.published), ()
    repository.preflight(name)
    reasons: tuple[str, ...] = ()
    wanting = _wanting(standing, here, rebuild)
    if wanting or not standing.fitting:
        way = ways.choose(spec_of(entry), here, wanted)
        reasons = way.reasons
        if way.kind == "deferred" and (rebuild or not standing.fitting):
            return None, reasons
        for gpu in wanting if way.kind != "deferred" else ():
            _build(standing, repository, here, gpu, way, rebuild, progress)
    return _publish(stand(name, repository, here.gpus), repository, progress), reasons


def _wanting(standing: Standing, here: "Machine", rebuild: bool) -> tuple["Gpu", ...]:
    """Return the GPUs to build plans for: one of each type in this machine."""
    built = {plan.compute_capability for plan in standing.fitting.values()}
    return tuple(gpu for gpu in here.types if rebuild or gpu.compute_capability not in built)


def _build(
    standing: Standing,
    repository: Repository,
    here: "Machine",
    gpu: "Gpu",
    way: "Way",
    rebuild: bool,
    progress: Progress,
) -> None:
    """Build and prove one plan in a staging folder, and keep it; a failed plan leaves nothing behind."""
    from modelrepo.generator.plans.reference import reference_of
    from modelrepo.generator.tensorrt.making import make_plan

    entry = standing.entry
    prepared = PlanStore(repository).folder(standing.name)
    with repository.staging() as staging:
        folder = staging / standing.name
        _lay_out(entry, prepared, folder)
        with progress.step("build", f"building {standing.name} for {gpu.name}") as step:
            reference = reference_of(entry, folder)
            known = None if rebuild else _known(standing, gpu)
            built = make_plan(spec_of(entry), folder, way, here, gpu, reference, progress, known=known, fresh=rebuild)
            worst = f", worst difference {built.proof.max_rel_diff:.1e}" if built.proof else ""
            step.outcome = f"TensorRT {built.tensorrt} ({way.kind}){worst}"
        with repository.locked():
            PlanStore(repository).keep(standing.name, folder / plan_spec.PLAN, built)


def _known(standing: Standing, gpu: "Gpu") -> "Known | None":
    """Return a plan for a GPU that was built from the same inputs, but not proven within the current limit."""
    for path, plan in standing.others.items():
        if plan.compute_capability == gpu.compute_capability and not changes(plan.inputs, standing.entry.inputs):
            return path, plan
    return None


def _lay_out(entry: PendingPlan, prepared: Path, folder: Path) -> None:
    for file in entry.files:
        link_or_copy(prepared / file, folder / file)


def _publish(standing: Standing, repository: Repository, progress: Progress) -> Published:
    """Publish the proven plans of an entry, one for each compute capability, as one version."""
    from modelrepo.generator.plans.reference import golden_requests
    from modelrepo.generator.verification import golden

    name, entry, prepared = standing.name, standing.entry, PlanStore(repository).folder(standing.name)
    sources = {plan.sha256: path for path, plan in standing.fitting.items()}
    files = served_files(standing.fitting.values())
    by_gpu = {plan.compute_capability: file for file, plan in files.items()} if len(files) > 1 else {}
    config = PreparedConfig(
        (prepared / CONFIG).read_text("utf-8"), entry.max_batch_size, _prepared_version(entry), by_gpu
    )
    with repository.staging() as staging, progress.step("publish", f"publishing in {repository.root}"):
        model = staging / name
        number = repository.next_version(name)
        version = model / str(number)
        for file, plan in files.items():
            link_or_copy(sources[plan.sha256], version / file)
        for path in entry.files:
            folder, _, companion = path.partition("/")
            if folder == COMPANIONS:
                link_or_copy(prepared / path, version / companion)
        if (prepared / LABELS).exists():
            link_or_copy(prepared / LABELS, model / LABELS)
        preview = config.text(number, repository.versions(name))
        entries = {**repository.entries(name), **{entry.name: entry for entry in model.iterdir()}}
        found = judged(Candidate(name, preview, entries), Host(release_named(spec_of(entry).release)), staging)
        refuse_refused(found)
        staged = StagedModel(
            name=name,
            backend=plan_spec.BACKEND,
            folder=model,
            files=record_files(model),
            config=config,
            preview=preview,
            provenance=replace(entry.provenance, plans=tuple(files.values())),
            version=number,
            older=repository.folders(name),
            before_commit=lambda version: golden.write(
                repository.golden_folder(name), str(version), golden_requests(prepared)
            ),
        )
        with repository.locked():
            published = repository.publish(staged)
    for note in published.notes:
        progress.warn(f"{name}: {note}")
    return published


def _prepared_version(entry: PendingPlan) -> int | None:
    """Return the version that the configuration was prepared for; None if the user lists the served versions."""
    policy = entry.provenance.options.get("version_policy") or {}
    return None if policy.get("versions") else entry.version


# --- verify


def _verified(
    standing: Standing, repository: Repository, here: "Machine", wanted: "Wanted", progress: Progress
) -> PlanResult:
    """Run one plan again; RepositoryError if it is not built, or the prepared files changed since."""
    from modelrepo.generator.plans.reference import reference_of
    from modelrepo.generator.tensorrt.making import prove

    entry = usable(standing)
    gpu = here.gpus[0]
    plan, built = _file_for(standing, repository, gpu)
    if changes(built.inputs, entry.inputs):
        raise RepositoryError(
            "the prepared files changed since it was built",
            f"Build it again with: modelrepo plans build {standing.name}",
        )
    spec = spec_of(entry)
    way = ways.choose(spec, here, wanted)
    if way.kind == "deferred":
        raise ServerError(f"can't run it here: {'; '.join(way.reasons)}")
    with repository.staging() as staging, progress.step("verify", f"verifying {standing.name} on {gpu.name}") as step:
        folder = staging / standing.name
        _lay_out(entry, PlanStore(repository).folder(standing.name), folder)
        link_or_copy(plan, folder / plan_spec.PLAN)
        proof = prove(spec, folder / plan_spec.PLAN, way, gpu, reference_of(entry, folder))
        step.outcome = f"{proof.cases} cases, worst difference {proof.max_rel_diff:.1e}"
    version = standing.published.version if standing.published else None
    return PlanResult(standing.name, entry, "verified", version, (built,), proof.max_rel_diff, way.reasons)


def _file_for(standing: Standing, repository: Repository, gpu: "Gpu") -> tuple[Path, BuiltPlan]:
    """Return the plan for a GPU: the published one, or else the one that is not published yet."""
    files = dict(standing.fitting)
    if standing.published:
        folder = repository.root / standing.name / str(standing.published.version)
        files = {folder / file: plan for file, plan in served_files(standing.published.provenance.plans).items()}
    for path, plan in files.items():
        if plan.compute_capability == gpu.compute_capability:
            return path, plan
    raise RepositoryError(
        f"there is no plan for {gpu.name} ({gpu.compute_capability})",
        f"Build it with: modelrepo plans build {standing.name}",
    )
