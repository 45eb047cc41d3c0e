"""Every model of torchvision, and the sizes that it is measured with here."""

# Larger pictures only take longer. Those networks that are made for other sizes are asked at these.
LARGEST, SMALLER = 256, "3x224x224"
SEGMENTATION, DETECTION = "3x128x128", "3x192x192"
# Frames, height and width; these architectures take no others, and the rest is asked with fewer.
VIDEO, FIXED_VIDEO = "3x8x112x112", {"mvit_v1_b": "", "mvit_v2_s": "", "s3d": "3x14x224x224"}
# The least that RAFT takes is 128.
OPTICAL_FLOW = "image1=1x3x128x160,image2=1x3x128x160"


def by_effort() -> list[str]:
    """Return every name that torchvision lists, from the quickest to the slowest."""
    from torchvision import models

    return sorted(models.list_models(), key=_effort)


def is_classifier(name: str) -> bool:
    """Tell whether a model is an image classifier, which must be served in batches."""
    from torchvision import models

    return name in models.list_models(module=models)


def shape_of(name: str) -> str:
    """Return the shape that a model is asked with, or nothing where that is its own."""
    from torchvision import models

    kinds = {
        models.segmentation: SEGMENTATION,
        models.detection: DETECTION,
        models.video: FIXED_VIDEO.get(name, VIDEO),
        models.optical_flow: OPTICAL_FLOW,
    }
    for module, shape in kinds.items():
        if name in models.list_models(module=module):
            return shape
    return SMALLER if models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"] > LARGEST else ""


def _effort(name: str) -> float:
    """Return about how long a model takes, from its operations, fewer for smaller pictures, and its weights."""
    from torchvision import models

    said = models.get_model_weights(name).DEFAULT.meta
    return float(min(said["_ops"], 40) + said["num_params"] / 1e7)
