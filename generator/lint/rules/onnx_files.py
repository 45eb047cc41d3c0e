"""ONNX files that the onnxruntime backend loads: can ONNX Runtime, and that of a release, read them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from modelrepo.generator.lint.files import onnx_file
from modelrepo.generator.lint.files.onnx_file import External, OnnxFile
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file, trouble
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import (
    advised,
    present,
    served,
    told,
)
from modelrepo.generator.lint.subject import Case, is_folder
from modelrepo.generator.triton.releases import Release

BACKEND: Final = "onnxruntime"
SOURCE = "onnxruntime_backend/src/onnxruntime.cc"
# protobuf reads no message that is longer.
MOST_BYTES = 2**31 - 1
# ONNX Runtime promises nothing for older operators, and has few of them.
OLDEST_OPSET = 7


def empty_folder(case: Case) -> Iterator[Problem]:
    """Find folders in the place of the file that have no file."""
    found = served(case, BACKEND)
    for path in found.files.values() if found else ():
        if is_folder(path) and not is_file(path / "model.onnx"):
            yield Problem(
                Place(path),
                f'{path.name} is a folder, and Triton looks for model.onnx in it: "unable to find '
                f"'{path / 'model.onnx'}' for model instance '{case.model.name}'\"",
                "Name the file in the folder model.onnx",
            )


def unreadable(case: Case) -> Iterator[Problem]:
    """Find files that are not ONNX models."""
    for path, file in files(case):
        if file.fault:
            other = told(path)
            fault = file.fault if not other or "ONNX" in other else other[0].lower() + other[1:]
            yield Problem(
                Place(path),
                f"ONNX Runtime can't load {path.name}: {fault}",
                advised(other, "Export or copy the model again, as ONNX"),
            )


def too_large(case: Case) -> Iterator[Problem]:
    """Find files that protobuf can't read."""
    for path in present(case, BACKEND):
        size = path.stat().st_size
        if size > MOST_BYTES:
            yield Problem(
                Place(path),
                f'ONNX Runtime can\'t load {path.name}, which has {size:,} bytes: "Protobuf parsing failed."',
                LARGE.write,
            )


def lacks_weights(case: Case) -> Iterator[Problem]:
    """Find files of weights that are missing, or too short for what is in them: each once."""
    for path, file in files(case):
        yield from lacking(path, file.external)


def lacking(path: Path, external: Iterable[External]) -> Iterator[Problem]:
    """Find what is wrong with the files of an ONNX file's external tensors: each once, all missing ones together."""
    files = _by_location(external)
    missing = {name: tensors for name, tensors in files.items() if name and not is_file(path.parent / name)}
    if missing:
        yield _missing(path, missing)
    for location in (name for name in files if name not in missing):
        there, tensors = path.parent / location, files[location]
        if not location:
            yield Problem(Place(path), f"the weights {_named(tensors)} name no file", "Export the model again")
        elif reason := trouble(there):
            said = (
                f"ONNX Runtime can't read {there.name}, which has weights, if the server's user can't either: {reason}"
            )
            yield Problem(Place(there), said, "Give the server's user the permission to read it")
        else:
            yield from _external_fault(path, there, tensors, _copied(location, path))


def _missing(path: Path, files: dict[str, list[External]]) -> Problem:
    """Return the problem that files of weights, of which there is at least one, are not there."""
    first, count = next(iter(files)), len(files) - 1
    plural = "s" * (count != 1)
    if count:
        said = f"weights in {first} and {count:,} other file{plural}, which are"
        these = f"{first} and {count:,} other{plural}"
    else:
        said, these = f"the weights {_named(files[first])} in {first}, which is", first
    says = f"ONNX Runtime can't load the model: {path.name} has {said} not there"
    return Problem(Place(path), says, _copied(these, path))


def _copied(files: str, path: Path) -> str:
    return f"Copy {files} from where the model was exported, beside {path.name}"


def _by_location(external: Iterable[External]) -> dict[str, list[External]]:
    """Return the tensors that lie in other files, by the file."""
    found: dict[str, list[External]] = {}
    for each in external:
        found.setdefault(each.location, []).append(each)
    return found


def _named(tensors: Sequence[External]) -> str:
    return tensors[0].tensor + (f" and {len(tensors) - 1} more" if len(tensors) > 1 else "")


