"""The pytorch backend: types, names and parameters, and the configuration against forward() in a TorchScript file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from modelrepo.generator.lint.completed import AOTI_PLATFORM, completed
from modelrepo.generator.lint.declared import begun
from modelrepo.generator.lint.files import python_code, torchscript
from modelrepo.generator.lint.files.torchscript import TorchScript
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.served import (
    Served,
    advised,
    dies_of_number,
    parameter,
    place_of,
    present,
    served,
    told,
    type_of,
)
from modelrepo.generator.lint.subject import Case, is_folder
from modelrepo.generator.lint.text import Key
from modelrepo.generator.triton.parameters import boolean, too_large_number, whole

BACKEND: Final = "pytorch"
INSTANCE = "pytorch_backend/src/pt/model_instance_state.cc"
# libtorch_utils.cc: ModelConfigDataTypeToTorchType; strings are handled beside it.
TYPES = ("BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "STRING")
TRUTHS = (
    *("DISABLE_OPTIMIZED_EXECUTION", "ENABLE_CACHE_CLEANING", "INFERENCE_MODE", "DISABLE_CUDNN"),
    *("ENABLE_TENSOR_FUSER", "ENABLE_WEIGHT_SHARING", "ENABLE_JIT_PROFILING", "ENABLE_JIT_EXECUTOR"),
)
# The files of `runtime: "model.py"`, which runs modules in Python; model.py is a torch.nn.Module there.
PYTHON_FILES = ("model.py", "model.pt")
NUMBERS = ("INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT")
# A name that says which argument or output it is.
INDEXED = re.compile(r"(?s).*?__\d*")


def unreadable(case: Case) -> Iterator[Problem]:
    """Find files that are not what the platform asks for."""
    found = served(case, BACKEND)
    wanted = (
        "It is a torch.export program"
        if found and found.config.platform == AOTI_PLATFORM
        else "It is a TorchScript file"
    )
    for path in present(case, BACKEND):
        other = told(path)
        if other != wanted:
            is_not = wanted.replace("It is", "it is not")
            said = f"{path.name} can't be loaded: {other or 'its format is unknown'}; {is_not}"
            write = advised(other, AS_AOTI if wanted.endswith("program") else AS_TORCHSCRIPT)
            yield Problem(Place(path), f"Triton refuses the model: {said}", write)


AS_TORCHSCRIPT = "Save it with torch.jit.trace(model, example).save('model.pt'), not with torch.save"
AS_AOTI = "Save it with torch._inductor.aoti_compile_and_package"


def without_forward(case: Case) -> Iterator[Problem]:
    """Find TorchScript files without a method forward()."""
    for path, file in _files(case):
        if file.arguments is None:
            said = f"{path.name} can't be served: the model has no forward()"
            yield Problem(Place(path), f"Triton refuses the model: {said}", FORWARD.write)


def arguments(case: Case) -> Iterator[Problem]:
    """Find types of arguments that requests can't hold."""
    for path, file in _files(case):
        for name, kind in file.refused:
            said = f"An input of type '{kind}' was detected in the model. Only a single input of type Dict(str, "
            said += "Tensor) or input(s) of type Tensor are supported."
            yield Problem(Place(path), f'Triton refuses the model, for {name}: "{said}"', ARGUMENTS.write)


def count(case: Case) -> Iterator[Problem]:
    """Find a number of inputs that differs from the number of arguments."""
    found = _libtorch(case)
    for _, file in _files(case):
        if found is None or not file.arguments or file.arguments[0][1].startswith("Dict"):
            continue
        expected = _expected(found.config)
        if found.config.input and expected != len(file.arguments):
            said = f"configuration expects {expected} inputs, model provides {len(file.arguments)}"
            takes = ", ".join(name for name, _ in file.arguments)
            yield Problem(
                place_of(case, "input"),
                f'Triton refuses the model: "{said}"; its forward() takes {takes}',
                COUNT.write,
            )


def _expected(config: Any) -> int:
    controls = sum(len(each.control) for each in config.sequence_batching.control_input)
    return len(config.input) + len(config.batch_input) + controls + len(config.sequence_batching.state)


