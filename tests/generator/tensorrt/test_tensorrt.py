"""TensorRT plans: an order becomes a plan, or the command that builds it. Docker and trtexec are stand-ins.

No plan was ever built here; test_tensorrt_rtx.py tests TensorRT's own parser and builder.
"""

import ast
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.backends import tensorrt, tensorrt_accelerator
from modelrepo.generator.errors import ConversionError, OptionError, VerificationError
from modelrepo.generator.graphs import runtime
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.artifacts import Deferred, Export, Order, Serving
from modelrepo.generator.specs.options import Choice, Pruning, Tolerance
from modelrepo.generator.specs.plans import BuiltPlan, PlanProof
from modelrepo.generator.specs.tensors import Arrays, Signature, TensorSpec
from modelrepo.generator.tensorrt import builder, container, machine, plan_cache, plan_spec, ways, worker
from modelrepo.generator.tensorrt.builder import PlanInputs, Toolchain, build_plan
from modelrepo.generator.tensorrt.machine import Machine
from modelrepo.generator.tensorrt.making import make_plan
from modelrepo.generator.tensorrt.plan_spec import PlanSpec, cache_key, container_command, trtexec_arguments
from modelrepo.generator.tensorrt.profiles import Profile
from modelrepo.generator.tensorrt.proof import Reference, verify_plan
from modelrepo.generator.triton.releases import RELEASES
from tests import onnx_files, stand_ins
from tests.conftest import PROJECT
from tests.plans import BATCH, L4, SIGNATURE, X, header, program, spec, stand_in

