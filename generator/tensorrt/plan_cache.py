"""A cache of plans that were built and proven; each is checked before it is used again."""

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

# How many plans are kept, the newest; each is as large as its model.
KEPT = 20


def find(key: str) -> tuple[Path, BuiltPlan] | None:
    """Return the plan of a key, with its record; None if there is none, or it was changed."""
    folder = _folder() / key
    try:
        document = json.loads((folder / "record.json").read_text("utf-8"))
        plan = folder / "model.plan"
        if sha256_of(plan) == document["sha256"]:
            return plan, BuiltPlan.of(document["record"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return None  # missing, incomplete or damaged: the plan is built again
    return None


def keep(key: str, plan: Path, record: BuiltPlan) -> None:
    """Copy a plan that was built and proven into the cache, in one step; the oldest plans are removed.

    Raises OSError if nothing can be written, and RuntimeError for a user without a home folder.
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
        with suppress(FileNotFoundError):  # another run has just removed this one
            ages[path] = path.stat().st_mtime
    for old in sorted(ages, key=lambda path: ages[path])[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def timing_cache(builder: str, gpu: Gpu) -> Path:
    """Return the timing cache of a builder (a TensorRT version, or an image) for a type of GPU."""
    name = sha256(f"{builder} {gpu.name} {gpu.compute_capability}".encode()).hexdigest()[:16]
    return _folder().with_name("timing") / f"{name}.cache"


def keep_timing(timings: Path, builder: str, gpu: Gpu) -> None:
    """Keep a builder's timing cache, in one step; OSError if it can't be written."""
    target = timing_cache(builder, gpu)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_copy(timings, target)


def _folder() -> Path:
    return cache_folder() / "tensorrt" / "plans"
