"""What `modelrepo diff` prints of two versions."""

from collections.abc import Iterator, Mapping, Sequence

import click

from modelrepo.cli.terminal.show_model import COLUMN, heading, pair, section
from modelrepo.cli.terminal.tables import size
from modelrepo.generator.repository.lifecycle.answers import Answers, OutputChange
from modelrepo.generator.repository.lifecycle.compared import Compared, Fact, FileChange
from modelrepo.generator.repository.lifecycle.graph_changes import GraphChanges
from modelrepo.generator.repository.lifecycle.weights import Change, Tensor, Weights

# Rows of a list; --json has all.
MOST = 15
# Names that are longer don't move what is said of the others.
LONG = 32
COLOURS = {"+": "green", "-": "red", "@": "cyan"}
ABSENT = "-"


def text(found: Compared) -> str:
    """Return what is different, in sections; those without a difference are left out."""
    sections = [
        heading(f"{found.name}: version {found.one} → {found.other}", list(_said(found))),
        section("Models", list(_pairs({each.name: _member(each) for each in found.members}))),
        section("Configuration", found.config, _coloured),
        section("Files", list(_pairs({each.name: _file(each) for each in found.files}))),
        section("Graph", list(_graph(found.graph)) if found.graph else []),
        section("Weights", list(_weights(found.weights)) if found.weights else []),
        section("Answers", list(_answers(found.answers)) if found.answers else []),
        section("Made with", list(_pairs({each.name: _changed(each.before, each.after) for each in found.facts}))),
    ]
    return "\n\n".join(filter(None, sections))


def _said(found: Compared) -> Iterator[str]:
    if found.one == found.other:
        yield "  This is one version"
    elif found.equal:
        yield "  They have the same files, and the same configuration but for the version policy"
    yield from (f"  {note}" for note in found.notes)


def _changed(before: object, after: object) -> str:
    return f"{before or ABSENT} → {after or ABSENT}"


def _member(model: Fact) -> str:
    if not (model.before and model.after):
        return f"version {model.after}, new" if model.after else f"version {model.before}, not called any more"
    changed = f"version {_changed(model.before, model.after)}"
    same = model.before == model.after  # other files under the same number
    return changed if same else f"{changed}: modelrepo diff {model.name} {model.before} {model.after}"


def _pairs(found: Mapping[str, str]) -> Iterator[str]:
    column = max(COLUMN, *(len(name) + 4 for name in found if len(name) < LONG), 0)
    return (pair(name, value, column) for name, value in found.items())


def _coloured(line: str) -> str:
    return click.style(f"  {line}", fg=COLOURS.get(line[:1]))


def _file(changed: FileChange) -> str:
    before, after = (ABSENT if bytes_ is None else size(bytes_) for bytes_ in (changed.before, changed.after))
    return f"{before} → {after}" if before != after else f"{after}, other content"


def _graph(graph: GraphChanges) -> Iterator[str]:
    if graph.same:
        yield "  The same operators, inputs and outputs"
    found = {name: _changed(before, after) for name, (before, after) in graph.versions.items()}
    found |= {f"{each.kind} {each.name}": _changed(each.before, each.after) for each in graph.tensors}
    for name, (before, after) in graph.operators.items():
        found[name] = f"{before} → {after}" + ("" if before and after else ", new" if after else ", gone")
    for name, count in graph.attributes.items():
        other = f"{count} with other attributes"
        found[name] = f"{found[name]}, {other}" if name in found else other
    yield from _pairs(found)
    if graph.rewired:
        yield "  The same operators, connected or ordered in another way"


def _weights(made: Weights) -> Iterator[str]:
    alike = f"{made.same} tensor{'s' * (made.same != 1)} the same"
    if made.changed:
        yield f"  {made.changed_parameters:,} of {made.parameters:,} parameters changed; {alike}"
        ordered = sorted(made.changed, key=lambda each: -(each.relative if each.relative is not None else float("inf")))
        yield from _table(("tensor", "shape", "changed", "relative", "largest"), [_change(each) for each in ordered])
        yield from (f"  {each.name}: {each.trouble}" for each in ordered if each.trouble)
    else:
        yield f"  None changed; {alike}"
    yield from _listed("renamed", [f"{was} → {name}" for was, name in made.renamed])
    yield from _listed("gone", [_tensor(each) for each in made.removed])
    yield from _listed("new", [_tensor(each) for each in made.added])


def _change(each: Change) -> tuple[str, ...]:
    name = each.name if each.was == each.name else f"{each.was} → {each.name}"
    shape = f"{list(each.shape)}" if not each.before else f"{each.before} → {each.data_type} {list(each.shape)}"
    changed = f"{each.changed / each.parameters:.0%}" if each.parameters and not each.trouble else ABSENT
    return name, shape, changed, _number(each.relative), _number(each.largest)


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1e}"


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.name} {tensor.data_type} {list(tensor.shape)}"


def _listed(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f", … ({len(names)})" if len(names) > MOST else ""
        yield pair(title, ", ".join(names[:MOST]) + more)


def _answers(found: Answers) -> Iterator[str]:
    if found.trouble:
        yield f"  They can't be compared: {found.trouble}"
        return
    yield f"  To {found.cases} {found.kind}"
    rows = [_output(each) for each in found.outputs]
    yield from _table(("output", "equal", "largest difference", "of magnitude", "same class"), rows)
    yield from (f"  {each.name}: {each.trouble}" for each in found.outputs if each.trouble)


def _output(each: OutputChange) -> tuple[str, ...]:
    share = ABSENT if each.relative is None else f"{each.relative:.1e}"
    top1 = ABSENT if each.top1 is None else f"{each.top1:.1%}"
    return each.name, ABSENT if each.trouble else f"{each.equal:.0%}", _number(each.largest), share, top1


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    shown = [headings, *rows[:MOST]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (cell.ljust(wide) for cell, wide in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
    if len(rows) > MOST:
        yield f"  … and {len(rows) - MOST} more: --json has all"
