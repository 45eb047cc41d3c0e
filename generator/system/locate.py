"""The URL of a wheel on a package index: found with pip, with uv, or by asking the index itself."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import OpenerDirector, Request, url2pathname

from modelrepo.generator.errors import SourceError, first_line
from modelrepo.generator.system import process
from modelrepo.generator.system.download import TIMEOUT_SECONDS, reason
from modelrepo.generator.system.environment import has_pip, uv_command
from modelrepo.generator.system.indexes import configured, without_credentials

SECONDS = 120.0  # for all ways together
# PEP 691, and PEP 503 for indexes that don't know it.
SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"
# Like pip's retries: an index that does not answer uv is asked in other ways.
UV_PATIENCE = {"UV_HTTP_TIMEOUT": "15", "UV_HTTP_RETRIES": "1"}

NOT_THERE = "it is not there"

# Returns the URL within so many seconds; raises NotFound.
Find = Callable[[float], str]


class NotFound(Exception):
    """A way does not find the wheel; the text says why."""


def locate(requirement: str, file: str) -> str:
    """Return the URL of the wheel ``file``, which ``requirement`` (NAME==VERSION) asks for; it holds no credentials.

    pip is asked first, then uv, then the indexes that their settings name. Raises SourceError, which says what each
    answered.
    """
    end = time.monotonic() + SECONDS
    said: dict[str, list[str]] = {}
    for name, find in _ways(requirement, file):
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            url = find(left)
        except NotFound as error:
            answer = first_line(without_credentials(str(error)))
        except subprocess.TimeoutExpired:
            answer = f"no answer within {left:.0f} seconds"
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            answer = f"its answer can't be read: {first_line(without_credentials(str(error)))}"
        else:
            return without_credentials(url).partition("#")[0]
        said.setdefault(answer, []).append(name)
    if not said:
        raise SourceError(f"can't find {requirement}: the settings of pip or uv forbid every index")
    answers = "; ".join(f"{', '.join(names)}: {answer}" for answer, names in said.items())
    raise SourceError(f"can't find {requirement}, is there a network? {answers}")


def _ways(requirement: str, file: str) -> Iterator[tuple[str, Find]]:
    """Yield the ways that this environment has, by the names that messages give them."""
    indexes = configured()
    if has_pip():
        yield "pip", partial(_with_pip, requirement, file)
    if uv_command() and indexes.urls:  # uv does not know that pip's settings forbid every index
        yield "uv", partial(_with_uv, requirement, file)
    project = re.sub(r"[-_.]+", "-", requirement.partition("==")[0]).lower()  # as PEP 503 writes names
    for place in indexes.links:
        yield without_credentials(place), partial(_on_page, place, file, indexes.opener())
    for index in indexes.urls:
        page = f"{index.rstrip('/')}/{project}/"
        yield without_credentials(index), partial(_on_page, page, file, indexes.opener())


def _with_pip(requirement: str, file: str, seconds: float) -> str:
    command = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"),
        *("--disable-pip-version-check", "--retries", "2", "--only-binary", ":all:", "--report", "-"),
        requirement,
    ]
    done = process.run(command, timeout=seconds)
    if done.code:
        raise NotFound(done.last_words.removeprefix("ERROR: "))
    return _named(file, (str(item["download_info"]["url"]) for item in json.loads(done.out)["install"]))


def _with_uv(requirement: str, file: str, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "requirements.in")
        asked.write_text(requirement, "utf-8")
        command = [
            *(*uv_command(), "pip", "compile", "--quiet", "--no-deps", "--no-header", "--only-binary", ":all:"),
            *("--python", sys.executable, "--format", "pylock.toml", str(asked)),
        ]
        done = process.run(command, timeout=seconds, environment={**UV_PATIENCE, **os.environ, "COLUMNS": "1000"})
    if done.code:
        raise NotFound(_uv_reason(done))
    wheels = (wheel for package in tomllib.loads(done.out)["packages"] for wheel in package.get("wheels", ()))
    return _named(file, (wheel.get("url") or Path(wheel["path"]).absolute().as_uri() for wheel in wheels))


def _uv_reason(done: process.Finished) -> str:
    """Return the innermost of the causes that uv lists, or its first line."""
    causes = re.findall(r"(?:cause|Caused by): (.+)", done.err)
    return causes[-1] if causes else first_line(done.err).removeprefix("error: ")


def _on_page(place: str, file: str, opener: OpenerDirector, seconds: float) -> str:
    """Return the URL of a file in a folder, or on a page that links to it; ``place`` is a path or a URL."""
    folder = _local(place)
    if folder and (folder / file).is_file():
        return (folder / file).absolute().as_uri()
    page = folder / "index.html" if folder and folder.suffix != ".html" else folder
    if page and not page.is_file():
        raise NotFound(NOT_THERE)
    place = page.absolute().as_uri() if page else place
    return _named(file, _links(without_credentials(place), opener, seconds))


def _local(place: str) -> Path | None:
    if place.startswith("file:"):
        return Path(url2pathname(urlsplit(place).path))
    return None if "://" in place else Path(place).expanduser()


def _named(file: str, urls: Iterable[str]) -> str:
    """Return the URL that leads to a file of this name."""
    for url in urls:
        if unquote(urlsplit(url).path).rpartition("/")[2] == file:
            return url
    raise NotFound(NOT_THERE)


def _links(page: str, opener: OpenerDirector, seconds: float) -> list[str]:
    """Return the links of a page, absolute; NotFound if it can't be read."""
    request = Request(page, headers={"Accept": SIMPLE})  # noqa: S310 - the user's own settings name it
    try:
        with opener.open(request, timeout=min(seconds, TIMEOUT_SECONDS)) as answer:
            text = answer.read().decode("utf-8", "replace")
            base, kind = answer.url, answer.headers.get_content_type()
        links = [each["url"] for each in json.loads(text)["files"]] if kind.endswith("json") else _anchors(text)
        return [urljoin(base, link) for link in links]
    except (OSError, HTTPException) as error:
        raise NotFound(reason(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotFound(f"it is not an index: {first_line(error)}") from error


def _anchors(text: str) -> list[str]:
    """Return the targets of a page's links; its base, if it names one, is applied."""
    anchors = Anchors()
    anchors.feed(text)
    return [urljoin(anchors.base, link) for link in anchors.links]


class Anchors(HTMLParser):
    """The links of a page of HTML, and its base."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the targets of <a> and <base>."""
        target = dict(attrs).get("href")
        if target and tag == "a":
            self.links.append(target)
        elif target and tag == "base":
            self.base = self.base or target
