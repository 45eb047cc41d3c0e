"""Performing a plan step by step: the only place where blocking and awaiting differ."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modelrepo.clients.plans import Plan, Step

_Result = TypeVar("_Result")


def run(plan: Plan[_Result], perform: Callable[[Step], Any]) -> _Result:
    """Perform every step of a plan, errors and interrupts included, and return its result."""
    try:
        step = next(plan)
        while True:
            try:
                reply = perform(step)
            except BaseException as error:
                step = plan.throw(error)
            else:
                step = plan.send(reply)
    except StopIteration as end:
        result: _Result = end.value
        return result


async def run_async(plan: Plan[_Result], perform: Callable[[Step], Awaitable[Any]]) -> _Result:
    """Perform every step of a plan as ``run`` does, awaiting each; cancelling it lets the plan tidy up."""
    try:
        step = next(plan)
        while True:
            try:
                reply = await perform(step)
            except BaseException as error:
                step = plan.throw(error)
            else:
                step = plan.send(reply)
    except StopIteration as end:
        result: _Result = end.value
        return result