def names(case: Case) -> Iterator[Problem]:
    """Find inputs and outputs that are passed by their order in the configuration."""
    found = _libtorch(case)
    if found is None:
        return
    written = [tensor.name for tensor in found.config.input]
    for _, file in _files(case):
        known = [name for name, _ in file.arguments or ()]
        is_dict = bool(file.arguments) and file.arguments is not None and file.arguments[0][1].startswith("Dict")
        if len(known) > 1 and not is_dict and not set(written) <= set(known) and not _indexed(written):
            said = f"Triton passes the inputs in the order of the configuration: {', '.join(written)} are not all "
            said += f"arguments of forward(), which takes {', '.join(known)}"
            yield Problem(
                place_of(case, "input"), said, "Write the names of the arguments, or NAME__0, NAME__1 and so on"
            )
    outputs = [tensor.name for tensor in found.config.output]
    if len(outputs) > 1 and not _indexed(outputs):
        said = f"Triton takes the outputs in the order of the configuration: {', '.join(outputs)}"
        yield Problem(place_of(case, "output"), said, "Write NAME__0, NAME__1 and so on, or make sure of the order")


def _indexed(tensors: list[str]) -> bool:
    return all(INDEXED.fullmatch(name) for name in tensors)


def none_written(case: Case) -> Iterator[Problem]:
    """Find configurations without inputs or outputs, which the backend does not complete."""
    found = _libtorch(case)
    for field in ("input", "output") if found else ():
        if found and not getattr(found.config, field):
            said = f"model configuration must contain at least one {field}, none were specified."
            yield Problem(place_of(case), f'Triton refuses the model: "{said}"', f"Write the {field}s")


def data_type(case: Case) -> Iterator[Problem]:
    """Find types that TorchScript models don't take or give here."""
    for field, number, tensor in _tensors(case):
        name = type_of(tensor)
        if name and name not in TYPES:
            said = f"unsupported datatype TYPE_{name} for {field} '{tensor.name}' for model '{case.model.name}'"
            yield Problem(place_of(case, field, number, "data_type"), f'Triton refuses the model: "{said}"', TYPE.write)


def strings(case: Case) -> Iterator[Problem]:
    """Find strings of more than one dimension."""
    found = _libtorch(case)
    batched = bool(found and found.config.max_batch_size > 0)
    for field, number, tensor in _tensors(case):
        sizes = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        if type_of(tensor) == "STRING" and len(sizes) + batched > 1:
            said = f"Triton only supports 1 dimensional List of String as {field} for '{tensor.name}' for model "
            said += f"'{case.model.name}'"
            yield Problem(place_of(case, field, number, "dims"), f'Triton refuses the model: "{said}"', STRINGS.write)


def controls(case: Case) -> Iterator[Problem]:
    """Find controls of sequences that don't say which argument they are, or of a type that PyTorch lacks."""
    found = _libtorch(case)
    for number, each in enumerate(found.config.sequence_batching.control_input if found else ()):
        place = place_of(case, "sequence_batching", "control_input", number)
        if each.control and not INDEXED.fullmatch(each.name):
            said = f"input '{each.name}' does not follow <name>__<index> naming convention."
            yield Problem(place, f'Triton refuses the model: "{said}"', CONTROL.write)
        for control in each.control:
            name = type_of(control)
            if control.kind == control.CONTROL_SEQUENCE_CORRID and name and name not in set(TYPES) - {"STRING"}:
                said = f"input '{each.name}' type 'TYPE_{name}' is not supported by PyTorch."
                yield Problem(place, f'Triton refuses the model: "{said}"', "Write data_type: TYPE_INT64")


