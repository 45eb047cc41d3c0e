"""Plans that were built and proven once: kept by what decided them, and checked before they are used again."""

import json
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from modelrepo.generator.specs.plans import BuiltPlan
from modelrepo.generator.system.cache import cache_folder
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.files import replace_copy
from modelrepo.generator.tensorrt.machine import Gpu

# The newest plans that are kept; each is as large as its model.
KEPT = 20


def find(key: str) -> tuple[Path, BuiltPlan] | None:
    """Return the plan that was kept under a key, with its record; None for none, or one that was changed."""
    folder = _folder() / key
    try:
        document = json.loads((folder / "record.json").read_text("utf-8"))
        plan = folder / "model.plan"
        if sha256_of(plan) == document["sha256"]:
            return plan, BuiltPlan.of(document["record"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return None  # not there, half there, or damaged: it is built again
    return None


def keep(key: str, plan: Path, record: BuiltPlan) -> None:
    """Copy a plan that was built and proven into the cache, where it appears as a whole; the oldest make room.

    Raises OSError where nothing can be written, and RuntimeError for a user without a home folder.
    """
    home = _folder()
    home.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="new-", dir=home))
    try:
        shutil.copyfile(plan, fresh / "model.plan")
        document = {"sha256": sha256_of(fresh / "model.plan"), "record": asdict(record)}
        (fresh / "record.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        shutil.rmtree(home / key, ignore_errors=True)
        fresh.rename(home / key)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    ages: dict[Path, float] = {}
    for path in home.iterdir():
        with suppress(FileNotFoundError):  # another run has just removed it
            ages[path] = path.stat().st_mtime
    for old in sorted(ages, key=lambda path: ages[path])[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def timing_cache(builder: str, gpu: Gpu) -> Path:
    """Return the file for what a builder (a TensorRT version, or an image) has learnt of a type of GPU."""
    name = sha256(f"{builder} {gpu.name} {gpu.compute_capability}".encode()).hexdigest()[:16]
    return _folder().with_name("timing") / f"{name}.cache"


def keep_timing(learnt: Path, builder: str, gpu: Gpu) -> None:
    """Keep what a builder has learnt, in one step; OSError where it can't be written."""
    target = timing_cache(builder, gpu)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_copy(learnt, target)


def _folder() -> Path:
    return cache_folder() / "tensorrt" / "plans"
