"""The clients against a real Triton; a fake is used only for behaviour that Triton does not have, and is named so."""

import asyncio
import inspect
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelrepo.clients import AsyncGrpcClient, Client, GrpcClient, HttpClient, Retry, Tls, connect, errors, load_image
from modelrepo.clients.batches import split
from modelrepo.clients.calls import Ask, Clock, Pause, Request, Session, ask, unknown_model
from modelrepo.clients.client import _in_order
from modelrepo.clients.drive import run
from modelrepo.clients.grpc_wire import GrpcWire
from modelrepo.clients.http_wire import make_call
from modelrepo.clients.inputs import Inputs, check_inputs
from modelrepo.clients.models import IndexEntry, Model, Tensor
from modelrepo.clients.settings import ClientOptions, make_settings, parse_url
from modelrepo.server import Server, running_server
from tests.conftest import PROJECT
from tests.served_models import ECHOED, ENDLESS, LATE, WEIGHTS, write_repository

NO_RETRY = Retry(times=0)
# No call here takes so long, but on a machine that does other things.
DEADLINE = 60.0
REGION = f"{os.getpid():x}_"
KINDS: dict[str, type[GrpcClient] | type[HttpClient]] = {"grpc": GrpcClient, "http": HttpClient}
Golden = Callable[[str, str], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(write_repository(tmp_path_factory.mktemp("repository"))) as running:
        yield running


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    with connect(url_of(server, request.param)) as connected:
        yield connected


def url_of(server: Server, kind: str) -> str:
    return server.grpc_url if kind == "grpc" else server.http_url


def samples(count: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.random.default_rng(0).random((count, 4), np.float32)


@pytest.fixture(autouse=True)
def _named_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell this process's regions of shared memory from those of others."""
    monkeypatch.setattr("multiprocessing.shared_memory._SHM_NAME_PREFIX", f"/{REGION}")


def regions() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(REGION)}


# --- asking


def test_a_single_input_is_given_as_an_array_a_list_or_by_name(client: Client) -> None:
    asked = samples(3)
    for inputs in (asked, [asked], (asked.tolist(),), {"input": asked}):
        answer = client.infer("linear", inputs)
        np.testing.assert_allclose(answer["output"], asked @ WEIGHTS, rtol=1e-5)


def test_several_inputs_go_by_name_or_by_position_and_outputs_by_name(client: Client) -> None:
    left, right = np.ones((2, 2)), np.full((2, 2), 3.0)
    assert client.infer("join", {"right": right, "left": left})["difference"].tolist() == [[-2, -2], [-2, -2]]
    assert list(client.infer("join", [left, right], outputs=["sum"])) == ["sum"]


@pytest.mark.parametrize("shared_memory", [False, True])
@pytest.mark.parametrize("size", [0, 3])
def test_every_datatype_can_be_sent_and_received(client: Client, size: int, shared_memory: bool) -> None:
    given: dict[str, Any] = {name: np.arange(size).astype(name) for name in ECHOED}
    given["object"] = np.array(["a", b"b\x00", "ü"][:size], object)
    answer = client.infer("echo", given, shared_memory=shared_memory)
    for name in ECHOED.keys() - {"object"}:
        assert answer[f"{name}_out"].dtype == name
        assert answer[f"{name}_out"].tolist() == given[name].tolist()
    assert answer["object_out"].tolist() == [b"a", b"b\x00", "ü".encode()][:size]


def test_a_scalar_stands_for_a_tensor_with_one_element(client: Client) -> None:
    assert client.infer("fill", 3)["filled"].tolist() == [1, 1, 1]


def test_bfloat16_answers_are_read() -> None:
    import ml_dtypes
    from tritonclient.grpc import InferResult, service_pb2

    response = service_pb2.ModelInferResponse(raw_output_contents=[np.ones(2, ml_dtypes.bfloat16).tobytes()])
    response.outputs.add(name="output", datatype="BF16", shape=[2])
    wire = GrpcWire(make_settings("localhost:1", "grpc"), 1000)
    asked = Ask("infer", (Request("m", "", {}, {}, None),), None)
    assert wire.finish(asked, InferResult(response))["output"].astype(float).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_requests_are_answered(server: Server, kind: str, compression: str) -> None:
    with KINDS[kind](url_of(server, kind), compression=compression) as client:
        np.testing.assert_allclose(client.infer("linear", np.ones((8, 4)))["output"][7], WEIGHTS.sum(0))


def test_classes_come_with_labels_best_first(client: Client) -> None:
    (first, second) = client.classify("linear", np.ones((2, 4)), top=2)
    assert first == second
    assert [(each.label, each.index, each.score) for each in first] == [("a: fish", 2, 6.5), ("dog", 1, 5.5)]
    assert len(client.classify("linear", np.ones((1, 4)), top=99)[0]) == 3


def test_classes_of_several_outputs_must_be_named(client: Client) -> None:
    given = np.ones((2, 1, 2))
    with pytest.raises(errors.InputError, match="several outputs: sum, difference"):
        client.classify("join", list(given))
    (only,) = client.classify("join", list(given), top=1, output="sum")
    assert only[0].label == ""


def test_metadata_of_the_server_and_its_models_is_read(client: Client) -> None:
    assert client.is_live()
    assert client.is_ready()
    assert client.is_ready("linear", "1")
    assert not client.is_ready("linear", "7")
    assert client.server().name == "triton"
    assert {(entry.name, entry.state) for entry in client.index()} >= {("linear", "READY"), ("echo", "READY")}
    model = client.model("linear")
    assert model.max_batch_size == 8
    assert model.inputs == (Tensor("input", "FP32", (-1, 4)),)
    assert model.outputs == (Tensor("output", "FP32", (-1, 3), labels=True),)


def test_statistics_count_samples_and_batches(client: Client) -> None:
    (before,) = client.statistics("join")
    client.infer("join", [np.ones((3, 2))] * 2)
    for _ in range(50):  # Triton counts a request after it has answered it
        (after,) = client.statistics("join")
        if after.executions > before.executions:
            break
        time.sleep(0.1)
    assert (after.inferences - before.inferences, after.executions - before.executions) == (3, 1)
    assert after.success.seconds > before.success.seconds
    assert after.success.mean > 0
    assert abs((after.last_inference or 0) - time.time()) < 60
    assert 3 in {batch.batch_size for batch in after.batches}


def test_the_configuration_is_what_the_server_makes_of_it(client: Client) -> None:
    found = client.config("join")
    assert (found["max_batch_size"], [tensor["name"] for tensor in found["input"]]) == (4, ["left", "right"])
    assert found["instance_group"][0]["kind"] == "KIND_CPU"
    with pytest.raises(errors.UnknownModel, match="no model 'jion'"):
        client.config("jion")


# --- many samples


@pytest.mark.parametrize(("batch_size", "max_in_flight"), [(None, 4), (3, 1), (1, 16)])
def test_many_samples_are_split_and_answered_in_order(
    client: Client, batch_size: int | None, max_in_flight: int
) -> None:
    asked = samples(50)
    answers = list(client.infer_many("linear", asked, batch_size, max_in_flight))
    sizes = [len(answer["output"]) for answer in answers]
    assert sizes[0] == (batch_size or 8)
    assert sum(sizes) == 50
    merged = client.infer_all("linear", asked, batch_size, max_in_flight)
    np.testing.assert_allclose(merged["output"], asked @ WEIGHTS, rtol=1e-5)


def test_a_model_that_does_not_batch_is_asked_sample_by_sample(client: Client) -> None:
    assert client.infer_all("fill", np.array([[2], [2]]))["filled"].tolist() == [[1, 1], [1, 1]]
    with pytest.raises(errors.InputError, match="differ in shape"):
        client.infer_all("fill", np.array([[2], [3]]))


def test_an_answer_tells_the_version_that_gave_it(client: Client) -> None:
    rows = np.ones((20, 4), "float32")
    assert client.infer("linear", rows[:2]).version == "1"
    assert client.infer_all("linear", rows).version == "1"
    assert client.classify("linear", rows[:2], top=1).version == "1"
    requests: list[Inputs] = [{"input": rows[:1]}, [rows[:3]]]
    assert [answer["output"].shape for answer in client.infer_each("linear", requests)] == [(1, 3), (3, 3)]


def test_no_more_requests_are_made_than_may_be_in_flight() -> None:
    drawn: list[int] = []

    def requests() -> Iterator[dict[str, Any]]:
        for number in range(10):
            drawn.append(number)
            yield {"number": np.array(number)}

    answers = _in_order(lambda arrays: dict(arrays), requests(), 3)
    assert next(answers)["number"] == 0
    assert len(drawn) == 4
    answers.close()  # type: ignore[attr-defined]  # a generator, typed as what it promises
    assert len(drawn) == 4


def test_an_http_client_is_usable_by_many_threads(server: Server) -> None:
    with HttpClient(server.http_url) as client, futures.ThreadPoolExecutor(8) as pool:
        rows = samples(40)
        answers = list(pool.map(lambda row: client.infer("linear", row[np.newaxis])["output"][0], rows))
    np.testing.assert_allclose(answers, rows @ WEIGHTS, rtol=1e-5)


def test_the_asynchronous_client_does_the_same(server: Server) -> None:
    async def story() -> None:
        async with AsyncGrpcClient(server.grpc_url) as client:
            assert await client.is_live()
            assert await client.is_ready("linear")
            assert (await client.server()).name == "triton"
            assert "linear" in {entry.name for entry in await client.index()}
            assert (await client.statistics("linear"))[0].version == "1"
            assert (await client.config("linear"))["backend"] == "onnxruntime"
            assert (await client.classify("linear", np.ones((1, 4)), top=1))[0][0].label == "a: fish"
            asked = samples(50)
            answers = [answer["output"] async for answer in client.infer_many("linear", asked, 7, 3)]
            assert len(answers) == 8
            np.testing.assert_allclose(np.concatenate(answers), asked @ WEIGHTS, rtol=1e-5)
            assert len((await client.infer_all("linear", asked))["output"]) == 50
            assert (await client.infer("fill", 2, shared_memory=True))["filled"].tolist() == [1, 1]
            with pytest.raises(errors.UnknownModel, match="Did you mean linear"):
                await client.infer("linaer", 1)
        with pytest.raises(errors.SettingsError, match="closed"):
            await client.is_live()

    asyncio.run(story())


# --- loading on request


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(write_repository(tmp_path_factory.mktemp("explicit")), control="explicit") as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_loaded_with_its_file_or_another_configuration(explicit: Server, kind: str) -> None:
    with connect(url_of(explicit, kind)) as client:
        assert not client.is_ready("linear")
        client.load("linear")
        assert client.model("linear").max_batch_size == client.config("linear")["max_batch_size"] == 8
        client.load("linear", {**client.config("linear"), "max_batch_size": 4, "dynamic_batching": {}})
        assert client.model("linear").max_batch_size == 4
        client.unload("linear")
        wait_until_unloaded(client)
        with pytest.raises(errors.UnknownModel, match="linear is not ready: unloaded"):
            client.config("linear")
        with pytest.raises(errors.ServerRefused, match="failed to load 'nothing', failed to poll"):
            client.load("nothing")


@pytest.mark.parametrize(
    ("state", "reason", "hint"),
    [
        ("", "", "Load it: POST /v2/repository/models/net/load"),
        ("UNAVAILABLE", "unloaded", "Load it: POST"),
        ("UNAVAILABLE", "no such file", ""),
    ],
)
def test_a_model_that_nobody_has_loaded_is_told_how_to_load(state: str, reason: str, hint: str) -> None:
    entry = IndexEntry("net", "", state, reason)
    error = unknown_model("net", "", [entry], errors.UnknownModel("refused"))
    assert error.hint.startswith(hint)
    assert bool(error.hint) == bool(hint)


def wait_until_unloaded(client: Client) -> None:
    while any(entry.state in ("READY", "UNLOADING") for entry in client.index()):
        time.sleep(0.02)


def test_the_asynchronous_client_loads_and_unloads(explicit: Server) -> None:
    async def story() -> None:
        async with AsyncGrpcClient(explicit.grpc_url) as client:
            await client.load("linear")
            assert (await client.config("linear", "1"))["name"] == "linear"
            await client.unload("linear")

    asyncio.run(story())
    with connect(explicit.grpc_url) as client:
        wait_until_unloaded(client)


def test_a_server_without_explicit_mode_refuses_at_once(client: Client) -> None:
    for call in (client.load, client.unload):
        with pytest.raises(errors.NoExplicitMode, match="Start it with --model-control-mode=explicit"):
            call("linear")


# --- shared memory


def test_shared_memory_is_always_given_back(client: Client, server: Server) -> None:
    from tritonclient.grpc import InferenceServerClient

    before = regions()
    for _ in range(20):
        assert client.infer("linear", np.ones((8, 4)), shared_memory=True)["output"].shape == (8, 3)
    with pytest.raises(errors.DeadlineExceeded):
        client.infer("slow", LATE, shared_memory=True, deadline=0.1)
    assert regions() == before
    client.infer("slow", 1)  # after the one that was late, which still used its region
    client.infer("linear", np.ones((8, 4)), shared_memory=True)
    with InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as raw:
        assert raw.get_system_shared_memory_status(as_json=True) == {}


def test_a_cancelled_task_leaves_no_shared_memory(server: Server) -> None:
    before = regions()

    async def story() -> None:
        async with AsyncGrpcClient(server.grpc_url) as client:
            await client.model("slow")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.infer("slow", LATE, shared_memory=True), 0.05)

    asyncio.run(story())
    assert regions() == before


