"""A function of the user's as a model of Triton's Python backend: its files, its configuration, and its reference."""

import json
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from modelrepo.generator.ensembles import pictures, step_runner, undeclared
from modelrepo.generator.ensembles.member import Made, Member, Site
from modelrepo.generator.errors import ConversionError, InputRefused, OptionError, SourceError
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.sources.python import user_code
from modelrepo.generator.specs.ensembles import Step
from modelrepo.generator.specs.tensors import Array, Arrays, Signature, TensorSpec
from modelrepo.generator.system import step_packages
from modelrepo.generator.system.templates import environment
from modelrepo.generator.triton import pbtxt

TEMPLATE = "python_step.py.j2"
# The files of a step's version folder beside the user's code and the requirements.
MODEL, RUNNER, SETTINGS = "model.py", "modelrepo_step.py", "step.json"
# Modules that a step's process has of its own: of Triton's, and ours.
TAKEN = ("model", "modelrepo_step", "triton_python_backend_utils", "c_python_backend_utils")
# The name of the symbolic dimension of a batch.
BATCH = "batch"
DEFAULT_BATCH = 16  # that of `generate`
# Triton's types, by those of a step.
TRITON_TYPES = {
    **{name: f"TYPE_{name.upper()}" for name in step_runner.DTYPES if "float" not in name},
    **{f"float{bits}": f"TYPE_FP{bits}" for bits in (16, 32, 64)},
}
# Seconds that a module may take to be imported, as on the local server; and more than the limit of a call.
IMPORT_SECONDS, PATIENCE_SECONDS = 120.0, 30.0


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
    arguments: Mapping[str, Any] = field(default_factory=dict)  # values of the function's arguments that are no inputs
    files: tuple[Path, ...] = ()  # that it opens beside its module, relative to the current folder

    @property
    def settings(self) -> dict[str, Any]:
        """What the runner is told: the arguments of its ``Step``."""
        own = {key: getattr(self, key) for key in ("name", "target", "batched", "timeout")}
        return {**own, "arguments": dict(self.arguments)}


def member(step: Step, site: Site) -> Member:
    """Return the model of a step's function, with a reference that calls it in a process of its own.

    Raises OptionError for annotations or settings that can't be a model's, SourceError if the function can't be
    imported, and ServerError if its requirements can't be installed here.
    """
    own = replace(_own(step, site), target=step.rest)
    code = {**user_code.placed(_module(own)), **{str(each): each for each in own.files}}
    undeclared.refuse(step, code.values())
    return made(own, code, site.ensemble.own_model(step), site.folder)


def built_in(step: Step, site: Site) -> Member:
    """Return the model of one of our own functions: `builtin:decode` makes pixels of a picture's file.

    Errors are those of ``member``.
    """
    if step.rest != "decode":
        raise OptionError(f"there is no builtin:{step.rest}", "There is builtin:decode")
    file = Path(__file__).with_name("decoding.py")
    own = replace(_own(step, site), target="decoding:decode", requirements=("pillow",))
    decoder = made(own, {file.name: file}, site.ensemble.own_model(step), site.folder)
    return replace(decoder, input_kinds={"image": "encoded image"}, likely=pictures.drawn)


def published(record: Manifest, folder: Path, config: Any) -> Callable[[Arrays], Mapping[str, Array]]:
    """Return a published model of the Python backend as a function: one that was made of a step.

    Raises ConversionError for one of another kind: its answers are not known.
    """
    if not (folder / SETTINGS).is_file():
        raise ConversionError(f"{record.name} is a Python model that can't be asked here")
    return Reference(folder, config.max_batch_size).run


def _own(step: Step, site: Site) -> PythonStep:
    options = [each for each in step.requirements if each.lstrip().startswith("-")]
    if options:
        raise OptionError(
            f"step {step.name!r}: {options[0]!r} is an option of pip, not a requirement",
            "Name packages, such as pillow>=11",
        )
    largest = site.ensemble.max_batch_size
    settings = {key: value for key, value in step.settings.items() if value is not None}
    batch = {"max_batch_size": DEFAULT_BATCH if largest is None else largest}
    return PythonStep(step.name, "", timeout=step.timeout, requirements=step.requirements, **{**batch, **settings})


def made(step: PythonStep, code: Mapping[str, Path], name: str, folder: Path) -> Member:
    """Return a step as a model that is published under a name; its files lie in ``folder``, an empty one."""
    version = folder / "1"
    lay_out(step, code, version)
    reference = Reference(version, step.max_batch_size)
    return Member(
        name=name,
        version=0,
        config=pbtxt.parse(config(name, step, reference.signature), f"the configuration of {name}"),
        reference=reference.run,
        inputs=reference.signature.inputs,
        made=Made(
            "python",
            {str(file.relative_to(version)): file for file in _files(version)},
            notes=(_needs(step.requirements),) if step.requirements else (),
        ),
    )


