"""`modelrepo plans`, with stand-ins for docker, trtexec and nvidia-smi: no plan was ever built on a GPU here.

What is real: the repository, ONNX Runtime's answers, every comparison, and what is published.
"""

import importlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from onnx import helper

from modelrepo.cli.commands.plans import plans
from modelrepo.generator.errors import OptionError, RepositoryError, VerificationError
from modelrepo.generator.graphs import onnx_file, runtime
from modelrepo.generator.plans import finish, status
from modelrepo.generator.plans.config import PreparedConfig
from modelrepo.generator.plans.reference import stand_in_model, write_reference
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.lifecycle import golden
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.tensorrt import answers as plan_answers
from modelrepo.generator.tensorrt.builder import PlanInputs
from modelrepo.generator.tensorrt.profiles import Profile
from modelrepo.generator.tensorrt.proof import Reference, verify_plan
from modelrepo.generator.triton import pbtxt
from tests import onnx_files, stand_ins
from tests.conftest import PROJECT, Generate, ModelRepo, Outcome, snapshot
from tests.prepared_plans import CONFIG, SEVERAL_SIZES, SPEC, prepare, write_model

Golden = Callable[[str, str], None]
Plans = Callable[..., Outcome]


@pytest.fixture
def root(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a repository, on a machine without a GPU."""
    monkeypatch.setenv("MODELREPO_CACHE", str(workdir / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", stand_ins.install(workdir / "no-gpu", "nvidia-smi"))
    monkeypatch.setenv("STAND_IN_GPU", "none")
    return workdir / "model_repository"


@pytest.fixture
def gpu(root: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make this a machine with docker and a GPU, by stand-ins; call it to change the compute capability."""
    monkeypatch.setenv("PATH", stand_ins.install(workdir / "stand-ins"))
    monkeypatch.setenv("STAND_IN_CALLS", str(workdir / "calls"))

    def choose(capability: str) -> None:
        monkeypatch.setenv("STAND_IN_GPU", capability)

    choose(stand_ins.CAPABILITY)
    return choose


@pytest.fixture
def run(modelrepo: ModelRepo) -> Plans:
    """Run a verb of `modelrepo plans`."""
    return lambda *arguments: modelrepo(plans, *arguments)


def masked(text: str, root: Path) -> str:
    """Return a message without the parts that differ between runs."""
    text = text.replace(str(root.parent), "/w").replace(root.parent.name, "W")
    return re.sub(r"\d+\.\d s", "0.1 s", text)


def calls(workdir: Path, flag: str) -> int:
    """Return how often the stand-in for trtexec was called with a flag."""
    return (workdir / "calls").read_text().count(flag) if (workdir / "calls").exists() else 0


def statuses(outcome: Outcome) -> dict[str, str]:
    rows = outcome.report["results"] if "results" in outcome.report else outcome.report["plans"]
    return {row["name"]: row["status"] for row in rows}


def without_cache(root: Path) -> dict[str, Any]:
    """Return all files beside the repository, except the stand-ins' notes and the cache."""
    everything = snapshot(root.parent)
    return {path: kept for path, kept in everything.items() if path.partition("/")[0] not in ("calls", "cache")}


# --- status


def test_without_plans_status_says_so(root: Path, run: Plans) -> None:
    root.mkdir()
    assert run("status").out == "no TensorRT plans: generate prepares them with --backends tensorrt\n"
    assert run("status", "--json").report["plans"] == []
    assert run("build").code == 0


def test_a_prepared_plan_is_pending(root: Path, run: Plans, golden: Golden) -> None:
    prepare(root)
    before = snapshot(root.parent)
    outcome = run("status")
    assert (outcome.code, outcome.err) == (0, "")
    golden("plans/status-pending.txt", outcome.out)
    assert snapshot(root.parent) == before


def test_status_for_a_program_names_the_command_and_the_reason(root: Path, run: Plans) -> None:
    entry = prepare(root)
    (plan,) = run("status", "--json").report["plans"]
    assert (plan["status"], plan["next_step"], plan["reason"]) == ("pending", entry.command, entry.reason)


@pytest.mark.usefixtures("gpu")
def test_status_of_a_published_plan_has_its_gpu_and_its_worst_difference(
    root: Path, run: Plans, golden: Golden
) -> None:
    prepare(root)
    run("build", "-q")
    outcome = run("status")
    golden("plans/status-published.txt", outcome.out)
    (plan,) = run("status", "--json").report["plans"]
    assert (plan["status"], plan["version"], plan["next_step"]) == ("published", 1, None)
    assert plan["plans"][0]["proof"]["cases"] > 1


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "model.onnx changed"),
        ({"spec": replace(SPEC, optimization_level=4)}, "optimization level: 3 became 4"),
        ({"spec": replace(SPEC, image="nvcr.io/nvidia/tritonserver:26.07-py3")}, "26.08-py3 became nvcr.io/"),
        ({"spec": replace(SPEC, tools={"onnx": "1.24"})}, None),
    ],
    ids=["model", "flags", "image", "tools"],
)
def test_a_published_plan_is_stale_if_its_inputs_changed(
    root: Path, run: Plans, change: dict[str, Any], told: str | None
) -> None:
    prepare(root)
    run("build", "-q")
    prepare(root, **change)
    (plan,) = run("status", "--json").report["plans"]
    assert plan["status"] == ("stale" if told else "published")
    assert not told or told in plan["changed"][0]


def test_a_published_plan_is_stale_on_another_gpu(root: Path, run: Plans, gpu: Callable[[str], None]) -> None:
    prepare(root)
    run("build", "-q")
    gpu("9.0")
    (plan,) = run("status", "--json").report["plans"]
    assert plan["status"] == "stale"
    assert plan["changed"] == ["built for Stand-in GPU (8.9), but this machine has Stand-in GPU (9.0)"]


