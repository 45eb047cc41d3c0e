"""A model in a process of its own, which calls it again and again: the worker, and its handle in the parent.

The process has one framework in it, so that its memory can be measured and frameworks don't disturb each other. It ends
when its standard input does, as it does when the parent is killed.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import IO, TypeAlias

from modelrepo.generator.errors import ModelRepoError, PerfError
from modelrepo.generator.graphs import runtime
from modelrepo.generator.preparation import wrapped
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays

ModelCall: TypeAlias = Callable[[Arrays], object]
# Loads a model in the worker, which gets it pickled; returns the framework's name, and a function to call the model.
Opener: TypeAlias = Callable[[], tuple[str, ModelCall]]
# The first calls of a shape choose algorithms and ask for memory.
WARM_UP_CALLS = 2
LEAST_CALLS = 5
END_SECONDS = 10.0
MAIN = "from modelrepo.perf.frameworks.worker import main; main()"


class Refused(PerfError):
    """A model does not answer an input; its worker is alive, and other inputs may work."""


@dataclass(frozen=True)
class Source:
    """Opens a source model again; ``weights`` are those of its publication."""

    load: Callable[[str, Options, Progress], SourceModel]
    name: str
    options: Options
    weights: Weights

    def __call__(self) -> tuple[str, ModelCall]:
        """Load the model; SourceError if it can't be loaded, PerfError if its weights have changed."""
        source = wrapped(self.load(self.name, self.options, Progress()), self.options)
        if source.weights.sha256 != self.weights.sha256:
            raise PerfError(
                f"the weights of {self.options.model} ({self.weights.detail}) have changed since it was published",
                "Generate it again, or put the weights back",
            )
        return named(source.framework), source.run


@dataclass(frozen=True)
class OnnxRuntime:
    """Opens an ONNX model in ONNX Runtime, on the CPU, with its default settings."""

    path: Path

    def __call__(self) -> tuple[str, ModelCall]:
        """Open the model; VerificationError with ONNX Runtime's reason if it can't be opened."""
        return named("onnxruntime"), runtime.open_model(self.path)


def named(framework: str) -> str:
    """Return a framework's name with its version."""
    return f"{framework} {metadata.version(framework)}"


@dataclass(frozen=True)
class Timed:
    """The microseconds of each call, and the peak memory of the worker since it started."""

    calls: "array[float]"
    memory_bytes: int


# --- the parent's end


class Worker:
    """A model in its process; ``title`` is its name in errors, ``framework`` that from the worker."""

    def __init__(
        self, title: str, process: "subprocess.Popen[bytes]", connection: Connection, log: IO[bytes], opener: Opener
    ) -> None:
        self.title, self.pid = title, process.pid
        self._process, self._connection, self._log = process, connection, log
        self.framework = str(self._ask(opener))

    def time(self, arrays: Arrays, seconds: float) -> Timed:
        """Call the model for ``seconds`` without a pause, at least LEAST_CALLS times, after a warm-up.

        Raises Refused if the model does not answer, and PerfError if the worker has ended.
        """
        answer = self._ask((arrays, seconds))
        assert isinstance(answer, Timed)  # noqa: S101 - main's answer to this question
        return answer

    def _ask(self, question: object) -> object:
        try:
            self._connection.send(question)
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._ended() from error
        if isinstance(answer, ModelRepoError):
            answer.message = f"{self.title}: {answer.message}"
            raise answer
        return answer

    def _ended(self) -> PerfError:
        """Return the error for a worker that has ended, with its last line or its signal."""
        code = self._process.wait(END_SECONDS)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        if code >= 0:
            return PerfError(f"{self.title}: its process ended with code {code}{f': {lines[-1]}' if lines else ''}")
        hint = "This machine may have run out of memory: try smaller batches" if code == -signal.SIGKILL else ""
        return PerfError(f"{self.title}: its process was killed by {signal.Signals(-code).name}", hint)


@contextmanager
def worker(title: str, opener: Opener) -> Iterator[Worker]:
    """Load a model in a process of its own, which ends with the context, whatever happens.

    ``opener`` must be picklable, and importable by the same names in another process. Our errors that it raises are
    raised here, other errors as PerfError. Raises PerfError too if the process ends early.
    """
    ours, theirs = Pipe()
    with ours, theirs, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-c", MAIN, str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is for the parent
        )
        try:
            theirs.close()  # so that the end of the worker's copy is noticed
            yield Worker(title, process, ours, log, opener)
        finally:
            process.kill()
            process.communicate()


# --- the worker


def main() -> None:
    """Open the model that is sent first, then time each question, until the parent has no more."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # so that a child of the framework does not keep it open
    Thread(target=_end_with_the_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError), Connection(descriptor) as connection:
        try:
            framework, run = connection.recv()()
        except Exception as error:  # the parent raises it
            connection.send(error if isinstance(error, ModelRepoError) else PerfError(_line(error)))
            return
        connection.send(framework)
        while True:
            arrays, seconds = connection.recv()
            connection.send(_answer(run, arrays, seconds))


def _end_with_the_parent() -> None:
    """End at once when the parent ends, even in the middle of a call."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _answer(run: ModelCall, arrays: Arrays, seconds: float) -> "Timed | Refused":
    try:
        return Timed(timed(run, arrays, seconds), _most_memory())
    except Exception as error:  # frameworks raise errors of any type
        return Refused(error.message if isinstance(error, ModelRepoError) else _line(error))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(" :.")


def timed(run: ModelCall, arrays: Arrays, seconds: float) -> "array[float]":
    """Return the microseconds of each call, without gaps: their sum is the elapsed time."""
    for _ in range(WARM_UP_CALLS):
        run(arrays)
    calls = array("d")
    start = mark = perf_counter()
    while mark - start < seconds or len(calls) < LEAST_CALLS:
        run(arrays)
        now = perf_counter()
        calls.append((now - mark) * 1e6)
        mark = now
    return calls


def _most_memory() -> int:
    """Return the bytes of this program's peak memory; ``getrusage`` would include the parent's at the start."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
    if not found:
        raise PerfError("this system does not report the peak of a process's memory")
    return int(found[1]) * 1024