def _needs(requirements: tuple[str, ...]) -> str:
    """Return the note of a step that Triton's own image can't serve."""
    return f"needs {', '.join(requirements)}, which Triton's image lacks: serve it with {step_packages.SERVED_WITH}"


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _module(step: PythonStep) -> str:
    """Return the name of the user's module; OptionError for a target that is not MODULE:FUNCTION."""
    module, colon, function = step.target.partition(":")
    if not (colon and module and function):
        raise OptionError(f"step {step.name!r}: python:{step.target} names no function", "Write python:MODULE:FUNCTION")
    if module.partition(".")[0] in TAKEN:
        raise OptionError(f"step {step.name!r}: Triton's own file is called {module}.py", "Rename your module")
    return module


def lay_out(step: PythonStep, code: Mapping[str, Path], folder: Path) -> None:
    """Write the version folder of a step: our two files, its ``code`` by relative paths, and the requirements."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, file in code.items():
        copy = folder / step_runner.CODE / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.copyfile(step_runner.__file__, folder / RUNNER)
    template = environment().get_template(TEMPLATE)
    comment = f"Made by modelrepo from python:{step.target}: changes are lost when it is made again."
    (folder / MODEL).write_text(template.render(comment=comment), "utf-8")
    (folder / SETTINGS).write_text(f"{json.dumps(step.settings, indent=2)}\n", "utf-8")
    if step.requirements:
        (folder / step_packages.REQUIREMENTS).write_text("".join(f"{each}\n" for each in step.requirements), "utf-8")


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

    It sees none of this process's modules, so a file that the server would miss is missed here, too. ``folder`` is the
    version folder, and ``largest`` the largest batch of its model, 0 without batching.
    """

    def __init__(self, folder: Path, largest: int) -> None:
        settings = json.loads((folder / SETTINGS).read_text("utf-8"))
        self._name, self._timeout, self._batched = settings["name"], settings["timeout"], settings["batched"]
        self._largest = largest
        packages = step_packages.ensure(step_packages.read(folder), self._name)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-B", str((folder / RUNNER).absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        self._ended = weakref.finalize(self, _end, self._process)
        try:
            said = self._answered({**settings, "path": packages}, IMPORT_SECONDS)
            if isinstance(said, str):
                raise SourceError(said, _importing(said))
        except BaseException:
            self.close()
            raise
        inputs, outputs = (tuple(self._spec(*each) for each in side) for side in said)
        self.signature = Signature(inputs, outputs)

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Return the outputs of named inputs by name; InputRefused says why not, and its caller names the step."""
        limit = self._timeout + PATIENCE_SECONDS if self._timeout else None
        said = self._answered((dict(arrays), self._largest > 0), limit)
        if isinstance(said, str):
            raise InputRefused(said.removeprefix(f"step {self._name!r}: "))
        return dict(said)

    def close(self) -> None:
        """End the process."""
        self._ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answered(self, asked: Mapping[str, Any] | tuple[Any, ...], seconds: float | None) -> Any:
        """Ask the process, and return what it says; InputRefused if it ends, or is still silent after some seconds."""
        if not self._process.stdin or not self._process.stdout:
            raise ValueError("both streams must be pipes")
        watch = threading.Timer(seconds, self._process.kill) if seconds else None
        if watch:
            watch.daemon = True
            watch.start()
        try:
            pickle.dump(asked, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)  # noqa: S301 - from our own process
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            why = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
            raise InputRefused(f"its process {why}") from error
        finally:
            if watch:
                watch.cancel()

    def _spec(self, name: str, dtype: str, dims: tuple[int | str, ...]) -> TensorSpec:
        named = tuple(f"{name}_{axis}" if dim == "?" else dim for axis, dim in enumerate(dims))
        if self._largest:
            named = (BATCH, *((named[1:] if self._batched else named) or (1,)))
        return TensorSpec(name, "object" if dtype == "string" else dtype, named or (1,))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            if stream:
                stream.close()
    process.wait()


def _data_type(spec: TensorSpec) -> int:
    from tritonclient.grpc import model_config_pb2

    return int(model_config_pb2.DataType.Value(TRITON_TYPES.get(spec.dtype, "TYPE_STRING")))


def _importing(said: str) -> str:
    """Return the hint for a step that can't be imported."""
    missing = said.partition("No module named ")[2].partition("'")[2].partition("'")[0]
    if not missing:
        return ""
    package = undeclared.package_of(missing.partition(".")[0])
    return f'Add its package to the step: requirements = ["{package}"]'
