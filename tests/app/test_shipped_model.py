"""The model that ships: it loads, says where it is from, and knows what it has not been trained on."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from support.project import PROJECT
from support.serving import encoded
from xnn.app import answers, model, settings
from xnn.app.answers import Question
from xnn.data import phantom


@pytest.fixture(scope="module")
def loaded():
    return model.load(str(PROJECT / settings.MODEL))


def test_it_says_what_it_is_and_is_small(loaded):
    folder = PROJECT / settings.MODEL
    assert sum(file.stat().st_size for file in folder.iterdir()) < 6_000_000
    assert loaded.info.id == "kermany/mobilenetv2-full"
    assert loaded.info.flip
    assert 0.3 < loaded.info.temperature < 3
    assert loaded.info.shipped["rounding"]["largest"] < 0.01
    assert loaded.info.shipped["far_test_images"] < 0.03
    for words in ("no medical device", "doi:10.17632/rscbjbr9sj", "CC BY 4.0"):
        assert words in loaded.info.card


def test_what_is_no_radiograph_of_a_child_is_far(loaded):
    rng = np.random.default_rng(0)
    others = {
        "photograph": data.camera(),
        "portrait": np.asarray(Image.fromarray(data.astronaut()).convert("L")),
        "text": data.page(),
        "noise": rng.integers(0, 256, (224, 224), dtype=np.uint8),
        "black": np.zeros((224, 224), np.uint8),
        "phantom": phantom.draw("normal", 0, 0, 224, 0).image,
    }
    for name, pixels in others.items():
        answer = answers.answer(loaded, encoded(pixels), Question(explain=False), settings.Settings())
        (flag,) = [each for each in answer.quality if each.name == "far_from_training"]
        assert flag.raised, name
        assert "do not rely" in flag.words
