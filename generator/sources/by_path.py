"""What sources whose models are files have in common: such a module offers these functions as its own."""

from pathlib import Path


def names_file(name: str) -> bool:
    """Return True: a name is a path."""
    return True


def default_name(name: str) -> str:
    """Return the file's name without its suffix."""
    return Path(name).stem


def known() -> tuple[str, ...]:
    """Return none: files are named by their paths."""
    return ()