@pytest.mark.usefixtures("gpu")
def test_a_plan_is_superseded_by_a_later_version(root: Path, run: Plans) -> None:
    older = prepare(root)
    prepare(root, seed=1, key="another")
    run("build", "-q")
    repository = Repository(root)
    with repository.staging() as staging, repository.locked():  # as if it had been prepared before
        shutil.copytree(PlanStore(repository).folder("linear"), staging / "linear")
        PlanStore(repository).defer("linear", staging / "linear", replace(older, files={}))
    before = snapshot(root)
    (plan,) = run("status", "--json").report["plans"]
    assert (plan["status"], plan["changed"]) == ("superseded", ["version 1 was published since"])
    assert plan["next_step"] == "Prepare it again with generate"
    assert "linear: version 1 was published since. Prepare it again with generate\n" in run("status").out
    for flags in ((), ("--rebuild",)):
        (row,) = run("build", *flags, "--json", "-q").report["results"]
        assert (row["status"], row["version"], row["plans"]) == ("superseded", None, [])
        assert row["reasons"] == ["version 1 was published since"]
    verified = run("verify", "-q")
    assert (verified.code, verified.err) == (
        6,
        "error: linear: version 1 was published since, and is not what was prepared. Prepare it again with generate\n",
    )
    assert snapshot(root) == before


