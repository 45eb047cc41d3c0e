"""The house stays as it was built: imports run one way, heavy ones are late, packages are whole."""

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import structure
from tests.conftest import PROJECT

# Folders of tests that are long runs of their own: `make coverage` and its kin.
SUITES = (
    ("coverage",),
    ("mutation",),
    ("random_models",),
    ("real_models",),
    ("foreign",),
    ("neighbours",),
    ("differential",),
    ("reliability",),
)
HEAVY = {
    *("torch", "torchvision", "onnx", "onnx_ir", "onnxruntime", "tritonclient", "google", "jinja2"),
    *("plotly", "plotext", "psutil", "prometheus_client"),
    *("onnxslim", "polygraphy", "sympy", "tensorrt", "tensorrt_rtx"),
    *("timm", "transformers", "huggingface_hub", "tensorflow", "keras", "tf2onnx"),
    *("sklearn", "skl2onnx", "onnxmltools", "xgboost", "lightgbm", "skops", "joblib", "pandas", "pyarrow"),
}


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_imports_run_one_way() -> None:
    assert not structure.against(structure.order())


def test_the_block_of_contributing_names_every_room_once() -> None:
    named = [room for line in structure.order() for room in line]
    assert sorted(named) == sorted({room for pair in structure.arrows() for room in pair})


def test_the_map_of_contributing_is_made_from_the_docstrings(request: pytest.FixtureRequest) -> None:
    page = PROJECT / "CONTRIBUTING.md"
    rows = "".join(f"| `{folder}/` | {purpose} |\n" for folder, purpose in structure.purposes().items())
    made = re.sub(
        r"(\|---\|---\|\n).*?(<!-- end -->)", lambda m: m[1] + rows + m[2], page.read_text("utf-8"), flags=re.DOTALL
    )
    if request.config.getoption("--update-goldens"):
        page.write_text(made, "utf-8")
    assert page.read_text("utf-8") == made


def test_an_import_against_the_direction_is_found() -> None:
    upside_down = structure.order()[::-1]
    assert "generator/pipeline/generate.py" in {str(each.file) for each in structure.against(upside_down)}


def test_generator_holds_no_loose_modules() -> None:
    loose = {file.name for file in (PROJECT / "generator").glob("*.py")}
    assert loose == {"__init__.py", "errors.py", "progress.py"}


def test_the_tests_lie_in_folders_that_mirror_the_rooms() -> None:
    tests = PROJECT / "tests"
    for file in tests.rglob("test_*.py"):
        folder = file.parent.relative_to(tests)
        assert folder.parts == () or folder.parts in SUITES or (PROJECT / folder).is_dir(), file


def test_our_packages_are_imported_as_modelrepo_only() -> None:
    for folder in (*structure.FOLDERS, "benchmarks", "deploy", "tests"):
        for file in (PROJECT / folder).rglob("*.py"):
            assert not imports(ast.parse(file.read_text())) & set(structure.FOLDERS), file


@pytest.mark.parametrize("room", ["cli", "clients", "generator", "perf"])
def test_heavy_packages_are_imported_inside_the_functions_that_use_them(room: str) -> None:
    for file in (PROJECT / room).rglob("*.py"):
        tree = ast.parse(file.read_text())
        at_import = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
        assert not imports(at_import) & HEAVY, file


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from modelrepo.cli.commands import generate; from modelrepo.cli.terminal import errors\n"
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
    assert {entry.name for entry in installed.iterdir() if entry.suffix == ""} == {"modelrepo"}
    script = (
        "import modelrepo.cli.main, modelrepo.generator.pipeline.generate, modelrepo.clients\n"
        "from modelrepo.generator.configuration import writer\n"
        "from modelrepo.generator.system.templates import TEMPLATES\n"
        "from modelrepo.perf.scenarios import scenario\n"
        "from modelrepo.server.running import local\n"
        "assert writer.__file__.startswith(sys.path[0]), writer.__file__\n"
        "writer.ConfigWriter()\n"
        "assert (TEMPLATES / 'client.py.j2').is_file() and (TEMPLATES / 'report.html.j2').is_file()\n"
        "assert scenario.read('ramp').phases\n"
        "assert local.backends() == ('onnxruntime',)\n"
        "assert (local.BACKENDS_FOLDER.parent / 'running/guardian.py').is_file()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_the_sdist_has_every_module_of_the_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/src/modelrepo/")[2] for name in archive.getnames() if name.endswith(".py")} - {""}
    assert packed == {"__init__.py", *(file.as_posix() for file in structure.files())}
