"""The page of models with trained weights, docs/reference/real-models.md, and the rows behind it, real-models.csv."""

import csv
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path

from modelrepo.server.binaries.runtime import TRITON_VERSION
from tests.conftest import PROJECT
from tests.real_models.models import MODELS, Model
from tests.real_models.packages import PACKAGES
from tests.real_models.trial import FULL, Row, answers_right

PAGE = PROJECT / "docs/reference/real-models.md"
ROWS = PROJECT / "docs/reference/real-models.csv"
WIDTH = 120
# What decides the rows of a model, by the scheme of its reference.
EVERYWHERE = ("onnxruntime", "onnx", "numpy")
TOOLS = {
    "tflite": ("tensorflow-cpu", "tf2onnx"),
    "savedmodel": ("tensorflow-cpu", "tf2onnx"),
    "keras": ("keras", "tensorflow-cpu", "tf2onnx"),
    "hf": ("transformers", "torch", "onnxscript"),
    "python": ("torch", "onnxscript"),
    "torchscript": ("torch",),
    "sklearn": ("scikit-learn", "skl2onnx", "lightgbm", "onnxmltools"),
}
HEAD = """# Models with trained weights

<!-- Made by: make real-models -->

"""
INTRODUCTION = (
    "What `generate` makes of models that other people trained, and that packages of Python's registry carry. {figure} "
    "{measured}"
)
HOW = (
    "Every model is generated with the options that are shown, and otherwise with defaults. FP16 and INT8 are made of "
    "the FP32 model with `--verify-effort quick`, and INT8 is calibrated with real inputs (`--calibration`). Then a "
    "real Triton ({triton}, on the CPU) serves all precisions of a model, and is asked with real inputs that did not "
    "calibrate it. Its answers are compared with those of the source: of ONNX Runtime for an ONNX file, of the model's "
    "own framework for others.",
    "Photographs are scikit-learn's and scikit-image's, faces are scikit-image's part of LFW, written digits are "
    "scikit-learn's, texts are Python's documentation strings, and files are those of installed packages. Printed "
    "text, notes and speech-like sounds are made by the test, so that the right answer is known.",
)
MEANING = """- **difference**: the largest difference of a served answer from the source's, relative to the largest
  magnitude of that output over all inputs. Of outputs that are not floats: the share of unequal values.
- **cosine**: the smallest cosine of a served answer and the source's, where the answer is not all but zero.
- **right**: the share of labelled inputs that the source answers rightly → the served model.
- **MB**: the source's files → the published model's.
- **speed**: the time of the served FP32 model, divided by that of this one, asked in turn with one request at a time on
  two shared cores. Below 1 is slower.
"""
COLUMNS = (
    "| model | precision | batch | difference | cosine | right | MB | speed |\n|---|---|---|---|---|---|---|---|\n"
)


def page(models: Sequence[Model], rows: Mapping[tuple[str, str], Row]) -> str:
    """Return the page's text for rows by key and precision."""
    own = _own(models, rows)
    dates = sorted({row.date for row in own if row.date})
    measured = f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}." if dates else "Nothing was measured."
    how = "\n\n".join(_filled(text.format(triton=TRITON_VERSION)) for text in HOW)
    parts = [_package(name, models, rows) for name in dict.fromkeys(model.package for model in models)]
    versions = "".join(f"- {each}\n" for each in dict.fromkeys(row.tools for row in own if row.tools))
    return (
        f"{HEAD}{_filled(INTRODUCTION.format(figure=_figure(own), measured=measured))}\n"
        f"\n## What was refused\n\n{''.join(_refused(own)) or 'Nothing.' + chr(10)}"
        f"\n## How it was measured\n\n{how}\n"
        f"\n## What the columns mean\n\n{MEANING}"
        f"\n## The packages\n\n{chr(10).join(parts)}"
        f"\n## Versions\n\n{versions}"
    )


def _own(models: Sequence[Model], rows: Mapping[tuple[str, str], Row]) -> list[Row]:
    keys = [(model.key, precision) for model in models for precision in (FULL, *model.lower)]
    return [rows[key] for key in keys if key in rows]


