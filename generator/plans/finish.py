"""The story of `plans`: what is pending is built on a GPU, compared with ONNX Runtime, and only then published."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from generator.digests import record_files
from generator.errors import ModelRepoError, OptionError, RepositoryError, ServerError, VerificationError, nearest
from generator.files import link_or_copy
from generator.manifest import BuiltPlan, PendingPlan
from generator.plans import config, work
from generator.plans.standing import Standing, served_files, stand, usable, wanted_tolerance
from generator.plans.store import changes
from generator.progress import Progress
from generator.repository import CONFIG, Published, Repository, StagedModel

if TYPE_CHECKING:
    from generator.backends.tensorrt.machine import Gpu, Machine
    from generator.backends.tensorrt.ways import Way

LABELS = "labels.txt"
Outcome = Literal["published", "unchanged", "deferred", "verified", "failed", "skipped"]
Wanted = Literal["auto", "process", "container"]


@dataclass(frozen=True)
class Row:
    """What became of one plan. ``reasons`` say why it was built where it was, or why it could not be."""

    standing: Standing
    outcome: Outcome
    version: int | None = None
    plans: tuple[BuiltPlan, ...] = ()
    max_rel_diff: float | None = None
    reasons: tuple[str, ...] = ()
    failure: ModelRepoError | None = None


@dataclass(frozen=True)
class Report:
    """What a run did, and whether it was cut short."""

    repository: Path
    rows: tuple[Row, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False


def status(root: Path) -> tuple[Standing, ...]:
    """Return what stands of every entry of ``plans.lock``, by name; changes nothing.

    Raises RepositoryError where there is no such repository, or its state can't be read.
    """
    from generator.backends.tensorrt import machine

    repository = _opened(root)
    names = sorted(repository.plans.entries())
    gpus = machine.look().gpus if names else ()
    return tuple(stand(name, repository, gpus) for name in names)


def build(
    root: Path, names: Sequence[str], progress: Progress, *, wanted: Wanted = "auto", rebuild: bool = False
) -> Report:
    """Build what is pending or stale, of all entries or of those named, and publish what proves right.

    A plan that another host has built and proven is published as it is. One that fails keeps no other from its turn,
    and stays pending.
    """
    from generator.backends.tensorrt import machine

    repository = _opened(root)
    chosen = _chosen(repository, names)
    here = machine.look() if chosen else machine.Machine()
    return _run(
        repository,
        chosen,
        here,
        progress,
        lambda standing: _finish(standing, repository, here, wanted, rebuild, progress),
    )


def verify(root: Path, names: Sequence[str], progress: Progress, *, wanted: Wanted = "auto") -> Report:
    """Run built plans again on this machine's GPU, and compare their answers; nothing is changed on disk.

    Of a published plan it is the published file. Raises ServerError where there is no GPU.
    """
    from generator.backends.tensorrt import machine

    repository = _opened(root)
    chosen = _chosen(repository, names)
    here = machine.look() if chosen else machine.Machine()
    if chosen and not here.gpus:
        raise ServerError(f"no plan can be run here: {here.why_no_gpu}", "Run it on a host with the GPU")

    def act(standing: Standing) -> Row:
        return _verified(standing, repository, here, wanted, progress)

    return _run(repository, chosen, here, progress, act)


def _opened(root: Path) -> Repository:
    repository = Repository(root)
    if not repository.root.is_dir() and not repository.state.is_dir():
        raise RepositoryError(f"there is no repository {root}", "Name one with --repository, or run generate first")
    return repository


def _chosen(repository: Repository, names: Sequence[str]) -> list[str]:
    known = sorted(repository.plans.entries())
    for name in names:
        if name not in known:
            hint = nearest(name, known) if known else f"{repository.plans.lock} lists none"
            raise OptionError(f"unknown plan {name!r}", hint)
    return list(dict.fromkeys(names)) or known


def _run(
    repository: Repository,
    names: Iterable[str],
    here: "Machine",
    progress: Progress,
    act: Callable[[Standing], Row],
) -> Report:
    """Do the same with every plan; an interrupt ends the run, and the report says what stands."""
    rows: list[Row] = []
    interrupted = False
    for name in names:
        standing = stand(name, repository, here.gpus)
        if interrupted:
            rows.append(Row(standing, "skipped", reasons=("interrupted",)))
            continue
        try:
            rows.append(act(standing))
        except ModelRepoError as error:
            rows.append(Row(standing, "failed", failure=error))
        except OSError as error:
            failure = RepositoryError(f"{error.strerror or error}: {error.filename or repository.root}")
            rows.append(Row(standing, "failed", failure=failure))
        except KeyboardInterrupt:
            interrupted = True
            rows.append(Row(standing, "skipped", reasons=("interrupted",)))
    return Report(repository.root, tuple(rows), progress.total(), interrupted)


# --- build


def _finish(
    standing: Standing, repository: Repository, here: "Machine", wanted: Wanted, rebuild: bool, progress: Progress
) -> Row:
    """Build one plan if that is needed, and publish it; what can't be built here is deferred."""
    if standing.status == "superseded":
        newest = repository.manifests(standing.name)[-1]
        return _row(standing, "unchanged", newest.provenance.plans, newest.version, standing.changed)
    usable(standing)
    if standing.published and standing.status == "published" and not rebuild:
        return _row(standing, "unchanged", standing.plans, standing.published.version)
    repository.preflight(standing.name)
    reasons: tuple[str, ...] = ()
    wanting = _wanting(standing, here, rebuild)
    if wanting or not standing.fitting:
        way = work.choose(work.spec_of(standing.entry), here, wanted)
        reasons = way.reasons
        if way.kind == "deferred" and (rebuild or not standing.fitting):
            return Row(standing, "deferred", reasons=reasons)
        for gpu in wanting if way.kind != "deferred" else ():
            _build(standing, repository, here, gpu, way, progress)
    built = stand(standing.name, repository, here.gpus)
    if not built.fitting:  # from the cache, where it was proven within another tolerance
        raise VerificationError(
            f"the plan differs from ONNX Runtime by more than {wanted_tolerance(built.entry)}",
            "A looser limit is set with --tolerance of generate",
        )
    published = _publish(built, repository, progress)
    manifest = published.manifest
    outcome: Outcome = "published" if published.status == "published" else "unchanged"
    return _row(standing, outcome, manifest.provenance.plans, manifest.version, reasons)


