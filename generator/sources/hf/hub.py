"""The location of a Hugging Face model: a folder, or a snapshot in the hub's cache, downloaded if missing."""

import os
import re
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf import sentences
from modelrepo.generator.sources.source import path_of
from modelrepo.generator.sources.told import found_at
from modelrepo.generator.system.asking import unlimited
from modelrepo.generator.system.extras import TORCH, Extra, need
from modelrepo.generator.system.quiet import quiet

# ORG/NAME, by the rules of huggingface_hub.utils.validate_repo_id.
HUB_NAME = re.compile(r"(?=.{3,96}$)[A-Za-z0-9][\w.-]*/[\w.-]+")
# The folders of sentence-transformers' modules, as it names them.
MODULE_FOLDER = re.compile(r"\d+_\w+")
PREFIX = "models--"
NAMING = "Name a folder, such as hf:./bert, or a model as hf:ORG/NAME"
HF = Extra("hf", ("transformers", "huggingface_hub", *TORCH.modules))


def is_path(name: str) -> bool:
    """Whether a name is a path: not ORG/NAME, such as ``./models/bert``, or a folder that exists."""
    return not HUB_NAME.fullmatch(name) or Path(name).is_dir()


def cache() -> Path:
    """Return the hub's cache, by the rules of huggingface_hub, whose import takes too long for `generate --help`."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    found = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(found)).expanduser()


def known() -> tuple[str, ...]:
    """Return the models with a configuration in the hub's cache, as ORG/NAME."""
    names = (folder.name.removeprefix(PREFIX).replace("--", "/", 1) for folder in sorted(cache().glob(f"{PREFIX}*--*")))
    return tuple(name for name in names if (found := cached(name)) and is_configured(found))


def is_configured(snapshot: Path) -> bool:
    """Whether a snapshot has the configuration of a model, or the list of a sentence-transformers model's modules."""
    return (snapshot / folders.CONFIG).exists() or (snapshot / sentences.MODULES).exists()


def cached(name: str) -> Path | None:
    """Return the snapshot of ORG/NAME's main branch in the hub's cache, or its only one."""
    model = cache() / f"{PREFIX}{name.replace('/', '--')}"
    snapshots = model / "snapshots"
    reference = model / "refs" / "main"
    if reference.is_file():
        snapshot = snapshots / reference.read_text("utf-8").strip()
        return snapshot if snapshot.is_dir() else None
    only = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
    return only[0] if len(only) == 1 else None


def local(name: str) -> Path | None:
    """Return the folder that a name stands for, without a download; SourceError for a path that is not a folder."""
    if not is_path(name):
        return cached(name)
    path = path_of(name)
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib's raises for a name that is too long
        if os.path.isfile(path):  # noqa: PTH113
            hint = found_at(name)
            raise SourceError(f"hf:{name} is a file, not a folder", hint if "--model" in hint else f"{hint}. {NAMING}")
        raise SourceError(
            f"hf:{name} is neither a folder nor a model of the hub",
            NAMING,
        )
    return path


def fetched(name: str, *, weights: bool, code: bool, spared: bool = False) -> Path:
    """Return the folder that a name stands for, and download the missing files of ORG/NAME before.

    Without ``weights`` those are not needed; with ``code`` the model's own code is. A complete snapshot in the cache is
    used without asking the hub. Raises SourceError with the places that were searched, unless only weights are
    missing and these are ``spared``.
    """
    found = local(name)
    if found and (is_path(name) or _whole(found, weights)):
        return found
    hub = need("huggingface_hub", HF)
    try:
        with quiet(), unlimited():
            wanted = _wanted(hub.HfApi().list_repo_files(name), weights, code)
            return Path(hub.snapshot_download(name, cache_dir=cache(), allow_patterns=wanted))
    except Exception as error:  # huggingface_hub, its HTTP client and the disk have no common error class
        if spared and found and _whole(found, weights=False):
            return found
        raise _unavailable(name, error) from error


def _whole(snapshot: Path, weights: bool) -> bool:
    """Whether a snapshot has all needed files: an interrupted download leaves only those that were complete."""
    home = sentences.home(snapshot)
    if not (home / folders.CONFIG).exists() or not sentences.complete(snapshot, weights):
        return False
    return not weights or folders.weights(home).problem is None


def _wanted(names: list[str], weights: bool, code: bool) -> list[str]:
    """Return the files to download: of the weights only the safetensors, if there are any."""
    wanted = []
    for parent in dict.fromkeys(name.rpartition("/")[0] for name in names):
        if parent and not MODULE_FOLDER.fullmatch(parent):
            continue
        inside = {name: name.rpartition("/")[2] for name in names if name.rpartition("/")[0] == parent}
        safe = any(name.endswith(".safetensors") for name in inside)
        kinds = (".safetensors", folders.SAFE_INDEX) if safe else (folders.PICKLE, folders.PICKLE_INDEX, ".bin")
        wanted += [
            name
            for name, own in inside.items()
            if own in (folders.CONFIG, folders.ADAPTER)
            or folders.is_companion(own)
            or (weights and own.endswith(kinds))
            or (code and own.endswith(".py"))
        ]
    return wanted


def _unavailable(name: str, error: Exception) -> SourceError:
    errors: Any = need("huggingface_hub.errors", HF)
    if isinstance(error, errors.GatedRepoError):
        return SourceError(
            f"{name} is gated", f"Accept its terms at https://huggingface.co/{name}, then: hf auth login"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return SourceError(
            f"the hub has no model {name}, and there is no such folder here", "If it is private: hf auth login"
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return SourceError(
        f"{name} is not complete in the hub's cache {cache()}, and can't be downloaded: {lines[0].rstrip('. ')}",
        f"Where there is a network: hf download {name} --local-dir FOLDER; then name its copy here, as hf:./FOLDER",
    )
