"""Triton's reasons in our words, with the facts of the repository that a reason is about.

Triton names the rule that was broken. The table in `words.py` says what that means and what to do; Triton's own words
stay in brackets, for a search.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from modelrepo.generator.errors import OptionError
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton import pbtxt
from modelrepo.server.running.words import ROWS

QUOTED = '(Triton: "'
# Version numbers above this one abort the server: it reads them as signed 64-bit integers.
LARGEST_VERSION = 2**63 - 1


def explained(words: str, folder: Path | None = None) -> str:
    """Return what Triton's words mean, the next step, and the words in brackets; the words alone if no row has them.

    ``folder`` is the folder that they are about: a model's, or that of the repository. Words that are explained already
    stay as they are.
    """
    if QUOTED in words:  # explained already, with the facts that were known there
        return words
    for row in ROWS:
        match = re.search(row.pattern, words)
        if match:
            facts = Facts(match, folder)
            said = f"{row.meaning.format_map(facts)}. {row.step.format_map(facts)}"
            return f'{said} {QUOTED}{words}")'
    return words


class Facts(Mapping[str, str]):
    """What a row's braces stand for: a group of its pattern, or a fact that is looked up in the folder."""

    def __init__(self, match: "re.Match[str]", folder: Path | None) -> None:
        self.match, self.folder = match, folder

    def __getitem__(self, name: str) -> str:
        groups = self.match.groupdict()
        return (groups[name] or "").strip() if name in groups else LOOKED_UP[name](self.match, self.folder)

    def __iter__(self) -> Iterator[str]:
        return iter((*self.match.groupdict(), *LOOKED_UP))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _policy(_: "re.Match[str]", folder: Path | None) -> str:
    """Return why no version of a model is served."""
    there, asked = _versions(folder), _asked(folder)
    if not there:
        return "the model's folder has no version; a version is a folder with a number as its name, such as 1"
    if not asked:
        return f"version_policy in config.pbtxt selects no version, and {_there(folder)}"
    return f"config.pbtxt asks for version {listed(asked)}, and {_there(folder)}"


def _versions_step(_: "re.Match[str]", folder: Path | None) -> str:
    there = _versions(folder)
    if not there:
        return "Publish the model with generate, or add the folder 1 with its file"
    policy = f"version_policy {{ specific {{ versions: [ {there[-1]} ] }} }}"
    return f"Write {policy} in config.pbtxt, or publish another version"


def _there(folder: Path | None) -> str:
    there = _versions(folder)
    if not there:
        return "there is none"
    return f"there is only {there[0]}" if len(there) == 1 else f"there are {listed(there)}"


def _versions(folder: Path | None) -> list[int]:
    """Return the numbers of a model's version folders. Triton ignores those with a leading zero."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if re.fullmatch(r"0|[1-9]\d*", path.name))


def _asked(folder: Path | None) -> list[int]:
    """Return the versions that a configuration asks for by number."""
    try:
        text = Path(folder or "", CONFIG).read_text("utf-8", errors="replace")
        return sorted(pbtxt.parse(text, CONFIG).version_policy.specific.versions)
    except (OSError, OptionError):
        return []


def listed(numbers: Sequence[int]) -> str:
    """Return sorted numbers in words, such as "1", "1 and 3", "1 to 4"."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _overflowing(_: "re.Match[str]", folder: Path | None) -> str:
    models = [path for path in folder.iterdir() if path.is_dir()] if folder and folder.is_dir() else []
    for model in sorted(models):
        for version in _versions(model):
            if version > LARGEST_VERSION:
                return f"{model.name}/{version}"
    return "a folder's name"


def _broken_path(match: "re.Match[str]", _: Path | None) -> str:
    path = Path(match["path"])
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {path.readlink()}, which is not there"
    return f"{path} can't be read"


def _similar_field(match: "re.Match[str]", _: Path | None) -> str:
    """Return the field of that message of Triton's that is spelled like the one that was found."""
    from google.protobuf import descriptor_pool
    from tritonclient.grpc import model_config_pb2  # noqa: F401 - adds Triton's messages to the pool

    try:
        known = descriptor_pool.Default().FindMessageTypeByName(match["type"]).fields_by_name
    except KeyError:
        known = {}
    return _meant(match["field"], known)


def _similar_value(match: "re.Match[str]", _: Path | None) -> str:
    """Return the name that is spelled like the one that was found, of the enumerations that people write."""
    from tritonclient.grpc import model_config_pb2

    known = (*model_config_pb2.DataType.keys(), *model_config_pb2.ModelInstanceGroup.Kind.keys())
    whole = [f"{prefix}{match['got'].upper()}" for prefix in ("", "TYPE_", "KIND_")]
    return _meant(next((name for name in whole if name in known), match["got"]), known)


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else "Correct its spelling, or remove it"


def _backends(_: "re.Match[str]", __: Path | None) -> str:
    from modelrepo.server.running import local  # it imports the handle, which imports this

    return " and ".join(local.served_backends())


def _no_backend(_: "re.Match[str]", folder: Path | None) -> str:
    if _is_bare(folder):
        return "the folder has no config.pbtxt, so it is not a model"
    return "config.pbtxt names no backend, and no file in the folder tells which one it is"


def _backend_step(_: "re.Match[str]", folder: Path | None) -> str:
    if _is_bare(folder):
        return "Add that file, or move the folder out of the repository"
    return 'Add a line such as backend: "onnxruntime"'


def _is_bare(folder: Path | None) -> bool:
    """Whether a model's folder has no configuration. Triton may complete one that is not there."""
    return folder is not None and not (folder / CONFIG).exists()


LOOKED_UP: dict[str, Callable[["re.Match[str]", Path | None], str]] = {
    "policy": _policy,
    "versions_step": _versions_step,
    "there": lambda _, folder: _there(folder),
    "overflowing": _overflowing,
    "no_backend": _no_backend,
    "backend_step": _backend_step,
    "broken_path": _broken_path,
    "similar_field": _similar_field,
    "similar_value": _similar_value,
    "backends": _backends,
}
