"""A process that forks for each command: its imports are paid once, and the fork may be killed or see calls fail."""

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.conftest import PROJECT

SOURCE = Path(__file__).with_name("faults.c")
# Kinds of calls that go on failing after the first, as in faults.c.
MAKES, MOVES, REMOVES, FLUSHES = 1, 2, 4, 8
SHIM = "MODELREPO_FAULTS"
# A command that takes longer hangs.
SECONDS = 120
OUTPUTS = ("out", "err", "calls")


@dataclass(frozen=True)
class Fault:
    """What happens at a call: an ``error`` of 0 kills the process; ``at`` 0 is no fault.

    ``after`` seconds the process is killed, wherever it is.
    """

    at: int = 0
    error: int = 0
    lasting: int = 0
    after: float | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), its output, and the calls that change files."""

    code: int
    out: str
    err: str
    calls: tuple[str, ...]


NONE = Fault()


class Worker:
    """Runs commands of `modelrepo` in forks of one process, with the models of tests/numpy_framework.py."""

    def __init__(self, scratch: Path, within: Sequence[str] = ()) -> None:
        """Start the process; ``within`` is a command that it is run by, such as `unshare`."""
        self._scratch = scratch
        library = scratch / "libfaults.so"
        subprocess.run(["cc", "-O1", "-w", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), SHIM: str(library), "OMP_NUM_THREADS": "1"}
        paths = [str(PROJECT / "src"), str(PROJECT), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", "tests.reliability.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=PROJECT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, folder: Path, arguments: Sequence[str], fault: Fault = NONE) -> Ended:
        """Run a verb with its arguments in a folder."""
        return self.run_all(folder, [arguments], [fault])[0]

    def run_all(
        self, folder: Path, commands: Sequence[Sequence[str]], faults: Sequence[Fault] = (), *, wait: bool = True
    ) -> list[Ended]:
        """Run commands at once, each in a process of its own; without ``wait`` they are only started."""
        assert self._process.stdin
        files = [{name: str(self._scratch / f"{name}{at}") for name in OUTPUTS} for at in range(len(commands))]
        requests = [
            {"folder": str(folder), "arguments": list(arguments), "fault": asdict(fault), **names}
            for arguments, fault, names in zip(commands, [*faults, *([NONE] * len(commands))], files, strict=False)
        ]
        self._process.stdin.write(json.dumps(requests) + "\n")
        self._process.stdin.flush()
        self._started = files
        return self.ended() if wait else []

    def ended(self) -> list[Ended]:
        """Wait for the commands that were started."""
        assert self._process.stdout
        codes = json.loads(self._process.stdout.readline())
        texts = [
            [Path(names[each]).read_text("utf-8", errors="replace") for each in OUTPUTS] for names in self._started
        ]
        return [
            Ended(code, out, err, tuple(calls.splitlines()))
            for code, (out, err, calls) in zip(codes, texts, strict=True)
        ]


def _serve() -> None:
    """Answer requests on stdin until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    faults = ctypes.CDLL(os.environ.pop(SHIM))
    os.environ.pop("LD_PRELOAD")
    _import_everything()
    gc.freeze()
    for line in sys.stdin:
        children = {}
        for request in json.loads(line):
            child = os.fork()
            if child == 0:
                _become(request, faults)
            after = request["fault"]["after"]
            children[child] = time.monotonic() + (SECONDS if after is None else after)
        answers.write(f"{json.dumps(_ended(children))}\n")
        answers.flush()


def _ended(children: dict[int, float]) -> list[int]:
    """Wait for children, or kill each at its time; return their exit codes."""
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in children.keys() - codes.keys():
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > children[child]:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.0005)
    return [codes[child] for child in children]


def _import_everything() -> None:
    import onnxruntime  # noqa: F401

    from modelrepo.cli.commands import generate, promote, prune, remove, rollback, versions  # noqa: F401
    from modelrepo.cli.terminal import report, serving  # noqa: F401
    from modelrepo.generator.export import EXPORTERS
    from modelrepo.generator.pipeline import generate as pipeline  # noqa: F401
    from modelrepo.generator.repository.lifecycle import removal  # noqa: F401
    from modelrepo.generator.sources import SOURCES
    from tests import numpy_framework

    numpy_framework.add(SOURCES, EXPORTERS)


def _become(request: dict[str, Any], faults: ctypes.CDLL) -> None:
    """Run a command in this process, which ends with it."""
    from modelrepo.cli.main import modelrepo
    from modelrepo.cli.terminal import errors

    code = 1
    try:
        os.chdir(request["folder"])
        sys.argv = ["modelrepo", *request["arguments"]]
        made = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for target, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
            opened = os.open(name, os.O_RDONLY if target == 0 else made, 0o600)
            os.dup2(opened, target)
        log, fault = os.open(request["calls"], made, 0o600), request["fault"]
        faults.faults_arm(
            os.fsencode(request["folder"]),
            ctypes.c_long(fault["at"]),
            ctypes.c_int(fault["error"]),
            ctypes.c_int(fault["lasting"]),
            ctypes.c_int(log),
        )
        code = errors.run(modelrepo, "modelrepo")
    except OSError as error:  # as cli/entry.py says it
        sys.stderr.write(f"error: {error.filename}: {error.strerror}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
