"""A model that is about to be published: judged as `check` judges it, in the folder that it will have."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from modelrepo.generator.errors import ModelRepoError, RepositoryError
from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.finding import Finding
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.repository.layout import CONFIG

# The rule on files that are not there: those of a plan that is still to be built.
FILE_MISSING = "VDIR-EMPTY"
# The rule on backends that NVIDIA's images do not have: who adds a row to our table has a server with that backend.
BACKEND_MISSING = "BACKEND"


@dataclass(frozen=True)
class Candidate:
    """What a model's folder will hold: the text of config.pbtxt, and the files and folders beside it by name.

    Of a model that is still to be built, the folder of its version is empty.
    """

    name: str
    config: str
    entries: Mapping[str, Path]
    unbuilt: bool = False
    # The folders of the models that are served beside it, by name: ensembles need them.
    beside: Mapping[str, Path] = field(default_factory=dict)


def judged(candidate: Candidate, host: Host, scratch: Path) -> list[Finding]:
    """Return what Triton would say of a candidate. It is laid out in ``scratch`` for the time of it."""
    ignored = (BACKEND_MISSING, FILE_MISSING) if candidate.unbuilt else (BACKEND_MISSING,)
    with TemporaryDirectory(dir=scratch, prefix="judged-") as root:
        folder = Path(root) / candidate.name
        folder.mkdir()
        for name, path in candidate.entries.items():
            if path.is_file() and not path.is_symlink():
                # A link would be one to a file outside the model's folder. A hard link would change the file's ctime,
                # for which a polling server loads the model again.
                shutil.copyfile(path, folder / name)
            else:
                (folder / name).symlink_to(path.resolve())
        (folder / CONFIG).write_text(candidate.config, "utf-8", errors="surrogateescape")
        for name, path in candidate.beside.items():
            if name != candidate.name:
                (Path(root) / name).symlink_to(path.resolve())
        found = check(folder, [host], [rule for rule in rules() if rule.code not in ignored])
        return [_without(f"{root}/", each) for each in found]


def _without(root: str, found: Finding) -> Finding:
    problem = found.problem
    words = {each: getattr(problem, each).replace(root, "") for each in ("says", "write")}
    return replace(found, problem=replace(problem, **words))


def refuse_refused(found: Collection[Finding], kind: type[ModelRepoError] = RepositoryError) -> None:
    """Raise an error of this kind if Triton would refuse a candidate; it has the first finding, and counts the rest."""
    errors = [each for each in found if each.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        others = f"; {more} more {'errors' if more > 1 else 'error'}" if more else ""
        page = f"`modelrepo check --explain {first.code}` says more"
        raise kind(f"{first.code}: {first.problem.says}{others}", f"{first.problem.write}; {page}")


def warnings_of(found: Collection[Finding]) -> tuple[str, ...]:
    """Return what Triton would do otherwise than a candidate says, a text for each warning."""
    return tuple(
        f"{each.code}: {each.problem.says}. {each.problem.write}" for each in found if each.severity == "warning"
    )
