"""Builds and proves every pending TensorRT plan of a state folder; the service build-plans runs it.

It runs in the image that serves the plans, which has trtexec and Python's standard library (3.10 in that of 24.10). For
each entry of ``plans.lock`` it builds a plan in ``plans/<name>`` with the recorded flags, runs it on the stored
reference inputs with trtexec, and compares its answers with those of ONNX Runtime from when the plan was prepared. A
plan that passes is kept as ``model.cc89.plan``, for compute capability 8.9, with its record beside it; ``modelrepo
plans build`` publishes it. An existing plan from the same inputs for the same GPU is kept; if its limit was a different
one it is proven again. Exits with 1 if a plan could not be built or proven.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelrepo.generator.tensorrt import answers as plan_answers
else:
    import plan_answers  # beside this file in the container, the only other module of ours

TRTEXEC = "/usr/src/tensorrt/bin/trtexec"  # its path in NVIDIA's images, in which it is not on PATH
SCHEMA = 2
PLAN = "model.plan.tmp"  # the file that trtexec writes with the recorded flags


class Failure(Exception):
    """A plan that can't be built, or is invalid; the text says why."""


def main(state: Path, image: str) -> int:
    """Build all pending plans, continue after a failure, and return the exit code."""
    try:
        document = json.loads((state / "plans.lock").read_text("utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError("it was written by another release of modelrepo")
        entries = document["plans"]
        gpu, capability = find_gpu()
    except (OSError, ValueError, KeyError, TypeError, Failure) as error:
        reason = error if isinstance(error, Failure) else f"can't read {state / 'plans.lock'}: {error}"
        print(f"error: {reason}", file=sys.stderr)
        return 1
    failed = False
    for name, entry in entries.items():
        try:
            outcome = build(state / "plans" / name, entry, image, gpu, capability)
        except (OSError, ValueError, KeyError, TypeError, Failure) as error:
            damaged = isinstance(error, (KeyError, TypeError))
            outcome = f"failed: its entry is damaged: {error!r}" if damaged else f"failed: {error}"
            failed = True
        print(f"{name}: {outcome}", flush=True)
    return int(failed)


def find_gpu() -> tuple[str, str]:
    """Return the name and the compute capability of the first GPU, such as "8.9"; Failure if there is none."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except OSError as error:
        raise Failure(f"no GPU in this container: can't run nvidia-smi ({error.strerror})") from None
    name, _, capability = found.stdout.partition("\n")[0].rpartition(",")
    if found.returncode or not name:
        raise Failure(f"no GPU in this container: {(found.stdout + found.stderr).strip() or 'nvidia-smi names none'}")
    return name.strip(), capability.strip()


def build(folder: Path, entry: dict[str, Any], image: str, gpu: str, capability: str) -> str:
    """Build and prove one plan; return the outcome, or raise Failure or plan_answers.Mismatch."""
    inputs = entry["inputs"]
    if "onnx" not in inputs:
        raise Failure("it was prepared by an earlier release; run generate again")
    if inputs["image"] != image:
        raise Failure(f"it was prepared for {inputs['image']}, this is {image}; set TRITON_RELEASE")
    plan = folder / f"model.cc{capability.replace('.', '')}.plan"
    record = folder / f"{plan.name}.json"
    stood = standing(plan, record, inputs)
    proven = stood and stood["proof"]
    if isinstance(proven, dict) and proven.get("tolerance") == plan_answers.read_tolerance(folder):
        return "unchanged"
    check_files(folder, inputs["onnx"])
    with cleared(folder):
        if stood:
            shutil.copyfile(plan, folder / PLAN)
        else:
            trtexec(folder, inputs["trtexec"])
        version = plan_answers.tensorrt_version(folder / PLAN)
        answer = plan_answers.asked_of_trtexec(
            folder,
            PLAN,
            lambda arguments: trtexec(folder, arguments),
            version_compatible=bool(inputs["version_compatible"]),
        )
        found = plan_answers.check(folder, answer)
        proof = {"cases": found.cases, "max_rel_diff": found.max_rel_diff, "tolerance": found.tolerance}
        built = stood or {
            "sha256": sha256_of(folder / PLAN),
            "inputs": inputs,
            "gpu": gpu,
            "compute_capability": capability,
            "tensorrt": version,
            "way": "build-plans",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 - Python 3.10
        }
        record.unlink(missing_ok=True)  # a plan without a record does not count
        (folder / PLAN).replace(plan)
        unfinished = folder / "model.plan.json.tmp"
        unfinished.write_text(json.dumps({**built, "proof": proof}, indent=2) + "\n", "utf-8")
        unfinished.replace(record)
    done = "proven again" if stood else "built"
    return f"{done} for {gpu} ({capability}), TensorRT {version}; worst difference {found.max_rel_diff:.1e}"


def standing(plan: Path, record: Path, inputs: dict[str, Any]) -> "dict[str, Any] | None":
    """Return the record of an existing, intact plan that was built from the same inputs, or None."""
    try:
        built: dict[str, Any] = json.loads(record.read_text("utf-8"))
        same = plan_answers.decisive(built["inputs"]) == plan_answers.decisive(inputs)
        return built if same and "proof" in built and built["sha256"] == sha256_of(plan) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def check_files(folder: Path, onnx: dict[str, str]) -> None:
    """Raise Failure for a model that is not the one that was prepared."""
    for name, digest in onnx.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise Failure(f"{name} is missing, or not as it was prepared; run generate again")


def trtexec(folder: Path, arguments: Sequence[str]) -> None:
    """Run trtexec in a plan's folder, with its output in ours."""
    command = [shutil.which("trtexec") or TRTEXEC, *arguments]
    run = subprocess.run(command, cwd=folder, check=False)  # noqa: S603 - flags that modelrepo wrote
    if run.returncode:
        killed = f"was killed by signal {-run.returncode}" if run.returncode < 0 else f"ended with {run.returncode}"
        raise Failure(f"trtexec {killed}")


@contextmanager
def cleared(folder: Path) -> Iterator[None]:
    """Remove unfinished files, whatever happens."""
    try:
        yield
    finally:
        for name in (PLAN, "model.plan.json.tmp"):
            (folder / name).unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):  # hashlib.file_digest is newer than the Python of the image of 24.10
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ["IMAGE"]))
