"""The package indexes that this environment is configured for, in pip's settings and in uv's; else PyPI.

pip.pypa.io/en/stable/topics/configuration, docs.astral.sh/uv/concepts/configuration-files and
docs.astral.sh/uv/reference/environment document them. Both tools read their settings themselves; these are for
downloads of our own, and for environments without either.
"""

import base64
import configparser
import itertools
import netrc
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import BaseHandler, OpenerDirector, Request

from modelrepo.generator.system import download

ETC = Path("/etc")
PYPI = "https://pypi.org/simple"
SECTIONS = ("global", "install", "download")
PORTS = {"http": 80, "https": 443}
TRUE = ("1", "true", "yes", "on", "y", "t")
# A user and a password in a URL.
CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")


@dataclass(frozen=True)
class Indexes:
    """The indexes, in the order in which to ask them, and folders or pages with files; credentials may be in them.

    ``proxy`` and ``certificates`` are those that pip's settings name; the environment's count beside them.
    """

    urls: tuple[str, ...]
    links: tuple[str, ...] = ()
    proxy: str = ""
    certificates: tuple[Path, ...] = ()

    def opener(self) -> OpenerDirector:
        """Return an opener that gives each index its own credentials, and others those of netrc."""
        known = {_origin(url): _own_credentials(url) for url in (*self.urls, *self.links) if _own_credentials(url)}
        return download.opener(Authorization(known), proxy=self.proxy, certificates=self.certificates)


class Authorization(BaseHandler):
    """Sends credentials with the first request, as pip does, and never along a redirect to another server."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known

    def http_request(self, request: Request) -> Request:
        """Add the header for the server that is asked."""
        header = self.known.get(_origin(request.full_url)) or _netrc_credentials(request.full_url)
        if header:
            request.add_unredirected_header("Authorization", header)
        return request

    https_request = http_request


def without_credentials(text: str) -> str:
    """Return a URL, or a text with URLs, without users and passwords."""
    return CREDENTIALS.sub("", text)


def configured() -> Indexes:
    """Return what the environment's variables and the files of pip and uv name."""
    pip, uv = _pip(), _uv()
    defaults = _words(pip, "index-url")[:1] + _words(uv, "index-url")[:1] or [PYPI]
    urls = [*defaults, *_words(pip, "extra-index-url"), *_words(uv, "extra-index-url")]
    if any(str(settings.get("no-index", "")).lower() in TRUE for settings in (pip, uv)):
        urls = []
    links = [*_words(pip, "find-links"), *_words(uv, "find-links")]
    certificates = tuple(Path(word) for word in _words(pip, "cert"))
    return Indexes(tuple(dict.fromkeys(urls)), tuple(dict.fromkeys(links)), pip.get("proxy", ""), certificates)


def _words(settings: Mapping[str, str], name: str) -> list[str]:
    return settings.get(name, "").split()


def _pip() -> dict[str, str]:
    """Return pip's settings, by the names of its long options; later files and the environment override."""
    found: dict[str, str] = {}
    for file in _pip_files():
        parser = configparser.RawConfigParser()
        with suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(file, encoding="utf-8")
        for section in (each for each in SECTIONS if parser.has_section(each)):
            found |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    own = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and value}
    return found | {name.removeprefix("PIP_").lower().replace("_", "-"): value for name, value in own.items()}


