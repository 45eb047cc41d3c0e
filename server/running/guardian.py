"""Stops one server when the process that started it ends: a separate program that needs Python's standard library only.

It starts the server, and stops it when its standard input ends, as it does when the parent is killed. Then it removes
the files that the server left: a killed server can't do that itself. The first line of its input is a JSON object::

    command, environment, folder   the command to run, its variables, and its (empty) working folder
    log                            the file for the server's output
    shared_memory                  the prefix of the server's regions in /dev/shm, or empty
    cleanup                        a command to run at the end, or empty
    scratch                        the folder to remove at the end
    grace                          seconds between asking the server to stop and killing it; 0 kills it at once

It prints the server's process id, or the reason why it can't be started.
"""

import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Seconds between two checks that the parent is still running, and between two searches for the temporary folder.
LOOK_SECONDS, FOLDER_SECONDS = 0.5, 0.05
NOTE = "temporary"
# The parent and the prefix of the folder that Triton's Python backend keeps while it is loaded (pb_env.cc).
TEMPORARY, ENVIRONMENT_FOLDER = Path("/tmp"), "python_env_"  # noqa: S108
# glibc's heaps of threads start at multiples of this (HEAP_MAX_SIZE in malloc/arena.c).
HEAP_ALIGNMENT = 64 << 20
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def main() -> int:
    """Run the server until it ends or the input does; return its exit code."""
    order = json.loads(sys.stdin.buffer.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    parent = os.getppid()
    try:
        server = _started(order)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", flush=True)
        _sweep(order)
        return 1
    folders = EnvironmentFolders(server.pid, Path(order["scratch"], NOTE))
    try:
        with contextlib.suppress(BrokenPipeError):  # the parent has ended, and so has our input
            print(server.pid, flush=True)
        _wait(server, parent, folders)
        _stop(server, order["grace"])
    finally:
        _kill_all(server)
        folders.remove()
        _sweep(order)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _started(order: dict[str, Any]) -> "subprocess.Popen[bytes]":
    with Path(order["log"]).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the parent's order
            order["command"],
            env=order["environment"],
            cwd=order["folder"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_end_with_the_guardian,
        )


class EnvironmentFolders:
    """The empty folders that Triton's Python backend makes while it is loaded, and leaves behind if it is killed.

    Nothing on the disk says which server they belong to; only the memory of the running server does. They are noted in
    a file of the server's folder, so that the next start can clean up after a guardian that was killed.
    """

    def __init__(self, pid: int, note: Path) -> None:
        self.pid, self.note = pid, note
        self.seen: set[str] = set()
        self.own: set[str] = set()

    def look(self) -> None:
        """Find the server's own folders, if new ones have appeared since the last time."""
        there = {str(path) for path in TEMPORARY.glob(f"{ENVIRONMENT_FOLDER}*")}
        if there - self.seen:
            with contextlib.suppress(OSError):  # the server has ended, or this machine does not allow it
                self.own |= _named_in_memory(self.pid) & there
                self.seen = there
                self.note.write_text("\n".join(self.own))

    def remove(self) -> None:
        """Remove the folders that the server did not remove itself."""
        for folder in self.own:
            shutil.rmtree(folder, ignore_errors=True)  # a broken environment may be half unpacked in it


def _named_in_memory(pid: int) -> set[str]:
    """Return the folders named in a process's heaps: the main heap, and those of its threads."""
    name = re.compile(rf"{TEMPORARY}/{ENVIRONMENT_FOLDER}\w{{6}}".encode())
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_bytes().split(b"\n"):  # paths of any bytes are named in it
            if not line:
                continue
            span, access, *rest = line.split()
            start, end = (int(address, 16) for address in span.split(b"-"))
            if len(rest) == 3:  # without a name: a heap, maybe after a thread's stack in the same mapping
                start += -start % HEAP_ALIGNMENT
            elif rest[-1] != b"[heap]":
                continue
            if access.startswith(b"rw") and start < end:
                with contextlib.suppress(OSError):  # unmapped by now
                    memory.seek(start)
                    found |= {match.decode() for match in name.findall(memory.read(end - start))}
    return found


def _end_with_the_guardian() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(server: "subprocess.Popen[bytes]", parent: int, folders: EnvironmentFolders) -> None:
    """Return when the server, our input or the parent has ended (other processes may hold the input open)."""
    exited = os.pidfd_open(server.pid)
    try:
        while os.getppid() == parent:
            seconds = LOOK_SECONDS if folders.own else FOLDER_SECONDS
            ready, _, _ = select.select([sys.stdin, exited], [], [], seconds)
            folders.look()
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
    """Kill the server and every process it started; as their subreaper this program can wait for all of them."""
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


if __name__ == "__main__":
    sys.exit(main())
