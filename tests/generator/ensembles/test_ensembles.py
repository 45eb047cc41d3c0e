"""Ensembles of modelrepo.toml: made after their models, pinned, unchanged the second time; what they need stays."""

import json
from pathlib import Path

import numpy as np
import pytest

from modelrepo.cli.commands.check import check
from modelrepo.cli.commands.diff import diff
from modelrepo.cli.commands.promote import promote
from modelrepo.cli.commands.prune import prune
from modelrepo.cli.commands.remove import remove
from modelrepo.cli.commands.rollback import rollback
from modelrepo.cli.commands.show import show
from modelrepo.generator.ensembles import published
from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.config_file import load_config
from modelrepo.generator.repository.lifecycle import golden
from modelrepo.generator.repository.repository import Repository
from tests.conftest import Generate, ModelRepo, Outcome, assert_refused, snapshot
from tests.generator.ensembles import nets

PIPE = nets.FILE + nets.steps("use = 'first'", "use = 'second'", "name = 'best'\nuse = 'onnx:best.onnx'")


@pytest.fixture
def folder(workdir: Path) -> Path:
    nets.write(workdir)
    (workdir / "modelrepo.toml").write_text(PIPE)
    return workdir


def statuses(outcome: Outcome) -> dict[str, tuple[str, int | None]]:
    return {row["name"]: (row["status"], row["version"]) for row in outcome.report["results"]}


def served(name: str) -> str:
    text = Path(f"model_repository/{name}/config.pbtxt").read_text()
    return text.partition("specific {")[2].partition("}")[0].strip()


