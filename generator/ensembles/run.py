"""A run of `generate`: models first, and then the ensembles that call them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelrepo.generator import sources
from modelrepo.generator.ensembles import ensemble
from modelrepo.generator.errors import OptionError
from modelrepo.generator.options import resolve
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.pipeline import generate as models
from modelrepo.generator.pipeline.gate import Gate
from modelrepo.generator.pipeline.job import Context, Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.specs.options import Choice, Options, RunOptions
from modelrepo.generator.specs.report import Report, Result

# What the name of an ensemble that decodes adds to the name of its model.
ENCODED = "_encoded"


def generate(
    jobs: list[Job],
    ensembles: Sequence[EnsembleSpec],
    run: RunOptions,
    progress: Progress,
    *,
    dry_run: bool = False,
    gate: Gate | None = None,
) -> Report:
    """Generate every job's models, and then the ensembles; one that fails is a row, and the others still run."""
    report = models.generate(jobs, run, progress, dry_run=dry_run, gate=gate)
    if report.interrupted or not ensembles:
        return report
    context = Context(Repository(run.repository), run, progress, gate, dry_run)
    rows: list[Result] = []
    interrupted = False
    try:
        for row in ensemble.generate(ensembles, context, coming=_coming(report)):
            rows.append(row)
    except KeyboardInterrupt:
        interrupted = True
    return replace(report, results=(*report.results, *rows), seconds=progress.total(), interrupted=interrupted)


def _coming(report: Report) -> dict[str, str]:
    """Return why models of this run are not published, by name: they failed, or it is a dry run."""
    return {
        row.name: f"{row.name} failed" if row.failure else f"{row.name} is not there yet"
        for row in report.results
        if row.failure or row.status in ("skipped", "deferred")
    }


def with_pixels(options: Options) -> Options:
    """Return the options of a model: to take the files of pictures, it has to take pixels.

    An ONNX file takes what it takes: there is no transform of its source that could be put before it.
    """
    if not options.with_decoding or sources.find(options.model)[0] is sources.SOURCES["onnx"]:
        return options
    return replace(options, with_preprocessing=True)


def decoding(jobs: Sequence[Job]) -> list[EnsembleSpec]:
    """Return the ensembles that take the files of pictures, and have the models of jobs answer for their pixels."""
    return [
        EnsembleSpec(
            f"{name}{ENCODED}", (Step("decode", "builtin:decode"), Step("model", name)), option="--with-decoding"
        )
        for job in jobs
        if job.options.with_decoding
        for name in job.published_names().values()
    ]


def jobs_of(ensembles: Sequence[EnsembleSpec], flags: Mapping[str, Any], file: ConfigFile) -> list[Job]:
    """Return the jobs of steps that are ONNX files: each is published as ENSEMBLE__STEP before its ensemble.

    They have the options of the file and the flags, but one backend and no template of a name.
    """
    found = []
    for spec in ensembles:
        for step in spec.steps:
            if step.scheme == "onnx":
                _, options = resolve.resolve(flags, file, step.use)
                choice = Choice("onnx", options.backends[0].precision)
                found.append(Job(spec.own_model(step), replace(options, backends=(choice,), name_template="{model}")))
    names = [job.name for job in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise OptionError(f"two steps would be published as {twice!r}", "Rename a step")
    return found
