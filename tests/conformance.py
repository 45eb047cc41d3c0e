"""The ONNX project's own test cases, end to end: published by `generate`, served by a real Triton.

`make conformance` runs every case and writes docs/reference/conformance.md; test_conformance.py runs a few. A case is
out if Triton can't express it, or ONNX Runtime itself does not answer it as expected. Every other one must be
published, load, and give the expected answers over gRPC.
"""

import hashlib
import importlib
import json
import re
import sys
import tempfile
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from modelrepo.generator.errors import ConversionError, ModelRepoError, SourceError
from modelrepo.generator.graphs import runtime
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.pipeline import generate
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.options import RunOptions
from modelrepo.server import running_server
from modelrepo.server.running.handle import Server
from tests.kept_rows import KeptRows

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs/reference/conformance.md"
DATA = Path(onnx.__file__).parent / "backend/test/data"
NODES = "onnx.backend.test.case.node"
# The folders of DATA whose cases are a folder each, and what the page calls all kinds.
FOLDERS = ("simple", "pytorch-operator", "pytorch-converted")
KINDS = {
    "node": "one operator",
    "simple": "small graphs",
    "pytorch-operator": "PyTorch operators",
    "pytorch-converted": "models converted from PyTorch",
    "light": "whole networks, their weights replaced by constants",
}
GROUP = 24
ANSWER_SECONDS = 120.0
# What `generate` says of models that are out for what they are, and what the page says of them.
INEXPRESSIBLE = {
    r"is (an? .*): Triton has only tensors": "not a tensor, which is all that Triton has: {0}",
    r"is of type (\w+), which can't be served": "a type that can't be asked or served here: {0}",
    r"has no inputs": "no inputs: Triton serves nothing that can't be asked",
    r"dimension of size 0, which Triton refuses": "a fixed dimension of size 0, which Triton refuses",
    r"declares no shape": "an input that declares no shape, which Triton would take for a scalar",
    r"is in training mode": "in training mode: what it answers depends on what else it is asked",
    r"the file has opset": "newer than Triton's newest ONNX Runtime reads",
}
Values = Any  # an array; or what a sequence or an optional value is in Python, for cases that are out


@dataclass(frozen=True)
class Case:
    """One test case: a model, and data sets of inputs and expected outputs in the order of the graph's."""

    name: str
    kind: str
    model: onnx.ModelProto = field(repr=False)
    data_sets: tuple[tuple[tuple[Values, ...], tuple[Values, ...]], ...] = field(repr=False)
    rtol: float
    atol: float

    def inputs(self, values: Sequence[Values]) -> dict[str, NDArray[Any]]:
        """Return one data set's inputs by name; initializers that are listed as inputs have no value there."""
        initializers = {tensor.name for tensor in self.model.graph.initializer}
        names = [value.name for value in self.model.graph.input if value.name not in initializers]
        return {name: np.asarray(value) for name, value in zip(names, values, strict=False)}

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs."""
        return [value.name for value in self.model.graph.output]


@dataclass(frozen=True)
class Outcome:
    """The result of a case, and why it is out or failed."""

    name: str
    kind: str
    status: Literal["served", "out", "failed"]
    reason: str = ""


def node_cases(modules: Iterable[str] | None = None) -> list[Case]:
    """Return the cases of these modules of onnx.backend.test.case.node, or of all; they are computed on import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = importlib.import_module(NODES)
        if modules is None:
            from onnx.backend.test.loader import load_model_tests

            load_model_tests(kind="node")
        else:
            for module in modules:
                importlib.import_module(f"{NODES}.{module}")
    return [
        Case(case.name, "node", case.model, tuple(map(_values, case.data_sets)), case.rtol, case.atol)
        for case in package._NodeTestCases
    ]


def _values(data_set: Any) -> tuple[tuple[Values, ...], tuple[Values, ...]]:
    inputs, outputs = (
        tuple(numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value for value in values)
        for values in data_set
    )
    return inputs, outputs


