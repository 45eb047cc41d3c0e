"""The verdicts of a real Triton on the models of a repository."""

from dataclasses import dataclass
from pathlib import Path

from modelrepo.server import running_server

# The smallest model of the Python backend: it loads, whatever its configuration says.
MODEL_PY = """
class TritonPythonModel:
    def execute(self, requests):
        return []
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


def write(repository: Path, name: str, config: str | None, *, versions: tuple[str, ...] = ("1",)) -> Path:
    """Write a model of the Python backend into a repository, with a text as its configuration; return its folder."""
    folder = repository / name
    folder.mkdir(parents=True)
    if config is not None:
        (folder / "config.pbtxt").write_text(config, "utf-8", errors="surrogateescape")
    for version in versions:
        (folder / version).mkdir()
        (folder / version / "model.py").write_text(MODEL_PY)
    return folder
