"""Comparison of a TensorRT plan's answers with those of ONNX Runtime, which were stored when the plan was prepared.

Uses only Python's standard library: this file is copied into the serving container with deploy/build_plans.py. There
trtexec runs the plan, and modelrepo is not installed. ``generator/plans/reference.py`` writes these files::

    reference/reference.json   the tolerance and the cases
    reference/0-in-0.bin       inputs: raw, little-endian, in the model's own type, as trtexec's --loadInputs takes them
    reference/0-out-0.bin      answers: little-endian float64 (d) or int64 (q)
"""

import array
import json
import math
import re
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
FOLDER, INDEX = "reference", "reference.json"
# Bytes 0-3 of a plan ("ftrt", as a little-endian number; bytes 4-7 are 0), and the offset of the TensorRT version:
# major, minor, patch and build, a byte each.
MAGIC, VERSION_AT = 0x74727466, 24
# Inputs in plans.lock that don't decide the plan: versions of the tools that made the ONNX files (the files' digests
# count instead), and trtexec's arguments, which follow from the rest.
NOT_DECISIVE = ("tools", "trtexec")
# How trtexec prints numbers that JSON can't represent.
NOT_A_NUMBER = re.compile(r"(?<=[\[,:\s])([+-]?(?:nan|inf))(?=[\],\s])", re.IGNORECASE)
PYTHON_WORDS = {"nan": "NaN", "+nan": "NaN", "-nan": "NaN", "inf": "Infinity", "+inf": "Infinity", "-inf": "-Infinity"}

Case = Mapping[str, Any]
Answers = Mapping[str, tuple[list[int], Sequence[float]]]  # shape and values of each output
# Runs trtexec with these arguments in the folder of the plan; raises any error if that fails.
Trtexec = Callable[[Sequence[str]], None]


class Mismatch(ValueError):
    """A plan's answers are missing, or differ from ONNX Runtime's; the text says where and by how much."""


@dataclass(frozen=True)
class Agreement:
    """The result of comparing a plan's answers with the reference."""

    cases: int
    max_rel_diff: float  # the largest difference / the magnitude of its sample
    tolerance: Mapping[str, float]  # the limit, as ``read_tolerance`` returns it