@pytest.mark.usefixtures("numpy_models")
def test_a_superseded_plan_is_prepared_again_for_the_next_version(
    root: Path, workdir: Path, generate: Generate, run: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(*TENSORRT)
    assert PlanStore(Repository(root)).entries()["linear"].version == 1
    assert generate("--model", "numpy:linear", "--max-batch-size", "4", "--json").result["version"] == 1
    assert statuses(run("status", "--json")) == {"linear": "superseded"}
    assert generate(*TENSORRT).result["status"] == "deferred"
    assert PlanStore(Repository(root)).entries()["linear"].version == 2
    assert statuses(run("status", "--json")) == {"linear": "pending"}
    monkeypatch.setenv("PATH", stand_ins.install(workdir / "stand-ins"))
    monkeypatch.setenv("STAND_IN_GPU", "8.9")
    (row,) = run("build", "--strict", "--json", "-q").report["results"]
    assert (row["status"], row["version"]) == ("published", 2)


# --- build


@pytest.mark.usefixtures("gpu")
def test_all_that_is_pending_is_built_proven_and_published(
    root: Path, workdir: Path, run: Plans, golden: Golden
) -> None:
    prepare(root, "one", spec=replace(SPEC, profiles=SEVERAL_SIZES))
    prepare(root, "two", seed=1)
    outcome = run("build")
    assert outcome.code == 0
    golden("plans/build.txt", masked(outcome.out, root))
    assert sorted(snapshot(root)) == [
        *("one", "one/1", "one/1/model.plan", "one/config.pbtxt", "one/labels.txt"),
        *("two", "two/1", "two/1/model.plan", "two/config.pbtxt", "two/labels.txt"),
    ]
    manifest = Repository(root).manifests("one")[0]
    (plan,) = manifest.provenance.plans
    assert (plan.gpu, plan.compute_capability, plan.tensorrt, plan.way) == (
        "Stand-in GPU",
        "8.9",
        "11.2.1.0",
        "container",
    )
    assert plan.proof
    assert plan.proof.cases > 7  # more than one size
    assert 0 < plan.proof.max_rel_diff < 1e-5
    assert list((workdir / ".modelrepo/model_repository").glob("staging")) == []


@pytest.mark.usefixtures("gpu", "numpy_models")
def test_on_a_gpu_host_generate_builds_and_publishes_what_it_prepared(
    root: Path, generate: Generate, run: Plans
) -> None:
    arguments = ("--model", "numpy:linear", "--backends", "onnx,tensorrt:fp16", "--max-batch-size", "4", "--json")
    outcome = generate(*arguments)
    assert outcome.code == 0, outcome.err
    onnx, plan = outcome.report["results"]
    assert [(row["name"], row["status"], row["version"]) for row in (onnx, plan)] == [
        ("linear_onnx", "published", 1),
        ("linear_tensorrt_fp16", "published", 1),
    ]
    assert (root / "linear_tensorrt_fp16" / "1" / "model.plan").is_file()
    assert plan["notes"] == [
        "built for Stand-in GPU by TensorRT 11.2.1.0 (container)",
        "not in this process: TensorRT is not installed",
    ]
    assert statuses(run("status", "--json")) == {"linear_tensorrt_fp16": "published"}
    kept = golden.read(Repository(root), "linear_tensorrt_fp16", 1)
    assert kept
    assert [len(each.families) for each in kept.requests] == [1, 2]
    for request in kept.requests:
        wanted = request.outputs["output"]
        magnitudes = np.abs(wanted.array).max(axis=1)
        assert all(0 < limit <= 0.011 * most for limit, most in zip(wanted.limits, magnitudes, strict=True))
    assert [row["status"] for row in generate(*arguments).report["results"]] == ["unchanged", "unchanged"]


@pytest.mark.usefixtures("gpu", "numpy_models")
def test_a_plan_that_can_not_be_built_in_generate_stays_pending_and_the_rest_is_published(
    root: Path, generate: Generate, run: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "memory")
    outcome = generate("--model", "numpy:linear", "--backends", "onnx,tensorrt", "--max-batch-size", "4", "--json")
    assert outcome.code == 4
    assert [row["status"] for row in outcome.report["results"]] == ["published", "failed"]
    assert statuses(run("status", "--json")) == {"linear_tensorrt": "pending"}
    assert not (root / "linear_tensorrt").exists()


TENSORRT = ("--model", "numpy:linear", "--backends", "tensorrt", "--max-batch-size", "4", "--json")


@pytest.mark.usefixtures("gpu", "numpy_models")
def test_a_plan_that_failed_is_built_by_the_next_generate_without_an_export(
    root: Path, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "wrong")
    for _ in range(2):
        again = generate(*TENSORRT)
        assert (again.code, [row["status"] for row in again.report["results"]]) == (5, ["failed"])
    assert "export" not in again.report["seconds"]
    monkeypatch.delenv("STAND_IN")
    right = generate(*TENSORRT)
    assert [(row["status"], row["version"]) for row in right.report["results"]] == [("published", 1)]
    assert "export" not in right.report["seconds"]


@pytest.mark.usefixtures("numpy_models")
def test_a_plan_that_was_prepared_without_a_gpu_is_built_by_generate_on_a_gpu_host(
    root: Path, workdir: Path, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*flags: str) -> str:
        return str(generate(*TENSORRT, *flags).report["results"][0]["status"])

    assert [made(), made()] == ["deferred", "deferred"]
    demanded = generate(*TENSORRT, "--plan-builder", "container")
    assert demanded.code == 4
    assert "with --plan-builder container: nvidia-smi finds no usable GPU" in demanded.err
    monkeypatch.setenv("PATH", stand_ins.install(workdir / "stand-ins"))
    monkeypatch.setenv("STAND_IN_GPU", "8.9")
    assert made("--plan-builder", "defer") == "deferred"
    assert made("--dry-run") == "skipped"
    assert not root.exists()
    assert made("--plan-builder", "container") == "published"


@pytest.mark.usefixtures("numpy_models")
def test_a_plan_of_an_earlier_release_is_prepared_again(root: Path, generate: Generate, run: Plans) -> None:
    generate(*TENSORRT)
    lock = PlanStore(Repository(root)).lock
    whole = lock.read_text()
    document = json.loads(whole)
    del document["plans"]["linear"]["inputs"]["sparse"]
    lock.write_text(json.dumps(document))
    assert statuses(run("status", "--json")) == {"linear": "damaged"}
    assert [row["status"] for row in generate(*TENSORRT).report["results"]] == ["deferred"]
    assert lock.read_text().count('"sparse"') == whole.count('"sparse"')


@pytest.mark.usefixtures("gpu", "numpy_models")
def test_a_plan_is_proven_even_if_the_export_is_not(root: Path, run: Plans, generate: Generate) -> None:
    outcome = generate(*TENSORRT, "--no-verify")
    assert outcome.code == 0, outcome.err
    assert [row["status"] for row in outcome.report["results"]] == ["published"]
    (plan,) = run("status", "--json").report["plans"]
    assert plan["plans"][0]["proof"]["cases"] > 1


@pytest.mark.usefixtures("gpu")
def test_an_unreadable_entry_does_not_stop_the_others(root: Path, run: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(root, "one")
    prepare(root, "two")
    stand = status.stand

    def unreadable(name: str, *others: Any) -> Any:
        if name == "one":
            raise PermissionError(13, "Permission denied", "model.onnx")
        return stand(name, *others)

    monkeypatch.setattr(finish, "stand", unreadable)
    outcome = run("build", "--json", "-q")
    assert (outcome.code, statuses(outcome)) == (6, {"one": "failed", "two": "published"})
    assert outcome.err == "error: one: Permission denied: model.onnx\n"
    told = run("status")
    assert (told.code, told.err) == (6, "error: Permission denied: model.onnx\n")


@pytest.mark.usefixtures("gpu")
def test_an_interrupt_while_files_are_checked_ends_in_a_report(
    root: Path, run: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(root, "one")
    prepare(root, "two")

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(finish, "stand", interrupted)
    outcome = run("build", "--json", "-q")
    assert (outcome.code, statuses(outcome)) == (130, {"one": "skipped", "two": "skipped"})


@pytest.mark.usefixtures("gpu")
def test_only_named_plans_are_built(root: Path, run: Plans) -> None:
    prepare(root, "one")
    prepare(root, "two")
    assert statuses(run("build", "two", "--json", "-q")) == {"two": "published"}
    assert statuses(run("status", "--json")) == {"one": "pending", "two": "published"}


@pytest.mark.usefixtures("gpu")
def test_building_twice_changes_nothing(root: Path, workdir: Path, run: Plans) -> None:
    prepare(root)
    run("build", "-q")
    before = snapshot(workdir)
    assert statuses(run("build", "--json", "-q")) == {"linear": "unchanged"}
    assert snapshot(workdir) == before


@pytest.mark.usefixtures("gpu")
def test_the_same_plan_is_taken_from_the_cache(root: Path, workdir: Path, run: Plans) -> None:
    prepare(root)
    run("build", "-q")
    shutil.rmtree(root)
    shutil.rmtree(Repository(root).state)
    prepare(root)
    assert statuses(run("build", "--json", "-q")) == {"linear": "published"}
    assert calls(workdir, "--saveEngine") == 1


@pytest.mark.usefixtures("gpu")
def test_rebuild_also_builds_published_plans(root: Path, workdir: Path, run: Plans) -> None:
    prepare(root)
    run("build", "-q")
    (row,) = run("build", "--rebuild", "--json", "-q").report["results"]
    assert (row["status"], row["version"]) == ("unchanged", 1)  # the stand-in builds the same each time
    assert calls(workdir, "--saveEngine") == 2


@pytest.mark.usefixtures("gpu")
def test_a_new_model_is_the_next_version_and_is_the_one_served(root: Path, run: Plans) -> None:
    prepare(root)
    run("build", "-q")
    prepare(root, seed=1, key="another")
    (row,) = run("build", "--json", "-q").report["results"]
    assert (row["status"], row["version"]) == ("published", 2)
    text = (root / "linear/config.pbtxt").read_text()
    assert text == CONFIG.format(name="linear", version=2)


def test_plans_of_two_kinds_of_gpu_are_published_together(
    root: Path, workdir: Path, run: Plans, gpu: Callable[[str], None]
) -> None:
    prepare(root)
    run("build", "-q")
    gpu("9.0")
    (row,) = run("build", "--json", "-q").report["results"]
    assert (row["status"], row["version"]) == ("published", 2)
    assert [plan["compute_capability"] for plan in row["plans"]] == ["8.9", "9.0"]
    assert sorted(path.name for path in (root / "linear/2").iterdir()) == ["model.cc89.plan", "model.cc90.plan"]
    config = pbtxt.parse((root / "linear/config.pbtxt").read_text(), "config.pbtxt")
    assert dict(config.cc_model_filenames) == {"8.9": "model.cc89.plan", "9.0": "model.cc90.plan"}
    assert statuses(run("status", "--json")) == {"linear": "published"}
    assert statuses(run("verify", "--json", "-q")) == {"linear": "verified"}


def test_without_a_gpu_the_commands_are_printed_if_asked_for(root: Path, run: Plans, golden: Golden) -> None:
    prepare(root)
    before = snapshot(root.parent)
    assert "docker run" not in run("build", "-q").out
    outcome = run("build", "-q", "-v")
    assert (outcome.code, outcome.err) == (0, "")
    golden("plans/build-deferred.txt", masked(outcome.out, root))
    strict = run("build", "-q", "--strict")
    assert (strict.code, strict.err) == (9, "error: linear can't be built on this machine\n")
    assert snapshot(root.parent) == before


@pytest.mark.parametrize("failure", stand_ins.FAILURES)
@pytest.mark.usefixtures("gpu")
def test_a_failed_plan_is_reported_and_leaves_nothing(
    root: Path, run: Plans, monkeypatch: pytest.MonkeyPatch, golden: Golden, failure: str
) -> None:
    prepare(root)
    before = without_cache(root)
    monkeypatch.setenv("STAND_IN", failure)
    outcome = run("build", "-q")
    golden(f"plans/failed-{failure}.txt", masked(outcome.err, root))
    assert outcome.code == (4 if failure in ("memory", "operator", "killed") else 5)
    assert without_cache(root) == before
    assert statuses(run("status", "--json")) == {"linear": "pending"}


@pytest.mark.usefixtures("gpu")
def test_one_failure_does_not_stop_the_others(root: Path, run: Plans) -> None:
    prepare(root, "one")
    prepare(root, "two")
    (PlanStore(Repository(root)).folder("one") / "model.onnx").write_bytes(b"damaged")
    outcome = run("build", "--json", "-q")
    assert statuses(outcome) == {"one": "failed", "two": "published"}
    assert outcome.code == 6
    assert outcome.err == ("error: one: model.onnx changed since it was prepared. Prepare it again with generate\n")


@pytest.mark.usefixtures("gpu")
def test_a_plan_of_another_tensorrt_than_the_image_is_refused(
    root: Path, workdir: Path, run: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(root)
    tool = workdir / "stand-ins/trtexec"
    tool.write_text(tool.read_text().replace("exec ", "STAND_IN_TENSORRT=10.13.2.6 exec "))
    outcome = run("build", "-q")
    assert outcome.code == 4
    assert "built by TensorRT 10.13.2.6" in outcome.err
    assert not root.exists()


@pytest.mark.usefixtures("gpu")
def test_an_interrupt_leaves_the_plan_pending_and_nothing_half_made(root: Path, workdir: Path) -> None:
    prepare(root, "one")
    prepare(root, "two")
    before = without_cache(root)
    script = "import sys; sys.argv[0] = 'modelrepo'; from modelrepo.cli.entry import modelrepo; modelrepo()"
    tool = workdir / "stand-ins/trtexec"
    tool.write_text("#!/bin/sh\ntouch started model.plan.tmp\ncp started ../../../../../started\nexec sleep 60\n")
    before["stand-ins/trtexec"] = ("file", tool.read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-c", script, "plans", "build", "--json", "-q"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    started = Path("started")
    deadline = time.monotonic() + 120
    while not started.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert {row["name"]: row["status"] for row in json.loads(out)["results"]} == {"one": "skipped", "two": "skipped"}
    assert "interrupted" in err
    started.unlink()
    assert without_cache(root) == before


@pytest.mark.usefixtures("gpu")
def test_docker_without_the_gpu_toolkit_defers(root: Path, run: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(root)
    monkeypatch.setenv("STAND_IN_DOCKER", "no-gpu")
    outcome = run("build", "--json", "-q")
    assert statuses(outcome) == {"linear": "deferred"}
    assert any("container toolkit is missing" in reason for reason in outcome.report["results"][0]["reasons"])
    wanted = run("build", "--in", "container", "-q")
    assert wanted.code == 4
    assert "with --plan-builder container: docker can't give a container a GPU" in wanted.err


# --- verify


@pytest.mark.usefixtures("gpu")
def test_verify_runs_the_published_file_and_changes_nothing(
    root: Path, run: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(root)
    run("build", "-q")
    before = snapshot(root.parent)
    outcome = run("verify", "--json", "-q")
    (row,) = outcome.report["results"]
    assert (outcome.code, row["status"], row["version"]) == (0, "verified", 1)
    monkeypatch.setenv("STAND_IN", "wrong")
    wrong = run("verify", "-q")
    assert wrong.code == 5
    assert "differs by 100" in wrong.err
    after = snapshot(root.parent)
    del before["calls"], after["calls"]
    assert after == before


def test_verify_without_a_gpu_says_so(root: Path, run: Plans) -> None:
    prepare(root)
    outcome = run("verify")
    assert outcome.code == 7
    assert outcome.err.startswith("error: can't run a plan here: ")
    assert outcome.err.endswith("Run it on a host with the GPU\n")


def test_a_plan_that_is_not_built_or_of_another_gpu_cannot_be_verified(
    root: Path, run: Plans, gpu: Callable[[str], None]
) -> None:
    prepare(root)
    pending = run("verify", "-q")
    assert pending.code == 6
    assert pending.err == (
        "error: linear: there is no plan for Stand-in GPU (8.9). Build it with: modelrepo plans build linear\n"
    )
    run("build", "-q")
    gpu("9.0")
    assert "there is no plan for Stand-in GPU (9.0)" in run("verify", "-q").err


# --- bad input


@pytest.mark.parametrize("verb", ["status", "build", "verify"])
def test_a_repository_that_is_not_there_is_named(root: Path, run: Plans, verb: str) -> None:
    outcome = run(verb, "--repository", "nowhere")
    assert outcome.code == 6
    assert outcome.err == (
        "error: can't find the repository nowhere. Name one with --repository, or run generate first\n"
    )
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("verb", ["build", "verify"])
def test_an_unknown_name_is_answered_with_the_nearest(root: Path, run: Plans, verb: str) -> None:
    prepare(root, "resnet50_tensorrt")
    outcome = run(verb, "resnet50_tensort")
    assert (outcome.code, outcome.err) == (
        2,
        "error: unknown plan 'resnet50_tensort'. Did you mean resnet50_tensorrt?\n",
    )


@pytest.mark.parametrize("verb", ["status", "build", "verify"])
@pytest.mark.parametrize("damage", ["{", "[]", '{"schema": 2, "plans": {"linear": {}}}'])
def test_a_damaged_plans_lock_is_named(root: Path, run: Plans, verb: str, damage: str) -> None:
    prepare(root)
    lock = PlanStore(Repository(root)).lock
    lock.write_text(damage)
    outcome = run(verb)
    assert outcome.code == 6
    assert f"{lock} is damaged" in outcome.err


# What `generate` would do for minutes on a real model, and must not begin where a plan's profiles can't be.
LOWERING = ("simplifying", "pruning", "lowering")


@pytest.mark.parametrize(
    "profiles", [(), ("--profiles", "sequence=1:2:3"), ("--profiles", "batch=1:2:4,seq=8")], ids=str
)
@pytest.mark.parametrize("backend", ["tensorrt", "onnx+tensorrt-ep"])
def test_profiles_that_do_not_fit_are_refused_before_anything_is_lowered(
    root: Path, generate: Generate, profiles: tuple[str, ...], backend: str
) -> None:
    onnx_files.write(
        "text.onnx",
        inputs=[("x", onnx_files.FLOAT, ["batch", "seq"])],
        outputs=[("y", onnx_files.FLOAT, ["batch", "seq"])],
    )
    wanted = ("--backends", f"onnx:fp16,{backend}:fp16", "--all-or-nothing")
    outcome = generate("--model", "onnx:text.onnx", *wanted, "--simplify", *profiles)
    assert outcome.code == 2, outcome.err
    assert "--profiles" in outcome.err
    assert "verifying against the source" in outcome.err
    assert not [word for word in LOWERING if word in outcome.err]
    assert not root.exists()


def damage_entry(root: Path, *path: str, value: object) -> None:
    """Replace one value of the entry `linear`, found by the keys of ``path``."""
    lock = PlanStore(Repository(root)).lock
    document = json.loads(lock.read_text())
    place = document["plans"]["linear"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    lock.write_text(json.dumps(document))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("verb", ["status", "build", "verify"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("inputs",), None),
        (("inputs",), 3),
        (("inputs",), []),
        (("provenance", "options"), None),
        (("provenance", "options", "seed"), "text"),
        (("provenance", "options", "version_policy"), "latest"),
        (("version",), "1"),
        (("max_batch_size",), None),
    ],
    ids=repr,
)
def test_an_entry_of_the_wrong_types_is_damage_to_its_file(
    root: Path, run: Plans, verb: str, field: tuple[str, ...], value: object
) -> None:
    prepare(root)
    damage_entry(root, *field, value=value)
    outcome = run(verb)
    assert (outcome.code, "plans.lock is damaged" in outcome.err) == (6, True)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("inputs", "precision"), "fp64"),
        (("inputs", "precision"), ["fp32"]),
        (("inputs", "image"), None),
        (("inputs", "profiles"), [3]),
        (("inputs", "onnx"), 3),
        (("provenance", "options", "tolerance"), 3),
        (("provenance", "options", "tolerance"), {"relative": "much", "absolute": 0}),
    ],
    ids=repr,
)
def test_an_entry_with_impossible_values_is_damaged_and_does_not_stop_the_others(
    root: Path, run: Plans, field: tuple[str, ...], value: object
) -> None:
    prepare(root)
    run("build", "-q")  # so that there is a plan to judge by the entry
    prepare(root, "other")
    damage_entry(root, *field, value=value)
    assert statuses(run("status", "--json")) == {"linear": "damaged", "other": "pending"}
    assert run("status").code == 0
    outcome = run("build", "--json", "-q")
    assert (outcome.code, statuses(outcome)) == (6, {"linear": "failed", "other": "published"})
    assert "error: linear: its entry in plans.lock is damaged: " in outcome.err
    assert run("verify", "linear", "-q").code == 6


def test_a_plans_lock_of_a_newer_release_is_left_alone(root: Path, run: Plans) -> None:
    prepare(root)
    lock = PlanStore(Repository(root)).lock
    lock.write_text(lock.read_text().replace('"schema": 2', '"schema": 3'))
    outcome = run("build")
    assert (outcome.code, outcome.err) == (
        6,
        f"error: {lock} was written by another release of modelrepo. Upgrade modelrepo\n",
    )


@pytest.mark.usefixtures("gpu")
def test_an_entry_of_an_earlier_release_is_reported_and_not_built(root: Path, run: Plans) -> None:
    prepare(root)
    lock = PlanStore(Repository(root)).lock
    document = json.loads(lock.read_text())
    entry = document["plans"]["linear"]
    del entry["version"], entry["provenance"]["plans"]
    entry.update(status="pending", inputs={"image": SPEC.image, "trtexec": []})
    lock.write_text(json.dumps({**document, "schema": 1}))
    (told,) = run("status", "--json").report["plans"]
    assert (told["status"], told["changed"]) == ("damaged", ["prepared by an earlier release"])
    assert told["next_step"] == "Prepare it again with generate"
    assert "linear: prepared by an earlier release. Prepare it again with generate\n" in run("status").out
    outcome = run("build", "-q")
    assert outcome.code == 6
    assert "prepared by an earlier release. Prepare it again with generate" in outcome.err


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("file", ["model.onnx", "config.pbtxt", "reference/reference.json"])
def test_a_missing_file_of_a_prepared_plan_is_named(root: Path, run: Plans, file: str) -> None:
    prepare(root)
    (PlanStore(Repository(root)).folder("linear") / file).unlink()
    assert statuses(run("status", "--json")) == {"linear": "damaged"}
    outcome = run("build", "-q")
    assert outcome.code == 6
    assert f"{file} is missing" in outcome.err
    assert not root.exists()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("cached", [True, False])
def test_a_plan_is_proven_again_and_not_built_after_a_change_of_the_limit(
    root: Path, workdir: Path, run: Plans, cached: bool
) -> None:
    prepare(root)
    run("build", "-q")
    if not cached:
        shutil.rmtree(workdir / "cache")
    prepare(root, tolerance=Tolerance(0.001))
    (plan,) = run("status", "--json").report["plans"]
    assert (plan["status"], plan["changed"]) == (
        "stale",
        ["not proven within the wanted tolerance"],
    )
    assert statuses(run("build", "--json", "-q")) == {"linear": "unchanged"}
    (plan,) = run("status", "--json").report["plans"]
    assert (plan["status"], plan["plans"][0]["proof"]["tolerance"]["relative"]) == ("published", 0.001)
    assert calls(workdir, "--saveEngine") == 1
    prepare(root, tolerance=Tolerance(1e-9))
    outcome = run("build", "-q")
    assert (outcome.code, "where 1e-09 is allowed" in outcome.err or "differs by" in outcome.err) == (5, True)
    assert [path.name for path in (root / "linear").iterdir() if path.is_dir()] == ["1"]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("beginning", ["another repository", "the same one"])
def test_a_proof_within_a_loose_limit_is_not_one_within_the_default(
    root: Path, run: Plans, monkeypatch: pytest.MonkeyPatch, beginning: str
) -> None:
    monkeypatch.setenv("STAND_IN", "wrong")  # by 100
    prepare(root, tolerance=Tolerance(1e6, absolute=1e6))
    assert statuses(run("build", "--json", "-q")) == {"linear": "published"}
    if beginning == "another repository":
        shutil.rmtree(root)
        shutil.rmtree(Repository(root).state)
    prepare(root, key="without a tolerance")
    outcome = run("build", "--json", "-q")
    assert (outcome.code, statuses(outcome)) == (5, {"linear": "failed"})
    assert "differs by 100" in outcome.err


def test_a_plan_without_a_proof_is_never_published(root: Path, run: Plans) -> None:
    prepare(root)
    (PlanStore(Repository(root)).folder("linear") / "model.plan").write_text("hours of a GPU")
    assert statuses(run("build", "--json", "-q")) == {"linear": "deferred"}
    assert not root.exists()


@pytest.mark.usefixtures("gpu")
def test_a_built_plan_that_was_changed_afterwards_is_ignored(root: Path, run: Plans) -> None:
    prepare(root)
    run("build", "-q")
    plan = PlanStore(Repository(root)).folder("linear") / "model.cc89.plan"
    plan.unlink()
    plan.write_bytes(b"changed")
    (root / "linear/1/model.plan").unlink()
    assert statuses(run("status", "--json")) == {"linear": "pending"}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": "0"}'])
def test_a_built_plan_with_a_damaged_record_is_built_again(root: Path, run: Plans, damage: str) -> None:
    prepare(root)
    run("build", "-q")
    (PlanStore(Repository(root)).folder("linear") / "model.cc89.plan.json").write_text(damage)
    (root / "linear/1/model.plan").unlink()
    assert statuses(run("status", "--json")) == {"linear": "pending"}
    assert statuses(run("build", "--json", "-q")) == {"linear": "published"}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("changed", [{"inputs": None}, {"gpu": 3}, {"proof": {"cases": 1}}], ids=str)
def test_a_built_plan_with_wrong_types_in_its_record_is_ignored(
    root: Path, run: Plans, changed: dict[str, Any]
) -> None:
    prepare(root)
    run("build", "-q")
    record = PlanStore(Repository(root)).folder("linear") / "model.cc89.plan.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **changed}))
    shutil.rmtree(root)
    shutil.rmtree(Repository(root).state / "manifests")
    assert statuses(run("status", "--json")) == {"linear": "pending"}


@pytest.mark.parametrize("arguments", [("build", "--in", "moon"), ("nonsense",), ("status", "linear")])
def test_impossible_arguments_are_usage_errors(root: Path, run: Plans, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")


# --- the configuration


def config(text: str, *, version: int | None = 1, plans: Mapping[str, str] | None = None) -> PreparedConfig:
    return PreparedConfig(text, 4, version, plans or {})


def test_only_the_version_is_changed_in_a_configuration() -> None:
    text = CONFIG.format(name="m", version=1)
    assert config(text).text(7) == text.replace("[ 1 ]", "[ 7 ]")
    assert config(text).text(1) == text


@pytest.mark.parametrize(
    "policy",
    [
        "version_policy { specific { versions: 1 } }",
        "version_policy: { specific: { versions: [1] } }",
        "version_policy < specific < versions: [ 1 ] > >",
        "version_policy { specific { versions: [ # the newest\n 1 ] } }",
    ],
)
def test_the_version_is_found_however_it_is_written(policy: str) -> None:
    moved = config(f'# note\nname: "version_policy"\n{policy}\n').text(12)
    message = pbtxt.parse(moved, "it")
    assert (list(message.version_policy.specific.versions), message.name) == ([12], "version_policy")
    assert moved.startswith("# note\n")


@pytest.mark.parametrize("policy", ["latest { num_versions: 1 }", "all { }", "specific { versions: [ 1, 3 ] }"])
def test_the_users_version_policy_stays(policy: str) -> None:
    text = f'name: "m"\nversion_policy {{ {policy} }}\n'
    assert config(text).text(7, (1, 3)) == text


def test_a_list_of_versions_that_will_not_be_there_is_refused() -> None:
    text = 'name: "m"\nversion_policy { specific { versions: [ 1, 3 ] } }\n'
    with pytest.raises(RepositoryError, match="lists version 3, which does not exist"):
        config(text, version=None).text(4, (1,))


def test_files_by_gpu_are_added_in_order_and_never_twice() -> None:
    files = {"10.0": "model.cc100.plan", "8.9": "model.cc89.plan"}
    fitted = config(CONFIG.format(name="m", version=1), plans=files).text(2)
    assert fitted.index('"8.9"') < fitted.index('"10.0"')
    assert dict(pbtxt.parse(fitted, "it").cc_model_filenames) == files
    with pytest.raises(RepositoryError, match="names model files already"):
        config(fitted, plans=files).text(2)


def test_an_invalid_configuration_is_refused() -> None:
    with pytest.raises(OptionError, match=r"prepared config\.pbtxt"):
        config("name: {").text(2)


# --- the reference page


@pytest.mark.parametrize("verb", [None, *plans.commands])
def test_the_reference_shows_the_help(verb: str | None, request: pytest.FixtureRequest) -> None:
    command = plans.commands[verb] if verb else plans
    called = f"modelrepo plans{f' {verb}' if verb else ''}"
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    with click.Context(command, info_name=called, **settings) as context:
        shown = command.get_help(context).rstrip()
    assert f"```\n{shown}\n```" in (PROJECT / "docs/reference/plans.md").read_text("utf-8")


# --- what trtexec says, and the reference


def test_answers_of_trtexec_are_read_with_its_nan_and_infinity(tmp_path: Path) -> None:
    exported = tmp_path / "answers.json"
    exported.write_text('[\n  { "name" : "nan"\n  , "dimensions" : "2x2"\n  , "values" : [ 1, -1e-3, -nan, inf ]\n }\n'
                        ', { "name" : "scalar"\n  , "dimensions" : ""\n  , "values" : [ -inf ]\n  }\n]\n')  # fmt: skip
    answers = plan_answers.read_answers(exported)
    assert repr(answers) == "{'nan': ([2, 2], [1, -0.001, nan, inf]), 'scalar': ([], [-inf])}"


@pytest.mark.parametrize("text", ["", "[", '[{"name": "y"}]', '{"values": 1}'])
def test_an_answer_that_cannot_be_read_is_a_mismatch(tmp_path: Path, text: str) -> None:
    (tmp_path / "answers.json").write_text(text)
    with pytest.raises(plan_answers.Mismatch, match="can't be read"):
        plan_answers.read_answers(tmp_path / "answers.json")


def reference(folder: Path, outputs: list[dict[str, Any]], values: list[Any], *, batched: bool = True) -> Path:
    """Write a reference of one case by hand; ``values`` are the arrays of its outputs."""
    (folder / "reference").mkdir()
    for output, array in zip(outputs, values, strict=True):
        output["file"] = f"{output['name']}.bin"
        array.tofile(folder / "reference" / output["file"])
    document = {
        "schema": 1,
        "tolerance": {"relative": 0.01, "absolute": 0.0},
        "batched": batched,
        "cases": [{"profile": 0, "shapes": {}, "inputs": [], "outputs": outputs}],
    }
    (folder / "reference/reference.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (([2, 2], [1.0, 2.0, 100.0, 200.0]), None),
        (([2, 2], [1.0, 2.01, 101.9, 198.1]), None),
        (([2, 2], [1.0, 2.1, 100.0, 200.0]), "differs by 0.1 (limit 0.02)"),  # of its own sample's magnitude
        (([2, 2], [1.0, math.nan, 100.0, 200.0]), "holds NaN"),
        (([2, 2], [1.0, math.inf, 100.0, 200.0]), "differs by inf"),
        (([4], [1.0, 2.0, 100.0, 200.0]), "has shape [4], and ONNX Runtime gives [2, 2]"),
        (None, "gives no output 'y'"),
    ],
)
def test_an_answer_may_differ_by_a_share_of_its_own_samples_magnitude(
    tmp_path: Path, answer: tuple[list[int], list[float]] | None, told: str | None
) -> None:
    outputs = [{"name": "y", "type": "d", "shape": [2, 2]}]
    folder = reference(tmp_path, outputs, [np.array([1.0, 2.0, 100.0, 200.0])])
    answers = {"y": answer} if answer else {}
    if told is None:
        assert plan_answers.check(folder, lambda case: answers).cases == 1
        return
    with pytest.raises(plan_answers.Mismatch, match=re.escape(told)):
        plan_answers.check(folder, lambda case: answers)


def test_whole_numbers_must_be_the_same(tmp_path: Path) -> None:
    folder = reference(tmp_path, [{"name": "y", "type": "q", "shape": [2]}], [np.array([2**53 + 1, -7])])
    assert plan_answers.check(folder, lambda case: {"y": ([2], [2**53 + 1, -7])}).max_rel_diff == 0
    with pytest.raises(plan_answers.Mismatch, match=r"differs by 1 \(limit 0\)"):
        plan_answers.check(folder, lambda case: {"y": ([2], [2**53, -7])})


def test_a_reference_has_the_smallest_and_the_tuned_shapes_of_every_profile(tmp_path: Path) -> None:
    signature = write_model(tmp_path / "model.onnx", 0)
    profiles = (*SEVERAL_SIZES, Profile({"input": ((3, 4), (3, 4), (8, 4))}))
    write_reference(tmp_path, tmp_path / "model.onnx", signature, profiles, Tolerance(0.1))
    document = json.loads((tmp_path / "reference/reference.json").read_text())
    assert [(case["profile"], case["shapes"]["input"]) for case in document["cases"]] == [
        (0, [1, 4]),
        (0, [2, 4]),
        (1, [3, 4]),
    ]
    assert (document["batched"], document["model"], stand_in_model(tmp_path)) == (True, None, None)
    last = plan_answers.run_arguments("model.plan", document["cases"][2], "out.json", version_compatible=True)
    assert last[:4] == [
        "--loadEngine=model.plan",
        "--shapes=input:3x4",
        "--useProfile=1",
        "--loadInputs=input:reference/2-in-0.bin",
    ]
    assert last[-1] == "--versionCompatible"
    assert (tmp_path / "reference/2-in-0.bin").stat().st_size == 3 * 4 * 4


def test_the_model_that_a_cpu_can_run_is_copied(tmp_path: Path) -> None:
    for folder in ("prepared", "twin"):
        (tmp_path / folder).mkdir()
        signature = write_model(tmp_path / folder / "model.onnx", 0)
    write_reference(tmp_path / "prepared", tmp_path / "twin/model.onnx", signature, SEVERAL_SIZES, Tolerance(0.1))
    assert stand_in_model(tmp_path / "prepared") == tmp_path / "prepared/reference/model/model.onnx"


def test_an_input_without_dimensions_has_a_reference(tmp_path: Path) -> None:
    scaled = onnx_files.model(
        nodes=[helper.make_node("Mul", ["x", "by"], ["y"])],
        inputs=(("x", onnx_files.FLOAT, ["n", 4]), ("by", onnx_files.FLOAT, [])),
        outputs=(("y", onnx_files.FLOAT, ["n", 4]),),
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(scaled.SerializeToString())
    profiles = (Profile({"x": ((1, 4), (2, 4), (2, 4))}),)
    signature = onnx_file.read_signature(scaled.graph)
    write_reference(tmp_path, path, signature, profiles, Tolerance(0.1))
    assert (tmp_path / "reference/0-in-1.bin").stat().st_size == 4
    run = runtime.open_model(path)
    shapes: set[tuple[int, ...]] = set()

    def ask(asked: Sequence[PlanInputs]) -> list[Arrays]:
        shapes.update(each.inputs["by"].shape for each in asked)
        return [run(each.inputs) for each in asked]

    proof = verify_plan(ask, replace(SPEC, profiles=profiles), Reference(path, signature))
    assert (proof.max_rel_diff, shapes) == (0, {()})


def test_a_model_that_answers_nothing_has_no_reference(tmp_path: Path) -> None:
    log = onnx_files.model(nodes=[helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Abs", ["n"], ["a"]),
                                  helper.make_node("Neg", ["a"], ["b"]), helper.make_node("Log", ["b"], ["c"]),
                                  helper.make_node("Log", ["c"], ["y"])])  # fmt: skip
    (tmp_path / "model.onnx").write_bytes(log.SerializeToString())
    profiles = (Profile({"x": ((1, 4), (1, 4), (1, 4))}),)
    signature = onnx_file.read_signature(log.graph)
    with pytest.raises(VerificationError, match=r"no answers to compare with: .* answers NaN"):
        write_reference(tmp_path, tmp_path / "model.onnx", signature, profiles, Tolerance(0.1))


# --- the check on a machine with a GPU


def test_the_gpu_check_refuses_a_machine_without_one(root: Path) -> None:
    done = subprocess.run([sys.executable, PROJECT / "benchmarks/gpu_check.py"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: nothing to check here: nvidia-smi finds no usable GPU: No devices were found\n"


def test_the_record_of_a_gpu_check_can_be_read(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    gpu_check = importlib.import_module("gpu_check")
    built = {"name": "resnet18_tensorrt_fp16", "status": "published", "max_rel_diff": 1.5e-3,
             "plans": [{"tensorrt": "11.2.1.0"}]}  # fmt: skip
    steps = [
        {
            "step": "build",
            "exit_code": 0,
            "seconds": 61.5,
            "results": [{**built, "max_rel_diff": 1.5e-3}],
            "errors": [],
        },
        {"step": "verify", "exit_code": 7, "seconds": 1.0, "results": [], "errors": ["error: no plan can be run here"]},
    ]
    record = {
        "date": "2026-11-21T14:00:00+00:00",
        "gpus": [{"name": "Stand-in GPU", "compute_capability": "8.9", "driver": "580.95.05"}],
        "machine": "2 x a processor",
        "tensorrt_in_python": None,
        "docker": "can give a container a GPU",
        "release": "26.08",
        "versions": {"onnx": "1.23.2"},
        "model": "resnet18, random weights",
        "steps": steps,
        "served": [{"name": "resnet18_tensorrt_fp16", "batch": 4, "max_rel_diff": 2e-3}],
        "passed": False,
    }
    failures = gpu_check.failed(steps)
    assert failures == [
        "build exited with 0: published",  # one plan, of three
        "verify exited with 7: no results; error: no plan can be run here",
    ]
    golden("plans/gpu-check.md", gpu_check.markdown(record, failures))
