"""The onnxruntime backend: the configuration against the model.onnx, and what it fills in."""

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeAlias

from modelrepo.generator.lint.files.onnx_file import OnnxFile
from modelrepo.generator.lint.finding import Edit, Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.onnx_files import (
    BACKEND,
    SOURCE,
    custom_operators,
    files,
    ir_version,
    lacks_weights,
    opset,
)
from modelrepo.generator.lint.served import place_of, served, type_of
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.triton.onnx_rules import BF16_SINCE, RANK, Mismatch, Refused, completion, mismatches

# What keeps ONNX Runtime from opening a file that can be read here: nothing is filled in then.
OPENING = (lacks_weights, custom_operators, opset, ir_version)


def fills_in(case: Case) -> Iterator[Problem]:
    """Say what Triton fills in where inputs or outputs are not written."""
    for _, _, filled in _completed(case):
        if isinstance(filled, dict) and filled and not any(problem for rule in OPENING for problem in rule(case)):
            yield Problem(place_of(case), f"Triton fills in {_in_words(filled)}", AUTO.write, _as_edits(case, filled))


def _in_words(filled: dict[str, Any]) -> str:
    words = [f"the {field}s" for field in ("input", "output") if field in filled]
    if "max_batch_size" in filled:
        words.append(f"max_batch_size: {filled['max_batch_size']}")
    if "dynamic_batching" in filled:
        words.append("dynamic batching")
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _as_edits(case: Case, filled: dict[str, Any]) -> tuple[Edit, ...]:
    """Return the edit that writes what is filled in; none if the text has an empty field of it."""
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    config = case.model.config
    if config is None or any(name in config.tree.fields for name in filled):
        return ()
    try:
        message = json_format.ParseDict(filled, model_config_pb2.ModelConfig())
    except json_format.ParseError:  # a type that Triton does not have
        return ()
    text = text_format.MessageToString(message)
    return (Edit(config.path, (0, 0), (0, 0), ("" if config.text.endswith("\n") else "\n") + text),)


def cannot_fill_in(case: Case) -> Iterator[Problem]:
    """Find configurations that the backend can't complete."""
    for _, _, filled in _completed(case):
        if isinstance(filled, Refused) and not filled.code:
            batch = "max_batch_size" in str(filled)
            yield Problem(
                place_of(case, "max_batch_size") if batch else place_of(case),
                f'Triton refuses the model, since inputs or outputs are not written: "{filled}"',
                BATCH_WRITE if batch else AUTOFILL.write,
            )


BATCH_WRITE = "Write max_batch_size: 0, or export the model with an open first dimension"


def unbound(case: Case) -> Iterator[Problem]:
    """Find states and batch_inputs that the model does not have, which only requests notice."""
    found = served(case, BACKEND)
    for _, file in files(case) if found else ():
        if file.fault or not found:
            continue
        for path, kind, name, data_type in _fed(found.config):
            known = {tensor.name: tensor.data_type for tensor in getattr(file.model, f"{kind}s")}
            if name not in known:
                said = f"the model has no {kind} '{name}', and has {', '.join(known)}"
            elif data_type and known[name] != f"TYPE_{data_type}":
                said = f"the {kind} '{name}' is of {known[name]} in the model"
            else:
                continue
            yield Problem(
                place_of(case, *path), f"Triton loads the model, and every request fails: {said}", UNBOUND.write
            )


def _fed(config: Any) -> Iterator[tuple[tuple[str | int, ...], str, str, str]]:
    """Yield what Triton itself binds to a model: the place, input or output, the name and the type."""
    for number, state in enumerate(config.sequence_batching.state):
        path = ("sequence_batching", "state", number)
        yield (*path, "input_name"), "input", state.input_name, type_of(state)
        yield (*path, "output_name"), "output", state.output_name, type_of(state)
    for number, each in enumerate(config.batch_input):
        for name in each.target_name:
            yield ("batch_input", number, "target_name"), "input", name, type_of(each)


Completed: TypeAlias = tuple[OnnxFile, dict[str, Any], dict[str, Any] | Refused]


def _completed(case: Case) -> tuple[Completed, ...]:
    """Return each file, the configuration as JSON, and what the backend fills in, or why it can't."""
    return case.model.once((_complete, case.host.release.container), lambda: tuple(_complete(case)))


def _complete(case: Case) -> Iterator[Completed]:
    from google.protobuf import json_format

    found = served(case, BACKEND)
    readable = [file for _, file in files(case) if not file.fault] if found else []
    config = json_format.MessageToDict(found.config, preserving_proto_field_name=True) if found and readable else {}
    written = (config.get("input") or config.get("batch_input")) and config.get("output")
    for file in readable:
        if not written and any(RANK in tensor.unsure for tensor in file.model.outputs):
            continue  # only ONNX Runtime knows what is filled in
        try:
            yield file, config, completion(config, file.model, bf16=_has_bf16(case))
        except Refused as error:
            yield file, config, error


def _has_bf16(case: Case) -> bool:
    return case.host.release.container >= BF16_SINCE


def _mismatches(case: Case) -> tuple[Mismatch, ...]:
    bf16 = _has_bf16(case)
    return case.model.once((_compared, bf16, case.host.release.container), lambda: tuple(_compared(case, bf16)))


def _compared(case: Case, bf16: bool) -> Iterator[Mismatch]:
    for file, config, filled in _completed(case):
        if isinstance(filled, Refused):
            if filled.code:
                yield Mismatch(filled.code, (), str(filled))
        else:
            broken = set(_refused_by_the_core(config))
            found = mismatches({**config, **filled}, file.model, bf16=bf16)
            yield from (each for each in found if each.path[:2] not in broken)


