"""The blocking clients, `GrpcClient` and `HttpClient`: the same methods over different wires, for any thread."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import sleep
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack

from modelrepo.clients import calls
from modelrepo.clients.batches import IN_FLIGHT, merge, split
from modelrepo.clients.calls import Ask, Pause, Session, Step, Steps
from modelrepo.clients.drive import run
from modelrepo.clients.errors import ClientError, SettingsError
from modelrepo.clients.grpc_wire import LARGEST_MESSAGE, GrpcWire
from modelrepo.clients.http_wire import HttpWire
from modelrepo.clients.inputs import Inputs
from modelrepo.clients.models import Answered, Classes, IndexEntry, Model, Server, Statistics, Turn
from modelrepo.clients.settings import ClientOptions, Settings, make_settings, parse_url

_Result = TypeVar("_Result")


class Wire(Protocol):
    """A connection that carries calls to a server."""

    def call(self, ask: Ask) -> Any:
        """Make a call and return the content of its answer."""

    def translate(self, error: Exception) -> ClientError:
        """Return an error of the wire as a ClientError; raise it again if it is not the wire's."""

    def close(self) -> None:
        """Close every connection."""


class BlockingGrpcWire(GrpcWire):
    """gRPC, waiting for every answer."""

    def call(self, ask: Ask) -> Any:
        """Make a call and return the content of its answer."""
        return self.finish(ask, self.start(ask))

    def close(self) -> None:
        """Close the channel."""
        self.client.close()


