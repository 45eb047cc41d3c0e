"""Laying out a model in the staging folder: as Triton will serve it, or as a plan to build elsewhere."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.generator.configuration.decisions import Decisions, Origin, decide
from modelrepo.generator.configuration.writer import Config, ConfigWriter
from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.lint import Host
from modelrepo.generator.lint.candidate import Candidate, judged, refuse_refused, warnings_of
from modelrepo.generator.pipeline import warm_up
from modelrepo.generator.pipeline.job import Context, Target
from modelrepo.generator.plans import reference
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.store import COMPANIONS, PlanStore
from modelrepo.generator.repository.layout import CONFIG, LABELS
from modelrepo.generator.repository.lifecycle import golden
from modelrepo.generator.repository.manifest import Provenance, SourceRecord
from modelrepo.generator.repository.repository import StagedModel
from modelrepo.generator.specs.artifacts import Artifact, Deferred, Order, Serving
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system.digests import record_files
from modelrepo.generator.system.files import link_or_copy
from modelrepo.generator.tensorrt.plan_spec import PlanSpec
from modelrepo.generator.tensorrt.proof import plan_precision
from modelrepo.generator.triton.releases import release_named
from modelrepo.generator.verification.golden_requests import Limits, golden_of
from modelrepo.generator.verification.proven import Proven


@dataclass(frozen=True)
class PreparedPlan:
    """A target that is built after it was prepared."""

    folder: Path  # what it is built from
    entry: PendingPlan  # its entry in ``plans.lock``
    here: bool  # whether this machine can build it


def prepare(
    target: Target, proven: Proven, writer: ConfigWriter, folder: Path, context: Context
) -> StagedModel | PreparedPlan:
    """Lay out the files that a backend serves, or the files to build them from elsewhere, below ``folder``."""
    served, decisions = _warmed_up(target, _as_served(target, proven))
    for note in served.notes[len(proven.notes) :]:
        context.progress.warn(f"{target.name}: {note}")
    version, existing = context.repository.next_version(target.name), context.repository.versions(target.name)
    config = writer.config(decisions, version, existing)
    work = folder / f"{target.name}.work"
    work.mkdir()
    model = folder / target.name
    (model / str(version)).mkdir(parents=True)
    _write_labels(model, config.preview, served)
    warnings = _judged(model, target, config, context, unbuilt=True)  # before minutes of building
    built = target.backend.build(
        Order(
            export=served.export,
            precision=target.choice.precision,
            max_batch_size=config.max_batch_size,
            preferred_batch_sizes=decisions.preferred_batch_sizes,
            release=release_named(target.options.target_release),
            options=target.options,
            folder=PlanStore(context.repository).folder(target.name),
            work=work,
            progress=context.progress,
        )
    )
    if isinstance(built, Deferred):
        plan = folder / f"{target.name}.plan"
        _lay_out_plan(plan, target, served, built, config.preview)
        _warn(warnings, target, context)
        return PreparedPlan(plan, _entry(plan, target, served, built, config, version), built.here)
    _lay_out(built, model / str(version))
    _copy_companions(served.source, model / str(version))
    _warn(_judged(model, target, config, context), target, context)
    return StagedModel(
        name=target.name,
        backend=target.choice.backend,
        folder=model,
        files=record_files(model),
        config=config,
        preview=config.preview,
        provenance=_provenance(target, served),
        version=version,
        older=context.repository.folders(target.name),
    )


def remembering(staged: StagedModel, target: Target, proven: Proven, context: Context) -> StagedModel:
    """Return a staged model that keeps golden requests with the version that it becomes."""
    options, repository = target.options, context.repository
    largest = staged.config.max_batch_size
    requests = golden_of(_as_served(target, proven), staged.preview, largest, options.tolerance, options.seed)
    return replace(staged, before_commit=lambda version: golden.keep(repository, staged.name, version, requests))


def _judged(model: Path, target: Target, config: Config, context: Context, *, unbuilt: bool = False) -> tuple[str, ...]:
    """Return what Triton would do otherwise than the configuration says; an error if it would refuse the model.

    That is an OptionError if the user changed the configuration, and else a RepositoryError.
    """
    entries = {**context.repository.entries(target.name), **{entry.name: entry for entry in model.iterdir()}}
    host = Host(release_named(target.options.target_release))
    found = judged(Candidate(target.name, config.preview, entries, unbuilt), host, model.parent)
    theirs = target.options.config_patch or target.options.templates
    refuse_refused(found, OptionError if theirs else RepositoryError)
    return warnings_of(found)


def _warn(warnings: tuple[str, ...], target: Target, context: Context) -> None:
    for warning in warnings:
        context.progress.warn(f"{target.name}: {warning}")


def _write_labels(folder: Path, config: str, proven: Proven) -> None:
    if f'label_filename: "{LABELS}"' in config:
        (folder / LABELS).write_text("".join(f"{label}\n" for label in proven.source.labels), "utf-8")


def _lay_out_plan(folder: Path, target: Target, proven: Proven, built: Deferred, config: str) -> None:
    """Put into a new ``folder`` what a plan is built from, compared with and served with."""
    folder.mkdir()
    for file in proven.export.files:
        copy = folder / file.relative_to(proven.export.path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    (folder / CONFIG).write_text(config, "utf-8")
    _write_labels(folder, config, proven)
    _copy_companions(proven.source, folder / COMPANIONS)
    reference.write_reference(  # also with --no-verify: every plan is proven before it is published
        folder,
        proven.twin or folder / proven.export.path.name,
        proven.export.signature,
        PlanSpec.of(built.inputs).profiles,
        target.options.tolerance or plan_precision(target.choice.precision).tolerance,
        target.options.seed,
        Limits(target.options.tolerance, plan_precision(target.choice.precision)),
    )


def _entry(folder: Path, target: Target, proven: Proven, built: Deferred, config: Config, version: int) -> PendingPlan:
    return PendingPlan(
        reason=built.reason,
        command=built.command,
        inputs=built.inputs,
        max_batch_size=config.max_batch_size,
        provenance=_provenance(target, proven),
        files=record_files(folder),
        version=version,
    )


def _lay_out(artifact: Artifact, folder: Path) -> None:
    for name, path in artifact.files.items():
        link_or_copy(path, folder / name)


def _copy_companions(source: SourceModel, folder: Path) -> None:
    """Copy the files that belong to a model: the user may edit the originals, or they are links in a cache."""
    for name, path in source.companions.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def _warmed_up(target: Target, proven: Proven) -> tuple[Proven, Decisions]:
    """Return the model and its decisions, with a note and without the warm-up if the served model can't answer it."""
    decisions = decided(target, proven)
    if not decisions.warmup or warm_up.is_answered(decisions, proven):
        return proven, decisions
    return replace(proven, notes=(*proven.notes, warm_up.NONE)), replace(decisions, warmup=False)


