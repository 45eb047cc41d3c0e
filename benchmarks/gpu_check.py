"""Proves TensorRT plans on a machine with a GPU: prepares, builds, verifies and serves them, and writes a record.

python benchmarks/gpu_check.py [--model resnet18] [--weights random] [--release 26.09] [--output DIR]

Needs an NVIDIA GPU, and either the TensorRT of the release in this Python or docker with NVIDIA's container toolkit;
without them it prints one line and exits with 1. It runs the commands of a user: `generate --plan-builder defer`,
`modelrepo plans build`, `plans verify`. Then, if there is docker, a real Triton serves the plans, and its answers are
compared with ONNX Runtime's. The record is benchmarks/gpu/YYYY-MM-DD.json and .md, even of a run that failed; then the
exit code is 1.

It has never run on a GPU in this project: only its refusal, and its record with stand-ins for docker and trtexec.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairs import BIN, machine

from modelrepo.generator.system.extras import version_of
from modelrepo.generator.tensorrt import machine as gpu_machine
from modelrepo.generator.triton.releases import NEWEST, release_named

MEASURED_PRECISIONS = ("fp32", "fp16", "int8")
GPU_RECORDS = Path(__file__).parent / "gpu"
PACKAGES = ("modelrepo", "onnx", "onnxruntime", "numpy", "tensorrt", "polygraphy", "torch", "torchvision")
BATCH = 4


def main(words: list[str]) -> int:
    """Check all precisions, write the record, and return the exit code."""
    asked = arguments(words)
    here = gpu_machine.look()
    if not here.gpus:
        sys.exit(f"error: nothing to check here: {here.why_no_gpu}")
    if here.tensorrt is None and here.docker is not None:
        sys.exit(f"error: nothing can build a plan here: {here.why_no_tensorrt}; {here.docker}")
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="modelrepo-gpu-check-") as name:
        folder = Path(name)
        record = {
            "date": started.isoformat(timespec="seconds"),
            "gpus": [vars(gpu) for gpu in here.gpus],
            "machine": machine(),
            "tensorrt_in_python": here.tensorrt,
            "docker": here.docker or "can give a container a GPU",
            "release": asked.release,
            "versions": {package: version for package in PACKAGES if (version := version_of(package))},
            "model": f"{asked.model}, {asked.weights} weights",
            "steps": steps(asked, folder),
            "served": served(asked.release, folder, in_docker=here.docker is None),
        }
    errors = (row["error"] for row in record["served"] if "error" in row)
    failures = [*failed(record["steps"]), *dict.fromkeys(errors)]
    record["passed"] = not failures
    written = write(record, failures, asked.output, started)
    print(f"{'passed' if not failures else 'FAILED: ' + '; '.join(failures)}: {written}")
    return int(bool(failures))


def arguments(words: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Prove TensorRT plans on a machine with a GPU.")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--release", default=NEWEST, type=lambda text: release_named(text).container)
    parser.add_argument("--output", default=GPU_RECORDS, type=Path)
    return parser.parse_args(words)


def steps(asked: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Prepare, build and verify in a folder, and return the output and the seconds of each command."""
    backends = ",".join(f"tensorrt:{precision}" for precision in MEASURED_PRECISIONS)
    prepare = [
        *(str(BIN / "generate"), "--model", asked.model, "--weights", asked.weights, "--backends", backends),
        *("--target-release", asked.release, "--max-batch-size", str(BATCH), "--plan-builder", "defer"),
        *("--live-check", "off"),
    ]
    plans = [str(BIN / "modelrepo"), "plans"]
    commands = {"prepare": prepare, "build": [*plans, "build"], "verify": [*plans, "verify"]}
    return [step(name, [*command, "--json", "--quiet"], folder) for name, command in commands.items()]


