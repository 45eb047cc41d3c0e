"""The documentation can't rot: its commands are run, its reference pages are made from the code."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from modelrepo.cli.commands.bench import bench
from modelrepo.cli.commands.check import check
from modelrepo.cli.commands.compare import compare
from modelrepo.cli.commands.diff import diff
from modelrepo.cli.commands.generate import generate
from modelrepo.cli.commands.infer import infer
from modelrepo.cli.commands.inspect import inspect
from modelrepo.cli.commands.models import models
from modelrepo.cli.commands.promote import promote
from modelrepo.cli.commands.prune import prune
from modelrepo.cli.commands.remove import remove
from modelrepo.cli.commands.rollback import rollback
from modelrepo.cli.commands.serve import serve
from modelrepo.cli.commands.show import show
from modelrepo.cli.commands.smoke import smoke
from modelrepo.cli.commands.versions import versions
from modelrepo.generator.options.ensembles import ENSEMBLE_KEYS, SCHEME_KEYS, STEP_KEYS
from modelrepo.generator.options.fields import FIELDS
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.specs.options import Instances, Tolerance, VersionPolicy
from modelrepo.generator.triton.releases import NEWEST, RELEASES
from modelrepo.server.binaries import runtime
from tests.conftest import PROJECT
from tests.served_models import write_repository

REFERENCE = PROJECT / "docs/reference"
# Those that follow the same path through another source or option than the README and the tutorial are slow tests.
SLOW_PAGES = (
    "docs/how-to/ask-a-model.md",
    "docs/how-to/lower-the-precision.md",
    "docs/how-to/tensorflow-models.md",
    "docs/how-to/scikit-learn.md",
    "docs/how-to/hugging-face.md",
    "docs/how-to/image-models.md",
)
PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/how-to/roll-back-a-model.md",
    "docs/how-to/automate.md",
    "docs/how-to/check-a-repository.md",
    "docs/how-to/hand-a-repository-over.md",
    "docs/how-to/look-at-a-model.md",
    "docs/how-to/pytorch-models.md",
    "docs/how-to/python-steps.md",
    "docs/how-to/combine-models.md",
    "docs/how-to/small-model-first.md",
    "docs/how-to/onnx-file.md",
    "docs/how-to/answer-with-labels.md",
    "docs/how-to/verify-on-your-data.md",
    "docs/how-to/smoke-test-a-server.md",
    "docs/how-to/wire-models-together.md",
)


def steps(page: Path) -> list[tuple[str, list[str]]]:
    """Return the commands of a page's console blocks, each with the lines that are to be seen."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> re.Pattern[str]:
    """Make "…" stand for anything: within a line, or, alone in a line, for all that follows."""
    regex = "\n".join(re.escape(line.rstrip()).replace("…", ".*") for line in lines)
    regex = re.sub(r"(\\ )+", " +", regex)  # columns are as wide as their content
    return re.compile(regex.removesuffix("\n.*") + (r"(\n.*)*" if lines and lines[-1] == "…" else ""))


def runnable(command: str) -> str:
    """Return what a command comes to here: `make demo` is what make says it would run, without the set-up."""
    if command.startswith("make "):
        dry = ["make", "--dry-run", "--always-make", "-C", str(PROJECT), *command.split()[1:]]
        lines = subprocess.run(dry, capture_output=True, text=True, check=True).stdout.splitlines()
        command = next(line for line in reversed(lines) if line.startswith(".venv/bin/"))
    return command.replace(".venv/bin/", "")


