"""The page of an inspection: one HTML file without scripts, for people who would rather look."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from modelrepo.generator.errors import without_escapes
from modelrepo.generator.inspection import totals
from modelrepo.generator.inspection.inspection import Inspection, Node, Weight
from modelrepo.generator.inspection.totals import Total
from modelrepo.generator.system.extras import version_of
from modelrepo.generator.system.templates import environment

TEMPLATE = "inspection.html.j2"
# What a page shows at most: nodes of the outline, bars of a chart, rows of a table; a browser bears no more at once.
MOST_NODES, MOST_BARS, MOST_ROWS = 3000, 40, 200
# Nodes whose names do not say where they belong are folded together in so many.
TOGETHER = 50
# Names such as /layer1/layer1.0/conv1/Conv: the module of a node is what is before its own name, to this depth.
DEPTH = 2
TONES = {"yes": "good", "no": "bad", "unknown": "warn"}


@dataclass(frozen=True)
class Bar:
    """A bar of a chart; ``share`` is that of the largest, in percent."""

    name: str
    value: str
    share: float


@dataclass(frozen=True)
class Step:
    """A node of the outline."""

    operator: str
    name: str
    inputs: str
    outputs: tuple[tuple[str, str], ...]  # name and shape
    weights: tuple[tuple[str, str], ...]  # name, and type with shape
    level: int


@dataclass(frozen=True)
class Part:
    """Nodes of the outline that are folded together."""

    title: str
    steps: tuple[Step, ...]


def page(found: Inspection) -> str:
    """Return the page, which needs no other file and no network."""
    return str(
        environment(escaped=True)
        .get_template(TEMPLATE)
        .render(
            found=found,
            title=found.path.name or str(found.path),
            size=totals.size(found.bytes),
            parameters=f"{sum(weight.parameters for weight in found.weights):,}",
            tensors=[*(("input", each) for each in found.inputs), *(("output", each) for each in found.outputs)],
            uses=[(each, totals.releases(each.releases)) for each in found.uses],
            tones=TONES,
            charts=tuple(_charts(found)),
            shared=totals.shared(found.weights)[:MOST_ROWS],
            parts=tuple(_parts(found)),
            nodes=(f"{min(len(found.nodes), MOST_NODES):,}", f"{len(found.nodes):,}"),
            size_of=totals.size,
            shape_of=totals.shape,
            clean=without_escapes,
            version=version_of("modelrepo") or "",
        )
    )


def _charts(found: Inspection) -> Iterator[tuple[str, str, tuple[Bar, ...], int]]:
    """Yield charts: title, note, bars, and how many bars are left out."""
    operators = [(name, f"{count:,}", count) for name, count in found.operators.items()]
    yield "Operators", f"{sum(found.operators.values()):,} nodes", *_bars(operators)
    size = totals.size(sum(weight.bytes for weight in found.weights))
    yield "Weights by type", size, *_bars(_sizes(totals.by_type(found.weights)))
    yield "Weights by layer", size, *_bars(_sizes(totals.by_layer(found.weights)))


def _sizes(rows: Sequence[Total]) -> list[tuple[str, str, int]]:
    return [(each.name, f"{totals.size(each.bytes)}, {each.parameters:,} parameters", each.bytes) for each in rows]


def _bars(rows: Sequence[tuple[str, str, int]]) -> tuple[tuple[Bar, ...], int]:
    largest = max((value for _, _, value in rows), default=0) or 1
    bars = tuple(Bar(name, text, round(100 * value / largest, 1)) for name, text, value in rows[:MOST_BARS])
    return bars, max(0, len(rows) - MOST_BARS)


def _parts(found: Inspection) -> Iterator[Part]:
    """Yield the nodes of the outline, folded by the modules that their names tell, in the order of execution."""
    weights = {weight.name: weight for weight in found.weights}
    nodes = found.nodes[:MOST_NODES]
    number = 0
    for module, group in groupby(nodes, _module):
        members = list(group)
        for start in range(0, len(members), TOGETHER if not module else len(members)):
            own = members[start : start + (TOGETHER if not module else len(members))]
            count = f"node {number + 1:,}" if len(own) == 1 else f"nodes {number + 1:,} to {number + len(own):,}"
            title = f"{module} ({count})" if module else count
            yield Part(title, tuple(_step(node, weights) for node in own))
            number += len(own)


def _module(node: Node) -> str:
    parts = re.split(r"/", node.name.strip("/"))[:-1]
    return "/".join(parts[:DEPTH])


def _step(node: Node, weights: dict[str, Weight]) -> Step:
    shapes = (*node.shapes, *[None] * len(node.outputs))
    outputs = tuple(
        (name, totals.shape(shape) if shape is not None else "")
        for name, shape in zip(node.outputs, shapes, strict=False)
    )
    known = [weights[name] for name in node.weights if name in weights]
    constants = tuple((each.name, f"{each.data_type} {totals.shape(each.shape)}") for each in known)
    return Step(node.operator, node.name, ", ".join(node.inputs), outputs, constants, node.level)
