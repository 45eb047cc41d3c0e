"""Publishing: versions, unchanged content, edits by hand, interruptions, and nothing ever lost."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from modelrepo.generator.errors import SourceError
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.optimize import fp16
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository import repository as repository_module
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.specs.artifacts import ONNX, Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system import files
from tests import numpy_framework, onnx_files
from tests.conftest import PROJECT, Generate, snapshot
from tests.onnx_files import FLOAT

pytestmark = pytest.mark.usefixtures("numpy_models")
LINEAR = ("--model", "numpy:linear", "--json", "-q")


def config(workdir: Path, name: str = "linear") -> Path:
    return workdir / "model_repository" / name / "config.pbtxt"


def test_the_first_run_publishes_version_1(generate: Generate, workdir: Path) -> None:
    outcome = generate(*LINEAR)
    assert (outcome.code, outcome.result["status"], outcome.result["version"]) == (0, "published", 1)
    assert sorted(path for path in snapshot(workdir / "model_repository")) == [
        "linear",
        "linear/1",
        "linear/1/model.onnx",
        "linear/config.pbtxt",
        "linear/labels.txt",
    ]
    assert (workdir / "model_repository/linear/labels.txt").read_text() == 'cat\ndog\na "quoted" fish\n'
    assert outcome.result["path"] == str(workdir / "model_repository/linear/1")


def test_publishing_twice_changes_nothing(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    before = snapshot(workdir)
    outcome = generate(*LINEAR)
    assert (outcome.result["status"], outcome.result["version"]) == ("unchanged", 1)
    assert snapshot(workdir) == before


def test_changed_content_becomes_the_next_version_and_is_the_one_served(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    assert generate(*LINEAR, "--seed", "1").result["version"] == 2
    assert "versions: [ 2 ]" in config(workdir).read_text()
    assert generate(*LINEAR, "--seed", "1", "--queue-delay-us", "5").result["version"] == 3
    assert sorted(path.name for path in config(workdir).parent.iterdir() if path.is_dir()) == ["1", "2", "3"]


def test_options_that_lead_to_the_same_files_make_no_new_version(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    before = snapshot(workdir / "model_repository")
    outcome = generate(*LINEAR, "--tolerance", "0.01")
    assert (outcome.result["status"], outcome.result["version"]) == ("unchanged", 1)
    assert snapshot(workdir / "model_repository") == before


def test_a_version_number_is_never_used_twice(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    (config(workdir).parent / "7.tmp").mkdir()  # Triton reads this as version 7
    assert generate(*LINEAR, "--seed", "1").result["version"] == 8


def test_a_config_edited_by_hand_is_left_alone_and_noted(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    config(workdir).write_text(config(workdir).read_text() + "# mine\n")
    before = snapshot(workdir)
    outcome = generate(*LINEAR)
    assert outcome.result["status"] == "unchanged"
    assert "was edited by hand" in outcome.err
    assert "--config-patch" in outcome.err
    assert snapshot(workdir) == before


def test_a_config_edited_by_hand_is_kept_when_a_new_version_replaces_it(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    edited = config(workdir).read_text() + "# mine\n"
    config(workdir).write_text(edited)
    (note,) = generate(*LINEAR, "--seed", "1").result["notes"]
    assert Path(note.rpartition(" ")[2]).read_text() == edited


def test_a_damaged_version_does_not_count_as_unchanged(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    (config(workdir).parent / "1/model.onnx").write_bytes(b"damaged")
    assert generate(*LINEAR).result["version"] == 2


def test_a_touched_file_is_still_unchanged(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    os.utime(config(workdir).parent / "1/model.onnx")
    assert generate(*LINEAR).result["status"] == "unchanged"


def test_a_missing_config_is_put_back_without_a_new_version(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    before = snapshot(workdir)
    config(workdir).unlink()
    outcome = generate(*LINEAR)
    assert (outcome.result["status"], outcome.result["version"]) == ("published", 1)
    assert snapshot(workdir) == before


def test_going_back_to_earlier_options_is_a_new_version(generate: Generate) -> None:
    generate(*LINEAR)
    generate(*LINEAR, "--seed", "1")
    assert generate(*LINEAR).result["version"] == 3


def test_a_publish_that_broke_off_before_its_config_is_finished_by_the_next_run(
    generate: Generate, workdir: Path
) -> None:
    generate(*LINEAR)
    first = config(workdir).read_text()
    generate(*LINEAR, "--seed", "1")
    config(workdir).write_text(first)  # as if power had failed before the last rename
    outcome = generate(*LINEAR, "--seed", "1")
    assert (outcome.result["status"], outcome.result["version"]) == ("published", 2)
    assert "versions: [ 2 ]" in config(workdir).read_text()


def test_a_model_that_modelrepo_did_not_make_is_left_alone(generate: Generate, workdir: Path) -> None:
    (workdir / "model_repository/linear/1").mkdir(parents=True)
    (workdir / "model_repository/linear/1/model.onnx").write_bytes(b"theirs")
    before = snapshot(workdir)
    outcome = generate(*LINEAR)
    assert outcome.code == 6
    assert "was not made by modelrepo" in outcome.err
    assert snapshot(workdir) == before


def test_a_manifest_has_all_that_makes_the_version_again(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR, "--max-batch-size", "4")
    path = workdir / ".modelrepo/model_repository/manifests/linear/1.json"
    manifest = json.loads(path.read_text())
    assert manifest["provenance"]["source"]["reference"] == "numpy:linear"
    assert manifest["provenance"]["options"]["max_batch_size"] == 4
    assert manifest["provenance"]["verification"]["passed"] is True
    assert set(manifest["provenance"]["tools"]) >= {"modelrepo", "onnx", "onnxruntime", "numpy"}
    assert set(manifest["files"]) == {"1/model.onnx", "labels.txt"}
    assert manifest["config"] == config(workdir).read_text()


def test_a_deferred_plan_is_prepared_once_and_reported_every_time(generate: Generate, workdir: Path) -> None:
    arguments = (*LINEAR, "--backends", "onnx,tensorrt")
    first = generate(*arguments)
    before = snapshot(workdir)
    second = generate(*arguments)
    assert [row["status"] for row in first.report["results"]] == ["published", "deferred"]
    assert [row["status"] for row in second.report["results"]] == ["unchanged", "deferred"]
    assert snapshot(workdir) == before
    plan = workdir / ".modelrepo/model_repository/plans/linear_tensorrt"
    assert sorted(path.name for path in plan.iterdir()) == ["config.pbtxt", "labels.txt", "model.onnx", "reference"]
    assert not (workdir / "model_repository/linear_tensorrt").exists()
    entry = json.loads((plan.parents[1] / "plans.lock").read_text())["plans"]["linear_tensorrt"]
    assert entry["command"] == second.report["results"][1]["next_step"]


def test_the_command_that_builds_a_plan_is_printed_with_verbose_only(generate: Generate) -> None:
    arguments = ("--model", "numpy:linear", "--backends", "onnx,tensorrt", "-q")
    short, long = generate(*arguments).out, generate(*arguments, "-v").out
    assert "`modelrepo plans build`" in short
    assert "docker run" not in short
    assert "\ndocker run " in long


def test_a_built_plan_survives_the_next_run(generate: Generate, workdir: Path) -> None:
    arguments = (*LINEAR, "--backends", "tensorrt")
    plan = Path(generate(*arguments).result["path"])
    (plan / "model.plan").write_text("hours of a GPU")
    (plan / "timing.cache").write_text("learnt")
    generate(*arguments, "--tolerance", "0.5")  # the same model, proven otherwise
    assert (plan / "model.plan").read_text() == "hours of a GPU"
    generate(*arguments, "--seed", "1")  # another model
    assert not (plan / "model.plan").exists()
    assert (plan / "timing.cache").read_text() == "learnt"
    (kept,) = workdir.glob(".modelrepo/model_repository/replaced/linear/*/model.plan")
    assert kept.read_text() == "hours of a GPU"


def test_labels_edited_by_hand_are_left_alone_and_kept(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    labels = config(workdir).parent / "labels.txt"
    labels.write_text("mine\n")
    unchanged = generate(*LINEAR)
    assert unchanged.result["status"] == "unchanged"
    assert f"{labels} was edited by hand" in unchanged.err
    assert labels.read_text() == "mine\n"
    replaced = generate(*LINEAR, "--seed", "1")
    assert "labels.txt was edited by hand" in replaced.err
    (kept,) = workdir.glob(".modelrepo/model_repository/replaced/linear/*/labels.txt")
    assert kept.read_text() == "mine\n"


def test_strict_makes_a_deferred_backend_an_error_and_publishes_the_others(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx,tensorrt", "--strict")
    assert outcome.code == 9
    assert "linear_tensorrt can't be finished on this machine" in outcome.err
    assert outcome.report["results"][0]["status"] == "published"


def test_a_dry_run_leaves_no_trace(generate: Generate, workdir: Path) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx,tensorrt", "--dry-run")
    assert outcome.code == 0
    assert {row["status"] for row in outcome.report["results"]} == {"skipped"}
    assert snapshot(workdir) == {}


def test_a_failure_leaves_no_trace(generate: Generate, workdir: Path) -> None:
    assert generate("--model", "numpy:exported_wrong").code == 5
    assert snapshot(workdir) == {}


@pytest.fixture
def no_room_for_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "model.onnx")

    monkeypatch.setattr("modelrepo.generator.pipeline.staging.shutil.copy2", full)


@pytest.mark.usefixtures("no_room_for_plans")
@pytest.mark.parametrize("backends", ["onnx,tensorrt", "tensorrt,onnx"])
def test_a_backend_that_fails_leaves_the_others_alone(generate: Generate, workdir: Path, backends: str) -> None:
    outcome = generate(*LINEAR, "--backends", backends)
    assert outcome.code == 6
    by_name = {row["name"]: row for row in outcome.report["results"]}
    assert (by_name["linear_onnx"]["status"], by_name["linear_tensorrt"]["status"]) == ("published", "failed")
    assert by_name["linear_tensorrt"]["error"] == {"message": "No space left on device: model.onnx", "exit_code": 6}
    assert "error: linear_tensorrt: No space left on device: model.onnx\n" in outcome.err
    assert [path.name for path in (workdir / "model_repository").iterdir()] == ["linear_onnx"]


@pytest.mark.usefixtures("no_room_for_plans")
@pytest.mark.parametrize("backends", ["onnx,tensorrt", "tensorrt,onnx"])
def test_all_or_nothing_publishes_nothing_if_one_backend_fails(
    generate: Generate, workdir: Path, backends: str
) -> None:
    outcome = generate(*LINEAR, "--backends", backends, "--all-or-nothing")
    assert outcome.code == 6
    by_name = {row["name"]: row for row in outcome.report["results"]}
    assert by_name["linear_tensorrt"]["status"] == "failed"
    assert by_name["linear_onnx"]["status"] == "skipped"
    assert by_name["linear_onnx"]["notes"] == ["not published: linear_tensorrt failed (--all-or-nothing)"]
    assert snapshot(workdir) == {}


def test_all_or_nothing_publishes_all_if_none_fails(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx,onnx:fp16,tensorrt", "--all-or-nothing")
    assert [row["status"] for row in outcome.report["results"]] == ["published", "published", "deferred"]


def test_a_name_that_is_taken_costs_its_own_backend_only(generate: Generate, workdir: Path) -> None:
    (workdir / "model_repository/linear_onnx/1").mkdir(parents=True)
    outcome = generate(*LINEAR, "--backends", "onnx,onnx:fp16")
    assert [row["status"] for row in outcome.report["results"]] == ["failed", "published"]
    assert outcome.code == 6
    outcome = generate(*LINEAR, "--backends", "onnx,onnx:fp16", "--seed", "1", "--all-or-nothing")
    assert [row["status"] for row in outcome.report["results"]] == ["failed", "skipped"]
    assert not (workdir / "model_repository/linear_onnx_fp16/2").exists()


def test_the_table_has_the_rows_that_failed(generate: Generate) -> None:
    outcome = generate("--model", "numpy:linear", "--backends", "onnx,onnx:fp16", "--tolerance", "0", "-q")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["linear_onnx_fp16", "onnxruntime", "fp16", "-", "failed"] in [line[:5] for line in lines]
    assert "published" in lines[1]
    assert (
        "\nlinear_onnx_fp16: output 'output' differs by" in outcome.out
    )  # a pipe or a file shows the reason below the table


def test_one_reason_for_all_rows_is_one_line_and_no_table(generate: Generate) -> None:
    outcome = generate("--model", "numpy:exported_wrong", "--backends", "onnx,onnx:fp16", "-q")
    assert outcome.out == ""
    assert outcome.err.count("error:") == 1


def test_a_model_that_gets_another_name_is_said_to_be_there_still(generate: Generate) -> None:
    generate(*LINEAR)
    both = generate(*LINEAR, "--backends", "onnx,onnx:fp16")
    assert both.report["results"][0]["notes"][-1] == (
        "linear is still there and served as before; --name-template '{model}{_precision}' publishes under that name "
        "again"
    )
    kept = generate(*LINEAR, "--backends", "onnx,onnx:fp16", "--name-template", "{model}{_precision}")
    assert [(row["name"], row["status"]) for row in kept.report["results"]] == [
        ("linear", "unchanged"),
        ("linear_fp16", "published"),
    ]
    again = generate(*LINEAR, "--backends", "onnx", "--seed", "1")
    assert "linear_onnx is still there" in again.err
    assert "--name-template '{model}_{backend}{_precision}'" in again.err


def test_a_failed_model_does_not_stop_the_others(generate: Generate) -> None:
    outcome = generate("--model", "numpy:exported_wrong", "--model", "numpy:linear", "--json", "-q")
    assert [row["status"] for row in outcome.report["results"]] == ["failed", "published"]
    assert outcome.code == 5


@pytest.mark.parametrize("raised", [KeyError("node_7"), SystemExit(3), RecursionError(), OSError("no source code")])
@pytest.mark.parametrize("moment", ["load", "run", "export"])
def test_an_unexpected_exception_costs_one_model(
    raised: BaseException, moment: str, generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object) -> Any:
        raise raised

    def loaded(name: str, *arguments: Any) -> SourceModel:
        source = numpy_framework.load(name, *arguments)
        return replace(source, run=failing) if (moment, name) == ("run", "mixes_samples") else source

    def exported(source: SourceModel, *arguments: Any) -> Any:
        return failing() if source.reference == "numpy:mixes_samples" else numpy_framework.export(source, *arguments)

    monkeypatch.setenv("MODELREPO_CACHE", str(workdir / "cache"))
    load = failing if moment == "load" else loaded
    monkeypatch.setitem(SOURCES, "other", replace(numpy_framework.SOURCE, load=load))
    if moment == "export":
        monkeypatch.setitem(EXPORTERS, ("numpy", ONNX), replace(numpy_framework.TO_ONNX, export=exported))
    outcome = generate("--model", "other:mixes_samples", "--model", "numpy:linear", "--json", "-q")
    assert [row["status"] for row in outcome.report["results"]] == ["failed", "published"]
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert f"can't generate mixes_samples: unexpected {type(raised).__name__}" in outcome.err
    assert "(tests/generator/repository/test_publishing.py:" in outcome.err
    (log,) = (workdir / "cache/logs").glob("generate-*.log")
    assert str(log) in outcome.err
    assert "raise raised" in log.read_text()
    assert not (workdir / ".modelrepo/model_repository/staging").exists()


@pytest.mark.parametrize("moment", ["load", "export"])
def test_ctrl_c_leaves_no_trace(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupted(*arguments: object) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    if moment == "load":
        monkeypatch.setitem(SOURCES, "numpy", replace(numpy_framework.SOURCE, load=interrupted))
    else:
        monkeypatch.setitem(EXPORTERS, ("numpy", ONNX), replace(numpy_framework.TO_ONNX, export=interrupted))
    outcome = generate("--model", "numpy:linear")
    assert outcome.code == 130
    assert "interrupted" in outcome.err
    assert snapshot(workdir) == {}


def test_what_clients_have_to_know_of_a_new_version_is_said(generate: Generate) -> None:
    def named(output: str) -> None:
        relu = helper.make_node("Relu", ["x"], [output])
        onnx_files.write("net.onnx", nodes=(relu,), outputs=[(output, FLOAT, ["batch", 4])])

    named("y")
    assert generate("--model", "onnx:net.onnx", "--json", "-q").result["notes"] == []
    named("z")
    assert generate("--model", "onnx:net.onnx", "--json", "-q").result["notes"] == [
        "clients have to change: the outputs of version 2 are others (z FP32[-1, 4] instead of y FP32[-1, 4])"
    ]
    Path("net.onnx").rename("net.model")
    outcome = generate("--model", "onnx:net.model", "--max-batch-size", "2", "--json", "-q")
    assert outcome.result["notes"] == [
        "version 3 is made from onnx:net.model, version 2 was made from onnx:net.onnx",
        "version 3 takes batches up to 2, version 2 took 16",
    ]
    assert "warning: net: version 3 is made from" in outcome.err


def test_an_edit_by_hand_is_said_also_if_all_is_made_again(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    with config(workdir).open("a") as file:
        file.write("# mine\n")
    outcome = generate(*LINEAR, "--tolerance", "0.01")
    assert outcome.result["status"] == "unchanged"
    assert "config.pbtxt was edited by hand" in outcome.err


def test_ctrl_c_keeps_the_backends_that_are_proven(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(fp16, "RECIPE", replace(fp16.RECIPE, lower=interrupted))
    outcome = generate(*LINEAR, "--backends", "onnx,onnx:fp16")
    assert outcome.code == 130
    assert [row["status"] for row in outcome.report["results"]] == ["published", "skipped"]
    assert [path.name for path in (workdir / "model_repository").iterdir()] == ["linear_onnx"]


def test_ctrl_c_while_publishing_waits_until_the_repository_is_whole(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = files.sync_tree

    def interrupted(folder: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sync(folder)

    monkeypatch.setattr(repository_module, "sync_tree", interrupted)
    assert generate("--model", "numpy:linear").code == 130
    monkeypatch.undo()
    assert config(workdir).exists()
    assert list((workdir / ".modelrepo/model_repository").glob("manifests/linear/1.json"))


def test_a_failed_move_is_undone(generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(*LINEAR)
    before = snapshot(workdir / "model_repository")
    rename = Path.replace
    labelled = numpy_framework.load

    def relabelled(*arguments: Any) -> SourceModel:
        return replace(labelled(*arguments), labels=("x", "y", "z"))

    monkeypatch.setitem(SOURCES, "numpy", replace(numpy_framework.SOURCE, load=relabelled))

    def failing(self: Path, target: Path) -> Path:
        if self.name == "config.pbtxt":
            raise OSError(5, "Input/output error", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    assert generate(*LINEAR, "--seed", "1").code == 6
    assert snapshot(workdir / "model_repository") == before
    assert [manifest.version for manifest in Repository(workdir / "model_repository").manifests("linear")] == [1]


def test_staged_files_of_a_killed_run_are_removed_by_the_next(generate: Generate, workdir: Path) -> None:
    script = (
        "from modelrepo.generator.repository.repository import Repository\n"
        "from pathlib import Path; import os, signal\n"
        "with Repository(Path('model_repository')).staging() as folder:\n"
        "    (folder / 'half.onnx').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=workdir, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert killed.returncode == -signal.SIGKILL
    staging = workdir / ".modelrepo/model_repository/staging"
    assert list(staging.rglob("half.onnx"))
    generate(*LINEAR)
    assert not staging.exists()


def test_two_writers_at_once_publish_one_version_each(workdir: Path) -> None:
    script = (
        "import sys; from tests import numpy_framework as n; from modelrepo.generator.sources import SOURCES\n"
        "from modelrepo.generator.export import EXPORTERS; n.add(SOURCES, EXPORTERS)\n"
        "from modelrepo.cli.entry import generate; generate()\n"
    )
    command = [sys.executable, "-c", script, "--model", "numpy:linear", "-q", "--live-check", "off"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    runs = [subprocess.Popen([*command, "--seed", str(seed)], cwd=workdir, env=environment) for seed in range(3)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    manifests = Repository(workdir / "model_repository").manifests("linear")
    assert [manifest.version for manifest in manifests] == [1, 2, 3]
    assert config(workdir).read_text() == manifests[-1].config
    assert all((workdir / f"model_repository/linear/{version}/model.onnx").exists() for version in (1, 2, 3))


def test_a_file_system_that_fills_up_leaves_the_repository_as_it_was(workdir: Path) -> None:
    script = (
        "import resource, sys; from tests import numpy_framework as n\n"
        "from modelrepo.generator.sources import SOURCES\n"
        "from modelrepo.generator.export import EXPORTERS; n.add(SOURCES, EXPORTERS)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "from modelrepo.cli.entry import generate; generate()\n"
    )
    command = [sys.executable, "-c", script, "--model", "numpy:linear", "-q", "--live-check", "off"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=workdir, env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 6
    assert "File too large" in run.stderr
    assert run.stderr.count("\n") == 1
    assert snapshot(workdir) == {}


def test_an_interrupted_run_still_reports_what_was_published(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = numpy_framework.load

    def interrupted(name: str, *arguments: Any) -> SourceModel:
        if name == "mixes_samples":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return load(name, *arguments)

    monkeypatch.setitem(SOURCES, "numpy", replace(numpy_framework.SOURCE, load=interrupted))
    models = ("numpy:linear", "numpy:mixes_samples", "numpy:sums_the_batch")
    outcome = generate(*(word for model in models for word in ("--model", model)), "--json", "-q")
    assert outcome.code == 130
    assert [row["status"] for row in outcome.report["results"]] == ["published", "skipped", "skipped"]
    assert "models that the report calls published stay" in outcome.err
    assert [path.name for path in (workdir / "model_repository").iterdir()] == ["linear"]


def test_a_run_without_verification_keeps_the_proof(generate: Generate) -> None:
    generate(*LINEAR)
    unverified = generate(*LINEAR, "--no-verify")
    assert (unverified.result["status"], unverified.result["verification"]["passed"]) == ("unchanged", True)
    again = generate(*LINEAR, "--no-verify", "--tolerance", "0.5")
    assert (again.result["status"], again.result["verification"]["passed"]) == ("unchanged", True)


def test_an_unverified_version_is_verified_on_request(generate: Generate) -> None:
    assert generate(*LINEAR, "--no-verify").result["verification"]["passed"] is None
    verified = generate(*LINEAR)
    assert (verified.result["status"], verified.result["version"]) == ("unchanged", 1)
    assert verified.result["verification"]["passed"] is True


def test_a_damaged_plan_is_prepared_again(generate: Generate, workdir: Path) -> None:
    arguments = (*LINEAR, "--backends", "tensorrt")
    generate(*arguments)
    onnx = workdir / ".modelrepo/model_repository/plans/linear/model.onnx"
    whole = onnx.read_bytes()
    onnx.write_bytes(b"damaged")
    assert generate(*arguments).result["status"] == "deferred"
    assert onnx.read_bytes() == whole


@pytest.mark.parametrize(("flags", "other"), [((), "published"), (("--all-or-nothing",), "skipped")])
def test_a_plan_that_cannot_be_kept_fails(
    generate: Generate, workdir: Path, flags: tuple[str, ...], other: str
) -> None:
    (workdir / ".modelrepo/model_repository").mkdir(parents=True)
    (workdir / ".modelrepo/model_repository/plans").touch()
    outcome = generate(*LINEAR, "--backends", "onnx,tensorrt", *flags)
    assert outcome.code == 6
    assert [row["status"] for row in outcome.report["results"]] == [other, "failed"]
    assert (workdir / "model_repository/linear_onnx").exists() == (other == "published")


@pytest.mark.parametrize("damage", ["{", "{}", '{"schema": 2}', '{"schema": 1, "files": {}}'])
def test_a_damaged_manifest_is_named(generate: Generate, workdir: Path, damage: str) -> None:
    generate(*LINEAR)
    manifest = workdir / ".modelrepo/model_repository/manifests/linear/1.json"
    manifest.write_text(damage)
    before = snapshot(workdir)
    outcome = generate(*LINEAR)
    assert outcome.code == 6
    assert str(manifest) in outcome.err
    assert snapshot(workdir) == before


@pytest.mark.parametrize("damage", ["{", "{}", '{"plans": {"linear": {}}}'])
def test_a_damaged_plans_lock_is_named(generate: Generate, workdir: Path, damage: str) -> None:
    generate(*LINEAR, "--backends", "tensorrt")
    lock = workdir / ".modelrepo/model_repository/plans.lock"
    lock.write_text(damage)
    outcome = generate(*LINEAR, "--backends", "tensorrt")
    assert (outcome.code, f"{lock} is damaged" in outcome.err) == (6, True)


def test_foreign_files_among_the_manifests_are_ignored(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    (workdir / ".modelrepo/model_repository/manifests/linear/notes.json").write_text("mine")
    assert generate(*LINEAR).result["status"] == "unchanged"


def test_a_version_number_that_would_abort_triton_is_refused(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    (config(workdir).parent / "20241031123456789012").mkdir()
    outcome = generate(*LINEAR, "--seed", "1")
    assert (outcome.code, "makes Triton abort" in outcome.err) == (6, True)


def test_the_same_files_under_another_path_are_the_same(generate: Generate, workdir: Path) -> None:
    (workdir / "p.pbtxt").write_text("max_batch_size: 4")
    (workdir / "elsewhere").mkdir()
    (workdir / "elsewhere/q.pbtxt").write_text("max_batch_size: 4")
    generate(*LINEAR, "--config-patch", "p.pbtxt")
    assert generate(*LINEAR, "--config-patch", "elsewhere/q.pbtxt").result["status"] == "unchanged"


def test_the_table_is_readable_on_a_narrow_terminal(workdir: Path) -> None:
    script = (
        "from tests import numpy_framework as n; from modelrepo.generator.sources import SOURCES\n"
        "from modelrepo.generator.export import EXPORTERS; n.add(SOURCES, EXPORTERS)\n"
        "from modelrepo.cli.entry import generate; generate()\n"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "--model",
        "numpy:linear",
        "--backends",
        "onnx,tensorrt",
        "--live-check",
        "off",
    ]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "80", "TERM": "xterm"}
    main, terminal = pty.openpty()
    run = subprocess.Popen(command, cwd=workdir, env=environment, stdout=terminal, stderr=subprocess.DEVNULL)
    os.close(terminal)
    assert run.wait(timeout=60) == 0
    lines = re.sub(r"\x1b\[\d*m", "", os.read(main, 65536).decode()).splitlines()
    os.close(main)
    table = lines[: next(row for row, line in enumerate(lines) if ":" in line)]
    assert [line.split()[:4] for line in table[-2:]] == [
        ["linear_onnx", "onnxruntime", "1", "published"],
        ["linear_tensorrt", "tensorrt", "-", "deferred"],
    ]
    assert max(map(len, table)) <= 80, table
    assert "linear_onnx: model_repository/linear_onnx/1" in lines


def test_an_interrupt_while_publishing_reports_what_was_published(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = files.sync_tree

    def interrupted(folder: Path) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        sync(folder)

    monkeypatch.setattr(repository_module, "sync_tree", interrupted)
    outcome = generate(*LINEAR)
    assert (outcome.code, outcome.result["status"], outcome.result["version"]) == (130, "published", 1)


def test_a_run_that_failed_for_one_backend_says_what_is_published_for_the_other(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(*LINEAR, "--name-template", "{model}_{backend}")

    def failing(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "model.onnx")

    monkeypatch.setattr("modelrepo.generator.pipeline.staging.shutil.copy2", failing)
    outcome = generate(*LINEAR, "--backends", "onnx,tensorrt")
    assert [row["status"] for row in outcome.report["results"]] == ["unchanged", "failed"]


@pytest.mark.parametrize("expected_at", ["/nowhere/*/weights.pth", None])
def test_a_published_fallback_to_random_weights_fails_a_run_that_does_not_allow_it(
    expected_at: str | None, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = numpy_framework.load

    def fallen_back(name: str, options: Options, progress: Progress) -> SourceModel:
        if not options.allow_untrained:
            raise SourceError("can't download")
        weights = Weights("random", "seed 0", untrained=True, expected_at=expected_at)
        return replace(load(name, options, progress), weights=weights)

    monkeypatch.setitem(SOURCES, "numpy", replace(numpy_framework.SOURCE, load=fallen_back))
    Path("modelrepo.toml").write_text("allow_untrained = true\n")
    assert generate(*LINEAR).result["status"] == "published"
    assert generate(*LINEAR).result["status"] == "unchanged"
    Path("modelrepo.toml").unlink()
    assert generate(*LINEAR).code == 3


def test_a_dry_run_finds_what_would_fail(generate: Generate, workdir: Path) -> None:
    assert generate("--model", "numpy:nothing", "--dry-run").code == 3
    (workdir / "config.pbtxt.j2").write_text("{{ undefined }}")
    assert generate(*LINEAR, "--templates", ".", "--dry-run").code == 2


EDITS = {
    "max_batch_size: sixteen": "1:17: PARSE",
    'backend: "onnxruntime"\nmax_batch_size: 16\ninput { name: "input" data_type: TYPE_FP32 dims: [ 5 ] }\n'
    'output { name: "output" data_type: TYPE_FP32 dims: [ 3 ] }': "3:52: ORT-DIM",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--live-check", "auto")])
def test_an_edited_configuration_that_triton_refuses_is_a_failed_row(
    generate: Generate, workdir: Path, edit: str, more: tuple[str, ...]
) -> None:
    generate(*LINEAR)
    config(workdir).write_text(edit)
    outcome = generate(*LINEAR, *more)
    assert outcome.code == 6
    assert outcome.result["status"] == "failed"
    said = f"config.pbtxt of linear, edited by hand, can't be served: linear/config.pbtxt:{EDITS[edit]}: Triton"
    assert said in outcome.err
    assert config(workdir).read_text() == edit


def test_an_edit_that_is_right_stays_with_a_warning(generate: Generate, workdir: Path) -> None:
    generate(*LINEAR)
    config(workdir).write_text(config(workdir).read_text() + "\n# a note\n")
    outcome = generate(*LINEAR)
    assert (outcome.code, outcome.result["status"]) == (0, "unchanged")
    assert "edited by hand and is left as it is" in outcome.err
