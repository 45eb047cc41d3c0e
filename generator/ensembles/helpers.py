"""The models that are made for the steps of an ensemble: laid out, and published before it if they are new."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.ensembles.config import recorded
from modelrepo.generator.ensembles.member import Made, Member
from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.lint import Host
from modelrepo.generator.lint.candidate import Candidate, judged, refuse_refused
from modelrepo.generator.pipeline.job import Context
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import golden, pins
from modelrepo.generator.repository.lost import OURS
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord
from modelrepo.generator.repository.repository import Published, StagedModel
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.report import Result
from modelrepo.generator.system.digests import copy_hashed, record_files, sha256_of
from modelrepo.generator.triton import pbtxt, releases
from modelrepo.generator.verification.golden import Golden

# The content key of a model that is made for a step: its files and configuration say all.
KEY = "made for an ensemble"

# Why `smoke` does not ask such a model itself.
ASKED_WITHIN = "it is asked as a step of {}"


@dataclass(frozen=True)
class HelperConfig:
    """The configuration of a model that is made for a step; it is a ``StagedConfig``."""

    message: Any  # a ModelConfig
    reference: str
    place: str  # where it is changed

    @property
    def max_batch_size(self) -> int:
        """The largest batch that Triton may form."""
        return int(self.message.max_batch_size)

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version, which alone is served."""
        comment = f"{OURS}{self.reference}; change it {self.place}."
        return f"{comment}\n{pbtxt.with_version(pbtxt.to_text(self.message), version)}"


def laid_out(member: Member, step: Step, spec: EnsembleSpec, context: Context, staging: Path) -> Member:
    """Lay out a model that is made for a step, and return it with its version: that which it has already, or the next.

    A published member is returned as it is. OptionError if Triton would refuse the model.
    """
    if member.made is None:
        return member
    repository, made = context.repository, member.made
    if member.name != spec.own_model(step):
        raise OptionError(f"step {step.name!r}: its model must be named {spec.own_model(step)}")
    repository.preflight(member.name)
    config = HelperConfig(member.config, step.use, spec.place)
    newest = repository.newest(member.name)
    same = newest is not None and newest.content() == content(made) and _same(newest, config)
    version = newest.version if newest and same else repository.next_version(member.name)
    model = staging / member.name
    for name, path in [*((f"{version}/{name}", path) for name, path in made.files.items()), *made.beside.items()]:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        copy_hashed(path, model / name)
    kept = pins.Keeping(config, repository, member.name, spec.name)
    entries = {**repository.entries(member.name), **{entry.name: entry for entry in model.iterdir()}}
    text = kept.text(version, repository.versions(member.name))
    host = Host(releases.release_named(releases.NEWEST))
    refuse_refused(judged(Candidate(member.name, text, entries), host, staging), OptionError)
    parsed = pbtxt.parse(text, f"the configuration of {member.name}")
    return replace(member, version=version, config=parsed, record=newest if same else None)


def _same(newest: Manifest, config: HelperConfig) -> bool:
    """Whether a published version has this configuration, whatever versions are served beside it."""
    text = config.text(newest.version)
    return newest.config == text or pbtxt.differ_in_policy(newest.config, text)


def content(made: Made) -> dict[str, str]:
    """Return the digest of each file of a model that is made for a step."""
    return {name: sha256_of(path) for name, path in (*made.files.items(), *made.beside.items())}


def published(member: Member, spec: EnsembleSpec, found: Verification, context: Context, staging: Path) -> Result:
    """Publish a model that is made for a step, if it is new; call it with the lock held. Return its row.

    RepositoryError if another process has published it meanwhile.
    """
    repository, made = context.repository, member.made
    assert made is not None  # noqa: S101 - those that are published are not made
    if member.record is not None and not member.record.provenance.rebuilt:
        return unchanged(member, context)
    if member.record is None and repository.next_version(member.name) != member.version:
        raise RepositoryError(
            f"another process has published {member.name} meanwhile", "Run the command again: it takes what is there"
        )
    model = staging / member.name
    for compiled in [*model.rglob("__pycache__")]:  # Triton's stub writes them while the ensemble is asked
        shutil.rmtree(compiled)
    step = next(each for each in spec.steps if spec.own_model(each) == member.name)
    own = HelperConfig(_bare(member.config), step.use, spec.place)
    config = pins.Keeping(own, repository, member.name, spec.name)
    outcome = repository.publish(
        StagedModel(
            name=member.name,
            backend=made.backend,
            folder=model,
            files={name: record for name, record in record_files(model).items() if name != CONFIG},
            config=config,
            preview=config.text(member.version, repository.versions(member.name)),
            provenance=_provenance(member, made, step, found),
            version=member.version,
            older=repository.folders(member.name),
            before_commit=lambda version: golden.keep(
                repository, member.name, version, Golden(reason=ASKED_WITHIN.format(spec.name))
            ),
        )
    )
    return row(outcome, context)


def _bare(config: Any) -> Any:
    bare = type(config)()
    bare.CopyFrom(config)
    bare.ClearField("version_policy")
    return bare


def _provenance(member: Member, made: Made, step: Step, found: Verification) -> Provenance:
    return Provenance(
        key=KEY,
        source=SourceRecord(
            reference=step.use,
            weights=Weights("own", "code of the user's", untrained=False),
            preprocess=None,
            exporter=made.backend,
            opset=0,
            ir_version=0,
            notes=made.notes,
            inputs=recorded(member.inputs, member.input_kinds),
            input_kinds=dict(member.input_kinds),
        ),
        options={"use": step.use, "requirements": list(step.requirements), "timeout": step.timeout},
        tools=dict(made.tools),
        verification=replace(found, samples=""),
    )


def unchanged(member: Member, context: Context) -> Result:
    """Return the row of a model that stands as it was made."""
    assert member.record is not None  # noqa: S101 - it stands
    return row(Published("unchanged", member.record), context)


def would_publish(member: Member) -> Result:
    """Return the row of a dry run."""
    backend = member.made.backend if member.made else ""
    note = f"dry run: would be made as version {member.version}"
    if member.record:
        return Result(member.name, backend, member.name, "unchanged", version=member.version)
    return Result(member.name, backend, member.name, "skipped", notes=(note,))


def row(outcome: Published, context: Context) -> Result:
    """Return the row of an ensemble, or of a model that was made for a step."""
    manifest = outcome.manifest
    return Result(
        manifest.name,
        manifest.backend,
        manifest.name,
        outcome.status,
        version=manifest.version,
        path=context.repository.root / manifest.name / str(manifest.version),
        max_batch_size=manifest.max_batch_size,
        verification=manifest.provenance.verification,
        notes=(*manifest.provenance.source.notes, *outcome.notes),
    )