def test_shared_memory_needs_the_same_machine() -> None:
    settings = make_settings("example.invalid:8001", "grpc")
    session = Session(settings, {("m", ""): MODEL})
    from modelrepo.clients.calls import infer

    with pytest.raises(errors.InputError, match="on another machine"):
        run(infer(session, Clock(None), "m", GOOD, None, "", True), lambda step: None)


# --- bad input, before anything is sent

MODEL = Model(
    "m", ("1",), "onnxruntime_onnx", 4,
    (Tensor("image", "FP32", (-1, 3, 2)), Tensor("ids", "INT8", (-1, 2)), Tensor("text", "BYTES", (-1, 1)),
     Tensor("half", "FP16", (-1, 1), optional=True), Tensor("flag", "BOOL", (-1, 1), optional=True)),
    (Tensor("output", "FP32", (-1, 3)),),
)  # fmt: skip
GOOD: dict[str, Any] = {"image": np.zeros((2, 3, 2)), "ids": [[1, 2], [3, 4]], "text": [["a"], [b"b"]]}
BAD: dict[str, Any] = {
    "unknown name": {**GOOD, "imgae": 1},
    "missing name": {"image": GOOD["image"]},
    "too many": [1, 2, 3, 4, 5, 6],
    "too few": GOOD["image"],
    "shape": {**GOOD, "image": np.zeros((2, 3, 3))},
    "no batch axis": {**GOOD, "image": np.zeros((3, 2))},
    "batch too large": {**GOOD, "image": np.zeros((5, 3, 2))},
    "empty batch": {**GOOD, "image": np.zeros((0, 3, 2))},
    "batches differ": {**GOOD, "ids": [[1, 2]]},
    "ragged": {**GOOD, "ids": [[1, 2], [3]]},
    "float for int": {**GOOD, "ids": np.zeros((2, 2))},
    "out of range": {**GOOD, "ids": [[1, 2], [3, 400]]},
    "out of range, unsigned": {**GOOD, "ids": np.full((2, 2), 2**63, "uint64")},
    "too large for the float": {**GOOD, "half": [[1e6], [0]]},
    "not exact in the float": {**GOOD, "image": np.full((2, 3, 2), 2**24 + 1)},
    "not 0 or 1": {**GOOD, "flag": [[0], [2]]},
    "strings for numbers": {**GOOD, "image": np.full((2, 3, 2), "1.5")},
    "objects for numbers": {**GOOD, "image": np.full((2, 3, 2), None)},
    "complex": {**GOOD, "image": np.zeros((2, 3, 2), complex)},
    "numbers for strings": {**GOOD, "text": [[1], [2]]},
    "objects for strings": {**GOOD, "text": np.array([[None], ["a"]], object)},
}  # fmt: skip


