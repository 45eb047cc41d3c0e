"""The means for building plans on a machine, and the way that is chosen. GPUs and docker are stand-ins: scripts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.tensorrt import machine, ways
from modelrepo.generator.tensorrt.machine import Gpu, Machine
from modelrepo.generator.tensorrt.ways import choose
from tests import stand_ins
from tests.plans import L4, spec, stand_in


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the GPU, TensorRT and docker of the machine that runs the tests."""
    monkeypatch.setattr(machine, "NVIDIA_SMI", ("nvidia-smi",))
    monkeypatch.setattr(machine, "HOOKS", ())
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PATH", stand_ins.install(tmp_path / "host"))
    monkeypatch.setenv("STAND_IN_GPU", "none")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: str) -> None:
    """Let the stand-in for nvidia-smi list these GPUs."""
    monkeypatch.setenv("STAND_IN_GPU", ",".join(capabilities or ("8.9",)))


def test_a_machine_without_gpu_tensorrt_and_docker_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.look().why_no_gpu == "nvidia-smi finds no usable GPU: No devices were found"
    monkeypatch.setattr(machine, "NVIDIA_SMI", ())
    monkeypatch.setattr(machine, "gpu_present", lambda: False)
    assert machine.look() == Machine(
        why_no_gpu="no CUDA device on this machine", why_no_tensorrt=machine._missing() or ""
    )


def test_a_device_without_a_driver_is_not_reported_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA_SMI", ())
    monkeypatch.setattr(machine, "gpu_present", lambda: True)
    assert "nvidia-smi is not installed" in machine.look().why_no_gpu


def test_gpus_are_read_and_each_type_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, "8.9", "9.0", "8.9")
    found = machine.look()
    assert found.gpus[0] == Gpu(0, "Stand-in GPU", "8.9", "580.95.05", "GPU-0a1e-0000")
    assert [(gpu.index, gpu.compute_capability) for gpu in found.types] == [(0, "8.9"), (1, "9.0")]


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        *(("1", [1]), ("", []), ("-1", []), ("1,0", [0, 1])),
        *(("GPU-1a1e-0000", [1]), ("GPU-0a", [0]), ("GPU-0123", []), ("GPU-", [0, 1]), ("MIG-0a1e", [])),
    ],
)
def test_hidden_gpus_are_not_built_on(visible: str, seen: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, "8.9", "8.9")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = machine.look()
    assert [gpu.index for gpu in found.gpus] == seen
    assert bool(found.why_no_gpu) != bool(seen)


