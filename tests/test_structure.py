"""The house stays as it was built: imports run one way, heavy ones are late, packages are whole."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import PROJECT

# A room, and what it must never import.
FORBIDDEN = {
    "generator": {"cli", "perf", "server"},
    "clients": {"cli", "perf", "server", "generator"},
    "server": {"cli", "perf"},
    "perf": {"cli"},
}
HEAVY = {
    *("torch", "torchvision", "onnx", "onnx_ir", "onnxruntime", "tritonclient", "google", "jinja2"),
    *("plotly", "plotext", "psutil", "prometheus_client"),
    *("onnxslim", "polygraphy", "sympy", "tensorrt", "tensorrt_rtx"),
    *("timm", "transformers", "huggingface_hub", "tensorflow", "keras", "tf2onnx"),
    *("sklearn", "skl2onnx", "onnxmltools", "xgboost", "lightgbm", "skops", "joblib", "pandas"),
}


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_run_one_way(room: str) -> None:
    for file in (PROJECT / room).rglob("*.py"):
        assert not imports(ast.parse(file.read_text())) & FORBIDDEN[room], file


@pytest.mark.parametrize("room", ["cli", "clients", "generator", "perf"])
def test_heavy_packages_are_imported_inside_the_functions_that_use_them(room: str) -> None:
    for file in (PROJECT / room).rglob("*.py"):
        tree = ast.parse(file.read_text())
        at_import = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
        assert not imports(at_import) & HEAVY, file


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from cli.commands import generate; from cli.terminal import errors\n"
        "sys.argv = ['generate', '--help']\n"
        "assert errors.run(generate.generate, 'generate') == 0\n"
        f"heavy = {HEAVY | {'numpy', 'rich'}} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stderr


def test_the_wheel_holds_everything_that_generate_needs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert list(installed.glob("*.data/data/share/doc/modelrepo/docs/how-to/when-export-fails.md")), "messages name it"
    script = (
        "import generator.configuration.decisions as config, cli.main, generator.pipeline.generate, clients\n"
        "from server.running import local\n"
        "assert config.__file__.startswith(sys.path[0]), config.__file__\n"
        "config.ConfigWriter()\n"
        "assert (config.TEMPLATES / 'client.py.j2').is_file()\n"
        "from perf.scenarios import scenario\n"
        "assert scenario.read('ramp').phases and (config.TEMPLATES / 'report.html.j2').is_file()\n"
        "assert local.backends() == ('onnxruntime',)\n"
        "assert (local.BACKENDS.parent / 'running/guardian.py').is_file()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
