"""What sources whose models are files have in common: such a module offers these functions as its own."""

import os.path
from pathlib import Path


def names_file(name: str) -> bool:
    """Return True: a name is a path."""
    return True


def path_of(name: str) -> Path:
    """Return a path, ``~`` and ``~user`` being the folders of users; left as it is where there is no such user."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's raises for a user that is not there


def default_name(name: str) -> str:
    """Return the file's name without its suffix."""
    return Path(name).stem


def known() -> tuple[str, ...]:
    """Return none: files are named by their paths."""
    return ()
