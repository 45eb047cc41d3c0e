"""The story of `check`: read, judge by every rule, for every release."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from modelrepo.generator.errors import RepositoryError, first_line
from modelrepo.generator.lint.finding import Finding, Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.lint.rules.unjudged import UNJUDGED
from modelrepo.generator.lint.subject import CONFIGS, Case, Host, Model, Repository, is_folder, version_of
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton.releases import NEWEST, release_named

Broken: TypeAlias = tuple[Rule, Problem]
REASONS = {FileNotFoundError: "it is not there", NotADirectoryError: "it is neither a folder nor a config.pbtxt"}
# An address such as s3://bucket/models.
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)/+(.*)", re.DOTALL)
# How often a model is read again if a file has changed while it was read.
AGAIN = 2


def check(
    path: Path | str | Sequence[Path | str], hosts: Sequence[Host] = (), chosen: Iterable[Rule] | None = None
) -> list[Finding]:
    """Return what Triton would say of repositories, model folders or files config.pbtxt, in the order of places.

    Several repositories are judged as served together. Without ``hosts`` it is the newest release whose ONNX Runtime is
    known, on a machine of which nothing is known. ``chosen``: the rules, by default all of
    ``generator.lint.rules.rules()``. A finding that does not hold for all ``hosts`` names the releases for which it
    does. Files are read and never changed. Raises RepositoryError if there is nothing at a path that can be checked.
    """
    paths = [path] if isinstance(path, str | Path) else path
    return sorted(findings(opened(paths), hosts, chosen), key=lambda each: each.problem.place)


def findings(
    repositories: Iterable[Repository], hosts: Sequence[Host] = (), chosen: Iterable[Rule] | None = None
) -> Iterator[Finding]:
    """Yield what Triton would say of each repository and its models, in the order of their names."""
    judges = hosts or (Host(release_named(NEWEST)),)
    asked = tuple(rules() if chosen is None else chosen)
    judged = {host: [rule for rule in asked if rule.judges(host)] for host in judges}
    for repository in repositories:
        if not repository.asked:
            yield from _merged("", judges, [list(_of_repository(repository, host, judged[host])) for host in judges])
        for name in repository.asked or repository.models:
            yield from _of_model(repository.models[name], repository, judged)
            repository.models[name].forget()


def opened(paths: Iterable[Path | str]) -> list[Repository]:
    """Return the repositories that paths are or lie in, each once; RepositoryError if there is nothing to check."""
    whole: dict[str, Repository] = {}
    parts: dict[str, Repository] = {}
    asked: dict[str, dict[str, Model]] = {}
    listed: dict[Path, dict[str, Model]] = {}
    for each in (subject(Path(path), listed) for path in paths):
        root = os.path.realpath(each.root)
        if not each.asked:
            whole.setdefault(root, each)
        else:
            parts.setdefault(root, each)
            asked.setdefault(root, {}).update({name: each.models[name] for name in each.asked})
    for root, own in asked.items():
        parts[root] = replace(parts[root], models={**parts[root].models, **own}, asked=tuple(own))
    together = tuple(whole.values())
    others = [each for root, each in parts.items() if root not in whole]
    return [*(replace(one, beside=tuple(each for each in together if each is not one)) for one in together), *others]


def model_of(path: Path) -> Path | None:
    """Return the folder of the model that a file belongs to, which may be gone; None if it belongs to none.

    It is the nearest folder above the file with a config.pbtxt, or the folder that ``path`` itself is.
    """
    return next((folder for folder in (path, *path.parents) if os.path.lexists(folder / CONFIG)), None)


def subject(path: Path, listed: dict[Path, dict[str, Model]] | None = None) -> Repository:
    """Return the repository that ``path`` is, or that its model lies in; RepositoryError if it is neither.

    ``listed`` keeps the models of roots, which many models may lie in.
    """
    folder = path
    if path.name == CONFIG and is_file(path):
        folder = path.parent
    elif path.suffix == ".pbtxt" and path.parent.name == CONFIGS and is_file(path):
        folder = path.parent.parent
    try:
        with os.scandir(folder) as entries:
            folders = sorted(entry.name for entry in entries if is_folder(entry))
        if not folders and version_of(folder.name) is not None and os.path.lexists(folder.parent / CONFIG):
            hint = f"Check its model: modelrepo check {folder.parent}"
            raise RepositoryError(f"can't check {path}: it is a version of a model", hint)
        if path == folder and not _is_model(folder, folders):
            return Repository(folder, {name: Model(name, folder / name) for name in folders})
        root = folder.parent if folder.name not in ("", "..") else folder / ".."
        models = {} if listed is None else listed.get(root, {})
        if not models:
            with os.scandir(root) as entries:
                models |= {entry.name: Model(entry.name, root / entry.name) for entry in entries if is_folder(entry)}
            if listed is not None:
                listed[root] = models
    except OSError as error:
        hint = "Name a repository, the folder of a model, or a config.pbtxt"
        if is_file(path) and (model := model_of(path)):
            hint = f"Check its model: modelrepo check {model}"
        if address := ADDRESS.fullmatch(str(path)):  # of which Path drops a "/"
            elsewhere = "only folders of this machine are checked"
            hint = "Copy it to this machine, and check the copy"
            raise RepositoryError(f"can't check {address[1]}//{address[2]}: {elsewhere}", hint) from error
        reason = REASONS.get(type(error)) or error.strerror or str(error)
        raise RepositoryError(f"can't check {path}: {reason}", hint) from error
    name = Path(os.path.abspath(folder)).name  # noqa: PTH100 - a link has its own name
    return Repository(root, {**models, name: Model(name, folder)}, asked=(name,))


def _is_model(path: Path, folders: Sequence[str]) -> bool:
    """Whether a folder is a model: it holds versions, or has a config.pbtxt and holds no models.

    Triton ignores a config.pbtxt in the root of a repository. A config.pbtxt that was put into a version has no
    versions beside it, unlike that of a model whose name is a number.
    """
    versions = [name for name in folders if version_of(name) is not None]
    configured = [name for name in folders if os.path.lexists(path / name / CONFIG)]
    if os.path.lexists(path / CONFIG):
        return bool(versions) or not any(_has_versions(path / name) for name in configured)
    return bool(versions) and all(name in versions and not _has_versions(path / name) for name in configured)


def _has_versions(path: Path) -> bool:
    """Whether a folder can be read, and holds versions."""
    with suppress(OSError), os.scandir(path) as entries:
        return any(version_of(entry.name) is not None for entry in entries if is_folder(entry))
    return False


def _of_repository(repository: Repository, host: Host, judged: Iterable[Rule]) -> Iterator[Broken]:
    found, failed = _asked((rule, partial(rule.check_repository, repository, host)) for rule in judged)
    yield from (*found, *_unjudged(failed, repository.root))


def _of_model(model: Model, repository: Repository, judged: Mapping[Host, Sequence[Rule]]) -> Iterator[Finding]:
    """Yield the findings of a model, with its config.pbtxt and with each configuration that may take its place."""
    seen: set[Finding] = set()
    for each in (model, *_variants(model)):
        by_host = [list(_of_case(Case(each, repository, host), own)) for host, own in judged.items()]
        for found in _merged(model.name, tuple(judged), by_host):
            if found not in seen:
                seen.add(found)
                yield found if each is model else _of_variant(found, each)


def _of_variant(found: Finding, model: Model) -> Finding:
    says = f"with --model-config-name={Path(model.config_file).stem}: {found.problem.says}"
    return replace(found, problem=replace(found.problem, says=says))


def _variants(model: Model) -> Iterator[Model]:
    """Yield a model as it is with each of its configurations for `--model-config-name`."""
    try:
        with os.scandir(model.folder / CONFIGS) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".pbtxt") and not is_folder(entry))
    except OSError:
        return
    for name in names:
        yield replace(model, config_file=f"{CONFIGS}/{name}")


def _of_case(case: Case, judged: Sequence[Rule]) -> Iterator[Broken]:
    """Yield what rules find in a model, which is read again if a file has gone while it was read."""
    for _ in range(AGAIN):
        found, failed = _judged(case, judged)
        if not any(isinstance(error, OSError) for error in failed.values()):
            break
        case.model.forget()
    yield from (*found, *_unjudged(failed, case.model.folder))


def _judged(case: Case, judged: Iterable[Rule]) -> tuple[list[Broken], dict[str, Exception]]:
    try:
        config = case.model.config
    except Exception as error:
        return [], {"": error}
    parsed = config is not None and config.message is not None
    return _asked((rule, partial(rule.check, case)) for rule in judged if parsed or not rule.needs_config)


def _asked(
    judges: Iterable[tuple[Rule, Callable[[], Iterator[Problem]]]],
) -> tuple[list[Broken], dict[str, Exception]]:
    """Return what rules find, and the codes of those that fail, with the error; the others still judge."""
    found: list[Broken] = []
    failed: dict[str, Exception] = {}
    for rule, judge in judges:
        try:
            found += [(rule, problem) for problem in judge()]
        except Exception as error:
            failed[rule.code] = error
    return found, failed


def _unjudged(failed: Mapping[str, Exception], where: Path) -> Iterator[Broken]:
    """Yield a finding for each reason for which rules could not judge."""
    reasons: dict[str, list[str]] = {}
    for code, error in failed.items():
        reasons.setdefault(first_line(error), []).append(code)
    for reason, codes in reasons.items():
        if codes == [""]:
            says = f"nothing is known of this model: its configuration could not be read ({reason})"
        else:
            says = f"nothing is known of {', '.join(codes)}: could not judge ({reason})"
        yield UNJUDGED, Problem(Place(where), says, UNJUDGED.write)


def _merged(model: str, hosts: Sequence[Host], by_host: Sequence[Sequence[Broken]]) -> Iterator[Finding]:
    """Yield each problem once, with the releases for which it holds if that is not all."""
    found = [dict.fromkeys(problems) for problems in by_host]
    for rule, problem in dict.fromkeys(each for problems in found for each in problems):
        holding = [host.release.container for host, each in zip(hosts, found, strict=True) if (rule, problem) in each]
        releases = () if len(holding) == len(hosts) else tuple(holding)
        yield Finding(rule.code, rule.severity, model, problem, releases)
