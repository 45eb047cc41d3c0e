"""A function of the user's becomes a model of Triton's Python backend, with a reference that runs the same files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.ensembles import python_step, step_runner
from modelrepo.generator.ensembles.member import Member, Site
from modelrepo.generator.ensembles.python_step import PythonStep, Reference
from modelrepo.generator.errors import InputRefused, ModelRepoError, OptionError, SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.system import step_packages
from modelrepo.generator.triton import releases
from modelrepo.generator.triton.releases import release_named
from tests.generator.ensembles.test_decoding import FILES

MINE = """
from pathlib import Path
from typing import Annotated
import numpy as np
import table

def look_up(key: str) -> Annotated[np.ndarray, "float32[2]"]:
    extra = Path(__file__).with_name("extra.txt")
    return np.float32([table.VALUES[key], float(extra.read_text()) if extra.exists() else 0])
"""

Make = Callable[..., Member]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a member of a step, in a folder with a user's modules."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "table.py").write_text("VALUES = {'a': 1, 'b': 2}")
    (tmp_path / "extra.txt").write_text("7")
    monkeypatch.chdir(tmp_path)

    def made(use: str, largest: int | None = None, **settings: Any) -> Member:
        requirements = settings.pop("requirements", ())
        step = Step("look", use, requirements=requirements, settings=settings)
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        site = Site(
            EnsembleSpec("whole", (step,), max_batch_size=largest),
            Repository(tmp_path / "models"),
            release_named(releases.NEWEST),
            folder,
            Progress(),
        )
        return (python_step.built_in if step.scheme == "builtin" else python_step.member)(step, site)

    return made


def test_a_step_is_a_model_with_the_modules_that_it_imports(make: Make) -> None:
    member = make("python:mine:look_up", files=(Path("extra.txt"),))
    assert member.name == "whole__look"
    assert member.made is not None
    assert member.made.backend == "python"
    assert sorted(member.made.files) == [
        "code/extra.txt",
        "code/mine.py",
        "code/table.py",
        "model.py",
        "modelrepo_step.py",
        "step.json",
    ]
    assert [(each.name, list(each.dims)) for each in (*member.config.input, *member.config.output)] == [
        ("key", [1]),
        ("output", [2]),
    ]
    assert member.config.max_batch_size == python_step.DEFAULT_BATCH
    answer = member.reference({"key": np.array([["a"], [b"b"]], np.object_)})
    assert answer["output"].tolist() == [[1, 7], [2, 7]]


def test_a_step_takes_the_largest_batch_of_its_ensemble(make: Make) -> None:
    assert make("python:mine:look_up", largest=3).config.max_batch_size == 3
    alone = make("python:mine:look_up", largest=0)
    assert alone.config.max_batch_size == 0
    assert alone.reference({"key": np.array(["b"], np.object_)})["output"].tolist() == [2, 0]


def test_a_fault_of_the_function_names_the_step_the_reason_and_the_line(make: Make) -> None:
    with pytest.raises(InputRefused, match=r"^fails: KeyError: 'c' \(mine.py:9\)$"):
        make("python:mine:look_up").reference({"key": np.array([["c"]], np.object_)})


UNUSABLE: dict[str, tuple[str, type[ModelRepoError], str]] = {
    "python:mine": ("", OptionError, "step 'look': python:mine names no function. Write python:MODULE:FUNCTION"),
    "python:mine:absent": ("", SourceError, "step 'look': mine has no 'absent'"),
    "python:other:f": ("", SourceError, "there is no module 'other'"),
    "python:model:f": ("", OptionError, "step 'look': Triton's own file is called model.py. Rename your module"),
    "python:bad:f": (
        "def f(x: str) -> str:\n  return 'a'\n1 / 0",
        SourceError,
        "step 'look': can't import bad: ZeroDivisionError: division by zero (bad.py:3)",
    ),
    "python:needy:f": (
        "import nosuchmodule\ndef f(x: str) -> str: ...",
        SourceError,
        "step 'look': can't import needy: ModuleNotFoundError: No module named 'nosuchmodule' (needy.py:1). "
        'Add its package to the step: requirements = ["nosuchmodule"]',
    ),
    "python:seeing:f": (
        "def f(x: str) -> str:\n  from PIL import Image",
        OptionError,
        "step 'look': seeing.py:2 imports PIL, which Triton's container does not have. "
        'Add its package to the step: requirements = ["pillow"]',
    ),
    "python:untyped:f": (
        "def f(x): ...",
        SourceError,
        "step 'look': the argument 'x' has no annotation: write x: Annotated[np.ndarray, "
        '"float32[3, height, width]"]',
    ),
}


@pytest.mark.parametrize("use", UNUSABLE)
def test_an_unusable_step_is_refused_in_one_line(use: str, make: Make) -> None:
    text, kind, said = UNUSABLE[use]
    if text:
        Path(f"{use.split(':')[1]}.py").write_text(text)
    with pytest.raises(kind) as refused:
        make(use)
    assert str(refused.value) == said or str(refused.value).startswith(f"{said}. ")


def test_imports_that_the_code_tries_itself_need_no_requirement(make: Make) -> None:
    Path("careful.py").write_text(
        "try:\n  import nosuch\nexcept ImportError:\n  nosuch = None\ndef f(x: str) -> str:\n  return x\n"
    )
    assert make("python:careful:f").reference({"x": np.array([["a"]], np.object_)})["output"].tolist() == [[b"a"]]


def test_a_requirement_may_be_called_otherwise_than_its_module(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is installed, only the import itself can tell."""
    Path("named.py").write_text("import other\ndef f(x: str) -> str:\n  return other.SAID\n")
    folder = Path("packages").absolute()
    folder.mkdir()
    (folder / "other.py").write_text("SAID = 'yes'")
    monkeypatch.setattr(step_packages, "ensure", lambda requirements, step: (str(folder),))
    member = make("python:named:f", requirements=("python-other",))
    assert member.reference({"x": np.array([["a"]], np.object_)})["output"].tolist() == [[b"yes"]]