def decisive(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those ``inputs`` of an entry in plans.lock that decide the plan."""
    return {key: value for key, value in inputs.items() if key not in NOT_DECISIVE}


def read_tolerance(folder: Path) -> dict[str, float]:
    """Return the limit of a reference, ``relative`` and ``absolute``; raises as ``check`` does."""
    limit = _read_index(folder)["tolerance"]
    return {"relative": limit["relative"], "absolute": limit["absolute"]}


def _read_index(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / FOLDER / INDEX).read_text("utf-8"))
    if document["schema"] != SCHEMA:
        raise ValueError(f"{folder / FOLDER / INDEX} was written by another release of modelrepo")
    return document


def check(folder: Path, answer: Callable[[Case], Answers]) -> Agreement:
    """Run every case of ``folder``/reference on a plan with ``answer``, and compare with the stored answers.

    Raises Mismatch if an answer is missing, NaN, has a different shape, or is too far off; OSError, ValueError or
    KeyError if the reference can't be read.
    """
    document = _read_index(folder)
    worst = 0.0
    for number, case in enumerate(document["cases"]):
        got = answer(case)
        for output in case["outputs"]:
            where = f"output {output['name']!r} in case {number} of the reference"
            if output["name"] not in got:
                raise Mismatch(f"the plan gives no {where}")
            wanted = read_values(folder / FOLDER / output["file"], output["type"])
            worst = max(worst, _compare(wanted, output, got[output["name"]], document, where))
    return Agreement(len(document["cases"]), worst, read_tolerance(folder))


def asked_of_trtexec(
    folder: Path, plan: str, trtexec: Trtexec, *, version_compatible: bool = False
) -> Callable[[Case], Answers]:
    """Return a function that answers a case: trtexec runs the file ``plan`` in ``folder``."""

    def answer(case: Case) -> Answers:
        exported = folder / "answers.json"
        try:
            trtexec(run_arguments(plan, case, exported.name, version_compatible=version_compatible))
            return read_answers(exported)
        finally:
            exported.unlink(missing_ok=True)

    return answer


def run_arguments(plan: str, case: Case, answers: str, *, version_compatible: bool = False) -> list[str]:
    """Return trtexec's arguments that run one case once, without warm-up, and write the answers as JSON.

    TensorRT 10 and 11 have the same flags (samples/common/sampleOptions.cpp).
    """
    shapes = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in case["shapes"].items())
    inputs = ",".join(f"{each['name']}:{FOLDER}/{each['file']}" for each in case["inputs"])
    return [
        f"--loadEngine={plan}",
        *([f"--shapes={shapes}"] if shapes else []),
        *([f"--useProfile={case['profile']}"] if case["profile"] else []),
        f"--loadInputs={inputs}",
        f"--exportOutput={answers}",
        *("--iterations=1", "--warmUp=0", "--duration=0", "--avgRuns=1"),
        *(["--versionCompatible"] if version_compatible else []),
    ]


def read_answers(path: Path) -> Answers:
    """Return the shape and the values of every output that trtexec exported; Mismatch if it exported none."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise Mismatch("trtexec ended without an answer") from None
    tensors = {}
    try:
        for tensor in json.loads(NOT_A_NUMBER.sub(lambda word: PYTHON_WORDS[word[1].lower()], text)):
            shape = [int(size) for size in str(tensor["dimensions"]).split("x") if size.strip()]
            tensors[str(tensor["name"])] = shape, list(tensor["values"])
    except (ValueError, KeyError, TypeError) as error:
        raise Mismatch(f"trtexec's answer can't be read: {error!r}") from None
    return tensors


def read_values(path: Path, kind: str) -> "array.array[float]":
    """Return the values in a file of the reference: ``kind`` is d for float64 and q for int64, both little-endian."""
    values: array.array[float] = array.array(kind)
    values.frombytes(path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def tensorrt_version(plan: Path) -> str:
    """Return the TensorRT version in a plan's header; ValueError if the file is not a plan."""
    with plan.open("rb") as file:
        head = file.read(VERSION_AT + 4)
    if len(head) < VERSION_AT + 4 or struct.unpack_from("<I", head)[0] != MAGIC:
        raise ValueError(f"{plan.name} is not a TensorRT plan")
    return ".".join(map(str, head[VERSION_AT : VERSION_AT + 4]))


def _compare(
    wanted: Sequence[float],
    output: Mapping[str, Any],
    answer: tuple[list[int], Sequence[float]],
    document: Mapping[str, Any],
    where: str,
) -> float:
    """Return the largest difference of an output / its sample's magnitude; Mismatch if one is too large."""
    shape, got = answer
    if shape != output["shape"] or len(got) != len(wanted):
        raise Mismatch(f"{where} has shape {shape}, and ONNX Runtime gives {output['shape']}")
    samples = shape[0] if document["batched"] and shape else 1
    size = len(wanted) // samples if samples else 0
    worst = 0.0
    for start in range(0, samples * size, size or 1):
        difference, magnitude = _difference(wanted[start : start + size], got[start : start + size], where)
        allowed = 0.0
        if output["type"] == "d":
            allowed = document["tolerance"]["absolute"] + document["tolerance"]["relative"] * magnitude
        if not difference <= allowed:
            raise Mismatch(f"{where} differs by {difference:.3g} (limit {allowed:.3g})")
        worst = max(worst, difference / magnitude if magnitude else 0.0)
    return worst


def _difference(wanted: Sequence[float], got: Sequence[float], where: str) -> tuple[float, float]:
    """Return the largest difference of one sample, and the largest finite magnitude of ``wanted``."""
    difference = magnitude = 0.0
    for one, other in zip(wanted, got, strict=True):
        if math.isnan(other):
            raise Mismatch(f"{where} holds NaN")
        if one != other:  # infinities are equal to themselves
            difference = max(difference, abs(one - other))
        if math.isfinite(one):
            magnitude = max(magnitude, abs(one))
    return difference, magnitude
