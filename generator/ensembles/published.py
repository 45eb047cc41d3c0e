"""Members that are published models, and ONNX files that are published for a step."""

from modelrepo.generator.ensembles.member import Member, Site
from modelrepo.generator.specs.ensembles import Step


def member(step: Step, site: Site) -> Member:
    """Return the published model of a step, with its version pinned."""
    raise NotImplementedError


def own(step: Step, site: Site) -> Member:
    """Return the model that is made of a step's ONNX file."""
    raise NotImplementedError
