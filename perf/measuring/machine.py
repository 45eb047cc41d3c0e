"""The machine that measures, and its load: other guests of the same host can falsify figures."""

import os
import platform
from pathlib import Path
from typing import Any

from modelrepo.generator.system.extras import need, version_of
from modelrepo.perf.results.results import MachineLoad

# Above this share of stolen time a run is repeated.
STEAL = 0.05
PACKAGES = ("modelrepo", "tritonclient", "onnxruntime", "torch", "numpy")


class Watch:
    """Counts the time of all CPUs from its creation on."""

    def __init__(self) -> None:
        self._start = self._times()

    @staticmethod
    def _times() -> dict[str, float]:
        return dict(need("psutil", "bench").cpu_times()._asdict())

    def load(self) -> MachineLoad:
        """Return the load of the CPUs since then."""
        spent = {name: seconds - self._start[name] for name, seconds in self._times().items()}
        # Linux counts the time of guests as user time, too.
        total = sum(seconds for name, seconds in spent.items() if not name.startswith("guest")) or 1.0
        idle = spent["idle"] + spent.get("iowait", 0.0)
        return MachineLoad(max(0.0, spent.get("steal", 0.0)) / total, max(0.0, 1 - idle / total), os.getloadavg()[0])


def describe() -> dict[str, Any]:
    """Return a description of this machine and its packages, as plain values."""
    psutil = need("psutil", "bench")
    return {
        "cpu": _cpu(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name))},
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def memory_of(pid: int) -> int:
    """Return the bytes that a process and its children hold in memory now, 0 if it has ended.

    Pages that they share count once (proportional set size).
    """
    psutil = need("psutil", "bench")
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += int(process.memory_full_info().pss)
        except psutil.Error:  # it has just ended, or belongs to another user
            continue
    return total
