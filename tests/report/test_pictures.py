"""Smaller pictures show the same."""

import base64
import io

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xnn import plots
from xnn.data import phantom
from xnn.report import execute


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def test_a_figure_keeps_its_lines_and_becomes_a_palette():
    scores = pd.DataFrame({"run": ["a", "b"], "value": 0.5, "low": 0.4, "high": 0.6})
    figure = plots.compare_scores(scores, "F1")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    kind, data = execute.smaller(file.getvalue())
    assert kind == "image/png"
    assert len(data) < 0.7 * len(file.getvalue())
    assert abs(opened(data) - opened(file.getvalue())).mean() < 1


def test_a_photograph_becomes_a_jpeg():
    grey = np.hstack([phantom.draw("virus", p, 0, 224, 0).image for p in range(3)])
    noisy = np.dstack([grey + np.random.default_rng(i).integers(0, 9, grey.shape) for i in range(3)])
    picture = png(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    shown = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(picture).decode()})
    shown.metadata = {"image/png": {"width": 9}}
    execute.shrink(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot", outputs=[shown])]))
    ((kind, data),) = shown.data.items()
    data = base64.b64decode(data)
    assert kind == "image/jpeg"
    assert shown.metadata == {"image/jpeg": {"width": 9}}
    assert len(data) < 0.5 * len(picture)
    assert abs(opened(data) - opened(picture)).mean() < 6


def test_what_is_small_already_is_left_alone():
    picture = png(Image.new("L", (4, 4), 7))
    kind, data = execute.smaller(picture)
    assert kind == "image/png"
    assert len(data) <= len(picture)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "L"])
def test_every_kind_of_png_is_read(mode):
    kind, data = execute.smaller(png(Image.new(mode, (30, 20))))
    assert kind == "image/png"
    assert opened(data).shape == (20, 30, 3)


def test_all_pictures_of_a_notebook_and_nothing_else_are_made_smaller():
    picture = base64.b64encode(png(Image.new("RGB", (300, 300), "red"))).decode()
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            {"image/png": picture, "text/plain": "a figure"},
            metadata={"image/png": {"width": 150}},
        ),
        nbformat.v4.new_output("stream", name="stdout", text="words"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot", outputs=outputs)])
    execute.shrink(notebook)
    first, second = notebook.cells[0].outputs
    assert len(first.data["image/png"]) < len(picture)
    assert (first.data["text/plain"], second.text) == ("a figure", "words")
    assert first.metadata == {"image/png": {"width": 150}}
    nbformat.validate(notebook)
