"""Asking a running server the golden requests of published versions: does it serve what was proven."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import randbelow
from statistics import median
from time import monotonic
from typing import Any, Literal

import numpy as np

from modelrepo.clients import Client, Turn
from modelrepo.clients.errors import (
    ClientError,
    ConnectionLost,
    DeadlineExceeded,
    DependencyError,
    NotTriton,
    ServerUnavailable,
    SettingsError,
    UnknownModel,
)
from modelrepo.clients.models import Model
from modelrepo.generator.errors import (
    ModelRepoError,
    RepositoryError,
    ServerError,
    VerificationError,
    nearest,
)
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import answered_config, golden
from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification.comparison import follows_scores
from modelrepo.generator.verification.golden import Distance, Golden, Request, within
from modelrepo.generator.verification.sequences import Step

Status = Literal["passed", "failed", "unreachable", "unasked"]
# Correlation IDs are drawn below this, which JSON holds exactly: a fixed one may be that of somebody's sequence.
LARGEST_ID = 2**53
NONE_KEPT = "no golden requests are kept for version {}: an earlier release of modelrepo published it"
AGAIN = "`generate` again proves the model and keeps them"
COPY = "Is the server's repository a copy of this one?"
DOWN = (ServerUnavailable, ConnectionLost, DeadlineExceeded, NotTriton)


@dataclass(frozen=True)
class Smoked:
    """What a server does with one model, compared with what was published."""

    name: str
    published: int  # the version that is expected
    version: str = ""  # that answered; empty if none did
    ready: bool = False
    config_differs: tuple[str, ...] = ()  # what was written, and is different on the server
    cases: int = 0  # samples that were asked
    worst: float | None = None  # the difference that is closest to its limit, or farthest beyond it
    limit: float | None = None  # of that difference
    at: str = ""  # where that difference is
    latency: float | None = None  # the median of the requests, in seconds
    seconds: float = 0.0  # for all of it
    labels: bool | None = None  # whether the classes have the published names; None: there are none to compare
    unasked: str = ""  # why nothing was asked, although the server is ready
    failure: str = ""  # the first thing that is wrong; empty: nothing is
    hint: str = ""
    exit_code: int = 0  # of the failure
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """In a word."""
        if self.failure:
            return "unreachable" if self.exit_code == ServerError.exit_code else "failed"
        return "unasked" if self.unasked else "passed"


def smoke(client: Client, repository: Repository, name: str, version: int | None = None) -> Smoked:
    """Compare what a server answers with what was published: readiness, version, configuration, answers, labels.

    Without ``version`` the server chooses, and must choose the one that the repository's configuration serves. No file
    of the server is read. Whatever is wrong is in the result. Raises RepositoryError if the repository does not have
    the model or the version, and SettingsError for an address or a certificate that can't be used.
    """
    started = monotonic()
    found = _smoked(client, repository, published(repository, name, version), version)
    return replace(found, seconds=monotonic() - started)


def _smoked(client: Client, repository: Repository, manifest: Manifest, version: int | None) -> Smoked:
    name = manifest.name
    row = Smoked(name, manifest.version)
    asked = "" if version is None else str(version)
    try:
        known = client.model(name, asked)
        row = replace(row, ready=client.is_ready(name, asked), version=_only(known))
        if not row.ready:
            return _failed(row, f"{name} is not ready", ServerError)
        if known.versions and str(manifest.version) not in known.versions:
            row = _failed(row, _other_version(", ".join(known.versions), manifest), VerificationError, COPY)
        as_selected = bool(asked) or known.versions == tuple(map(str, _selected(repository, name)))
        return _asked(client, repository, manifest, asked, row, policy=not as_selected)
    except UnknownModel as error:
        return _failed(row, error.message, ServerError, error.hint)
    except ClientError as error:
        return _refused(row, error)
    except ModelRepoError as error:
        return _failed(row, error.message, type(error), error.hint)


def _refused(row: Smoked, error: ClientError) -> Smoked:
    """Return a row with the error of a client: of a model that is ready, it is an answer unless the server is gone."""
    if isinstance(error, SettingsError | DependencyError):
        raise error
    down = isinstance(error, DOWN) or not row.ready
    return _failed(row, error.message, ServerError if down else VerificationError, error.hint)


def published(repository: Repository, name: str, version: int | None = None) -> Manifest:
    """Return the manifest of a version, or of the one that is served by default; RepositoryError if there is none."""
    known = {each.version: each for each in repository.manifests(name)}
    if not known:
        names = published_names(repository)
        hint = nearest(name, names) if names else "Generate it first, or name another with --repository"
        raise RepositoryError(f"{repository.root} has no model {name!r}", hint)
    wanted = version or max(_selected(repository, name), default=0) or max(known)
    if wanted not in known:
        versions = ", ".join(map(str, sorted(known)))
        raise RepositoryError(f"{name} has no published version {wanted}", f"There is {versions}")
    return known[wanted]


def published_names(repository: Repository) -> tuple[str, ...]:
    """Return the names of all published models, in order: also of those whose files somebody has deleted."""
    folder = repository.state / "manifests"
    there = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(each.name for each in there if any(each.glob("*.json"))))


def _selected(repository: Repository, name: str) -> tuple[int, ...]:
    """Return the versions that the configuration selects; the newest of them answers if a client names none."""
    model = standing(repository, name)
    if model.config is not None and model.trouble:
        raise RepositoryError(model.trouble, "`modelrepo check` says where, and what to write instead")
    return model.served


def _other_version(answering: str, manifest: Manifest) -> str:
    return f"version {answering} answers, and version {manifest.version} is the published one"


def _only(known: Model) -> str:
    return known.versions[0] if len(known.versions) == 1 else ""


def _failed(row: Smoked, failure: str, kind: type[ModelRepoError], hint: str = "") -> Smoked:
    """Return a row with a failure, unless it has an earlier one."""
    return row if row.failure else replace(row, failure=failure, hint=hint, exit_code=kind.exit_code)


def _asked(
    client: Client, repository: Repository, manifest: Manifest, version: str, row: Smoked, *, policy: bool
) -> Smoked:
    """Ask a model that is ready, and return the row of what is found."""
    text = repository.config_text(manifest.name) or manifest.config
    answered = client.config(manifest.name, version)
    differs, notes = answered_config.differences(text, answered, policy=policy)
    row = replace(row, config_differs=differs, notes=notes)
    try:
        requests = golden.read(repository, manifest.name, manifest.version)
        if requests is None:
            row = _failed(row, NONE_KEPT.format(manifest.version), RepositoryError, AGAIN)
        elif requests.reason:
            row = replace(row, unasked=requests.reason)
        else:
            requests, left_out = _fitting(requests, int(answered.get("max_batch_size", 0)))
            row = replace(row, notes=(*row.notes, *left_out))
            row = _answered(client, requests, manifest, version, answered_config.on_gpu(answered), row)
            row = _labelled(client, repository, requests, pbtxt.parse(text, CONFIG), version, row)
    except ModelRepoError as error:
        row = _failed(row, error.message, type(error), error.hint)
    if differs:
        row = _failed(row, f"the server's configuration differs: {differs[0]}", VerificationError)
    return row


def _fitting(kept: Golden, largest: int) -> tuple[Golden, tuple[str, ...]]:
    """Return the requests that a server with this largest batch takes, and a note if others are left out."""
    fitting = tuple(each for each in kept.requests if not largest or len(each.families) <= largest)
    left = len(kept.requests) - len(fitting)
    if not left or not fitting:
        return kept, ()
    return replace(kept, requests=fitting), (f"{left} golden requests have batches above {largest} and are left out",)


def _answered(client: Client, kept: Golden, manifest: Manifest, version: str, on_gpu: bool, row: Smoked) -> Smoked:
    """Send the golden requests in order, and return the row with what is found; all are sent, whatever is wrong."""
    seconds: list[float] = []
    ids: dict[int, int] = {}
    worst: Distance | None = None
    for request in kept.requests:
        turn = _turn(request.step, ids, kept.any_id)
        started = monotonic()
        try:
            answer = client.infer(manifest.name, request.inputs, version=version, turn=turn)
        except ClientError as error:
            row = _refused(row, error)
            break
        seconds.append(monotonic() - started)
        row = replace(row, version=answer.version or row.version, cases=row.cases + len(request.families))
        if row.version not in ("", str(manifest.version)):
            row = _failed(row, _other_version(row.version, manifest), VerificationError, COPY)
        misfit = _misfit(request, answer)
        if misfit:
            row = _failed(row, misfit, VerificationError)
            continue
        for output, found in _distances(request, answer, on_gpu, kept.follows or on_gpu).items():
            if worst is None or _share(found) > _share(worst):
                worst = found
                place = _place(request, output, found)
                row = replace(row, worst=found.difference, limit=found.limit, at=place)
    if worst and not worst.right:
        row = _failed(
            row, f"an answer differs by {worst.difference:.3g} (limit {worst.limit:.3g}): {row.at}", VerificationError
        )
    return replace(row, latency=median(seconds) if seconds else None)


def _turn(step: Step | None, ids: dict[int, int], any_id: bool) -> Turn | None:
    if step is None:
        return None
    identity = ids.setdefault(step.identity, 1 + randbelow(LARGEST_ID)) if any_id else step.identity
    return Turn(identity, step.is_first, step.is_last)


def _misfit(request: Request, answer: Mapping[str, Any]) -> str:
    """Return how an answer has other outputs, types or shapes than the right one, or an empty text."""
    for name, wanted in request.outputs.items():
        if name not in answer:
            return f"the answer has no output {name!r}"
        got, right = answer[name], wanted.array
        if got.shape != right.shape:
            return f"output {name!r} has shape {list(got.shape)}, and {list(right.shape)} is right"
        if (got.dtype == np.object_) != (right.dtype == np.object_):
            return f"output {name!r} is of type {got.dtype}, and {right.dtype} is right"
    return ""


def _distances(request: Request, answer: Mapping[str, Any], on_gpu: bool, follows: bool) -> dict[str, Distance]:
    """Return how far each output is from the right one; a label that follows scores within their limits is right."""
    right = {name: each.array for name, each in request.outputs.items()}
    found = {
        name: within(each.array, answer[name], each.on_gpu if on_gpu else each.limits)
        for name, each in request.outputs.items()
    }
    for name, each in found.items() if follows else ():
        if not each.right and follows_scores(name, right, answer, each.sample):
            found[name] = each._replace(right=True, difference=0.0)
    return found


def _share(found: Distance) -> tuple[bool, float]:
    return not found.right, found.difference / found.limit if found.limit else found.difference


def _place(request: Request, output: str, found: Distance) -> str:
    families = request.families
    family = families[found.sample] if found.sample < len(families) else families[0]
    step = f", step {request.step}" if request.step else ""
    return f"output {output!r} on input {family!r} at batch {len(families)}, index {list(found.place)}{step}"


def _labelled(client: Client, repository: Repository, kept: Golden, config: Any, version: str, row: Smoked) -> Smoked:
    """Ask for the classes of each output with labels; return the row with whether their names are as published."""
    request = kept.requests[0]
    for output in config.output if request.step is None and row.latency is not None else ():
        labels = _labels(repository.root / row.name / output.label_filename) if output.label_filename else ()
        if not labels or output.name not in request.outputs:
            continue
        try:
            (classes, *_) = client.classify(row.name, request.inputs, len(labels), output.name, version)
        except ClientError as error:
            return _refused(row, error)
        named = {each.index: each.label for each in classes}
        wrong = [index for index, label in enumerate(labels) if named.get(index, label) != label]
        row = replace(row, labels=row.labels is not False and not wrong)
        if wrong:
            said = f"class {wrong[0]} of output {output.name!r} is {named[wrong[0]]!r}, and {labels[wrong[0]]!r}"
            row = _failed(row, f"{said} in the published labels", VerificationError)
    return row


def _labels(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text("utf-8", errors="replace").splitlines())
    except OSError:
        return ()
