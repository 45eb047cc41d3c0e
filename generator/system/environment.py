"""The tool that manages this Python environment, and the commands with which it adds packages."""

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Literal

Manager = Literal["pip", "uv", "uv tool", "pipx", "none"]
NAME = "modelrepo"
# The file in which each tool describes an environment that it made for one program.
UV_RECEIPT, PIPX_RECEIPT = "uv-receipt.toml", "pipx_metadata.json"


@dataclass(frozen=True)
class Environment:
    """A Python environment: its tool, its Python, and what ``uv tool`` or pipx made it from.

    That is modelrepo's ``source`` (a folder, an address, or its name), its ``extras``, and packages ``beside`` it.
    """

    manager: Manager
    python: str
    source: str = NAME
    extras: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def installing(self, requirement: str, *, exact: bool = False) -> str:
        """Return the command that installs a requirement; ``exact`` names the Python, for other folders and shells."""
        match self.manager:
            case "pip":
                return f"{self.python} -m pip install '{requirement}'" if exact else f"pip install '{requirement}'"
            case "uv":
                python = f"--python {self.python} " if exact else ""
                return f"uv pip install {python}'{requirement}'"
            case "uv tool" | "pipx":
                return self._again(self.extras, (*self.beside, requirement))
        return f"python3 -m pip --python {self.python} install '{requirement}'"

    def installing_extras(self, names: Iterable[str], *, exact: bool = False) -> str:
        """Return the command that installs extras of modelrepo."""
        if self.manager in ("uv tool", "pipx"):
            return self._again((*self.extras, *names), self.beside)
        return self.installing(f"{NAME}[{','.join(names)}]", exact=exact)

    def _again(self, extras: Iterable[str], beside: Iterable[str]) -> str:
        """Return the command that makes a program's environment again; it keeps nothing that it is not told."""
        named = ",".join(dict.fromkeys(extras))
        marked = f"[{named}]" if named else ""
        own = f"{NAME}{marked} @ {self.source}" if "://" in self.source else f"{self.source}{marked}"
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        command = f"{self.manager} install --force --python {python} '{own}'"
        if self.manager == "pipx":
            return " && ".join((command, *(f"pipx inject {NAME} '{each}'" for each in beside)))
        return command + "".join(f" --with '{each}'" for each in beside)


def current() -> Environment:
    """Return the environment that this process runs in."""
    home = Path(sys.prefix)
    for receipt, read in ((home / UV_RECEIPT, _uv_tool), (home / PIPX_RECEIPT, _pipx)):
        if receipt.is_file():
            with suppress(OSError, ValueError, KeyError, TypeError, StopIteration):
                return read(receipt.read_text("utf-8"))
    if has_pip():
        return Environment("pip", sys.executable)
    return Environment("uv" if uv_command() or _made_by_uv(home) else "none", sys.executable)


def extra_command(name: str) -> str:
    """Return the command that installs one of modelrepo's extras here."""
    return current().installing_extras((name,))


def into(python: str, requirement: str) -> str:
    """Return the command that installs a requirement into the environment of another Python."""
    if _prefers_uv():
        return f"uv pip install --python {python} '{requirement}'"
    return f"{python} -m pip install '{requirement}'"


def another(folder: str, requirement: str) -> str:
    """Return the command that makes an environment in a folder, and installs a requirement into it."""
    make = "uv venv" if _prefers_uv() else "python -m venv"
    return f"{make} {folder} && {into(f'{folder}/bin/python', requirement)}"


def has_pip() -> bool:
    """Whether this environment has pip."""
    return find_spec("pip") is not None


def uv_command() -> tuple[str, ...]:
    """Return the command of uv on PATH, or of uv in this environment; empty without it."""
    program = which("uv")
    if program:
        return (program,)
    return (sys.executable, "-m", "uv") if find_spec("uv") else ()


def _prefers_uv() -> bool:
    return bool(uv_command()) and not has_pip()


def _made_by_uv(home: Path) -> bool:
    try:
        lines = (home / "pyvenv.cfg").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in lines)


def _uv_tool(receipt: str) -> Environment:
    asked = tomllib.loads(receipt)["tool"]["requirements"]
    own = next(each for each in asked if each["name"] == NAME)
    places = (own.get(key) for key in ("directory", "editable", "path", "url"))
    source = next(filter(None, places), f"git+{own['git']}" if own.get("git") else NAME)
    beside = tuple(f"{each['name']}{each.get('specifier', '')}" for each in asked if each is not own)
    return Environment("uv tool", sys.executable, source, tuple(own.get("extras", ())), beside)


def _pipx(receipt: str) -> Environment:
    """Return an environment of pipx; KeyError if it was made for a different program, and modelrepo added to it."""
    known = json.loads(receipt)
    program = known["main_package"]
    if program["package"] != NAME:
        raise KeyError(NAME)
    asked = re.fullmatch(r"(?P<place>[^\[]*)(\[(?P<extras>.*)\])?( @ (?P<url>.*))?", program["package_or_url"])
    source, extras = (asked["url"] or asked["place"], asked["extras"] or "") if asked else (NAME, "")
    beside = tuple(each["package_or_url"] for each in known.get("injected_packages", {}).values())
    return Environment("pipx", sys.executable, source, tuple(filter(None, extras.split(","))), beside)