API = PROJECT / "tests/data/tensorrt_api"
IMAGE = TensorSpec("image", "float32", ("batch", 3, 224, 224))
IDS = TensorSpec("ids", "int64", ("batch", 128))


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the GPU and docker of the machine that runs the tests, and use a cache for this test only."""
    monkeypatch.setattr(machine, "NVIDIA_SMI", ("nvidia-smi-of-a-stand-in",))
    monkeypatch.setattr(machine, "gpu_present", lambda: False)
    monkeypatch.setattr(machine, "HOOKS", ())
    monkeypatch.setenv("MODELREPO_CACHE", str(tmp_path / "cache"))


def order(folder: Path, batch: int, preferred: tuple[int, ...], *inputs: TensorSpec, **flags: Any) -> Order:
    """Return an order for ``folder``/model.onnx, which is written if it does not exist."""
    path = folder / "model.onnx"
    if not path.exists():
        path.write_bytes(onnx_files.model().SerializeToString())
    signature = Signature(inputs or (X,), (TensorSpec("y", "float32", ("batch", 4)),))
    flags = {"live_check": "off", "backends": (Choice("tensorrt", ""),), **flags}
    _, options = resolve(flags, ConfigFile(), "resnet18")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return Order(
        export=Export(path, (path,), signature, "torch.export", 20, 10),
        precision="fp32",
        max_batch_size=batch,
        preferred_batch_sizes=preferred,
        release=RELEASES["25.12"],
        options=options,
        folder=Path("/srv/state/plans/m_tensorrt"),
        work=work,
        progress=Progress(),
    )


ORDERS: dict[str, tuple[int, tuple[int, ...], tuple[TensorSpec, ...], dict[str, Any]]] = {
    "one-input": (16, (8,), (IMAGE,), {}),
    "two-inputs": (4, (2,), (IMAGE, IDS), {}),
    "static": (0, (), (TensorSpec("image", "float32", (8, 3, 224, 224)),), {}),
    "two-profiles": (16, (8,), (TensorSpec("ids", "int64", ("batch", "seq")),),
                     {"profiles": ({"seq": (16, 128, 512)}, {"batch": (1, 1, 1), "seq": (1, 64, 128)}),
                      "version_compatible": True}),
    "a-quoted-name": (4, (2,), (TensorSpec("the input:0", "float32", ("batch", 3)),), {}),
}  # fmt: skip


def made(ordered: Order) -> list[Path]:
    """Make the plan of an order for every type of GPU of the stand-in host, each in its own folder."""
    wanted = tensorrt.spec_of(ordered)
    here = machine.look(ordered.progress)
    way = ways.choose(wanted, here, "auto")
    plans = []
    for gpu in here.types:
        folder = Path(tempfile.mkdtemp(dir=ordered.work))
        shutil.copy(ordered.export.path, folder)
        reference = Reference(folder / "model.onnx", ordered.export.signature)
        make_plan(wanted, folder, way, here, gpu, reference, ordered.progress)
        plans.append(folder / "model.plan")
    return plans


def deferred(folder: Path, name: str) -> Deferred:
    batch, preferred, inputs, flags = ORDERS[name]
    prepared = tensorrt.build(order(folder, batch, preferred, *inputs, **flags))
    assert isinstance(prepared, Deferred)
    return prepared


@pytest.mark.parametrize("name", ORDERS)
def test_the_command_is_as_agreed(tmp_path: Path, golden: Callable[[str, str], None], name: str) -> None:
    golden(f"tensorrt/{name}.txt", deferred(tmp_path, name).command + "\n")


def test_the_command_runs_in_the_serving_image_without_network(tmp_path: Path) -> None:
    words = shlex.split(deferred(tmp_path, "one-input").command)
    assert words[:2] == ["docker", "run"]
    assert words[words.index("--network") + 1] == "none"
    assert "nvcr.io/nvidia/tritonserver:25.12-py3" in words
    assert "/srv/state/plans/m_tensorrt:/w" in words
    assert "--stronglyTyped" in words[-1]
    assert not {"--fp16", "--bf16", "--int8", "--fp8", "--best", "--calib"} & set(words[-1].split())


def test_a_deferred_plan_has_all_inputs_that_decide_it(tmp_path: Path) -> None:
    inputs = deferred(tmp_path, "two-profiles").inputs
    read = PlanSpec.of(json.loads(json.dumps(inputs)))
    assert inputs["trtexec"] == trtexec_arguments(read)
    assert read.image == inputs["image"]
    assert len(read.profiles) == 2
    assert {**read.to_json(), "trtexec": inputs["trtexec"]} == inputs


def test_the_reason_says_what_is_missing(tmp_path: Path) -> None:
    assert "no CUDA device on this machine" in deferred(tmp_path, "one-input").reason


def test_profiles_are_refused_before_anything_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "look", lambda progress: pytest.fail("looked"))
    with pytest.raises(OptionError, match="--profiles"):
        tensorrt.build(order(tmp_path, 16, (8,), TensorSpec("ids", "int64", ("batch", "seq"))))


def test_a_damaged_spec_is_refused() -> None:
    whole = spec().to_json()
    for damage in ({"image": None}, {"profiles": [{"x": [[1, 4], [2, 4]]}]}, {"profiles": [{"x": [["1"]] * 3}]}):
        damaged = {key: value for key, value in {**whole, **damage}.items() if value is not None}
        with pytest.raises((KeyError, TypeError)):
            PlanSpec.of(damaged)


def test_the_key_changes_with_all_that_decides_a_plan() -> None:
    keys = [
        cache_key(spec(), L4, "10.14.1.48"),
        cache_key(spec(), L4, "10.14.1.49"),
        cache_key(spec(), replace(L4, name="NVIDIA L40"), "10.14.1.48"),
        cache_key(spec(), replace(L4, compute_capability="9.0"), "10.14.1.48"),
        *(cache_key(spec(**changed), L4, "10.14.1.48") for changed in (
            {"onnx": {"model.onnx": "1" * 64}}, {"sparse": True}, {"precision": "fp16"},
            {"version_compatible": True}, {"workspace_mib": 1}, {"optimization_level": 5}, {"image": "other"},
            {"profiles": (BATCH, BATCH)},
        )),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert cache_key(spec(), replace(L4, index=1, driver="590.1"), "10.14.1.48") == keys[0]
    assert cache_key(spec(tools={"onnx": "1.24"}), L4, "10.14.1.48") == keys[0]


# --- in the container, with stand-ins for docker and trtexec


@pytest.fixture
def gpu_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this machine look like a GPU host with docker, but without its own TensorRT."""
    monkeypatch.setattr(machine, "NVIDIA_SMI", ("nvidia-smi",))
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", stand_ins.install(tmp_path / "host"))
    monkeypatch.setenv("STAND_IN_TENSORRT", "10.14.1.48")
    monkeypatch.setenv("STAND_IN_DOCKER_CALLS", str(tmp_path / "asked"))
    return tmp_path


def asked(host: Path) -> list[str]:
    return (host / "asked").read_text().splitlines()


def test_on_a_stand_in_host_a_plan_is_built_proven_and_kept(gpu_host: Path) -> None:
    (plan,) = made(order(gpu_host, 4, (2,)))
    assert plan.read_bytes().startswith(header(10, 14, 1, 48))
    builds = sum("--saveEngine" in line for line in asked(gpu_host))
    (second,) = made(order(gpu_host, 4, (2,)))
    assert second.read_bytes() == plan.read_bytes()
    assert builds == sum("--saveEngine" in line for line in asked(gpu_host)) == 1


