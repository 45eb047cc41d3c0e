"""A repository with two versions of the model `linear`, which only the first test of a process generates."""

import shutil
from pathlib import Path

import pytest

from modelrepo.generator.repository.repository import Repository
from tests.conftest import Generate

LINEAR = ("--model", "numpy:linear", "--json", "-q", "--client-dir", "none")


def two_versions(generate: Generate, workdir: Path, temporary: pytest.TempPathFactory) -> Repository:
    """Publish the seeds 0 and 1 in ``workdir``; 1 is served."""
    kept = temporary.getbasetemp() / "two versions of linear"
    if kept.exists():
        shutil.copytree(kept, workdir, dirs_exist_ok=True)
    else:
        assert generate(*LINEAR).code == generate(*LINEAR, "--seed", "1").code == 0
        shutil.copytree(workdir, kept)
    return Repository(workdir / "model_repository")
