"""PyTorch's exporter tests, and a sample of its operators with their own sample inputs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array
from tests.foreign.case import Given, Suite, Task
from tests.foreign.unit_tests import Enough, module_of, outcome, stand_in

# The folder of the tests in a checkout, and the first part of the names of operators.
TESTS, OPERATORS = "test/onnx/exporter", "op_db"
# What a user's module would be called, and the factory in it.
MODULE = "module_of_the_test"
CODE = "from tests.foreign.pytorch import handed_over\n\n\ndef model():\n    return handed_over[-1]\n"
handed_over: list[Any] = []


def given(task: Task, folder: Path) -> Given | None:
    """Return the model of a test's first export as a program of torch.export; an operator as a user's module."""
    if task.name.startswith(OPERATORS):
        return _operator(task.name, folder)
    exports: list[tuple[Any, tuple[Any, ...], dict[str, Any], dict[str, Any]]] = []
    import torch

    def record(model: Any, args: Any = (), *_: Any, kwargs: Any = None, **options: Any) -> None:
        exports.append((model, args, kwargs or {}, options))
        raise Enough

    module, name = _test(task)
    with _exporting(lambda _: record):
        torch.manual_seed(0)
        outcome(module, name)
    return _program(*exports[0], folder) if exports else None


@contextmanager
def _exporting(make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace torch.onnx.export by what is made of it."""
    import torch

    original, torch.onnx.export = torch.onnx.export, make(torch.onnx.export)
    try:
        yield
    finally:
        torch.onnx.export = original


def _lenient(original: Any) -> Any:
    """Return an exporter that leaves out an option which not every version has."""
    return lambda *args, fallback=False, **options: original(*args, **options)


def _program(model: Any, args: Any, kwargs: dict[str, Any], options: dict[str, Any], folder: Path) -> Given:
    """Save a program; where torch.export can't make one, hand the module over as a user's code does."""
    import torch
    from torch.utils import _pytree

    program = model if isinstance(model, torch.export.ExportedProgram) else None
    if program is None:
        shapes = options.get("dynamic_shapes")
        program = torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
    else:
        args, kwargs = program.example_inputs
    path = folder / "model.pt2"
    torch.export.save(program, path)
    flat = [each for each in _pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    specs = [each.arg for each in program.graph_signature.input_specs if each.kind.name == "USER_INPUT"]
    names = [each.name for each in specs if type(each).__name__ == "TensorArgument"]
    inputs = {name: _numpy(each) for name, each in zip(names, flat, strict=True)}
    with torch.no_grad():
        answer = program.module()(*args, **kwargs)
    answers = _numbered(answer)
    chosen = {"opset": options["opset_version"]} if options.get("opset_version") else {}
    return Given(f"torch:{path}", inputs, lambda _, __: answers, {"trust_source": True, **chosen}, named=False)


def _operator(name: str, folder: Path) -> Given | None:
    """Return an operator of torch's own database, with one of its sample inputs: op_db/OPERATOR.NUMBER."""
    found = _sampled(name)
    if found is None:
        return None
    module, tensors, _ = found
    if not tensors or not all(each.numel() for each in tensors):  # nothing that can be sent
        return None
    handed_over[:] = [module]
    (folder / f"{MODULE}.py").write_text(CODE, "utf-8")
    inputs = {f"x{number}": _numpy(each) for number, each in enumerate(tensors)}
    answers = _numbered(module(*tensors))
    shape = ",".join(f"{key}={_written(array)}" for key, array in inputs.items())
    return Given(f"python:{MODULE}:model", inputs, lambda _, __: answers, {"input_shape": shape})


def _written(array: Array) -> str:
    return f"{'x'.join(map(str, array.shape)) or 'scalar'}:{array.dtype}"


def _sampled(name: str) -> Any:
    """Return a module that calls an operator, the tensors of a sample, and the operator; None if there is none."""
    stand_in()
    import torch
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.utils import _pytree

    operator, _, number = name.removeprefix(f"{OPERATORS}/").rpartition(".")
    info = next((each for each in op_db if each.formatted_name == operator), None)
    if info is None:
        return None
    torch.manual_seed(0)
    dtype = torch.float32 if torch.float32 in info.dtypes else torch.int64
    samples = list(info.sample_inputs("cpu", dtype))
    if int(number) >= len(samples):
        return None
    sample = samples[int(number)]
    leaves, structure = _pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [place for place, each in enumerate(leaves) if isinstance(each, torch.Tensor)]
    tensors = [leaves[place].detach().clone() for place in places]
    others = [None if place in places else each for place, each in enumerate(leaves)]
    names = ", ".join(f"x{count}" for count in range(len(places)))

    def compute(*given_tensors: Any) -> Any:
        filled = list(others)
        for place, tensor in zip(places, given_tensors, strict=True):
            filled[place] = tensor
        first, args, kwargs = _pytree.tree_unflatten(filled, structure)
        return info.op(first, *args, **kwargs)

    scope: dict[str, Any] = {"compute": compute, "Module": torch.nn.Module}
    exec(f"class Operator(Module):\n    def forward(self, {names}):\n        return compute({names})\n", scope)
    return scope["Operator"](), tensors, info


def _numpy(tensor: Any) -> Array:
    return np.asarray(tensor.detach().resolve_conj().resolve_neg().cpu().numpy())


def _numbered(answer: Any) -> Mapping[str, Array]:
    """Return the tensors of an answer by their numbers."""
    import torch
    from torch.utils import _pytree

    leaves = [each for each in _pytree.tree_leaves(answer) if each is not None]
    arrays = [_numpy(each) if isinstance(each, torch.Tensor) else np.asarray(each) for each in leaves]
    return {str(number): array for number, array in enumerate(arrays)}


def by_hand(task: Task, folder: Path) -> str:
    """Run the whole test; an operator is exported with ``dynamo=True`` and asked its own inputs in ONNX Runtime."""
    import torch

    if not task.name.startswith(OPERATORS):
        with _exporting(_lenient):
            return outcome(*_test(task))
    from torch.onnx._internal.exporter import _testing

    module, tensors, _ = _sampled(task.name)
    try:
        with chdir(folder):
            program = torch.onnx.export(module, tuple(tensors), dynamo=True, verbose=False)
            _testing.assert_onnx_program(program)
    except Exception as error:  # whatever the exporter and ONNX Runtime raise
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
    return ""


def _test(task: Task) -> tuple[Any, str]:
    module, _, name = task.name.partition(".")
    return module_of(Path(task.checkout) / TESTS, module), name


SUITE = Suite(
    "PyTorch",
    "pytorch",
    "The models of `test/onnx/exporter` as programs of torch.export, and operators of torch's own database (`op_db`) "
    "with a sample input of theirs, each as a user's module.",
    ("torch", "onnxscript"),
    given,
    by_hand,
)