def _refused_by_the_core(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for kind in ("input", "output"):
        for number, written in enumerate(config.get(kind, ())):
            if not all(written.get(field) for field in ("name", "data_type", "dims")):
                yield kind, number


def _of(code: str, case: Case, *, sure: bool = True) -> Iterator[Problem]:
    """Find the mismatches of one rule."""
    for found in _mismatches(case):
        if found.code == code and found.sure == sure:
            verb = "refuses the model" if sure else "refuses the model if ONNX Runtime knows no more of this shape"
            write = f"Write {found.wanted}" if found.wanted else WRITE[code]
            yield Problem(place_of(case, *found.path), f'Triton {verb}: "{found.reason}"', write)


# What to write instead, for each mismatch of a configuration and its model.
WRITE = {
    "ORT-NAME": "Write the name that the model has",
    "ORT-CNT": "List every input of the model, and no other; one that has a value of its own in the model is optional",
    "ORT-TYPE": "Write the data_type that the model has",
    "ORT-BF16": "Serve it with release 26.03 or newer, or export the model with FP32 or FP16 inputs and outputs",
    "ORT-DIM": "Write the dims of the model, without the batch dimension if max_batch_size is above 0",
    "ORT-BATCH": "Write max_batch_size: 0 and the dims in full, or export the model with an open first dimension",
    "ORT-SCALAR": "Write dims: [ 1 ]",
    "ORT-OPT": "Write max_batch_size: 0, or take out optional",
    "ORT-RAG": "Take out allow_ragged_batch, or export the model with an input of shape [-1]",
    "ORT-CTRL": "Name an input of the model that has shape [1] and the type of the control's values",
    "ORT-SEQ": "Export the model with tensors only; for a classifier of scikit-learn: with zipmap=False",
}
TITLES = {
    "ORT-NAME": "the model has no input or output of a name",
    "ORT-CNT": "the number of inputs differs from the model's",
    "ORT-TYPE": "a data_type differs from the model's",
    "ORT-BF16": "an input or output is BF16",
    "ORT-DIM": "dims differ from the model's",
    "ORT-BATCH": "max_batch_size is above 0, and the model's first dimension is fixed",
    "ORT-SCALAR": "a scalar of the model has dims other than 1",
    "ORT-OPT": "an input is optional, and max_batch_size is above 0",
    "ORT-RAG": "a ragged input is not of shape [-1] in the model",
    "ORT-CTRL": "a sequence control does not fit the model",
    "ORT-SEQ": "the model has an input or output that is not a tensor",
}
DETAILS = {
    "ORT-CNT": "The inputs that are not optional, the batch_inputs, controls and states together must be as many as "
    "the model's inputs. Outputs may be left out.",
    "ORT-DIM": "An input may fix a size that the model leaves open, and not the reverse. An output must have exactly "
    "the model's sizes, as ONNX Runtime infers them: they may be known although the file leaves them open.",
}


def _rule(code: str) -> Rule:
    return Rule(
        code=code,
        severity="error",
        title=TITLES[code],
        triton=f"Triton refuses the model. {DETAILS.get(code, '')}".strip(),
        write=WRITE[code],
        check=partial(_of, code),
        decided_by=BACKEND,
        source=SOURCE,
        needs_config=False,
        before=BF16_SINCE if code == "ORT-BF16" else "",
    )


AUTO = Rule(
    code="ORT-AUTO",
    severity="information",
    title="inputs or outputs are not written",
    triton="Triton completes them from the model. If every first dimension is open and max_batch_size is 0, it also "
    "writes max_batch_size: 4 and turns on dynamic batching; it does neither if both inputs and outputs are written. A "
    "server that was started with --disable-auto-complete-config refuses the model.",
    write="Write both inputs and outputs, and max_batch_size",
    check=fills_in,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
    fixable=True,
)
AUTOFILL = Rule(
    code="ORT-AUTOFILL",
    severity="error",
    title="inputs or outputs are not written, and Triton can't complete them",
    triton='Triton refuses the model if max_batch_size is above 0 and the model has a fixed first dimension: "autofill '
    'failed for model …: model does not support batching while non-zero max_batch_size is specified". It does not '
    "complete tensors of a type that Triton lacks, before 26.03 of BF16, and with a dimension of 0: \"model input '…' "
    "must specify 'data_type'\".",
    write="Write both inputs and outputs",
    check=cannot_fill_in,
    decided_by=BACKEND,
    source=SOURCE,
    needs_config=False,
)
OPEN = Rule(
    code="ORT-SHAPE",
    severity="warning",
    title="an output fixes a size that the model's file leaves open",
    triton="Triton compares with the shape that ONNX Runtime infers, and refuses the model if that is open too. The "
    "file alone does not say it here.",
    write=WRITE["ORT-DIM"],
    check=partial(_of, "ORT-DIM", sure=False),
    decided_by=BACKEND,
    source=SOURCE,
)
UNBOUND = Rule(
    code="ORT-STATE",
    severity="warning",
    title="a state or a batch_input is not in the model, or of another type",
    triton="Triton counts them when it loads the model, and binds them by name for each request, which then fails.",
    write="Write names and types that the model has",
    check=unbound,
    decided_by=BACKEND,
    source=SOURCE,
)
RULES = (AUTO, AUTOFILL, *map(_rule, WRITE), OPEN, UNBOUND)
