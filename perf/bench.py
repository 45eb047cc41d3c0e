"""The steps of `bench`: find perf_analyzer and a server, ask every model once, measure, write the report."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from modelrepo.generator.errors import ModelRepoError, OptionError, PerfError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import make_folders
from modelrepo.generator.system import extras
from modelrepo.generator.system.interrupts import interrupts_kept_back
from modelrepo.generator.triton import releases
from modelrepo.perf import report
from modelrepo.perf.analyzer.find import Way, find
from modelrepo.perf.analyzer.run import Setting
from modelrepo.perf.frameworks import turns
from modelrepo.perf.measuring import machine, plan, rounds
from modelrepo.perf.measuring.rounds import INTERRUPTED
from modelrepo.perf.measuring.session import Session, opened, prepared
from modelrepo.perf.measuring.target import Data, Target
from modelrepo.perf.results.compare import compare_subjects
from modelrepo.perf.results.loads import Load, Slo
from modelrepo.perf.results.results import Figures, InProcess, Results
from modelrepo.perf.scenarios import load_test
from modelrepo.perf.scenarios.scenario import Scenario
from modelrepo.server.binaries import wheels

Mode = Literal["measure", "scenario", "frameworks"]
SECONDS = 3.0
RESULTS = Path("bench_results")


@dataclass(frozen=True)
class BenchOptions:
    """The options of ``bench``.

    ``seconds`` are those of a run, or of a whole scenario; None is the default of either. That of a run depends on how
    fast the models answer. A scenario's shares refer to ``rate``, in requests a second. Without a ``url`` a local
    server is started on the ``repository``.
    """

    mode: Mode
    models: Sequence[str]
    url: str | None
    repository: Path
    protocol: Literal["grpc", "http"]
    loads: Sequence[Load]
    batch_sizes: Sequence[int]
    rate: float | None
    data: Data
    shared_memory: Literal["none", "system"]
    seconds: float | None
    repeats: int
    stability: float
    slo: Slo | None
    scenario: Scenario | None
    metrics_url: str | None
    analyzer: Way
    output: Path | None


def bench(options: BenchOptions, progress: Progress) -> tuple[Results, Path | None]:
    """Measure as asked, and return the results and the report's page, None if it could not be written.

    If an interrupt or a server that dies cuts the measuring short, ``Results.incomplete`` says so, and the report has
    everything found until then. Raises ModelRepoError and ClientError if there is nothing to report.
    """
    extras.require(extras.BENCH)
    with _folder(options.output) as folder, _regions(options):
        analyzer = find(options.analyzer, folder, progress, releases.release_named(releases.NEWEST))
        where = options.url, options.repository, options.models, options.protocol, options.metrics_url
        with opened(*where, progress) as session:
            _check(options, session)
            targets = prepared(session, options.models, options.repository, options.data, folder / "inputs", progress)
            _check_sizes(options, targets)
            setting = Setting(
                analyzer=analyzer,
                client=session.client,
                metrics_url=session.metrics_url,
                folder=folder,
                seconds=options.seconds or _seconds(options, targets),
                stability=options.stability,
                shared_memory=options.shared_memory,
            )
            environment = {**_environment(options, session, setting), "requests": _on_the_wire(targets)}
            found = MODES[options.mode](options, session, setting, targets, progress)
            results = replace(found, environment=environment, warnings=tuple(progress.warnings))
            return _reported(results, folder, progress)


def _reported(results: Results, folder: Path, progress: Progress) -> tuple[Results, Path | None]:
    """Write the whole report, even if it is interrupted; return the results even if they can't be written."""
    try:
        with interrupts_kept_back(), progress.step("report", "writing the report"):
            page = report.write(results, folder)
    except PerfError as error:
        warnings = (*results.warnings, str(error))
        return replace(results, incomplete=results.incomplete or str(error), warnings=warnings), None
    except KeyboardInterrupt:
        progress.warn(f"the report was finished: {folder}")
        raise
    return results, page


