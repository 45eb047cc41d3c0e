"""Cases given to the real server and to the linter, and whether the two agree."""

import os
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf import json_format, text_format

from modelrepo.generator.errors import RepositoryError, ServerError
from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.normalized import normalized
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.lint.text import read
from modelrepo.generator.triton.releases import release_named
from modelrepo.server import running_server
from tests.differential.case import Case
from tests.differential.verdicts import LIGHT, Verdict, light_backend

# What the server of these trials is: Triton 2.51 on a machine without a GPU.
RELEASE = "24.10"
HOST = Host(release_named(RELEASE), gpus=0)
# The smallest backend stands in for each of these: the core then judges as it would, and nothing runs.
BACKENDS = (
    *(LIGHT, "onnxruntime", "tensorrt", "pytorch", "openvino", "tensorflow", "python", "dali", "fil", "vllm"),
    *("tensorrtllm", "identity", "repeat", "square", "sequence", "dyna_sequence", "implicit_state", "custom"),
    *("nvtabular", "hugectr"),
)
# The fields by which the core finds the backend.
BACKEND_FIELDS = ("backend", "platform", "default_model_filename", "runtime")
# Models of one server at a time.
TOGETHER = 400
# A server that has not started by then never will: some configurations ask for all memory there is.
SECONDS = 15
# Errors that end the server: their cases are tried alone, or the one that ended it must be searched for.
KILLS = {"AGENT-NONE", "METRIC-TAG"}
# What bytes that are no text become in our reading. Triton's JSON leaves them out, and may be others behind them.
NO_TEXT = "\ufffd"
# How it is said that a repository ended the server.
DIES = re.compile("Triton (was killed|ended|does not answer)|it does not answer")
# Models with these files are given to the real backend, a second each. It decides then, too.
REAL = ("model.py", "model.onnx")
REAL_DECIDERS = ("core", "backend", "python", "onnxruntime")


@dataclass(frozen=True)
class Outcome:
    """What was said of one model: by the server, and by the linter."""

    name: str
    config: str | None
    verdict: Verdict
    errors: tuple[str, ...]  # codes that this server can decide
    undecided: tuple[str, ...] = ()  # codes that only something else can decide
    expected: tuple[str, ...] | None = None  # codes that the corpus asks for; None: it asks for none
    completed: Mapping[str, Any] = field(default_factory=dict)  # the configuration that a loaded model has
    calls_decoupled: bool = False  # whether it is an ensemble of one that is decoupled

    @cached_property
    def otherwise(self) -> str:
        """How the configuration that we predict differs from the one that Triton has; empty if it does not."""
        parsed = read(Path(self.name), self.config or "").message if self.completed else None
        if parsed is None or NO_TEXT in str(text_format.MessageToString(parsed, as_utf8=True)):
            return ""
        real = json_format.ParseDict(dict(self.completed), type(parsed)(), ignore_unknown_fields=True)
        for each in BACKEND_FIELDS:  # what is guessed from files is not compared here
            setattr(parsed, each, getattr(real, each))
        ours = json_format.MessageToDict(normalized(parsed, self.name, HOST, self.calls_decoupled))
        theirs = json_format.MessageToDict(real)
        fields = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        return ", ".join(f"{key}: {ours.get(key)}, but Triton has {theirs.get(key)}" for key in fields)

    @property
    def agrees(self) -> bool:
        """Whether an error is found exactly if Triton refuses the model."""
        return self.verdict.loads != bool(self.errors)

    def __str__(self) -> str:
        said = "loads" if self.verdict.loads else f"is refused: {self.verdict.reason}"
        return f"{self.name} {said}; errors found: {', '.join(self.errors) or 'none'}"


def is_real(case: Case) -> bool:
    """Whether a case is for a backend that really runs it."""
    return any(set(Path(name).parts) & set(REAL) for name in case.files) or any(map(is_real, case.others.values()))


def judged(cases: Iterable[Case]) -> Iterator[Outcome]:
    """Yield what is said of each model of each case."""
    ready = list(cases)
    for case in ready:
        if case.alone:
            yield from _tried([case])
    for real in (False, True):
        for group in _groups([case for case in ready if not case.alone and is_real(case) == real]):
            yield from _tried(group)