REFUSAL = """[11/21/2026-10:00:00] [E] [TRT] ModelImporter.cpp:140: While parsing node number 12 [Reflect -> "y"]:
[11/21/2026-10:00:00] [E] [TRT] ModelImporter.cpp:142: --- Begin node ---
input: "x"
output: "y"
name: "mirror"
op_type: "Reflect"

[11/21/2026-10:00:00] [E] [TRT] ModelImporter.cpp:143: --- End node ---
[11/21/2026-10:00:00] [E] [TRT] ModelImporter.cpp:151: ERROR: onnxOpCheckers.cpp:998 In function checkImporter:
[6] creator && "Plugin not found, are the plugin name, version, and namespace correct?"
[11/21/2026-10:00:00] [E] Failed to parse onnx file"""
DENIED = "docker: Error response from daemon: pull access denied for nvcr.io/x"
FAILURES = {
    "docker without GPU access": "echo 'docker: Error response from daemon: could not select device driver \"\" with "
    "capabilities: [[gpu]].' >&2; exit 125",
    "an image that is missing": f"echo '{DENIED}' >&2; exit 125",
    "no permission": "echo 'permission denied while trying to connect to unix:///var/run/docker.sock' >&2; exit 1",
    "an operator that the parser refuses": f"cat <<'END'\n{REFUSAL}\nEND\nexit 1",
    "out of memory": "echo '[11/21/2026-10:00:00] [E] Error[2]: [virtualMemoryBuffer.cpp::resizePhysical::154] Error "
    "Code 2: OutOfMemory (Requested size was 4294967296 bytes.)'; exit 1",
    "killed for memory": "exit 137",
    "another error of trtexec": "echo '[11/21/2026-10:00:00] [E] Error[10]: Could not find any implementation for node "
    "conv1'; echo '&&&& FAILED TensorRT.trtexec'; exit 1",
    "no plan left": "exit 0",
}  # fmt: skip


def test_what_fails_in_a_stand_in_container_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = []
    for name, script in FAILURES.items():
        stand_in("docker", script, tmp_path, monkeypatch)
        Path("model.plan.tmp").touch()
        with pytest.raises(ConversionError) as raised:
            container.build_in_container(spec(), Path(), Progress())
        lines.append(f"{name}:\n  {raised.value}\n")
        assert not [*tmp_path.glob("model.plan*")]
    golden("messages/tensorrt/plan-containers.txt", "".join(lines))


