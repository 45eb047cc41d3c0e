"""Exported models of the cases, each made and proven once and kept in a folder outside of the working tree."""

import hashlib
import pickle
import shutil
from contextlib import chdir
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from modelrepo import HOME
from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.pipeline import proving
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.verification import datasets
from modelrepo.generator.verification.remembered import Remembered
from tests.mutation.cases import Case
from tests.mutation.proof import job_of, loaded, proved

# What decides an exported graph.
ROOMS = ("export", "sources")
PACKAGES = (
    "torch",
    "tensorflow-cpu",
    "tf2onnx",
    "skl2onnx",
    "scikit-learn",
    "onnxmltools",
    "onnx",
    "onnxruntime",
    "transformers",
)


@dataclass(frozen=True)
class Kept:
    """A model that was proven: its job, its source, the graph that would be published, and the folder of its files."""

    case: Case
    home: Path
    job: Job
    source: SourceModel
    reference: Remembered
    export: Export


@cache
def version() -> str:
    """Return a name for what decides an export: the code that makes it, and the versions of the libraries."""
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((HOME / "generator" / room).rglob("*.py")):
            digest.update(path.read_bytes())
    digest.update(" ".join(metadata.version(name) for name in PACKAGES).encode())
    return digest.hexdigest()[:12]


def kept(case: Case, cache_folder: Path) -> Kept:
    """Return a case, exported and proven now or before.

    Raises the error of `generate` for one that is not published; it is remembered, too.
    """
    folder = cache_folder / version() / case.key.replace(" ", "_")
    home, record = folder / "files", folder / "export.pickle"
    if not (folder / "made").exists():
        home.mkdir(parents=True, exist_ok=True)
        case.make(home)
        (folder / "made").touch()
    with chdir(home):
        job = job_of(case.reference.format(folder=home), case.options)
        source = loaded(job)
        if not record.exists():
            shutil.rmtree(folder / "export", ignore_errors=True)  # of a run that was cut short
            record.write_bytes(pickle.dumps(_proved(job, source, folder / "export")))
    export = pickle.loads(record.read_bytes())
    if isinstance(export, str):
        raise ModelRepoError(export)
    return Kept(case, home, job, source, Remembered(source.run), export)


def _proved(job: Job, source: SourceModel, folder: Path) -> Export | str:
    try:
        return proved(job, source, folder).export
    except ModelRepoError as error:
        return str(error)


def noticed(case: Kept, path: Path) -> str:
    """Return what the product's verification says against a file in the place of the graph; empty if nothing.

    This is the call of ``proving.prove``.
    """
    export = replace(case.export, path=path, files=(path,))
    samples = datasets.samples(None, export.signature, case.source.preprocess, case.source.labels)
    compared = proving.Compared(case.reference.ask, ONNX_FORM, export, case.source.framework, samples)
    try:
        proving.verified(compared, case.job.options, Progress())
    except ModelRepoError as error:
        return error.message
    return ""
