"""A canary: it repeats requests from an idle server under load, and compares the answers."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from modelrepo.clients import Client, Retry, connect
from modelrepo.clients.errors import ClientError, ServerRefused, ServerUnavailable
from modelrepo.clients.models import Answer
from modelrepo.generator.specs.tensors import Array
from modelrepo.generator.verification.comparison import Comparison, largest_difference
from modelrepo.generator.verification.inputs import RANDOM, Pool
from modelrepo.perf.measuring.target import Target

EVERY_SECONDS = 0.2
# The longest wait for an answer. Under overload it waits for the whole queue.
DEADLINE_SECONDS = 60.0
# The longest wait for a call after an interrupt. Over gRPC, closing the connection ends its call at once.
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Seen:
    """The counts of canaries: ``checked`` answers, of which ``wrong`` differed, and requests without an answer.

    ``refused`` requests are counted as failed by the server too, ``lost`` ones had no answer at all. ``slowest`` is the
    longest time of an answer, in seconds. ``difference`` describes the first wrong answer, ``reason`` the first failed
    request.
    """

    checked: int = 0
    wrong: int = 0
    refused: int = 0
    lost: int = 0
    slowest: float = 0.0
    difference: str = ""
    reason: str = ""

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(
            self.checked + other.checked,
            self.wrong + other.wrong,
            self.refused + other.refused,
            self.lost + other.lost,
            max(self.slowest, other.slowest),
            self.difference or other.difference,
            self.reason or other.reason,
        )


class Judge:
    """Compares answers with those of the idle server: floats within their precision, everything else exactly."""

    def __init__(self, target: Target) -> None:
        self._answers = target.answers
        self._comparison = Comparison(None, equal_nan=True, repeating=True)
        names = set.intersection(*(set(answer) for answer in target.answers))
        # Named like verification's random inputs: limits are tighter if their answers are close together.
        pool = Pool({}, (RANDOM[0],) * len(target.answers))
        self._comparison.learn({name: [answer[name] for answer in target.answers] for name in names}, pool)

    def difference(self, row: int, got: Answer) -> str:
        """Return the difference between an answer to a row and the known one, or an empty text."""
        for name, wanted in self._answers[row % len(self._answers)].items():
            if name not in got:
                return f"output {name!r} is missing"
            answer = got[name]
            if answer.shape != wanted.shape or answer.dtype != wanted.dtype:
                return (
                    f"output {name!r} is {answer.dtype} {list(answer.shape)}, the idle server answered "
                    f"{wanted.dtype} {list(wanted.shape)}"
                )
            if not self._comparison.same(name, wanted, answer):
                return self._in_words(name, wanted, answer)
        return ""

    def _in_words(self, name: str, wanted: Array, answer: Array) -> str:
        if wanted.dtype.kind != "f":
            return f"output {name!r} is not what the idle server answered"
        apart, limit = largest_difference(wanted, answer, True)[0], self._comparison.limit(name, wanted)
        return f"output {name!r} differs by {apart:.3g} (limit {limit:.3g})"


class Canary:
    """Sends a target's known rows in turn, one every EVERY_SECONDS, while a block runs.

    A target without known rows is not asked. ``seen`` has the counts when the block has ended. An error that ends the
    requests is raised then, unless the block has raised one itself.
    """

    def __init__(self, target: Target) -> None:
        self.seen = Seen()
        self._target = target
        deadline = max(DEADLINE_SECONDS, 20 * target.seconds)
        self._client = connect(str(target.address), deadline=deadline, retry=Retry(times=0))
        self._done = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="canary", daemon=True)

    def __enter__(self) -> Self:
        if self._target.rows:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        try:
            if self._target.rows and error is None:
                self._thread.join()
        finally:  # if the block, or the wait for its end, was cut short, a request is still in flight
            self._client.close()
            if self._target.rows:
                self._thread.join(STOP_SECONDS)
        if self._error and error is None:
            raise self._error

    def _follow(self) -> None:
        """Send requests until the block ends; keep an error, which nothing would catch in this thread."""
        try:
            judge, row = Judge(self._target), 0
            while not self._done.wait(EVERY_SECONDS):
                self.seen += ask(self._client, self._target, judge, row)
                row += 1
        except Exception as error:
            self._error = error


def ask(client: Client, target: Target, judge: Judge, row: int) -> Seen:
    """Send one row, and return its counts."""
    subject, start = target.subject, time.perf_counter()
    try:
        answer = client.infer(subject.model, target.request(row), version=subject.version)
    except (ServerRefused, ServerUnavailable) as error:  # over gRPC a full queue is unavailable
        return Seen(refused=1, reason=error.message)
    except ClientError as error:
        return Seen(lost=1, reason=error.message)
    found = judge.difference(row, answer)
    return Seen(checked=1, wrong=int(bool(found)), slowest=time.perf_counter() - start, difference=found)
