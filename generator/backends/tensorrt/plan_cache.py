"""Plans that were built and proven once: kept by what decided them, and checked before they are used again."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from generator.backends.tensorrt.machine import Gpu
from generator.cache import cache_folder
from generator.digests import sha256_of

# The newest plans that are kept; each is as large as its model.
KEPT = 20


def find(key: str) -> tuple[Path, dict[str, Any]] | None:
    """Return the plan that was kept under a key, with its record; None for none, or one that was changed."""
    folder = _folder() / key
    try:
        document = json.loads((folder / "record.json").read_text("utf-8"))
        plan = folder / "model.plan"
        if sha256_of(plan) == document["sha256"]:
            return plan, dict(document["record"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None  # not there, half there, or damaged: it is built again
    return None


def keep(key: str, plan: Path, record: Mapping[str, Any]) -> None:
    """Copy a plan that was built and proven into the cache, where it appears as a whole; the oldest make room.

    Raises OSError where nothing can be written, and RuntimeError for a user without a home folder.
    """
    home = _folder()
    home.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="new-", dir=home))
    try:
        shutil.copyfile(plan, fresh / "model.plan")
        document = {"sha256": sha256_of(fresh / "model.plan"), "record": dict(record)}
        (fresh / "record.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        shutil.rmtree(home / key, ignore_errors=True)
        fresh.rename(home / key)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    plans = sorted((path for path in home.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in plans[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def timing_cache(builder: str, gpu: Gpu) -> Path:
    """Return the file for what a builder (a TensorRT version, or an image) has learnt of a type of GPU."""
    name = sha256(f"{builder} {gpu.name} {gpu.compute_capability}".encode()).hexdigest()[:16]
    path = _folder().with_name("timing") / f"{name}.cache"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _folder() -> Path:
    return cache_folder() / "tensorrt" / "plans"
