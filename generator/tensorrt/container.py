"""Building a plan with docker in the image that will serve it, so that the versions always match."""

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
from modelrepo.generator.tensorrt.builder import FOREIGN, OUT_OF_MEMORY, PlanInputs, foreign_plan, in_words
from modelrepo.generator.tensorrt.plan_spec import PLAN, TRTEXEC, UNFINISHED, PlanSpec, container_command, in_container

BUILD_SECONDS = 6 * 3600.0
ASK_SECONDS = 3600.0  # docker pulls the image first if needed
# Debian's name of the library with its version: libnvinfer10 10.14.1.48-1+cuda13.0
LIBRARY = re.compile(r"^libnvinfer\d*\s+(\d+\.\d+\.\d+(?:\.\d+)?)", re.MULTILINE)
# trtexec's lines: a time, a level, and the text. The last error says most.
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
    """Return the image of this name; needs no GPU. ConversionError if it can't be pulled, or has no TensorRT."""
    query = ["dpkg-query", "-W", "libnvinfer*"]
    finished = _run(["docker", "run", "--rm", "--network", "none", name, *query], name, ASK_SECONDS)
    found = LIBRARY.search(finished.out)
    if finished.code or not found:
        raise _failure(finished, name, "does not report its TensorRT version")
    looked = _run(["docker", "image", "inspect", "--format", "{{.Id}}", name], name, ASK_SECONDS)
    if looked.code:
        raise _failure(looked, name, "can't be inspected")
    return Image(found[1], looked.out.strip())


def build_in_container(spec: PlanSpec, folder: Path, progress: Progress, device: int = 0) -> Path:
    """Build the plan of the ONNX model in ``folder``, and return its path.

    Raises ConversionError with the reason. After an error or an interrupt there is neither a plan nor a container.
    """
    try:
        finished = _run(container_command(spec, folder, device), spec.image, BUILD_SECONDS, _phases_to(progress))
        if finished.code:
            raise _failure(finished, spec.image, "could not build the plan")
        if not (folder / PLAN).is_file():
            raise ConversionError(f"trtexec in {spec.image} succeeded, but left no plan in {folder}")
    except BaseException:
        (folder / PLAN).unlink(missing_ok=True)
        raise
    finally:
        (folder / UNFINISHED).unlink(missing_ok=True)
    return folder / PLAN


def _phases_to(progress: Progress) -> Callable[[str], None]:
    def note(line: str) -> None:
        text = line.rpartition("] ")[2].strip()
        if text and "[I]" in line:
            progress.note(text[:100])

    return note


def _run(
    command: list[str], image: str, seconds: float, heard: Callable[[str], None] | None = None
) -> process.Finished:
    """Run docker; remove the container on any error, even if only docker's client was killed."""
    name = f"modelrepo-{uuid.uuid4().hex[:12]}"
    at = command.index("--rm") + 1 if "--rm" in command else None
    named = [*command[:at], "--name", name, *command[at:]] if at else command
    try:
        return process.run(named, timeout=seconds, heard=heard)
    except FileNotFoundError:
        raise ConversionError("there is no docker here", "Install docker, or --plan-builder defer") from None
    except BaseException as error:
        if at:
            with suppress(OSError, subprocess.TimeoutExpired):  # the first error is the one to report
                process.run(["docker", "rm", "--force", name], timeout=60)
        if isinstance(error, subprocess.TimeoutExpired):
            raise ConversionError(f"docker took longer than {error.timeout / 3600:.0f} hours with {image}") from None
        raise


def _failure(finished: process.Finished, image: str, what: str) -> ConversionError:
    """Return the error for docker's or trtexec's output."""
    text = f"{finished.out}\n{finished.err}"
    if "could not select device driver" in text or "nvidia-container-cli: " in text or "unresolvable CDI" in text:
        return ConversionError(
            "docker can't give the container a GPU",
            "Install NVIDIA's container toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker",
        )
    if "Unable to find image" in text or "No such image" in text or "pull access denied" in text:
        return ConversionError(f"can't pull the image {image}: {finished.last_words}", f"Try: docker pull {image}")
    if "permission denied" in text and "docker.sock" in text:
        return ConversionError("this user may not use docker", "Add the user to the group docker, or use another one")
    if OUT_OF_MEMORY.search(text) or finished.code == 137:
        return ConversionError(
            f"{image} {what}: out of memory", "Free memory on the GPU, or lower --max-batch-size or the profiles"
        )
    foreign = FOREIGN.search(text)
    if foreign:
        return foreign_plan(foreign)
    node = NODE.search(text)
    if node:
        return _refused(node, text[node.end() :])
    errors = ERROR.findall(text)
    return ConversionError(f"{image} {what}: {errors[-1] if errors else finished.last_words}")


def _refused(node: re.Match[str], after: str) -> ConversionError:
    """Return the error for a node that the parser refused; ``after`` is the text behind its first line."""
    number, operator, output = node.groups()
    name, reason = NODE_NAME.search(after), REASON.search(after)
    named = f"node {name[1]!r}" if name else f"node {number}, which makes {output!r}"
    why = f": {in_words(reason[1])}" if reason else ""
    return ConversionError(
        f"TensorRT refuses operator {operator} ({named}){why}", "Serve the model with --backends onnx"
    )


def run_plan(
    spec: PlanSpec, plan: Path, signature: Signature, asked: Sequence[PlanInputs], device: int = 0
) -> list[Arrays]:
    """Return the plan's answers to each of ``asked``, by the outputs' names, in the dtypes of ``signature``.

    trtexec runs them all in one container of the serving image; answers have the six digits that it prints. Raises
    VerificationError if the container can't start, or the plan can't be loaded or run, or gives no answers.
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
            finished = _run(in_container(spec.image, folder, device, script), spec.image, ASK_SECONDS)
            if finished.code:
                raise _failure(finished, spec.image, "could not run the plan")
        except ConversionError as error:
            raise VerificationError(error.message, error.hint) from error
        answers: list[Arrays] = []
        for number in range(len(asked)):
            try:
                got = plan_answers.read_answers(folder / f"{number}.json")
            except ValueError as error:
                raise VerificationError(f"the plan gives no answers: {error}") from error
            answers.append(
                {name: np.array(values, types.get(name)).reshape(shape) for name, (shape, values) in got.items()}
            )
        return answers


def _write_case(folder: Path, number: int, asked: PlanInputs, spec: PlanSpec) -> dict[str, Any]:
    """Write one case's inputs as raw little-endian bytes, and return the case in the format of ``plan_answers``."""
    inputs = []
    for position, (name, array) in enumerate(asked.inputs.items()):
        file = f"{number}-{position}.bin"
        (folder / plan_answers.FOLDER / file).write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
        inputs.append({"name": name, "file": file})
    symbolic = spec.profiles[asked.profile].shapes if spec.profiles else {}
    shapes = {name: list(array.shape) for name, array in asked.inputs.items() if name in symbolic}
    return {"profile": asked.profile, "shapes": shapes, "inputs": inputs}
