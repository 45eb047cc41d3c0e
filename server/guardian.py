"""Keeps one server from outliving whoever started it: a program of its own, with nothing but Python's own library.

It starts the server, and stops it when its standard input ends, which is also what a killed parent leaves behind. Then
it removes what the server left, which a killed server can't do itself. The first line of its input is a JSON object::

    command, environment, folder   what to run, with which variables, in which (empty) folder
    log                            the file that takes what the server prints
    shared_memory                  the prefix of the server's regions in /dev/shm, or nothing
    cleanup                        a command to run in the end, or nothing
    scratch                        the folder to remove in the end
    claims                         where guardians note which temporary folder belongs to which server
    grace                          seconds between asking the server to stop and killing it; 0 kills it at once

It prints the server's process id.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_SECONDS = 0.5
# Where Triton's Python backend makes an empty folder as long as it is loaded (pb_env.cc), and how it is named.
TEMPORARY, ENVIRONMENT_FOLDER = Path("/tmp"), "python_env_"  # noqa: S108
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def main() -> int:
    """Run the server until it ends or the input does; return its exit code."""
    order = json.loads(sys.stdin.buffer.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    parent = os.getppid()
    claim = Claim(Path(order["claims"]))
    with Path(order["log"]).open("ab") as log:
        server = subprocess.Popen(  # noqa: S603 - the parent's order
            order["command"],
            env=order["environment"],
            cwd=order["folder"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_end_with_the_guardian,
        )
    print(server.pid, flush=True)
    try:
        _wait(server, parent, claim)
        _stop(server, order["grace"])
    finally:
        _kill_all(server)
        claim.settle()
        _sweep(order)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


class Claim:
    """The empty folder that Triton's Python backend makes as long as it is loaded, and leaves where it is killed.

    Nothing in it says whose it is. So each guardian takes one that appeared since its server started and that no other
    guardian has taken; which of two that appear together it takes makes no difference in the end.
    """

    def __init__(self, claims: Path) -> None:
        self.claims, self.before, self.taken = claims, _environment_folders(), Path()
        claims.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        """Take a folder, if none was taken and there is one that can't be another program's."""
        if self.taken.name or not (fresh := _environment_folders() - self.before):
            return
        foreign = list(_starts_of_foreign_servers(str(self.claims.parent)))
        for folder in sorted(fresh, key=lambda path: path.stat().st_ctime):
            if all(folder.stat().st_ctime < start for start in foreign):
                with contextlib.suppress(FileExistsError):
                    (self.claims / folder.name).touch(exist_ok=False)
                    self.taken = folder
                    return

    def settle(self) -> None:
        """Remove the folder, if the server did not do it itself."""
        self.look()
        if self.taken.name:
            with contextlib.suppress(FileNotFoundError):
                self.taken.rmdir()
            (self.claims / self.taken.name).unlink(missing_ok=True)


def _end_with_the_guardian() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(server: "subprocess.Popen[bytes]", parent: int, claim: Claim) -> None:
    """Return when the server or our input has ended, or the parent is gone (copies of it may hold the input open)."""
    exited = os.pidfd_open(server.pid)
    try:
        while os.getppid() == parent:
            ready, _, _ = select.select([sys.stdin, exited], [], [], LOOK_SECONDS)
            claim.look()
            if exited in ready or (ready and not os.read(sys.stdin.fileno(), 1)):
                return
    finally:
        os.close(exited)


def _stop(server: "subprocess.Popen[bytes]", grace: float) -> None:
    if server.poll() is None and grace:
        server.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace)


def _kill_all(server: "subprocess.Popen[bytes]") -> None:
    """Kill the server and every process it started; as their subreaper we can wait for all of them."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    with contextlib.suppress(ChildProcessError):  # until there are none
        while True:
            for children in Path("/proc/self/task").glob("*/children"):
                for pid in map(int, children.read_text().split()):
                    os.kill(pid, signal.SIGKILL)
            os.wait()


def _sweep(order: dict[str, Any]) -> None:
    for region in SHARED_MEMORY.glob(f"{order['shared_memory']}*") if order["shared_memory"] else ():
        region.unlink(missing_ok=True)
    if order["cleanup"]:
        subprocess.run(order["cleanup"], capture_output=True, check=False)  # noqa: S603 - the parent's order
    shutil.rmtree(order["scratch"], ignore_errors=True)


def _environment_folders() -> set[Path]:
    return {path for path in TEMPORARY.glob(f"{ENVIRONMENT_FOLDER}*") if path.stat().st_uid == os.getuid()}


def _starts_of_foreign_servers(cache: str) -> Iterator[float]:
    """Yield when each running server that no guardian looks after was started, in seconds since the epoch.

    The source of the numbers: proc_pid_stat(5), field 22.
    """
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            name, _, rest = (process / "stat").read_text().rpartition(")")
            if name.endswith("(tritonserver") and cache not in (process / "cmdline").read_text():
                yield boot + int(rest.split()[19]) / os.sysconf("SC_CLK_TCK") - LOOK_SECONDS


if __name__ == "__main__":
    sys.exit(main())
