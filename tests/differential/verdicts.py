"""The verdicts of a real Triton on the models of a repository."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelrepo.server import running_server

# The smallest backend: it answers each request, of a warm-up too, with nothing. A model of it loads if the core accepts
# it, in less than a millisecond; one of the Python backend takes a second.
LIGHT = "light"
LIGHT_SOURCE = """
void *TRITONBACKEND_ResponseNew(void **response, void *request);
void *TRITONBACKEND_ResponseSend(void *response, unsigned flags, void *error);
void *TRITONBACKEND_RequestRelease(void *request, unsigned flags);

void *TRITONBACKEND_ModelInstanceExecute(void *instance, void **requests, unsigned count) {
  for (unsigned each = 0; each < count; ++each) {
    void *response;
    TRITONBACKEND_ResponseNew(&response, requests[each]);
    TRITONBACKEND_ResponseSend(response, 1, 0);  /* TRITONSERVER_RESPONSE_COMPLETE_FINAL */
    TRITONBACKEND_RequestRelease(requests[each], 1);  /* TRITONSERVER_REQUEST_RELEASE_ALL */
  }
  return 0;
}
"""


@dataclass(frozen=True)
class Verdict:
    """What Triton said of a model: whether it serves it, and why not."""

    loads: bool
    reason: str = ""


def verdicts(repository: Path) -> dict[str, Verdict]:
    """Return Triton's verdict on each model, which it loads as it does by default: with its configuration completed."""
    with running_server(repository, runtime="local", control="none", auto_complete=True, keep_going=True) as server:
        found: dict[str, Verdict] = {}
        for state in server.models():
            loads = state.state == "READY"
            if state.name not in found or loads:
                found[state.name] = Verdict(loads, "" if loads else state.reason)
        return found


def light_backend(folder: Path) -> Path:
    """Compile the smallest backend into a folder, and return its library; it may lie in the folder of each model."""
    source, library = folder / "light.c", folder / f"libtriton_{LIGHT}.so"
    source.write_text(LIGHT_SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


def write(repository: Path, name: str, config: str | None, library: Path, versions: Iterable[str] = ("1",)) -> Path:
    """Write a model of the smallest backend, with a text as its configuration, and return its folder."""
    folder = repository / name
    folder.mkdir(parents=True)
    os.link(library, folder / library.name)
    if config is not None:
        (folder / "config.pbtxt").write_text(config, "utf-8", errors="surrogateescape")
    for version in versions:
        (folder / version).mkdir()
    return folder