def _groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Return cases that can share a repository: no two of them have a model of the same name."""
    groups: list[tuple[set[str], list[Case]]] = []
    for case in cases:
        names = {case.name, *case.others}
        fitting = (own for taken, own in groups if len(own) < TOGETHER and not names & taken)
        group = next(fitting, None)
        if group is None:
            groups.append((set(names), [case]))
        else:
            group.append(case)
            next(taken for taken, own in groups if own is group).update(names)
    return [own for _, own in groups]


def _tried(cases: Sequence[Case]) -> list[Outcome]:
    """Return what is said of cases in one repository; if the server does not start with it, of each half of it."""
    with TemporaryDirectory(prefix="differential-") as folder:
        root = Path(folder) / "models"
        root.mkdir()
        library = light_backend(Path(folder))
        models = {name: model for case in cases for name, model in ((case.name, case), *case.others.items())}
        for name, model in models.items():
            lay(root / name, model, library)
        found = said(root, models)
        try:
            verdicts, completed = asked(root, models)
        except RepositoryError:  # a name that a shell would interpret: we serve nothing of the kind
            return _halves(cases) if len(cases) > 1 else []
        except ServerError as error:
            if not DIES.match(error.message):
                raise
            deadly = [
                case
                for case in cases
                if KILLS & {code for name in (case.name, *case.others) for code in found[name][0]}
            ]
            if deadly and len(deadly) < len(cases):
                others = [case for case in cases if case not in deadly]
                return [*_tried(others), *(outcome for case in deadly for outcome in _tried([case]))]
            if len(cases) > 1:
                return _halves(cases)
            verdict = Verdict(False, f"the server does not start: {error.message}")
            errors = tuple(sorted({code for codes, _ in found.values() for code in codes}))
            return [Outcome(cases[0].name, cases[0].config, verdict, errors, (), cases[0].errors)]
        asked_for = {case.name: case.errors for case in cases}
        return [
            Outcome(
                name,
                model.config,
                verdicts.get(name, Verdict(False, "it is not listed")),
                *found[name],
                asked_for.get(name),
                completed.get(name, {}),
                any(_is_decoupled(completed.get(step["model_name"], {})) for step in _steps(completed.get(name, {}))),
            )
            for name, model in models.items()
        ]


def _steps(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    steps: Sequence[Mapping[str, Any]] = config.get("ensemble_scheduling", {}).get("step", ())
    return steps


def _is_decoupled(config: Mapping[str, Any]) -> bool:
    return bool(config.get("model_transaction_policy", {}).get("decoupled"))


def _halves(cases: Sequence[Case]) -> list[Outcome]:
    middle = len(cases) // 2
    return _tried(cases[:middle]) + _tried(cases[middle:])


def asked(root: Path, models: Iterable[str]) -> tuple[dict[str, Verdict], dict[str, dict[str, Any]]]:
    """Return the real server's verdict on each model, and the configurations of those that it serves."""
    with within(SECONDS), running_server(root, runtime="local", auto_complete=True, keep_going=True) as server:
        found: dict[str, Verdict] = {}
        for state in server.models():
            loads = state.state == "READY"
            if state.name not in found or loads:
                found[state.name] = Verdict(loads, "" if loads else state.reason)
        return found, {name: server.config(name) for name in models if name in found and found[name].loads}


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise ServerError if the block is not done in time."""

    def late(*_: object) -> None:
        raise ServerError(f"it does not answer in {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def said(root: Path, models: Mapping[str, Case]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the codes of the linter's errors for each model: those that this server decides, and the others."""
    deciders = {rule.code: rule.decided_by for rule in rules()}
    found = {name: (set[str](), set[str]()) for name in models}
    for finding in check(root, [HOST]):
        if finding.severity == "error":
            for name in (finding.model,) if finding.model in found else tuple(found):
                here = REAL_DECIDERS if is_real(models[name]) else ("core",)
                found[name][deciders[finding.code] not in here].add(finding.code)
    return {name: (tuple(sorted(errors)), tuple(sorted(others))) for name, (errors, others) in found.items()}


def lay(folder: Path, case: Case, library: Path) -> None:
    """Write a model; unless it is for a real backend, with a library for each backend that it may name."""
    folder.mkdir(parents=True)
    if case.config is not None:
        (folder / "config.pbtxt").write_bytes(case.config.encode("utf-8", errors="surrogateescape"))
    for version in case.versions:
        (folder / version).mkdir()
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for backend in () if is_real(case) else BACKENDS:
        os.link(library, folder / f"libtriton_{backend}.so")