def test_inputs_that_do_not_fit_are_refused_with_what_was_expected(golden: Golden) -> None:
    messages = {}
    for case, inputs in BAD.items():
        with pytest.raises(errors.InputError) as caught:
            check_inputs(MODEL, inputs)
        messages[case] = str(caught.value)
    golden("clients/input-messages.txt", "".join(f"{case}: {message}\n" for case, message in messages.items()))


def test_values_are_cast_if_they_stay_the_same() -> None:
    given = {**GOOD, "image": np.full((2, 3, 2), 0.1), "half": [[1], [True]], "flag": [[0], [1]]}
    checked = check_inputs(MODEL, given)
    dtypes = {"image": "float32", "ids": "int8", "text": "object", "half": "float16", "flag": "bool"}
    assert {name: array.dtype.name for name, array in checked.items()} == dtypes
    assert checked["text"].tolist() == [[b"a"], [b"b"]]
    infinite = check_inputs(MODEL, {**GOOD, "image": np.full((2, 3, 2), [np.nan, np.inf])})["image"]
    assert np.isnan(infinite[..., 0]).all()
    assert np.isinf(infinite[..., 1]).all()
    assert check_inputs(MODEL, {**GOOD, "ids": np.zeros((2, 2), ">i8")})["ids"].dtype == "int8"


