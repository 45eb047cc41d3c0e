"""The live check: a staged model is loaded by a real Triton and asked over both protocols, before it is published."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Literal, Self

from clients import GrpcClient, HttpClient
from clients.errors import ClientError
from generator.backends import BACKENDS
from generator.errors import ServerError, VerificationError
from generator.inputs import load_samples
from generator.progress import Progress
from generator.repository import CONFIG, StagedModel
from generator.specs import Live, Options, Verification
from generator.staging import Proven
from generator.verify import Run, verify
from server import configs, local, overlay, running_server, runtime, served
from server.handle import Server

Mode = Literal["auto", "require"]
# Over HTTP the largest batch is 2: the numbers that travel are those that gRPC is asked for in full.
HTTP_BATCH = 2
# How many single requests are in flight for the dynamic batcher to merge.
IN_FLIGHT = 16
DEADLINE_SECONDS = 300.0


class LiveCheck:
    """A gate for the pipeline, and one server for all the models of a run; use it as a context manager.

    With ``auto``, what can't be checked on this machine is skipped and the reason told; with ``require`` it is an
    error. The server starts when the first model has to pass, or before that where nothing has to be downloaded.
    """

    def __init__(self, mode: Mode, progress: Progress) -> None:
        self.mode, self.progress = mode, progress
        self._open = ExitStack()
        self._starting: Future[Server] | None = None
        self._reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._open:
            if self._starting:
                self._starting.exception()  # a server that is still starting is stopped once it runs

    def expect(self, backend: str, options: Options) -> None:
        """Start the server meanwhile, where the model can be checked and Triton is here already."""
        if not self._starting and not _impossible(backend, options) and runtime.installed():
            starter = ThreadPoolExecutor(1, "live check")
            self._starting = starter.submit(self._start, Progress())
            starter.shutdown(wait=False)

    def check(self, staged: StagedModel, proven: Proven, options: Options) -> Live:
        """Serve a staged model and compare its answers with the source's.

        Raises VerificationError for a model that Triton refuses, configures differently or answers wrongly, and
        ServerError where the server can't be had though the check is required, or where it dies.
        """
        reason = _impossible(staged.backend, options) or self._unavailable()
        if reason:
            if self.mode == "require":
                raise ServerError(f"no live check of {staged.name}: {reason}", "Leave out --live-check require")
            return Live("skipped", reason)
        server = self._server()
        with self.progress.step("live", f"asking {staged.name} in {server.description}") as step:
            try:
                found = _checked(server, staged, proven, options)
            except (ClientError, VerificationError, ServerError) as error:
                if not server.alive:
                    died = f"Triton died while it served {staged.name}"
                    raise ServerError(died, f"Its log is {server.log}") from error
                said = f"served by {server.description}, {staged.name}: {error.message}"
                raise VerificationError(said, error.hint) from error
            step.outcome = _summary(found)
        return found

    def _unavailable(self) -> str:
        """Return why there is no server, where that need not be an error; it is tried once."""
        if self.mode == "auto" and not self._reason:
            try:
                self._server()
            except ServerError as error:
                self._reason = str(error)
        return self._reason

    def _server(self) -> Server:
        """Return the run's server; another one where it has died over a model."""
        if self._starting and not self._starting.exception() and not self._starting.result().alive:
            self._starting = None
        if not self._starting:
            self._starting = Future()
            try:
                self._starting.set_result(self._start(self.progress))
            except BaseException as error:
                self._starting.set_exception(error)
        return self._starting.result()

    def _start(self, progress: Progress) -> Server:
        return self._open.enter_context(
            running_server(None, runtime="local", control="explicit", auto_complete=False, progress=progress)
        )


def _impossible(backend: str, options: Options) -> str:
    """Return why a model can't be checked on this machine, or nothing where it can."""
    if not options.verify:
        return "nothing tells what it should answer (--no-verify)"
    name = BACKENDS[backend].TRITON_NAME
    if name not in local.backends():
        return f"the local server has no {name} backend"
    return runtime.unsupported() or ""


def _checked(server: Server, staged: StagedModel, proven: Proven, options: Options) -> Live:
    (version,) = (int(entry.name) for entry in staged.folder.iterdir() if entry.is_dir())
    text, changes = overlay.overlaid(staged.render(version), f"the configuration of {staged.name}")
    with _loaded(server, staged, text):
        difference = configs.disagreement(text, server.config(staged.name))
        if difference:
            raise VerificationError(f"Triton understands its configuration differently: {difference}")
        found = _asked(server, staged, proven, options)
    return replace(found, notes=tuple(f"checked on the CPU: {change}" for change in changes))


@contextmanager
def _loaded(server: Server, staged: StagedModel, config: str) -> Iterator[None]:
    """Put a staged model into the server's own repository, by links, and have it loaded for the time of the block."""
    folder = server.repository / staged.name
    folder.mkdir()
    try:
        for entry in staged.folder.iterdir():
            if entry.name != CONFIG:
                (folder / entry.name).symlink_to(entry)
        (folder / CONFIG).write_text(config, "utf-8")
        server.load(staged.name)
        try:
            yield
        finally:
            if server.alive:
                server.unload(staged.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _asked(server: Server, staged: StagedModel, proven: Proven, options: Options) -> Live:
    """Ask in batches over gRPC, in small ones over HTTP, and in single requests that the dynamic batcher may merge."""
    signature, largest = proven.export.signature, staged.max_batch_size
    samples = load_samples(options.samples, signature) if options.samples else ()
    found: list[Verification] = []

    def compare(run: Run, batch: int, protocol: str) -> None:
        try:
            found.append(
                verify(
                    proven.reference.recall,
                    run,
                    signature,
                    max_batch_size=batch,
                    seed=options.seed,
                    samples=samples if protocol == "gRPC" else (),
                    tolerance=options.tolerance,
                )
            )
        except (VerificationError, ClientError) as error:
            raise VerificationError(f"asked over {protocol}, {error.message}", error.hint) from error

    merged = 0
    with (
        GrpcClient(server.grpc_url, deadline=DEADLINE_SECONDS) as grpc,
        HttpClient(server.http_url, deadline=DEADLINE_SECONDS) as http,
    ):
        as_served = served.Adapter(staged.name, signature, largest)
        compare(as_served.whole(grpc), largest, "gRPC")
        compare(as_served.whole(http), min(largest, HTTP_BATCH), "HTTP")
        if largest > 1:
            before = served.batches(grpc, staged.name)
            compare(as_served.single(grpc, IN_FLIGHT), largest, "gRPC, in concurrent single requests")
            merged = max(
                (size for size, count in served.batches(grpc, staged.name).items() if count > before.get(size, 0))
            )
    return Live(
        "passed",
        server.description,
        cases=sum(each.cases for each in found),
        max_rel_diff=max((each.max_rel_diff for each in found if each.max_rel_diff is not None), default=None),
        largest_merged_batch=merged or None,
    )


def _summary(found: Live) -> str:
    merged = f", single requests merged up to {found.largest_merged_batch}" if found.largest_merged_batch else ""
    difference = "" if found.max_rel_diff is None else f", worst difference {found.max_rel_diff:.1e}"
    return f"{found.cases} cases over gRPC and HTTP{difference}{merged}"
