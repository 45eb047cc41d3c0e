"""Downloads that can be resumed after an interruption."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.request import BaseHandler, OpenerDirector

from filelock import FileLock

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system.asking import unlimited
from modelrepo.generator.system.digests import sha256_of

CHUNK = 1 << 20
TIMEOUT_SECONDS = 15.0
ATTEMPTS = 3
# The variables in which pip, requests and curl are given certificates; OpenSSL itself reads SSL_CERT_FILE.
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def opener(*handlers: BaseHandler, proxy: str = "", certificates: Iterable[Path] = ()) -> OpenerDirector:
    """Return an opener for this environment's proxies, or for ``proxy``; it trusts more than the system's certificates.

    It has to be made for each download: ``urlopen`` keeps the proxies of its first call for the rest of the process.
    """
    proxies = urllib.request.getproxies()
    for scheme in ("http", "https"):
        chosen = proxy or proxies.get(scheme) or proxies.get("all", "")
        if chosen and not chosen.startswith("socks"):  # urllib knows no SOCKS
            proxies[scheme] = chosen
    own = urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=_trusting(certificates))
    return urllib.request.build_opener(*own, *handlers)


def _trusting(certificates: Iterable[Path]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    named = (Path(os.environ[name]) for name in CERTIFICATES if os.environ.get(name))
    for path in (*named, *certificates):
        try:
            context.load_verify_locations(*((None, path) if path.is_dir() else (path, None)))
        except OSError as error:
            raise SourceError(f"can't read the certificates in {path}: {error.strerror or error}") from error
    return context


def fetch(
    url: str, target: Path, sha256_prefix: str, progress: Progress, through: OpenerDirector | None = None
) -> None:
    """Download ``url`` to ``target`` and check that its SHA-256 (hex) starts with ``sha256_prefix``.

    Bytes are collected in ``<target>.part``. A connection that breaks after it delivered some is resumed, in this call
    and in the next. Raises SourceError if the download fails or the digest differs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with unlimited(), FileLock(target.with_name(target.name + ".lock")):  # two runs may want the same file
        if not target.exists():
            _fetch(url, target, sha256_prefix, progress, through or opener())


def _fetch(url: str, target: Path, sha256_prefix: str, progress: Progress, through: OpenerDirector) -> None:
    part = target.with_name(target.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part, progress, through)
            break
        except (OSError, http.client.HTTPException) as error:
            arrived = part.stat().st_size if part.exists() else 0
            if arrived == before or attempt == ATTEMPTS:
                raise SourceError(f"can't download {url}: {reason(error)}") from error
    digest = sha256_of(part)
    if not digest.startswith(sha256_prefix):
        part.unlink()
        raise SourceError(
            f"{url} does not have the expected content",
            f"Its SHA-256 is {digest}, which should start with {sha256_prefix}; run the command again",
        )
    part.replace(target)


def _append(url: str, part: Path, progress: Progress, through: OpenerDirector) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        answer = through.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return  # the part is already complete; the digest decides
        raise
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = start if resumed else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress.listener.advanced(f"downloading {url.rpartition('/')[2]}", done, total)
            file.flush()
            os.fsync(file.fileno())
    if total and done < total:
        raise http.client.IncompleteRead(b"", total - done)


def reason(error: Exception) -> str:
    """Return why a URL can't be opened, in the words of the server, the system or OpenSSL."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{cause.verify_message}; name the certificates of your network in the variable SSL_CERT_FILE"
    return str(getattr(cause, "strerror", None) or cause)