def test_samples_that_cannot_be_split_are_refused_at_once() -> None:
    for inputs, batch_size, in_flight, expected in (
        ({**GOOD, "ids": [[1, 2]]}, None, 1, "different numbers of samples: image 2, ids 1"),
        ({**GOOD, "image": 1}, None, 1, "single value"),
        ({name: [] for name in GOOD}, None, 1, "no samples"),
        (GOOD, 5, 1, "m takes 1 to 4"),
        (GOOD, None, 0, "max_in_flight is 0"),
    ):
        with pytest.raises(errors.InputError, match=expected):
            split(MODEL, inputs, batch_size, in_flight)


def test_settings_that_cannot_be_used_are_refused_when_the_client_is_made(golden: Golden, tmp_path: Path) -> None:
    cases: dict[str, Callable[[], Any]] = {
        "no scheme": lambda: parse_url("localhost:8001"),
        "unknown scheme": lambda: parse_url("ftp://localhost:1"),
        "no port": lambda: parse_url("http://localhost"),
        "bad port": lambda: parse_url("http://localhost:port"),
        "no host": lambda: parse_url("grpc://:8001"),
        "a path for gRPC": lambda: parse_url("grpc://localhost:8001/v2"),
        "a password": lambda: parse_url("http://me:secret@localhost:8000"),
        "wrong protocol": lambda: GrpcClient("http://localhost:8000"),
        "TLS without it": lambda: GrpcClient("grpc://localhost:8001", tls=Tls()),
        "certificate": lambda: HttpClient("https://localhost:8000", tls=Tls(Path("nowhere.pem"))),
        "key alone": lambda: HttpClient("https://localhost:8000", tls=Tls(private_key=Path(__file__))),
        "compression": lambda: HttpClient("localhost:8000", compression="zstd"),
        "deadline": lambda: HttpClient("localhost:8000", deadline=0),
        "header name": lambda: HttpClient("localhost:8000", headers={"a b": "c"}),
        "binary header": lambda: GrpcClient("localhost:8001", headers={"token-bin": "c"}),
        "header value": lambda: HttpClient("localhost:8000", headers={"a": "b\r\nc: d"}),
        "message size": lambda: GrpcClient("localhost:8001", max_message_bytes=2**31),
    }
    messages = {}
    for case, act in cases.items():
        with pytest.raises(errors.SettingsError) as caught:
            act()
        messages[case] = str(caught.value)
    golden("clients/settings-messages.txt", "".join(f"{case}: {message}\n" for case, message in messages.items()))


