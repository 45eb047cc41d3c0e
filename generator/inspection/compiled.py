"""Packages of AOTInductor: what they were compiled for, and what the code in them checks of its inputs."""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from math import prod
from pathlib import Path

from modelrepo.generator.inspection.inspection import Batching, Dim, Inspection, Tensor, Weight
from modelrepo.generator.inspection.layers import layer_of
from modelrepo.generator.inspection.parts import Judgement, by_release, triton_name
from modelrepo.generator.lint.completed import AOTI_SINCE
from modelrepo.generator.lint.files.torchscript import member
from modelrepo.generator.triton.releases import Release

FORM = "AOTInductor package"
FOLDER = "/data/aotinductor/"
LABELS = {
    "AOTI_DEVICE_KEY": "device",
    "AOTI_PLATFORM": "platform",
    "AOTI_MACHINE": "machine",
    "AOTI_CPU_ISA": "CPU instructions",
    "AOTI_COMPUTE_CAPABILITY": "compute capability",
}
# What torch/_inductor/codegen/cpp_wrapper_cpu.py writes.
CHECK = "static void check_input_"
NUMBER = re.compile(r"(\d{1,9})\(")
DTYPE = re.compile(r"_expected_dtype = aoti_torch_dtype_(\w+)\(\)")
EXACT = re.compile(r"\((\d+) != \w+_size\[(\d+)\]\)")
BOUND = re.compile(r"_size\[(\d+)\] ([<>]) (\d+)\)")
WORDS = {"<": "at least", ">": "at most"}
AXIS = re.compile(r"_(?:size|stride)\[(\d+)\]")
COUNTED = re.compile(r"(inputs|outputs)_info_\[(\d+)\]\.name = ")
CONSTANT = re.compile(r"constants_info_\[(\d+)\]\.(\w+) = ([^;]{0,2000});")
REMARKS = (
    "the code checks the types and sizes of inputs only if AOTI_RUNTIME_CHECK_INPUTS=1 is set: others give wrong "
    "answers, or end the server",
    "it holds machine code, which runs on the server: load packages that you trust only",
    "it runs with the torch that compiled it only, and the package does not say which: compile it in the PyTorch "
    "container that the Triton release was made from",
)


def is_compiled(names: list[str]) -> bool:
    """Whether the members of an archive are those of a compiled package."""
    return any(FOLDER in name for name in names)


def inspected(path: Path, archive: zipfile.ZipFile) -> Inspection:
    """Return what is known of a compiled package; ValueError or an error of a damaged archive."""
    names = [name for name in archive.namelist() if FOLDER in name]
    models = sorted({name.partition(FOLDER)[2].partition("/")[0] for name in names})
    chosen = "model" if "model" in models else models[0]
    own = [name for name in names if name.partition(FOLDER)[2].startswith(f"{chosen}/")]
    metadata = _metadata(archive, own)
    code = next((name for name in own if name.endswith(".wrapper.cpp")), "")
    text = member(archive, code).decode("utf-8", errors="replace") if code else ""
    inputs, limits = _inputs(text)
    counted = {match[1]: int(match[2]) + 1 for match in COUNTED.finditer(text)}
    sizes = {archive.getinfo(name).file_size for name in own if name.endswith(".so")}
    facts = [(LABELS.get(key, key), value) for key, value in metadata.items() if value]
    remarks = list(REMARKS)
    if len(models) > 1:
        remarks.append(f"it holds {len(models)} models, {', '.join(models[:10])}; this is {chosen}")
    if not text:
        remarks.append("the code that it was compiled from is not in it: inputs and outputs are not known")
    return Inspection(
        path,
        FORM,
        path.stat().st_size,
        faults=() if sizes else ("the compiled library (.so) is missing",),
        remarks=tuple(remarks),
        facts=(*facts, *((f"sizes of {name}", limit) for name, limit in limits.items())),
        inputs=inputs,
        outputs=tuple(Tensor(f"OUTPUT__{number}", "unknown", None) for number in range(counted.get("outputs", 0))),
        batching=_batching(inputs, limits),
        weights=tuple(_weights(text)),
        files={path.name: path.stat().st_size},
        uses=by_release("pytorch", partial(_judged, metadata)),
    )


