"""The container image of a repository's Python steps: Triton's own, and the packages that the steps require.

Its Dockerfile is written with the repository, into ``.modelrepo/<name>/image/``, for docker-compose.steps.yml. It is
never built here.
"""

import shutil
from pathlib import Path

from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.system import step_packages
from modelrepo.generator.triton.releases import Release

FOLDER = "image"
DOCKERFILE = """\
# Made by modelrepo with the repository; changes are lost. docs/how-to/python-steps.md
ARG IMAGE={image}
FROM ${{IMAGE}}
COPY requirements.txt /opt/modelrepo/requirements.txt
RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir -r /opt/modelrepo/requirements.txt
"""


def write(repository: Repository, release: Release) -> Path | None:
    """Write the files of the image for what stands in a repository, or remove them if no step requires packages.

    Call it with the repository's lock held. Return the folder, or None.
    """
    folder = repository.state / FOLDER
    required = step_packages.required(repository.root)
    if not required:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    lines = [line for name, each in sorted(required.items()) for line in (f"# {name}", *each)]
    repository.write(folder / step_packages.REQUIREMENTS, "".join(f"{line}\n" for line in lines))
    repository.write(folder / "Dockerfile", DOCKERFILE.format(image=release.image))
    return folder
