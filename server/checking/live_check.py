"""The live check: a real Triton loads a staged model and answers over both protocols, before it is published."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from modelrepo.clients import Client, GrpcClient, HttpClient
from modelrepo.clients.errors import ClientError
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.errors import RepositoryError, ServerError, VerificationError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import smoke
from modelrepo.generator.repository.lifecycle.predicted import disagreement
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.ensembles import Called
from modelrepo.generator.specs.findings import Live, Verification
from modelrepo.generator.specs.options import Options
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.probing import Probe
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.sequences import asked
from modelrepo.generator.verification.verify import Run, verify
from modelrepo.server import running_server
from modelrepo.server.binaries import runtime
from modelrepo.server.checking import sequences, served
from modelrepo.server.running import local, overlay
from modelrepo.server.running.handle import Server

Mode = Literal["auto", "require"]
# The largest batch asked over HTTP. gRPC is asked for all sizes, and both carry the same numbers.
HTTP_BATCH = 2
# The hint for a user whose model and configuration are right.
INTENDED = "If this is intended, skip the check with --live-check off"
# Rows of each kind of input asked over HTTP, and of the user's samples asked in single requests.
FEW_ROWS = 7
# Single requests in flight for the dynamic batcher to merge.
IN_FLIGHT = 16
# Queue delays for a model that answers too quickly for requests to gather: 50 ms, then 1 s for a machine that is too
# busy to send two requests within the first.
MERGING_MICROSECONDS = (50_000, 1_000_000)
NOT_MERGED = (
    f"merged requests were not seen: this machine sent {IN_FLIGHT} so far apart that the dynamic batcher merged none"
)
DEADLINE_SECONDS = 300.0
# What takes the place of a backend in what is said of ensembles.
ENSEMBLE = "ensemble"


class LiveCheck:
    """A gate for the pipeline, with one server for all models of a run; use it as a context manager.

    With ``auto``, models that can't be checked on this machine are skipped with a reason; with ``require`` that is an
    error. The server starts when the first model has to pass, or earlier if nothing has to be downloaded.
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
                self._starting.exception()  # wait: a server that is still starting is stopped once it runs

    def expect(self, backend: Backend, options: Options) -> None:
        """Start the server in the background, if the model can be checked and Triton is here already."""
        if not self._starting and not _impossible(backend, options) and runtime.installed():
            starter = ThreadPoolExecutor(1, "live check")
            self._starting = starter.submit(self._start, Progress())
            starter.shutdown(wait=False)

    def check(self, staged: StagedModel, proven: Proven, options: Options) -> Live:
        """Serve a staged model and compare its answers with the source's.

        Raises VerificationError if Triton refuses the model, configures it differently or answers wrongly. Raises
        ServerError if the check is required and there is no server, or if the server dies.
        """
        unrunnable = f"ONNX Runtime on a CPU lacks {proven.optimization.precision} operators" if proven.twin else ""
        reason = (
            _impossible(BACKENDS[staged.backend], options) or unrunnable or _unaskable(staged) or self._unavailable()
        )
        return self._asked(staged, reason, lambda server: _checked(server, staged, proven, options))

    def check_ensemble(
        self,
        staged: StagedModel,
        proven: Proven,
        options: Options,
        called: Sequence[Called],
        fault: Callable[[Client], str],
    ) -> Live:
        """Serve a staged ensemble with the models that it calls, and compare its answers; errors as of ``check``.

        ``called`` is in an order in which each needs only earlier ones. An error begins with the step that ``fault``
        finds.
        """
        backends = {*local.served_backends(), ENSEMBLE}
        lacking = next((each for each in called if each.backend not in backends), None)
        reason = f"the local server has no {lacking.backend} backend, which {lacking.name} needs" if lacking else ""
        reason = reason or runtime.unsupported() or self._unavailable()
        return self._asked(
            staged, reason, lambda server: _checked_whole(server, staged, proven, options, called, fault)
        )

    def _asked(self, staged: StagedModel, reason: str, ask: Callable[[Server], Live]) -> Live:
        if reason:
            if self.mode == "require":
                raise ServerError(f"no live check of {staged.name}: {reason}", "Leave out --live-check require")
            return Live("skipped", reason)
        server = self._server()
        with self.progress.step("live", f"asking {staged.name} in {server.description}") as step:
            try:
                found = ask(server)
            except (ClientError, VerificationError, ServerError, OSError) as error:
                if not server.alive:
                    died = f"Triton died while it served {staged.name}"
                    raise ServerError(died, f"Its log is {server.log}") from error
                if isinstance(error, OSError):
                    raise
                said = f"served by {server.description}, {staged.name}: {error.message}"
                raise VerificationError(said, error.hint or INTENDED) from error
            step.outcome = _summary(found, "gRPC, in sequences" if _in_sequences(staged.preview) else "gRPC and HTTP")
        return found

    def ask_again(self, repository: Repository, name: str) -> Live:
        """Serve a published model as it stands, with a configuration that was edited, and ask its golden requests.

        Errors are those of ``check``.
        """
        manifest = smoke.published(repository, name)
        if manifest.backend not in BACKENDS:
            return Live("skipped", f"a configuration of {manifest.backend} that was edited is not asked again")
        backend = BACKENDS[manifest.backend].triton_name
        lacking = "" if backend in local.served_backends() else f"the local server has no {backend} backend"
        reason = lacking or runtime.unsupported() or self._unavailable()
        if reason:
            if self.mode == "require":
                raise ServerError(f"no live check of {name}: {reason}", "Leave out --live-check require")
            return Live("skipped", reason)
        server = self._server()
        with self.progress.step("live", f"asking {name} as it was edited in {server.description}") as step:
            text, changes = overlay.overlaid(repository.config_text(name) or "", f"the configuration of {name}")
            try:
                with _linked(server, name, repository.root / name, text), GrpcClient(server.grpc_url) as client:
                    found = smoke.smoke(client, repository, name)
            except (ClientError, OSError, ServerError) as error:
                raise VerificationError(f"served by {server.description}, {name} as it was edited: {error}") from error
            if found.failure and found.exit_code == RepositoryError.exit_code:
                return Live("skipped", found.failure)
            if found.failure:
                said = f"served by {server.description}, {name} as it was edited: {found.failure}"
                raise VerificationError(said, found.hint or "Take the edit of config.pbtxt back")
            if found.unasked:
                return Live("skipped", found.unasked)
            step.outcome = f"{found.cases} golden cases"
        notes = (*found.notes, *(f"checked on the CPU: {change}" for change in changes))
        return Live("passed", server.description, cases=found.cases, max_rel_diff=None, notes=notes)

    def _unavailable(self) -> str:
        """Return why there is no server if the check may be skipped, or an empty text; it is started once."""
        if self.mode == "auto" and not self._reason:
            try:
                self._server()
            except ServerError as error:
                self._reason = str(error)
        return self._reason

    def _server(self) -> Server:
        """Return the run's server, or a new one if a model killed it."""
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


