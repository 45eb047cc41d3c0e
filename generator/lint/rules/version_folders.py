"""The folders of versions: how Triton reads their names, which it serves, and the file that each must have."""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelrepo.generator.lint.declared import begun
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.repositories import root
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.served import FILES, Served, absent, kinds, loaded
from modelrepo.generator.lint.subject import NO_VERSIONS, Case, Host, Model, fits, is_folder, version_of
from modelrepo.generator.repository.layout import CONFIG

# What backends say that can't find the file of a version; the others say the same.
WORDS = {
    "onnxruntime": "failed to stat file {path}",
    "tensorrt": "unable to load plan file to auto complete config: {path}",
    "openvino": "unable to find '{path}' for model '{model}'",
    "python": "ModuleNotFoundError: No module named '{module}'",
}

# How the files end that backends load.
MODEL_FILES = (".onnx", ".plan", ".engine", ".xml", ".pt", "model.py")


def none(case: Case) -> Iterator[Problem]:
    """Find models without a version."""
    model = case.model
    message = begun(case.model)
    if message is not None and message.HasField("ensemble_scheduling"):
        return  # the rules of ensembles say it
    if model.version_folders or model.trouble or any(root(case)):
        return
    if message is not None and selected(model, message):
        return  # the core takes a version that is asked for twice for one that is there
    words = f"at least one version must be available under the version policy of model '{model.name}'"
    yield Problem(Place(model.folder), f'Triton refuses the model: "{words}"', _first_version(model))


def _first_version(model: Model) -> str:
    """Return how to make a version of what lies in the folder of a model without one."""
    files = [each.name for each in model.entries if each.name.endswith(MODEL_FILES) and is_file(Path(each.path))]
    if len(files) == 1:
        return f"Move {files[0]} into a new folder {model.folder / '1'}"
    folders = [each for each in model.entries if each.name not in NO_VERSIONS and is_folder(each)]
    number = re.search("[1-9][0-9]{0,8}", folders[0].name) if len(folders) == 1 else None
    if number or (len(folders) == 1 and _holds_a_model(folders[0])):
        return f"Rename the folder {folders[0].name} to {number[0] if number else 1}"
    return NONE.write


def _holds_a_model(folder: "os.DirEntry[str]") -> bool:
    """Whether the file of a model lies in a folder."""
    with suppress(OSError), os.scandir(folder.path) as entries:
        return any(each.name.endswith(MODEL_FILES) for each in entries)
    return False


def too_large(case: Case) -> Iterator[Problem]:
    """Find versions that int64 does not hold."""
    for name, version in case.model.version_folders:
        if not fits(version):
            yield Problem(
                Place(case.model.folder / name),
                f"The whole server ends when it reads this name: {version} is too large for the number of a version",
                TOO_LARGE.write,
            )


def name(case: Case) -> Iterator[Problem]:
    """Find folders that are versions of another name than their number."""
    for written, version in case.model.version_folders:
        if fits(version) and written != str(version):
            elsewhere = case.model.versions[version]
            yield Problem(
                Place(case.model.folder / written),
                f"Triton takes this folder for version {version}, and looks for its files in {elsewhere}",
                NAME.write,
            )


def zero(case: Case) -> Iterator[Problem]:
    """Find folders that are ignored because of a leading zero."""
    for entry in case.model.entries:
        if len(entry.name) > 1 and entry.name[0] == "0" and entry.name.isdigit() and is_folder(entry):
            words = f"ignore version directory '{entry.name}' which contains leading zeros in its directory name"
            write = f"Rename it to {int(entry.name)}"
            yield Problem(Place(Path(entry.path)), f'Triton ignores this version: "{words}"', write)


def other(case: Case) -> Iterator[Problem]:
    """Find folders of models that are neither versions nor of a use that Triton knows."""
    if any(root(case)):
        return
    for entry in case.model.entries:
        known = entry.name in NO_VERSIONS or version_of(entry.name) is not None or CONFIG.startswith(entry.name)
        if not known and not (entry.name[:1] == "0" and entry.name.isdigit()) and is_folder(entry):
            words = f"ignore version directory '{entry.name}' which fails to convert to integral number"
            yield Problem(Place(Path(entry.path)), f'Triton ignores this folder: "{words}"', OTHER.write)


def negative(case: Case) -> Iterator[Problem]:
    """Find negative versions that are served by a backend with files."""
    found = loaded(case)
    for version in found.files if found is not None and found.backend in FILES else ():
        if version < 0:
            yield Problem(
                Place(case.model.folder),
                f"Triton refuses the model: it looks for version {version} in {case.model.versions[version]}",
                NEGATIVE.write,
            )


def newest(case: Case) -> Iterator[Problem]:
    """Find a newest version without its file."""
    yield from _missing(case, newest=True)


def older(case: Case) -> Iterator[Problem]:
    """Find other versions without their file that the policy selects."""
    yield from _missing(case, newest=False)


