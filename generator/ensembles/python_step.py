"""A function of the user's as a model of Triton's Python backend: its files, its configuration, and its reference."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

from modelrepo.generator.ensembles import step_runner
from modelrepo.generator.ensembles.step_runner import Callee
from modelrepo.generator.errors import InputRefused, ModelRepoError, OptionError, SourceError
from modelrepo.generator.sources.python import user_code
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec
from modelrepo.generator.system.templates import environment
from modelrepo.generator.triton import pbtxt

TEMPLATE, MODEL, RUNNER = "python_step.py.j2", "model.py", "modelrepo_step.py"
REQUIREMENTS = "requirements.txt"
# The name of the symbolic dimension of a batch.
BATCH = "batch"
DEFAULT_BATCH = 8
# Triton's types, by those of a step.
TRITON_TYPES = {
    **{name: f"TYPE_{name.upper()}" for name in step_runner.DTYPES if "float" not in name},
    **{f"float{bits}": f"TYPE_FP{bits}" for bits in (16, 32, 64)},
}
# Asks the reference of a model: its name and version, and its inputs; any ModelRepoError if it has no answer.
Ask: TypeAlias = Callable[[str, int, Arrays], Mapping[str, Array]]
# More than the time-out of a call, for its interruption.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class PythonStep:
    """A function as a step; ``batched``: it takes batches, and is else called sample by sample."""

    name: str  # in messages
    target: str  # MODULE:FUNCTION
    batched: bool = False
    timeout: float = 60.0  # seconds of a call; 0: no limit
    max_batch_size: int = DEFAULT_BATCH
    instances: int = 1
    requirements: tuple[str, ...] = ()  # as pip reads them
    files: tuple[Path, ...] = ()  # that it opens beside its module, relative to the current folder
    callees: tuple[Callee, ...] = ()  # the models that it calls: its first argument calls them

    @property
    def module(self) -> str:
        """The name of the user's module."""
        return self.target.partition(":")[0]


def lay_out(step: PythonStep, folder: Path) -> None:
    """Write the version folder of a step: our two files, the user's modules, and the requirements.

    The user's modules are its own file or package, and what it imports from the current folder. Raises SourceError if
    there is no such module, and OptionError for a name that is not MODULE:FUNCTION.
    """
    module, colon, function = step.target.partition(":")
    if not (colon and module and function):
        raise OptionError(f"python:{step.target} does not name a function", "Write python:MODULE:FUNCTION")
    folder.mkdir(parents=True, exist_ok=True)
    for place, file in {**user_code.placed(module), **{str(each): each for each in step.files}}.items():
        copy = folder / step_runner.CODE / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.copyfile(step_runner.__file__, folder / RUNNER)
    template = environment().get_template(TEMPLATE)
    comment = f"Made by modelrepo from python:{step.target}: changes are lost when it is made again."
    (folder / MODEL).write_text(template.render(**vars(step), comment=comment), "utf-8")
    if step.requirements:
        (folder / REQUIREMENTS).write_text("".join(f"{each}\n" for each in step.requirements), "utf-8")


def config(name: str, step: PythonStep, signature: Signature) -> str:
    """Return the config.pbtxt of a step that is published under a name, for its newest version."""
    from tritonclient.grpc import model_config_pb2

    message = model_config_pb2.ModelConfig(name=name, backend="python", max_batch_size=step.max_batch_size)
    for listed, specs in ((message.input, signature.inputs), (message.output, signature.outputs)):
        for spec in specs:
            tensor = listed.add(name=spec.name, data_type=_data_type(spec))
            dims = spec.shape[1:] if step.max_batch_size else spec.shape
            tensor.dims[:] = [dim if isinstance(dim, int) else -1 for dim in dims]
    message.instance_group.add(count=step.instances, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    if step.max_batch_size > 1:
        message.dynamic_batching.SetInParent()
    return pbtxt.to_text(message)


class Reference:
    """The function in a process of its own, from the files that are published; use it as a context manager.

    It sees none of this process's modules, so a file that the server would miss is missed here, too. Models that it
    calls are asked by ``ask``.
    """

    def __init__(self, step: PythonStep, folder: Path, packages: tuple[str, ...] = (), ask: Ask | None = None) -> None:
        self.step, self._ask = step, ask
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-B", str((folder / RUNNER).absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        settings = {"name": step.name, "target": step.target, "batched": step.batched, "timeout": step.timeout}
        try:
            said = self._answered({**settings, "path": packages, "callees": [vars(each) for each in step.callees]})
            if isinstance(said, str):
                raise SourceError(said, _importing(said, step))
        except BaseException:
            self.close()
            raise
        inputs, outputs = (tuple(self._spec(*each) for each in side) for side in said)
        self.signature = Signature(inputs, outputs)

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Return the outputs of named inputs by name, with their batch; InputRefused names the step and the reason."""
        said = self._answered((dict(arrays), self.step.max_batch_size > 0))
        if isinstance(said, str):
            raise InputRefused(said)
        return dict(said)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream:
                    stream.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answered(self, asked: Mapping[str, Any] | tuple[Any, ...]) -> Any:
        if not self._process.stdin or not self._process.stdout:
            raise ValueError("both streams must be pipes")
        try:
            while True:
                pickle.dump(asked, self._process.stdin)
                self._process.stdin.flush()
                said = pickle.load(self._process.stdout)  # noqa: S301 - from our own process
                if not isinstance(said, tuple):
                    return said
                asked = self._called(*said)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            raise InputRefused(f"step {self.step.name!r}: its process ended with exit code {code}") from error

    def _called(self, model: str, version: int, arrays: Arrays, outputs: Sequence[str]) -> "dict[str, Array] | str":
        """Return the outputs of a model that the function calls, or why there are none."""
        if self._ask is None:
            return "there is no reference"
        try:
            answers = self._ask(model, version, arrays)
        except ModelRepoError as error:
            return error.message
        return {name: answers[name] for name in outputs}

    def _spec(self, name: str, dtype: str, dims: tuple[int | str, ...]) -> TensorSpec:
        named = tuple(f"{name}_{axis}" if dim == "?" else dim for axis, dim in enumerate(dims))
        if self.step.max_batch_size:
            named = (BATCH, *((named[1:] if self.step.batched else named) or (1,)))
        return TensorSpec(name, "object" if dtype == "string" else dtype, named or (1,))


def _data_type(spec: TensorSpec) -> int:
    from tritonclient.grpc import model_config_pb2

    return int(model_config_pb2.DataType.Value(TRITON_TYPES.get(spec.dtype, "TYPE_STRING")))


def _importing(said: str, step: PythonStep) -> str:
    """Return the hint for a step that can't be imported."""
    missing = said.partition("No module named ")[2].partition("'")[2].partition("'")[0]
    if not missing:
        return ""
    return f'Add what has it to the step\'s requirements, such as requirements = ["{missing.partition(".")[0]}"]'
