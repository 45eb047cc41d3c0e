"""What `modelrepo show` prints of a model."""

import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from modelrepo.cli.terminal.findings import printable
from modelrepo.cli.terminal.infer_model import ABOUT
from modelrepo.cli.terminal.show_asking import Asking
from modelrepo.cli.terminal.tables import size
from modelrepo.clients.models import Tensor
from modelrepo.generator.repository import lost
from modelrepo.generator.repository.lifecycle.shown import Shown
from modelrepo.generator.repository.lifecycle.standing import Version
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.specs.findings import Optimization, Verification

# Class names, behaviours and files that are listed; --json has all.
FEW = 3
NARROW, WIDE = 60, 110
COLUMN = 15
MORE = "--json has all"


def text(shown: Shown, asking: Asking) -> str:
    """Return what a model is, in sections, as wide as the terminal."""
    sections = [
        heading(_title(shown), _said(shown)),
        section("", _about(shown)),
        section("", _tensors(shown)),
        section("Proof", _pairs(_proof(shown.record)) if shown.record else []),
        section("Versions", _versions(shown)),
        section("Files", _files(shown.files)),
        section("How a client prepares an input", _pairs(_flat(shown.preprocess or {}))),
        section("How to ask it", asking.lines()),
    ]
    return "\n\n".join(filter(None, sections))


def document(shown: Shown, asking: Asking) -> dict[str, Any]:
    """Return what a model is as one JSON object."""
    record, provenance = shown.record, shown.record.provenance if shown.record else None
    standing = shown.standing
    return {
        "model": standing.name,
        "version": shown.version.number,
        "served": shown.version.served,
        "made_by_modelrepo": record is not None,
        "rebuilt": provenance is not None and provenance.rebuilt,
        "trouble": shown.trouble or standing.trouble,
        "choice": str(standing.choice) if standing.choice else None,
        "edited": [str(file) for file in standing.edited],
        "versions": [_version_document(each) for each in standing.versions],
        "backend": shown.model.backend or shown.model.platform if shown.model else None,
        "precision": provenance.optimization.precision if provenance else None,
        "max_batch_size": shown.model.max_batch_size if shown.model else None,
        "inputs": [_tensor_document(each, shown) for each in (shown.model.inputs if shown.model else ())],
        "outputs": [_tensor_document(each, shown) for each in (shown.model.outputs if shown.model else ())],
        "created": record.created if record else None,
        "source": asdict(provenance.source) if provenance else None,
        "options": dict(provenance.options) if provenance else None,
        "tools": dict(provenance.tools) if provenance else None,
        "optimization": asdict(provenance.optimization) if provenance else None,
        "verification": asdict(provenance.verification) if provenance else None,
        "plans": [asdict(plan) for plan in provenance.plans] if provenance else [],
        "files": dict(shown.files),
        "config": shown.config,
        "ask": asking.document(),
    }


