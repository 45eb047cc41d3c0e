"""The compose files: valid, confined, and with flags that the real tritonserver knows.

There is no docker daemon where these tests run: no container was ever started. What stands in: the Compose
specification's own schema, the real tritonserver for the command and the health check, and stand-ins for trtexec and
nvidia-smi.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from modelrepo.cli.commands.plans import plans
from modelrepo.generator.progress import Progress
from modelrepo.generator.triton.releases import NEWEST, RELEASES, release_named
from modelrepo.server.binaries import runtime
from modelrepo.server.running import local
from modelrepo.server.running.handle import Ports
from modelrepo.server.running.spec import Control, ServerSpec, server_flags
from tests import stand_ins
from tests.conftest import PROJECT, ModelRepo
from tests.prepared_plans import RELEASE, prepare

COMPOSE = PROJECT / "docker-compose.yml"
GPU = PROJECT / "docker-compose.gpu.yml"
STEPS = PROJECT / "docker-compose.steps.yml"
BUILD_PLANS = PROJECT / "deploy/build_plans.py"
SERVICES = ("triton", "build-plans", "perf")


def with_defaults(value: Any) -> Any:
    """Fill in the variables as docker compose does if none is set."""
    match value:
        case str():
            return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        case dict():
            return {key: with_defaults(each) for key, each in value.items()}
        case list():
            return [with_defaults(each) for each in value]
        case _:
            return value


def services(file: Path = COMPOSE) -> dict[str, Any]:
    found: dict[str, Any] = with_defaults(yaml.safe_load(file.read_text("utf-8")))["services"]
    return found


def validate(*files: Path) -> subprocess.CompletedProcess[str]:
    """Check files against the Compose specification's schema, which check-jsonschema contains."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_files_follow_the_compose_specification() -> None:
    done = validate(COMPOSE, GPU, STEPS)
    assert done.returncode == 0, done.stdout


def test_a_mistyped_key_violates_the_specification(tmp_path: Path) -> None:
    mistyped = tmp_path / "docker-compose.yml"
    mistyped.write_text(COMPOSE.read_text("utf-8").replace("stop_grace_period", "stop_grace_time"), "utf-8")
    done = validate(mistyped)
    assert done.returncode == 1
    assert "stop_grace_time" in done.stdout


@pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="docker's compose plugin is not here",
)
@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, GPU)], ids=["cpu", "gpu"])
def test_docker_compose_reads_the_files(files: tuple[Path, ...]) -> None:
    named = [word for file in files for word in ("--file", str(file))]
    command = ["docker", "compose", *named, "--profile", "*", "config", "--format", "json"]
    variables = {"TRITON_RELEASE": "26.07", "TRITON_BIND": "0.0.0.0", "MODEL_REPOSITORY": "/srv/models"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)["services"]
    assert read["triton"]["image"] == RELEASES["26.07"].image == read["build-plans"]["environment"]["IMAGE"]
    assert {port["host_ip"] for port in read["triton"]["ports"]} == {"0.0.0.0"}
    assert read["triton"]["volumes"][0]["source"] == "/srv/models"
    assert ("deploy" in read["triton"]) == (GPU in files)


def test_the_release_is_the_newest_unless_a_variable_says_otherwise() -> None:
    images = {name: service["image"] for name, service in services().items()}
    image = RELEASES[NEWEST].image
    assert images == {"triton": image, "build-plans": image, "perf": f"{image}-sdk"}
    for line in COMPOSE.read_text("utf-8").splitlines():
        assert ("nvcr.io" in line) == ("${TRITON_RELEASE:-" in line), line


def test_a_gpu_is_needed_only_by_services_that_use_one() -> None:
    assert [name for name, service in services().items() if "deploy" in service] == ["build-plans"]
    override = services(GPU)
    assert [*override] == ["triton"]
    assert [*override["triton"]] == ["deploy"]


