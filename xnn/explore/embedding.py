"""Embedding of radiographs: vectors that are close for images that look alike."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA

from ..config import freshness, schema
from ..config.files import load_run, runs
from ..config.provenance import whole
from ..config.schema import Model, Study
from ..data.records import load_images

SIDE = 32  # pixels of a thumbnail
COMPONENTS = 50
BATCH = 16


class Embedding(NamedTuple):
    """One vector per record."""

    values: np.ndarray  # (N, D) float32, centred, of length 1: the product of two is their cosine
    source: str  # how they were made, in words


def embed(study: Study, records: pd.DataFrame) -> Embedding:
    """Return the embedding of a study's radiographs, cached in its artifacts.

    It consists of the pooled features of MobileNetV2 with ImageNet weights. For phantoms, and without those
    weights, it is the principal components of the pixels; ``source`` says which.
    """
    weights, reason = _weights(study)
    file = study.artifacts / "embedding.npz"
    key = schema.sha256(
        *(weights.sha256 if weights else "", study.image_size, reason, study.seed),
        *(records[["path", "sha256", "row"]].to_csv(), freshness.of_function(__name__, "embed").sha256),
    )
    if file.exists() and (cached := np.load(file))["key"] == key:
        return Embedding(cached["values"], str(cached["source"]))
    images = load_images(study)
    if weights:
        values, source = _features(images, records.row, weights.state), "MobileNetV2 with ImageNet weights"
    else:
        values = components(images, records.row, study.seed)
        source = f"principal components of pixels ({reason})"
    values = unit(values - values.mean(axis=0))
    with whole(file) as partial:
        np.savez(partial, values=values, source=source, key=key)
    return Embedding(values, source)


def components(images, rows, seed: int = 0) -> np.ndarray:
    """Return the first principal components (N, D) float32 of thumbnails, at most COMPONENTS."""
    small = thumbnails(images, rows).reshape(len(rows), -1)
    count = min(COMPONENTS, *small.shape)
    return PCA(count, random_state=seed).fit_transform(small).astype(np.float32)


def plane(values: np.ndarray) -> np.ndarray:
    """Return the two principal components (N, 2) of an embedding."""
    return PCA(2, random_state=0).fit_transform(values)


def thumbnails(images, rows, side: int = SIDE) -> np.ndarray:
    """Return grey images shrunk to (N, side, side) float32, 0 to 1, by averaging pixels."""
    size, box = (side, side), Image.Resampling.BOX
    small = [np.asarray(Image.fromarray(images[row]).resize(size, box)) for row in rows]
    return np.stack(small).astype(np.float32) / 255


def unit(values: np.ndarray) -> np.ndarray:
    """Return vectors (N, D) float32 scaled to length 1; zero vectors stay zero."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)


def _weights(study: Study):
    """Return ImageNet weights, or None and the reason; only a study whose runs use some downloads them."""
    if study.synthetic:
        return None, "enough for drawn images"
    from ..models import weights

    wanted = Model(backbone="mobilenet_v2", weights="imagenet")
    models = [load_run(study.name, name).model for name in runs(study.name)]
    try:
        if weights.local_file(wanted) or any(m.weights != "none" and not m.start_from for m in models):
            return weights.find(wanted), ""
    except weights.WeightsError:
        pass
    return None, "no ImageNet weights: set WEIGHTS to a folder with mobilenet_v2-imagenet1k.safetensors"


def _features(images, rows, state) -> np.ndarray:
    """Return MobileNetV2's pooled features (N, 1280) float32 of grey images."""
    import torch
    import torchvision
    from tqdm.auto import tqdm

    from ..models.classifier import Preprocess, to_input

    network = torchvision.models.mobilenet_v2(weights=None)
    network.load_state_dict(state)
    network = torch.nn.Sequential(Preprocess(224), network.features)
    network.eval().to(memory_format=torch.channels_last)
    # a third of the time, and precise enough
    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    result = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
        for start in tqdm(range(0, len(rows), BATCH), desc="embedding", unit="batch", leave=False):
            batch = to_input(images[np.asarray(rows[start : start + BATCH])])
            result.append(network(batch).float().mean((2, 3)))
    return torch.cat(result).numpy()
