"""How often the app's flags are raised: on radiographs, on the same ones spoilt, and on foreign images.

    ORIGINALS=chest_xray_fullsize_sample.zip python benchmarks/flags.py > benchmarks/flags.md

The model and the segmenter that the app serves by default. Radiographs are those of the model's study, whose
records must be made, drawn at random from its test split; spoilt ones are the same. Photographs, microscopy
and faces come with scikit-image and scikit-learn, CT and MR with pydicom; text and noise are drawn here.
Maps are those of the first images of a kind. With ORIGINALS, a zip or folder of full-size
originals, these are sent as files to every model in models/, and so are their copies.
"""

import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import skimage
import sklearn.datasets
from PIL import Image, ImageDraw
from scipy import ndimage

from xnn import load_images, load_records, load_study
from xnn.app import answers, model, settings
from xnn.data import dicom, phantom
from xnn.data.archive import Archive
from xnn.data.images import ImageError, png
from xnn.evaluation import comparison
from xnn.explain import card
from xnn.models import classifier
from xnn.models.distance import features
from xnn.models.segmenter import segment

RADIOGRAPHS, SPOILT, DRAWN = 300, 100, 100  # images of a kind
EXPLAINED = {"test radiographs": 40}  # maps of a kind
FEW = 3  # maps of any other kind
FLAGS = ("no_lungs", "far_from_training")
FACES = 100
MICROSCOPY = ("cell.png", "ihc.png", "retina.jpg", "microaneurysms.png", "hubble_deep_field.jpg")
WORDS = "The quick brown fox jumps over the lazy dog while radiographs are read. "

HEAD = """# When the app says not to listen

A flag is raised before the class for {test} % of the test radiographs, and for at least {foreign} % of
each kind of foreign image.

Output of `python benchmarks/flags.py`; which images these are stands at the top of that file. Model {model},
segmenter {segmenter}. A flag's limit is passed by 1 % of the validation images: likeness of the lungs below
{least}, distance above {far}, share of the map in the frame above {frame}. *either*: no lungs, or far from
training. *sure*: a class has a probability of 0.9 or more, which is what an answer without flags would say.
Flags of maps are of the first images of a kind (*maps*).
"""
TAIL = """
Radiographs of other body parts, lateral views and adults are not among them: none is at hand without a
download. Turned and inverted radiographs were part of the segmenter's training, of other patients. The
network was trained on images turned by up to 10 degrees, and the distance is from such images."""


ORIGINALS = """
## Originals at full size and their copies

What the app answers to a file as it came from the camera, and to the copy of 224 px that networks are trained
on, with 95 % intervals by bootstrap over patients.
"""


def main() -> None:
    warnings.simplefilter("ignore")
    loaded = model.load(settings.MODEL)
    study = load_study(loaded.info.shipped["study"])
    known, others = radiographs(study), foreign(loaded.info.image_size)
    rows = [row(loaded, name, images) for name, images in {**known, **others}.items()]
    info, frame = loaded.info, loaded.info.frame_limit
    limits = {
        "model": info.id,
        "segmenter": settings.LUNGS,
        "least": f"{info.lungs_limit:.2f}",
        "far": f"{info.distance_threshold:.1f}",
        "frame": "unknown" if frame is None else f"{frame:.0%}",
    }
    share = {each["images"]: float(each["either"].rstrip(" %")) for each in rows}
    limits |= {"test": share["test radiographs"], "foreign": min(share[name] for name in others)}
    print(HEAD.format(**limits))
    print(comparison.markdown(pd.DataFrame(rows)))
    print(TAIL)
    if given := os.environ.get("ORIGINALS"):
        print(originals(study, Archive(Path(given))))


def row(loaded, name: str, images: np.ndarray) -> dict:
    """Return the table's row for images (N, H, W) uint8 of one kind."""
    info = loaded.info
    logits = classifier.logits(loaded.network, images, info.flip)
    sure = classifier.probabilities(logits / (info.temperature or 1)).max(axis=1) >= 0.9
    lungs = segment(loaded.segmenter, images)[1] < info.lungs_limit
    far = loaded.distance.of(features(loaded.network, images)) > info.distance_threshold
    maps = [mapped(loaded, each) for each in images[: EXPLAINED.get(name, FEW)]]
    shares = {
        "no lungs": lungs,
        "far": far,
        "either": lungs | far,
        "sure": sure,
        "frame": [each[0] for each in maps],
        "incomplete": [each[1] for each in maps],
    }
    return (
        {"images": name, "n": len(images)}
        | {name: f"{100 * np.mean(each):.1f} %" for name, each in shares.items()}
        | {"maps": len(maps)}
    )


def mapped(loaded, image: np.ndarray) -> tuple[bool, bool]:
    """Return whether the flags of the map are raised for an image (H, W) uint8."""
    seen, question = answers.look(loaded, image), answers.Question()
    predicted = loaded.info.classes[classifier.logits(loaded.network, image[None], loaded.info.flip).argmax()]
    explanation, attributions = answers.explain(
        loaded, seen, predicted, question, settings.Settings().max_gradients
    )
    return tuple(bool(each.raised) for each in answers.map_flags(loaded, explanation, attributions))


