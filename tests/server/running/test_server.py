"""A real Triton: it serves the repository's models, reports errors, and leaves nothing behind."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from modelrepo.clients import GrpcClient, HttpClient
from modelrepo.clients.errors import ServerRefused
from modelrepo.clients.models import Statistics
from modelrepo.generator.errors import OptionError, RepositoryError, ServerError
from modelrepo.generator.progress import Progress
from modelrepo.server import Server, running_server
from modelrepo.server.binaries import runtime
from modelrepo.server.running import start
from modelrepo.server.running.guardian import _named_in_memory
from tests.conftest import PROJECT
from tests.served_models import WEIGHTS, write_repository

# Nothing here takes so long, but on a machine that does other things.
PATIENCE = 60.0
SERVE = "from modelrepo.cli.entry import modelrepo; modelrepo()"


def left_behind(server: Server) -> list[str]:
    """Return the remains of a server: processes, shared memory, temporary folders."""
    name = run_name(server.log)
    found = [str(path) for path in Path("/dev/shm").glob(f"*{name}*")]
    found += [str(path) for path in runtime.runs_folder().glob(name)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if name in (process / "cmdline").read_text():
                found.append(process.name)
    return found


def run_name(log: Path) -> str:
    return log.stem


def environment_folders() -> set[Path]:
    """Return the folders of Triton's Python backend, without those of servers that run beside the tests."""
    there = set(Path("/tmp").glob("python_env_*"))
    used: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().startswith("tritonserver"):
                used |= _named_in_memory(int(process.name))
    return {path for path in there if str(path) not in used and path.exists()}


def assert_gone_since(before: set[Path]) -> None:
    """Wait for other servers of this machine that have ended until their folders are removed."""
    deadline = time.monotonic() + PATIENCE
    while not environment_folders() <= before:
        assert time.monotonic() < deadline, environment_folders() - before
        time.sleep(0.1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("served") / "models")


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Server]:
    with running_server(repository) as running:
        yield running


def ask(server: Server, rows: int = 2) -> bool:
    batch = np.random.default_rng(0).random((rows, 4), dtype="float32")
    with GrpcClient(server.grpc_url) as client:
        return np.allclose(client.infer("linear", batch)["output"], batch @ WEIGHTS)


def test_it_serves_every_model_of_the_repository(server: Server) -> None:
    assert {state.name for state in server.models()} == {"linear", "join", "echo", "fill", "slow"}
    assert all(state.state == "READY" for state in server.models())
    assert ask(server)


def test_it_listens_on_loopback_only(server: Server) -> None:
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A"}  # TCP_LISTEN
    for port in (server.ports.http, server.ports.grpc, server.ports.metrics):
        (address,) = (address for address in listening if address.endswith(f":{port:04X}"))
        assert address.partition(":")[0].endswith("0100007F")  # 127.0.0.1, as itself or within IPv6


def test_single_requests_are_merged_and_each_gets_its_own_answer(server: Server) -> None:
    batch = np.random.default_rng(1).random((64, 4), dtype="float32")
    merged = False
    with GrpcClient(server.grpc_url) as client:
        for _ in range(5):  # a busy machine may send each only when the one before is answered
            before = executed(client, 0)
            answers = list(client.infer_many("linear", batch, batch_size=1, max_in_flight=32))
            after = executed(client, before.inferences + 64)
            assert np.allclose(np.concatenate([answer["output"] for answer in answers]), batch @ WEIGHTS)
            assert after.inferences - before.inferences == 64
            merged = merged or after.executions - before.executions < 64
    assert merged


def executed(client: GrpcClient, inferences: int) -> Statistics:
    """Return what `linear` has done, when at least so much is counted: Triton counts after it has answered."""
    deadline = time.monotonic() + PATIENCE
    while (found := client.statistics("linear")[0]).inferences < inferences:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_only_requested_outputs_are_answered(server: Server) -> None:
    pair = {"left": np.ones((1, 2), "float32"), "right": np.ones((1, 2), "float32")}
    for client in (GrpcClient(server.grpc_url), HttpClient(server.http_url)):
        with client:
            assert set(client.infer("join", pair, outputs=["difference"])) == {"difference"}


def test_an_error_is_answered_to_the_request_that_made_it(server: Server) -> None:
    with GrpcClient(server.grpc_url) as client:
        with pytest.raises(ServerRefused):
            client.infer("fill", np.array([-1], "int64"))
        assert client.infer("fill", np.array([3], "int64"))["filled"].tolist() == [1, 1, 1]


