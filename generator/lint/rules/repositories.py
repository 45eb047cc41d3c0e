"""A repository as a whole: what lies in its root, and which of its folders are models."""

import os
from collections.abc import Iterator
from pathlib import Path

from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case, Host, Model, Repository
from modelrepo.generator.repository.layout import CONFIG

# Folders that tools leave in a root, and what makes them.
LEFT_BEHIND = {
    "lost+found": "the file system makes it at the top of a volume",
    ".git": "git keeps the history in it",
    ".ipynb_checkpoints": "Jupyter makes it",
    ".svn": "Subversion makes it",
    ".hg": "Mercurial makes it",
    ".dvc": "DVC makes it",
    ".vscode": "an editor makes it",
    ".idea": "an editor makes it",
    "__pycache__": "Python makes it",
    "__MACOSX": "an archive of macOS has it",
    ".Trash-1000": "the desktop makes it",
    "..data": "Kubernetes mounts a ConfigMap with it",
}

# Names, in small letters, of files that are meant to be config.pbtxt.
NEARLY = (
    *(CONFIG, f"{CONFIG}.txt", f"{CONFIG}.pbtxt", "config.pbtext", "config.pb.txt", "config.pbtx", "config.pbtxts"),
    *("config.prototxt", "config.textproto", "config.pbtxt.j2", "configs.pbtxt", "model_config.pbtxt", "model.pbtxt"),
)


def root(case: Case) -> Iterator[Problem]:
    """Find folders that are not models: without a configuration, and without a file by which Triton finds a backend."""
    model = case.model
    if os.path.lexists(model.config_path) or model.trouble:
        return
    from tritonclient.grpc import model_config_pb2

    made = completed(model, model_config_pb2.ModelConfig(), case.host.release.container)
    words = ""
    if made.lost:
        return  # the rule of links says it
    if made.undetermined:
        words = (
            f"Invalid model name: Could not determine backend for model '{model.name}' with no backend in model "
            "configuration. Expected model name of the form 'model.<backend_name>'."
        )
    elif not made.backend:  # the name ends with a dot
        words = f"unexpected platform type '' for {model.name}"
    elif made.file == f"model.{made.backend}" and not model.versions:  # a backend by the name alone
        words = f"at least one version must be available under the version policy of model '{model.name}'"
    if words:
        known = LEFT_BEHIND.get(model.name)
        write = f"Move it out of the repository ({known}), or serve a folder of its own" if known else ROOT.write
        if inside := _models_in(model):
            write = f"Check, and serve, the folder {model.folder} itself: it holds models, such as {inside[0]}"
        for path in misplaced(model):
            write = f"Move {path.relative_to(model.folder)} into the folder {model.name}, where Triton looks for it"
        for path in misnamed(model):
            write = f"Rename {path.name} to {CONFIG}"
        says = f'Triton takes this folder for a model, and fails at its start: "{words}"'
        yield Problem(Place(model.folder), says, write)


def misplaced(model: Model) -> list[Path]:
    """Return the files config.pbtxt that lie in versions of a model."""
    paths = (model.folder / name / CONFIG for name, _ in model.version_folders)
    return [path for path in paths if is_file(path)]


def misnamed(model: Model) -> list[Path]:
    """Return the files of a model without a config.pbtxt whose names are nearly that."""
    if os.path.lexists(model.folder / CONFIG):
        return []
    return [path for entry in model.entries if entry.name.lower() in NEARLY and is_file(path := Path(entry.path))]


def _models_in(model: Model) -> list[str]:
    """Return the names of the folders of a folder that are models with a configuration."""
    names = {entry.name for entry in model.entries} - {name for name, _ in model.version_folders}
    return sorted(name for name in names if is_file(model.folder / name / CONFIG))


def root_link(repository: Repository, _: Host) -> Iterator[Problem]:
    """Find links in the root that lead nowhere."""
    for entry in repository.entries():
        if leads_nowhere(entry):
            yield Problem(
                Place(Path(entry.path)),
                f'Triton can\'t read the repository: "failed to stat file {entry.path}"; at the start it exits, and '
                "when it polls it unloads every model",
                f"Remove the link, or mend what it leads to: {target(entry)}",
            )


def leads_nowhere(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a link to nothing, or one in a circle."""
    return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - it never fails


def target(entry: "os.DirEntry[str]") -> str:
    """Return where a link leads; empty if it has gone."""
    try:
        return os.readlink(entry.path)  # noqa: PTH115 - the path may hold any bytes
    except OSError:
        return ""


def empty(repository: Repository, host: Host) -> Iterator[Problem]:
    """Find repositories without models."""
    if not repository.models:
        says = "Triton starts and serves nothing: the repository has no folder"
    elif all(any(root(Case(model, repository, host))) for model in repository.models.values()):
        count = len(repository.models)
        what = f"none of the {count} folders is a model" if count > 1 else "the only folder is not a model"
        says = f"Triton fails at its start: {what}"
    else:
        return
    yield Problem(Place(repository.root), says, EMPTY.write)


def same_name(repository: Repository, _: Host) -> Iterator[Problem]:
    """Find models of which another repository that is served along has the name."""
    for other in repository.beside:
        for name in sorted(set(repository.models) & set(other.models)):
            words = f"failed to poll model '{name}': not unique across all model repositories"
            yield Problem(
                Place(repository.models[name].folder),
                f'Triton serves neither of the two: "{words}"; the other is {other.models[name].folder}',
                SAME_NAME.write,
            )


ROOT = Rule(
    code="ROOT",
    severity="error",
    title="a folder in the root is not a model",
    triton="Each folder in the root of a repository is a model to Triton, hidden ones too; files are ignored. It fails "
    'for others: "Could not determine backend for model …", or "at least one version must be available …". With its '
    "usual settings the server then exits at its start.",
    write="Add config.pbtxt and a version such as 1, or move the folder out of the repository",
    check=root,
    seen="2.51",
    needs_config=False,
)
ROOT_LINK = Rule(
    code="ROOT-LINK",
    severity="error",
    title="a link in the root leads nowhere",
    triton='Triton can\'t list the models: "failed to stat file …". At the start it exits; when it polls, it unloads '
    "every model.",
    write="Remove the link, or mend what it leads to",
    check_repository=root_link,
    seen="2.51",
)
EMPTY = Rule(
    code="EMPTY",
    severity="warning",
    title="the repository has no models",
    triton="Triton starts and serves nothing, or fails because of folders that are not models.",
    write="Name the folder that holds the folders of the models",
    check_repository=empty,
    seen="2.51",
)
SAME_NAME = Rule(
    code="SAME-NAME",
    severity="error",
    title="two repositories have a model of one name",
    triton='Triton serves neither: "failed to poll model …: not unique across all model repositories". Over its API it '
    'says "model appears in two or more repositories".',
    write="Rename one of the two folders, and the name in its config.pbtxt",
    check_repository=same_name,
    seen="2.51",
)
RULES = (ROOT, ROOT_LINK, EMPTY, SAME_NAME)