def _impossible(backend: Backend, options: Options) -> str:
    """Return why a model can't be checked on this machine, or an empty text."""
    if not options.verify:
        return "its answers are not known (--no-verify)"
    if backend.triton_name not in local.served_backends():
        return f"the local server has no {backend.triton_name} backend"
    return runtime.unsupported() or ""


def _unaskable(staged: StagedModel) -> str:
    """Return why a model's configuration can't be served here, or an empty text."""
    config = pbtxt.parse(staged.preview, f"the configuration of {staged.name}")
    if config.batch_input or config.batch_output or any(tensor.allow_ragged_batch for tensor in config.input):
        return "the local server has no ragged batching"
    return sequences.unservable(config)


def _checked(server: Server, staged: StagedModel, proven: Proven, options: Options) -> Live:
    published, changes = overlay.overlaid(staged.preview, f"the configuration of {staged.name}")
    text = published if _serves_alone(published, staged.version) else pbtxt.with_version(published, staged.version)
    text = sequences.patient(text) if _in_sequences(text) else text
    with (
        _loaded(server, staged, text),
        GrpcClient(server.grpc_url, deadline=DEADLINE_SECONDS) as grpc,
        HttpClient(server.http_url, deadline=DEADLINE_SECONDS) as http,
    ):
        difference = disagreement(text, server.config(staged.name))
        if difference:
            raise VerificationError(f"Triton understands its configuration differently: {difference}")
        comparison = ServedComparison(staged, proven, options)
        if _in_sequences(text):
            comparison.sequences(server.grpc_url, text)
        else:
            comparison.batches(grpc, http)
        merges = pbtxt.merges_requests(text)
        merged = _merged(server, text, comparison, grpc) if merges else None
        if _is_ensemble(text) and comparison.largest > 1:
            comparison.singles(grpc)  # the models that it calls merge them
        if not _serves_alone(published, staged.version):
            _load_with_others(server, staged, published)
    return Live(
        "passed",
        server.description,
        cases=sum(found.cases for found in comparison.found),
        max_rel_diff=max(
            (found.max_rel_diff for found in comparison.found if found.max_rel_diff is not None), default=None
        ),
        largest_merged_batch=merged,
        notes=(
            *(f"checked on the CPU: {change}" for change in changes),
            *([NOT_MERGED] if merges and merged is None else []),
        ),
    )