class Client:
    """A client of either protocol; use it as a context manager, or close it.

    Every method takes a ``deadline``: the seconds for the whole call, retries included. The default is the client's
    (60 s unless set). It is sent as gRPC's deadline and as the request's timeout, which a dynamic batcher obeys if its
    queue policy allows it. Every method raises subclasses of ClientError, see ``errors``.
    """

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self._session = Session(settings)
        self._wire = wire
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; later calls raise SettingsError."""
        if self._session.left_registered and not self._closed:
            self._run(calls.give_back(self._session))
        self._closed = True
        self._wire.close()

    def is_live(self, deadline: float | None = None) -> bool:
        """Whether a server answers, ready or not."""
        return self._run(calls.health(self._session, self._session.clock(deadline), "live"))

    def is_ready(self, model: str = "", version: str = "", deadline: float | None = None) -> bool:
        """Whether the server, or one of its models, is ready to infer; False if there is no server."""
        arguments = ("model_ready", model, version) if model else ("ready",)
        return self._run(calls.health(self._session, self._session.clock(deadline), *arguments))

    def server(self, deadline: float | None = None) -> Server:
        """Return the server's name, version and extensions."""
        return self._run(calls.server(self._session, self._session.clock(deadline)))

    def index(self, deadline: float | None = None) -> tuple[IndexEntry, ...]:
        """Return every model version that the server's repository holds, ready or not."""
        return self._run(calls.index(self._session, self._session.clock(deadline)))

    def model(self, model: str, version: str = "", deadline: float | None = None) -> Model:
        """Return a model's inputs and outputs. They are remembered until the model refuses a request."""
        return self._run(calls.model(self._session, self._session.clock(deadline), model, version))

    def config(self, model: str, version: str = "", deadline: float | None = None) -> Mapping[str, Any]:
        """Return a model's configuration as the server completed it: the fields of Triton's ModelConfig."""
        return self._run(calls.config(self._session, self._session.clock(deadline), model, version))

    def statistics(self, model: str, version: str = "", deadline: float | None = None) -> tuple[Statistics, ...]:
        """Return the statistics since loading of each version of a model, or of the one that is named."""
        return self._run(calls.statistics(self._session, self._session.clock(deadline), model, version))

    def load(self, model: str, config: Mapping[str, Any] | None = None, deadline: float | None = None) -> None:
        """Load a model, or what has changed of it, and wait until it is ready; ServerRefused has the server's reason.

        A model that has not changed since it was loaded stays as it is. ``config`` is a ModelConfig to load it with in
        place of its config.pbtxt. It stays in force until that file changes. The server must be in explicit mode.
        """
        self._run(calls.load(self._session, self._session.clock(deadline), model, config))

    def unload(self, model: str, deadline: float | None = None) -> None:
        """Ask the server to unload a model, in explicit mode. It answers at once: ``index`` tells when it is done."""
        self._run(calls.unload(self._session, self._session.clock(deadline), model))

    def unregister_shared_memory(self, name: str) -> None:
        """Unregister a shared-memory region that was left behind; no error if there is none."""
        self._run(calls.unregister(name))

    def infer(
        self,
        model: str,
        inputs: Inputs,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
        shared_memory: bool = False,
        turn: Turn | None = None,
    ) -> Answered:
        """Run a model, and return its outputs by name: all, or those named.

        ``inputs`` is a mapping by name, a list or tuple with one entry an input, or for a single input the array;
        shapes include the batch dimension. Values are cast if they stay the same (see ``inputs``). BYTES takes str and
        bytes and answers bytes. Outputs are read-only views of the answer if the protocol allows it. With
        ``shared_memory`` tensors pass through a region of /dev/shm instead of the connection; the server must run on
        this machine. ``turn`` makes the request a step of a sequence; shared memory has no steps.
        """
        clock = self._session.clock(deadline)
        return self._run(calls.infer(self._session, clock, model, inputs, outputs, version, shared_memory, turn))

    def classify(
        self,
        model: str,
        inputs: Inputs,
        top: int = 5,
        output: str | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> Classes:
        """Ask a classifier for the ``top`` classes of every sample, best first; scores are the model's raw output.

        ``output`` names the output with a value for each class, if the model has several outputs.
        """
        clock = self._session.clock(deadline)
        return self._run(calls.classify(self._session, clock, model, inputs, top, output, version))

    def infer_many(
        self,
        model: str,
        inputs: Inputs,
        batch_size: int | None = None,
        max_in_flight: int = IN_FLIGHT,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> Iterator[Answered]:
        """Run a model on any number of samples, and yield one answer a request, in the order of the samples.

        Every input has a leading axis of samples, which is split into requests of ``batch_size`` (default: the model's
        largest). A model that does not batch gets one sample a request, without that axis. At most ``max_in_flight``
        requests and answers exist at once. ``deadline`` is for each request. An array may be a ``numpy.memmap``.
        """
        requests = split(self.model(model, version, deadline), inputs, batch_size, max_in_flight)
        return self.infer_each(model, requests, max_in_flight, outputs, version, deadline)

    def infer_each(
        self,
        model: str,
        requests: Iterable[Inputs],
        max_in_flight: int = IN_FLIGHT,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> Iterator[Answered]:
        """Run a model on each request, with some in flight, and yield the answers in the order of the requests.

        A request is taken from ``requests`` when it is sent. ``deadline`` is for each request.
        """

        def one(inputs: Inputs) -> Answered:
            return self.infer(model, inputs, outputs, version, deadline)

        return _in_order(one, iter(requests), max_in_flight)

    def infer_all(
        self,
        model: str,
        inputs: Inputs,
        batch_size: int | None = None,
        max_in_flight: int = IN_FLIGHT,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> Answered:
        """Ask as ``infer_many`` does, and return one answer: each output with all samples."""
        answers = self.infer_many(model, inputs, batch_size, max_in_flight, outputs, version, deadline)
        return merge(self.model(model, version, deadline), answers)

    def _run(self, steps: Steps[_Result]) -> _Result:
        return run(steps, self._perform)

    def _perform(self, step: Step) -> Any:
        if self._closed:
            raise SettingsError("the client is closed", "Make a new one")
        if isinstance(step, Pause):
            return sleep(step.seconds)
        try:
            return self._wire.call(step)
        except Exception as error:
            raise self._wire.translate(error) from error


def _in_order(one: Any, requests: Iterator[Inputs], max_in_flight: int) -> Iterator[Answered]:
    """Yield the answers in the order of the requests, with the next requests in flight.

    After an interrupt, the requests in flight are not waited for.
    """
    pool = ThreadPoolExecutor(max_in_flight)
    waiting: deque[Future[Answered]] = deque()
    interrupted = False
    try:
        for request in requests:
            if len(waiting) == max_in_flight:
                yield waiting.popleft().result()
            waiting.append(pool.submit(one, request))
        while waiting:
            yield waiting.popleft().result()
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        pool.shutdown(wait=not interrupted, cancel_futures=True)


class GrpcClient(Client):
    """A client over gRPC: ``GrpcClient("grpc://127.0.0.1:8001")``; with ``grpcs://`` over TLS.

    ``max_message_bytes`` limits a request and an answer; the default is protobuf's limit, 2 GB.
    """

    def __init__(self, url: str, *, max_message_bytes: int = LARGEST_MESSAGE, **options: Unpack[ClientOptions]) -> None:
        """Connect at the first call; SettingsError for what can't be used. See ``settings.ClientOptions``."""
        settings = make_settings(url, "grpc", **options)
        super().__init__(settings, BlockingGrpcWire(settings, max_message_bytes))


class HttpClient(Client):
    """A client over HTTP: ``HttpClient("http://127.0.0.1:8000")``; with ``https://`` over TLS."""

    def __init__(self, url: str, **options: Unpack[ClientOptions]) -> None:
        """Connect at the first call; SettingsError for what can't be used. See ``settings.ClientOptions``."""
        settings = make_settings(url, "http", **options)
        super().__init__(settings, HttpWire(settings))


def connect(url: str, **options: Unpack[ClientOptions]) -> Client:
    """Return a client for the URL's scheme; see ``settings.ClientOptions``."""
    return GrpcClient(url, **options) if parse_url(url).protocol == "grpc" else HttpClient(url, **options)
