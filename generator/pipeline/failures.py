"""Failures: what a raised exception costs, which is one row of the report and not the run."""

import sys
import traceback
import uuid
from contextlib import suppress
from pathlib import Path

from modelrepo import HOME
from modelrepo.generator.errors import ModelRepoError, RepositoryError, first_line
from modelrepo.generator.system.cache import cache_folder

# All that may be raised but an interrupt, which ends the run. A library may end the process, too.
KINDS = (Exception, SystemExit)


def of(error: BaseException, name: str, root: Path) -> ModelRepoError:
    """Return the failure of the model ``name`` by an exception; ``root`` is the repository that it was made for.

    An error of the operating system is about a file, or else the repository. One that nobody expected, a bug of ours or
    of a library, gives its kind, its first line and its place; a file has the rest.
    """
    if isinstance(error, ModelRepoError):
        return error
    if isinstance(error, OSError) and error.errno is not None:  # otherwise it is a library's, and not about a file
        return RepositoryError(f"{error.strerror}: {error.filename or root}")
    kind, reason = type(error).__name__, first_line(error)
    what = kind if reason == kind else f"{kind}: {reason}"
    log = _written(error)
    details = f"; the traceback is in {log}" if log else ""
    return ModelRepoError(
        f"can't generate {name}: unexpected {what} ({_place(error)})",
        f"This is a bug of modelrepo or of a library that it calls: please report it{details}",
    )


def _place(error: BaseException) -> str:
    """Return the file and the line that raised an exception, as Python imports it."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "nowhere"
    path = Path(frames[-1].filename)
    for folder in (HOME.parent, *map(Path, sys.path)):
        if folder.is_absolute() and path.is_relative_to(folder):
            return f"{path.relative_to(folder)}:{frames[-1].lineno}"
    return f"{path}:{frames[-1].lineno}"


def _written(error: BaseException) -> Path | None:
    """Write a traceback beside the logs of servers, of which the oldest are removed; None if that is impossible."""
    with suppress(OSError, RuntimeError):
        log = cache_folder() / "logs" / f"generate-{uuid.uuid4().hex[:12]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)), "utf-8", errors="backslashreplace")
        return log
    return None