def test_only_the_server_starts_by_itself() -> None:
    assert {name: service.get("profiles") for name, service in services().items()} == {
        "triton": None,
        "build-plans": ["build"],
        "perf": ["perf"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_needs(name: str) -> None:
    service = services()[name]
    assert int(service["user"].partition(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    writable = [volume["target"] for volume in service.get("volumes", []) if not volume.get("read_only")]
    assert writable == (["/state/plans"] if name == "build-plans" else [])


def test_the_ports_are_open_to_this_host_only() -> None:
    assert services()["triton"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)]
    assert not [name for name in ("build-plans", "perf") if "ports" in services()[name]]


def test_docker_waits_longer_than_triton_takes_to_exit() -> None:
    service = services()["triton"]
    (timeout,) = (word.partition("=")[2] for word in service["command"] if word.startswith("--exit-timeout-secs="))
    assert int(service["stop_grace_period"].removesuffix("s")) > int(timeout)


@pytest.fixture(scope="module")
def triton() -> runtime.Runtime:
    reason = runtime.unsupported()
    if reason:
        pytest.skip(reason)
    return runtime.ensure(Progress())


@pytest.fixture(scope="module")
def known_flags(triton: runtime.Runtime) -> set[str]:
    shown = subprocess.run([triton.binary, "--help"], env=triton.environment(), capture_output=True, text=True)
    return set(re.findall(r"^\s+(--[a-z-]+) ?", shown.stdout + shown.stderr, re.MULTILINE))


def flags(command: Sequence[str]) -> set[str]:
    """Return the names of the flags after the program in a command; the command must have some."""
    names = {word.partition("=")[0] for word in command if word.startswith("--")}
    assert "--model-repository" in names
    return names


def test_the_real_tritonserver_knows_every_flag(known_flags: set[str]) -> None:
    assert len(known_flags) > 50
    command = services()["triton"]["command"]
    assert command[0] == "tritonserver"
    assert flags(command) <= known_flags


@pytest.mark.parametrize("control", get_args(Control))
def test_the_real_tritonserver_knows_every_flag_of_serve(
    control: Control, known_flags: set[str], tmp_path: Path
) -> None:
    spec = ServerSpec(
        repository=tmp_path,
        runtime="local",
        control=control,
        models=("one",),
        ports=Ports(8000, 8001, 8002),
        poll_seconds=1,
        release=release_named(NEWEST),
        cpu_overlay=False,
        auto_complete=False,
        graceful=True,
    )
    assert flags(local.launch(spec, tmp_path, Progress()).command) <= known_flags
    assert flags(server_flags(spec, "/models", "0.0.0.0", spec.ports)) <= known_flags


def test_the_command_serves_is_healthy_and_stops(triton: runtime.Runtime, workdir: Path) -> None:
    service = services()["triton"]
    models = workdir / "models"
    models.mkdir()
    (models / "README.md").write_text("as in this project's own repository\n")
    http, grpc, metrics = map(str, free_ports(3))
    options = [word.replace("=/models", f"={models}") for word in service["command"][1:]]
    ports = [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}", "--http-address=127.0.0.1",
             "--grpc-address=127.0.0.1"]  # fmt: skip
    probe = [word.replace(":8000/", f":{http}/") for word in service["healthcheck"]["test"][1:]]
    assert subprocess.run(probe, capture_output=True).returncode != 0
    with (workdir / "log").open("w") as log:
        server = subprocess.Popen(
            [triton.binary, *options, *ports], env=triton.environment(), cwd=workdir, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 120
        while subprocess.run(probe, capture_output=True).returncode != 0:
            assert server.poll() is None, (workdir / "log").read_text()
            assert time.monotonic() < deadline, (workdir / "log").read_text()
            time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) == 0
    finally:
        server.kill()
        server.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


# --- build-plans, with stand-ins for trtexec and nvidia-smi; what they answer is compared for real


@pytest.fixture
def state(workdir: Path) -> Path:
    """Two pending plans, at the place where build-plans looks for them."""
    for name in ("one", "two"):
        prepare(workdir / "model_repository", name)
    volumes = [volume for volume in services()["build-plans"]["volumes"] if volume["target"].startswith("/state")]
    lock, plans = (Path(workdir, volume["source"]) for volume in volumes)
    assert lock.is_file()
    assert plans.is_dir()
    return lock.parent


def build_plans(state: Path, image: str = RELEASE.image, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run build-plans as the service does: its two files in a folder, and no package of this project on the path."""
    mounted = state / "build"
    mounted.mkdir(exist_ok=True)
    for volume in services()["build-plans"]["volumes"]:
        if volume["target"].startswith("/build/"):
            shutil.copy(PROJECT / volume["source"], mounted / Path(volume["target"]).name)
    _, script, folder = services()["build-plans"]["command"]
    assert (Path(script).parent, folder) == (Path("/build"), "/state")
    path = stand_ins.install(state / "stand-ins", "trtexec", "nvidia-smi")
    command = [sys.executable, "-E", "-s", "-S", str(mounted / Path(script).name), str(state)]
    variables = {"PATH": path, "IMAGE": image, "STAND_IN_CALLS": str(state / "calls"), **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def calls(state: Path, flag: str) -> int:
    return (state / "calls").read_text().count(flag)


def built_files(state: Path) -> list[str]:
    return sorted(file.relative_to(state).as_posix() for file in state.rglob("*.plan*") if "lock" not in file.name)


def test_every_pending_plan_is_built_with_the_recorded_flags_and_proven(state: Path) -> None:
    done = build_plans(state)
    assert (done.returncode, done.stderr) == (0, "")
    message = [re.sub(r"\d\.\de-\d+", "0", line) for line in done.stdout.splitlines()]
    assert message == [
        f"{name}: built for Stand-in GPU (8.9), TensorRT 11.2.1.0; worst difference 0" for name in ("one", "two")
    ]
    entries = json.loads((state / "plans.lock").read_text("utf-8"))["plans"]
    first, run = (state / "calls").read_text().splitlines()[:2]
    assert first.split() == entries["one"]["inputs"]["trtexec"]
    assert "--loadEngine=model.plan.tmp" in run.split()
    assert built_files(state) == [
        f"plans/{name}/model.cc89.plan{suffix}" for name in ("one", "two") for suffix in ("", ".json")
    ]
    record = json.loads((state / "plans/one/model.cc89.plan.json").read_text())
    assert record["inputs"] == entries["one"]["inputs"]
    assert (record["way"], record["proof"]["cases"]) == ("build-plans", 1)


def test_a_plan_proven_by_build_plans_is_published_without_a_gpu(
    state: Path, modelrepo: ModelRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_plans(state)
    monkeypatch.setenv("PATH", stand_ins.install(state / "no-gpu", "nvidia-smi"))
    monkeypatch.setenv("STAND_IN_GPU", "none")
    assert [row["status"] for row in modelrepo(plans, "status", "--json").report["plans"]] == ["built", "built"]
    outcome = modelrepo(plans, "build", "--json", "-q")
    assert [(row["status"], row["version"]) for row in outcome.report["results"]] == [("published", 1)] * 2
    assert Path("model_repository/one/1/model.plan").is_file()


def test_an_existing_plan_is_not_built_again(state: Path) -> None:
    build_plans(state)
    done = build_plans(state)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["one: unchanged", "two: unchanged"]
    assert calls(state, "--saveEngine") == 2


def test_a_plan_for_another_gpu_is_built_beside_the_first(state: Path) -> None:
    build_plans(state)
    assert build_plans(state, STAND_IN_GPU="9.0").returncode == 0
    assert sorted(file.name for file in (state / "plans/one").glob("*.plan")) == ["model.cc89.plan", "model.cc90.plan"]


def test_a_plan_whose_flags_changed_is_built_again(state: Path) -> None:
    build_plans(state)
    document = json.loads((state / "plans.lock").read_text())
    document["plans"]["one"]["inputs"]["optimization_level"] = 4
    document["plans"]["one"]["inputs"]["trtexec"].append("--verbose")
    (state / "plans.lock").write_text(json.dumps(document))
    assert [line.partition(" for ")[0] for line in build_plans(state).stdout.splitlines()] == [
        "one: built",
        "two: unchanged",
    ]
    assert calls(state, "--verbose") == 1


def test_versions_of_tools_and_the_order_of_flags_build_nothing_again(state: Path) -> None:
    build_plans(state)
    document = json.loads((state / "plans.lock").read_text())
    document["plans"]["one"]["inputs"].update(tools={"onnx": "2.0"}, trtexec=["--verbose"])
    (state / "plans.lock").write_text(json.dumps(document))
    assert build_plans(state).stdout.splitlines() == ["one: unchanged", "two: unchanged"]


def test_a_plan_with_a_different_limit_is_proven_again_and_not_built(state: Path) -> None:
    build_plans(state)
    reference = state / "plans/one/reference/reference.json"
    reference.write_text(reference.read_text().replace('"relative": 0.01', '"relative": 0.02'))
    one, two = build_plans(state).stdout.splitlines()
    assert (one.partition(" for ")[0], two) == ("one: proven again", "two: unchanged")
    assert calls(state, "--saveEngine") == 2
    record = json.loads((state / "plans/one/model.cc89.plan.json").read_text())
    assert record["proof"]["tolerance"] == {"relative": 0.02, "absolute": 0.0}


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("memory", "failed: trtexec ended with 1"),
        ("killed", "failed: trtexec was killed by signal 9"),
        ("refused", "failed: trtexec ended with 1"),
        ("wrong", "differs by 100 (limit"),
        ("nan", "in case 0 of the reference holds NaN"),
        ("silent", "failed: trtexec ended without an answer"),
    ],
)
def test_a_plan_that_fails_is_reported_and_leaves_nothing(state: Path, failure: str, message: str) -> None:
    done = build_plans(state, STAND_IN=failure)
    assert done.returncode == 1
    assert [message in line for line in done.stdout.splitlines()] == [True, True]
    assert built_files(state) == []
    assert "Traceback" not in done.stderr


def test_one_failure_fails_the_run_but_not_the_other_plans(state: Path) -> None:
    (state / "plans/one/model.onnx").write_bytes(b"damaged")
    done = build_plans(state)
    assert done.returncode == 1
    one, two = done.stdout.splitlines()
    assert one == "one: failed: model.onnx is missing, or not as it was prepared; run generate again"
    assert two.startswith("two: built for")


def test_a_plan_for_another_release_is_not_built(state: Path) -> None:
    done = build_plans(state, RELEASES["25.12"].image)
    assert done.returncode == 1
    assert f"prepared for {RELEASE.image}" in done.stdout
    assert built_files(state) == []


def test_a_container_without_a_gpu_is_a_clear_error(state: Path) -> None:
    done = build_plans(state, STAND_IN_GPU="none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no GPU in this container: No devices were found\n"


@pytest.mark.parametrize("damage", [None, "{", "[]", '{"schema": 1, "plans": {}}'])
def test_a_lock_that_is_missing_damaged_or_older_is_a_clear_error(state: Path, damage: str | None) -> None:
    lock = state / "plans.lock"
    lock.unlink() if damage is None else lock.write_text(damage)
    done = build_plans(state)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: can't read {lock}: ")
    assert len(done.stderr.splitlines()) == 1
