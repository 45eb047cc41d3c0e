"""Models loaded, exported and verified as `generate` does it, in this process and without a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import parse_field
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.pipeline import proving
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.pipeline.widening import Chosen
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system.asking import Limit
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered

# The batches that are verified; what needs more samples to go wrong is asked by nobody here.
BATCH = 4


def job_of(reference: str, options: Mapping[str, Any]) -> Job:
    """Return the job of ``generate --model REFERENCE`` with options by the names of their flags."""
    flags = {name: parse_field(name, value, name) for name, value in {"max_batch_size": BATCH, **options}.items()}
    _, resolved = resolve(flags, ConfigFile(), reference)
    return Job("model", resolved)


def limit(job: Job) -> Limit:
    """Return the time that the source of a job may take for an answer: half an hour."""
    return Limit(job.options.model, 1800.0)


def loaded(job: Job) -> SourceModel:
    """Return the source of a job."""
    return proving.load(job, limit(job), Progress())


def proved(job: Job, source: SourceModel, folder: Path) -> Proven:
    """Export a source into a folder and verify it; raises what `generate` reports as an error."""
    return proving.prove(job, Chosen(source), Remembered(source.run), ONNX_FORM, folder, limit(job), Progress())