def step(name: str, command: list[str], folder: Path) -> dict[str, Any]:
    """Run one of our commands, which prints one JSON object."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - start, 1)
    try:
        rows = json.loads(done.stdout)["results"]
    except (ValueError, KeyError):
        rows = []
    return {
        "step": name,
        "command": " ".join([Path(command[0]).name, *command[1:]]),
        "exit_code": done.returncode,
        "seconds": seconds,
        "results": rows,
        "errors": [line for line in done.stderr.splitlines() if line.startswith("error: ")],
    }


def failed(done: list[dict[str, Any]]) -> list[str]:
    """Return the problems in the steps: on a machine with a GPU, deferred or not published is one."""
    wanted = {"prepare": {"deferred"}, "build": {"published"}, "verify": {"verified"}}
    problems = []
    for each in done:
        found = [row["status"] for row in each["results"]]
        if each["exit_code"] or len(found) != len(MEASURED_PRECISIONS) or not set(found) <= wanted[each["step"]]:
            details = "; ".join([", ".join(found) or "no results", *each["errors"]])
            problems.append(f"{each['step']} exited with {each['exit_code']}: {details}")
    return problems


def served(release: str, folder: Path, *, in_docker: bool) -> list[dict[str, Any]]:
    """Serve the published models with a real Triton, and compare its answers with ONNX Runtime's.

    The local server has no TensorRT backend, so this needs docker; without, one row says so.
    """
    repository = folder / "model_repository"
    names = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    if not names or not in_docker:
        return [{"name": name, "skipped": "a Triton with the TensorRT backend needs docker"} for name in names]
    from modelrepo.server import running_server

    try:
        with running_server(repository, runtime="docker", release=release) as server:
            return [ask(name, folder, server.grpc_url) for name in names]
    except Exception as error:  # the record has every error of a check on an unknown machine
        return [{"name": name, "error": f"not served: {error}"} for name in names]


def ask(name: str, folder: Path, url: str) -> dict[str, Any]:
    """Ask a served plan and ONNX Runtime the same random batch; return the largest difference over the magnitude."""
    import numpy as np
    import onnxruntime

    from modelrepo.clients import connect

    onnx = folder / ".modelrepo/model_repository/plans" / name / "model.onnx"
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    (spec,) = session.get_inputs()
    images = np.random.default_rng(0).standard_normal((BATCH, *spec.shape[1:])).astype("float32")
    wanted = dict(
        zip([output.name for output in session.get_outputs()], session.run(None, {spec.name: images}), strict=True)
    )
    with connect(url) as client:
        got = client.infer(name, {spec.name: images})
    worst = max(float(np.abs(got[key] - answer).max() / np.abs(answer).max()) for key, answer in wanted.items())
    limit = 1e-1 if "int8" in name else 1e-2
    row: dict[str, Any] = {"name": name, "batch": BATCH, "max_rel_diff": worst}
    return row if worst <= limit else {**row, "error": f"{name} answers {worst:.2e} off, {limit:g} is allowed"}


def write(record: dict[str, Any], failures: list[str], output: Path, started: datetime) -> Path:
    """Write the record as JSON and as Markdown, and return the latter's path."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{started:%Y-%m-%d}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    page = path.with_suffix(".md")
    page.write_text(markdown(record, failures), "utf-8")
    return page


def markdown(record: dict[str, Any], failures: list[str]) -> str:
    """Return the record as Markdown: the steps, the machine, and each plan's row."""
    gpus = ", ".join(f"{gpu['name']} ({gpu['compute_capability']}, driver {gpu['driver']})" for gpu in record["gpus"])
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    lines = [
        f"# GPU check of {record['date'][:10]}: {'passed' if record['passed'] else 'failed'}",
        "",
        f"{gpus}. {record['machine']}. Target release {record['release']}; TensorRT in Python: "
        f"{record['tensorrt_in_python'] or 'none'}; docker: {record['docker']}. {versions}. {record['model']}.",
        "",
        *(f"- {failure}" for failure in failures),
        *([""] if failures else []),
        "| step | exit code | seconds | plan | status | TensorRT | worst difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in record["steps"]:
        for row in each["results"] or [{"name": "-", "status": "-"}]:
            tensorrt = ", ".join(plan["tensorrt"] for plan in row.get("plans", ())) or "-"
            worst = row.get("max_rel_diff")
            cells = (each["step"], each["exit_code"], each["seconds"], row["name"], row["status"], tensorrt,
                     "-" if worst is None else f"{worst:.1e}")  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    for row in record["served"]:
        worst = f"{row['max_rel_diff']:.1e}" if "max_rel_diff" in row else "-"
        status = row.get("error") or row.get("skipped") or "served"
        lines.append(f"| serve | - | - | {row['name']} | {status} | - | {worst} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