def width() -> int:
    """Return how wide the text may be."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, NARROW), WIDE)


def pair(name: str, value: str, column: int = COLUMN) -> str:
    """Return a name and its value from a column on, where it goes on below itself."""
    return textwrap.fill(
        " ".join(value.split()),
        width(),
        initial_indent=f"  {name:<{column - 4}}  ",
        subsequent_indent=" " * column,
        break_long_words=False,
        break_on_hyphens=False,
    )


def section(title: str, lines: Sequence[str], style: Callable[[str], str] = str) -> str:
    """Return a section that any terminal prints, with its title in bold; empty without lines."""
    shown = [style(printable(line)) for line in lines]
    return "\n".join([click.style(printable(title), bold=True)] * bool(title) + shown) if lines else ""


def heading(title: str, lines: Sequence[str]) -> str:
    """Return the first section, which may be its title alone."""
    return section(title, lines) or click.style(printable(title), bold=True)


def _pairs(found: Mapping[str, str]) -> list[str]:
    return [pair(name, value) for name, value in found.items() if value]


def _title(shown: Shown) -> str:
    if not shown.standing.versions:
        return shown.standing.name
    return (
        f"{shown.standing.name}, version {shown.version.number}, {'served' if shown.version.served else 'not served'}"
    )


def _said(shown: Shown) -> list[str]:
    version, standing = shown.version, shown.standing
    said = [str(standing.choice)] if standing.choice else []
    said += [f"{file.name} was edited by hand" for file in standing.edited]
    said += [each for each in dict.fromkeys((standing.trouble, shown.trouble, version.note)) if each]
    if shown.record is None:
        said.append("what follows is what its configuration says")
        said += [lost.MISSING] * lost.is_ours(shown.config)
    if shown.record and shown.record.provenance.rebuilt:
        said += shown.record.provenance.source.notes
    return [textwrap.fill(each, width(), initial_indent="  ", subsequent_indent="  ") for each in said]


def _about(shown: Shown) -> list[str]:
    found: dict[str, str] = {}
    if shown.record:
        provenance = shown.record.provenance
        source, tools = provenance.source, provenance.tools
        found["source"] = source.reference
        trained = "RANDOM, never trained: its answers mean nothing; " if source.weights.untrained else ""
        kind = "" if source.weights.kind == "unknown" else f"{source.weights.kind}: "
        found["weights"] = f"{trained}{kind}{source.weights.detail}"
        by = f" by modelrepo {tools['modelrepo']}" if "modelrepo" in tools else ""
        found["made"] = f"{shown.record.created.replace('T', ' ').replace('+00:00', ' UTC')}{by}"
        if source.opset:
            exporter = "" if provenance.rebuilt else f", exporter {source.exporter}"
            found["graph"] = f"ONNX opset {source.opset}, IR {source.ir_version}{exporter}"
        found["precision"] = _precision(provenance.optimization)
        if not provenance.rebuilt:
            found["notes"] = "; ".join(source.notes)
    if shown.model:
        found["backend"] = shown.model.backend or shown.model.platform or "not named: Triton guesses from the files"
        found["requests"] = _requests(shown)
    return _pairs(found)


def _precision(made: Optimization) -> str:
    kept = f"{len(made.kept)} layers stayed in FP32" if made.kept else ""
    pruned = f"{made.sparsity:.0%} of the weights are zero" if made.sparsity is not None else ""
    return "; ".join(filter(None, (made.precision, *made.done, kept, pruned)))


def _requests(shown: Shown) -> str:
    assert shown.model is not None  # noqa: S101 - as the caller has asked
    largest = shown.model.max_batch_size
    said = [f"1 to {largest} rows each" if largest > 1 else "one row each" if largest else "no batches"]
    if shown.message.HasField("dynamic_batching"):
        said.append("Triton merges requests")
    if shown.in_sequences:
        said.append("in sequences")
    if shown.decoupled:
        said.append("any number of answers to each")
    return ", ".join(said)


def _tensors(shown: Shown) -> list[str]:
    if shown.model is None:
        return []
    found = [("input", *_cells(each), _values(each, shown)) for each in shown.model.inputs]
    found += [("output", *_cells(each), _values(each, shown)) for each in shown.model.outputs]
    rows = [("", "name", "type", "shape", "values" * any(row[-1] for row in found)), *found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = []
    for *cells, values in rows:
        start = "  ".join(cell.ljust(wide) for cell, wide in zip(cells, widths, strict=True)) + "  "
        room = width() - len(start)
        lines += [start.rstrip()] if not values else _hanging(start, values, room)
    return lines


def _hanging(start: str, values: str, room: int) -> list[str]:
    """Return a row whose last cell goes on below itself, or in lines of its own if there is no room for it."""
    if room < 16:
        return [start.rstrip(), *textwrap.wrap(values, width() - 8, initial_indent=" " * 8, subsequent_indent=" " * 8)]
    first, *more = textwrap.wrap(values, room)
    return [start + first, *(" " * len(start) + each for each in more)]


def _cells(tensor: Tensor) -> tuple[str, str, str]:
    return tensor.name, tensor.datatype, f"[{', '.join(map(str, tensor.dims))}]"


def _values(tensor: Tensor, shown: Shown) -> str:
    labels = shown.labels.get(tensor.name, ())
    classes = f"{len(labels)} classes: {', '.join(labels[:FEW])}{', …' * (len(labels) > FEW)}" if labels else ""
    return ", ".join(
        filter(None, (ABOUT.get(tensor.kind), "optional" * tensor.optional, shown.values.get(tensor.name, ""), classes))
    )


def _tensor_document(tensor: Tensor, shown: Shown) -> dict[str, Any]:
    specs = shown.record.provenance.source.inputs if shown.record else ()
    spec = next((asdict(each.described) for each in specs if each.name == tensor.name), None)
    is_input = shown.model is not None and tensor in shown.model.inputs
    more = {"optional": tensor.optional, "domain": spec["domain"] if spec else None, "sizes": spec and spec["sizes"]}
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.dims),
        **(more if is_input else {"labels": list(shown.labels.get(tensor.name, ()))}),
    }


def _proof(record: Manifest) -> dict[str, str]:
    provenance = record.provenance
    proof = provenance.verification
    found = {"answers": _answers(proof)}
    if provenance.rebuilt:
        found["answers"] = "not proven: its record was rebuilt. generate proves the same files again"
    if proof.worst:
        at = proof.worst
        share = f"{at.share_of_limit:.0%} of the limit" if at.limit else "no difference is allowed"
        found["worst"] = f"{at.difference:.1e}, {share}, in {at.output} for {at.family!r} in a batch of {at.batch}"
    agreed = (("the same best one", proof.top1), ("the same five", proof.top5))
    found["classes"] = ", ".join(f"{what} in {share:.1%}" for what, share in agreed if share is not None)
    if proof.mixing:
        found["batching"] = f"samples of one batch influence each other in {', '.join(proof.mixing)}"
    if proof.coverage:
        found["covered"] = "; ".join((str(proof.coverage), *proof.coverage.reasons)).strip("; ")
        missing = proof.coverage.missing
        found["not reached"] = "; ".join(missing[:FEW]) + (f"; … {MORE}" if len(missing) > FEW else "")
    found["accuracy"] = _accuracy(proof, provenance.optimization)
    found["samples"] = proof.samples
    if proof.live:
        tried = f", {proof.live.cases} cases" if proof.live.cases else ""
        found["live check"] = "; ".join((f"{proof.live.status}: {proof.live.detail}{tried}", *proof.live.notes))
    elif not provenance.rebuilt:
        found["live check"] = "not asked for"
    found["plans"] = "; ".join(
        f"{plan.gpu} ({plan.compute_capability}), TensorRT {plan.tensorrt}, "
        + (f"{plan.proof.cases} cases, worst difference {plan.proof.max_rel_diff:.1e}" if plan.proof else "not proven")
        for plan in provenance.plans
    )
    found["notes"] = "; ".join(proof.notes)
    return found


def _answers(proof: Verification) -> str:
    if proof.passed is None:
        return "not compared with the source: --no-verify"
    if proof.max_rel_diff is None:
        return f"compared with the source in {proof.cases:,} cases"
    return (
        f"compared with the source in {proof.cases:,} cases: worst difference {proof.max_rel_diff:.1e} of the "
        f"magnitude; allowed: {proof.tolerance}"
    )


def _accuracy(proof: Verification, made: Optimization) -> str:
    found = []
    for reached in filter(None, (proof.accuracy, made.accuracy)):
        found.append(str(reached) if reached.is_cosine else f"{reached} samples (the source: {reached.source:.1%})")
    return "; ".join(dict.fromkeys(found))


def _versions(shown: Shown) -> list[str]:
    found = [_version(each) for each in shown.standing.versions]
    rows = [("version", "served", "created", "precision", "size", "note" * any(row[-1] for row in found)), *found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)) for row in rows)
    return [f"  {line}".rstrip() for line in lines] if found else []


def _version(version: Version) -> tuple[str, ...]:
    record = version.manifest
    created = record.created[:16].replace("T", " ") if record else "-"
    precision = record.provenance.optimization.precision if record else "-"
    bytes_ = sum(file.size for name, file in record.files.items() if "/" in name) if record else None
    rebuilt = "record rebuilt" if record and record.provenance.rebuilt else ""
    served = "served" if version.served else "-"
    cells = (str(version.number), served, created, precision, size(bytes_) if bytes_ is not None else "-")
    return (*cells, "; ".join(filter(None, (version.note, rebuilt))))


def _version_document(version: Version) -> dict[str, Any]:
    record = version.manifest
    return {
        "version": version.number,
        "served": version.served,
        "created": record.created if record else None,
        "precision": record.provenance.optimization.precision if record else None,
        "bytes": sum(file.size for name, file in record.files.items() if "/" in name) if record else None,
        "rebuilt": record is not None and record.provenance.rebuilt,
        "note": version.note,
    }


def _files(files: Mapping[str, int]) -> list[str]:
    listed = list(files.items())[: 4 * FEW]
    wide = max((len(name) for name, _ in listed), default=0)
    more = [f"  … and {len(files) - len(listed)} more: {MORE}"] if len(files) > len(listed) else []
    return [f"  {name:<{wide}}  {size(bytes_)}" for name, bytes_ in listed] + more


def _flat(preprocess: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): _shown_value(value) for key, value in preprocess.items() if value not in ({}, [], None)}


def _shown_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        first = ", ".join(map(_shown_value, value[:12]))
        return first + (f", … ({len(value)})" if len(value) > 12 else "")
    return str(value)
