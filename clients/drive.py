"""Performs the steps of a call: the only place where blocking and awaiting differ."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modelrepo.clients.calls import Step, Steps

_Result = TypeVar("_Result")


def run(steps: Steps[_Result], perform: Callable[[Step], Any]) -> _Result:
    """Perform the steps of a call, pass errors and interrupts into it, and return its result."""
    try:
        step = next(steps)
        while True:
            try:
                reply = perform(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as end:
        result: _Result = end.value
        return result


async def run_async(steps: Steps[_Result], perform: Callable[[Step], Awaitable[Any]]) -> _Result:
    """Perform the steps of a call as ``run`` does, awaiting each; a call that is cancelled can still clean up."""
    try:
        step = next(steps)
        while True:
            try:
                reply = await perform(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as end:
        result: _Result = end.value
        return result