@contextmanager
def _regions(options: BenchOptions) -> Iterator[None]:
    """Lock shared memory against other runs of bench: perf_analyzer always gives its regions the same names."""
    if options.shared_memory == "none":
        yield
        return
    lock = wheels.server_cache() / "shared-memory.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise PerfError(
            "another bench passes tensors through shared memory, and perf_analyzer's regions would be mixed up",
            "Wait until it ends, or leave --shared-memory out",
        ) from None


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    """Yield the folder of the results; remove it again if nothing was measured."""
    try:
        folder, made = _made(output)
        for name in ("raw", "inputs"):
            (folder / name).mkdir()
    except OSError as error:
        raise PerfError(
            f"can't write to {output or RESULTS}: {error.strerror}", "Name another folder with --output"
        ) from error
    try:
        yield folder
    except BaseException:
        if not any((folder / "raw").iterdir()):
            for name in ("raw", "inputs"):
                shutil.rmtree(folder / name)
            for path in reversed(made):
                with suppress(OSError):  # another process may have added files
                    path.rmdir()
        raise


def _made(output: Path | None) -> tuple[Path, list[Path]]:
    """Return an empty folder, by default named after the time, and the folders made for it."""
    if output:
        folder = output.absolute()
        if not _is_utf8(str(folder)):
            raise OptionError("the name of the folder is not UTF-8", "Name another one with --output")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OptionError(f"{folder} is not an empty folder", "Name another one with --output")
        return folder, make_folders(folder)
    made = make_folders(RESULTS.absolute())
    name = f"{datetime.now(UTC).astimezone():%Y-%m-%dT%H%M%S}"
    for number in count(1):
        folder = RESULTS.absolute() / (f"{name}-{number}" if number > 1 else name)
        with suppress(FileExistsError):  # another run began in the same second
            folder.mkdir()
            break
    return folder, [*made, folder]


