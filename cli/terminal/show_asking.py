"""How to ask a model: command lines, Python and curl that fit its inputs."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelrepo.cli.terminal.infer_model import example, examples
from modelrepo.clients.models import ENCODED, PIXELS, TEXT, Model, Tensor
from modelrepo.generator.rendered.client_code import NUMPY
from modelrepo.generator.repository.lifecycle.shown import Shown

# Triton's JSON has no numbers of these types; they travel as bytes.
BINARY = ("FP16", "BF16")
PORTS = "--http-port 8000 --grpc-port 8001"
# What a client has for an input of a kind, in Python.
GIVEN = {PIXELS: 'Path("picture.jpg")', ENCODED: 'Path("picture.jpg")', TEXT: '"A text"'}
HTTP, GRPC = "http://127.0.0.1:8000", "grpc://127.0.0.1:8001"


@dataclass(frozen=True)
class Asking:
    """Ways to ask a model; ``note`` says what is to be done first, or why there are none."""

    note: str = ""
    commands: tuple[str, ...] = ()
    serve: str = ""
    python: str = ""
    curl: str = ""

    def lines(self) -> list[str]:
        """Return the ways as lines to be copied."""
        found = [f"  {line}" for line in textwrap.wrap(self.note, 76)]
        found += [f"  {command}" for command in self.commands]
        served = (("Start a server", self.serve), ("In Python", self.python), ("With curl", self.curl))
        for title, text in served if self.python or self.curl else ():
            if text:
                found += ["", f"  {title}:", "", *(f"    {line}".rstrip() for line in text.splitlines())]
        return found

    def document(self) -> dict[str, Any]:
        """Return the ways for a program."""
        return {
            "note": self.note,
            "commands": list(self.commands),
            "serve": self.serve,
            "python": self.python or None,
            "curl": self.curl or None,
        }


def asking(shown: Shown, options: str) -> Asking:
    """Return the ways to ask a version; ``options`` name the repository, if it is not the default one."""
    if shown.model is None:
        return Asking("`modelrepo infer` lists its inputs, once a server has loaded it" if shown.message else "")
    if shown.in_sequences:
        return Asking(
            "Its requests belong to sequences: ask it with tritonclient's sequence_id, sequence_start and sequence_end"
        )
    name, number = shown.standing.name, shown.version.number
    newest = max(shown.standing.served, default=0)
    version = str(number) if shown.version.served and number != newest else ""
    prepared = shown.preprocess if (shown.preprocess or {}).get("kind") == "image" else None
    one_image = prepared is not None and len(shown.model.inputs) == 1 and not shown.model.inputs[0].kind
    own = options + (f" --version {version}" if version else "")
    promoted = not shown.version.served and shown.record is not None
    first = (f"modelrepo promote {name} {number}{options}",) if promoted else ()
    note = "It is not served" + ("; the first of these serves it" if first else "")
    return Asking(
        "" if shown.version.served else note,
        (*first, *examples(shown.model, None, one_image, own, shown.fills)),
        f"modelrepo serve --model {name}{options} {PORTS}",
        _python(shown.model, shown.fills, version, prepared if one_image else None),
        "" if shown.decoupled else _curl(shown.model, shown.fills, version),
    )


def _python(model: Model, fills: Mapping[str, str | float], version: str, image: Mapping[str, Any] | None) -> str:
    asked = [tensor for tensor in model.inputs if not tensor.optional]
    if any(tensor.datatype == "BF16" for tensor in asked):
        return ""  # numpy has no such type
    given = _dict([f"{json.dumps(tensor.name)}: {GIVEN.get(tensor.kind) or _array(tensor, fills)}" for tensor in asked])
    lines = ["from modelrepo.clients import connect" + (", load_image" if image else "")]
    if image is None:
        needed = {"from pathlib import Path": "Path(", "import numpy as np": "np."}
        needed = {line: use for line, use in needed.items() if use in given}
        lines = [*needed, "", *lines] if needed else lines
    else:
        lines += [
            "",
            "PREPARED = {",
            *(f"    {json.dumps(key)}: {_literal(value)}," for key, value in image.items()),
            "}",
        ]
        given = "{" + f'{json.dumps(asked[0].name)}: load_image("picture.jpg", PREPARED)' + "}"
    labelled = any(output.labels for output in model.outputs)
    call = "classify" if labelled else "infer"
    more = (", top=3" if labelled else "") + (f', version="{version}"' if version else "")
    return "\n".join(
        [
            *lines,
            "",
            f'with connect("{GRPC}") as client:',
            *_call(f"client.{call}(", model.name, given, more),
        ]
    )


def _dict(pairs: Sequence[str]) -> str:
    line = "{" + ", ".join(pairs) + "}"
    return line if len(line) <= 60 else "\n".join(["{", *(f"        {pair}," for pair in pairs), "    }"])


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _call(start: str, name: str, given: str, more: str) -> list[str]:
    line = f"    print({start}{json.dumps(name)}, {given}{more}))"
    if len(line) <= 76 and "\n" not in line:
        return [line]
    return [f"    inputs = {given}", f"    print({start}{json.dumps(name)}, inputs{more}))"]


def _array(tensor: Tensor, fills: Mapping[str, str | float]) -> str:
    shape = tuple(1 if dim == -1 else dim for dim in tensor.dims)
    fill = fills.get(tensor.name)
    if tensor.datatype == "BYTES":
        return f"np.full({shape}, {json.dumps(str(fill or 'text'))}, object)"
    dtype = NUMPY[tensor.datatype]
    return f"np.zeros({shape}, {dtype})" if fill is None else f"np.full({shape}, {fill!r}, {dtype})"


def _curl(model: Model, fills: Mapping[str, str | float], version: str) -> str:
    asked = [tensor for tensor in model.inputs if not tensor.optional]
    values = {tensor.name: example(tensor, fills.get(tensor.name)) for tensor in asked}
    if any(
        tensor.datatype in BINARY or tensor.kind in (PIXELS, ENCODED) or values[tensor.name] is None for tensor in asked
    ):
        return ""
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": [1 if dim == -1 else dim for dim in tensor.dims],
            "data": json.loads(str(values[tensor.name])),
        }
        for tensor in asked
    ]
    body = ",\n  ".join(json.dumps(each) for each in inputs).replace("'", r"'\''")
    where = f"versions/{version}/infer" if version else "infer"
    return f"curl -s {HTTP}/v2/models/{model.name}/{where} -d '\n  {{\"inputs\": [{body}]}}'"
