"""Build every pending TensorRT plan of a state folder: run by the service build-plans, in the image that will serve.

For each entry of ``plans.lock`` it runs trtexec with the recorded flags in ``plans/<name>`` and leaves ``model.plan``
there. A plan that stands, built from the same inputs, is left alone. Exits with 1 where a plan could not be built.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

TRTEXEC = "/usr/src/tensorrt/bin/trtexec"  # its place in NVIDIA's images, where it is not on PATH
SCHEMA = 1


def main(state: Path, image: str) -> int:
    """Build what is pending, go on after a failure, and return the exit code."""
    try:
        document = json.loads((state / "plans.lock").read_text("utf-8"))
    except (OSError, ValueError) as error:
        print(f"error: can't read {state / 'plans.lock'}: {error}", file=sys.stderr)
        return 1
    if document["schema"] != SCHEMA:
        print("error: plans.lock was written by another release of modelrepo", file=sys.stderr)
        return 1
    outcomes = {
        name: build(state / "plans" / name, entry["inputs"], image) for name, entry in document["plans"].items()
    }
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome}")
    return int(any(outcome not in ("built", "unchanged") for outcome in outcomes.values()))


def build(folder: Path, inputs: dict[str, Any], image: str) -> str:
    """Build one plan; return "built", "unchanged", or what went wrong."""
    if inputs["image"] != image:
        return f"not built: it was prepared for {inputs['image']}, this is {image}; set TRITON_RELEASE"
    plan, built_from = folder / "model.plan", folder / "model.plan.json"
    if plan.exists() and built_from.exists() and json.loads(built_from.read_text("utf-8")) == inputs:
        return "unchanged"
    try:
        built_from.unlink(missing_ok=True)
        command = [shutil.which("trtexec") or TRTEXEC, *inputs["trtexec"]]
        run = subprocess.run(command, cwd=folder, check=False)  # noqa: S603 - flags that modelrepo wrote
        if run.returncode:
            return f"failed: trtexec ended with {run.returncode}"
        (folder / "model.plan.tmp").replace(plan)
        built_from.write_text(json.dumps(inputs, indent=2) + "\n", "utf-8")
    except OSError as error:
        return f"failed: {error}"
    return "built"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ["IMAGE"]))
