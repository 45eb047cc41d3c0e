"""What Triton would say of a repository: rules over its files, read and never changed or run."""

from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.finding import Finding
from modelrepo.generator.lint.subject import Host

__all__ = ["Finding", "Host", "check"]
