"""A model that does not fit into the memory that is left is refused before its weights are read."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.pytorch import weights_size
from modelrepo.generator.system import memory
from tests.conftest import PROJECT

GB = 10**9


def machine(root: Path, cgroup: str, groups: dict[str, dict[str, int | str]] | None = None) -> Path:
    """Lay out the kernel's files of a machine with 8 GB free; ``groups`` are the files of its control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:   0\n")
    (root / "proc/self/status").write_text("Name:\tpython\nVmSize:\t  100 kB\nVmData:\t 50 kB\nCpus_allowed:\t3\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for folder, files in (groups or {}).items():
        (root / "sys/fs/cgroup" / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (root / "sys/fs/cgroup" / folder / name).write_text(f"{content}\n")
    return root


def version_2(limit: int | str, used: int) -> dict[str, int | str]:
    stat = f"anon {used - GB}\ninactive_file {GB // 2}\nactive_file {GB // 2}"
    return {"memory.max": limit, "memory.current": used, "memory.stat": stat}


def version_1(limit: int, used: int) -> dict[str, int | str]:
    stat = f"inactive_file 7\ntotal_inactive_file {GB // 2}\ntotal_active_file {GB // 2}"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


def test_without_limits_the_machines_free_memory_counts(tmp_path: Path) -> None:
    assert memory.available(machine(tmp_path, "0::/\n")) == 8_192_000_000


@pytest.mark.parametrize(
    ("cgroup", "groups", "free"),
    [
        ("0::/a/b\n", {"a/b": version_2("max", 2 * GB), "a": version_2(4 * GB, 3 * GB)}, 2 * GB),
        ("0::/a/b\n", {"a/b": version_2(5 * GB, 2 * GB), "a": version_2(9 * GB, 3 * GB)}, 4 * GB),
        ("0::/not/seen/from/here\n", {"": version_2(3 * GB, 2 * GB)}, 2 * GB),
        ("0::/\n4:cpu,memory:/a\n", {"memory/a": version_1(3 * GB, 2 * GB)}, 2 * GB),
        ("4:memory:/a\n", {"memory/a": version_1(2**63 - 4096, 2 * GB)}, 8_192_000_000),
        ("0::/\n", {"": version_2(2 * GB, 4 * GB)}, 0),
        ("0::/\n", {"": {"memory.max": 3 * GB, "memory.current": GB}}, 2 * GB),
    ],
    ids=[
        "the group above",
        "its own group",
        "a container's",
        "version 1",
        "version 1 without a limit",
        "more than all",
        "without statistics",
    ],
)
def test_a_control_group_leaves_its_limit_minus_usage_without_file_cache(
    cgroup: str, groups: dict[str, dict[str, int | str]], free: int, tmp_path: Path
) -> None:
    assert memory.available(machine(tmp_path, cgroup, groups)) == free


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_counts(limit: str) -> None:
    program = (
        "import resource; from modelrepo.generator.system import memory; before = memory.available();"
        f"resource.setrlimit(resource.{limit}, ({GB}, resource.RLIM_INFINITY)); print(before, memory.available())"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    before, limited = map(int, run.stdout.split())
    assert 0 < limited < GB <= before


def test_a_model_too_large_is_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: int(4.1 * GB))
    memory.check(int(1.6 * GB), "torchvision:vit_h_14")
    with pytest.raises(SourceError) as caught:
        memory.check(3 * GB, "torchvision:vit_h_14")
    assert caught.value.message == (
        "torchvision:vit_h_14 has 3.0 GB of weights, which takes about 7.5 GB of memory; 4.1 GB are free"
    )
    assert caught.value.hint


def test_the_weights_of_a_module_are_counted_without_making_them() -> None:
    torch = pytest.importorskip("torch")

    def build() -> object:
        layer = torch.nn.Linear(100_000, 100_000)
        return torch.nn.Sequential(layer, layer, torch.nn.BatchNorm1d(10))

    assert weights_size.of_built(build) == 4 * (100_000**2 + 100_000 + 4 * 10) + 8