def _metadata(archive: zipfile.ZipFile, names: list[str]) -> dict[str, str]:
    name = next((name for name in names if name.endswith("_metadata.json")), "")
    document = json.loads(member(archive, name)) if name else {}
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def _inputs(text: str) -> tuple[tuple[Tensor, ...], dict[str, str]]:
    """Return the inputs that the code checks, and the limits of their open sizes, by NAME[AXIS]."""
    tensors, limits = [], {}
    for part in text.split(CHECK)[1:]:
        match = NUMBER.match(part)
        if match is None:
            continue
        name, body = f"INPUT__{match[1]}", part.partition("\n}")[0]
        dtype = DTYPE.search(body)
        axes = [int(each) for each in AXIS.findall(body) if len(each) < 3]
        shape: list[Dim] = [None] * (max(axes) + 1) if axes else []
        for size, axis in EXACT.findall(body):
            if int(axis) < len(shape):
                shape[int(axis)] = int(size)
        bounds = sorted(BOUND.findall(body))
        for axis, each in groupby(bounds, key=lambda bound: bound[0]):
            limits[f"{name}[{axis}]"] = " and ".join(f"{WORDS[sign]} {size}" for _, sign, size in each)
        tensors.append(Tensor(name, triton_name(dtype[1]) if dtype else "unknown", tuple(shape)))
    return tuple(tensors), limits


def _batching(inputs: tuple[Tensor, ...], limits: Mapping[str, str]) -> Batching:
    """Return whether the inputs can be stacked; the code says nothing of the shapes of outputs."""
    if not inputs:
        return Batching("unknown", "", "nothing is known of its inputs")
    for each in inputs:
        if not each.shape:
            return Batching("no", each.name, f"the input {each.name} is a scalar")
        if isinstance(each.shape[0], int):
            return Batching("no", each.name, f"the first dimension of the input {each.name} is always {each.shape[0]}")
    limit = limits.get(f"{inputs[0].name}[0]", "")
    said = f"it was compiled for any first dimension of every input{f', {limit}' if limit else ''}"
    return Batching("unknown", inputs[0].name, f"{said}; nothing is known of the shapes of outputs")


def _weights(text: str) -> Iterator[Weight]:
    found: dict[str, dict[str, str]] = {}
    for number, key, value in CONSTANT.findall(text):
        found.setdefault(number, {})[key] = value.strip()
    for each in found.values():
        name = each.get("original_fqn", each.get("name", "")).strip('"')
        shape = tuple(int(size) for size in re.findall(r"\d+", each.get("shape", ""))[:20] if len(size) < 20)
        size = each.get("data_size", "")
        dtype = triton_name(each.get("dtype", "").removeprefix("cached_torch_dtype_"))
        count = int(size) if size.isdecimal() and len(size) < 20 else 0
        yield Weight(name, layer_of(name, "."), dtype, shape, prod(shape), count)


def _judged(metadata: Mapping[str, str], release: Release) -> Judgement:
    if release.container < AOTI_SINCE:
        return "no", f"Triton knows the platform torch_aoti since {AOTI_SINCE}"
    device = metadata.get("AOTI_DEVICE_KEY", "")
    capability = metadata.get("AOTI_COMPUTE_CAPABILITY", "")
    needs = [
        f"a GPU{f' of capability {capability}' if capability else ''}" if device == "cuda" else "",
        f"a CPU with {metadata['AOTI_CPU_ISA']}" if metadata.get("AOTI_CPU_ISA") else "",
        "the torch that compiled it",
    ]
    return "unknown", f"with platform torch_aoti; it needs {', '.join(each for each in needs if each)}"