def _external_fault(path: Path, there: Path, tensors: Sequence[External], write: str) -> Iterator[Problem]:
    for each in tensors:
        if each.unreadable:
            says = f"ONNX Runtime can't load {each.tensor}: '{each.unreadable}' is no offset or length in a file"
            yield Problem(Place(path), says, "Export the model again")
            return
        if each.size is not None and each.length and each.length != each.size:
            said = f"external data size mismatch. Computed size: {each.size}, external_data.length: {each.length}"
            yield Problem(Place(path), f'ONNX Runtime can\'t load {each.tensor}: "{said}"', "Export the model again")
            return
    needed, last = max((each.offset + (each.size or each.length or 0), each.tensor) for each in tensors)
    has = there.stat().st_size
    if has < needed:
        said = f"{there.name} has {has:,} bytes, and the weights {last} end at byte {needed:,}"
        yield Problem(Place(there), f"ONNX Runtime can't load the model: {said}", write)


def outside(case: Case) -> Iterator[Problem]:
    """Find weights outside of the model's folder; both the folder and the one that a link leads to count."""
    for path, file in files(case):
        yield from escaping(path, file.external)


def escaping(path: Path, external: Iterable[External]) -> Iterator[Problem]:
    """Find an ONNX file's external tensors outside of its folder: each file once."""
    elsewhere = _by_location(external)
    folders = {path.parent.resolve(), path.resolve().parent} if elsewhere else set()
    for location, tensors in elsewhere.items():
        there = path.parent / location
        if not location or not is_file(there):
            continue  # another rule's
        if Path(location).is_absolute():
            said = "Absolute path not allowed for external data location"
        elif not any(there.resolve().is_relative_to(folder) for folder in folders):
            said = "External data path escapes model directory"
        else:
            continue
        where = f"the weights {_named(tensors)} in {location}"
        yield Problem(Place(path), f'ONNX Runtime can\'t load {where}: "{said}"', OUTSIDE.write)


def custom_operators(case: Case) -> Iterator[Problem]:
    """Find operators of domains that ONNX Runtime does not have, without a library that registers them."""
    found = served(case, BACKEND)
    if found is None or found.config.model_operations.op_library_filename:
        return
    on_gpu = found.config.optimization.execution_accelerators.gpu_execution_accelerator
    tensorrt = any(each.name == "tensorrt" for each in on_gpu)
    for path, file in files(case):
        for domain, said in file.unregistered:
            if not (tensorrt and domain == onnx_file.TENSORRT_DOMAIN):
                yield Problem(Place(path), f'ONNX Runtime can\'t load {path.name}: "{said}"', CUSTOM.write)


def opset(case: Case) -> Iterator[Problem]:
    """Find operator sets that the release's ONNX Runtime does not know."""
    release = case.host.release
    for path, file in files(case):
        if too_new_an_opset(file, release):
            yield Problem(
                Place(path),
                f'ONNX Runtime {release.onnxruntime} refuses opset {file.opset}: "Current official support for domain '
                f'ai.onnx is till opset {release.max_opset}."',
                f"Export the model with opset {release.max_opset} or lower, or serve it with a newer release",
            )


def ir_version(case: Case) -> Iterator[Problem]:
    """Find versions of ONNX's format that the release's ONNX Runtime does not know."""
    release = case.host.release
    for path, file in files(case):
        if too_new_a_format(file, release):
            yield Problem(
                Place(path),
                f"ONNX Runtime {release.onnxruntime} can't load it: \"Unsupported model IR version: {file.ir}, max "
                f'supported IR version: {release.max_ir}"',
                f"Set the model's ir_version to {release.max_ir}, if its opset is at most {release.max_opset}",
            )


def older(case: Case) -> Iterator[Problem]:
    """Find operator sets older than those that ONNX Runtime implements."""
    for path, file in files(case):
        if 0 < file.opset < OLDEST_OPSET:
            said = (
                f"ONNX Runtime implements the operators of opset {OLDEST_OPSET} and later; the model has {file.opset}, "
            )
            said += 'and some operators may lack: "Could not find an implementation for …"'
            yield Problem(Place(path), said, OLD.write)


def newer(case: Case) -> Iterator[Problem]:
    """Find models that are newer than what is known of a release."""
    release = case.host.release
    for path, file in files(case):
        if perhaps_too_new(file, release):
            yield Problem(
                Place(path),
                f"{release.limits}; the model has opset {file.opset} and IR {file.ir}, and may be refused",
                "Export the model with a lower opset, or try it in that release",
            )


def too_new_an_opset(file: OnnxFile, release: Release) -> bool:
    """Whether a release's ONNX Runtime refuses the opset of a model."""
    return not release.bounds_of and file.opset > release.max_opset


def too_new_a_format(file: OnnxFile, release: Release) -> bool:
    """Whether a release's ONNX Runtime refuses the IR version of a model."""
    return not release.bounds_of and file.ir > release.max_ir


def perhaps_too_new(file: OnnxFile, release: Release) -> bool:
    """Whether a release of which little is known may refuse the opset or the IR version of a model."""
    return bool(release.bounds_of) and (file.opset > release.max_opset or file.ir > release.max_ir)


