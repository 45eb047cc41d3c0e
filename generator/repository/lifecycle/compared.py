"""`diff`: what is different between two versions of a model."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint.text import read
from modelrepo.generator.repository import choice
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import answers, graph_changes, policy, weights
from modelrepo.generator.repository.lifecycle.answers import Answers
from modelrepo.generator.repository.lifecycle.graph_changes import GraphChanges
from modelrepo.generator.repository.lifecycle.shown import in_words
from modelrepo.generator.repository.lifecycle.standing import Standing, Version, standing
from modelrepo.generator.repository.lifecycle.weights import Weights
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.system.digests import FileRecord, record_files

MODEL = "model.onnx"
# Of a digest that is shown.
DIGITS = 16


@dataclass(frozen=True)
class FileChange:
    """A file of a version that is another, with its bytes; None where it is not there."""

    name: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Fact:
    """A thing that is recorded of both versions, and is different, in words."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Compared:
    """What is different between version ``one`` and version ``other`` of a model.

    ``config`` is a unified diff without version policies. ``members`` are the models of an ensemble that are called in
    another version, or by one of both. ``graph`` and ``weights`` are None if the files are the same,
    or if one of them is not ONNX; ``answers`` is None in these cases, too.
    """

    name: str
    one: int
    other: int
    config: tuple[str, ...]
    files: tuple[FileChange, ...]
    facts: tuple[Fact, ...]
    members: tuple[Fact, ...] = ()  # the models of an ensemble of which it calls another version, or none
    graph: GraphChanges | None = None
    weights: Weights | None = None
    answers: Answers | None = None
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both are served alike: the same files, and the same configuration but for the version policy."""
        return not (self.config or self.files)


@dataclass(frozen=True)
class _Side:
    """A version that is compared."""

    number: int
    record: Manifest | None
    folder: Path
    config: str
    files: Mapping[str, FileRecord]
    notes: tuple[str, ...]

    @property
    def model(self) -> Path:
        return self.folder / MODEL


def chosen(model: Standing, one: int | None, other: int | None) -> tuple[int, int]:
    """Return the versions to compare; RepositoryError if there is nothing to compare with.

    One alone is compared with the newest that is served. Without any, that is compared with the newest; or, if it is
    the newest, the one before with it.
    """
    there = [each.number for each in model.versions if each.there]
    if one is not None and other is not None:
        return one, other
    newest = max(there, default=0)
    served = max(model.served, default=newest)
    if one is not None:
        return one, served if served != one else newest
    if served != newest:
        return served, newest
    earlier = [number for number in there if number < newest]
    if not earlier:
        raise RepositoryError(f"{model.name} has no two versions to compare", f"It has {newest or 'none'}")
    return earlier[-1], newest


def compared(
    repository: Repository, name: str, one: int | None = None, other: int | None = None, *, ask: bool = True
) -> Compared:
    """Compare two versions; see ``chosen``. With ``ask`` both are run, if they are ONNX models.

    RepositoryError if there is no such version, or if its folder is missing.
    """
    model = standing(repository, name)
    first, second = (_side(repository, model, number) for number in chosen(model, one, other))
    found = Compared(
        name=name,
        one=first.number,
        other=second.number,
        config=tuple(_config(first, second)),
        files=tuple(_files(first, second)),
        members=tuple(_members(first.record, second.record)),
        facts=tuple(_facts(first.record, second.record)),
        notes=(*first.notes, *second.notes),
    )
    if all(side.model.is_file() for side in (first, second)) and found.files:
        return _with_graphs(found, repository, first, second, ask)
    return found


def _with_graphs(found: Compared, repository: Repository, first: _Side, second: _Side, ask: bool) -> Compared:
    try:
        one, other = (graph_changes.read(side.model) for side in (first, second))
    except (ValueError, OSError) as error:
        return replace(found, notes=(*found.notes, f"the graphs can't be compared: {error}"))
    constants = (weights.constants(model, side.folder) for model, side in ((one, first), (other, second)))
    asked = [(side.number, side.model) for side in (first, second)]
    return replace(
        found,
        graph=graph_changes.changes(one, other),
        weights=weights.compared(*constants),
        answers=answers.compared(repository, found.name, asked, first.record or second.record) if ask else None,
    )


def _side(repository: Repository, model: Standing, number: int) -> _Side:
    version = model.version(number)
    folder = repository.root / model.name
    if not version.there:
        raise RepositoryError(f"can't compare version {number} of {model.name}: {version.note}")
    files, notes = _recorded(version, folder)
    config, edited = _in_force(model, version)
    if version.manifest and version.manifest.provenance.rebuilt:
        notes.append(f"the record of version {number} was rebuilt: how it was made is not known")
    notes += [f"config.pbtxt of version {number} was edited by hand; the edited one is compared"] if edited else []
    own = {name.partition("/")[2]: record for name, record in files.items() if "/" in name}
    return _Side(number, version.manifest, folder / str(number), _without_policy(config), own, tuple(notes))


def _recorded(version: Version, folder: Path) -> tuple[Mapping[str, FileRecord], list[str]]:
    """Return the version's files as they are now, and a note of each that is not as it was published."""
    place = folder / str(version.number)
    if version.manifest is None:
        own = {f"{version.number}/{name}": record for name, record in record_files(place).items()}
        return own, [f"version {version.number} has no record"]
    found: dict[str, FileRecord] = {}
    notes = []
    for name, record in version.manifest.files.items():
        if "/" not in name:
            continue
        if not (folder / name).is_file():
            notes.append(f"{name} is missing")
        elif record.matches(folder / name):
            found[name] = record
        else:
            found[name] = FileRecord.of(folder / name)
            notes.append(f"{name} changed since it was published")
    return found, notes