def decided(target: Target, proven: Proven) -> Decisions:
    """Decide what the configuration of a target says; OptionError for profiles that do not fit the model."""
    proven = _as_served(target, proven)
    weights = proven.source.weights
    parameters = {"source": proven.source.reference, "weights": f"{weights.kind}: {weights.detail}"}
    if weights.untrained:
        parameters["untrained"] = "true"
    kinds = proven.source.input_kinds
    if kinds:
        parameters["input_kinds"] = ",".join(f"{name}={kind}" for name, kind in kinds.items())
    signature = proven.export.signature
    serving = Serving(target.name, target.options, signature, target.choice.precision, proven.max_batch_size)
    return decide(serving, target.backend, Origin(parameters, proven.source.labels, proven.warm_up))


def _as_served(target: Target, proven: Proven) -> Proven:
    return proven if target.backend.optional_inputs else proven.closed


def _provenance(target: Target, proven: Proven) -> Provenance:
    source, export = proven.source, proven.export
    return Provenance(
        key=target.key.digest,
        source=SourceRecord(
            reference=source.reference,
            weights=source.weights,
            preprocess=source.preprocess,
            exporter=export.exporter,
            opset=export.opset,
            ir_version=export.ir_version,
            notes=proven.notes,
            inputs=tuple(spec.described for spec in export.signature.inputs),
            input_kinds=source.input_kinds,
        ),
        options=target.key.options,
        tools=target.key.tools,
        verification=proven.verification,
        optimization=proven.optimization,
    )
