"""What lies in the folder of a model: links, files that can't be read, and names that confuse Triton."""

import os
from collections.abc import Iterator
from pathlib import Path

from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.declared import begun
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.regular import exists, is_file, trouble
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.repositories import leads_nowhere, misnamed, misplaced, target
from modelrepo.generator.lint.served import loaded
from modelrepo.generator.lint.subject import Case, Host, Repository, is_folder
from modelrepo.generator.repository.layout import CONFIG

# More entries of a model are not looked at for links: a checkout that was put there by mistake has a million.
MOST_ENTRIES = 2_000
# What editors and tools leave behind.
LEFT_BEHIND_ENDS = (".swp", ".swo", ".swx", "~", ".bak", ".orig", ".rej", ".tmp", ".temp", ".part", ".partial")
LEFT_BEHIND_NAMES = (".DS_Store", "Thumbs.db", "desktop.ini", "4913")


def link(case: Case) -> Iterator[Problem]:
    """Find links in the model's folder that lead nowhere."""
    for entry in case.model.entries:
        if leads_nowhere(entry):
            yield Problem(
                Place(Path(entry.path)),
                f'Triton refuses the model: "failed to stat file {entry.path}"',
                f"Remove the link, or mend what it leads to: {target(entry)}",
            )


def deep_link(case: Case) -> Iterator[Problem]:
    """Find links below the model's folder that lead nowhere."""
    for entry in _below(case.model.entries):
        if leads_nowhere(entry):
            yield Problem(
                Place(Path(entry.path)),
                'Triton loads the model without this file, and logs "Failed to determine modification time" when it '
                "looks for changes",
                f"Remove the link, or mend what it leads to: {target(entry)}",
            )


def lost_link(case: Case) -> Iterator[Problem]:
    """Find a link to nothing by which Triton would guess the backend."""
    config = begun(case.model)
    lost = None if config is None else completed(case.model, config, case.host.release.container).lost
    if lost is not None:
        yield refused(Place(lost), f"failed to stat file {lost}", LOST.write)


def circle(case: Case) -> Iterator[Problem]:
    """Find a link to a folder that it lies in."""
    for path, _, led_to in _circles(case):
        if len(_reached(led_to, case)) < 2:
            says = "Triton follows the link around in a circle, 40 times, whenever it looks for changes"
            yield Problem(Place(Path(path)), says, CIRCLE.write)


def circles(case: Case) -> Iterator[Problem]:
    """Find links to a folder in which they lie beside others of their kind."""
    for path, _, led_to in _circles(case):
        others = len(_reached(led_to, case)) - 1
        if others > 0:
            says = f"Triton does not come to its end: it follows this link and {others} more around in circles"
            yield Problem(Place(Path(path)), says, CIRCLES.write)


def _circles(case: Case) -> list[tuple[str, str, str]]:
    """Return the links that lead to a folder that they lie in: the link, its folder and where it leads, resolved."""
    return case.model.once(_circles, lambda: _found_circles(case))


def _found_circles(case: Case) -> list[tuple[str, str, str]]:
    found = []
    for entry in (*case.model.entries, *_below(case.model.entries)):
        if entry.is_symlink() and is_folder(entry):
            around = os.path.realpath(os.path.dirname(entry.path))  # noqa: PTH120 - the path may hold any bytes
            led_to = os.path.realpath(entry.path)
            if _lies_in(around, led_to):
                found.append((entry.path, around, led_to))
    return found


def _reached(led_to: str, case: Case) -> list[str]:
    """Return the folders of the links in circles that are met behind one that leads to ``led_to``."""
    return [other for _, other, _ in _circles(case) if _lies_in(other, led_to)]


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _below(entries: "tuple[os.DirEntry[str], ...]") -> "Iterator[os.DirEntry[str]]":
    """Yield what lies in the folders among entries, and below them; links are not followed."""
    waiting = [entry.path for entry in entries if is_folder(entry) and not entry.is_symlink()]
    left = MOST_ENTRIES
    while waiting and left > 0:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    left -= 1
                    if left < 0:
                        break
                    if is_folder(entry) and not entry.is_symlink():
                        waiting.append(entry.path)
                    yield entry
        except OSError:
            continue