def test_an_ensemble_is_made_after_its_models_and_is_unchanged_the_second_time(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    assert statuses(generate("--json")) == {
        "first": ("published", 1), "second": ("published", 1), "e__best": ("published", 1), "e": ("published", 1)
    }  # fmt: skip
    before = snapshot(folder / "model_repository")
    assert set(statuses(generate("--json")).values()) == {("unchanged", 1)}
    assert snapshot(folder / "model_repository") == before
    assert modelrepo(check, "model_repository").code == 0
    record = Repository(Path("model_repository")).manifests("e")[0]
    assert {name: each["version"] for name, each in record.provenance.options["members"].items()} == {
        "first": 1, "second": 1, "e__best": 1
    }  # fmt: skip
    assert record.provenance.source.reference == "ensemble:e"
    assert "first version 1, second version 1, e__best version 1" in modelrepo(show, "e").out


def test_its_reference_is_the_models_one_after_the_other_and_golden_requests_are_kept(
    folder: Path, generate: Generate
) -> None:
    generate("--json")
    repository = Repository(Path("model_repository"))
    run = published.pinned(repository, "e").reference
    first, second = (published.pinned(repository, name).reference for name in ("first", "second"))
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    wanted = np.argmax(second({"y": first({"x": rows})["y"]})["scores"], axis=-1)
    assert np.array_equal(run({"x": rows})["label"], wanted[:, np.newaxis])
    kept = golden.read(repository, "e", 1)
    assert kept is not None
    assert kept.requests


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(folder: Path, generate: Generate) -> None:
    outcome = generate("--dry-run", "--json")
    assert outcome.report["results"][-1]["notes"] == [
        "dry run: would be made after its models (first is not there yet)"
    ]
    assert not Path("model_repository").exists()


def test_a_new_version_of_a_model_leaves_the_pinned_one_served_until_the_ensemble_follows(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate()
    nets.linear(folder / "first.onnx", "x", "y", (4, 3), seed=7)
    outcome = generate("--model", "first")
    assert "version 1 stays served: the ensemble e needs version 1 of first" in outcome.err
    assert served("first") == "versions: [ 1, 2 ]"
    assert modelrepo(check, "model_repository").code == 0
    assert statuses(generate("--json"))["e"] == ("published", 2)
    assert 'model_name: "first"\n    model_version: 2' in Path("model_repository/e/config.pbtxt").read_text()


def test_nothing_takes_a_version_that_an_ensemble_needs(folder: Path, generate: Generate, modelrepo: ModelRepo) -> None:
    generate()
    nets.linear(folder / "first.onnx", "x", "y", (4, 3), seed=7)
    generate("--model", "first")
    assert "version 1 stays served: the ensemble e needs version 1 of first" in modelrepo(promote, "first", "2").err
    generate()
    assert modelrepo(promote, "first", "2").code == 0  # the ensemble needs it alone
    assert_refused(
        modelrepo(rollback, "first"),
        6,
        "the ensemble e needs version 2 of first, which would go on answering in place of 1. Roll e back first",
    )
    assert_refused(
        modelrepo(rollback, "e"), 6, "needs version 1 of first, which is not served. `modelrepo promote first 1,2`"
    )
    pruned = modelrepo(prune, "first", "--keep", "1")
    assert "version 1 stays: version 1 of the ensemble e needs version 1 of first" in pruned.err
    assert_refused(modelrepo(remove, "first", "--yes"), 6, "the ensemble e calls first. Remove e first")
    modelrepo(prune, "e", "--keep", "1")
    assert "version 1 removed" in modelrepo(prune, "first", "--keep", "1").out


def test_versions_of_an_ensemble_differ_in_the_models_that_they_call(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate()
    nets.linear(folder / "first.onnx", "x", "y", (4, 3), seed=7)
    last = "name = 'best'\nuse = 'onnx:best.onnx'"
    (folder / "modelrepo.toml").write_text(nets.FILE + nets.steps("use = 'first'", "use = 'second'"))
    generate()
    (folder / "modelrepo.toml").write_text(nets.FILE + nets.steps("use = 'first'", "use = 'second'", last))
    generate()
    outcome = modelrepo(diff, "e", "1", "2")
    assert "first        version 1 → 2: modelrepo diff first 1 2" in outcome.out
    assert "e__best      version 1, not called any more" in outcome.out
    assert "members" not in outcome.out.partition("Made with")[2]
    assert "e__best      version 1, new" in modelrepo(diff, "e", "2", "3").out
    assert json.loads(modelrepo(diff, "e", "1", "3", "--json").out)["members"] == [
        {"name": "first", "before": "1", "after": "2"}
    ]


def test_with_an_ensemble_go_the_models_made_for_its_steps(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate()
    assert_refused(modelrepo(remove, "e__best"), 6, "the ensemble e calls e__best. Remove e first")
    planned = modelrepo(remove, "e", "--dry-run").out
    assert "e: the model, with version 1 would be removed" in planned
    assert "e__best: the model, with version 1 would be removed, 134 bytes: it was made for a step of e" in planned
    assert Path("model_repository/e__best").is_dir()
    assert sorted(each["model"] for each in json.loads(modelrepo(remove, "e", "--json").out)["models"]) == [
        "e", "e__best"
    ]  # fmt: skip
    assert sorted(path.name for path in Path("model_repository").iterdir()) == ["first", "second"]
    assert statuses(generate("--json"))["e"] == ("published", 1)
    assert modelrepo(remove, "e__best", "first", "e").code == 0  # whatever the order


def test_a_model_made_for_a_step_stays_if_another_ensemble_calls_it(
    folder: Path, generate: Generate, modelrepo: ModelRepo
) -> None:
    generate()
    more = "[[ensembles.f.steps]]\nuse = 'second'\n[[ensembles.f.steps]]\nuse = 'e__best'\n"
    (folder / "modelrepo.toml").write_text(more)
    generate()
    outcome = modelrepo(remove, "e")
    assert "e__best stays: the ensemble f calls e__best" in outcome.err
    assert Path("model_repository/e__best").is_dir()
    assert_refused(modelrepo(remove, "e__best"), 6, "the ensemble f calls e__best. Remove f first")
    assert modelrepo(remove, "f").code == 0
    assert Path("model_repository/e__best").is_dir()


def test_a_new_version_of_another_signature_is_refused_while_an_ensemble_needs_the_old_one(
    folder: Path, generate: Generate
) -> None:
    generate()
    nets.linear(folder / "first.onnx", "x", "y", (6, 3))
    outcome = generate("--model", "first", "--quiet")
    assert_refused(
        outcome, 6, "the ensemble e needs version 1 of first, and the new version has another input signature"
    )


def test_an_ensemble_is_not_made_of_an_older_version_of_a_model_that_failed(folder: Path, generate: Generate) -> None:
    generate()
    (folder / "first.onnx").write_bytes(b"")
    outcome = generate("--json")
    assert statuses(outcome)["e"] == ("skipped", None)
    assert outcome.report["results"][-1]["notes"] == ["not made: first failed"]


def test_an_ensemble_may_call_another_and_pins_the_models_of_both(folder: Path, generate: Generate) -> None:
    (folder / "modelrepo.toml").write_text(
        nets.FILE + "[[ensembles.f.steps]]\nuse = 'e'\n" + nets.steps("use = 'first'", "use = 'second'")
    )
    assert statuses(generate("--json"))["f"] == ("published", 1)
    text = Path("model_repository/f/config.pbtxt").read_text()
    assert 'model_name: "e"' not in text
    assert 'model_name: "first"' in text


@pytest.mark.parametrize(
    ("steps", "code", "told"),
    [
        (("use = 'frist'",), 6, "ensemble 'e': step 'frist': "),
        (("use = 'first@3'",), 6, "ensemble 'e': step 'first': first has no version 3. It has 1"),
        (
            ("use = 'first'", "use = 'ids'"),
            2,
            "step 'first' gives FP32 [-1, 3] as 'y', and step 'ids' takes INT64 [-1, 3] as 'ids'",
        ),
    ],
)
def test_a_mistake_is_told_before_the_ensemble_is_written(
    folder: Path, generate: Generate, steps: tuple[str, ...], code: int, told: str
) -> None:
    (folder / "modelrepo.toml").write_text(nets.FILE + "[models.ids]\nmodel='ids.onnx'\n" + nets.steps(*steps))
    outcome = generate()
    assert outcome.code == code
    assert told in outcome.err
    assert not Path("model_repository/e").exists()


def test_a_step_is_named_whose_model_is_not_published_where_nothing_is(folder: Path, generate: Generate) -> None:
    (folder / "modelrepo.toml").write_text(nets.steps("use = 'first'"))
    outcome = generate()
    assert outcome.code == 6
    assert "step 'first': " in outcome.err
    assert "model_repository has no model 'first'" in outcome.err
    assert not Path("model_repository").exists()


def test_a_pinned_version_that_is_not_served_is_refused_with_the_command_that_serves_it(
    folder: Path, generate: Generate
) -> None:
    generate("--model", "first")
    nets.linear(folder / "first.onnx", "x", "y", (4, 3), seed=7)
    (folder / "modelrepo.toml").write_text(nets.FILE + nets.steps("use = 'first@1'", "use = 'second'"))
    assert "`modelrepo promote first 1,2` serves it" in generate().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[ensembles.e]\n", "no steps in [ensembles.e]"),
        (nets.steps("input = {}\nuse = 'a'"), "unknown key 'input' in step 1 of [ensembles.e]. Did you mean inputs?"),
        (nets.steps("use = 'a'", more="max_batchsize = 3"), "unknown key 'max_batchsize' in [ensembles.e]"),
        (nets.steps("use = 'sheme:a'"), "unknown scheme 'sheme' of use in step 1 of [ensembles.e]"),
        (nets.steps("use = 'a'", "use = 'a@2'"), "two steps are named 'a' in [ensembles.e]"),
        (nets.steps("use = 'a'\ntimeout = 0"), "timeout = 0: expected seconds above 0"),
        (nets.steps("use = 'a'", more="samples = 'none.npz'"), "samples = 'none.npz': no such file or folder"),
        (nets.steps("use = 'a'\ninputs = 3"), "inputs = 3: expected a table such as"),
        (nets.FILE + "[[ensembles.first.steps]]\nuse = 'a'", "'first' is the name of a model and of an ensemble"),
    ],
)
def test_a_table_that_says_nothing_sensible_is_refused(workdir: Path, text: str, told: str) -> None:
    (workdir / "modelrepo.toml").write_text(text)
    with pytest.raises(OptionError) as error:
        load_config(None)
    assert told in str(error.value)


def test_ensembles_that_call_each_other_are_a_circle(folder: Path, generate: Generate) -> None:
    text = "[[ensembles.e.steps]]\nuse = 'f'\n[[ensembles.f.steps]]\nuse = 'e'\n"
    (folder / "modelrepo.toml").write_text(text)
    assert "the ensembles call each other in a circle: e → f → e" in generate().err