def folder_case(kind: str, folder: Path) -> Case:
    """Return the case that a folder of DATA holds as files."""
    model = onnx.load(folder / "model.onnx")
    said = folder / "data.json"
    limits = json.loads(said.read_text()) if said.exists() else {}
    sets = tuple(
        (_read(each, "input", model.graph.input), _read(each, "output", model.graph.output))
        for each in sorted(folder.glob("test_data_set_*"))
    )
    return Case(folder.name, kind, model, sets, limits.get("rtol", 1e-3), limits.get("atol", 1e-7))


def _read(folder: Path, role: str, declared: Sequence[onnx.ValueInfoProto]) -> tuple[Values, ...]:
    values: list[Values] = []
    for position in range(len(list(folder.glob(f"{role}_*.pb")))):
        content = (folder / f"{role}_{position}.pb").read_bytes()
        if declared[position].type.HasField("sequence_type"):
            values.append(numpy_helper.to_list(onnx.SequenceProto.FromString(content)))
        elif declared[position].type.HasField("optional_type"):
            values.append(numpy_helper.to_optional(onnx.OptionalProto.FromString(content)))
        else:
            values.append(numpy_helper.to_array(onnx.TensorProto.FromString(content)))
    return tuple(values)


def light_case(path: Path) -> Case:
    """Return a whole network with the input that onnx's own runner makes for it, and the answer stored beside it."""
    from onnx.backend.test.runner import Runner

    model = onnx.load(path)
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(Runner.generate_dummy_data(value) for value in model.graph.input if value.name not in initializers)
    expected = numpy_helper.to_array(
        onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    )
    limits = json.loads((DATA / "real" / f"test_{path.stem.removeprefix('light_')}" / "data.json").read_text())
    return Case(path.stem, "light", model, ((inputs, (expected,)),), limits.get("rtol", 1e-3), limits.get("atol", 1e-7))


def all_cases() -> list[Case]:
    """Return every case in the installed onnx package, by kind and name."""
    cases = node_cases()
    for kind in FOLDERS:
        cases += [folder_case(kind, file.parent) for file in sorted(DATA.glob(f"{kind}/*/model.onnx"))]
    cases += [light_case(path) for path in sorted(DATA.glob("light/*.onnx"))]
    names = Counter(case.name for case in cases)
    return [replace(case, name=f"{case.name}.{case.kind}") if names[case.name] > 1 else case for case in cases]


def run(cases: Sequence[Case], folder: Path) -> Iterator[Outcome]:
    """Publish these cases in a repository below ``folder``, serve it, and yield the result of each."""
    repository = folder / "models"
    published = []
    for case in cases:
        outcome = publish(case, folder / "sources", repository)
        if outcome:
            yield outcome
        else:
            published.append(case)
    if published:
        with running_server(repository, keep_going=True) as server:
            reasons = {state.name: state.reason for state in server.models() if state.failed}
            for case in published:
                yield _asked(case, server, reasons.get(case.name))


def publish(case: Case, sources: Path, repository: Path) -> Outcome | None:
    """Publish a case as ``generate --model onnx:… --samples …`` does; return its result if it won't be served."""
    path = sources / f"{case.name}.onnx"
    sources.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case.model.SerializeToString())
    failure = _generate(case, path, repository)
    if failure and isinstance(failure, (ConversionError, SourceError)):
        for pattern, reason in INEXPRESSIBLE.items():
            if found := re.search(pattern, failure.message):
                return Outcome(case.name, case.kind, "out", reason.format(*found.groups()))
    disagreement = _runtime_disagreement(case, path)
    if disagreement:
        return Outcome(case.name, case.kind, "out", disagreement)
    return Outcome(case.name, case.kind, "failed", str(failure)) if failure else None


