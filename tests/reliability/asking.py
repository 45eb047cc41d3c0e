"""Answers of a real Triton, and those that the files of a version give."""

from pathlib import Path

import numpy as np

from modelrepo.clients.client import GrpcClient
from modelrepo.generator.graphs import runtime
from modelrepo.server import running_server
from tests.reliability.scenes import ROOT

Served = dict[str, tuple[int, ...]]
INPUT = np.array([[1, -2, 3, 0.5]], "float32")


def answers_of(root: Path) -> dict[tuple[str, int], list[float]]:
    """Return the answer of each version that Triton serves of a repository; none of one that is not there yet."""
    if not root.exists():
        return {}
    with (
        running_server(root, runtime="local", control="none", keep_going=True) as server,
        GrpcClient(server.grpc_url) as client,
    ):
        return {
            (name, int(version)): _rounded(client.infer(name, {"input": INPUT}, version=version)["output"])
            for name, version in sorted(server.served())
        }


def expected(folder: Path, name: str, version: int) -> list[float]:
    """Return the answer of a version's file."""
    session = runtime.open_model(folder / ROOT / name / str(version) / "model.onnx")
    return _rounded(session({"input": INPUT})["output"])


def _rounded(array: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> list[float]:
    return [round(float(each), 4) for each in array.ravel()]