def unreadable(case: Case) -> Iterator[Problem]:
    """Find a folder or a configuration that can't be read."""
    model = case.model
    if model.trouble:
        words = f"failed to open directory {model.folder}"
        yield Problem(Place(model.folder), f'Triton refuses the model: "{words}" ({model.trouble})', UNREADABLE.write)
    elif _is_kept_from_us(model.config_trouble) and exists(model.config_path):
        words = f"failed to open text file for read {model.config_path}: {model.config_trouble}"
        yield Problem(Place(model.config_path), f'Triton refuses the model: "{words}"', UNREADABLE.write)


def unreadable_file(case: Case) -> Iterator[Problem]:
    """Find model files that can't be read, so that nothing is known of them."""
    found = loaded(case)
    for path in found.files.values() if found is not None else ():
        reason = trouble(path) if is_file(path) else ""
        if reason:
            says = f"Triton refuses the model if it can't read {path.name} either: {reason}"
            yield Problem(Place(path), says, UNREADABLE_FILE.write)


def _is_kept_from_us(reason: str) -> bool:
    return bool(reason) and not reason.startswith("it is ")


def no_file(case: Case) -> Iterator[Problem]:
    """Find a configuration that is a folder, a pipe or a device."""
    path = case.model.config_path
    if case.model.config_trouble == "it is not a file":
        says = (
            "The whole server ends when it reads this: config.pbtxt is a folder"
            if path.is_dir()
            else "Triton waits for ever when it reads this: config.pbtxt is a pipe or a device"
        )
        yield Problem(Place(path), says, NO_FILE.write)


def too_long(case: Case) -> Iterator[Problem]:
    """Find configurations that are too long to be judged."""
    if case.model.config_trouble.startswith("it is longer"):
        yield Problem(
            Place(case.model.config_path), f"nothing is known of it: {case.model.config_trouble}", TOO_LONG.write
        )


def prefix(case: Case) -> Iterator[Problem]:
    """Find entries whose names begin the name of the configuration."""
    if case.model.config_file != CONFIG:
        return
    found = [entry for entry in case.model.entries if CONFIG.startswith(entry.name)]
    for entry in found if len(found) > 1 else ():
        if entry.name != CONFIG:
            words = (
                f"Failed to determine modification time for '{case.model.folder}': Duplicate model config is detected"
            )
            says = f'Triton never sees that the model has changed, because of the name of this entry: "{words}"'
            yield Problem(Place(Path(entry.path)), says, PREFIX.write)


def stray(case: Case) -> Iterator[Problem]:
    """Find what editors and tools leave behind."""
    for entry in case.model.entries:
        left = entry.name.endswith(LEFT_BEHIND_ENDS) or entry.name in LEFT_BEHIND_NAMES
        if entry.name.startswith((".#", "._", "#")) or (left and not is_folder(entry)):
            yield Problem(Place(Path(entry.path)), STRAY.triton, STRAY.write)


def in_version(case: Case) -> Iterator[Problem]:
    """Find configurations in the folders of versions, and those of another name than config.pbtxt."""
    for path in misnamed(case.model):
        says = f"Triton never reads this file: it looks for {CONFIG}, in small letters"
        yield Problem(Place(path), says, f"Rename it to {CONFIG}")
    for path in misplaced(case.model):
        says = "Triton never reads this configuration: it looks for config.pbtxt in the folder of the model"
        write = "Remove it" if os.path.lexists(case.model.config_path) else f"Move it to {case.model.config_path}"
        yield Problem(Place(path), says, write)


def in_root(repository: Repository, _: Host) -> Iterator[Problem]:
    """Find a configuration beside the folders of models."""
    path = repository.root / CONFIG
    if is_file(path):
        says = "Triton never reads this configuration: it looks for config.pbtxt in the folders of models"
        yield Problem(Place(path), says, "Move it into the folder of its model, or remove it")


