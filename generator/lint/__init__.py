"""What Triton would say of a repository: rules over its files, read and never changed or run.

For programs: ``check("model_repository")`` returns findings, ``Host(release_named("25.11"), gpus=0)`` says what serves.
"""

from modelrepo.generator.lint.check import check, model_of
from modelrepo.generator.lint.finding import Edit, Finding, Place, Problem
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.triton.releases import release_named

__all__ = ["Edit", "Finding", "Host", "Place", "Problem", "check", "model_of", "release_named"]
