"""The story of `check`: read, judge by every rule, for every release."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint.finding import Finding, Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.lint.subject import Case, Host, Model, Repository
from modelrepo.generator.repository.layout import CONFIG


def check(path: Path, hosts: Sequence[Host], chosen: Iterable[Rule] | None = None) -> list[Finding]:
    """Return what Triton would say of a repository, a model folder or a config.pbtxt, in the order of places.

    A finding that does not hold for all ``hosts`` names the releases for which it does. Raises RepositoryError if there
    is nothing at ``path`` that can be checked.
    """
    repository, models = subjects(path)
    judged = tuple(rules() if chosen is None else chosen)
    findings: list[Finding] = []
    for model in models:
        by_host = [_problems(Case(model, repository, host), judged) for host in hosts]
        for found in dict.fromkeys(each for problems in by_host for each in problems):
            holding = [host.release.container for host, each in zip(hosts, by_host, strict=True) if found in each]
            releases = () if len(holding) == len(hosts) else tuple(holding)
            rule, problem = found
            findings.append(Finding(rule.code, rule.severity, model.name, problem, releases))
    return sorted(findings, key=lambda each: each.problem.place)


def subjects(path: Path) -> tuple[Repository, list[Model]]:
    """Return the repository that ``path`` is or lies in, and the models to check; RepositoryError if there are none."""
    if path.name == CONFIG and path.is_file():
        path = path.parent
    if not path.is_dir():
        raise RepositoryError(f"there is no repository {path}", "Name a repository, a model folder or a config.pbtxt")
    if (path / CONFIG).is_file():
        model = Model(path.name, path)
        return _repository(path.parent), [model]
    repository = _repository(path)
    return repository, list(repository.models.values())


def _repository(root: Path) -> Repository:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    return Repository(root, {folder.name: Model(folder.name, folder) for folder in folders})


def _problems(case: Case, judged: Iterable[Rule]) -> list[tuple[Rule, Problem]]:
    config = case.model.config
    parsed = config is not None and config.message is not None
    asked = (rule for rule in judged if rule.holds_for(case.host.release.container))
    return [(rule, problem) for rule in asked if parsed or not rule.needs_config for problem in rule.check(case)]
