"""Parts of an inspection that readers share: batches by the declared shapes, counts, sizes, and what releases say."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from modelrepo.generator.inspection.inspection import Batching, Dim, Inspection, Tensor, Use, Verdict
from modelrepo.generator.triton.releases import RELEASES, Release

Judgement: TypeAlias = tuple[Verdict, str]
# Triton's name of a type by numpy's, which torch mostly uses too.
TRITON = {
    "bool": "BOOL",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float16": "FP16",
    "bfloat16": "BF16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "STRING",
}


def triton_name(dtype: str) -> str:
    """Return Triton's name of a type; the format's own name of one that Triton lacks."""
    return TRITON.get(dtype.lower(), dtype)


def most_frequent_first(names: Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    """Return how often each name occurs; equal counts are in the order of names."""
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


def sizes_of(files: Iterable[Path], root: Path) -> dict[str, int]:
    """Return the bytes of files by their names below a folder; a file that can't be looked at is left out."""
    found = {}
    for file in files:
        try:
            if file.is_file():
                found[file.relative_to(root).as_posix()] = file.stat().st_size
        except OSError:
            continue
    return found


def unreadable(path: Path, form: str, fault: str) -> Inspection:
    """Return the inspection of a file of which nothing but a fault is known."""
    files = sizes_of([path], path.parent)
    return Inspection(path, form, sum(files.values()), faults=(fault,), files=files)


def reason(error: OSError) -> str:
    """Return why a file can't be read."""
    return f"it can't be read: {error.strerror or error}"


def by_first_dims(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Batching:
    """Return whether requests can be stacked, as the declared shapes of a model say."""
    if not inputs:
        return Batching("no", "", "it has no inputs")
    if not outputs:
        return Batching("no", "", "it has no outputs")
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if tensor.shape is not None and not tensor.shape:
                return Batching("no", tensor.name, f"the {kind} {tensor.name} is a scalar")
            if tensor.shape and isinstance(tensor.shape[0], int):
                said = f"the first dimension of the {kind} {tensor.name} is always {tensor.shape[0]}"
                return Batching("no", tensor.name, said)
    shapeless = next((tensor for tensor in (*inputs, *outputs) if tensor.shape is None), None)
    if shapeless is not None:
        return Batching("unknown", shapeless.name, f"nothing is known of the shape of {shapeless.name}")
    first: dict[Dim, str] = {}
    for tensor in (*inputs, *outputs):
        for dim in (tensor.shape or ())[:1]:
            first.setdefault(dim, tensor.name)
    named = {dim: name for dim, name in first.items() if dim is not None}
    if len(named) > 1:
        (one, own), (other, another) = tuple(named.items())[:2]
        said = f"the first dimension of {own} is {one}, that of {another} is {other}: they may differ"
        return Batching("unknown", another, said)
    return Batching("yes", inputs[0].name, "the first dimension of every input and output is open")


def by_release(target: str, judge: Callable[[Release], Judgement]) -> tuple[Use, ...]:
    """Return what a backend could do with a file: a row for every judgement, with the releases that it holds for."""
    grouped: dict[Judgement, list[str]] = {}
    for release in RELEASES.values():
        grouped.setdefault(judge(release), []).append(release.container)
    return tuple(Use(target, tuple(each), verdict, why) for (verdict, why), each in grouped.items())
