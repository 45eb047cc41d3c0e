"""Golden requests: a few requests of a published version with their right answers, in files that any host reads.

``1.json`` says what they are; it names the file with the arrays, ``1.<digest>.npz``, which has no pickles. The same
requests become the same bytes.
"""

import json
import math
import os
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.specs.documents import check_kinds
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.generator.system.files import sync_folder
from modelrepo.generator.verification.comparison import largest_difference
from modelrepo.generator.verification.sequences import Step

SCHEMA = 1
# The time of every member of an archive: the first that a zip file can have.
EPOCH = (1980, 1, 1, 0, 0, 0)
# How hard zlib tries, as more makes random numbers hardly smaller; and what it is given at once, in bytes.
LEVEL, CHUNK = 1, 1 << 16
DIGITS = 16
BYTES, BFLOAT16 = "bytes", "bfloat16"
AGAIN = "`generate` proves the model again and keeps new ones"


@dataclass(frozen=True, eq=False)
class Wanted:
    """The right answer in one output, as Triton gives it, and how far another may be from it.

    There is a limit for each row of the leading axis, or a single one for the whole answer.
    """

    array: Array
    limits: tuple[float, ...]
    on_gpu: tuple[float, ...]  # the limits where a GPU computes, which multiplies FP32 as TF32


@dataclass(frozen=True, eq=False)
class Request:
    """One request, as Triton takes it, and its right answer."""

    families: tuple[str, ...]  # the kind of each sample, such as "zeros" or "sample cat.png"
    inputs: Arrays  # text is bytes
    outputs: Mapping[str, Wanted]
    step: Step | None = None  # of a sequence; the controls are not among the inputs


@dataclass(frozen=True, eq=False)
class Golden:
    """The golden requests of one version, in the order in which they are asked."""

    requests: tuple[Request, ...] = ()
    reason: str = ""  # why there are none
    precision: str = ""  # of the limits, in words
    follows: bool = False  # whether a label may differ where the scores beside it name another class as well
    any_id: bool = True  # whether the answers are the same for every correlation ID


class Distance(NamedTuple):
    """Whether an answer is right; and its worst sample: the place of it, how far it is off, and where."""

    right: bool
    sample: int
    difference: float
    limit: float
    place: tuple[int, ...]


def within(right: Array, got: Array, limits: Sequence[float]) -> Distance:
    """Compare an answer with the right one of the same shape, sample by sample if there is a limit for each.

    The worst sample is farthest beyond its limit, or else closest to it.
    """
    if right.ndim and len(limits) == len(right):
        pairs = [(right[row, ...], got[row, ...]) for row in range(len(right))]
    else:
        pairs = [(right, got)]
    found = []
    for sample, ((one, other), limit) in enumerate(zip(pairs, limits, strict=True)):
        difference, place = largest_difference(_comparable(one), _comparable(other))
        found.append(Distance(difference <= limit, sample, difference, limit, place))
    return max(found, key=_share, default=Distance(True, 0, 0.0, 0.0, ()))