def _checked_whole(
    server: Server,
    staged: StagedModel,
    proven: Proven,
    options: Options,
    called: Sequence[Called],
    fault: Callable[[Client], str],
) -> Live:
    """Check an ensemble as any model, with the models that it calls loaded before it."""
    with ExitStack() as loaded, GrpcClient(server.grpc_url, deadline=DEADLINE_SECONDS) as client:
        notes: list[str] = []
        for each in called:
            text, changes = overlay.overlaid(each.config, f"the configuration of {each.name}")
            notes += [f"{each.name} is checked on the CPU: {change}" for change in changes]
            loaded.enter_context(_linked(server, each.name, each.folder, text))
        try:
            found = _checked(server, staged, proven, options)
        except (ClientError, VerificationError) as error:
            where = fault(client) if server.alive else ""
            raise VerificationError(f"{where}; {error.message}" if where else error.message, error.hint) from error
    return replace(found, notes=(*found.notes, *notes))


def _loaded(server: Server, staged: StagedModel, config: str) -> AbstractContextManager[None]:
    return _linked(server, staged.name, staged.folder, config)


@contextmanager
def _linked(server: Server, name: str, model: Path, config: str) -> Iterator[None]:
    """Link a model into the server's own repository, and keep it loaded for the time of the block.

    Unloading belongs to the check: a model that crashes a server on its way out is not published either.
    """
    folder = server.repository / name
    folder.mkdir()
    try:
        for entry in model.iterdir():
            if entry.name != CONFIG:
                (folder / entry.name).symlink_to(entry)
        (folder / CONFIG).write_text(config, "utf-8")
        server.load(name)
        try:
            yield
        finally:
            if server.alive:
                server.unload(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serves_alone(text: str, version: int) -> bool:
    """Whether a configuration serves this version, the newest, and no other, whatever older ones there are."""
    policy = pbtxt.parse(text, "the configuration").version_policy
    if policy.HasField("specific"):
        return list(policy.specific.versions) == [version]
    return not policy.ListFields() or policy.latest.num_versions == 1


def _load_with_others(server: Server, staged: StagedModel, text: str) -> None:
    """Load the versions that a configuration serves, of which others than the staged one were proven before."""
    folder = server.repository / staged.name
    for version, path in staged.older.items():
        if not (folder / str(version)).exists():
            (folder / str(version)).symlink_to(path)
    (folder / CONFIG).write_text(text, "utf-8")
    server.load(staged.name)


def _merged(server: Server, text: str, comparison: "ServedComparison", client: Client) -> int | None:
    """Send concurrent single requests, and return the largest batch that the dynamic batcher made of them.

    If the model answers so quickly that no requests queue up, it is loaded again with a queue delay and asked once
    more; with a longer delay if that was not enough. None if none were merged even then: how far apart requests arrive
    is up to the machine, and every answer was right.
    """
    largest = comparison.singles(client)
    for microseconds in MERGING_MICROSECONDS:
        if largest > 1:
            break
        name = comparison.name
        (server.repository / name / CONFIG).write_text(pbtxt.with_queue_delay(text, microseconds), "utf-8")
        server.load(name)
        comparison.adapter.answered = 0  # Triton counts from the start
        largest = comparison.singles(client)
    return largest if largest > 1 else None


class Askable:
    """Notes the generated inputs that were compared: those that the source answers. It makes no probes."""

    def __init__(self, samples: Sequence[Pool]) -> None:
        self._samples = {id(pool) for pool in samples}
        self.generated: list[Pool] = []

    def probes(self, batch: int) -> Iterator[Probe]:
        """Yield nothing."""
        return iter(())

    def took(self, pool: Pool) -> None:
        """Note the rows of a pool, unless they are the user's."""
        if id(pool) not in self._samples:
            self.generated.append(pool)

    def answered(self, probe: Probe, rows: Sequence[int]) -> None:
        """Ignore the rows of a probe."""


class ServedComparison:
    """Asks one served model and compares its answers with the source's; ``found`` collects the results.

    What is asked first, over gRPC, shows which inputs the source answers; only those are asked in other ways.
    """

    def __init__(self, staged: StagedModel, proven: Proven, options: Options) -> None:
        self.name, self.options, self.source = staged.name, options, proven.reference.recall
        self.signature, self.largest = proven.export.signature, staged.config.max_batch_size
        self.precision, self.ranges = proven.precision, proven.ranges
        # Without batching a client's request is executed as it was sent, and judged so: its rows may share a choice.
        self.mixing = () if self.largest else tuple(spec.name for spec in self.signature.outputs)
        self.samples = proven.samples.compared
        self.askable = Askable(self.samples)
        self.pools = self.samples if proven.only_samples else ()  # in place of what is generated
        self.adapter = served.Adapter(staged.name, self.signature, self.largest)
        self.found: list[Verification] = []

    def batches(self, grpc: Client, http: Client) -> None:
        """Send batches of every size and the user's samples over gRPC, and some batches of them over HTTP."""
        self._compare("gRPC", self.adapter.whole(grpc), (), self.samples, self.pools, self.askable)
        size = min(self.largest or HTTP_BATCH, HTTP_BATCH)
        self._compare(
            "HTTP", self.adapter.whole(http), (size,), _few(self.samples), _few(self.pools or self.askable.generated)
        )

    def sequences(self, grpc_url: str, text: str) -> None:
        """Send short sequences over gRPC; the source is given the controls that Triton's batcher fills in."""
        config = pbtxt.parse(text, "the configuration")
        pool = asked(config, self.signature, self.source, self.samples, self.options.seed)
        with sequences.SequenceClient(grpc_url, config, DEADLINE_SECONDS) as client:
            self._compare("gRPC, in sequences", self.adapter.whole(client), (1,), pools=(pool,))

    def singles(self, client: Client) -> int:
        """Send samples in requests of their own, many at a time; return the largest batch that was executed."""
        before = served.batches(client, self.name, self.adapter.answered)
        how, run = "gRPC, in concurrent single requests", self.adapter.single(client, IN_FLIGHT)
        self._compare(how, run, (self.largest,), _few(self.samples), self.pools or self.askable.generated)
        after = served.batches(client, self.name, self.adapter.answered)
        return max((size for size, count in after.items() if count > before.get(size, 0)), default=1)

    def _compare(
        self,
        how: str,
        run: Run,
        sizes: Sequence[int],
        samples: Sequence[Pool] = (),
        pools: Sequence[Pool] = (),
        probing: Askable | None = None,
    ) -> None:
        try:
            found = verify(
                self.source,
                run,
                self.signature,
                max_batch_size=self.largest,
                seed=self.options.seed,
                samples=samples,
                tolerance=self.options.tolerance,
                precision=self.precision,
                ranges=self.ranges,
                sizes=sizes,
                pools=pools,
                probing=probing,
                mixing=self.mixing,
            )
        except (VerificationError, ClientError) as error:
            raise VerificationError(f"asked over {how}, {error.message}", error.hint) from error
        self.found.append(found)


def _few(pools: Sequence[Pool]) -> tuple[Pool, ...]:
    return tuple(pool.only(range(min(len(pool.families), FEW_ROWS))) for pool in pools)


def _in_sequences(text: str) -> bool:
    return bool(pbtxt.parse(text, "the configuration").HasField("sequence_batching"))


def _is_ensemble(text: str) -> bool:
    return bool(pbtxt.parse(text, "the configuration").HasField("ensemble_scheduling"))


def _summary(found: Live, how: str) -> str:
    merged = f", single requests merged up to {found.largest_merged_batch}" if found.largest_merged_batch else ""
    difference = "" if found.max_rel_diff is None else f", worst difference {found.max_rel_diff:.1e}"
    return f"{found.cases} cases over {how}{difference}{merged}"
