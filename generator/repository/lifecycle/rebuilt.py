"""`versions --rebuild`: records of versions made anew from the files of the repository, after the records were lost.

Such a record says what the files are, and that nothing is known of their source or proven. `generate` proves the same
files again, and then takes its place.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.graphs import edit, onnx_file, walk
from modelrepo.generator.repository import choice
from modelrepo.generator.repository.layout import CONFIG, MEMBERS
from modelrepo.generator.repository.lifecycle import graph_changes
from modelrepo.generator.repository.lifecycle.standing import Standing, names, standing
from modelrepo.generator.repository.lost import OURS, is_ours
from modelrepo.generator.repository.manifest import REBUILT, Manifest, Provenance, SourceRecord
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Optimization, Verification
from modelrepo.generator.specs.tensors import TensorSpec, unknown_domain
from modelrepo.generator.system.digests import FileRecord, record_files
from modelrepo.generator.triton import pbtxt

NOTE = "its record was rebuilt from the repository: its source is not known, and nothing is proven"
BORROWED = "its own configuration is lost: this is that of version {}"
MEND = "Mend it, or copy the state folder from where the repository came from"
FOREIGN = "Triton serves it as it is; only versions that modelrepo made have records"
OTHER_STEPS = "How it wired them is not known: remove the folder of that version, and run the command again"
UNKNOWN = "unknown"
# The parameters of a configuration that say where the model came from.
ABOUT_SOURCE = ("source", "weights", "untrained")
ACCELERATED, PLAIN = "onnx+tensorrt-ep", "onnx"
# What ensembles and the models of their steps are served by, with no backend of ours.
WIRED = ("ensemble", "python")
# By the element type of onnx.TensorProto: FLOAT16 and BFLOAT16.
PRECISIONS = {10: "fp16", 16: "bf16"}


def rebuilt(repository: Repository, asked: Collection[str] = ()) -> list[Manifest]:
    """Make the missing records of the models that are asked for, or of all that look like ours; return the new ones.

    A record that is there stays. Call it without the lock: reading the files of large models takes long. Raises
    RepositoryError for a model that is not there, and for a record that can't be read, before anything is written; and
    for a model that can't be rebuilt, when the others are.
    """
    written: list[Manifest] = []
    failed: list[RepositoryError] = []
    # All are read first: beside records of another release none is written.
    for model in [standing(repository, name) for name in asked or names(repository)]:
        missing = [each.number for each in model.versions if each.there and each.manifest is None]
        if not missing or not (asked or is_ours(model.config or "")):
            continue
        try:
            written += _kept(repository, _records(repository, model, missing))
        except RepositoryError as error:
            failed.append(error)
        except OSError as error:
            failed.append(RepositoryError(f"can't rebuild the records of {model.name}: {error}"))
    if failed:
        done = f"{len(written)} versions of other models were rebuilt" if written else ""
        raise RepositoryError(failed[0].message, ". ".join(filter(None, (failed[0].hint, done))))
    return written


def _kept(repository: Repository, made: list[Manifest]) -> list[Manifest]:
    """Write the records of one model, and return those of versions that are still there, unchanged, and have none."""
    with repository.locked():
        kept = []
        for manifest in made:
            folder = repository.root / manifest.name
            known = {each.version for each in repository.manifests(manifest.name)}
            if (
                manifest.version not in known
                and manifest.is_intact(folder)
                and (folder / str(manifest.version)).is_dir()
            ):
                repository.record(manifest)
                kept.append(manifest)
        return kept


def _records(repository: Repository, model: Standing, missing: Collection[int]) -> list[Manifest]:
    """Return the records of a model's versions that have none; RepositoryError if its configuration is no help."""
    config = _unmarked(model.config or "")
    try:
        message = pbtxt.parse(config, CONFIG) if model.config is not None else None
    except OptionError as error:
        raise _refused(model, error.message, MEND) from error
    if message is None:
        raise _refused(model, model.trouble, MEND)
    backend = _backend(message) or _wired(message, config)
    if backend is None:
        named = message.backend or message.platform or "no backend"
        raise _refused(model, f"modelrepo makes no models for {named}", FOREIGN)
    owner = max(model.served or missing)
    found = []
    for number in missing:
        folder = repository.root / model.name
        if not any(file.is_file() for file in (folder / str(number)).rglob("*")):
            raise _refused(model, f"version {number} has no files", FOREIGN)
        members = _members(folder / str(number))
        text = config if number == owner else _borrowed(message, number, owner, members)
        if text is None:
            raise _refused(model, f"version {number} calls other models than version {owner}", OTHER_STEPS)
        notes = (NOTE,) if number == owner else (NOTE, BORROWED.format(owner))
        found.append(
            Manifest(
                name=model.name,
                version=number,
                backend=backend,
                created=_created(folder / str(number)),
                max_batch_size=message.max_batch_size,
                config=text,
                files=_files(folder, number, message),
                provenance=replace(
                    _provenance(folder / str(number), model.name, message, notes, own=number == owner),
                    options={"members": members} if members else {},
                ),
            )
        )
    return found


