"""Ensembles with steps in Python: published with their code, made again when it changes, and an image for them."""

import shutil
from pathlib import Path

import onnx
import pytest

from modelrepo.cli.commands.check import check
from modelrepo.cli.commands.remove import remove
from modelrepo.cli.commands.show import show
from modelrepo.cli.commands.versions import versions
from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.config_file import load_config
from modelrepo.generator.repository.lifecycle import pins
from modelrepo.generator.repository.repository import Repository
from tests.conftest import Generate, ModelRepo, Outcome, assert_refused

# A model of pixels: the mean colour of a picture.
MEAN = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[n, h, w, 3] image) => (float[n, 3] y) {
  f = Cast<to = 1>(image)
  y = ReduceMean<axes = [1, 2], keepdims = 0>(f)
}"""
NAMING = """
from typing import Annotated
import numpy as np
NAMES = ("red", "green", "blue")
def named(y: Annotated[np.ndarray, "float32[3]"], least: float = 0.0) -> Annotated[str, "colour="]:
    return NAMES[int(y.argmax())] if y.max() >= least else "none"
"""
COLOUR = """
[ensembles.colour]
[[ensembles.colour.steps]]
name = "decode"
use = "builtin:decode"
[[ensembles.colour.steps]]
use = "mean"
[[ensembles.colour.steps]]
use = "python:naming:named"
arguments = { least = 10.0 }
"""


@pytest.fixture
def folder(workdir: Path) -> Path:
    onnx.save(onnx.parser.parse_model(MEAN), workdir / "mean.onnx")
    (workdir / "naming.py").write_text(NAMING)
    (workdir / "modelrepo.toml").write_text(COLOUR)
    return workdir


def statuses(outcome: Outcome) -> dict[str, tuple[str, int | None]]:
    return {row["name"]: (row["status"], row["version"]) for row in outcome.report["results"]}


def test_the_code_of_a_step_is_published_and_made_again_when_it_changes(folder: Path, generate: Generate) -> None:
    generate("--model", "mean.onnx", "--json")
    first = dict.fromkeys(("colour__decode", "colour__named", "colour"), ("published", 1))
    assert statuses(generate("--json")) == first
    assert statuses(generate("--json")) == dict.fromkeys(first, ("unchanged", 1))
    assert Path("model_repository/colour__named/1/code/naming.py").read_text() == NAMING
    place = "change it in [ensembles.colour] of modelrepo.toml."
    assert all(place in Path(f"model_repository/{name}/config.pbtxt").read_text() for name in first)
    assert '"least": 10.0' in Path("model_repository/colour__named/1/step.json").read_text()
    assert Path(".modelrepo/model_repository/image/requirements.txt").read_text() == "# colour__decode\npillow\n"
    assert 'string_value: "image=encoded image"' in Path("model_repository/colour/config.pbtxt").read_text()
    (folder / "naming.py").write_text(NAMING.replace("none", "no colour"))
    assert statuses(generate("--json")) == {
        "colour__decode": ("unchanged", 1),
        "colour__named": ("published", 2),
        "colour": ("published", 2),
    }


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("modelrepo.toml", "[ensembles.colour]\n", "[ensembles.colour]\nmax_batch_size = 4\n"),
        ("naming.py", '"colour="', '"hue="'),
    ],
)
def test_models_of_steps_may_change_in_what_they_take_and_give_with_their_ensemble(
    file: str, before: str, after: str, folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate("--model", "mean.onnx")
    generate()
    (folder / file).write_text((folder / file).read_text().replace(before, after))
    assert statuses(generate("--json"))["colour"] == ("published", 2)
    assert modelrepo(check, "model_repository").code == 0
    assert statuses(generate("--json"))["colour"] == ("unchanged", 2)


def test_a_model_of_a_step_that_another_ensemble_calls_must_go_on_serving_it(folder: Path, generate: Generate) -> None:
    generate("--model", "mean.onnx")
    generate()
    other = "[[ensembles.other.steps]]\nuse = 'mean'\n[[ensembles.other.steps]]\nuse = 'colour__named'\n"
    (folder / "modelrepo.toml").write_text(other)
    assert statuses(generate("--json")) == {"other": ("published", 1)}
    smaller = COLOUR.replace("[ensembles.colour]", "[ensembles.colour]\nmax_batch_size = 4")
    (folder / "modelrepo.toml").write_text(smaller)
    outcome = generate()
    assert "the ensemble other needs version 1 of colour__named" in outcome.err
    assert statuses(generate("--json"))["colour"] == ("failed", None)


def test_lost_records_of_ensembles_are_rebuilt_with_what_they_pin_and_proven_again(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate("--model", "mean.onnx")
    generate()
    (folder / "naming.py").write_text(NAMING.replace("none", "no colour"))
    generate()
    repository = Repository(Path("model_repository"))
    before = repository.manifests("colour")
    shutil.rmtree(repository.state)
    assert modelrepo(versions, "--rebuild").code == 0
    after = repository.manifests("colour")
    for one, other in zip(before, after, strict=True):
        assert (one.config, one.content()) == (other.config, other.content()) or other.version == 1
        assert pins.of_record(one) == pins.of_record(other)
        assert other.provenance.source.input_kinds == {"image": "encoded image"}
    assert_refused(modelrepo(remove, "colour__named"), 6, "the ensemble colour calls colour__named")
    assert "not proven: its record was rebuilt" in modelrepo(show, "colour__named").out
    generate("--model", "mean.onnx")
    assert statuses(generate("--json")) == {
        "colour__decode": ("unchanged", 1),
        "colour__named": ("published", 2),  # its version 1 is not served any more
        "colour": ("unchanged", 2),
    }
    assert not any(repository.manifests(name)[-1].provenance.rebuilt for name in ("colour", "colour__named"))


def test_an_earlier_version_of_an_ensemble_with_other_steps_can_not_be_rebuilt(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate("--model", "mean.onnx")
    generate()
    (folder / "modelrepo.toml").write_text(COLOUR.partition('[[ensembles.colour.steps]]\nuse = "python')[0])
    assert statuses(generate("--json"))["colour"] == ("published", 2)
    (folder / "modelrepo.toml").write_text(COLOUR)
    assert statuses(generate("--json"))["colour"] == ("published", 3)
    shutil.rmtree(folder / ".modelrepo")
    outcome = modelrepo(versions, "--rebuild")
    assert_refused(
        outcome, 6, "can't rebuild the records of colour: version 2 calls other models than version 3. How it wired"
    )
    shutil.rmtree(folder / "model_repository/colour/2")
    assert modelrepo(versions, "--rebuild").code == 0


def test_packages_that_the_container_lacks_are_told(folder: Path, generate: Generate) -> None:
    generate("--model", "mean.onnx")
    outcome = generate()
    assert "colour__decode: needs pillow, which Triton's image lacks: serve it with docker compose" in outcome.err
    assert "naming" not in outcome.err


def test_the_image_forgets_the_packages_of_removed_steps(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate("--model", "mean.onnx")
    generate()
    image = Path(".modelrepo/model_repository/image")
    modelrepo(remove, "colour", "--dry-run")
    assert image.is_dir()
    modelrepo(remove, "colour")
    assert not image.exists()
    assert [path.name for path in Path("model_repository").iterdir()] == ["mean"]


def test_a_step_with_a_fault_keeps_the_whole_from_being_published(folder: Path, generate: Generate) -> None:
    generate("--model", "mean.onnx")
    (folder / "naming.py").write_text(NAMING.replace("NAMES = (", "import nosuch\nNAMES = ("))
    outcome = generate()
    assert outcome.code == 3
    assert (
        "ensemble 'colour': step 'named': can't import naming: ModuleNotFoundError: No module named 'nosuch' "
        '(naming.py:4). Add its package to the step: requirements = ["nosuch"]'
    ) in outcome.err
    assert not Path("model_repository/colour__decode").exists()


def test_a_model_of_pixels_is_published_with_an_ensemble_that_decodes(folder: Path, generate: Generate) -> None:
    outcome = generate("--model", "mean.onnx", "--with-decoding", "--json")
    assert statuses(outcome) == dict.fromkeys(("mean", "mean_encoded__decode", "mean_encoded"), ("published", 1))
    comment = "change it with the options of generate, where --with-decoding makes it.\n"
    for name in ("mean_encoded__decode", "mean_encoded"):
        assert comment in Path(f"model_repository/{name}/config.pbtxt").read_text()
        (record,) = Repository(Path("model_repository")).manifests(name)
        assert record.provenance.source.input_kinds == {"image": "encoded image"}
    again = generate("--model", "mean.onnx", "--json")  # the model itself is the same without
    assert statuses(again) == {"mean": ("unchanged", 1)}


UNREADABLE = {
    "arguments = { least = inf }": "arguments = {'least': inf}: expected texts, numbers, true or false",
    "arguments = 3": "arguments = 3: expected a table such as { threshold = 0.5 }",
    'files = ["/etc/passwd"]': "expected files in the current folder, by relative paths: /etc/passwd is none",
    'files = ["absent.txt"]': "absent.txt is none",
    "batched = 1": "batched = 1: ",
    "instances = 0": "instances = 0: ",
}


@pytest.mark.parametrize("line", UNREADABLE)
def test_a_key_that_can_not_be_read_is_refused(line: str, folder: Path) -> None:
    text = COLOUR.replace("arguments = { least = 10.0 }", line)
    (folder / "modelrepo.toml").write_text(text)
    with pytest.raises(OptionError) as refused:
        load_config(None)
    assert UNREADABLE[line] in str(refused.value)


def test_requirements_are_no_options_of_pip(folder: Path, generate: Generate) -> None:
    generate("--model", "mean.onnx")
    (folder / "modelrepo.toml").write_text(f'{COLOUR}requirements = ["-r list.txt"]\n')
    outcome = generate()
    assert "step 'named': '-r list.txt' is an option of pip, not a requirement" in outcome.err