def test_addresses_are_printed_as_they_were_written() -> None:
    for url in ("grpc://localhost:8001", "grpcs://[::1]:8001", "https://h:1/base"):
        assert str(parse_url(url)) == url
    assert str(parse_url("localhost:8001", "grpc")) == "grpc://localhost:8001"


# --- what the server says no to


def test_the_error_for_an_unknown_model_version_or_output_names_the_known_ones(client: Client) -> None:
    for act, expected in (
        (lambda: client.infer("linaer", 1), "the server has no model 'linaer'. Did you mean linear?"),
        (lambda: client.infer("linear", 1, version="7"), "linear is not served in version 7. There is 1"),
        (lambda: client.statistics("zzz"), "the server has no model 'zzz'. There is echo, fill, join, linear, slow"),
    ):
        with pytest.raises(errors.UnknownModel) as caught:
            act()
        assert str(caught.value) == expected
    with pytest.raises(errors.InputError, match=r"no output 'ouput'\. Did you mean output"):
        client.infer("linear", np.ones((1, 4)), outputs=["ouput"])
    with pytest.raises(errors.InputError, match="is not a version"):
        client.infer("linear", 1, version="latest")


def test_a_model_that_has_changed_is_asked_about_again(server: Server) -> None:
    with GrpcClient(server.grpc_url) as client:
        right = client.model("linear")
        wrong = Model("linear", ("1",), "", 8, (Tensor("input", "FP32", (-1, 5)),), right.outputs)
        client._session.models["linear", ""] = wrong
        with pytest.raises(errors.ServerRefused, match="unexpected shape"):
            client.infer("linear", np.ones((1, 5)))
        assert client.model("linear") == right


def test_an_answer_above_grpcs_usual_limit_arrives(client: Client) -> None:
    assert client.infer("fill", 2_000_000)["filled"].nbytes == 8_000_000


def test_the_error_for_a_message_above_the_limit_has_both_sizes(server: Server) -> None:
    limit = "more than the limit of one gRPC message: 10,000"
    with GrpcClient(server.grpc_url, max_message_bytes=10_000) as client:
        with pytest.raises(errors.MessageTooLarge, match=rf"the answer has 8,000,0\d\d bytes, {limit}"):
            client.infer("fill", 2_000_000)
        with pytest.raises(errors.MessageTooLarge, match=f"the request has 24,000 bytes, {limit}"):
            client.infer("echo", {**{name: np.zeros(0, name) for name in ECHOED}, "float64": np.zeros(3_000)})


# --- servers that are not there, are not ready, are no Triton, hang or die


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_is_kept(server: Server, kind: str) -> None:
    with connect(url_of(server, kind)) as client:
        client.model("slow")
        start = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded, match="within the deadline"):
            client.infer("slow", LATE, deadline=0.1)
        assert time.monotonic() - start >= 0.1


@contextmanager
def listening(accept: bool = True) -> Iterator[int]:
    """A fake server that never answers, or a port without a server."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if accept:
            sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_server_does_not_make_a_client_hang(kind: str) -> None:
    with listening() as port, connect(f"{kind}://127.0.0.1:{port}", deadline=0.5) as client:
        start = time.monotonic()
        with pytest.raises((errors.DeadlineExceeded, errors.ServerUnavailable)):
            client.infer("m", 1)
        assert time.monotonic() - start < 15


@pytest.mark.parametrize("kind", KINDS)
def test_an_absent_server_is_asked_again_until_the_deadline(kind: str) -> None:
    url, retry = f"{kind}://127.0.0.1:{{}}", Retry(times=10**6, first=0.05, most=0.05)
    with listening(accept=False) as port, connect(url.format(port), deadline=0.4, retry=retry) as client:
        start = time.monotonic()
        with pytest.raises(errors.ServerUnavailable) as caught:
            client.server()
        assert time.monotonic() - start > 0.1
        assert str(caught.value).startswith(f"{kind}://127.0.0.1:{port} is unavailable: ")
        assert "Connection refused. Is the server running?" in str(caught.value)
        assert not client.is_live()


def test_a_server_that_dies_is_an_error_at_once_on_every_connection(tmp_path: Path) -> None:
    """It is not asked again either: a server that is gone would be ServerUnavailable."""
    raised: dict[str, BaseException | None] = {}

    async def ask_awaiting(url: str) -> None:
        async with AsyncGrpcClient(url, deadline=DEADLINE) as client:
            await client.infer("slow", ENDLESS)

    def ask_blocking(url: str) -> None:
        with connect(url, deadline=DEADLINE) as client:
            client.infer("slow", ENDLESS)

    def asking(name: str, act: Callable[[], None]) -> threading.Thread:
        def note() -> None:
            try:
                act()
            except errors.ClientError as error:
                raised[name] = error

        thread = threading.Thread(target=note)
        thread.start()
        return thread

    with running_server(write_repository(tmp_path / "repository")) as server:
        threads = [
            asking("grpc", lambda: ask_blocking(server.grpc_url)),
            asking("http", lambda: ask_blocking(server.http_url)),
            asking("asyncio", lambda: asyncio.run(ask_awaiting(server.grpc_url))),
        ]
        while waiting(server, "slow") < len(threads) - 1:  # one is asked, the others wait
            assert not raised
            time.sleep(0.05)
        os.kill(server.pid, signal.SIGKILL)
        for thread in threads:
            thread.join(DEADLINE)
    assert {name: type(error) for name, error in raised.items()} == dict.fromkeys(
        ("grpc", "http", "asyncio"), errors.ConnectionLost
    )


def waiting(server: Server, model: str) -> int:
    """Return how many requests wait in a model's queue."""
    with urllib.request.urlopen(server.metrics_url) as response:
        metrics = response.read().decode()
    found = re.search(rf'^nv_inference_pending_request_count{{model="{model}",.*}} (\d+)', metrics, re.MULTILINE)
    return int(found[1]) if found else 0