def _members(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the versions of the models that a version of an ensemble calls, by their names; empty for other models."""
    try:
        found = json.loads((folder / MEMBERS).read_text("utf-8"))
        return {name: {**each, "version": int(each["version"])} for name, each in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _borrowed(message: Any, number: int, owner: int, members: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the configuration of another version, without what it says of its own source and weights.

    That of an ensemble calls the versions that the other one pins; None if it calls other models.
    """
    config = type(message)()
    config.CopyFrom(message)
    for step in config.ensemble_scheduling.step:
        if step.model_name not in members:
            return None
        step.model_version = members[step.model_name]["version"]
    for key in ABOUT_SOURCE:
        config.parameters.pop(key, None)
    config.version_policy.specific.versions[:] = [number]
    return f"{OURS}an unknown source: rebuilt with the configuration of version {owner}.\n{pbtxt.to_text(config)}"


def _refused(model: Standing, reason: str, hint: str) -> RepositoryError:
    return RepositoryError(f"can't rebuild the records of {model.name}: {reason}", hint)


def _unmarked(config: str) -> str:
    return config.partition("\n")[2] if choice.read(config) else config


def _backend(message: Any) -> str | None:
    """Return our name of the backend that a configuration names; None for one that we don't make models for."""
    served = message.backend or message.platform.partition("_")[0]
    names = [name for name, backend in BACKENDS.items() if backend.triton_name == served]
    gpu = message.optimization.execution_accelerators.gpu_execution_accelerator
    accelerated = any(each.name == "tensorrt" for each in gpu)
    if ACCELERATED in names:
        return ACCELERATED if accelerated else PLAIN
    return names[0] if names else None


def _wired(message: Any, config: str) -> str | None:
    """Return what serves an ensemble or the model of a step, if we made it; None for other models."""
    served = message.backend or message.platform
    return served if served in WIRED and is_ours(config) else None


def _files(folder: Path, number: int, message: Any) -> dict[str, FileRecord]:
    own = {f"{number}/{name}": record for name, record in record_files(folder / str(number)).items()}
    labels = {output.label_filename for output in message.output} - {""}
    beside = {name: folder / name for name in sorted(labels) if "/" not in name}
    return own | {name: FileRecord.of(path) for name, path in beside.items() if path.is_file()}


def _created(folder: Path) -> str:
    """Return the time of a version's newest file."""
    times = [file.stat().st_mtime for file in folder.rglob("*") if file.is_file()]
    return datetime.fromtimestamp(max(times, default=folder.stat().st_mtime), UTC).isoformat(timespec="seconds")


def _provenance(folder: Path, name: str, message: Any, notes: tuple[str, ...], *, own: bool) -> Provenance:
    """Return what the files and the configuration say; that of another version says nothing of the source."""
    said = {key: value.string_value for key, value in message.parameters.items()} if own else {}
    graph = _graph(folder / walk.MODEL_FILE)
    return Provenance(
        key=REBUILT,
        source=SourceRecord(
            reference=said.get("source") or UNKNOWN,
            weights=Weights(
                "unknown", f"{said.get('weights', UNKNOWN)} (rebuilt record of {name})", said.get("untrained") == "true"
            ),
            preprocess=None,
            exporter=UNKNOWN,
            opset=edit.opset_of(graph) if graph else 0,
            ir_version=graph.ir_version if graph else 0,
            notes=notes,
            inputs=_inputs(graph),
            input_kinds=pbtxt.input_kinds(message),
        ),
        options={},
        tools={},
        verification=Verification(),
        optimization=Optimization(precision=_precision(graph)),
    )


def _graph(path: Path) -> Any:
    """Return the outline of a version's ONNX model; None if it has none that can be read."""
    with suppress(ValueError, OSError):
        return graph_changes.read(path)
    return None


def _inputs(graph: Any) -> tuple[TensorSpec, ...]:
    """Return the inputs that a graph declares; any values may come."""
    if graph is None:
        return ()
    with suppress(KeyError, TypeError):  # a type that numpy has no name for
        inputs = onnx_file.read_signature(graph.graph).inputs
        return tuple(replace(each, domain=unknown_domain(each.dtype)) for each in inputs)
    return ()


def _precision(graph: Any) -> str:
    """Return the precision that most of a graph's weights are in, as `generate` calls it."""
    if graph is None:
        return UNKNOWN
    if walk.quantizes(graph):
        return "int8-dynamic" if walk.shares_ranges(graph) else "int8"
    kinds: Counter[int] = Counter()
    for tensor in edit.weights(graph):
        kinds[tensor.data_type] += edit.elements(tensor)
    return PRECISIONS.get(max(kinds, key=kinds.__getitem__, default=0), "fp32")