def states(case: Case) -> Iterator[Problem]:
    """Find models with implicit state whose tensors don't all say which argument or output they are."""
    found = _libtorch(case)
    if found is None or not found.config.sequence_batching.state:
        return
    for field in ("input", "output"):
        if not _indexed([tensor.name for tensor in getattr(found.config, field)]):
            said = f"PyTorch model '{case.model.name}' is using sequence batching with state but not all inputs and "
            said += "outputs follow the <name>__<index> naming convention. "
            yield Problem(place_of(case, field), f'Triton refuses the model: "{said}"', STATE.write)
    for number, state in enumerate(found.config.sequence_batching.state):
        place = place_of(case, "sequence_batching", "state", number)
        for name in (state.input_name, state.output_name):
            if not INDEXED.fullmatch(name):
                said = f"PyTorch model '{case.model.name}' is using sequence batching with state but state '{name}' "
                said += "does not follow the <name>__<index> naming convention. "
                yield Problem(place, f'Triton refuses the model: "{said}"', STATE.write)
        kind = type_of(state)
        if kind and kind not in TYPES:
            said = (
                f"unsupported datatype TYPE_{kind} for input state '{state.input_name}' for model '{case.model.name}'"
            )
            yield Problem(place, f'Triton refuses the model: "{said}"', TYPE.write)


def compiled_sequences(case: Case) -> Iterator[Problem]:
    """Find sequences of a compiled package."""
    found = served(case, BACKEND)
    if found and found.config.platform == AOTI_PLATFORM and found.config.HasField("sequence_batching"):
        said = "Sequence batching is not supported yet."
        yield Problem(place_of(case, "sequence_batching"), f'Triton refuses the model: "{said}"', SEQUENCES.write)


def parameters(case: Case) -> Iterator[Problem]:
    """Find parameters whose values can't be read."""
    found = _libtorch(case)
    for name in (*TRUTHS, *NUMBERS) if found else ():
        text = parameter(found.config, name) if found else None
        is_truth = name in TRUTHS
        if text is not None and not is_truth and too_large_number(text):
            yield dies_of_number(place_of(case, "parameters", Key(name)), text)
        elif text is not None and (boolean(text) if is_truth else whole(text)) is None:
            said = f"failed to convert '{text}' to {'boolean' if is_truth else 'integral number'}"
            write = "Write true or false" if is_truth else "Write a whole number"
            yield Problem(place_of(case, "parameters", Key(name)), f'Triton refuses the model: "{said}"', write)


def in_python(case: Case) -> Iterator[Problem]:
    """Find versions for `runtime: "model.py"` that have no model, or whose model.py Python can't read."""
    config = begun(case.model)
    if config is None or config.runtime != PYTHON_FILES[0]:
        return
    if completed(case.model, config, case.host.release.container).backend != BACKEND:
        return
    names = [*filter(None, [config.default_model_filename]), *PYTHON_FILES]
    for version in selected(case.model, config):
        folder = case.model.versions.get(version, case.model.folder)
        path = next((folder / name for name in names if is_file(folder / name)), None)
        if path is None:
            said = f"No model found in {folder}/{names}"
            place = Place(folder if is_folder(folder) else case.model.folder)
            yield Problem(place, f'Triton refuses the model: "{said}"', IN_PYTHON.write)
        elif path.suffix == ".py" and (code := case.model.read(python_code.read, path)).fault:
            said = f"Python can't read {path.name}: {code.fault}"
            yield Problem(Place(path, code.line), f"Triton refuses the model: {said}", "Correct the line")


def _libtorch(case: Case) -> Served | None:
    """Return a TorchScript model; None for another one."""
    found = served(case, BACKEND)
    return None if found is None or found.config.platform == AOTI_PLATFORM else found


def _tensors(case: Case) -> Iterator[tuple[str, int, Any]]:
    found = _libtorch(case)
    for field in ("input", "output") if found else ():
        for number, tensor in enumerate(getattr(found.config, field) if found else ()):
            yield field, number, tensor


def _files(case: Case) -> Iterator[tuple[Path, TorchScript]]:
    for path in present(case, BACKEND) if _libtorch(case) else ():
        file = case.model.read(torchscript.read, path)
        if file is not None:
            yield path, file


def _rule(code: str, check: Any, title: str, triton: str, write: str, **more: Any) -> Rule:
    source = more.pop("source", INSTANCE)
    severity = more.pop("severity", "error")
    return Rule(code, severity, title, triton, write, check, BACKEND, source=source, **more)


