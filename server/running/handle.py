"""A handle on a running server: its addresses, its models, its log."""

import http.client
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ServerError
from modelrepo.server.running import log as logs
from modelrepo.server.running.explained import explained

HOST = "127.0.0.1"
ASK_SECONDS = 60.0
LOAD_SECONDS = 600.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Ports:
    """The ports of a server on loopback."""

    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class ModelState:
    """A model of the repository as Triton sees it: ``state`` is READY, UNAVAILABLE, … or empty if it is not loaded."""

    name: str
    version: str
    state: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether Triton failed to load it. A model that was unloaded, or never asked for, did not fail."""
        return self.state != "READY" and self.reason != "unloaded" and bool(self.reason)


Served = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Health:
    """Whether a server calls itself ready, and the versions that it refused, if they are why it does not.

    While models are loaded a server is not ready either, and no version is named.
    """

    ready: bool
    failed: tuple[str, ...] = ()


class PortTaken(ServerError):
    """Another process took a port between our check and Triton's start."""


@dataclass(frozen=True)
class Server:
    """A running Triton: its addresses, its log, and the requests to load and unload models.

    ``repository`` is the repository that it serves: a folder of its own if it was given none. ``notes`` list the
    differences between the served models and the repository. Every method raises ServerError if the server can't be
    reached or refuses.
    """

    ports: Ports
    repository: Path
    log: Path
    pid: int
    description: str
    guardian: "subprocess.Popen[bytes]"
    notes: tuple[str, ...] = ()

    @property
    def http_url(self) -> str:
        """The HTTP endpoint, such as ``http://127.0.0.1:8000``."""
        return f"http://{HOST}:{self.ports.http}"

    @property
    def grpc_url(self) -> str:
        """The gRPC endpoint, such as ``grpc://127.0.0.1:8001``."""
        return f"grpc://{HOST}:{self.ports.grpc}"

    @property
    def metrics_url(self) -> str:
        """The Prometheus metrics, such as ``http://127.0.0.1:8002/metrics``."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    def wait_until_started(self, seconds: float) -> None:
        """Wait until the server answers, which is when it has loaded, or failed to load, its models."""
        deadline = time.monotonic() + seconds
        # The log too: another process may answer at a port that Triton could not take.
        while not (logs.listens(self.log_text()) and self._answers()):
            self._check_alive()
            if time.monotonic() > deadline:
                raise ServerError(f"Triton did not start within {seconds:.0f} seconds", f"Its log is {self.log}")
            time.sleep(LOOK_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the server is running."""
        return self.guardian.poll() is None

    def wait(self) -> int:
        """Wait until the server ends and return its exit code."""
        return self.guardian.wait()

    def ends_within(self, seconds: float) -> bool:
        """Wait a while; whether the server has ended."""
        try:
            self.guardian.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def served(self) -> Served:
        """Return the versions that answer requests, with their models, whatever the repository holds by now."""
        return frozenset((row["name"], row["version"]) for row in self._ask("GET", "/v2/models/stats")["model_stats"])

    def health(self) -> Health:
        """Return whether the server calls itself ready. One refused version is enough for it not to."""
        try:
            if self._request("GET", "/v2/health/ready", None, ASK_SECONDS)[0] == http.HTTPStatus.OK:
                return Health(ready=True)
            rows = self._index()
        except (OSError, http.client.HTTPException, ServerError):  # a repository that can't be read has no index
            return Health(ready=False)
        if any(row.get("state") in ("LOADING", "UNLOADING") for row in rows):
            return Health(ready=False)
        failed = [row for row in rows if row.get("state") == "UNAVAILABLE" and row.get("reason") != "unloaded"]
        return Health(ready=False, failed=tuple(f"{row['name']} version {row['version']}" for row in failed))

    def models(self) -> tuple[ModelState, ...]:
        """Return every model of the repository; the log names those that Triton refused without reading them."""
        refused = logs.failures(self.log_text())
        states = tuple(
            ModelState(row["name"], row.get("version", ""), row.get("state", ""), _reason(row, refused))
            for row in self._index()
        )
        unlisted = refused.keys() - {state.name for state in states}
        return (*states, *(ModelState(name, "", "UNAVAILABLE", refused[name]) for name in sorted(unlisted)))

    def load(self, name: str) -> None:
        """Load a model, or its new versions (with ``explicit`` control); ServerError gives Triton's reason."""
        start = self.log.stat().st_size
        try:
            self._ask("POST", f"/v2/repository/models/{name}/load", {}, LOAD_SECONDS)
        except ServerError as error:
            reason = logs.reason(self.log_text(start), name) or logs.shorten(error.message)
            why = explained(reason, self.repository / name)
            raise ServerError(f"Triton can't load {name}: {why}", f"Its log is {self.log}") from error

    def unload(self, name: str) -> None:
        """Unload a model, which takes a second, and wait until it is gone."""
        self._ask("POST", f"/v2/repository/models/{name}/unload", {}, LOAD_SECONDS)
        deadline = time.monotonic() + LOAD_SECONDS
        while leaving := [row["name"] for row in self._index() if row.get("state") == "UNLOADING"]:
            if time.monotonic() > deadline:
                raise ServerError(f"Triton did not unload {leaving[0]} within {LOAD_SECONDS:.0f} seconds")
            time.sleep(LOOK_SECONDS)

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's configuration, completed by Triton."""
        return dict(self._ask("GET", f"/v2/models/{name}/config"))

    def log_text(self, start: int = 0) -> str:
        """Return the server's output from the byte ``start`` on."""
        return self.log_bytes(start).decode("utf-8", errors="replace")

    def log_bytes(self, start: int = 0) -> bytes:
        """Return the server's output from the byte ``start`` on, as it is."""
        with self.log.open("rb") as file:
            file.seek(start)
            return file.read()

    def _index(self) -> list[dict[str, str]]:
        try:
            return list(self._ask("POST", "/v2/repository/index"))
        except ServerError as error:  # a folder that can't be read
            raise ServerError(explained(error.message, self.repository), error.hint) from error

    def _answers(self) -> bool:
        try:
            return self._request("GET", "/v2/health/live", None, ASK_SECONDS)[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def _check_alive(self) -> None:
        if not self.alive:
            said = logs.last_words(self.log_text())
            kind = PortTaken if "in use" in said else ServerError
            why = explained(said, self.repository)
            raise kind(f"Triton {ending(self.guardian.returncode)}: {why}", f"Its log is {self.log}")

    def _ask(self, method: str, path: str, body: Any = None, seconds: float = ASK_SECONDS) -> Any:
        try:
            status, answer = self._request(method, path, body, seconds)
        except (OSError, http.client.HTTPException) as error:
            self._check_alive()
            raise ServerError(
                f"Triton does not answer: {str(error) or type(error).__name__}", f"Its log is {self.log}"
            ) from error
        text = answer.decode("utf-8", errors="replace")  # Triton repeats names as they are in a configuration
        if status != http.HTTPStatus.OK:
            raise ServerError(str(json.loads(text)["error"]) if text else f"HTTP status {status}")
        return json.loads(text) if text else None

    def _request(self, method: str, path: str, body: Any, seconds: float) -> tuple[int, bytes]:
        """Send a request directly: loopback needs no proxy, even if the environment names one."""
        connection = http.client.HTTPConnection(HOST, self.ports.http, timeout=seconds)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def ending(code: int) -> str:
    """Return how a server ended, from its guardian's exit code: above 128 it is 128 and a signal, as in shells."""
    if code < 0:
        return f"ended: its guardian was killed by signal {-code}"
    return f"was killed by signal {code - 128}" if code > 128 else f"ended with code {code}"


def _reason(row: dict[str, str], refused: dict[str, str]) -> str:
    """Return why a model is not ready: Triton's reason, or else that of the log, which may be older."""
    if row.get("state") == "READY":
        return ""
    return logs.shorten(row.get("reason", "")) or refused.get(row["name"], "")