def files(case: Case) -> Iterator[tuple[Path, OnnxFile]]:
    """Yield the ONNX files that a server loads; none in ONNX Runtime's own format."""
    for path in present(case, BACKEND):
        file = case.model.read(onnx_file.read, path)
        if file is not None:
            yield path, file


EMPTY_FOLDER = Rule(
    code="ORT-FILE",
    severity="error",
    title="a folder is in the place of the ONNX file, without a model.onnx",
    triton="Triton looks for model.onnx in it, and refuses the model: \"unable to find '…/1/model.onnx/model.onnx' for "
    'model instance …".',
    write="Name the file in the folder model.onnx",
    check=empty_folder,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
UNREADABLE = Rule(
    code="ORT-READ",
    severity="error",
    title="the file is not an ONNX model, is empty, or is truncated",
    triton='Triton refuses the model: "onnx runtime error 7: Load model from … failed:Protobuf parsing failed."',
    write="Export or copy the model again",
    check=unreadable,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
LARGE = Rule(
    code="ORT-2GB",
    severity="error",
    title="the ONNX file is larger than 2 GiB",
    triton='Triton refuses the model: "Protobuf parsing failed." protobuf reads no message of 2 GiB or more.',
    write="Save the weights as external data beside the model",
    check=too_large,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/graph/model.cc",
    needs_config=False,
)
WEIGHTS = Rule(
    code="ORT-EXT",
    severity="error",
    title="a file of external weights is missing, or too short",
    triton="Triton refuses the model with ONNX Runtime's reason.",
    write="Copy the file from where the model was exported, beside the model",
    check=lacks_weights,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/framework/tensorprotoutils.cc",
    needs_config=False,
)
OUTSIDE = Rule(
    code="ORT-OUTSIDE",
    severity="error",
    title="external weights lie outside of the model's folder",
    triton='Triton refuses the model since ONNX Runtime 1.24: "External data path escapes model directory". Older '
    "releases load it from a disk, and not from an object store.",
    write="Move the file into the folder of the model, and name it without a path",
    check=outside,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/framework/tensorprotoutils.cc, ValidateExternalDataPath",
    needs_config=False,
    since="26.02",
)
CUSTOM = Rule(
    code="ORT-OPS",
    severity="error",
    title="an operator is of a domain that ONNX Runtime does not have, and no library is named",
    triton='Triton refuses the model: "Fatal error: ai.onnx.contrib:…(-1) is not a registered function/op". The '
    "library of custom operators, which model_operations names, must lie on the server's disk.",
    write='Write model_operations { op_library_filename: "/path/on/the/server.so" }, or export the model without it',
    check=custom_operators,
    decided_by=BACKEND,
    seen="2.51, with our backend in Python",
    needs_config=False,
)
OPSET = Rule(
    code="ORT-OPSET",
    severity="error",
    title="the opset is newer than the release's ONNX Runtime",
    triton='Triton refuses the model: "ONNX Runtime only *guarantees* support for models stamped with official '
    'released onnx opset versions."',
    write="Export the model with a lower opset, or serve it with a newer release",
    check=opset,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/graph/model_load_utils.h",
    needs_config=False,
)
IR = Rule(
    code="ORT-IR",
    severity="error",
    title="the IR version is newer than the release's ONNX Runtime",
    triton='Triton refuses the model: "Unsupported model IR version: 13, max supported IR version: 11".',
    write="Lower the model's ir_version, or serve it with a newer release",
    check=ir_version,
    decided_by=BACKEND,
    source="onnxruntime: onnxruntime/core/graph/model.cc",
    needs_config=False,
)
OLD = Rule(
    code="ORT-OLD",
    severity="warning",
    title="the opset is older than those that ONNX Runtime implements",
    triton='Triton refuses the model if an operator of it is not implemented any more: "NOT_IMPLEMENTED : Could not '
    'find an implementation for Add(6) node with name …".',
    write="Convert the model with onnx.version_converter, or export it with a newer opset",
    check=older,
    decided_by=BACKEND,
    source="onnxruntime: docs/Versioning.md",
    needs_config=False,
)
NEWER = Rule(
    code="ORT-NEWER",
    severity="warning",
    title="the model is newer than what is known of the release's ONNX Runtime",
    triton="Triton may refuse the model: which ONNX Runtime this release has is not known.",
    write="Export the model with a lower opset, or try it in that release",
    check=newer,
    decided_by=BACKEND,
    source="the release notes",
    needs_config=False,
)
RULES = (EMPTY_FOLDER, UNREADABLE, LARGE, WEIGHTS, OUTSIDE, CUSTOM, OPSET, IR, OLD, NEWER)