def test_packages_that_a_requirement_brings_along_need_none_of_their_own(make: Make) -> None:
    Path("linked.py").write_text("import markupsafe\ndef f(x: str) -> str:\n  return x\n")
    member = make("python:linked:f", requirements=("jinja2",))  # it requires markupsafe
    assert member.made is not None
    assert member.made.files["requirements.txt"].read_text() == "jinja2\n"


def test_a_process_that_ends_is_told(tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text("import os\ndef f(x: str) -> str: os._exit(3)\n")
    step = PythonStep("ends", "ending:f", timeout=5)
    python_step.lay_out(step, {"ending.py": tmp_path / "ending.py"}, tmp_path / "1")
    with (
        Reference(tmp_path / "1", 8) as reference,
        pytest.raises(InputRefused, match="its process ended with exit code 3"),
    ):
        reference.run({"x": np.array([["a"]], np.object_)})


def test_the_reference_does_not_see_this_folder(make: Make) -> None:
    """A file that the server will miss is missed before anything is published."""
    Path("opening.py").write_text("def f(x: str) -> str: return open('extra.txt').read()\n")
    with pytest.raises(InputRefused, match="FileNotFoundError"):
        make("python:opening:f").reference({"x": np.array([["a"]], np.object_)})


def test_the_built_in_decoder_takes_bytes_and_gives_pixels(make: Make) -> None:
    member = make("builtin:decode", arguments={"max_pixels": 5000})
    assert member.input_kinds == {"image": "encoded image"}
    assert member.made is not None
    assert member.made.files["requirements.txt"].read_text() == "pillow\n"
    assert member.reference({"image": np.array([[FILES["PNG"]]], np.object_)})["pixels"].shape == (1, 40, 60, 3)
    assert member.likely is not None
    for group in member.likely(7, 0):
        assert group["image"].shape[1:] == (1,)
    with pytest.raises(InputRefused, match="more than the limit of 5000"):
        member.reference(member.likely(3, 0)[2])
    with pytest.raises(OptionError, match=r"there is no builtin:encode\. There is builtin:decode"):
        make("builtin:encode")


def test_the_runner_imports_nothing_of_modelrepo() -> None:
    text = Path(step_runner.__file__).read_text()
    assert "modelrepo." not in text.split('"""', 2)[2]