def _is_utf8(text: str) -> bool:
    """Whether a text is valid UTF-8; a file's name may hold any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(options: BenchOptions, session: Session) -> None:
    """Raise OptionError for a batch that a model does not take, and for shared memory with a remote server."""
    largest = 1 if options.mode == "frameworks" else max(options.batch_sizes)
    for name in options.models:
        model, _, version = name.partition(":")
        limit = session.client.model(model, version).max_batch_size
        if largest > max(1, limit):
            takes = f"takes at most {limit} samples in a request" if limit else "does not batch"
            raise OptionError(f"can't measure {model} at batch size {largest}: it {takes}", "Lower --batch-size")
    if options.shared_memory == "none":
        return
    if not session.address.on_loopback:
        raise OptionError(f"shared memory needs a server on this machine, not {session.address}", "Leave it out")
    if options.scenario and options.scenario.together and len(options.models) > 1:
        raise OptionError("can't measure models together over shared memory: perf_analyzer's regions have fixed names")


def _check_sizes(options: BenchOptions, targets: Sequence[Target]) -> None:
    """Raise OptionError for samples of different sizes in requests of several."""
    uneven = next((target.subject.model for target in targets if target.sizes > 1), None)
    if uneven and options.mode != "frameworks" and max(options.batch_sizes) > 1:
        raise OptionError(
            f"can't measure {uneven} in batches: the samples of {options.data.source} have different sizes",
            "Leave --batch-size out, or give samples of one size",
        )


def _on_the_wire(targets: Sequence[Target]) -> dict[str, Any]:
    """Return the bytes of the values in a request of one sample and in its answer, for each model."""
    names = [f"{target.subject.model}:{target.subject.version}" for target in targets]
    sizes = [dict(zip(("sent_bytes", "received_bytes"), target.wire_bytes, strict=True)) for target in targets]
    return {name: size for name, size in zip(names, sizes, strict=True) if size["sent_bytes"]}


def _seconds(options: BenchOptions, targets: Sequence[Target]) -> float:
    """Return the seconds of a run if the user leaves them to us."""
    return plan.usual_seconds(targets, options.loads) if options.mode == "measure" else SECONDS


def _environment(options: BenchOptions, session: Session, setting: Setting) -> dict[str, Any]:
    playing, analyzer = options.scenario, setting.analyzer
    used = {
        "seconds": options.seconds or (playing.seconds if playing else setting.seconds),
        **({} if playing else {"repeats": options.repeats}),
        "stability_percent": options.stability,
        "input_data": options.data.source,
        "shared_memory": options.shared_memory,
    }
    return {
        "server": session.describe(),
        "machine": machine.describe(),
        "perf_analyzer": {"version": analyzer.version, "origin": analyzer.origin},
        "options": used,
    }


def _measure(
    options: BenchOptions, session: Session, setting: Setting, targets: Sequence[Target], progress: Progress
) -> Results:
    recorder = rounds.Recorder()
    exact = plan.from_targets(targets, options.loads, options.repeats, setting.seconds)
    if str(exact) != str(plan.from_settings(len(targets), len(options.loads), options.repeats, options.seconds)):
        progress.show(f"plan: {exact}")
    rounds.measure(setting, targets, rounds.Schedule(options.loads, options.repeats), recorder, progress)
    return Results(
        created=_now(),
        environment={},
        measurements=recorder.measurements(),
        comparisons=compare_subjects(recorder.runs, options.loads, [target.subject for target in targets]),
        slo=options.slo,
        incomplete=recorder.incomplete,
        runs=tuple(recorder.runs),
    )


def _play(
    options: BenchOptions, session: Session, setting: Setting, targets: Sequence[Target], progress: Progress
) -> Results:
    assert options.scenario  # noqa: S101 - it is the mode's
    recorder = rounds.Recorder()
    outcome, measurements = load_test.play(
        options.scenario,
        setting,
        targets,
        slo=options.slo,
        base_rate=options.rate,
        seconds=options.seconds,
        batch_size=options.batch_sizes[0],
        recorder=recorder,
        progress=progress,
    )
    return Results(
        created=_now(),
        environment={},
        measurements=measurements,
        scenario=outcome,
        slo=options.slo or options.scenario.slo,
        incomplete=recorder.incomplete,
        runs=tuple(recorder.runs),
    )


def _frameworks(
    options: BenchOptions, session: Session, setting: Setting, targets: Sequence[Target], progress: Progress
) -> Results:
    by_name = dict(zip(options.models, targets, strict=True))
    recorder, numbers, rows = rounds.Recorder(), Counter[Load](), list[InProcess]()

    def served(model: str, batch_size: int) -> tuple[Figures, int | None]:
        load = Load(batch_size, concurrency=1)
        numbers[load] += 1
        try:
            found = rounds.settled(setting, rounds.Slot(by_name[model]), load, numbers[load], recorder, progress)
        except ModelRepoError as error:
            recorder.close(str(error))
            raise
        if found.figures is None:
            raise PerfError(found.reason, f"perf_analyzer's output is in {found.log}")
        return found.figures, machine.memory_of(session.local.pid) if session.local else None

    try:
        for row in turns.measure(
            {name: target.rows for name, target in by_name.items()},
            options.repository,
            batch_sizes=options.batch_sizes,
            seconds=setting.seconds,
            rounds=options.repeats,
            served=served,
            progress=progress,
        ):
            rows.append(row)
    except (KeyboardInterrupt, ModelRepoError) as error:
        if not rows:
            raise
        recorder.close(str(error) or INTERRUPTED)
    return Results(
        created=_now(),
        environment={},
        measurements=recorder.measurements(),
        in_process=tuple(rows),
        incomplete=recorder.incomplete,
        runs=tuple(recorder.runs),
    )


MODES: Mapping[Mode, Callable[[BenchOptions, Session, Setting, Sequence[Target], Progress], Results]] = {
    "measure": _measure,
    "scenario": _play,
    "frameworks": _frameworks,
}


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
