"""Generates models of the tables in a process of its own, and tells what became of each."""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from modelrepo.clients import GrpcClient
from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import parse_field
from modelrepo.generator.options.resolve import resolve, resolve_run
from modelrepo.generator.pipeline import generate
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.options import RunOptions
from modelrepo.generator.specs.report import Result
from modelrepo.server import running_server
from modelrepo.server.checking.live_check import LiveCheck
from tests.coverage.cases import Case, cases_of
from tests.coverage.row import Row

# What every model is generated with, unless its case says otherwise.
OPTIONS = {"max_batch_size": "2", "live_check": "require", "client_dir": "none"}
ANSWER_SECONDS = 120.0


def work(family: str, names: Sequence[str], folder: Path, cores: set[int], rows: Connection) -> None:
    """Generate cases one after the other and send the row of each; this is the whole life of a process.

    Whatever is printed goes to ``folder``/log. The process leads a session, so that all it began can be killed with it.
    """
    os.setsid()
    os.sched_setaffinity(0, cores)
    tempfile.tempdir = str(folder)
    with (folder / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    cases = {case.name: case for case in cases_of(family)}
    for row in generated([cases[name] for name in names], folder):
        rows.send(row)
    rows.close()
    os._exit(0)  # what frameworks do at the end may hang, and proves nothing


def generated(cases: Sequence[Case], folder: Path) -> Iterator[Row]:
    """Yield the row of each case; one Triton checks them all, and what they leave in ``folder`` is removed."""
    with warnings.catch_warnings(), LiveCheck("require", Progress()) as gate:
        warnings.simplefilter("ignore")  # what frameworks have to say of their own code
        for case in cases:
            home = folder / _plain(case.name)
            home.mkdir()
            yield _row(case, home, gate)
            shutil.rmtree(home)


def _row(case: Case, home: Path, gate: LiveCheck) -> Row:
    """Generate one case and return what became of it, also where that is an error that nobody foresaw."""
    progress, reason, result, exporter = Progress(), "", None, ""
    try:
        job, run = _job(case, home)
        gate.progress = progress = Progress()  # times nothing but `generate`
        (result,) = generate.generate([job], run, progress, gate=gate).results
        if result.failure:
            raise result.failure
        exporter = Repository(home / "models").manifests(job.name)[-1].provenance.source.exporter
        reason = _shortfall(case, result, home / "models")
    except ModelRepoError as error:
        reason = error.message
    except Exception as error:  # the page is to say so of this model, and of no other
        reason = f"unexpected {type(error).__name__}: {error}"
    done = progress.total()
    found = result.verification if result else Verification()
    differences = [each.max_rel_diff for each in (found, found.live) if each and each.max_rel_diff is not None]
    return Row(
        case.key,
        exporter=exporter or ("yes" if "export" in done else ""),
        verified="verify" in done,
        served="live" in done and not reason,
        difference=max(differences, default=None),
        seconds=round(done["total"], 1),
        reason=" ".join(reason.split()),
        notes=result.notes if result else (),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )


def _job(case: Case, home: Path) -> tuple[Job, RunOptions]:
    """Make a case's files, and return what is to be generated of them."""
    files = home / "files"
    files.mkdir()
    if case.make:
        case.make(files)
    flags = {name: parse_field(name, value, name) for name, value in {**OPTIONS, **case.options}.items()}
    _, options = resolve(flags, ConfigFile(), case.reference.format(folder=files))
    return Job(_plain(case.name), options), resolve_run({**flags, "repository": home / "models"}, ConfigFile())


def _shortfall(case: Case, result: Result, repository: Path) -> str:
    """Return what a published model lacks of what its case wants; nothing where all is well."""
    found = result.verification
    if not found.cases or not found.live or not found.live.cases:
        return "nothing was compared"
    if case.batched and not result.max_batch_size:
        return "it is not served in batches"
    if case.expected is None:
        return ""
    expected = case.expected()
    with running_server(repository) as server, GrpcClient(server.grpc_url, deadline=ANSWER_SECONDS) as client:
        try:
            expected.check(client.infer(result.name, expected.inputs))
        except AssertionError as error:
            return f"through Triton: {error}"
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