def _generate(case: Case, path: Path, repository: Path) -> ModelRepoError | None:
    """Publish a case with its inputs as samples; return why that failed."""
    flags: dict[str, Any] = {}
    values = [value for inputs, _ in case.data_sets for value in inputs]
    if values and all(isinstance(value, (np.ndarray, np.generic)) for value in values):  # generate refuses others
        flags["samples"] = path.with_suffix(".samples")
        flags["samples"].mkdir(exist_ok=True)
        for position, (inputs, _) in enumerate(case.data_sets):
            arrays = {name: _savable(array) for name, array in case.inputs(inputs).items()}
            np.savez(flags["samples"] / f"{position}.npz", **arrays)  # type: ignore[arg-type]
    name, options = resolve(flags, ConfigFile(), f"onnx:{path}")
    (result,) = generate.generate([Job(name, options)], RunOptions(repository, "off", None), Progress()).results
    return result.failure


def _savable(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as numpy saves it without pickling: strings of a fixed length."""
    return _text(array).astype(np.str_) if array.dtype == np.object_ else array


def _text(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects with every ``bytes`` among them decoded."""
    items = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    decoded = np.empty(len(items), np.object_)
    decoded[:] = items
    return decoded.reshape(array.shape)


def _runtime_disagreement(case: Case, path: Path) -> str | None:
    """Return why ONNX Runtime in this process does not answer a case as expected, or None."""
    try:
        session = runtime.open_session(path)
    except Exception:  # whatever it raises: the case is not for ONNX Runtime
        return "ONNX Runtime does not open the model"
    for inputs, expected in case.data_sets:
        try:
            answers = session.run(case.outputs, case.inputs(inputs))
        except Exception:
            return "ONNX Runtime does not answer the inputs"
        if mismatch(case, expected, dict(zip(case.outputs, answers, strict=True))):
            return "ONNX Runtime answers something else"
    return None


def _asked(case: Case, server: Server, load_failure: str | None) -> Outcome:
    """Query a served case, and compare its answers with the expected ones."""
    if load_failure:
        return Outcome(case.name, case.kind, "failed", f"Triton can't load it: {load_failure}")
    for inputs, expected in case.data_sets:
        try:
            difference = mismatch(case, expected, _served_answers(case, server, case.inputs(inputs)))
        except Exception as error:  # tritonclient's, gRPC's, or numpy's for an answer that is malformed
            difference = f"{type(error).__name__}: {error}".partition("\n")[0]
        if difference:
            return Outcome(case.name, case.kind, "failed", difference)
    return Outcome(case.name, case.kind, "served")


def _served_answers(case: Case, server: Server, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Query over gRPC; a scalar is sent as one value in one dimension, as its configuration says."""
    from tritonclient import grpc
    from tritonclient.utils import np_to_triton_dtype

    tensors = []
    for name, array in inputs.items():
        sent = array if array.ndim else array.reshape(1)
        tensor = grpc.InferInput(name, sent.shape, np_to_triton_dtype(sent.dtype))
        tensor.set_data_from_numpy(sent)
        tensors.append(tensor)
    with grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client:
        answer = client.infer(case.name, tensors, client_timeout=ANSWER_SECONDS)
        return {name: answer.as_numpy(name) for name in case.outputs}


def mismatch(case: Case, expected: Sequence[Values], answers: dict[str, Any]) -> str | None:
    """Return how answers differ from the expected ones; None if they are within the limits."""
    for name, wanted in zip(case.outputs, expected, strict=False):
        try:
            _check(case, name, wanted, answers[name])
        except AssertionError as error:
            return " ".join(str(error).split())[:300]
    return None


def _check(case: Case, name: str, wanted: Values, got: Values) -> None:
    if not isinstance(wanted, (np.ndarray, np.generic)):
        raise AssertionError(f"{name} is no tensor")
    wanted, got = np.asarray(wanted), np.asarray(got)
    if not wanted.ndim and got.shape == (1,):
        got = got.reshape(())
    np.testing.assert_equal(got.shape, wanted.shape, f"shape of {name}")
    if wanted.dtype.kind in "OUS":
        np.testing.assert_array_equal(_text(got.astype(object)), _text(wanted.astype(object)), name)
        return
    np.testing.assert_equal(got.dtype, wanted.dtype, f"type of {name}")
    np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=case.atol, err_msg=name)


def kept_outcomes(fresh: bool) -> KeptRows[Outcome]:
    """Return the results of runs with the same code and packages; they are kept beside the temporary files."""
    return KeptRows(Path(tempfile.gettempdir()) / f"modelrepo-conformance-{_fingerprint()}.jsonl", Outcome, fresh)


def _fingerprint() -> str:
    digest = hashlib.sha256(repr([metadata.version(name) for name in ("onnx", "onnxruntime", "numpy")]).encode())
    files = [
        Path(__file__),
        *(file for room in ("generator", "server", "templates") for file in (PROJECT / room).rglob("*")),
    ]
    for file in sorted(file for file in files if file.suffix in (".py", ".j2")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the text of docs/reference/conformance.md."""
    rows = []
    for kind, title in KINDS.items():
        count = Counter(outcome.status for outcome in outcomes if outcome.kind == kind)
        rows.append(f"| {title} | {count.total()} | {count['served']} | {count['failed']} | {count['out']} |\n")
    total = Counter(outcome.status for outcome in outcomes)
    rows.append(f"| **all** | {total.total()} | {total['served']} | {total['failed']} | {total['out']} |\n")
    reasons: dict[str, list[str]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.name):
        if outcome.status == "out":
            reasons.setdefault(outcome.reason, []).append(outcome.name)
    failed = [f"- `{outcome.name}`: {outcome.reason}\n" for outcome in outcomes if outcome.status == "failed"]
    out = [
        f"### {reason[0].upper()}{reason[1:]} ({len(names)})\n\n{_filled(names)}\n\n"
        for reason, names in sorted(reasons.items(), key=lambda pair: -len(pair[1]))
    ]
    return (
        HEAD.format(onnx=metadata.version("onnx"), onnxruntime=metadata.version("onnxruntime"))
        + "".join([*rows, "\n## Failed\n\n", *(failed or ["None.\n"]), "\n## Out\n\n", *out]).rstrip()
        + "\n"
    )


def _filled(names: Sequence[str]) -> str:
    return textwrap.fill(" ".join(f"`{name}`" for name in names), 120, break_long_words=False, break_on_hyphens=False)


HEAD = """# Conformance

<!-- Made by: make conformance -->

The `onnx` package carries test cases with inputs and expected outputs, written by others. Each is published with
`generate --model onnx:…` and its inputs as samples, served by a real Triton on the CPU, and asked over gRPC; *served*
counts those whose answers are the expected ones, within the limits of the case. Out is what ONNX Runtime itself does
not answer as expected, asked in process, and what Triton can't express. onnx {onnx}, ONNX Runtime {onnxruntime}.

| cases | all | served | failed | out |
|---|---|---|---|---|
"""


@click.command()
@click.option("--only", default="", help="Only cases whose name matches this expression; the page is left alone.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run has found.")
def main(only: str, fresh: bool) -> None:
    """Publish, serve and query every case; write the page; exit with 1 if one failed."""
    state = kept_outcomes(fresh)
    done = {outcome.name for outcome in state.rows}
    cases = [case for case in all_cases() if re.search(only, case.name)]
    waiting = [case for case in cases if case.name not in done]
    start = time.monotonic()
    for position in range(0, len(waiting), GROUP):
        with tempfile.TemporaryDirectory(prefix="modelrepo-conformance-") as folder:
            for outcome in run(waiting[position : position + GROUP], Path(folder)):
                state.add(outcome)
                if outcome.status == "failed":
                    click.echo(f"FAILED {outcome.name}: {outcome.reason}", err=True)
        count = min(position + GROUP, len(waiting))
        click.echo(f"{len(cases) - len(waiting) + count} of {len(cases)}, {time.monotonic() - start:.0f} s", err=True)
    names = {case.name for case in cases}
    found = [outcome for outcome in state.rows if outcome.name in names]
    if not only:
        PAGE.write_text(page(found), "utf-8")
    counts = Counter(outcome.status for outcome in found)
    click.echo(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
