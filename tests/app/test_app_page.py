"""The page without a browser: errors are sentences, examples are images set aside or phantoms."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from support.project import PROJECT
from support.serving import encoded, folder_of, picture, serving
from xnn.app import flags
from xnn.app import page as app
from xnn.app.settings import LUNGS
from xnn.data import phantom
from xnn.data.examples import examples
from xnn.data.images import png

PAGE = str(PROJECT / "xnn/app/page.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(folder_of(tmp_path_factory.mktemp("served") / "small/run/model")) as found:
        yield found


@pytest.fixture
def page(server, small, monkeypatch):
    monkeypatch.setenv("XNN_API", server[0])
    return AppTest.from_file(PAGE, default_timeout=120).run()


def press(page):
    return page.button[0].click().run()


def test_an_example_is_predicted_and_explained(page, small):
    assert not page.exception
    assert "Not a medical device" in page.warning[0].value
    assert any("phantoms (no patients) of study small" in each.value for each in page.caption)
    page = press(page)
    assert not page.exception
    assert page.subheader[0].value.startswith("Most likely: ")
    words = " ".join(each.value for each in page.markdown)
    for told in ("Orange", "against it", "outer frame", "not known", "is no lung segmenter"):
        assert told in words
    assert [each.value for each in page.error] == [flags.WORDS["uncalibrated"][0]]
    page.slider[0].set_value(0.3).run()
    assert page.subheader
    other = next(name for name in examples(small)[0] if name != page.radio[0].value)
    page.radio[0].set_value(other).run()
    assert not page.subheader, "the answer was about another image"


def test_lungs_give_a_share_and_zones_and_none_gives_a_warning(tmp_path, small, monkeypatch):
    folder = folder_of(tmp_path / "small/run/model")
    with serving(folder, lungs=str(PROJECT / LUNGS)) as (url, _):
        monkeypatch.setenv("XNN_API", url)
        page = AppTest.from_file(PAGE, default_timeout=120).run()
        drawn = encoded(phantom.draw("normal", 0, 0, 224, 0).image)
        page.file_uploader[0].set_value(("x.png", drawn, "image/png"))
        page = press(page.run())
        assert any("lies within the lungs" in each.value for each in page.markdown)
        assert "left upper zone" in page.dataframe[0].value.index
        page.file_uploader[0].set_value(("y.png", encoded(picture()), "image/png"))
        page = press(page.run())
        assert page.subheader[0].value == "No lungs found"
        assert page.error[0].value.startswith("No lungs found")
        assert not page.dataframe


def test_a_set_of_findings_is_a_sentence():
    found = {"classes": ["bacteria", "virus"], "level": 0.9, "coverage": 0.914}
    assert app._set(found).startswith("Not ruled out: **bacterial pneumonia or viral pneumonia**.")
    assert "in 90% of cases (on test radiographs: 91%)" in app._set(found)
    assert "none of the findings" in app._set(found | {"classes": []})
    assert app._set(None) is None


def test_an_uploaded_image_goes_before_the_example(page):
    page.file_uploader[0].set_value(("x.png", encoded(picture()), "image/png"))
    page = press(page.run())
    assert page.subheader[0].value.startswith("Most likely: ")
    assert page.radio[0].value is None, "the choice of an example is cleared"


def test_a_file_that_is_no_image_is_a_sentence(page):
    page.file_uploader[0].set_value(("x.png", b"hello", "image/png"))
    page = press(page.run())
    assert page.error[0].value == "The API says: not a JPEG or PNG image."
    assert not page.subheader


def test_parameters_reach_the_api(page):
    page.sidebar.selectbox[0].set_value("virus")
    page.sidebar.selectbox[3].set_value("grad_cam")
    page = press(page.run())
    assert any("**viral pneumonia**" in each.value for each in page.markdown)


def test_without_an_api_the_page_says_how_to_start_it(monkeypatch):
    import streamlit as st

    st.cache_data.clear()
    monkeypatch.setenv("XNN_API", "http://127.0.0.1:9")
    page = AppTest.from_file(PAGE, default_timeout=120).run()
    assert "`make app` starts it" in page.error[0].value
    assert not page.button


def test_examples_are_set_aside_images_else_phantoms(small):
    found = examples(small)
    assert set(found[0]) == {"bacteria", "normal", "virus"}
    assert "set aside before training" in found[1]
    drawn = examples("nothing")
    assert "synthetic phantoms, no patients" in drawn[1]
    assert set(drawn[0]) == {"bacteria", "normal", "virus"}


def test_strength_goes_from_the_radiograph_to_the_overlay():
    import base64

    grey = picture(8)
    layer = np.zeros((8, 8, 4), np.uint8)
    layer[0, 0] = (0, 200, 60, 255)
    coded = [base64.b64encode(png(each)).decode() for each in (grey, layer)]
    np.testing.assert_array_equal(app.blend(*coded, 0)[..., 0], grey)
    full = app.blend(*coded, 1)
    assert tuple(full[0, 0]) == (0, 200, 60)
    assert full[3, 3, 0] == int(0.8 * grey[3, 3])
