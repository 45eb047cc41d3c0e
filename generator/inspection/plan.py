"""TensorRT plans: what the header tells. Only the TensorRT that built a plan, on a GPU of that kind, reads the rest."""

from functools import partial
from pathlib import Path

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.inspection.inspection import Batching, Inspection
from modelrepo.generator.inspection.parts import Judgement, by_release, reason, sizes_of, unreadable
from modelrepo.generator.tensorrt import header
from modelrepo.generator.tensorrt.header import PlanHeader
from modelrepo.generator.triton.releases import Release

FORM = "TensorRT plan"
REMARKS = (
    "inputs, outputs, layers and profiles are written in a form that only TensorRT reads, on a GPU of the kind that "
    "the plan was built for: polygraphy inspect model FILE shows them there",
    "the header does not say for which GPU it was built, nor whether it is version compatible or hardware compatible",
    "a version compatible plan brings code of its own, which runs on the server: load plans that you trust only",
)
BATCHING = Batching("unknown", "", "only TensorRT reads the shapes and profiles of a plan")


def inspect(path: Path) -> Inspection:
    """Return what is known of a plan without TensorRT; faults if it is none."""
    try:
        plan = header.read(path)
    except ConversionError as error:
        fault = error.message.replace(f"{path} ", "it ").replace(str(path), path.name)
        return unreadable(path, FORM, f"{fault}. {error.hint}" if error.hint else fault)
    except OSError as error:
        return unreadable(path, FORM, reason(error))
    files = sizes_of([path], path.parent)
    return Inspection(
        path,
        FORM,
        sum(files.values()),
        remarks=REMARKS,
        facts=(("built by", f"TensorRT {plan.version}"),),
        batching=BATCHING,
        files=files,
        uses=by_release("tensorrt", partial(_judged, plan)),
    )


def _judged(plan: PlanHeader, release: Release) -> Judgement:
    """Return whether a release's TensorRT loads a plan, as far as the two versions decide."""
    match header.compared(plan, release.tensorrt):
        case "same":
            return "yes", f"it has TensorRT {release.tensorrt}; the host needs the kind of GPU that it was built for"
        case "newer":
            return "no", f"its TensorRT is older than {plan.version}"
        case "older":
            has = "its TensorRT is newer: only if the plan was built as version compatible, and the server was started "
            return "unknown", f"{has}with --backend-config=tensorrt,version-compatible=true"
    has = f"only that it has TensorRT {release.tensorrt}" if release.tensorrt else "nothing of its TensorRT"
    return "unknown", f"{has} is known, and it must be {plan.version}"
