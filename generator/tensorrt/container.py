"""Building a plan in the image that will serve it, with docker: the way that can't get the version wrong."""

import re
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, VerificationError
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.tensors import Arrays, Signature
from modelrepo.generator.system import process
from modelrepo.generator.tensorrt import answers as plan_answers
from modelrepo.generator.tensorrt.builder import FOREIGN, OUT_OF_MEMORY, PlanInputs, another, plain
from modelrepo.generator.tensorrt.plan_spec import PLAN, TRTEXEC, UNFINISHED, PlanSpec, container_command, in_container

BUILD_SECONDS = 6 * 3600.0
ASK_SECONDS = 3600.0  # an image that is not here is pulled first
# Debian's name of the library with its version: libnvinfer10 10.14.1.48-1+cuda13.0
LIBRARY = re.compile(r"^libnvinfer\d*\s+(\d+\.\d+\.\d+(?:\.\d+)?)", re.MULTILINE)
# trtexec's lines: a time, a level, and the text. The last error but the verdict says most.
ERROR = re.compile(r"^\[[^\]]*\] \[E\] (?:\[TRT\] )?(?:Error\[\d+\]: )?(.*)$", re.MULTILINE)
NODE = re.compile(r'While parsing node number (\d+) \[(\w+) -> "([^"]*)"\]')
NODE_NAME = re.compile(r'^\s*(?:Node name: |name: ")([^"\n]+)', re.MULTILINE)
REASON = re.compile(r"ERROR: .*:\n\s*\[\d+\] (.*)")


@dataclass(frozen=True)
class Image:
    """A container image that serves plans."""

    tensorrt: str  # the full version of the TensorRT in it
    digest: str  # of the image


def ask_image(name: str) -> Image:
    """Return what an image holds, which needs no GPU; ConversionError where it can't be had or holds no TensorRT."""
    query = ["dpkg-query", "-W", "libnvinfer*"]
    told = _run(["docker", "run", "--rm", "--network", "none", name, *query], name, ASK_SECONDS)
    found = LIBRARY.search(told.out)
    if told.code or not found:
        raise _failure(told, name, "does not tell its TensorRT")
    looked = _run(["docker", "image", "inspect", "--format", "{{.Id}}", name], name, ASK_SECONDS)
    if looked.code:
        raise _failure(looked, name, "can't be inspected")
    return Image(found[1], looked.out.strip())


def build_in_container(spec: PlanSpec, folder: Path, progress: Progress, device: int = 0) -> Path:
    """Build the plan of the ONNX model in ``folder`` there, and return its path.

    Raises ConversionError with the reason; then, and after an interrupt, neither a plan nor a container is left.
    """
    try:
        told = _run(container_command(spec, folder, device), spec.image, BUILD_SECONDS, _told_phase(progress))
        if told.code:
            raise _failure(told, spec.image, "could not build the plan")
        if not (folder / PLAN).is_file():
            raise ConversionError(f"trtexec in {spec.image} ended well and left no plan in {folder}")
    except BaseException:
        (folder / PLAN).unlink(missing_ok=True)
        raise
    finally:
        (folder / UNFINISHED).unlink(missing_ok=True)
    return folder / PLAN


def _told_phase(progress: Progress) -> Callable[[str], None]:
    def hear(line: str) -> None:
        text = line.rpartition("] ")[2].strip()
        if text and "[I]" in line:
            progress.note(text[:100])

    return hear


def _run(
    command: list[str], image: str, seconds: float, heard: Callable[[str], None] | None = None
) -> process.Finished:
    """Run docker; the container goes with it, also where only its client was killed."""
    name = f"modelrepo-{uuid.uuid4().hex[:12]}"
    at = command.index("--rm") + 1 if "--rm" in command else None
    named = [*command[:at], "--name", name, *command[at:]] if at else command
    try:
        return process.run(named, timeout=seconds, heard=heard)
    except FileNotFoundError:
        raise ConversionError("there is no docker here", "Install docker, or --plan-builder defer") from None
    except BaseException as error:
        if at:
            with suppress(OSError, subprocess.TimeoutExpired):  # what is told is what went wrong before
                process.run(["docker", "rm", "--force", name], timeout=60)
        if isinstance(error, subprocess.TimeoutExpired):
            raise ConversionError(f"docker took longer than {error.timeout / 3600:.0f} hours with {image}") from None
        raise


