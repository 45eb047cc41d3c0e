"""`modelrepo smoke`: what it prints and writes, what it refuses, and with which exit code."""

import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

from modelrepo.cli.commands import smoke as smoke_command
from modelrepo.cli.terminal import smoke_output
from modelrepo.generator.repository.lifecycle.smoke import Smoked
from modelrepo.generator.repository.repository import Repository
from modelrepo.server import running_server
from tests.conftest import Generate, ModelRepo, Outcome, assert_refused

pytestmark = pytest.mark.usefixtures("numpy_models")
Smoke = Callable[..., Outcome]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def smoke(modelrepo: ModelRepo) -> Smoke:
    """Run `modelrepo smoke` in this process, in an empty folder."""
    return partial(modelrepo, smoke_command.smoke)


def test_without_url_a_server_of_its_own_asks_every_published_model(generate: Generate, smoke: Smoke) -> None:
    for name in ("linear", "mixes_samples"):
        assert generate("--model", f"numpy:{name}").code == 0
    outcome = smoke("--quiet", "--junit", "report.xml")
    assert (outcome.code, outcome.err) == (0, "")
    heading, *rows = outcome.out.splitlines()
    assert heading.split() == [
        "model",
        "version",
        "ready",
        "config",
        "labels",
        "asked",
        "worst",
        "(limit)",
        "latency",
        "result",
    ]
    assert [row.split()[:6] for row in rows] == [
        ["linear", "1", "yes", "same", "right", "14"],
        ["mixes_samples", "1", "yes", "same", "right", "6"],
    ]
    assert [row.split()[-1] for row in rows] == ["passed", "passed"]
    (suite,) = ElementTree.parse("report.xml").getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("testsuite", "2", "0", "0")
    assert [case.get("name") for case in suite] == ["linear", "mixes_samples"]


def certificate(folder: Path) -> tuple[Path, Path]:
    pem, key = folder / "ca.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key