LINK = Rule(
    code="LINK",
    severity="error",
    title="a link in the model's folder leads nowhere",
    triton='Triton refuses the model: "failed to stat file …". Editors make such links too, as `.#config.pbtxt`.',
    write="Remove the link, or mend what it leads to",
    check=link,
    seen="2.51",
    needs_config=False,
)
DEEP_LINK = Rule(
    code="LINK-DEEP",
    severity="warning",
    title="a link in a version leads nowhere",
    triton='Triton loads the model if the backend does not need the file, and logs "Failed to determine modification '
    'time for …: failed to stat file …" whenever it looks for changes.',
    write="Remove the link, or mend what it leads to",
    check=deep_link,
    seen="2.51",
    needs_config=False,
)
LOST = Rule(
    code="LINK-GUESS",
    severity="error",
    title="a link to nothing by which Triton would guess the backend",
    triton='Triton refuses the model: "failed to stat file …". It looks at model.savedmodel, model.graphdef, '
    "model.plan and model.pt in the first folder of the model, if backend, platform and default_model_filename are not "
    "written.",
    write="Mend the link, or remove it",
    check=lost_link,
    seen="2.51",
    needs_config=False,
)
CIRCLE = Rule(
    code="LINK-CIRCLE",
    severity="warning",
    title="a link leads to a folder that it lies in",
    triton="Triton walks around in the circle until the system refuses to go on, after 40 links; it logs an error and "
    "loads the model.",
    write="Remove the link",
    check=circle,
    seen="2.51",
    needs_config=False,
)
CIRCLES = Rule(
    code="LINK-CIRCLES",
    severity="error",
    title="several links lead to a folder that they lie in",
    triton="Triton walks through all ways around, which are 2 to the power of 40 for two links: the server does not "
    "start.",
    write="Remove the links",
    check=circles,
    seen="2.51",
    needs_config=False,
)
UNREADABLE = Rule(
    code="READ",
    severity="error",
    title="the folder or its config.pbtxt can't be read",
    triton='Triton refuses the model if it can\'t read it either: "failed to open directory …", "failed to open text '
    'file for read …".',
    write="Give the server's user the permission to read it",
    check=unreadable,
    source="core/src/filesystem/implementations/local.h",
    needs_config=False,
)
UNREADABLE_FILE = Rule(
    code="READ-FILE",
    severity="error",
    title="the file of a version can't be read",
    triton="The backend refuses the model if the server's user can't read the file either. Nothing of it was judged.",
    write="Give the server's user, and who checks, the permission to read it; if it stays, copy the file again",
    check=unreadable_file,
    decided_by="advice",
    source="the system's permissions",
    needs_config=False,
)
NO_FILE = Rule(
    code="CONFIG-KIND",
    severity="error",
    title="config.pbtxt is not a file",
    triton='Triton ends with an exception if it is a folder ("std::length_error: basic_string::_M_replace_aux"), and '
    "waits for ever if it is a pipe.",
    write="Write the configuration into a file of this name",
    check=no_file,
    seen="2.51",
    needs_config=False,
)
TOO_LONG = Rule(
    code="CONFIG-SIZE",
    severity="warning",
    title="config.pbtxt is too long to be judged",
    triton="Triton reads it: one of 100 MB is read in a second. It is not judged here, because no configuration comes "
    "near this size, and `check` ends with exit code 6: what was not judged may be wrong.",
    write="Shorten the file; it may not be what it is meant to be",
    check=too_long,
    decided_by="advice",
    seen="2.51",
    needs_config=False,
)
IN_VERSION = Rule(
    code="CONFIG-PLACE",
    severity="warning",
    title="a configuration lies in the root or in a version, or is not called config.pbtxt",
    triton="Triton never reads it: a model has one config.pbtxt, in its own folder, for all its versions. Without that "
    "one it guesses what it can from the files of the first version.",
    write="Move it one folder up, or rename it to config.pbtxt",
    check=in_version,
    check_repository=in_root,
    seen="2.51",
    needs_config=False,
)
PREFIX = Rule(
    code="PREFIX",
    severity="warning",
    title="a name is the beginning of config.pbtxt",
    triton='Triton takes an entry such as `config` or `c` for the configuration, too: "Duplicate model config is '
    'detected". The model loads, and its changes are never seen: no poll and no load request reloads it.',
    write="Rename or remove the entry",
    check=prefix,
    seen="2.51",
    needs_config=False,
)
STRAY = Rule(
    code="STRAY",
    severity="information",
    title="an editor or a tool left something behind",
    triton="When Triton polls, a change of this entry reloads every version of the model.",
    write="Remove it; edit configurations outside of the repository",
    check=stray,
    seen="2.51",
    needs_config=False,
)
RULES = (
    LINK, DEEP_LINK, LOST, CIRCLE, CIRCLES, UNREADABLE, UNREADABLE_FILE, NO_FILE, TOO_LONG, IN_VERSION, PREFIX, STRAY
)  # fmt: skip