def _comparable(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.name == BFLOAT16 else array


def _share(found: Distance) -> tuple[bool, float]:
    share = found.difference / found.limit if found.limit else found.difference
    return not found.right, share


def write(folder: Path, stem: str, golden: Golden) -> None:
    """Write golden requests; the file that names the arrays appears last, in one step, and replaces an earlier one.

    One writer at a time: the files of others that have not appeared yet are removed.
    """
    text, archive = packed(golden, stem)
    folder.mkdir(parents=True, exist_ok=True)
    if archive:
        _replace(folder / _arrays_of(stem, archive), archive)
    _replace(folder / f"{stem}.json", text.encode())
    sync_folder(folder)
    kept = _arrays_of(stem, archive) if archive else ""
    for old in (*folder.glob(f"{stem}.*.npz"), *folder.glob(f".{stem}.*")):  # also those of a writer that was killed
        if old.name != kept:
            old.unlink(missing_ok=True)


def read(folder: Path, stem: str) -> Golden | None:
    """Read golden requests, None if there are none; RepositoryError if they are damaged, or from a newer release."""
    path = folder / f"{stem}.json"
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["schema"] != SCHEMA:
            raise RepositoryError(f"{path} was written by a newer release of modelrepo", "Upgrade modelrepo")
        check_kinds(document, reason=str, precision=str, follows=bool, any_id=bool, requests=list)
        arrays = _read_arrays(folder, document["arrays"], document["sha256"]) if document["requests"] else {}
        return Golden(
            tuple(_request(each, arrays) for each in document["requests"]),
            document["reason"],
            document["precision"],
            document["follows"],
            document["any_id"],
        )
    except FileNotFoundError as error:
        if not path.exists():
            return None
        raise _damaged(path, error) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RepositoryError:
    return RepositoryError(f"the golden requests {path} are damaged: {error!r}", f"Remove the file: {AGAIN}")


def size(arrays: Iterable[Array], most: int) -> int:
    """Return the bytes of arrays in a file, or a number above ``most`` as soon as there are more."""
    found = 0
    for part in (part for array in arrays for part in _parts(array)):
        packer = zlib.compressobj(LEVEL)
        for start in range(0, len(part), CHUNK):
            found += len(packer.compress(part[start : start + CHUNK]))
            if found > most:
                return found
        found += len(packer.flush())
    return found


def packed(golden: Golden, stem: str) -> tuple[str, bytes]:
    """Return the JSON of golden requests, and the archive of their arrays, empty if there are none."""
    parts: list[bytes] = []
    requests = [_written(each, parts) for each in golden.requests]
    archive = _archive(parts) if parts else b""
    document = {
        "schema": SCHEMA,
        "reason": golden.reason,
        "precision": golden.precision,
        "follows": golden.follows,
        "any_id": golden.any_id,
        "arrays": _arrays_of(stem, archive) if archive else "",
        "sha256": sha256(archive).hexdigest(),
        "requests": requests,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", archive


def _arrays_of(stem: str, archive: bytes) -> str:
    return f"{stem}.{sha256(archive).hexdigest()[:DIGITS]}.npz"


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _archive(parts: list[bytes]) -> bytes:
    made = BytesIO()
    with ZipFile(made, "w", ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for number, part in enumerate(parts):
            member = ZipInfo(f"{number}.npy", EPOCH)
            member.compress_type = ZIP_DEFLATED
            archive.writestr(member, part, compresslevel=LEVEL)
    return made.getvalue()


def _written(request: Request, parts: list[bytes]) -> dict[str, Any]:
    return {
        "families": list(request.families),
        "step": list(request.step) if request.step else None,
        "inputs": [_tensor(name, array, parts) for name, array in request.inputs.items()],
        "outputs": [
            {**_tensor(name, each.array, parts), "limits": list(each.limits), "on_gpu": list(each.on_gpu)}
            for name, each in request.outputs.items()
        ],
    }


def _tensor(name: str, array: Array, parts: list[bytes]) -> dict[str, Any]:
    place = len(parts)
    parts += _parts(array)
    return {"name": name, "type": _type(array), "shape": list(array.shape), "array": place}


def _type(array: Array) -> str:
    return BYTES if array.dtype == np.object_ else array.dtype.name


def _parts(array: Array) -> list[bytes]:
    """Return an array as files of numpy's format; text is two: all bytes, and the length of each item."""
    if array.dtype == np.object_:
        items = [bytes(item) for item in array.ravel()]
        lengths = np.array([len(item) for item in items], np.int64)
        return [_npy(np.frombuffer(b"".join(items), np.uint8)), _npy(lengths)]
    return [_npy(array.view(np.uint16) if array.dtype.name == BFLOAT16 else array)]


def _npy(array: Array) -> bytes:
    made = BytesIO()
    np.lib.format.write_array(made, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    return made.getvalue()


def _read_arrays(folder: Path, name: str, digest: str) -> dict[str, Array]:
    content = (folder / Path(name).name).read_bytes()
    if sha256(content).hexdigest() != digest:
        raise ValueError(f"{name} has other content")
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _request(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> Request:
    identity, *ends = document["step"] or (0,)
    return Request(
        tuple(map(str, document["families"])),
        {each["name"]: _array(each, arrays) for each in document["inputs"]},
        {each["name"]: _wanted(each, arrays) for each in document["outputs"]},
        Step(int(identity), *map(bool, ends)) if document["step"] else None,
    )


def _wanted(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> Wanted:
    array = _array(document, arrays)
    limits = [tuple(map(float, document[key])) for key in ("limits", "on_gpu")]
    if any(len(each) not in (1, *array.shape[:1]) or not all(map(math.isfinite, each)) for each in limits):
        raise ValueError(f"the limits of {document['name']} do not fit its shape")
    return Wanted(array, *limits)


def _array(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
    place, shape = document["array"], tuple(map(int, document["shape"]))
    array = arrays[str(place)]
    if document["type"] == BYTES:
        content, ends = array.tobytes(), [0, *np.cumsum(arrays[str(place + 1)]).tolist()]
        items = np.empty(len(ends) - 1, object)
        items[:] = [content[start:end] for start, end in pairwise(ends)]
        return items.reshape(shape)
    if document["type"] == BFLOAT16:
        import ml_dtypes

        array = array.view(ml_dtypes.bfloat16)
    if array.dtype.name != document["type"] or array.shape != shape:
        raise ValueError(f"{document['name']} has other types or shapes than its arrays")
    return array