@contextmanager
def fake_that_closes(answered: int) -> Iterator[tuple[str, list[bytes]]]:
    """A fake HTTP server that answers so many requests of a connection, and closes it in place of one more answer.

    It notes every request that it was sent.
    """
    good = json.dumps({"name": "triton", "version": "2", "extensions": []}).encode()
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            for number in range(answered + 1):
                request = file.readline()
                if not request:
                    return
                seen.append(request)
                while file.readline().strip():
                    pass  # a header
                if number < answered:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good))

    def accept() -> None:
        with suppress(OSError):  # shut down: the test is done
            while True:
                serve(sock.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}", seen
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("answered", [0, 1])
def test_a_request_that_may_have_been_executed_is_not_sent_again(answered: int) -> None:
    """Neither one over a new connection, nor one over a connection that was kept."""
    with fake_that_closes(answered) as (host, seen):
        with HttpClient(host, deadline=DEADLINE) as client:
            for _ in range(answered):
                client.server()
            with pytest.raises(errors.ConnectionLost, match="closed the connection before its answer was complete"):
                client.server()
        assert len(seen) == answered + 1


def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    good = json.dumps({"name": "triton", "version": "2", "extensions": []})
    with fake_http([(200, good)], hang_up=True) as (host, seen), HttpClient(host, retry=NO_RETRY) as client:
        for _ in range(3):
            client.server()
            (kept,) = client._wire._idle  # type: ignore[attr-defined]  # an HttpWire
            assert select.select([kept.sock], [], [], DEADLINE)[0]
        assert len(seen) == 3


UNREACHED = "failed to connect to all addresses; last error: "


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("Stream removed (Socket closed)", errors.ConnectionLost),
        ("recvmsg:Connection reset by peer", errors.ConnectionLost),
        ("Failed to connect to remote host: Connection refused", errors.ServerUnavailable),
        (f"{UNREACHED}recvmsg:Connection reset by peer", errors.ServerUnavailable),
        (f"{UNREACHED}UNKNOWN: ipv4:127.0.0.1:1: tcp handshaker shutdown", errors.ServerUnavailable),
        ("DNS resolution failed for nowhere:8001: Domain name not found", errors.ServerUnavailable),
        ("Server is stopping, scheduler has stopped accepting new inference requests", errors.ServerUnavailable),
    ],
)
def test_an_ended_connection_is_recognised_by_grpcs_message(message: str, meaning: type[errors.ClientError]) -> None:
    from tritonclient.utils import InferenceServerException

    wire = GrpcWire(make_settings("localhost:1", "grpc"), 1000)
    assert type(wire.translate(InferenceServerException(message, "StatusCode.UNAVAILABLE"))) is meaning


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", errors.SettingsError),
        ("tcp handshaker shutdown", errors.ServerUnavailable),
    ],
)
def test_a_handshake_of_tls_is_not_that_of_a_connection(message: str, meaning: type[errors.ClientError]) -> None:
    from tritonclient.utils import InferenceServerException

    wire = GrpcWire(make_settings("grpcs://localhost:1", "grpc"), 1000)
    assert type(wire.translate(InferenceServerException(UNREACHED + message, "StatusCode.UNAVAILABLE"))) is meaning


@contextmanager
def slow_to_greet(port: int, seconds: float) -> Iterator[int]:
    """A relay to a port of this machine that holds a connection's first answer back: the server's greeting."""

    def relay(source: socket.socket, target: socket.socket, wait: float) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(wait)
                wait = 0.0
                target.sendall(data)

    def accept() -> None:
        with suppress(OSError), futures.ThreadPoolExecutor(64) as threads:
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(("127.0.0.1", port))
                threads.submit(relay, client, server, 0.0)
                threads.submit(relay, server, client, seconds)
                ends.extend((client, server))

    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for end in ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for end in ends:
                end.close()