def test_nothing_is_left_of_a_server_that_was_used(repository: Path) -> None:
    before = environment_folders()
    with running_server(repository, control="explicit", models=["linear"]) as running:
        assert ask(running)
        assert left_behind(running)
    assert not left_behind(running)
    assert_gone_since(before)


def test_nothing_is_left_if_the_block_fails(repository: Path) -> None:
    with pytest.raises(ZeroDivisionError), running_server(repository, control="explicit") as running:
        raise ZeroDivisionError
    assert not left_behind(running)


def serve(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", "--quiet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )


def started(process: "subprocess.Popen[str]") -> dict[str, str]:
    assert process.stdout is not None
    document: dict[str, str] = json.loads(process.stdout.readline())
    return document


def gone(pid: int, log: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        alive = Path(f"/proc/{pid}").exists() or list(Path("/dev/shm").glob(f"*{log.stem}*"))
        if not alive and not (runtime.runs_folder() / log.stem).exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_server_does_not_outlive_the_command_that_started_it(number: signal.Signals, repository: Path) -> None:
    before = environment_folders()
    with serve("--repository", str(repository), "--model", "linear", "--json") as process:
        document = started(process)
        process.send_signal(number)
        code = process.wait(PATIENCE)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert gone(int(document["pid"]), Path(document["log"]))
    assert_gone_since(before)


def test_serve_reports_that_its_server_died(repository: Path) -> None:
    before = environment_folders()
    with serve("--repository", str(repository), "--model", "linear", "--json") as process:
        document = started(process)
        os.kill(int(document["pid"]), signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    assert err.startswith("error: Triton was killed by signal 9")
    assert gone(int(document["pid"]), Path(document["log"]))
    assert_gone_since(before)


def test_a_port_in_use_is_named(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = f"can't listen on port {port}: address already in use"
        with pytest.raises(ServerError, match=said), running_server(repository, grpc_port=port):
            pass


def test_a_chosen_port_is_the_one_used(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_server(repository, control="explicit", http_port=port) as running:
        assert running.http_url == f"http://127.0.0.1:{port}"


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a cache of one's own, with a link to Triton."""
    triton = runtime.ensure(Progress())
    folder.mkdir(parents=True)
    (folder / triton.folder.name).symlink_to(triton.folder)
    monkeypatch.setenv("MODELREPO_CACHE", str(folder))


def break_model(repository: Path, name: str, config: str) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)


TENSORS = 'input { name: "a" data_type: TYPE_FP32 dims: [1] }\noutput { name: "b" data_type: TYPE_FP32 dims: [1] }\n'


def test_what_triton_will_refuse_is_told_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "started", None)
    break_model(tmp_path, "mistyped", 'backend: "onnxruntime"\nmax_batchsize: 4\n')
    break_model(tmp_path, "missing", f'backend: "onnxruntime"\n{TENSORS}')
    with pytest.raises(RepositoryError) as caught, running_server(tmp_path):
        pass
    assert caught.value.message.startswith(f"can't serve {tmp_path}: missing/1: VDIR-EMPTY: Triton refuses the model")
    assert caught.value.hint.endswith(f"; `modelrepo check {tmp_path}` shows all 2 errors")
    with (
        pytest.raises(RepositoryError, match=r'mistyped/config\.pbtxt:2:1: PARSE: .*named "max_batchsize"'),
        running_server(tmp_path, control="explicit", models=["mistyped"]),
    ):
        pass


def test_a_model_that_needs_what_this_machine_lacks_is_named_with_the_servers_reason(tmp_path: Path) -> None:
    break_model(tmp_path, "elsewhere", f'backend: "fil"\n{TENSORS}')
    with (
        pytest.raises(ServerError, match="can't load elsewhere: this server has no backend called fil"),
        running_server(tmp_path),
    ):
        pass


def test_the_broken_models_need_not_keep_the_others_from_being_served(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "linear").symlink_to(repository / "linear")
    break_model(tmp_path, "missing", 'backend: "onnxruntime"\n')
    with running_server(tmp_path, keep_going=True) as running:
        assert ask(running)
        assert {state.name for state in running.models() if state.failed} == {"missing"}


@pytest.mark.parametrize("name", ["with a space", "mit-ä", "a:b", "$(touch made)"])
def test_the_repository_and_the_cache_may_be_anywhere(
    name: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cache(tmp_path / name / "cache", monkeypatch)
    (tmp_path / name / "models").symlink_to(repository)
    monkeypatch.chdir(tmp_path)
    with running_server(tmp_path / name / "models", control="explicit", models=["linear"]) as running:
        assert ask(running)
    assert not left_behind(running)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["a b", "a$(touch made)", "ä", "a;b"])
def test_a_name_that_a_shell_would_interpret_is_refused(name: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(repository / "linear")
    with pytest.raises(RepositoryError, match="a shell interpret"), running_server(tmp_path, control="explicit"):
        pass


def test_a_file_name_that_a_shell_would_interpret_is_refused(tmp_path: Path) -> None:
    break_model(tmp_path, "linear", 'backend: "onnxruntime"\ndefault_model_filename: "$(touch made)"\n')
    with pytest.raises(RepositoryError, match="touch made"), running_server(tmp_path, control="explicit"):
        pass


def test_a_model_without_a_version_is_named(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "linear").symlink_to(repository / "linear")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/config.pbtxt").write_text(
        (repository / "fill/config.pbtxt").read_text().replace("fill", "empty")
    )
    said = "empty: VDIR-NONE: .*at least one version"
    with pytest.raises(RepositoryError, match=said), running_server(tmp_path):
        pass


def test_without_a_repository_there_is_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="there is no model repository"), running_server(tmp_path / "none"):
        pass


def test_a_model_that_is_not_there_is_named(repository: Path) -> None:
    said = r"has no model 'linaer'\. Did you mean linear"
    asked = running_server(repository, control="explicit", models=["linear", "linaer"])
    with pytest.raises(ServerError, match=said), asked:
        pass


def test_an_overlay_is_for_the_local_server(repository: Path) -> None:
    with pytest.raises(OptionError), running_server(repository, runtime="docker", cpu_overlay=True):
        pass


def test_a_model_that_was_repaired_did_not_fail(repository: Path, tmp_path: Path) -> None:
    break_model(tmp_path, "linear", 'backend: "onnxruntime"\nmax_batchsize: 4\n')
    with running_server(tmp_path, control="explicit", auto_complete=False) as running:
        with pytest.raises(ServerError, match="max_batchsize"):
            running.load("linear")
        shutil.rmtree(tmp_path / "linear")
        shutil.copytree(repository / "linear", tmp_path / "linear")
        running.load("linear")
        assert ask(running)
        running.unload("linear")
        assert not [state for state in running.models() if state.failed]


def test_files_of_a_killed_guardian_are_removed_by_the_next_server(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment_folders()
    use_cache(tmp_path / "cache", monkeypatch)  # or the next server could be another test's
    with running_server(repository, control="explicit", models=["linear"]) as running:
        assert ask(running)
        guardian, log = running.guardian.pid, running.log
        helpers = psutil.Process(running.pid).children(recursive=True)
        os.kill(guardian, signal.SIGKILL)
        running.guardian.wait()
        os.kill(running.pid, signal.SIGKILL)
        for helper in helpers:  # the guardian would have ended them
            with contextlib.suppress(psutil.NoSuchProcess):
                helper.kill()
        folder = runtime.runs_folder() / run_name(log)
        assert folder.exists()
        with running_server(repository, control="explicit"):
            assert not folder.exists()
            assert not list(Path("/dev/shm").glob(f"*{run_name(log)}*"))
            assert_gone_since(before)


def test_models_are_loaded_and_unloaded_on_request(repository: Path) -> None:
    with running_server(repository, control="explicit") as running:
        running.load("linear")
        assert ask(running)
        running.unload("linear")
        with pytest.raises(ServerError, match="can't load nothing"):
            running.load("nothing")


def test_newly_published_models_are_served_in_poll_mode(repository: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, control="poll", poll_seconds=1, auto_complete=False) as running:
        (tmp_path / "linear").symlink_to(repository / "linear")
        deadline = time.monotonic() + PATIENCE
        while not any(state.state == "READY" for state in running.models()):
            assert time.monotonic() < deadline, running.log_text()
            time.sleep(0.1)
        assert ask(running)


def test_serve_tells_what_happens_afterwards(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "linear", tmp_path / "linear")
    config = tmp_path / "linear/config.pbtxt"
    right = config.read_text()
    polling = ("--control", "poll", "--poll-seconds", "1", "--json")
    with serve("--repository", str(tmp_path), *polling) as process:
        started(process)
        shutil.copytree(tmp_path / "linear/1", tmp_path / "2")
        (tmp_path / "2").rename(tmp_path / "linear/2")
        served = told(process)
        assert (served["event"], served["model"], served["versions"]) == ("served", "linear", ["2"])
        assert served["message"] == "linear version 2 is served, in place of version 1"
        config.write_text(right.replace("max_batch_size: 8", "max_batch_size: sixteen"))
        refused = told(process)
        assert refused["message"].startswith("linear is refused, and version 2 is still served: line 3 of config.pbtxt")
        assert refused["reason"].endswith("3:17: Expected integer, got: sixteen")
        config.write_text(right)
        assert told(process)["message"] == "linear is accepted again, and version 2 is served"
        shutil.rmtree(tmp_path / "linear")
        assert told(process)["message"] == "linear version 2 is no longer served"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    document: dict[str, Any] = json.loads(process.stdout.readline())
    return document


def test_serve_goes_on_when_nobody_reads_what_it_tells(repository: Path, tmp_path: Path) -> None:
    polling = ("--control", "poll", "--poll-seconds", "1", "--json")
    with serve("--repository", str(tmp_path), *polling) as process:
        url = started(process)["http"]
        assert process.stdout is not None
        process.stdout.close()
        for name in ("linear", "fill"):
            (tmp_path / name).symlink_to(repository / name)
            with HttpClient(url) as client:
                deadline = time.monotonic() + PATIENCE
                while name not in {row.name for row in client.index() if row.state == "READY"}:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_an_ensemble_that_is_refused_is_named_with_the_reason(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "linear").symlink_to(repository / "linear")
    (tmp_path / "both/1").mkdir(parents=True)
    given = 'input { name: "input" data_type: TYPE_FP32 dims: [4] }\n'
    tensors = f'{given}output {{ name: "out" data_type: TYPE_FP32 dims: [3] }}\n'
    step = (
        'model_name: "nothere" model_version: -1 input_map { key: "input" value: "input" } '
        'output_map { key: "output" value: "out" }'
    )
    (tmp_path / "both/config.pbtxt").write_text(
        f'platform: "ensemble"\nmax_batch_size: 1\n{tensors}ensemble_scheduling {{ step {{ {step} }} }}\n'
    )
    said = r"both/config\.pbtxt:5:30: ENS-MODEL: .*not available or ambiguous: nothere"
    with pytest.raises(RepositoryError, match=said), running_server(tmp_path):
        pass


def test_fields_missing_in_a_configuration_are_filled_in_as_in_the_container(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "linear").mkdir()
    (tmp_path / "linear/1").symlink_to(repository / "linear/1")
    (tmp_path / "linear/config.pbtxt").write_text('backend: "onnxruntime"\n')
    with running_server(tmp_path) as running:
        config = running.config("linear")
        assert config["max_batch_size"] == 4
        assert [(tensor["name"], tensor["dims"]) for tensor in config["input"]] == [("input", [4])]
        assert ask(running)


def test_a_model_for_a_gpu_is_served_without_one_on_request(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "linear").mkdir()
    for name in ("1", "labels.txt"):
        (tmp_path / "linear" / name).symlink_to(repository / "linear" / name)
    text = (repository / "linear/config.pbtxt").read_text().replace("KIND_CPU", "KIND_GPU")
    accelerators = 'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }\n'
    (tmp_path / "linear/config.pbtxt").write_text(text + accelerators)
    with pytest.raises(RepositoryError, match="--cpu-overlay serves it here"), running_server(tmp_path):
        pass
    with running_server(tmp_path, cpu_overlay=True) as running:
        assert running.notes == (
            "linear: instance group KIND_GPU is served as KIND_CPU",
            "linear: accelerator tensorrt is left out",
        )
        assert ask(running)
    assert "KIND_GPU" in (tmp_path / "linear/config.pbtxt").read_text()


def test_two_servers_run_side_by_side_and_leave_nothing(repository: Path) -> None:
    before = environment_folders()
    servers: list[Server] = []

    def one() -> None:
        with running_server(repository, control="explicit", models=["linear"]) as running:
            assert ask(running)
            servers.append(running)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(servers) == 2
    assert servers[0].ports != servers[1].ports
    assert not [item for running in servers for item in left_behind(running)]
    assert_gone_since(before)
