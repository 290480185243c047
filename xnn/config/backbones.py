"""Registry of backbones, which parameter files and models share."""

from collections.abc import Callable

# Name to the function that builds a backbone, or to the module with a function of that name. A module is
# imported when a model is built, so that parameter files are checked without torch.
BACKBONES: dict[str, Callable | str] = {
    "mobilenet_v2": "xnn.models.backbones",
    "resnet18": "xnn.models.backbones",
    "resnet50": "xnn.models.backbones",
    "convnextv2": "xnn.models.backbones",
}
TIMM = "timm/"  # precedes the name of any network of that library: timm/tf_efficientnet_lite0


def is_known(name: str) -> bool:
    """Return whether a backbone is registered, or one of timm's, whose names only timm can check."""
    return name in BACKBONES or name.startswith(TIMM)