def _in_force(model: Standing, version: Version) -> tuple[str, bool]:
    """Return the configuration of a version, and whether it was edited by hand: only one in force can be."""
    edited = version.served and any(file.name == CONFIG for file in model.edited)
    if version.manifest is not None and not edited:
        return version.manifest.config, False
    text = model.config or ""
    return (text.partition("\n")[2] if choice.read(text) else text), edited


def _without_policy(config: str) -> str:
    """Return a configuration without its version policy."""
    tree = read(Path(CONFIG), config).tree.fields.get(policy.NAME, [])
    lines = config.split("\n")
    for node in reversed(tree):
        (first, _), (last, ends) = (node.line, node.column), node.ends
        lines[first - 1 : last] = [lines[first - 1][: node.column - 1] + lines[last - 1][ends - 1 :]]
    return "\n".join(lines)


def _config(one: _Side, other: _Side) -> Iterator[str]:
    before, after = ([line.rstrip() for line in _squeezed(side.config)] for side in (one, other))
    first, second = (f"{CONFIG} of version {side.number}" for side in (one, other))
    yield from difflib.unified_diff(before, after, first, second, lineterm="")


def _squeezed(config: str) -> Iterator[str]:
    """Yield lines without empty ones that follow each other, as a policy leaves them."""
    previous = ""
    for line in config.strip().split("\n"):
        if line.strip() or previous.strip():
            yield line
        previous = line


def _files(one: _Side, other: _Side) -> Iterator[FileChange]:
    for name in sorted(one.files.keys() | other.files.keys()):
        before, after = one.files.get(name), other.files.get(name)
        if before is None or after is None or before.sha256 != after.sha256:
            yield FileChange(name, before.size if before else None, after.size if after else None)


def _members(one: Manifest | None, other: Manifest | None) -> Iterator[Fact]:
    """Yield the models of an ensemble that are called in another version."""
    before, after = (dict(record.provenance.options.get("members", {})) if record else {} for record in (one, other))
    for name in sorted(before | after):
        if before.get(name) != after.get(name):
            yield Fact(name, *(str(each[name]["version"]) if name in each else "" for each in (before, after)))


def _facts(one: Manifest | None, other: Manifest | None) -> Iterator[Fact]:
    if one is None or other is None or one.provenance.rebuilt or other.provenance.rebuilt:
        return
    before, after = _flat(one), _flat(other)
    for name in before | after:
        if before.get(name, "") != after.get(name, ""):
            yield Fact(name, before.get(name, ""), after.get(name, ""))


def _flat(record: Manifest) -> dict[str, str]:
    """Return what is recorded of a version, by name."""
    provenance = record.provenance
    source, proof, made = provenance.source, provenance.verification, provenance.optimization
    weights_ = source.weights
    found: dict[str, Any] = {
        "backend": record.backend,
        "precision": made.precision,
        "source": source.reference,
        # Those of an ensemble are its models.
        "weights": None
        if "members" in provenance.options
        else f"{weights_.kind}: {weights_.detail}" + (", never trained" if weights_.untrained else ""),
        "digest of weights": weights_.sha256 and weights_.sha256[:DIGITS],
        "exporter": source.exporter,
        "opset": source.opset,
        "IR": source.ir_version,
        **{f"input {spec.name}": in_words(spec.domain) for spec in source.inputs},
        **{f"preprocess {key}": value for key, value in (source.preprocess or {}).items()},
        "source notes": "; ".join(source.notes),
        "optimization": "; ".join(made.done),
        "sparsity": made.sparsity,
        **{f"option {key}": value for key, value in provenance.options.items() if key != "members"},
        **{f"{key} release": value for key, value in provenance.tools.items()},
        "verified": {True: "yes", False: "no", None: "not compared"}[proof.passed],
        "cases": proof.cases,
        "worst difference": None if proof.max_rel_diff is None else f"{proof.max_rel_diff:.1e}",
        "tolerance": proof.tolerance,
        "behaviours covered": proof.coverage and f"{proof.coverage.covered} of {proof.coverage.behaviours}",
        "accuracy": proof.accuracy or made.accuracy,
        "live check": f"{proof.live.status}: {proof.live.detail}" if proof.live else None,
    }
    return {name: "" if value is None else str(value) for name, value in found.items()}


def document(found: Compared) -> dict[str, Any]:
    """Return a comparison for a program."""
    made = found.weights
    return {
        "model": found.name,
        "versions": [found.one, found.other],
        "equal": found.equal,
        "config": list(found.config),
        "files": [asdict(each) for each in found.files],
        "members": [asdict(each) for each in found.members],
        "graph": asdict(found.graph) if found.graph else None,
        "weights": {
            "parameters": made.parameters,
            "changed_parameters": made.changed_parameters,
            "same": made.same,
            "changed": [asdict(each) for each in made.changed],
            "renamed": [{"before": was, "after": name} for was, name in made.renamed],
            "removed": [{"name": each.name, "shape": each.shape, "type": each.data_type} for each in made.removed],
            "added": [{"name": each.name, "shape": each.shape, "type": each.data_type} for each in made.added],
        }
        if made
        else None,
        "answers": {**asdict(found.answers), "equal": found.answers.equal} if found.answers else None,
        "facts": [asdict(each) for each in found.facts],
        "notes": list(found.notes),
    }