def _pip_files() -> tuple[Path, ...]:
    """Return the files that pip reads on Linux, in its order."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return ()
    shared = [Path(folder, "pip/pip.conf") for folder in reversed(_system_folders())]
    own = [Path("~/.pip/pip.conf"), _user_folder() / "pip/pip.conf", Path(sys.prefix, "pip.conf"), Path(named)]
    return (*shared, ETC / "pip.conf", *(_expanded(path) for path in own))


def _uv() -> dict[str, str]:
    """Return uv's settings under pip's names; the environment overrides, then the project, the user, the system."""
    found: dict[str, str] = {}
    for table in reversed(list(_uv_tables())):
        found |= dict(_uv_settings(table)) | dict(_uv_settings(table.get("pip", {})))
    extra = [word for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL") for word in os.environ.get(name, "").split()]
    default = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL") or ""
    own = {
        "index-url": _with_variables(*_name_and_url(default)),
        "extra-index-url": " ".join(_with_variables(*_name_and_url(word)) for word in extra),
        "find-links": os.environ.get("UV_FIND_LINKS", "").replace(",", " "),
        "no-index": os.environ.get("UV_NO_INDEX", ""),
    }
    return found | {name: value for name, value in own.items() if value}


def _uv_settings(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings of one table of uv's; an index that is only for named packages is left out."""
    for name in ("index-url", "extra-index-url", "find-links", "no-index"):
        if name in table:
            value = table[name]
            yield name, " ".join(map(str, value)) if isinstance(value, list) else str(value)
    indexes = [each for each in table.get("index", ()) if "url" in each and not each.get("explicit")]
    for name, default in (("index-url", True), ("extra-index-url", False)):
        chosen = [each for each in indexes if each.get("default", False) == default]
        if chosen:
            yield name, " ".join(_with_variables(each.get("name", ""), each["url"]) for each in chosen)


def _name_and_url(word: str) -> tuple[str, str]:
    """Split ``NAME=URL``; the name may be absent."""
    name, equals, url = word.partition("=")
    return (name, url) if equals and re.fullmatch(r"[\w.-]+", name) else ("", word)


def _with_variables(name: str, url: str) -> str:
    """Return a named index's URL with the credentials that uv reads from variables."""
    prefix = "UV_INDEX_" + re.sub(r"\W", "_", name).upper()
    user, password = os.environ.get(f"{prefix}_USERNAME", ""), os.environ.get(f"{prefix}_PASSWORD", "")
    if not name or not (user or password):
        return url
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def _uv_tables() -> Iterator[dict[str, Any]]:
    """Yield the tables of settings that uv reads on Linux, the most important first."""
    if os.environ.get("UV_NO_CONFIG"):
        return
    here = Path.cwd()
    # Of a project, uv reads the nearest folder with settings; uv.toml comes before pyproject.toml.
    project = (folder / name for folder in (here, *here.parents) for name in ("uv.toml", "pyproject.toml"))
    shared = (Path(folder, "uv/uv.toml") for folder in (*_system_folders(), str(ETC)))
    files: tuple[Iterable[Path], ...] = (project, (_expanded(_user_folder() / "uv/uv.toml"),), shared)
    if os.environ.get("UV_CONFIG_FILE"):
        files = ((Path(os.environ["UV_CONFIG_FILE"]),),)
    for group in files:
        yield from itertools.islice(filter(None, map(_uv_table, group)), 1)


def _uv_table(file: Path) -> dict[str, Any]:
    """Return uv's settings in a file, or nothing if it is absent or not readable."""
    try:
        document = tomllib.loads(file.read_text("utf-8"))
        return dict(document.get("tool", {}).get("uv", {}) if file.name == "pyproject.toml" else document)
    except (OSError, ValueError):
        return {}


def _system_folders() -> list[str]:
    return (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)


def _user_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")


def _expanded(path: Path) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111 - returns paths that it can't expand, and does not raise


def _origin(url: str) -> str:
    """Return the scheme, host and port of a URL; an empty text if it is malformed."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or PORTS.get(parts.scheme)}"
    except ValueError:
        return ""


def _own_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # it is malformed
        return ""
    return _basic(unquote(parts.username), unquote(parts.password or "")) if parts.username else ""


def _netrc_credentials(url: str) -> str:
    """Return the header for a server of the user's netrc file, or an empty text."""
    try:
        file = netrc.netrc(_expanded(Path(os.environ.get("NETRC") or "~/.netrc")))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""
    entry = file.authenticators(urlsplit(url).hostname or "")
    return _basic(entry[0], entry[2] or "") if entry else ""


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