@contextmanager
def behind_tls(port: int, pem: Path, key: Path) -> Iterator[tuple[int, bytearray]]:
    """Pass on what comes over TLS from a client with the certificate; yield the port, and what the client has sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.load_verify_locations(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    sent = bytearray()

    class Pass(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                client = context.wrap_socket(self.request, server_side=True)
            except (ssl.SSLError, OSError):
                return
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=self._answers, args=(server, client))
                back.start()
                while data := client.recv(1 << 16):
                    sent.extend(data)
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)
                back.join()

        def _answers(self, server: socket.socket, client: ssl.SSLSocket) -> None:
            while data := server.recv(1 << 16):
                client.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Pass) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy.server_address[1], sent
        proxy.shutdown()


def test_a_server_behind_tls_is_asked_with_certificates_and_headers(generate: Generate, smoke: Smoke) -> None:
    generate("--model", "numpy:linear")
    pem, key = certificate(Path.cwd())
    with running_server(Path("model_repository")) as server, behind_tls(server.ports.http, pem, key) as (port, sent):
        url = ("--url", f"https://localhost:{port}", "--quiet")
        token = ("--header", "Authorization: Bearer secret")
        outcome = smoke(*url, *token, "--ca", "ca.pem", "--cert", "ca.pem", "--key", "key.pem")
        assert outcome.code == 0, outcome.err
        assert b"authorization: Bearer secret" in bytes(sent)
        stranger = smoke(*url, *token)
    assert stranger.code == 2
    assert "no TLS connection to https://localhost" in stranger.err
    assert "Check --ca, --cert and --key" in stranger.err


def test_another_seed_under_the_same_name_is_exit_code_5(generate: Generate, smoke: Smoke) -> None:
    generate("--model", "numpy:linear")
    generate("--model", "numpy:linear", "--seed", "5", "--repository", "other/model_repository")
    with running_server(Path("other/model_repository")) as server:
        outcome = smoke("linear", "--url", server.http_url, "--json", "--junit", "report.xml", "-q")
    assert outcome.code == 5
    assert outcome.report["passed"] is False
    assert outcome.report["url"] == server.http_url
    assert outcome.result["status"] == "failed"
    assert outcome.result["worst"] > outcome.result["limit"]
    assert "output 'output' on input '" in outcome.result["failure"]
    assert "seed 5" in outcome.result["config_differs"][0]
    (suite,) = ElementTree.parse("report.xml").getroot()
    assert suite.get("failures") == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == outcome.result["failure"]


def test_a_server_that_is_down_is_exit_code_7(generate: Generate, smoke: Smoke) -> None:
    generate("--model", "numpy:linear")
    outcome = smoke("--url", NOBODY, "-q", "--junit", "report.xml")
    assert outcome.code == 7
    assert f"error: linear: {NOBODY} is unavailable: Connection refused. Is the server running?" in outcome.err
    assert outcome.out.splitlines()[1].split() == ["linear", "-", "no", *"------"[:5], "unreachable"]
    (suite,) = ElementTree.parse("report.xml").getroot()
    assert suite.get("errors") == "1"


def test_a_published_model_whose_files_were_deleted_is_not_passed_over(generate: Generate, smoke: Smoke) -> None:
    for name in ("linear", "mixes_samples"):
        assert generate("--model", f"numpy:{name}", "--live-check", "off").code == 0
    Path("model_repository/linear/config.pbtxt").unlink()
    shutil.rmtree("model_repository/mixes_samples")
    outcome = smoke("--url", NOBODY, "--quiet", "--json")
    assert outcome.code == 7
    assert [row["name"] for row in outcome.report["results"]] == ["linear", "mixes_samples"]


def test_without_golden_requests_the_next_step_is_named(generate: Generate, smoke: Smoke) -> None:
    generate("--model", "numpy:linear")
    shutil.rmtree(Repository(Path("model_repository")).golden_folder("linear"))
    outcome = smoke("-q")
    assert outcome.code == 6
    assert "no golden requests are kept for version 1: an earlier release of modelrepo published it" in outcome.err
    assert "`generate` again proves the model and keeps them" in outcome.err
    assert generate("--model", "numpy:linear").code == 0
    assert smoke("-q").code == 0


def test_unverified_models_are_told_and_do_not_fail(generate: Generate, smoke: Smoke) -> None:
    generate("--model", "numpy:linear", "--no-verify")
    outcome = smoke("-q", "--junit", "report.xml")
    assert outcome.code == 0
    assert "linear: its answers were not checked: it was published with --no-verify" in outcome.out
    (suite,) = ElementTree.parse("report.xml").getroot()
    assert suite.get("skipped") == "1"


def test_what_can_not_be_asked_is_refused_before_anything_is(generate: Generate, smoke: Smoke) -> None:
    assert_refused(smoke("--url", NOBODY), 6, "can't find the repository")
    Path("model_repository").mkdir()
    assert_refused(smoke("--url", NOBODY), 6, "has no published models. Run generate first")
    generate("--model", "numpy:linear")
    assert_refused(smoke("linera", "--url", NOBODY), 6, "has no model 'linera'. Did you mean linear?")
    assert_refused(
        smoke("linear", "--version", "4", "--url", NOBODY), 6, "linear has no published version 4. There is 1"
    )
    assert_refused(smoke("--version", "1", "--url", NOBODY), 2, "--version was given without the one model")
    assert_refused(smoke("--url", "tcp://host:1"), 2, "unknown scheme in the URL 'tcp://host:1'")
    assert_refused(smoke("--url", NOBODY, "--ca", "no.pem"), 2, "TLS certificates were given, but http://127.0.0.1:9")
    assert_refused(smoke("--url", "https://127.0.0.1:9", "--ca", "no.pem"), 2, "can't read the certificate file no.pem")
    Path("key.pem").write_text("")
    assert_refused(smoke("--url", "https://127.0.0.1:9", "--key", "key.pem"), 2, "both a private key and a certificate")
    assert_refused(smoke("--url", NOBODY, "--header", "token"), 2, "token")
    assert_refused(smoke("--url", NOBODY, "--deadline", "0"), 2, "can't use a deadline of 0.0 seconds")
    assert_refused(smoke("--url", NOBODY, "--junit", "no/folder.xml"), 2, "can't find the folder no")
    (Path("model_repository") / "linear/config.pbtxt").write_text("max_batch_size: sixteen")
    assert_refused(smoke("--url", NOBODY), 6, "config.pbtxt is not a ModelConfig")


def test_an_interrupt_shows_what_was_found_before_it(
    generate: Generate, smoke: Smoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(client: object, where: object, name: str, version: object) -> Smoked:
        if name == "mixes_samples":
            raise KeyboardInterrupt
        return Smoked(name, 1, "1", True, cases=3)

    for name in ("linear", "mixes_samples"):
        generate("--model", f"numpy:{name}")
    monkeypatch.setattr("modelrepo.generator.repository.lifecycle.smoke.smoke", asked)
    outcome = smoke("--url", NOBODY, "-q")
    assert outcome.code == 130
    assert "linear" in outcome.out
    assert "interrupted" in outcome.err


def test_junit_holds_any_text(tmp_path: Path) -> None:
    hostile = 'a<b>&"\x00\x1b[31m]]>\ud800\uffff é'
    rows = [
        Smoked(hostile, 1, failure=hostile, exit_code=5, config_differs=(hostile,), seconds=0.5),
        Smoked("b", 1, unasked=hostile),
        Smoked("c", 1, failure="x", hint="y", exit_code=7),
        Smoked("d", 1, ready=True),
    ]
    smoke_output.write_junit(tmp_path / "r.xml", rows, "grpc://[::1]:8001")
    (suite,) = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    assert [len(case) for case in suite] == [1, 1, 1, 0]
    assert suite[0].get("name") == 'a<b>&"��[31m]]>�� é'
    assert suite[2][0].get("message") == "x. y"
