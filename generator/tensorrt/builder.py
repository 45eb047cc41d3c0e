"""Building and running plans with this machine's own TensorRT, each in its own process (``worker.py``)."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, VerificationError, first_line
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.system import process
from modelrepo.generator.tensorrt.plan_spec import PlanSpec

WORKER = Path(__file__).with_name("worker.py")
BUILD_SECONDS = 6 * 3600.0
RUN_SECONDS = 3600.0
# Polygraphy's marks of errors in TensorRT's log; then the functions, numbers and lines that TensorRT puts into them.
ERROR = re.compile(r"^\[E\] (.*)$", re.MULTILINE)
LOG_NOISE = re.compile(r"^(?:\w+::\w+: )?(?:Error Code \d+: )?(?:Error\[\d+\]: )?|\.? In \w+ at \S+:\d+(?=\))")
# TensorRT's words about a plan for a different GPU, or from a different version of TensorRT.
FOREIGN = re.compile(r"expecting (compute|library version) ([\d.]*\d) got \D*([\d.]*\d)")
# The parser's words about an operator that neither an importer nor a plugin exists for.
NO_PLUGIN = "Plugin not found"
OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|insufficient memory|std::bad_alloc|MemoryError", re.IGNORECASE)
LESS_MEMORY = "Free memory, or lower --max-batch-size, the sizes of --profiles, or both"


@dataclass(frozen=True)
class Toolchain:
    """The Python that builds with its TensorRT."""

    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)  # variables that are added


OWN = Toolchain()


@dataclass(frozen=True)
class PlanInputs:
    """One set of inputs to run a plan on."""

    profile: int  # index of the profile that has their shapes in its range
    inputs: Arrays


def build_plan(
    spec: PlanSpec,
    onnx: Path,
    plan: Path,
    timing_cache: Path | None,
    progress: Progress,
    *,
    device: int | None = None,
    toolchain: Toolchain = OWN,
) -> None:
    """Build ``onnx`` into ``plan``, on the GPU with index ``device``, and report the builder's phases as remarks.

    Raises ConversionError for a refused operator, with its node; a refused profile; too little memory; a crash. After
    an error or an interrupt there is no file at ``plan``.
    """
    job = {
        "task": "build",
        "onnx": str(onnx),
        "plan": str(plan),
        "timing_cache": str(timing_cache) if timing_cache else None,
        "profiles": spec.to_json()["profiles"],
        "version_compatible": spec.version_compatible,
        "workspace_mib": spec.workspace_mib,
        "optimization_level": spec.optimization_level,
        "sparse": spec.sparse,
    }
    try:
        _work(job, BUILD_SECONDS, toolchain, device, _phases_to(progress))
    except BaseException:
        plan.unlink(missing_ok=True)
        raise
    finally:
        plan.with_name(f"{plan.name}.tmp").unlink(missing_ok=True)


def run_plan(
    plan: Path, asked: Sequence[PlanInputs], *, device: int | None = None, toolchain: Toolchain = OWN
) -> list[Arrays]:
    """Return the plan's answers to each of ``asked``, by the outputs' names; needs a GPU of the plan's type.

    Raises VerificationError if the plan can't be loaded or run.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="modelrepo-plan-") as folder:
        cases: list[dict[str, Any]] = []
        for number, each in enumerate(asked):
            files = {kind: str(Path(folder) / f"{number}-{kind}.npz") for kind in ("inputs", "outputs")}
            np.savez(files["inputs"], *each.inputs.values())
            cases.append({"profile": each.profile, "names": list(each.inputs), **files})
        job = {"task": "run", "plan": str(plan), "cases": cases}
        try:
            done = _work(job, RUN_SECONDS, toolchain, device, None)
        except ConversionError as error:
            raise VerificationError(error.message, error.hint) from error
        answers: list[Arrays] = []
        for case, names in zip(cases, done["names"], strict=True):
            with np.load(case["outputs"]) as arrays:
                answers.append(dict(zip(names, arrays.values(), strict=True)))
        return answers


def _phases_to(progress: Progress) -> Callable[[str], None]:
    def note(line: str) -> None:
        for event in _events(line):
            if "phase" in event:
                of = f" {event['step']} of {event['steps']}" if event["steps"] else ""
                progress.note(f"{event['phase']}{of}")

    return note


