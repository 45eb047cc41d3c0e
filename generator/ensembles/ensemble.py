"""The story of an ensemble: find its models, wire them, prove the whole, publish it with its members pinned."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from modelrepo.clients import Client
from modelrepo.generator.ensembles import calling, combine_step, helpers, image, proof
from modelrepo.generator.ensembles.config import EnsembleConfig, config_of, recorded
from modelrepo.generator.ensembles.flat import flat
from modelrepo.generator.ensembles.member import KINDS, Member, Site, member_of
from modelrepo.generator.ensembles.wiring import Wiring, wire
from modelrepo.generator.errors import ModelRepoError, OptionError, RepositoryError
from modelrepo.generator.lint import Host
from modelrepo.generator.lint.candidate import Candidate, judged, refuse_refused, warnings_of
from modelrepo.generator.options import resolve
from modelrepo.generator.pipeline import clients, failures
from modelrepo.generator.pipeline.job import Context
from modelrepo.generator.repository.layout import CONFIG, MEMBERS
from modelrepo.generator.repository.lifecycle import golden, pins
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord
from modelrepo.generator.repository.repository import Published, StagedModel
from modelrepo.generator.specs.ensembles import Called, EnsembleSpec
from modelrepo.generator.specs.findings import Live, Verification
from modelrepo.generator.specs.report import Result
from modelrepo.generator.system.digests import record_files
from modelrepo.generator.system.extras import version_of
from modelrepo.generator.triton import pbtxt, releases
from modelrepo.generator.verification import golden_requests
from modelrepo.generator.verification.proven import Proven

BACKEND = "ensemble"
# Grows when ensembles are made or proven otherwise: what was published before is then made and proven again.
PROOF = 1
NOT_ASKED = "the whole was not asked in a Triton: each of its models was proven, and only their wiring was checked"


@dataclass(frozen=True)
class Plan:
    """An ensemble that is wired and certain, before anything is written."""

    spec: EnsembleSpec
    members: Mapping[str, Member]  # by step
    wiring: Wiring
    config: EnsembleConfig
    key: str


def generate(
    specs: Sequence[EnsembleSpec], context: Context, coming: Mapping[str, str] | None = None
) -> Iterator[Result]:
    """Generate ensembles, those that others call first; yield the rows of each as soon as they are certain.

    One that fails is a row, and the others still run. ``coming`` has the models of the same run that were not
    published, with the reason: an ensemble that calls one of them is not made of an older version instead.
    """
    missing = dict(coming or {})
    try:
        ordered = _ordered(specs)
    except OptionError as error:
        yield from (_failed(spec, error) for spec in specs)
        return
    for spec in ordered:
        lacking = next((missing[name] for name in _needed(spec) if name in missing), "")
        if lacking:
            missing[spec.name] = f"{spec.name} is not made"
            yield _held_back(spec, lacking, context)
            continue
        try:
            for row in _generated(spec, context):
                if row.name == spec.name and row.status == "skipped":
                    missing[spec.name] = f"{spec.name} is not there yet"
                yield row if context.dry_run else clients.written(row, context)
        except failures.KINDS as error:
            missing[spec.name] = f"{spec.name} failed"
            yield _failed(spec, failures.of(error, spec.name, context.repository.root))


def _needed(spec: EnsembleSpec) -> list[str]:
    """Return the names of the models that the steps of an ensemble are, but of those with a version of their own."""
    own = [spec.own_model(step) if step.scheme else step.use for step in spec.steps if "@" not in step.use]
    return own + [name for step in spec.steps for name in calling.named(step) if "@" not in name]


def _used(spec: EnsembleSpec) -> list[str]:
    """Return what the steps of an ensemble use, and what they call themselves."""
    return [name for step in spec.steps for name in (step.use, *calling.named(step))]


def _model(use: str) -> str:
    return use.partition("@")[0]


def _held_back(spec: EnsembleSpec, lacking: str, context: Context) -> Result:
    """Return the row of an ensemble of which a model was not published in this run."""
    if context.dry_run:
        note = f"dry run: would be made after its models ({lacking})"
        return Result(spec.name, BACKEND, spec.name, "skipped", notes=(note,))
    return Result(spec.name, BACKEND, spec.name, "skipped", notes=(f"not made: {lacking}",))


def _ordered(specs: Sequence[EnsembleSpec]) -> list[EnsembleSpec]:
    """Return ensembles behind those that they call; OptionError for a circle."""
    by_name = {spec.name: spec for spec in specs}
    calls = {spec.name: [name for name in map(_model, _used(spec)) if name in by_name] for spec in specs}
    try:
        return [by_name[name] for name in TopologicalSorter(calls).static_order()]
    except CycleError as error:
        circle = error.args[1][::-1]
        raise OptionError(
            f"the ensembles call each other in a circle: {' → '.join(circle)}", "Take one of the steps out"
        ) from error


def _generated(spec: EnsembleSpec, context: Context) -> Iterator[Result]:
    """Make one ensemble, or find that it stands already; yield its row, after those of models made for its steps."""
    repository = context.repository
    repository.preflight(spec.name)
    with repository.staging() as staging:
        plan = planned(spec, context, staging)
        standing = _standing(plan, context)
        if standing:
            yield from (helpers.unchanged(member, context) for member in _made(plan).values())
            yield helpers.row(Published("unchanged", standing), context)
            return
        if context.dry_run:
            yield from (helpers.would_publish(member) for member in _made(plan).values())
            note = f"dry run: would be made as version {repository.next_version(spec.name)}"
            yield Result(spec.name, BACKEND, spec.name, "skipped", notes=(note,))
            return
        yield from _published(plan, context, staging)


def planned(spec: EnsembleSpec, context: Context, staging: Path) -> Plan:
    """Find the models of an ensemble and wire them; only files in ``staging`` are written.

    Errors are those of ``member_of`` and ``wire``, and say which ensemble it is.
    """
    try:
        found = _members(spec, context, staging)
        wiring = wire(combine_step.completed(spec, found), found)
    except ModelRepoError as error:
        raise type(error)(f"ensemble {spec.name!r}: {error.message}", error.hint) from error
    steps = {step.name: step for step in spec.steps}
    staged = {name: helpers.laid_out(member, steps[name], spec, context, staging) for name, member in found.items()}
    stages = tuple(replace(stage, member=staged[stage.name]) for stage in wiring.stages)
    wiring = flat(replace(wiring, stages=stages))
    config = replace(config_of(spec.name, wiring, _labels(wiring, staged, context)), place=spec.place)
    return Plan(spec, staged, wiring, config, _key(spec, config, wiring.members))


def _labels(wiring: Wiring, members: Mapping[str, Member], context: Context) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes that outputs of an ensemble have scores of, as their models name them."""
    found = {}
    for name, end in wiring.outputs.items():
        member = members[end.step]
        if any(tensor.name == end.port and tensor.label_filename for tensor in member.config.output):
            found[name] = combine_step.labels(member, context.repository)
    return found


