"""A canary: while a server is under load, it is asked what it was asked when idle, and must answer the same."""

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
# Under overload an answer waits as long as the queue is; what takes longer than this nobody waits for.
DEADLINE_SECONDS = 60.0
# What an interrupt waits for: a connection that is closed ends its call at once, over gRPC.
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Seen:
    """What canaries saw: ``checked`` answers, of which ``wrong`` differed, and requests that were not answered.

    ``refused`` were turned away, which the server counts as failed too, if it is there; ``lost`` had no answer at all.
    ``slowest`` is the longest that an answer took, in seconds. ``difference`` and ``reason`` tell the first wrong
    answer and the first that did not come.
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
        # Named as verification's random inputs are: where their answers lie close together the limits are tighter.
        pool = Pool({}, (RANDOM[0],) * len(target.answers))
        self._comparison.learn({name: [answer[name] for answer in target.answers] for name in names}, pool)

    def difference(self, row: int, got: Answer) -> str:
        """Return how an answer to a row differs from the one that is known, or nothing where it does not."""
        for name, wanted in self._answers[row % len(self._answers)].items():
            if name not in got:
                return f"output {name!r} is missing"
            answer = got[name]
            if answer.shape != wanted.shape or answer.dtype != wanted.dtype:
                return (
                    f"output {name!r} is {answer.dtype} {list(answer.shape)} where the idle server answered "
                    f"{wanted.dtype} {list(wanted.shape)}"
                )
            if not self._comparison.same(name, wanted, answer):
                return self._told(name, wanted, answer)
        return ""

    def _told(self, name: str, wanted: Array, answer: Array) -> str:
        if wanted.dtype.kind != "f":
            return f"output {name!r} is not what the idle server answered"
        apart, limit = largest_difference(wanted, answer, True)[0], self._comparison.limit(name, wanted)
        return f"output {name!r} differs by {apart:.3g} where {limit:.3g} is allowed"


class Canary:
    """Asks a target's known rows in turn, one at a time and every EVERY_SECONDS, while a block runs.

    A target without known rows is not asked. ``seen`` tells what was found, once the block has ended. An error that
    ends the asking is raised then, unless the block has raised one itself.
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
        finally:  # where the block, or the waiting for its end, was cut short, a request is still on its way
            self._client.close()
            if self._target.rows:
                self._thread.join(STOP_SECONDS)
        if self._error and error is None:
            raise self._error

    def _follow(self) -> None:
        """Ask until the block ends; an error is kept, for here it would reach nobody."""
        try:
            judge, row = Judge(self._target), 0
            while not self._done.wait(EVERY_SECONDS):
                self.seen += ask(self._client, self._target, judge, row)
                row += 1
        except Exception as error:
            self._error = error


def ask(client: Client, target: Target, judge: Judge, row: int) -> Seen:
    """Ask for one row, and return what became of it."""
    subject, start = target.subject, time.perf_counter()
    try:
        answer = client.infer(subject.model, target.request(row), version=subject.version)
    except (ServerRefused, ServerUnavailable) as error:  # over gRPC a full queue is unavailable
        return Seen(refused=1, reason=error.message)
    except ClientError as error:
        return Seen(lost=1, reason=error.message)
    found = judge.difference(row, answer)
    return Seen(checked=1, wrong=int(bool(found)), slowest=time.perf_counter() - start, difference=found)