def _failure(told: process.Finished, image: str, what: str) -> ConversionError:
    """Return the error that docker's or trtexec's own words amount to."""
    text = f"{told.out}\n{told.err}"
    if "could not select device driver" in text or "nvidia-container-cli: " in text or "unresolvable CDI" in text:
        return ConversionError(
            "docker can't give the container a GPU",
            "Install NVIDIA's container toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker",
        )
    if "Unable to find image" in text or "No such image" in text or "pull access denied" in text:
        return ConversionError(f"the image {image} can't be had: {told.last_words}", f"Try: docker pull {image}")
    if "permission denied" in text and "docker.sock" in text:
        return ConversionError("this user may not use docker", "Add the user to the group docker, or use another one")
    if OUT_OF_MEMORY.search(text) or told.code == 137:
        return ConversionError(
            f"{image} {what}: out of memory", "Free memory on the GPU, or lower --max-batch-size or the profiles"
        )
    foreign = FOREIGN.search(text)
    if foreign:
        return another(foreign)
    node = NODE.search(text)
    if node:
        return _refused(node, text[node.end() :])
    errors = ERROR.findall(text)
    return ConversionError(f"{image} {what}: {errors[-1] if errors else told.last_words}")


def _refused(node: re.Match[str], after: str) -> ConversionError:
    """Return the error that the parser's words about a node amount to; ``after`` is what it says next."""
    number, operator, output = node.groups()
    name, reason = NODE_NAME.search(after), REASON.search(after)
    named = f"node {name[1]!r}" if name else f"node {number}, which makes {output!r}"
    told = f": {plain(reason[1])}" if reason else ""
    return ConversionError(
        f"TensorRT refuses operator {operator} ({named}){told}", "Serve the model with --backends onnx"
    )


def run_plan(
    spec: PlanSpec, plan: Path, signature: Signature, asked: Sequence[PlanInputs], device: int = 0
) -> list[Arrays]:
    """Return the plan's answers to each of ``asked``, by the outputs' names, in the dtypes of ``signature``.

    One container of the image that will serve it has trtexec run them all; answers have the six digits that it prints.
    Raises VerificationError where there is no container, where the plan can't be loaded or run, or gives no answers.
    """
    import numpy as np

    types = {output.name: output.dtype for output in signature.outputs}
    with tempfile.TemporaryDirectory(prefix="modelrepo-plan-") as scratch:
        folder = Path(scratch)
        shutil.copyfile(plan, folder / PLAN)
        (folder / plan_answers.FOLDER).mkdir()
        runs = []
        for number, each in enumerate(asked):
            case = _write_case(folder, number, each, spec)
            arguments = plan_answers.run_arguments(
                PLAN, case, f"{number}.json", version_compatible=spec.version_compatible
            )
            runs.append(f'"$T" {shlex.join(arguments)}')
        script = f"{TRTEXEC}; {' && '.join(runs)}"
        try:
            told = _run(in_container(spec.image, folder, device, script), spec.image, ASK_SECONDS)
            if told.code:
                raise _failure(told, spec.image, "could not run the plan")
        except ConversionError as error:
            raise VerificationError(error.message, error.hint) from error
        answers: list[Arrays] = []
        for number in range(len(asked)):
            try:
                got = plan_answers.read_answers(folder / f"{number}.json")
            except ValueError as error:
                raise VerificationError(f"the plan gives no answer: {error}") from error
            answers.append(
                {name: np.array(values, types.get(name)).reshape(shape) for name, (shape, values) in got.items()}
            )
        return answers


def _write_case(folder: Path, number: int, asked: PlanInputs, spec: PlanSpec) -> dict[str, Any]:
    """Write one case's inputs as raw little-endian bytes, and return it as ``plan_answers`` describes cases."""
    inputs = []
    for position, (name, array) in enumerate(asked.inputs.items()):
        file = f"{number}-{position}.bin"
        (folder / plan_answers.FOLDER / file).write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
        inputs.append({"name": name, "file": file})
    symbolic = spec.profiles[asked.profile].shapes if spec.profiles else {}
    shapes = {name: list(array.shape) for name, array in asked.inputs.items() if name in symbolic}
    return {"profile": asked.profile, "shapes": shapes, "inputs": inputs}
