"""The python backend: model.py, and the environment that it runs in."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelrepo.generator.lint.files import python_code
from modelrepo.generator.lint.files.python_code import PythonCode
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import advised, parameter, place_of, present, served, told
from modelrepo.generator.lint.subject import Case, is_folder
from modelrepo.generator.lint.text import Key

BACKEND: Final = "python"
ENVIRONMENT, FOLDER = "EXECUTION_ENV_PATH", "$$TRITON_MODEL_DIRECTORY"
ACTIVATE = "bin/activate"
FORCE = "FORCE_CPU_ONLY_INPUT_TENSORS"
# What bash does not take as it is written, within an unquoted word.
INTERPRETED = re.compile(r"""[\s|&;()<>`\\"']|\$[\w{(*@#?!$-]|\{[^}]*,[^}]*\}""")


def syntax(case: Case) -> Iterator[Problem]:
    """Find files that are not Python."""
    for path, code in _files(case):
        if code.fault:
            said = f"Triton refuses the model: Python can't read {path.name}: {code.fault}"
            yield Problem(Place(path, code.line), said, advised(told(path), SYNTAX.write))


def class_of(case: Case) -> Iterator[Problem]:
    """Find files without the class that Triton makes an instance of."""
    for path, code in _files(case):
        if not code.fault and not code.has_class:
            said = f"{NO_CLASS[0]}{path.parent.name}.{path.stem}{NO_CLASS[1]}"
            yield Problem(Place(path), f'Triton refuses the model: "{said}"', CLASS.write)


def execute(case: Case) -> Iterator[Problem]:
    """Find classes that can't answer requests."""
    for path, code in _files(case):
        if not code.has_execute:
            said = (
                f"Triton loads the model, and answers every request with an error: {python_code.CLASS} has no execute"
            )
            yield Problem(Place(path, code.line), said, EXECUTE.write)


def environment(case: Case) -> Iterator[Problem]:
    """Find an environment in the model's folder that is not there."""
    found = served(case, BACKEND)
    text = parameter(found.config, ENVIRONMENT) if found else None
    if text is not None and text.startswith(FOLDER):
        path = Path(str(case.model.folder) + text.removeprefix(FOLDER))
        if not is_file(path) and not is_folder(path):
            said = f'Triton refuses the model: "Failed to get the canonical path for {path}."'
            yield Problem(place_of(case, "parameters", Key(ENVIRONMENT)), said, ENV.write)
        elif is_folder(path) and not os.path.lexists(path / ACTIVATE):
            said = f"Path {path.resolve() / ACTIVATE} does not exist. The Python environment should contain an "
            said += "'activate' script."
            place = place_of(case, "parameters", Key(ENVIRONMENT))
            yield Problem(place, f'Triton refuses the model: "{said}"', "Unpack a conda-pack archive there")


def elsewhere(case: Case) -> Iterator[Problem]:
    """Find an environment outside of the model's folder."""
    found = served(case, BACKEND)
    text = parameter(found.config, ENVIRONMENT) if found else None
    if text is not None and not text.startswith(FOLDER):
        said = f"Triton looks for {text} on the server's disk; it is no part of the repository"
        yield Problem(place_of(case, "parameters", Key(ENVIRONMENT)), said, ELSEWHERE.write)


def force(case: Case) -> Iterator[Problem]:
    """Find another word than yes and no."""
    found = served(case, BACKEND)
    text = parameter(found.config, FORCE) if found else None
    if text is not None and text not in ("yes", "no"):
        said = f"Incorrect value for {FORCE}: {text}'"
        yield Problem(place_of(case, "parameters", Key(FORCE)), f'Triton refuses the model: "{said}"', FORCED.write)


def module(case: Case) -> Iterator[Problem]:
    """Find files that can't be imported because of their names."""
    for path, _ in _files(case):
        if path.suffix != ".py":
            said = f"Model name must end with '.py'. Model name is \"{path.name}\"."
        elif "." in path.stem:
            said = f"ModuleNotFoundError: No module named '{path.parent.name}.{path.stem.partition('.')[0]}'"
        else:
            continue
        place = place_of(case, "default_model_filename")
        yield Problem(place, f'Triton refuses the model: "{said}"', MODULE.write)


def shell(case: Case) -> Iterator[Problem]:
    """Find names that bash would read otherwise than they are written."""
    for path, _ in _files(case):
        for name in dict.fromkeys((case.model.name, path.name)):
            if INTERPRETED.search(name):
                says = f"The server waits for ever: it has bash start the model, which interprets {name!r}"
                yield Problem(Place(case.model.folder if name == case.model.name else path), says, SHELL.write)


def _files(case: Case) -> Iterator[tuple[Path, PythonCode]]:
    for path in present(case, BACKEND):
        yield path, case.model.read(python_code.read, path)


NO_CLASS = ("AttributeError: module '", "' has no attribute 'TritonPythonModel'")
SYNTAX = Rule(
    code="PY-SYNTAX",
    severity="error",
    title="model.py is not Python",
    triton="Triton refuses the model with Python's SyntaxError. The server's Python may be of another version than the "
    "one that checks: 3.10 in release 24.10, 3.12 since 24.11.",
    write="Correct the line",
    check=syntax,
    decided_by=BACKEND,
    seen="2.51",
    needs_config=False,
)
CLASS = Rule(
    code="PY-CLASS",
    severity="error",
    title="model.py has no class TritonPythonModel",
    triton=f'Triton refuses the model: "{"1.model".join(NO_CLASS)}".',
    write="Name the class TritonPythonModel",
    check=class_of,
    decided_by=BACKEND,
    seen="2.51",
    needs_config=False,
)
EXECUTE = Rule(
    code="PY-EXECUTE",
    severity="warning",
    title="the class TritonPythonModel has no execute",
    triton="Triton loads the model, and answers every request with an error.",
    write="Write the method execute(self, requests)",
    check=execute,
    decided_by=BACKEND,
    source="python_backend/src/pb_stub.cc",
    needs_config=False,
)
ENV = Rule(
    code="PY-ENV",
    severity="error",
    title="the environment in the model's folder is not there, or is a folder without bin/activate",
    triton='Triton refuses the model: "Failed to get the canonical path for …", or "The Python environment should '
    "contain an 'activate' script.\"",
    write="Copy the conda-pack archive, or the unpacked folder, to that place",
    check=environment,
    decided_by=BACKEND,
    seen="2.51",
)
ELSEWHERE = Rule(
    code="PY-PATH",
    severity="information",
    title="the environment lies outside of the model's folder",
    triton="Triton looks for EXECUTION_ENV_PATH on the disk of the server, where it must be put by hand.",
    write="Copy it into the model's folder, and write $$TRITON_MODEL_DIRECTORY/NAME",
    check=elsewhere,
    decided_by=BACKEND,
    source="python_backend/src/python_be.cc",
)
FORCED = Rule(
    code="PY-FORCE",
    severity="error",
    title="FORCE_CPU_ONLY_INPUT_TENSORS is neither yes nor no",
    triton='Triton refuses the model: "Incorrect value for FORCE_CPU_ONLY_INPUT_TENSORS".',
    write="Write yes or no, in lower case",
    check=force,
    decided_by=BACKEND,
    seen="2.51",
)
MODULE = Rule(
    code="PY-FILE",
    severity="error",
    title="the name of the file is not that of a Python module",
    triton='Triton refuses the model: "Model name must end with \'.py\'", or "No module named …" of a name with two '
    "dots.",
    write="Name the file model.py, or another word with .py, and write it as default_model_filename",
    check=module,
    decided_by=BACKEND,
    seen="2.51",
    needs_config=False,
)
SHELL = Rule(
    code="PY-NAME",
    severity="error",
    title="a name that a shell interprets",
    triton="The python backend has bash start the process of a model, with the path of its file unquoted. With a space "
    "or a quote in it the server waits for ever; with a ';' or '$' bash runs what the name says.",
    write="Name it with letters, digits, '_', '.' and '-'",
    check=shell,
    decided_by=BACKEND,
    seen="2.51",
    needs_config=False,
)
RULES = (SYNTAX, CLASS, EXECUTE, ENV, ELSEWHERE, FORCED, MODULE, SHELL)