def radiographs(study) -> dict[str, np.ndarray]:
    """Return radiographs of validation and test, and the latter spoilt in several ways."""
    records, store = load_records(study), load_images(study)
    val, test = (
        store[rows.sample(min(RADIOGRAPHS, len(rows)), random_state=0).to_numpy()]
        for rows in (records.row[records.split == split] for split in ("val", "test"))
    )
    whole, test, half = test, test[:SPOILT], test.shape[1] // 4
    return {
        "validation radiographs": val,
        "test radiographs": whole,
        "mirrored": test[:, :, ::-1],
        "darker by half": test // 2,
        "turned by 10 degrees": ndimage.rotate(test, 10, (1, 2), reshape=False, order=1),
        "turned by 20 degrees": ndimage.rotate(test, 20, (1, 2), reshape=False, order=1),
        "turned by 90 degrees": np.rot90(test, 1, (1, 2)),
        "upside down": test[:, ::-1],
        "inverted": 255 - test,
        "middle quarter": resized(test[:, half:-half, half:-half], test.shape[1]),
        "upper left quarter": resized(test[:, : 2 * half, : 2 * half], test.shape[1]),
        "lower half": resized(test[:, 2 * half :], test.shape[1]),
        "lungs blackened": test * ~mask(test),
    }


def mask(images: np.ndarray) -> np.ndarray:
    """Return the lungs (N, H, W) that the segmenter finds."""
    return segment(model.load(settings.MODEL).segmenter, images)[0]


def foreign(size: int) -> dict[str, np.ndarray]:
    """Return images that are no radiographs of a chest, by kind."""
    rng = np.random.default_rng(0)
    folder = Path(skimage.data.__file__).parent
    files = sorted(file for file in folder.iterdir() if file.suffix in (".png", ".jpg"))
    photographs = [file for file in files if file.name not in MICROSCOPY and "text" not in file.name]
    faces = (255 * np.load(folder / "lfw_subset.npy")[:FACES]).astype(np.uint8)
    shipped = [Image.fromarray(each) for each in sklearn.datasets.load_sample_images().images]
    return {
        "photographs and drawings": stack([*map(Image.open, photographs), *shipped], size),
        "faces": stack(map(Image.fromarray, faces), size),
        "microscopy, retina, stars": stack((Image.open(folder / name) for name in MICROSCOPY), size),
        "text pages": stack((page(rng) for _ in range(DRAWN)), size),
        "noise": rng.integers(0, 256, (DRAWN, size, size), dtype=np.uint8),
        "one grey": np.repeat(np.arange(0, 256, 25, dtype=np.uint8), size**2).reshape(-1, size, size),
        "CT and MR slices": scans(size),
        "drawn phantoms of chests": np.stack(
            [phantom.draw(phantom.CLASSES[n % 3], n, 0, size, 0).image for n in range(DRAWN)]
        ),
    }


def resized(images: np.ndarray, size: int) -> np.ndarray:
    return stack(map(Image.fromarray, images), size)


def stack(pictures, size: int) -> np.ndarray:
    """Return pictures as grey images (N, size, size) uint8."""
    return np.stack([np.asarray(each.convert("L").resize((size, size))) for each in pictures])


def page(rng) -> Image.Image:
    """Return a page of text, or its negative."""
    picture = Image.new("L", (600, 800), 255)
    draw, words = ImageDraw.Draw(picture), WORDS.split()
    for line in range(int(rng.integers(10, 40))):
        text = " ".join(rng.choice(words, int(rng.integers(5, 15))))
        draw.text((40, 40 + 18 * line), text, fill=0, font_size=14)
    return picture if rng.random() < 0.5 else Image.fromarray(255 - np.asarray(picture))


def scans(size: int) -> np.ndarray:
    """Return the grey images among pydicom's files."""
    found = []
    for file in sorted((Path(pydicom.__file__).parent / "data/test_files").rglob("*")):
        if file.is_file():
            with contextlib.suppress(ImageError):
                data = file.read_bytes()
                if data[dicom.MAGIC] == b"DICM":
                    found.append(dicom.decode(data, size))
    return np.stack(found)


def originals(study, archive: Archive) -> str:
    """Return a table on full-size originals, sent as files, beside their copies in the study."""
    records, store = load_records(study), load_images(study)
    known = {Path(each.path).name: each for each in records.itertuples()}
    there = [(name, known[Path(name).name]) for name in archive.names() if Path(name).name in known]
    patients, tested = (np.array([getattr(each, key) for _, each in there]) for key in ("patient", "split"))
    files = [(archive.read(name), png(store[each.row])) for name, each in there]
    rows = []
    for shipped in sorted(Path("models").glob("*/shipped.json")):
        loaded = model.load(str(shipped.parent))
        found = pd.DataFrame([compared(*(asked(loaded, file) for file in two)) for two in files])
        for images, rest in (("all", np.full(len(there), True)), ("test split", tested == "test")):
            first = {"model": loaded.info.id, "images": images, "n": rest.sum()}
            rows.append(
                first | {name: percentage(each[rest], patients[rest]) for name, each in found.items()}
            )
    return f"{ORIGINALS}\n{comparison.markdown(pd.DataFrame(rows))}"


def compared(original: answers.Answer, copy: answers.Answer) -> dict[str, float]:
    """Return what differs between the answers to an original and to its copy, and the flags of each."""
    both = {"originals": original, "copies": copy}
    shift = np.subtract([*original.probabilities.values()], [*copy.probabilities.values()])
    return {
        "another class": original.predicted != copy.predicted,
        "normal or not changed": (original.predicted == "normal") != (copy.predicted == "normal"),
        "mean change of a probability": np.abs(shift).mean(),
    } | {f"{flag}, {title}": flag in each.flags for flag in FLAGS for title, each in both.items()}


def percentage(values, patients) -> str:
    """Return a mean as a percentage, with its interval over patients."""
    return "{value:.1%} ({low:.1%} to {high:.1%})".format_map(card.mean_interval(values, patients))


def asked(loaded, data: bytes) -> answers.Answer:
    return answers.answer(loaded, data, answers.Question(explain=False), settings.Settings())


if __name__ == "__main__":
    main()
