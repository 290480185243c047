"""An embedding of radiographs: vectors that lie near each other where images look alike to a network."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from ..config import freshness, schema
from ..config.schema import Model, Study
from ..config.writing import whole
from ..data.records import load_images

SIDE = 32  # pixels of the small images that components are taken of
COMPONENTS = 50
BATCH = 16


class Embedding(NamedTuple):
    """One vector a record."""

    values: np.ndarray  # (N, D) float32, of length 1 around the mean: a product of two is their cosine
    source: str  # what made them, in words for the reader


def embed(study: Study, records: pd.DataFrame) -> Embedding:
    """Embed a study's radiographs, once: kept in its artifacts under the key of all that decides them.

    Real ones by what MobileNetV2 with ImageNet weights makes of them, its pooled features. Phantoms,
    and radiographs for which those weights cannot be had, by principal components of their pixels:
    ``source`` says which it is.
    """
    weights, why = _weights(study)
    file = study.artifacts / "embedding.npz"
    key = schema.sha256(
        *(weights.sha256 if weights else "", study.image_size, why, study.seed),
        *(records[["path", "sha256", "row"]].to_csv(), freshness.of_function(__name__, "embed").sha256),
    )
    if file.exists() and (kept := np.load(file))["key"] == key:
        return Embedding(kept["values"], str(kept["source"]))
    images = load_images(study)
    if weights:
        values, source = _features(images, records.row, weights.state), "MobileNetV2 with ImageNet weights"
    else:
        values, source = (
            components(images, records.row, study.seed),
            f"principal components of pixels ({why})",
        )
    values = unit(values - values.mean(axis=0))
    with whole(file) as partial:
        np.savez(partial, values=values, source=source, key=key)
    return Embedding(values, source)


def components(images, rows, seed: int = 0) -> np.ndarray:
    """(N, D) float32: the first principal components of small copies of grey images, at most COMPONENTS."""
    from sklearn.decomposition import PCA

    small = thumbnails(images, rows).reshape(len(rows), -1)
    count = min(COMPONENTS, *small.shape)
    return PCA(count, random_state=seed).fit_transform(small).astype(np.float32)


def thumbnails(images, rows, side: int = SIDE) -> np.ndarray:
    """(N, side, side) float32, 0 to 1: each pixel the mean of those that it stands for."""
    box = Image.Resampling.BOX
    small = [np.asarray(Image.fromarray(np.asarray(images[row])).resize((side, side), box)) for row in rows]
    return np.stack(small).astype(np.float32) / 255


def plane(values: np.ndarray) -> np.ndarray:
    """(N, 2): the two directions in which an embedding spreads most."""
    from sklearn.decomposition import PCA

    return PCA(2, random_state=0).fit_transform(values)


def unit(values: np.ndarray) -> np.ndarray:
    """(N, D) float32: vectors of length 1; what has no length keeps none."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)


def _weights(study: Study):
    """ImageNet weights, or None and why not."""
    if study.synthetic:
        return None, "drawn images need no more"
    from ..models import weights

    try:
        return weights.find(Model(backbone="mobilenet_v2", weights="imagenet")), ""
    except weights.WeightsError as error:
        return None, str(error)


def _features(images, rows, state) -> np.ndarray:
    """(N, 1280) float32: MobileNetV2's pooled features of grey images."""
    import torch
    import torchvision
    from tqdm import tqdm

    from ..models.classifier import Preprocess, to_input

    network = torchvision.models.mobilenet_v2(weights=None)
    network.load_state_dict(state)
    network = torch.nn.Sequential(Preprocess(224), network.features)
    network.eval().to(memory_format=torch.channels_last)
    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)  # a third of the time, and near is as near
    result = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
        for start in tqdm(range(0, len(rows), BATCH), desc="embedding", unit="batch", leave=False):
            batch = to_input(images[np.asarray(rows[start : start + BATCH])])
            result.append(network(batch).float().mean((2, 3)))
    return torch.cat(result).numpy()