def _figure(rows: Sequence[Row]) -> str:
    """Return the figures in words."""
    said = []
    for precision in dict.fromkeys(row.precision for row in rows):
        own = [row for row in rows if row.precision == precision]
        published = sum(row.outcome == "published" for row in own)
        said.append(f"{published} of {len(own)} in {precision.upper()}")
    wrong = sum(not answers_right(row) for row in rows)
    packages = len({row.key.partition("/")[0] for row in rows})
    return (
        f"Of {packages} packages, published: {', '.join(said)}. {wrong} FP32 models answer otherwise than their source."
    )


def _refused(rows: Sequence[Row]) -> list[str]:
    return [_item(_reason(row)) for row in rows if row.outcome != "published"]


def _reason(row: Row) -> str:
    """Return why a model was refused, in the words that a user sees."""
    where = f"`{row.key}`" + ("" if row.precision == FULL else f" in {row.precision.upper()}")
    return f"{where}: {row.reason.rstrip('.')}." + (f" *{row.hint}*" if row.hint else "")


def _package(name: str, models: Sequence[Model], rows: Mapping[tuple[str, str], Row]) -> str:
    package = PACKAGES[name]
    own = [model for model in models if model.package == name]
    lines = [
        _line(rows[model.key, each]) for model in own for each in (FULL, *model.lower) if (model.key, each) in rows
    ]
    labels = dict.fromkeys(row.labels for row in _own(own, rows) if row.labels)
    told = f"{package.about}. Licence: {package.licence}." + (f" Labelled: {', '.join(labels)}." if labels else "")
    flags = dict.fromkeys(_command(model, rows) for model in own)
    return (
        f"### {package.name} {package.version}\n\n{_filled(told[:1].upper() + told[1:])}\n\n"
        f"```\n{chr(10).join(flags)}\n```\n\n{COLUMNS}{''.join(lines)}"
    )


def _command(model: Model, rows: Mapping[tuple[str, str], Row]) -> str:
    """Return what a user types, with paths in the package."""
    row = rows.get((model.key, FULL))
    named = model.reference.replace("{folder}/", "").replace("{made}/", "")
    return f"generate --model {named} {row.options if row else ''}".strip()


def _line(row: Row) -> str:
    name = row.key.partition("/")[2] if row.precision == FULL else ""
    if row.outcome != "published":
        return f"| {name} | {row.precision} | refused | | | | | |\n"
    right = "" if row.source_right is None else f"{row.source_right:.0%} → {row.served_right:.0%}"
    cells = (
        *(name, row.precision, str(row.batch or "")),
        "" if row.difference is None else f"{row.difference:.1e}",
        "" if row.cosine is None else f"{row.cosine:.5f}",
        right,
        f"{row.source_size / 1e6:.2f} → {row.size / 1e6:.2f}" if row.precision == FULL else f"{row.size / 1e6:.2f}",
        "" if row.speed is None or row.precision == FULL else f"{row.speed:.2f}",
    )
    return f"| {' | '.join(cells)} |\n"


def table(models: Sequence[Model], rows: Mapping[tuple[str, str], Row]) -> str:
    """Return the text of the CSV file: a line for each row, each cell as JSON writes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows([json.dumps(value) for value in asdict(row).values()] for row in _own(models, rows))
    return text.getvalue()


def read(path: Path) -> dict[tuple[str, str], Row]:
    """Return the rows of a CSV file by key and precision; none if there is no file."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        found = [{name: json.loads(cell) for name, cell in cells.items()} for cells in csv.DictReader(file)]
    rows = [Row(**{**each, "notes": tuple(each["notes"])}) for each in found]
    return {(row.key, row.precision): row for row in rows}


def tools(key: str) -> str:
    """Return the versions that a model's rows are measured with."""
    (model,) = (each for each in MODELS if each.key == key)
    packages = (*TOOLS.get(model.reference.partition(":")[0], ()), *EVERYWHERE)
    return ", ".join(f"{name} {metadata.version(name)}" for name in packages)


def _item(text: str) -> str:
    filled = textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return f"- {filled}\n".replace("- - ", "- ")


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