def _events(out: str) -> Iterator[dict[str, Any]]:
    """Yield the worker's events; if it was killed, its last line may be cut off."""
    for line in out.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _work(
    job: Mapping[str, Any],
    seconds: float,
    toolchain: Toolchain,
    device: int | None,
    heard: Callable[[str], None] | None,
) -> dict[str, Any]:
    """Run the worker and return its result; ConversionError if it fails, or takes too long."""
    environment = {**os.environ, **toolchain.environment}
    if device is not None:  # nvidia-smi counts in this order; CUDA's default order differs
        environment |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(device)}
    with tempfile.TemporaryDirectory(prefix="modelrepo-job-") as folder:
        written = Path(folder) / "job.json"
        written.write_text(json.dumps(job), "utf-8")
        command = [toolchain.python, "-P", str(WORKER), str(written)]
        try:
            finished = process.run(command, timeout=seconds, environment=environment, heard=heard)
        except subprocess.TimeoutExpired as error:
            raise ConversionError(
                f"TensorRT could not {job['task']} the plan within {error.timeout / 3600:.0f} hours"
            ) from None
    last: dict[str, Any] = [{}, *_events(finished.out)][-1]
    if "done" in last:
        return dict(last["done"])
    raise _failure(finished, last, f"could not {job['task']} the plan")


def _failure(finished: process.Finished, event: Mapping[str, Any], what: str) -> ConversionError:
    """Return the error for the worker's last event, its death or TensorRT's log."""
    errors = [LOG_NOISE.sub("", error).strip() for error in ERROR.findall(finished.err)]
    if OUT_OF_MEMORY.search(finished.err) or OUT_OF_MEMORY.search(str(event.get("message", ""))):
        return ConversionError(f"TensorRT {what}: out of memory", LESS_MEMORY)
    foreign = FOREIGN.search(finished.err)
    if foreign:
        return foreign_plan(foreign)
    if finished.code < 0:
        name = signal.Signals(-finished.code).name
        hint = LESS_MEMORY if name == "SIGKILL" else "Try --plan-builder container"
        why = ", probably because memory ran out" if name == "SIGKILL" else ""
        return ConversionError(f"TensorRT {what}: it was killed by {name}{why}", hint)
    if event.get("failed") == "refused":
        return _refused(event["nodes"], errors)
    if event.get("failed") == "profile":
        return ConversionError(f"TensorRT refuses profile {event['profile']}{_reason(errors)}", "Change --profiles")
    mismatch = next((error for error in errors if "profile" in error), None)
    if mismatch:
        return ConversionError(f"TensorRT refuses the profile: {mismatch}", "Change --profiles")
    if errors:
        return ConversionError(f"TensorRT {what}{_reason(errors)}")
    message = first_line(event.get("message") or finished.last_words)
    return ConversionError(f"TensorRT {what}: {message}")


def _refused(nodes: Iterable[Mapping[str, Any]], errors: Sequence[str]) -> ConversionError:
    hint = "Serve the model with --backends onnx"
    refused = list(nodes)
    if not refused or not refused[0]["operator"]:
        return ConversionError(f"TensorRT can't read the ONNX model{_reason(errors)}", hint)
    first = refused[0]
    named = f"node {first['name']!r}" if first["name"] else f"node {first['node']}"
    more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
    return ConversionError(
        f"TensorRT refuses operator {first['operator']} ({named}{more}): {in_words(first['reason'])}", hint
    )


def foreign_plan(foreign: re.Match[str]) -> ConversionError:
    """Return the error for a plan of a different type of GPU, or a different version of TensorRT."""
    kind, here, plans = foreign.groups()
    message = (
        f"the plan is for GPUs of compute capability {plans}, but this one has {here}"
        if kind == "compute"
        else f"the plan was built by TensorRT {plans}, but TensorRT {here} runs it"
    )
    return ConversionError(message, "Build it where it will be served")


def in_words(reason: str) -> str:
    """Return the parser's reason, in our words if its own are unclear."""
    return "it has neither an operator nor a plugin of that name" if NO_PLUGIN in reason else reason


def _reason(errors: Sequence[str]) -> str:
    return f": {errors[0]}" if errors else ""
