"""The model that ships: it loads, says where it is from, and says when not to listen."""

import io
import json
import zipfile

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from skimage import data

from support.project import PROJECT
from support.serving import encoded
from xnn.app import answers, model, settings
from xnn.app.answers import Question
from xnn.data import phantom

SHARED = PROJECT.parent / "shared/data"


@pytest.fixture(scope="module")
def loaded():
    return model.load(str(PROJECT / settings.MODEL), str(PROJECT / settings.LUNGS))


def asked(loaded, file: bytes) -> answers.Answer:
    return answers.answer(loaded, file, Question(explain=False), settings.Settings())


def test_it_says_what_it_is_and_is_small(loaded):
    folder = PROJECT / settings.MODEL
    assert sum(file.stat().st_size for file in folder.iterdir()) < 6_000_000
    assert loaded.info.id == "kermany/mobilenetv2-112-robust"
    assert loaded.info.flip
    assert 0.3 < loaded.info.temperature < 3
    assert loaded.info.shipped["rounding"]["largest"] < 0.05
    assert loaded.info.shipped["far_test_images"] < 0.03
    assert 0.2 < loaded.info.frame_limit < 0.9
    for words in ("no medical device", "doi:10.17632/rscbjbr9sj", "CC BY 4.0"):
        assert words in loaded.info.card


@pytest.mark.parametrize("folder", [settings.MODEL, settings.LUNGS])
def test_its_card_has_results_with_intervals_use_and_limits(folder):
    card = ModelCard.load(PROJECT / folder / "README.md")
    results = card.data.eval_results
    assert results
    for each in results:
        if each.metric_type != "ece":  # which has no percentile limits
            assert each.metric_args["low"] <= each.metric_value <= each.metric_args["high"]
        assert each.dataset_split == "test"
    for heading in ("## Intended use", "## Limits", "## Results"):
        assert heading in card.text


def test_the_segmenter_is_small_and_good():
    folder = PROJECT / settings.LUNGS
    assert (folder / "model.safetensors").stat().st_size < 1_000_000
    assert json.loads((folder / "metrics.json").read_text())["dice"]["all"]["value"] > 0.95
    assert "v7labs" in (folder / "README.md").read_text()


def test_what_shows_no_chest_is_said_to_show_no_lungs(loaded):
    rng = np.random.default_rng(0)
    others = {
        "cat": np.asarray(Image.fromarray(data.chelsea()).convert("L")),
        "photograph": data.camera(),
        "text": data.page(),
        "noise": rng.integers(0, 256, (224, 224), dtype=np.uint8),
        "black": np.zeros((224, 224), np.uint8),
    }
    for name, pixels in others.items():
        answer = asked(loaded, encoded(pixels))
        assert "no_lungs" in answer.flags, name
        (flag,) = [each for each in answer.quality if each.name == "no_lungs"]
        assert "No lungs found" in flag.words


def test_a_drawn_phantom_is_far_from_the_training_images(loaded):
    answer = asked(loaded, encoded(phantom.draw("normal", 0, 0, 224, 0).image))
    assert "far_from_training" in answer.flags


@pytest.mark.skipif(not SHARED.exists(), reason="no radiographs in ../shared/data")
def test_originals_are_answered_as_their_small_copies_are(loaded):
    with (
        zipfile.ZipFile(SHARED / "chest_xray_fullsize_sample.zip") as originals,
        zipfile.ZipFile(SHARED / "chest_xray_224.zip") as copies,
    ):
        small = {name.rpartition("/")[2]: name for name in copies.namelist()}
        names = [name for name in originals.namelist() if name.endswith(".jpeg")][::6]
        pairs = [
            (
                asked(loaded, originals.read(name)),
                asked(loaded, copies.read(small[name.rpartition("/")[2]])),
            )
            for name in names
        ]
    assert len(pairs) == 40
    assert np.mean([one.predicted == other.predicted for one, other in pairs]) >= 0.95
    assert np.mean([not one.flags for one, _ in pairs]) >= 0.9


@pytest.mark.skipif(not SHARED.exists(), reason="no radiographs in ../shared/data")
def test_a_radiograph_has_a_lung_share_and_zones_that_add_up(loaded):
    with zipfile.ZipFile(SHARED / "chest_xray_224.zip") as copies:
        file = copies.read(next(name for name in copies.namelist() if "virus" in name))
    answer = answers.answer(loaded, file, Question(tolerance=0.05), settings.Settings())
    explained = answer.explanation
    assert 0 < explained.lung_area < explained.lung_share + 0.5 < 1.5
    total = explained.completeness.difference
    assert sum(explained.zones.values()) == pytest.approx(total, abs=0.06 * abs(total))
    assert Image.open(io.BytesIO(explained.overlay)).size == (224, 224)
