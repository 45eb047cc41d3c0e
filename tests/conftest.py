"""What every test may use: a folder to work in, the command line, and a framework small enough to export at once."""

import functools
import gc
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import hypothesis
import pytest

from modelrepo.cli.commands import generate as generate_command
from modelrepo.cli.terminal import errors
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.specs.artifacts import ONNX
from tests import numpy_framework

# A worker of xdist has one core, and so has what it starts: threads that wait for each other there only burn it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]
GOLDENS = Path(__file__).parent / "goldens"
# After so many more imported modules it is worth collecting what is garbage, and sparing the rest from then on.
IMPORTED = 50
_imported = 0
# What takes longest comes first, or one worker would be left alone with it in the end.
LONGEST = (
    "tests/test_docs.py",
    "tests/perf/scenarios",
    "tests/generator/sources/test_tensorflow.py",
    "tests/perf/test_bench.py",
    "tests/generator/sources/test_torchvision_tasks.py",
    "tests/generator/sources/test_hf.py",
    "tests/server/checking",
    "tests/generator/plans",
    "tests/generator/sources",
    "tests/generator/export",
    "tests/server",
    "tests/perf",
)
# The exporter that needs a fifth of the time, for tests of what comes before and after an export.
QUICK_EXPORT = ("--exporter", "torchscript")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="Write the golden files anew.")


def pytest_configure() -> None:
    """Make interrupts work as at a terminal: behind `nohup … &` they are ignored, also by processes that a test starts.

    Hypothesis has no deadlines: they would measure how busy the machine is.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=too_slow)
    hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal out the longest modules first; alone, tests run in the order of their files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: [*(item.nodeid.startswith(name) for name in LONGEST), True].index(True))


@pytest.fixture(autouse=True, scope="module")
def _spared_by_a_module() -> None:
    spare(0)


@pytest.fixture(autouse=True)
def _spared_by_a_test() -> None:
    spare(IMPORTED)


def spare(imported: int) -> None:
    """Leave what is there out of garbage collection, if so many modules were imported since.

    `generate` collects several times a model.
    """
    global _imported
    if len(sys.modules) >= _imported + imported:
        gc.collect()
        gc.freeze()
        _imported = len(sys.modules)
        _list_operators_once()


def _list_operators_once() -> None:
    """Keep torch's exporter from listing all of onnxscript's operators, always the same, for every model anew."""
    for name, module in list(sys.modules.items()):
        if name.startswith("onnxscript._framework_apis."):
            listing = getattr(module, "get_torchlib_ops", None)
            if listing and not hasattr(listing, "cache_info"):
                module.get_torchlib_ops = functools.cache(listing)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def result(self) -> dict[str, Any]:
        (only,) = self.report["results"]
        assert isinstance(only, dict)
        return only


Generate = Callable[..., Outcome]
ModelRepo = Callable[..., Outcome]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def generate(workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Generate:
    """Run `generate` in this process, in an empty folder; without a server, unless the test asks for one."""

    def run(*arguments: str) -> Outcome:
        if "--live-check" not in arguments:
            arguments = (*arguments, "--live-check", "off")
        spare(IMPORTED)
        monkeypatch.setattr(sys, "argv", ["generate", *arguments])
        capsys.readouterr()
        code = errors.run(generate_command.generate, "generate")
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def modelrepo(workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ModelRepo:
    """Run a verb of `modelrepo` in this process, in an empty folder."""

    def run(command: click.Command, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["modelrepo", *arguments])
        capsys.readouterr()
        code = errors.run(command, f"modelrepo {command.name}")
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def numpy_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `numpy:NAME` a source: the models of tests/numpy_framework.py."""
    monkeypatch.setitem(SOURCES, "numpy", numpy_framework.SOURCE)
    monkeypatch.setitem(EXPORTERS, ("numpy", ONNX), numpy_framework.TO_ONNX)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a golden file, or write it with --update-goldens."""

    def compare(name: str, text: str) -> None:
        path = GOLDENS / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")

    return compare


def assert_refused(outcome: Outcome, code: int, message: str) -> None:
    """Assert that a command failed with this exit code, and one line that holds the message."""
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def of_any_torch(message: str) -> str:
    """Return a message without what differs between releases of PyTorch: the number, and its names of operators."""
    return re.sub(r"Error: addmm: ", "Error: ", re.sub(r"torch \d[\w.+]*", "torch VERSION", message))


def snapshot(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return everything below a folder: kind and content by relative path."""
    content = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            content[name] = ("link", str(path.readlink()).encode())
        else:
            content[name] = ("folder", b"") if path.is_dir() else ("file", path.read_bytes())
    return content
