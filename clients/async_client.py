"""The client for asyncio: the calls of the blocking clients, awaited."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from modelrepo.clients import calls
from modelrepo.clients.batches import IN_FLIGHT, merge, split
from modelrepo.clients.calls import Pause, Session, Step, Steps
from modelrepo.clients.drive import run_async
from modelrepo.clients.errors import SettingsError
from modelrepo.clients.grpc_wire import LARGEST_MESSAGE, GrpcWire, channel_arguments
from modelrepo.clients.inputs import Inputs
from modelrepo.clients.models import Answered, Classes, IndexEntry, Model, Server, Statistics, Turn
from modelrepo.clients.settings import ClientOptions, make_settings

_Result = TypeVar("_Result")


class AsyncGrpcClient:
    """``GrpcClient`` for asyncio: the same methods and arguments, awaited; use it with ``async with``.

    A client belongs to the event loop of its first call.
    """

    def __init__(self, url: str, *, max_message_bytes: int = LARGEST_MESSAGE, **options: Unpack[ClientOptions]) -> None:
        """Connect at the first call; SettingsError for what can't be used. See ``settings.ClientOptions``."""
        self._settings = make_settings(url, "grpc", **options)
        channel_arguments(self._settings.address, max_message_bytes)
        self._max_message_bytes = max_message_bytes
        self._session = Session(self._settings)
        self._wire: GrpcWire | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; later calls raise SettingsError."""
        if self._session.left_registered and not self._closed:
            await self._run(calls.give_back(self._session))
        self._closed = True
        if self._wire is not None:
            await self._wire.client.close()

    async def is_live(self, deadline: float | None = None) -> bool:
        """Whether a server answers, ready or not."""
        return await self._run(calls.health(self._session, self._session.clock(deadline), "live"))

    async def is_ready(self, model: str = "", version: str = "", deadline: float | None = None) -> bool:
        """Whether the server, or one of its models, is ready to infer; False if there is no server."""
        arguments = ("model_ready", model, version) if model else ("ready",)
        return await self._run(calls.health(self._session, self._session.clock(deadline), *arguments))

    async def server(self, deadline: float | None = None) -> Server:
        """Return the server's name, version and extensions."""
        return await self._run(calls.server(self._session, self._session.clock(deadline)))

    async def index(self, deadline: float | None = None) -> tuple[IndexEntry, ...]:
        """Return every model version that the server's repository holds, ready or not."""
        return await self._run(calls.index(self._session, self._session.clock(deadline)))

    async def model(self, model: str, version: str = "", deadline: float | None = None) -> Model:
        """Return a model's inputs and outputs. They are remembered until the model refuses a request."""
        return await self._run(calls.model(self._session, self._session.clock(deadline), model, version))

    async def config(self, model: str, version: str = "", deadline: float | None = None) -> Mapping[str, Any]:
        """Return a model's configuration as the server completed it: the fields of Triton's ModelConfig."""
        return await self._run(calls.config(self._session, self._session.clock(deadline), model, version))

    async def statistics(self, model: str, version: str = "", deadline: float | None = None) -> tuple[Statistics, ...]:
        """Return the statistics since loading of each version of a model, or of the one that is named."""
        return await self._run(calls.statistics(self._session, self._session.clock(deadline), model, version))

    async def load(self, model: str, config: Mapping[str, Any] | None = None, deadline: float | None = None) -> None:
        """Load a model, or what has changed of it, and wait until it is ready; see ``Client.load``."""
        await self._run(calls.load(self._session, self._session.clock(deadline), model, config))

    async def unload(self, model: str, deadline: float | None = None) -> None:
        """Ask the server to unload a model; see ``Client.unload``."""
        await self._run(calls.unload(self._session, self._session.clock(deadline), model))

    async def unregister_shared_memory(self, name: str) -> None:
        """Unregister a shared-memory region that was left behind; no error if there is none."""
        await self._run(calls.unregister(name))

    async def infer(
        self,
        model: str,
        inputs: Inputs,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
        shared_memory: bool = False,
        turn: Turn | None = None,
    ) -> Answered:
        """Run a model, and return its outputs by name; see ``Client.infer``."""
        clock = self._session.clock(deadline)
        return await self._run(calls.infer(self._session, clock, model, inputs, outputs, version, shared_memory, turn))

    async def classify(
        self,
        model: str,
        inputs: Inputs,
        top: int = 5,
        output: str | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> Classes:
        """Ask a classifier for the ``top`` classes of every sample, best first; see ``Client.classify``."""
        clock = self._session.clock(deadline)
        return await self._run(calls.classify(self._session, clock, model, inputs, top, output, version))

    async def infer_many(
        self,
        model: str,
        inputs: Inputs,
        batch_size: int | None = None,
        max_in_flight: int = IN_FLIGHT,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> AsyncIterator[Answered]:
        """Yield the answers for any number of samples, in order; see ``Client.infer_many``."""
        requests = split(await self.model(model, version, deadline), inputs, batch_size, max_in_flight)
        async for answer in self.infer_each(model, requests, max_in_flight, outputs, version, deadline):
            yield answer

    async def infer_each(
        self,
        model: str,
        requests: Iterable[Inputs],
        max_in_flight: int = IN_FLIGHT,
        outputs: Sequence[str] | None = None,
        version: str = "",
        deadline: float | None = None,
    ) -> AsyncIterator[Answered]:
        """Yield the answer to each request, in order; see ``Client.infer_each``."""
        waiting: deque[asyncio.Task[Answered]] = deque()
        try:
            for asked in requests:
                if len(waiting) == max_in_flight:
                    yield await waiting.popleft()
                waiting.append(asyncio.create_task(self.infer(model, asked, outputs, version, deadline)))
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def infer_all(
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
        return merge(await self.model(model, version, deadline), [answer async for answer in answers])

    async def _run(self, steps: Steps[_Result]) -> _Result:
        return await run_async(steps, self._perform)

    async def _perform(self, step: Step) -> Any:
        if self._closed:
            raise SettingsError("the client is closed", "Make a new one")
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if self._wire is None:
            self._wire = GrpcWire(self._settings, self._max_message_bytes, asynchronous=True)
        wire = self._wire
        try:
            return wire.finish(step, await wire.start(step))
        except Exception as error:
            raise wire.translate(error) from error