def test_a_server_that_is_slow_to_greet_is_waited_for(server: Server) -> None:
    """A busy machine may take seconds for the handshake; each attempt had a tenth of a second."""
    with (
        slow_to_greet(server.ports.grpc, 1.0) as port,
        GrpcClient(f"grpc://127.0.0.1:{port}", retry=NO_RETRY) as client,
    ):
        assert client.server().name == "triton"


@contextmanager
def fake_http(
    answers: list[tuple[int, str]], context: ssl.SSLContext | None = None, hang_up: bool = False
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A fake HTTP server that gives these answers, the last one for ever, and notes the headers it was sent.

    With ``hang_up`` it closes the connection after each answer, and does not say so.
    """
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answers[min(len(seen), len(answers) - 1)]
            seen.append(dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())
            self.close_connection |= hang_up

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as fake:
        fake.daemon_threads = True
        if context:
            fake.socket = context.wrap_socket(fake.socket, server_side=True)
        threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"127.0.0.1:{fake.server_address[1]}", seen
        finally:
            fake.shutdown()


@pytest.mark.parametrize("answer", [(200, "<html>"), (404, "not here"), (200, "[]"), (200, "{}"), (200, "")])
def test_a_web_server_is_not_taken_for_triton(answer: tuple[int, str]) -> None:
    with fake_http([answer]) as (host, _), HttpClient(f"http://{host}", retry=NO_RETRY) as client:
        for act in (client.server, lambda: client.infer("m", 1)):
            with pytest.raises(errors.NotTriton, match="is not a Triton Inference Server"):
                act()


def test_the_other_protocols_port_is_not_taken_for_triton(server: Server) -> None:
    with GrpcClient(f"127.0.0.1:{server.ports.http}") as client:
        with pytest.raises(errors.NotTriton, match=r"does not speak gRPC\. Use Triton's gRPC port"):
            client.server()
        assert not client.is_live()
    with (
        HttpClient(f"127.0.0.1:{server.ports.grpc}") as http,
        pytest.raises((errors.NotTriton, errors.ConnectionLost), match=r"does not speak HTTP|closed the connection"),
    ):
        http.server()


def test_only_a_server_that_is_unavailable_is_asked_again() -> None:
    good = json.dumps({"name": "triton", "version": "2", "extensions": []})
    for status, asked in ((503, 3), (500, 1), (400, 1)):
        with fake_http([(status, '{"error": "no"}')] * 2 + [(200, good)]) as (host, seen):
            with HttpClient(host, retry=Retry(times=5, first=0.001)) as client:
                if asked > 1:
                    assert client.server().version == "2"
                else:
                    with pytest.raises(errors.ServerRefused, match="refused: no"):
                        client.server()
            assert len(seen) == asked


def test_pauses_double_up_to_a_limit_and_end_with_the_deadline() -> None:
    pauses = list(Retry(times=5, first=1.0, most=4.0).pauses())
    for pause, most in zip(pauses, (1, 2, 4, 4, 4), strict=True):
        assert most / 2 <= pause <= most
    session = Session(make_settings("h:1", "grpc", retry=Retry(times=9, first=0.5, most=100)))
    steps: list[Any] = []

    def perform(step: Any) -> None:
        steps.append(step)
        if isinstance(step, Ask):
            raise errors.ServerUnavailable("away")

    with pytest.raises(errors.ServerUnavailable):
        run(ask(session, Clock(3.0), "server"), perform)
    assert sum(step.seconds for step in steps if isinstance(step, Pause)) < 2 * 3.0
    assert 2 <= sum(isinstance(step, Ask) for step in steps) < 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_is_sent_to_the_server(server: Server, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Ask] = []
    with connect(url_of(server, kind), deadline=2000) as client:
        client.model("linear")
        call = client._wire.call

        def noted(step: Ask) -> Any:
            sent.append(step)
            return call(step)

        monkeypatch.setattr(client._wire, "call", noted)
        client.infer("linear", np.ones((1, 4)))
        client.infer("linear", np.ones((1, 4)), deadline=1000)
    own, given = (step.arguments[0].microseconds / 1e6 for step in sent)
    assert 2000 - DEADLINE < own <= 2000
    assert 1000 - DEADLINE < given <= 1000
    settings = make_settings("h:1", "http")
    body = make_call(sent[0], settings).body
    document, _ = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    assert document["parameters"]["timeout"] == sent[0].arguments[0].microseconds


def test_headers_are_sent() -> None:
    good = json.dumps({"name": "triton", "version": "2", "extensions": []})
    with fake_http([(200, good)]) as (host, seen), HttpClient(host, headers={"Authorization": "Bearer x"}) as client:
        client.server()
    assert seen[0]["authorization"] == "Bearer x"


@contextmanager
def fake_triton(certificate: Path, key: Path) -> Iterator[tuple[int, list[SimpleNamespace]]]:
    """A fake Triton over gRPC with TLS: it only says that it is live, and notes what it was sent."""
    import grpc  # type: ignore[import-untyped]  # it has no stubs of its own
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    calls: list[SimpleNamespace] = []

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # tritonclient is untyped
        def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            calls.append(SimpleNamespace(headers=dict(context.invocation_metadata()), left=context.time_remaining()))
            return service_pb2.ServerLiveResponse(live=True)

    fake = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), fake)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = fake.add_secure_port("127.0.0.1:0", credentials)
    fake.start()
    try:
        yield port, calls
    finally:
        fake.stop(0).wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def test_grpc_over_tls_with_headers_and_the_deadline(certificate: tuple[Path, Path]) -> None:
    with fake_triton(*certificate) as (port, calls):
        url, tls = f"grpcs://localhost:{port}", Tls(root_certificates=certificate[0])
        with GrpcClient(url, tls=tls, headers={"Authorization": "Bearer x"}) as client:
            assert client.is_live(deadline=2 * DEADLINE)
            with pytest.raises(errors.NotTriton, match="does not know Triton's calls"):
                client.server()
        with GrpcClient(url) as stranger, pytest.raises(errors.SettingsError, match="no TLS connection"):
            stranger.server(deadline=DEADLINE)
    assert calls[0].headers["authorization"] == "Bearer x"
    assert DEADLINE < calls[0].left <= 2 * DEADLINE


def test_http_over_tls(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with fake_http([(200, "{}")], context) as (host, seen):
        with HttpClient(f"https://{host}", tls=Tls(root_certificates=certificate[0]), retry=NO_RETRY) as client:
            assert client.is_live(deadline=DEADLINE)
        with HttpClient(f"https://{host}") as stranger, pytest.raises(errors.SettingsError, match="no TLS connection"):
            stranger.server(deadline=DEADLINE)
    assert len(seen) == 1


def test_a_closed_client_says_so(server: Server) -> None:
    for kind in KINDS:
        client = connect(url_of(server, kind))
        assert client.is_live()
        client.close()
        with pytest.raises(errors.SettingsError, match="closed"):
            client.is_live()


# --- images


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (257, 255), (40, 90)])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_an_image_is_prepared_as_torchvision_does(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    for crop, resize in ((224, 232), (225, 70)):
        transforms = ImageClassification(crop_size=crop, resize_size=resize, interpolation=InterpolationMode(kind))
        preprocess = {"kind": "image", "resize": resize, "crop": [crop, crop], "interpolation": kind,
                      "mean": transforms.mean, "std": transforms.std}  # fmt: skip
        array = load_image(tmp_path / "noise.png", preprocess)
        expected = transforms(Image.open(tmp_path / "noise.png")).numpy()[np.newaxis]
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected)


def test_images_that_cannot_be_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = {"resize": 8, "crop": [8, 8], "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]}
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(errors.InputError, match="Pillow does not know its format"):
        load_image(tmp_path / "text.jpg", preprocess)
    with pytest.raises(errors.InputError, match="No such file"):
        load_image(tmp_path / "nowhere.jpg", preprocess)
    with pytest.raises(errors.InputError, match="not one for images"):
        load_image(tmp_path / "text.jpg", {"kind": "image"})
    with pytest.raises(errors.InputError, match="can't use a preprocess with layout 'NHWC'"):
        load_image(tmp_path / "text.jpg", {**preprocess, "layout": "NHWC"})
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(errors.DependencyError, match=r"Pillow.*not installed. pip install 'modelrepo\[images\]'"):
        load_image(tmp_path / "text.jpg", preprocess)


# --- the package


def test_the_clients_are_importable_alone_and_light() -> None:
    script = (
        "import sys, modelrepo.clients\n"
        "others = {f'modelrepo.{name}' for name in ('cli', 'generator', 'server', 'perf')}\n"
        "heavy = {'torch', 'tritonclient', 'grpc', 'PIL', *others} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run_ = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert run_.returncode == 0, run_.stderr


def test_the_asynchronous_client_has_the_same_methods_and_arguments() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            mine, other = (list(inspect.signature(each).parameters.values())
                           for each in (method, getattr(AsyncGrpcClient, name)))  # fmt: skip
            assert mine == other, name
    assert inspect.signature(GrpcClient) == inspect.signature(AsyncGrpcClient)
    assert list(ClientOptions.__annotations__) == list(inspect.signature(make_settings).parameters)[2:]


def test_an_option_that_no_client_has_is_an_error() -> None:
    for kind in (GrpcClient, HttpClient, AsyncGrpcClient, connect):
        with pytest.raises(TypeError, match="unexpected keyword argument 'dead_line'"):
            kind("http://h:1" if kind is HttpClient else "grpc://h:1", dead_line=1)  # type: ignore[call-arg]


def test_every_error_is_drawn_in_the_tree() -> None:
    for kind in errors.ClientError.__subclasses__():
        assert f"── {kind.__name__} " in (errors.__doc__ or "")