@pytest.mark.parametrize("told", ["garbage", "0, NVIDIA L4, [N/A], 470.1, GPU-4a1e", "0, L4"])
def test_unexpected_output_of_nvidia_smi_is_reported(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("nvidia-smi", f"echo '{told}'", tmp_path, monkeypatch)
    assert "something unexpected" in machine.look().why_no_gpu


DOCKERS = {
    'echo \'{"Runtimes": {"nvidia": {}}}\'': None,
    'echo \'{"Runtimes": {}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}\'': None,
    'echo \'{"Runtimes": {"runc": {}}}\'': "container toolkit is missing",
    'echo \'{"ServerErrors": ["Cannot connect to the Docker daemon"]}\'; exit 1': "Cannot connect to the Docker daemon",
    "echo what; exit 0": "something unexpected",
    "sleep 60": "did not answer within",
}


@pytest.mark.parametrize("script", DOCKERS)
def test_a_stand_in_for_docker_is_asked_for_gpu_access(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch)
    stand_in("docker", script, tmp_path, monkeypatch)
    monkeypatch.setattr(machine, "SECONDS", 0.5)
    why, expected = machine.look().docker, DOCKERS[script]
    assert (why is None) if expected is None else (why and expected in why)


LOGGER = "__version__ = '10.14.1.48'\nclass Logger:\n    ERROR = 1\n    def __init__(self, level): ...\n"
REFUSING = "def Builder(logger): raise TypeError('pybind11::init(): factory function returned nullptr')"


@pytest.mark.parametrize(
    ("module", "version", "why"),
    [
        (f"{LOGGER}Builder = Logger", "10.14.1.48", ""),
        (f"{LOGGER}{REFUSING}", None, "factory function"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", None, "TensorRT crashes here with SIGSEGV"),
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", None, "libnvinfer.so.10"),
    ],
)
def test_a_stand_in_for_tensorrt_that_crashes_takes_nothing_with_it(
    module: str, version: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch)
    for name, text in (("tensorrt", module), ("polygraphy", "")):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = machine.look()
    assert found.tensorrt == version
    assert why in found.why_no_tensorrt


def test_a_machine_is_looked_at_once_in_a_run_and_not_at_all_to_defer(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    progress = Progress()
    found = ways.find(spec("25.12"), "auto", progress)
    with_gpus(monkeypatch, "none")
    assert ways.find(spec("25.12"), "auto", progress) == found
    assert ways.find(spec("25.12"), "auto", Progress()) != found
    monkeypatch.setattr(machine, "look", lambda progress: pytest.fail("looked"))
    assert ways.find(spec("25.12"), "defer", progress).kind == "deferred"


def test_for_its_gpus_alone_neither_tensorrt_nor_docker_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    monkeypatch.setattr(machine, "_docker", lambda: pytest.fail("asked docker"))
    monkeypatch.setattr(machine, "_tensorrt", lambda: pytest.fail("asked TensorRT"))
    assert [gpu.compute_capability for gpu in machine.gpus()[0]] == ["8.9"]


FULL = Machine((L4,), "10.14.1.48", None, "", "")
OLD = Gpu(0, "Tesla T4", "7.5", "535.183.01")
MACHINES = {
    "everything": FULL,
    "no GPU": Machine(),
    "no TensorRT": replace(FULL, tensorrt=None, why_no_tensorrt="TensorRT is not installed"),
    "another TensorRT": replace(FULL, tensorrt="11.2.1.5"),
    "an older TensorRT": replace(FULL, tensorrt="10.9.0.34"),
    "no docker": replace(FULL, tensorrt=None, why_no_tensorrt="TensorRT is not installed",
                         docker="there is no docker here"),
    "docker without GPU access": replace(
        FULL, tensorrt="11.2.1.5", docker="docker can't give a container a GPU: NVIDIA's container toolkit is missing"),
    "a driver too old": replace(FULL, gpus=(OLD,), tensorrt=None, why_no_tensorrt="TensorRT is not installed"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("everything", "process"),
        ("no GPU", "deferred"),
        ("no TensorRT", "container"),
        ("another TensorRT", "container"),
        ("an older TensorRT", "container"),
        ("no docker", "deferred"),
        ("docker without GPU access", "deferred"),
        ("a driver too old", "deferred"),
    ],
)
def test_the_first_possible_way_is_taken(name: str, kind: str) -> None:
    way = choose(spec("25.12"), MACHINES[name], "auto")
    assert way.kind == kind
    assert way.reasons


def test_an_older_tensorrt_does_for_a_version_compatible_plan() -> None:
    wanted = spec("25.12", version_compatible=True)
    assert choose(wanted, MACHINES["an older TensorRT"], "auto").kind == "process"
    assert choose(wanted, MACHINES["another TensorRT"], "auto").kind == "container"


def test_a_partly_known_version_is_enough_only_if_the_process_is_requested() -> None:
    here = replace(FULL, tensorrt="10.16.0.1")
    assert choose(spec("26.03"), here, "auto").kind == "container"
    assert choose(spec("26.03"), here, "process").kind == "process"


def test_nothing_is_built_if_deferring_is_requested() -> None:
    assert choose(spec("25.12"), FULL, "defer").kind == "deferred"


def test_a_requested_way_that_is_impossible_says_why(golden: Callable[[str, str], None]) -> None:
    lines = []
    for name, here in MACHINES.items():
        for wanted in ("process", "container"):
            try:
                told = f"built: {choose(spec('25.12'), here, wanted).kind}"
            except ConversionError as error:
                told = str(error)
            lines.append(f"{name}, --plan-builder {wanted}:\n  {told}\n")
        lines.append(f"{name}, --plan-builder auto:\n  {choose(spec('25.12'), here, 'auto')}\n")
    golden("messages/tensorrt/plan-ways.txt", "".join(lines))


def test_a_stand_in_host_with_everything_builds_in_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert choose(spec("25.12"), machine.look(), "auto").kind == "container"