def _members(spec: EnsembleSpec, context: Context, staging: Path) -> dict[str, Member]:
    """Return the model of each step; those that are made from what others are come last."""
    release = releases.release_named(releases.NEWEST)
    found: dict[str, Member] = {}
    for step in sorted(spec.steps, key=lambda step: step.scheme in KINDS and KINDS[step.scheme].reads_others):
        folder = staging / f"{step.name}.made"
        folder.mkdir()
        site = Site(spec, context.repository, release, folder, context.progress, dict(found))
        found[step.name] = member_of(step, site)
        if found[step.name].name == spec.name:
            raise OptionError(f"step {step.name!r} calls the ensemble itself", "Name another model in use")
    return {step.name: found[step.name] for step in spec.steps}


def _key(spec: EnsembleSpec, config: EnsembleConfig, members: Iterable[Member]) -> str:
    """Digest everything that decides a published ensemble: its configuration, its members' content, and samples."""
    document = {
        "config": config.text(0),
        "members": pinned(members),
        "samples": _samples(spec),
        "tools": _tools(),
        "proof": PROOF,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _samples(spec: EnsembleSpec) -> Any:
    from modelrepo.generator.system.digests import digest_tree

    return digest_tree(spec.samples) if spec.samples else None


def pinned(members: Iterable[Member]) -> dict[str, dict[str, Any]]:
    """Return the versions of an ensemble's members, with a digest of the files of each: what a manifest pins."""
    every = {each.name: each for member in members for each in _with_called(member)}
    return {name: {"version": each.version, "digest": _digest(each)} for name, each in sorted(every.items())}


def _with_called(member: Member) -> Iterator[Member]:
    for each in member.calls:
        yield from _with_called(each)
    yield member


def _digest(member: Member) -> str:
    content = helpers.content(member.made) if member.made else member.record.content() if member.record else {}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tools() -> dict[str, str]:
    return {name: version for name in ("modelrepo", "numpy", "onnxruntime") if (version := version_of(name))}


def _standing(plan: Plan, context: Context) -> Manifest | None:
    """Return the published version that a plan would only repeat, proven as this run asks; None if there is none."""
    repository = context.repository
    newest = repository.newest(plan.spec.name)
    if newest is None or newest.provenance.key != plan.key or not repository.in_force(newest):
        return None
    live = newest.provenance.verification.live
    passed = live is not None and live.status == "passed"
    wanted = passed or context.run.live_check == "off" or (context.run.live_check == "auto" and live is not None)
    remembered = golden.are_kept(repository, newest.name, newest.version)
    return newest if wanted and remembered and all(each.record for each in _made(plan).values()) else None


def _made(plan: Plan) -> dict[str, Member]:
    """Return the models that are made for steps, by step."""
    return {step: each for step, each in plan.members.items() if each.made}


def _published(plan: Plan, context: Context, staging: Path) -> Iterator[Result]:
    """Prove a planned ensemble and publish it, its own models first; yield their rows."""
    repository, name = context.repository, plan.spec.name
    options = resolve.default_options(f"ensemble:{name}")
    proven = proof.proven_of(plan.spec, plan.wiring, options.seed)
    staged = _staged(plan, proven, context, staging)
    live = _asked(staged, plan, proven, context)
    if live is None or live.status == "skipped":
        proof.refuse_mute(proven)
    found = _verification(live, proven)
    notes = (*proven.notes, *(() if found.passed else (NOT_ASKED,)))
    for note in notes:
        context.progress.warn(f"{name}: {note}")
    staged = replace(staged, provenance=_provenance(plan, proven, found, notes))
    requests = golden_requests.golden_of(proven, staged.preview, staged.config.max_batch_size, None, options.seed)
    staged = replace(staged, before_commit=lambda version: golden.keep(repository, name, version, requests))
    with (
        context.progress.step("publish", f"publishing in {repository.root}"),
        repository.locked(),
    ):
        _refuse_changed(plan, context)  # before a model of a step takes the place of one that the old version calls
        rows = [helpers.published(each, plan.spec, found, context, staging) for each in _made(plan).values()]
        outcome = repository.publish(staged)
        image.write(repository, releases.release_named(releases.NEWEST))
    told = [(name, outcome.notes), *((each.name, each.made.notes) for each in _made(plan).values() if each.made)]
    for of, notes in told:
        for note in notes:
            context.progress.tell(note, of)
    yield from rows
    yield helpers.row(outcome, context)


def _staged(plan: Plan, proven: Proven, context: Context, staging: Path) -> StagedModel:
    """Lay out an ensemble, and judge its configuration beside its models.

    Triton needs a version folder and nothing in it; but Git and object stores keep no empty folders.
    """
    repository, name = context.repository, plan.spec.name
    version, existing = repository.next_version(name), repository.versions(name)
    folder = staging / name
    (folder / str(version)).mkdir(parents=True)
    for file, labels in plan.config.labels.items():
        (folder / file).write_text("".join(f"{label}\n" for label in labels), "utf-8")
    members = json.dumps(pinned(plan.wiring.members), indent=2)
    (folder / str(version) / MEMBERS).write_text(f"{members}\n", "utf-8")
    config = pins.Keeping(plan.config, repository, name)
    preview = config.text(version, existing)
    entries = {**repository.entries(name), **{entry.name: entry for entry in folder.iterdir()}}
    for member in _made(plan).values():
        (staging / member.name / CONFIG).write_text(pbtxt.to_text(member.config), "utf-8")
    beside = {**repository.models(), **{member.name: staging / member.name for member in _made(plan).values()}}
    release = releases.release_named(releases.NEWEST)
    found = judged(Candidate(name, preview, entries, beside=beside), Host(release), staging)
    refuse_refused(found, RepositoryError)
    for warning in warnings_of(found):
        context.progress.warn(f"{name}: {warning}")
    return StagedModel(
        name=name,
        backend=BACKEND,
        folder=folder,
        files=record_files(folder),
        config=config,
        preview=preview,
        provenance=_provenance(plan, proven, Verification(), proven.notes),
        version=version,
        older=repository.folders(name),
    )


def _asked(staged: StagedModel, plan: Plan, proven: Proven, context: Context) -> Live | None:
    """Return what a real Triton answered; None if it was not to be asked."""
    if context.gate is None:
        return None
    called = [_called(member, context, staged.folder.parent) for member in _in_order(plan.wiring.members)]

    def fault(client: Client) -> str:
        pools = proof.asked(proven)
        return proof.fault_of(client, plan.wiring, pools)

    options = resolve.default_options(f"ensemble:{plan.spec.name}")
    live = context.gate.check_ensemble(staged, proven, options, called, fault)
    for note in (f"no live check: {live.detail}",) if live.status == "skipped" else live.notes:
        context.progress.warn(f"{staged.name}: {note}")
    return live


def _in_order(members: Iterable[Member]) -> list[Member]:
    """Return the models of an ensemble, each once and behind those that it calls itself."""
    return list({each.name: each for member in members for each in _with_called(member)}.values())


def _called(member: Member, context: Context, staging: Path) -> Called:
    folder = (staging if member.made else context.repository.root) / member.name
    text = pbtxt.with_version(pbtxt.to_text(member.config), member.version)
    return Called(member.name, folder, text, member.config.backend or member.config.platform)


def _verification(live: Live | None, proven: Proven) -> Verification:
    passed = True if live and live.status == "passed" else None
    return Verification(
        passed=passed,
        cases=live.cases if live and passed else 0,
        max_rel_diff=live.max_rel_diff if live and passed else None,
        tolerance="that of each output's type" if passed else "",
        live=live,
        samples=proven.verification.samples if passed else "",
    )


def _provenance(plan: Plan, proven: Proven, found: Verification, notes: tuple[str, ...]) -> Provenance:
    signature = proven.export.signature
    return Provenance(
        key=plan.key,
        source=SourceRecord(
            reference=proven.source.reference,
            weights=proven.source.weights,
            preprocess=None,
            exporter=BACKEND,
            opset=0,
            ir_version=0,
            notes=notes,
            inputs=recorded(signature.inputs, proven.source.input_kinds),
            input_kinds=proven.source.input_kinds,
        ),
        options={"members": pinned(plan.wiring.members)},
        tools=_tools(),
        verification=found,
    )


def _refuse_changed(plan: Plan, context: Context) -> None:
    """Refuse to publish over a member that another process has changed since it was found; the lock is held."""
    for member in _in_order(plan.wiring.members):
        if member.record is None or member.made:
            continue
        current = context.repository.config_text(member.name) or ""
        if pbtxt.parse(current, member.name) != member.config:
            raise RepositoryError(
                f"another process has changed {member.name} meanwhile", "Run the command again: it takes what is there"
            )


def _failed(spec: EnsembleSpec, failure: ModelRepoError) -> Result:
    return Result(spec.name, BACKEND, spec.name, "failed", failure=failure, next_step=failure.hint or None)