def test_an_interrupted_container_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        f'echo "$@" >> {tmp_path}/asked; [ "$1" = rm ] && exit; touch model.plan.tmp; echo "[x] [I] Building"; sleep 60'
    )
    stand_in("docker", script, tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)

    class Impatient(Progress):
        def note(self, remark: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        container.build_in_container(spec(), tmp_path, Impatient())
    run, removed = asked(tmp_path)
    assert removed == f"rm --force {run.split('--name ')[1].split()[0]}"
    assert not [*tmp_path.glob("model.plan*")]


def test_the_command_that_is_run_is_the_one_that_is_shown_with_a_name(gpu_host: Path) -> None:
    wanted = spec(onnx={})
    onnx_files.model()
    (gpu_host / "model.onnx").write_bytes(onnx_files.model().SerializeToString())
    container.build_in_container(wanted, gpu_host, Progress())
    (line,) = asked(gpu_host)[-1:]
    shown = " ".join(container_command(wanted, gpu_host)[1:])
    assert line.replace(f" --name {line.split('--name ')[1].split()[0]}", "") == shown


# --- in a process, with stand-ins for one that goes wrong


WORKERS = {
    "ended by the system": "kill -KILL $$",
    "crashed": "kill -SEGV $$",
    "out of memory": "echo '[E] Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)' >&2; exit 1",
    "a profile that is not taken": 'echo \'{"failed": "profile", "profile": 1}\'; exit 1',
    "a plan of another GPU": "echo '[E] Error Code 6: API Usage Error (The engine plan file is generated on an'"
    " 'incompatible device, expecting compute 8.9 got compute 8.6, please rebuild.)' >&2; exit 1",
    "a plan of another version": "echo '[E] Error Code 6: API Usage Error (The engine plan file is not compatible with'"
    " 'this version of TensorRT, expecting library version 10.14.1.48 got 10.9.0.34, please rebuild.)' >&2; exit 1",
    "no reason": "exit 3",
}


def test_what_becomes_of_a_stand_in_worker_is_one_line(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    lines = []
    for name, script in WORKERS.items():
        program(tmp_path / "python", f"#!/bin/sh\n{script}")
        (tmp_path / "model.plan.tmp").touch()
        with pytest.raises(ConversionError) as raised:
            build_plan(spec(), tmp_path / "model.onnx", tmp_path / "model.plan", None, Progress(),
                       toolchain=Toolchain(str(tmp_path / "python")))  # fmt: skip
        assert not [*tmp_path.glob("model.plan*")]
        with pytest.raises(VerificationError) as unverified:
            builder.run_plan(tmp_path / "model.plan", [], toolchain=Toolchain(str(tmp_path / "python")))
        lines.append(f"{name}:\n  {raised.value}\n  {unverified.value}\n")
    golden("messages/tensorrt/plan-workers.txt", "".join(lines))


def test_a_worker_that_takes_too_long_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "BUILD_SECONDS", 0.2)
    program(tmp_path / "python", "#!/bin/sh\nsleep 60")
    (tmp_path / "model.plan.tmp").touch()
    with pytest.raises(ConversionError, match="TensorRT could not build the plan within 0 hours"):
        build_plan(spec(), tmp_path / "model.onnx", tmp_path / "model.plan", None, Progress(),
                   toolchain=Toolchain(str(tmp_path / "python")))  # fmt: skip
    assert not [*tmp_path.glob("model.plan*")]


@pytest.fixture
def tensorrt_host(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Stand in for TensorRT: a plan is a header and the ONNX model, ONNX Runtime runs it. Returns the devices."""
    devices: list[int | None] = []

    def stand_in_build(wanted: PlanSpec, onnx: Path, plan: Path, timing_cache: Path | None, progress: Progress,
                       *, device: int | None = None) -> None:  # fmt: skip
        devices.append(device)
        plan.write_bytes(header(10, 14, 1, 48) + onnx.read_bytes())

    def stand_in_run(plan: Path, cases: Sequence[PlanInputs], *, device: int | None = None) -> list[Arrays]:
        (plan.parent / "again.onnx").write_bytes(plan.read_bytes()[28:])
        run = runtime.open_model(plan.parent / "again.onnx")
        return [run(case.inputs) for case in cases]

    monkeypatch.setattr(builder, "build_plan", stand_in_build)
    monkeypatch.setattr(builder, "run_plan", stand_in_run)
    monkeypatch.setattr(machine, "look", lambda progress: Machine((L4,), "10.14.1.48", None, "", ""))
    return devices


def test_on_a_stand_in_host_with_tensorrt_the_plan_is_built_in_a_process(
    tmp_path: Path, tensorrt_host: list[int | None]
) -> None:
    prepared = tensorrt.build(order(tmp_path, 4, (2,)))
    assert isinstance(prepared, Deferred)
    assert prepared.here
    assert len(made(order(tmp_path, 4, (2,)))) == 1
    assert tensorrt_host == [0]


def test_every_type_of_gpu_has_a_plan_of_its_own(
    tmp_path: Path, tensorrt_host: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    h100 = replace(L4, index=2, name="NVIDIA H100", compute_capability="9.0")
    here = Machine((L4, replace(L4, index=1), h100), "10.14.1.48", None, "", "")
    monkeypatch.setattr(machine, "look", lambda progress: here)
    assert len(made(order(tmp_path, 4, (2,)))) == 2
    assert tensorrt_host == [0, 2]


def test_a_plan_that_answers_wrongly_is_not_kept(
    tmp_path: Path, tensorrt_host: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = builder.run_plan

    def wrong(plan: Path, cases: Sequence[PlanInputs], *, device: int | None = None) -> list[Arrays]:
        return [{"y": each["y"] * 1.5} for each in right(plan, cases, device=device)]

    monkeypatch.setattr(builder, "run_plan", wrong)
    with pytest.raises(VerificationError, match="output 'y' differs by"):
        made(order(tmp_path, 4, (2,)))
    assert not [path for path in tmp_path.rglob("model.plan") if path.is_file()]


def test_a_plan_of_another_tensorrt_than_the_images_is_not_kept(
    tmp_path: Path, tensorrt_host: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(wanted: PlanSpec, onnx: Path, plan: Path, *arguments: object, **named: object) -> None:
        plan.write_bytes(header(10, 13, 3, 9) + onnx.read_bytes())

    monkeypatch.setattr(builder, "build_plan", other)
    with pytest.raises(ConversionError, match=r"was built by TensorRT 10\.13\.3\.9, but .* serves with 10\.14\.1"):
        made(order(tmp_path, 4, (2,)))
    assert not [path for path in tmp_path.rglob("model.plan") if path.is_file()]


# --- sparse weights


@pytest.mark.parametrize(("prune", "told"), [(None, False), (Pruning(0.5), False), (Pruning(structured=True), True)])
def test_a_builder_gets_the_flag_for_2_in_4_sparsity(tmp_path: Path, prune: Pruning | None, told: bool) -> None:
    wanted = tensorrt.spec_of(order(tmp_path, 4, (2,), prune=prune))
    assert wanted.sparse == told
    assert ("--sparsity=enable" in trtexec_arguments(wanted)) == told
    assert PlanSpec.of(wanted.to_json()) == wanted
    _, options = resolve({"prune": prune}, ConfigFile(), "resnet18")
    accelerator = tensorrt_accelerator.settings(Serving("m", options, SIGNATURE, "fp32", 4)).accelerator
    assert accelerator is not None
    assert (accelerator.get("trt_sparsity_enable") == "1") == told


# --- proof


def write_double(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(onnx_files.model().SerializeToString())
    return path


def test_every_bound_of_every_profile_is_asked(tmp_path: Path) -> None:
    onnx = write_double(tmp_path)
    run = runtime.open_model(onnx)
    shapes: set[tuple[int, tuple[int, ...]]] = set()

    def ask(cases: Sequence[PlanInputs]) -> list[Arrays]:
        shapes.update((case.profile, case.inputs["x"].shape) for case in cases)
        return [run(case.inputs) for case in cases]

    narrow = Profile({"x": ((1, 4), (1, 4), (1, 4))})
    found = verify_plan(ask, spec(profiles=(BATCH, narrow)), Reference(onnx, SIGNATURE))
    assert shapes == {(0, (1, 4)), (0, (2, 4)), (0, (4, 4)), (1, (1, 4))}
    assert found.max_rel_diff == 0
    assert found.cases == 3 + 3 + 7 + 7


@pytest.mark.parametrize(
    ("precision", "wrong", "passes"),
    [
        *(("fp32", 1e-3, True), ("fp32", 0.1, False), ("fp32", np.nan, False), ("fp16", 1e-3, True)),
        *(
            ("fp16", 2e-2, False),
            ("bf16", 1e-2, True),
            ("int8", 1.5e-2, True),
            ("int8", 0.1, False),
            ("fp8", 0.1, False),
        ),
    ],
)
def test_a_plan_may_differ_by_what_its_precision_rounds_away(
    tmp_path: Path, precision: str, wrong: float, passes: bool
) -> None:
    onnx = write_double(tmp_path)
    run = runtime.open_model(onnx)

    def ask(cases: Sequence[PlanInputs]) -> list[Arrays]:
        return [{"y": run(case.inputs)["y"] * np.float32(1 + wrong)} for case in cases]

    wanted = spec(precision=precision)
    if passes:
        assert verify_plan(ask, wanted, Reference(onnx, SIGNATURE)).max_rel_diff == pytest.approx(wrong, rel=0.01)
    else:
        with pytest.raises(VerificationError, match="output 'y' differs by"):
            verify_plan(ask, wanted, Reference(onnx, SIGNATURE))


# --- the cache


BUILT = BuiltPlan("0" * 64, {}, "NVIDIA L4", "8.9", "10.14.1.48", "process", "2026-11-21T10:00:00+00:00",
                  PlanProof(3, 0.0, Tolerance(0.01)))  # fmt: skip


@pytest.mark.parametrize("record", [{}, {"sha256": "0"}, {**asdict(BUILT), "proof": {"tolerance": "0.01"}}, [], None])
def test_a_damaged_record_in_the_cache_is_ignored(tmp_path: Path, record: object) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"plan")
    plan_cache.keep("key", plan, BUILT)
    (file,) = (tmp_path / "cache").rglob("record.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "record": record}))
    assert plan_cache.find("key") is None


def test_what_a_builder_has_learnt_is_kept_in_one_step(tmp_path: Path) -> None:
    where = plan_cache.timing_cache("10.14.1.48", L4)
    assert not where.parent.exists()
    learnt = tmp_path / "timing.cache"
    for text in ("little", "more"):
        learnt.write_text(text)
        plan_cache.keep_timing(learnt, "10.14.1.48", L4)
        assert where.read_text() == text
    assert [*where.parent.iterdir()] == [where]


def test_a_plan_that_was_changed_in_the_cache_is_not_found(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(header(10, 14, 1, 48))
    plan_cache.keep("key", plan, BUILT)
    found = plan_cache.find("key")
    assert found
    assert found[1] == BUILT
    assert plan_cache.find("other") is None
    found[0].write_bytes(b"cut off")
    assert plan_cache.find("key") is None


def test_the_cache_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "KEPT", 2)
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"plan")
    for key in "abc":
        plan_cache.keep(key, plan, BUILT)
    assert [key for key in "abc" if plan_cache.find(key)] == ["b", "c"]


# --- the API of both TensorRTs


# What the worker's variables are, and what polygraphy calls for each of CreateConfig's arguments.
CLASSES = {"builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
           "error": "ParserError", "trt": ""}  # fmt: skip
ARGUMENTS = {
    "profiles": "IBuilderConfig.add_optimization_profile",
    "memory_pool_limits": "IBuilderConfig.set_memory_pool_limit",
    "load_timing_cache": "IBuilderConfig.create_timing_cache",
    "builder_optimization_level": "IBuilderConfig.builder_optimization_level",
    "profiling_verbosity": "IBuilderConfig.profiling_verbosity",
    "version_compatible": "BuilderFlag.VERSION_COMPATIBLE",
    "progress_monitor": "IBuilderConfig.progress_monitor",
    "sparse_weights": "BuilderFlag.SPARSE_WEIGHTS",
    "tf32": "BuilderFlag.TF32",
}


def dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) if name in CLASSES:
            return CLASSES[name]
        case ast.Attribute(value=value, attr=attribute) if dotted(value) or isinstance(value, ast.Name):
            return (
                f"{dotted(value)}.{attribute}".strip(".")
                if not isinstance(value, ast.Name) or value.id in CLASSES
                else ""
            )
    return ""


def names_of_the_api() -> set[str]:
    """Return every name of TensorRT that worker.py uses, from TensorRT itself and from polygraphy."""
    tree = ast.parse(Path(worker.__file__).read_text("utf-8"))
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "Monitor":
            methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            used |= {f"IProgressMonitor.{method}" for method in methods}
        if isinstance(node, ast.Dict) and any(isinstance(k, ast.Constant) and k.value == "profiles" for k in node.keys):
            used |= {ARGUMENTS[str(key.value)] for key in node.keys if isinstance(key, ast.Constant)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "CreateConfig":
            used |= {ARGUMENTS[keyword.arg] for keyword in node.keywords if keyword.arg}
    return {name for name in used if name and "__version__" not in name}


@pytest.mark.parametrize("names", sorted(API.glob("names-*.txt")), ids=lambda path: path.stem)
def test_every_name_that_is_used_is_in_tensorrt_10_and_11(names: Path) -> None:
    known = set(names.read_text("utf-8").split())
    used = names_of_the_api()
    assert {"Builder.create_network", "OnnxParser.parse_from_file", "BuilderFlag.TF32", "ParserError.node_name",
            "MemoryPoolType.WORKSPACE", "IBuilderConfig.num_optimization_profiles"} <= used  # fmt: skip
    assert not used - known


def test_the_lists_are_those_of_both_apis() -> None:
    ten, eleven = (set(path.read_text("utf-8").split()) for path in sorted(API.glob("names-*.txt")))
    assert {"BuilderFlag.FP16", "IBuilderConfig.int8_calibrator"} <= ten - eleven


def test_the_worker_needs_nothing_of_ours(tmp_path: Path) -> None:
    tree = ast.parse(Path(worker.__file__).read_text("utf-8"))
    modules = {each.module.split(".")[0] for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and each.module}
    modules |= {
        name.name.split(".")[0] for each in ast.walk(tree) if isinstance(each, ast.Import) for name in each.names
    }
    assert modules - sys.stdlib_module_names == {"numpy", "polygraphy", "tensorrt", "tensorrt_rtx"}


def test_the_file_names_are_those_that_trtexec_gets() -> None:
    told = trtexec_arguments(spec())
    assert f"--onnx={plan_spec.ONNX}" in told
    assert f"--saveEngine={plan_spec.UNFINISHED}" in told
