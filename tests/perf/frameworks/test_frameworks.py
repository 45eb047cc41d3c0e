"""The speed-up of conversion: a model in its source framework, in ONNX Runtime, and served."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from modelrepo.generator.errors import PerfError, SourceError
from modelrepo.generator.progress import Listener, Progress
from modelrepo.generator.repository.lifecycle.rebuilt import rebuilt
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.tensors import Signature
from modelrepo.perf.frameworks.turns import SERVED, Served, measure
from modelrepo.perf.frameworks.worker import ModelCall, Refused, timed, worker
from modelrepo.perf.measuring.input_data import random_rows
from modelrepo.perf.measuring.session import manifest_of
from modelrepo.perf.results.results import ClientTime, Figures, InProcess, Latency, ServerTime
from tests import onnx_files
from tests.conftest import PROJECT, Generate

REPOSITORY = Path("model_repository")
ARRAYS = {"input": np.ones((1, 4), "float32")}


class Warnings(Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def warned(self, message: str) -> None:
        self.messages.append(message)


def fake_server(model: str, batch_size: int) -> tuple[Figures, int | None]:
    latency = Latency(2000.0, 1900.0, 2100.0, 2200.0, 2300.0)
    return Figures(batch_size * 500.0, latency, ServerTime(0, 0, 0, 0), ClientTime(0, 0, 0), 50), 300 << 20


def rows_of(
    *models: str, batches: tuple[int, ...] = (1,), rounds: int = 2, served: Served = fake_server, listener: Any = None
) -> tuple[InProcess, ...]:
    progress = Progress(listener)
    asked = {model: samples_of(model) for model in models}
    return tuple(
        measure(asked, REPOSITORY, batch_sizes=batches, seconds=0.02, rounds=rounds, served=served, progress=progress)
    )


def samples_of(model: str) -> list[dict[str, Any]]:
    """Return the samples for a model; none for an unknown one, which is refused before."""
    known = manifest_of(REPOSITORY, model)
    if known is None:
        return []
    wanted = Signature(known.provenance.source.inputs, ())
    return random_rows(wanted, known.max_batch_size > 0, 4, {}, seed=0)


# Openers of models that the worker imports by these names.


def opens_nothing() -> tuple[str, ModelCall]:
    raise SourceError("no such weights", "Get some")


def dies_at_once() -> tuple[str, ModelCall]:
    print("out of luck", file=sys.stderr, flush=True)
    os._exit(3)


def is_killed_when_called() -> tuple[str, ModelCall]:
    return "deadly 1", lambda arrays: os.kill(os.getpid(), signal.SIGKILL)


def wants_two_rows() -> tuple[str, ModelCall]:
    return "choosy 1", lambda arrays: arrays["input"].reshape(2, 4)


def never_answers() -> tuple[str, ModelCall]:
    return "slow 1", lambda arrays: time.sleep(3600)


def prints() -> tuple[str, ModelCall]:
    return "chatty 1", lambda arrays: print("here I am")


def test_every_way_is_measured_at_every_batch_size(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear")
    # Of two rounds, of which one is slow, the medians of the mean and of the throughput do not belong together.
    rows = rows_of("linear", batches=(4, 1), rounds=1)
    assert [row.batch_size for row in rows] == [1, 1, 1, 4, 4, 4]
    assert [row.framework.partition(" ")[0] for row in rows] == ["numpy", "onnxruntime", "triton"] * 2
    for row in rows:
        assert row.model == "linear"
        assert 0 < row.p50 <= row.p95 <= row.p99
        assert row.throughput == pytest.approx(row.batch_size / row.mean * 1e6, rel=0.9)
        assert row.memory_bytes is not None
        assert row.memory_bytes > 10e6


def test_the_speed_up_is_over_the_source_framework(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear")
    source, _, served = rows_of("linear", rounds=3)
    assert source.speed_up is None
    assert served.speed_up is not None
    assert served.speed_up.low < served.speed_up.value < served.speed_up.high
    assert served.speed_up.value < 0.1, "2 ms for what numpy does in microseconds"


def test_one_round_gives_no_interval(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear")
    assert [row.speed_up for row in rows_of("linear", rounds=1)] == [None, None, None]


def test_an_onnx_file_is_compared_with_onnx_runtime(generate: Generate) -> None:
    onnx_files.write("relu.onnx")
    generate("--model", "onnx:relu.onnx")
    first, served = rows_of("relu")
    assert first.framework.startswith("onnxruntime ")
    assert first.framework.endswith(" (baseline)")
    assert served.framework == SERVED
    assert served.speed_up is not None


def test_larger_batches_than_triton_takes_are_measured_in_process_only(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear", "--max-batch-size", "2")
    listener = Warnings()
    rows = rows_of("linear", batches=(2, 8), listener=listener)
    assert [(row.batch_size, row.framework == SERVED) for row in rows] == [
        *((2, False), (2, False), (2, True)),
        *((8, False), (8, False)),
    ]
    assert listener.messages == ["linear is served in batches of up to 2: batch 8 is only measured here"]


def test_a_model_without_a_batch_dimension_is_measured_as_it_is(generate: Generate) -> None:
    shape = [2, 4]
    onnx_files.write("fixed.onnx", inputs=[("x", onnx_files.FLOAT, shape)], outputs=[("y", onnx_files.FLOAT, shape)])
    generate("--model", "onnx:fixed.onnx")
    listener = Warnings()
    rows = rows_of("fixed", batches=(1, 4, 8), listener=listener)
    assert {row.batch_size for row in rows} == {1}
    assert listener.messages == ["fixed has no batch dimension: it is measured as it is, and not at batch 4, 8"]


def test_a_server_that_fails_costs_its_own_rows_only(generate: Generate, numpy_models: None) -> None:
    def failing(model: str, batch_size: int) -> tuple[Figures, int | None]:
        if batch_size > 1:
            raise PerfError("the server no longer answers")
        return fake_server(model, batch_size)

    generate("--model", "numpy:linear")
    listener = Warnings()
    rows = rows_of("linear", batches=(1, 2, 4), served=failing, listener=listener)
    assert [row.batch_size for row in rows if row.framework == SERVED] == [1]
    assert len(rows) == 7
    assert listener.messages == ["linear is not measured served from batch 2 on: the server no longer answers"]


def test_a_model_that_is_not_ours_is_refused_before_anything_runs(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear")
    with pytest.raises(PerfError, match=r"theirs was not generated into .*Generate it first"):
        rows_of("linear", "theirs")
    with pytest.raises(PerfError, match=r"linear has no version 7\. There are 1"):
        rows_of("linear:7")


def test_a_published_file_that_was_changed_is_refused(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear")
    (REPOSITORY / "linear/1/model.onnx").write_bytes(b"something else")
    with pytest.raises(PerfError, match="linear version 1 is not as it was published"):
        rows_of("linear")


def test_a_model_whose_record_was_rebuilt_has_no_source_to_measure(generate: Generate, numpy_models: None) -> None:
    generate("--model", "numpy:linear")
    shutil.rmtree(REPOSITORY.parent / ".modelrepo")
    rebuilt(Repository(REPOSITORY))
    with pytest.raises(PerfError, match="the source of linear is not known: its record was rebuilt"):
        rows_of("linear")


def test_no_process_is_left_after_an_interrupt(generate: Generate, numpy_models: None) -> None:
    def interrupted(model: str, batch_size: int) -> tuple[Figures, int | None]:
        assert len(psutil.Process().children()) == before + 2
        raise KeyboardInterrupt

    generate("--model", "numpy:linear")
    before = len(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        rows_of("linear", served=interrupted)
    assert len(psutil.Process().children()) == before


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    script = (
        "from modelrepo.perf.frameworks.worker import worker\n"
        "from tests.perf.frameworks.test_frameworks import ARRAYS, never_answers\n"
        "with worker('it', never_answers) as each:\n"
        "    print(each.pid, flush=True)\n"
        "    each.time(ARRAYS, 1.0)\n"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as parent:
        assert parent.stdout
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, _ = psutil.wait_procs([process], timeout=30)
    assert gone


def test_a_worker_that_ends_is_an_error_with_its_last_line() -> None:
    with (
        pytest.raises(PerfError, match="the model: its process ended with code 3: out of luck"),
        worker("the model", dies_at_once),
    ):
        pass


def test_a_worker_that_is_killed_is_an_error_that_guesses_why() -> None:
    with worker("the model", is_killed_when_called) as each:
        with pytest.raises(PerfError, match=r"its process was killed by SIGKILL\. .*out of memory"):
            each.time(ARRAYS, 0.0)
        with pytest.raises(PerfError, match="killed by SIGKILL"):
            each.time(ARRAYS, 0.0)


def test_a_model_that_can_t_be_opened_keeps_its_own_error() -> None:
    with pytest.raises(SourceError, match=r"the model: no such weights\. Get some"), worker("the model", opens_nothing):
        pass


def test_a_model_that_refuses_one_input_may_answer_another() -> None:
    with worker("the model", wants_two_rows) as each:
        with pytest.raises(Refused, match="the model: ValueError: cannot reshape"):
            each.time(ARRAYS, 0.0)
        assert len(each.time({"input": np.ones((2, 4), "float32")}, 0.0).calls) > 0


def test_output_of_a_framework_stays_out_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    with worker("the model", prints) as each:
        each.time(ARRAYS, 0.0)
    assert capfd.readouterr() == ("", "")


def test_calls_add_up_to_the_time_that_passed() -> None:
    start = time.perf_counter()
    calls = timed(lambda arrays: time.sleep(0.002), ARRAYS, 0.1)
    assert 0.1e6 <= sum(calls) <= (time.perf_counter() - start) * 1e6
    assert min(calls) >= 2000


@pytest.mark.slow
def test_torch_runs_with_the_weights_that_were_published(generate: Generate) -> None:
    generate("--model", "squeezenet1_1", "--weights", "random", "--max-batch-size", "2", "--input-shape", "3x64x64")
    torch, onnxruntime, _ = rows_of("squeezenet1_1", batches=(2,))
    assert torch.framework.startswith("torch ")
    assert onnxruntime.framework.startswith("onnxruntime ")
    assert torch.memory_bytes is not None
    assert torch.memory_bytes > 100e6


@pytest.mark.slow
def test_changed_weights_are_refused(generate: Generate) -> None:
    import torch
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1().state_dict(), "own.pth")
    generate("--model", "squeezenet1_1", "--weights", "own.pth", "--input-shape", "3x64x64")
    torch.save(squeezenet1_1().state_dict(), "own.pth")
    with pytest.raises(PerfError, match=r"own\.pth.* have changed since it was published"):
        rows_of("squeezenet1_1")
    Path("own.pth").unlink()
    with pytest.raises(SourceError, match=r"own\.pth"):
        rows_of("squeezenet1_1")