UNREADABLE = _rule(
    "PT-READ",
    unreadable,
    "the file is not a TorchScript model, or not the package that torch_aoti loads",
    "Triton refuses the model: \"failed to load model '…'\", with PyTorch's reason.",
    AS_TORCHSCRIPT,
    source="pytorch_backend/src/pt/model_state.cc",
    needs_config=False,
)
FORWARD = _rule(
    "PT-FORWARD",
    without_forward,
    "the model has no forward()",
    "Triton refuses the model: it calls forward(), and no other method.",
    "Give the model a method forward(), and save it again",
)
ARGUMENTS = _rule(
    "PT-ARG",
    arguments,
    "forward() takes something else than tensors",
    "Triton refuses the model: \"An input of type '…' was detected in the model.\"",
    "Save a module whose forward() takes tensors, lists of strings, or one Dict[str, Tensor]",
)
COUNT = _rule(
    "PT-CNT",
    count,
    "the number of inputs differs from the number of arguments of forward()",
    'Triton refuses the model: "configuration expects … inputs, model provides …". Arguments with a default count.',
    "List an input for every argument of forward()",
)
NAMES = _rule(
    "PT-NAME",
    names,
    "names tell neither the argument nor the place of an input or output",
    "Triton goes by the order in the configuration. A client's data may then reach the wrong argument.",
    "Write the names of forward()'s arguments for inputs, and NAME__0, NAME__1 and so on for outputs",
    severity="warning",
)
NONE = _rule(
    "PT-IO",
    none_written,
    "inputs or outputs are not written",
    'Triton refuses the model: "model configuration must contain at least one input, none were specified." A '
    "TorchScript file does not say enough to complete them.",
    "Write all inputs and outputs",
)
TYPE = _rule(
    "PT-TYPE",
    data_type,
    "a data_type is none of the backend's",
    "Triton refuses the model: \"unsupported datatype TYPE_… for input '…'\".",
    f"Write one of {', '.join(f'TYPE_{name}' for name in TYPES)}",
    source="pytorch_backend/src/libtorch_utils.cc",
)
STRINGS = _rule(
    "PT-STRING",
    strings,
    "strings have more than one dimension",
    'Triton refuses the model: "Triton only supports 1 dimensional List of String as input". The batch counts.',
    "Write max_batch_size: 0 and one dimension",
)
PARAMETER = _rule(
    "PT-PARAM",
    parameters,
    "a parameter has a value that can't be read",
    'Triton refuses the model: "failed to convert \'…\' to boolean", or "to integral number".',
    "Write true or false, or a whole number",
    source="pytorch_backend/src/pt/model_state.cc",
)
CONTROL = _rule(
    "PT-CTRL",
    controls,
    "a control of sequences does not say which argument it is, or has a type that PyTorch lacks",
    "Triton refuses the model: \"input '…' does not follow <name>__<index> naming convention.\"",
    "Write NAME__0, NAME__1 and so on, with the place of the argument",
)
STATE = _rule(
    "PT-STATE",
    states,
    "a model with implicit state has names that do not say which argument or output they are",
    "Triton refuses the model: \"PyTorch model '…' is using sequence batching with state but not all inputs and "
    'outputs follow the <name>__<index> naming convention."',
    "Write NAME__0, NAME__1 and so on for all inputs, outputs and states",
)
SEQUENCES = _rule(
    "PT-AOTI-SEQ",
    compiled_sequences,
    "a compiled package has sequence_batching",
    'Triton refuses the model: "Sequence batching is not supported yet."',
    "Serve sequences with TorchScript or ONNX, or take out sequence_batching",
    source="pytorch_backend/src/pt2/model_instance_state.cc",
    since="26.03",
)
IN_PYTHON = _rule(
    "PT-PY",
    in_python,
    'a version for runtime: "model.py" has no model, or its model.py is not Python',
    "Triton refuses the model: \"No model found in …/1/['model.py', 'model.pt']\", or with Python's SyntaxError.",
    "Add a model.py with a torch.nn.Module, or a TorchScript file model.pt",
    source="pytorch_backend/src/model.py",
    needs_config=False,
)
RULES = (
    *(UNREADABLE, FORWARD, ARGUMENTS, COUNT, NAMES, NONE, TYPE, STRINGS, PARAMETER),
    *(CONTROL, STATE, SEQUENCES, IN_PYTHON),
)