def _row(
    standing: Standing, outcome: Outcome, plans: tuple[BuiltPlan, ...], version: int, reasons: tuple[str, ...] = ()
) -> Row:
    worst = max((plan.proof.max_rel_diff for plan in plans if plan.proof), default=None)
    return Row(standing, outcome, version, plans, worst, reasons)


def _wanting(standing: Standing, here: "Machine", rebuild: bool) -> tuple["Gpu", ...]:
    """Return one GPU of each type of this machine that a plan is to be built for."""
    built = {plan.compute_capability for plan in standing.fitting.values()}
    return tuple(gpu for gpu in here.types if rebuild or gpu.compute_capability not in built)


def _build(
    standing: Standing, repository: Repository, here: "Machine", gpu: "Gpu", way: "Way", progress: Progress
) -> None:
    """Build and prove one plan in a staging folder, and keep it; nothing is left of one that fails."""
    prepared = repository.plan_folder(standing.name)
    with repository.staging() as staging:
        folder = staging / standing.name
        _lay_out(standing.entry, prepared, folder)
        with progress.step("build", f"building {standing.name} for {gpu.name}") as step:
            built = work.make(standing.entry, folder, way, here, gpu, progress)
            worst = f", worst difference {built.proof.max_rel_diff:.1e}" if built.proof else ""
            step.outcome = f"TensorRT {built.tensorrt} ({way.kind}){worst}"
        with repository.locked():
            repository.keep_plan(standing.name, folder / work.PLAN, built)


def _lay_out(entry: PendingPlan, prepared: Path, folder: Path) -> None:
    for file in entry.files:
        link_or_copy(prepared / file, folder / file)


def _publish(standing: Standing, repository: Repository, progress: Progress) -> Published:
    """Publish the proven plans of an entry together, one for each compute capability, as one version."""
    name, entry, prepared = standing.name, standing.entry, repository.plan_folder(standing.name)
    sources = {plan.sha256: path for path, plan in standing.fitting.items()}
    files = served_files(standing.fitting.values())
    by_gpu = {plan.compute_capability: file for file, plan in files.items()} if len(files) > 1 else {}
    text = (prepared / CONFIG).read_text("utf-8")

    def render(version: int) -> str:
        return config.fitted(text, _prepared_version(entry), version, repository.versions(name), by_gpu)

    with repository.staging() as staging, progress.step("publish", f"publishing in {repository.root}"):
        model = staging / name
        for file, plan in files.items():
            link_or_copy(sources[plan.sha256], model / str(repository.next_version(name)) / file)
        if (prepared / LABELS).exists():
            link_or_copy(prepared / LABELS, model / LABELS)
        staged = StagedModel(
            name=name,
            backend="tensorrt",
            folder=model,
            files=record_files(model),
            max_batch_size=entry.max_batch_size,
            render=render,
            provenance=replace(entry.provenance, plans=tuple(files.values())),
        )
        with repository.locked():
            published = repository.publish(staged)
    for note in published.notes:
        progress.warn(f"{name}: {note}")
    return published


def _prepared_version(entry: PendingPlan) -> int | None:
    """Return the version in the prepared configuration that follows the published one; None where the user lists."""
    policy = entry.provenance.options.get("version_policy") or {}
    return None if policy.get("versions") else entry.version


# --- verify


def _verified(standing: Standing, repository: Repository, here: "Machine", wanted: Wanted, progress: Progress) -> Row:
    """Run one plan again; RepositoryError where it is not built, or no longer from what is prepared."""
    entry = usable(standing)
    gpu = here.gpus[0]
    plan, built = _file_for(standing, repository, gpu)
    if changes(built.inputs, entry.inputs):
        raise RepositoryError(
            "what it was built from is not what is prepared now",
            f"Build it again with: modelrepo plans build {standing.name}",
        )
    way = work.choose(work.spec_of(entry), here, wanted)
    if way.kind == "deferred":
        raise ServerError(f"it can't be run here: {'; '.join(way.reasons)}")
    with repository.staging() as staging, progress.step("verify", f"verifying {standing.name} on {gpu.name}") as step:
        folder = staging / standing.name
        _lay_out(entry, repository.plan_folder(standing.name), folder)
        link_or_copy(plan, folder / work.PLAN)
        proof = work.prove(entry, folder, way, gpu)
        step.outcome = f"{proof.cases} cases, worst difference {proof.max_rel_diff:.1e}"
    version = standing.published.version if standing.published else None
    return Row(standing, "verified", version, (built,), proof.max_rel_diff, way.reasons)


def _file_for(standing: Standing, repository: Repository, gpu: "Gpu") -> tuple[Path, BuiltPlan]:
    """Return the plan for a GPU: the published one, or else the one that waits to be published."""
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