@pytest.mark.parametrize(
    "name",
    [*PAGES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_PAGES)],
    ids=lambda name: Path(name).name,
)
def test_what_a_page_shows_is_what_happens(name: str, tmp_path: Path) -> None:
    page = PROJECT / name
    if page.name == "README.md":
        shutil.copy(PROJECT / "modelrepo.toml", tmp_path)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TORCH_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",  # weights can't be downloaded, here as anywhere
    }
    runtime.ensure(Progress())  # the pages show what is seen once Triton was fetched
    ran = 0
    for command, shown in steps(page):
        run = subprocess.run(
            ["/bin/bash", "-c", runnable(command)],
            cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        printed = "\n".join(line.strip() if line[:1] == " " and " s  " in line else line.rstrip()
                            for line in run.stdout.rstrip("\n").splitlines())  # fmt: skip
        assert pattern(shown).fullmatch(printed), f"$ {command}\n{printed}"
        ran += 1
    assert ran


def test_the_python_of_a_page_runs(tmp_path: Path) -> None:
    write_repository(tmp_path / "model_repository")
    page = (PROJECT / "docs/how-to/serve-a-repository.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "IndexEntry(name='linear'" in run.stdout, run.stderr


def test_the_readme_tells_the_figure_of_the_conformance_page() -> None:
    page = (REFERENCE / "conformance.md").read_text("utf-8")
    served = re.search(r"^\| \*\*all\*\* \| \d+ \| (\d+) \| 0 \|", page, re.MULTILINE)
    assert served
    assert f"{int(served[1]):,} cases" in (PROJECT / "README.md").read_text("utf-8")


def reference_page(title: str, text: str) -> str:
    return f"# {title}\n\n<!-- Made from the code: pytest --update-goldens -->\n\n{text}"


def check_page(update: bool, name: str, text: str) -> None:
    if update:
        (REFERENCE / name).write_text(text, "utf-8")
    assert (REFERENCE / name).read_text("utf-8") == text


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-goldens"))


@pytest.mark.parametrize(
    "command",
    [
        *(
            generate,
            models,
            check,
            inspect,
            serve,
            infer,
            show,
            versions,
            diff,
            rollback,
            promote,
            prune,
            remove,
            smoke,
        ),
        *(bench, compare),
    ],
    ids=lambda command: command.name,
)
def test_the_reference_shows_the_help(command: click.Command, update: bool) -> None:
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    called = "generate" if command is generate else f"modelrepo {command.name}"
    with click.Context(command, info_name=called, **settings) as context:
        shown = command.get_help(context)
    check_page(update, f"{command.name}.md", reference_page(str(command.name), f"```\n{shown.rstrip()}\n```\n"))


def written(value: object) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case VersionPolicy() | Instances() | Tolerance():
            return f"`{getattr(value, 'kind', value)}`"
        case tuple():
            return f"`{list(map(str, value))}`".replace("'", '"')
        case _:
            return f"`{value}`"


def test_the_reference_lists_every_key_of_the_file(update: bool) -> None:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in FIELDS.items():
        where = " Only outside a table." if field.run else " Only in a table." if name == "model" else ""
        rows.append(f"| `{name}` | {written(field.default)} | {field.help}{where} |")
    text = (
        "Keys outside a table apply to all models. Keys in `[models.NAME]` apply to one model; see "
        "[many models](../how-to/many-models.md). Lists are TOML lists or comma-separated text. Paths are relative to "
        "the file. An unknown key is an error.\n\n" + "\n".join(rows) + "\n" + ensembles_text()
    )
    check_page(update, "modelrepo-toml.md", reference_page("modelrepo.toml", text))


def ensembles_text() -> str:
    """Return the part on the keys of ensembles."""
    tables = [("`[ensembles.NAME]`", ENSEMBLE_KEYS), ("`[[ensembles.NAME.steps]]`", STEP_KEYS)]
    tables += [(f"Steps with `use = '{scheme}:…'`", keys) for scheme, keys in SCHEME_KEYS.items() if scheme and keys]
    parts = ["\n## Ensembles\n\nSee [models wired together](../how-to/wire-models-together.md).\n"]
    for title, keys in tables:
        rows = [f"| `{name}` | {written_key(key.default)} | {key.help} |" for name, key in keys.items()]
        parts.append("\n".join([f"\n{title}\n", "| key | default | meaning |", "|---|---|---|", *rows, ""]))
    return "".join(parts)


def written_key(value: object) -> str:
    return "" if value in (None, (), {}) else written(value)


def test_the_reference_lists_every_source(update: bool) -> None:
    rows = ["| `--model` | source | extra | framework | own options |", "|---|---|---|---|---|"]
    for source in SOURCES.values():
        extras = " or ".join(f"`{extra.name}`" for extra in source.extras) or "none"
        options = ", ".join(f"`--{name.replace('_', '-')}`" for name in source.options)
        frameworks = ", ".join(source.frameworks)
        form = ", ".join(f"`{each}`" for each in source.form.split(", or "))
        rows.append(f"| {form} | {source.summary} | {extras} | {frameworks} | {options} |")
    text = (
        "The values of `generate --model`, and of `model` in [modelrepo.toml](modelrepo-toml.md). Paths are relative "
        "to the current folder; in `modelrepo.toml` they are relative to that file. An option that does not apply to a "
        "source is refused. Install an extra with `pip install '.[EXTRA]'` in the clone. "
        "[modelrepo models](models.md) lists the names.\n\n"
        "Without a scheme, a name that torchvision lists is its model, even if a file or folder has the same name: "
        "that is then `./NAME`. A file or folder is told by its content, not by its suffix: `--model net.onnx` is the "
        "same as `--model onnx:net.onnx`, and a line says so. A folder can be a SavedModel or a model of Hugging Face, "
        "or hold one model file. If it could be several models, the message names each. For a file that is not a model "
        "by itself, such as weights without their network, the message names the command that serves it.\n\n"
        + "\n".join(rows)
        + "\n"
    )
    check_page(update, "sources.md", reference_page("Sources", text))


def test_the_reference_lists_the_releases(update: bool) -> None:
    rows = [
        "| container | Triton | ONNX Runtime | opset up to | IR up to | TensorRT (hint) | CUDA | driver from |",
        "|---|---|---|---|---|---|---|---|",
    ]
    unknown = "not known"
    rows += [
        f"| {r.container} | {r.triton} | {r.onnxruntime or unknown} | {r.max_opset} | {r.max_ir} "
        f"| {r.tensorrt or unknown} | {r.cuda or unknown} | {r.min_driver if r.cuda else unknown} |"
        for r in RELEASES.values()
    ]
    text = (
        f"The values of `--target-release`. The default is {NEWEST}, the newest whose ONNX Runtime is known.\n\n"
        + "\n".join(rows)
        + "\n\n"
        "A release with an unknown ONNX Runtime has the opset and the IR of the newest that is known, and `generate` "
        "warns of it. "
        "TensorRT's versions are hints, as far as they are known. A plan's own header names the version that built it. "
        "`docker run --rm IMAGE dpkg-query -W 'libnvinfer*'` lists the version in an image, without a GPU.\n"
    )
    check_page(update, "releases.md", reference_page("Triton releases", text))


def test_every_link_of_every_page_leads_somewhere() -> None:
    for page in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            file = page.parent / target
            assert target.startswith("http") or (file.exists() and (file.is_dir() or file.stat().st_size)), target


def test_the_table_of_exit_codes_is_the_one_of_the_errors() -> None:
    from modelrepo.generator import errors

    classes: list[type[errors.ModelRepoError]] = [errors.ModelRepoError, *errors.ModelRepoError.__subclasses__()]
    codes = {each.exit_code for each in classes}
    page = (REFERENCE / "exit-codes.md").read_text("utf-8")
    assert codes | {0, 130} == set(map(int, re.findall(r"^\| (\d+) \|", page, re.MULTILINE)))


def test_help_answers_with_examples(golden: Callable[[str, str], None]) -> None:
    run = subprocess.run([sys.executable, "-c", "from modelrepo.cli.entry import modelrepo; modelrepo()", "--help"],
                         capture_output=True, text=True, cwd=PROJECT, env={**os.environ, "COLUMNS": "100"})  # fmt: skip
    golden("modelrepo-help.txt", run.stdout)
    assert "generate" in run.stdout
