"""Converting a request and its answer for tritonclient; its gRPC and HTTP modules have the same classes."""

from collections.abc import Callable
from typing import Any

from modelrepo.clients.calls import Request
from modelrepo.clients.models import Answered, Array


def make_inputs(request: Request, module: Any) -> list[Any]:
    """Return ``module``'s InferInput objects for a request."""
    made = []
    for name, array in request.inputs.items():
        tensor = module.InferInput(name, [int(size) for size in array.shape], request.datatypes[name])
        if request.region is None or name not in request.region.inputs:
            tensor.set_data_from_numpy(array)
        else:
            place = request.region.inputs[name]
            tensor.set_shared_memory(request.region.name, place.size, place.offset)
        made.append(tensor)
    return made


def make_outputs(request: Request, module: Any) -> list[Any] | None:
    """Return ``module``'s InferRequestedOutput objects for a request, None if it wants all outputs."""
    if request.outputs is None:
        return None
    made = []
    for name in request.outputs:
        tensor = module.InferRequestedOutput(name, class_count=request.top)
        if request.region is not None and name in request.region.outputs:
            place = request.region.outputs[name].place
            tensor.set_shared_memory(request.region.name, place.size, place.offset)
        made.append(tensor)
    return made


def read_answer(
    request: Request, shapes: dict[str, tuple[int, ...]], version: str, as_numpy: Callable[[str], Array]
) -> Answered:
    """Return the outputs of an answer with their shapes, from the request's region or from the answer itself."""
    region = request.region
    answer = Answered({}, version)
    for name, shape in shapes.items():
        if region is not None and name in region.outputs:
            answer[name] = region.read(region.outputs[name], shape)
        else:
            answer[name] = as_numpy(name)
    return answer