def _missing(case: Case, *, newest: bool) -> Iterator[Problem]:
    found = loaded(case)
    if found is None or found.backend not in FILES or _is_chosen_by_the_gpu(found, case.host):
        return
    words = WORDS.get(found.backend, "unable to find '{path}' for model instance '{model}'")
    for version, path in absent(case, found.backend):
        if version < 0 or (version == max(found.files)) != newest:
            continue
        said = words.format(path=path, model=case.model.name, module=f"{version}.{path.stem}")
        rest = "" if len(case.model.versions) == 1 else ", and serves no other version in its place"
        write = f"Copy {path.name} into the folder {version}, remove that folder, or name the file in "
        write += "default_model_filename"
        other = _instead(path)
        if other:
            write = f'Write default_model_filename: "{other}", or rename that file to {path.name}'
        place = Place(path.parent if is_folder(path.parent) else case.model.folder)
        yield Problem(place, f'Triton refuses the model: "{said}"{rest}', write)


def _instead(path: Path) -> str:
    """Return the one file of the same kind in a version's folder, or in a folder of that; nothing if there are others.

    ``path`` is where the file should be.
    """
    try:
        ending = glob.escape(path.suffix)
        found = [each for way in ("*", "*/*") for each in path.parent.glob(way + ending) if is_file(each)]
    except (OSError, ValueError):  # a name that no pattern can have
        return ""
    return str(found[0].relative_to(path.parent)) if len(found) == 1 and path.suffix else ""


def _is_chosen_by_the_gpu(found: Served, host: Host) -> bool:
    """Whether an instance may load the file that cc_model_filenames names for its GPU."""
    if not found.config.cc_model_filenames or host.gpus == 0:
        return False
    return any(kind not in ("KIND_CPU", "KIND_MODEL") for _, kind, _ in kinds(found.config, host.gpus))


NONE = Rule(
    code="VDIR-NONE",
    severity="error",
    title="the model has no version",
    triton='Triton refuses the model: "at least one version must be available under the version policy of model …". A '
    "version is a folder with a number as its name; a file is none.",
    write="Add the folder 1 with the model's file",
    check=none,
    seen="2.51",
    needs_config=False,
)
TOO_LARGE = Rule(
    code="VDIR-BIG",
    severity="error",
    title="the number of a version is larger than 9223372036854775807",
    triton="The server dies: \"terminate called after throwing an instance of 'std::out_of_range' what(): stoll\". It "
    "reads the names of all folders, also of those that the version policy does not select.",
    write="Rename the folder to a smaller number, such as 1",
    check=too_large,
    seen="2.51",
    needs_config=False,
)
NAME = Rule(
    code="VDIR-NAME",
    severity="warning",
    title="the name of a version is not just its number",
    triton="Triton reads the number at the beginning of the name: `2.tmp`, `+2` and ` 2` are version 2 to it, `-1` is "
    "version -1. It then looks for the files in the folder of that number. Half-copied folders are served so.",
    write="Rename the folder to its number; stage new versions outside of the model's folder",
    check=name,
    seen="2.51",
    needs_config=False,
)
ZERO = Rule(
    code="VDIR-0",
    severity="warning",
    title="the number of a version begins with 0",
    triton="Triton ignores the folder: \"ignore version directory '01' which contains leading zeros in its directory "
    'name". The name `0` alone is a valid version.',
    write="Write the number without leading zeros",
    check=zero,
    seen="2.51",
    needs_config=False,
)
OTHER = Rule(
    code="VDIR-OTHER",
    severity="information",
    title="a folder is no version",
    triton='Triton ignores the folder, with a warning: "ignore version directory … which fails to convert to integral '
    'number". Only `warmup`, `initial_state` and `configs` are ignored silently.',
    write="Move it out of the model's folder, or ignore this",
    check=other,
    seen="2.51",
    needs_config=False,
)
NEGATIVE = Rule(
    code="VDIR-NEG",
    severity="error",
    title="the number of a version is negative",
    triton="Triton looks for the files of version -1 in the folder 18446744073709551615, and refuses the model.",
    write="Rename the folder to a positive number",
    check=negative,
    decided_by="backend",
    seen="2.51",
    needs_config=False,
)
NEWEST = Rule(
    code="VDIR-EMPTY",
    severity="error",
    title="the newest version lacks its file",
    triton="The backend can't find the file, which `default_model_filename` or the backend names (model.onnx, "
    "model.plan, model.xml, model.pt, model.py). The load of the whole model fails; an older version does not take its "
    "place.",
    write="Copy the file into that folder, or remove the folder",
    check=newest,
    decided_by="backend",
    seen="2.51, with the python backend and with ours for onnxruntime",
    needs_config=False,
)
OLDER = Rule(
    code="VALL",
    severity="error",
    title="one of several selected versions lacks its file",
    triton="If one version that the policy selects fails, Triton serves none of them.",
    write="Copy the file into that folder, or take the version out of version_policy",
    check=older,
    decided_by="backend",
    seen="2.51, with the python backend and with ours for onnxruntime",
    needs_config=False,
)
RULES = (NONE, TOO_LARGE, NAME, ZERO, OTHER, NEGATIVE, NEWEST, OLDER)
