"""The page, run by Streamlit; it calls the API over HTTP and needs no torch."""

import base64
import io
from typing import get_args

import numpy as np
import requests
import streamlit as st
from PIL import Image

from xnn.app.settings import Baseline, Method, load
from xnn.config.files import load_study
from xnn.config.schema import ParameterError
from xnn.data import phantom
from xnn.data.archive import DataError
from xnn.data.images import png
from xnn.data.records import load_images, load_records

TIMEOUT = 60  # seconds; the API gives up earlier
DIMMED = 0.2  # how much darker the radiograph is below opaque colours, as in every figure
NOTICE = "**Not a medical device, not for diagnosis.** Do not upload anything that could identify a patient."
LEGEND = (
    ":orange[**Orange**] raises the evidence for **{target}**, :violet[**purple**] lowers it, and clear "
    "areas do neither. Colours are opaque from four times the mean magnitude."
)
ICONS = {True: ":material/warning:", False: ":material/check:", None: ":material/help:"}
PREDICTED = "the predicted class"


class ApiError(Exception):
    """The API refused, failed or did not answer; the message is a sentence for the reader."""


def call(method: str, path: str, **options) -> dict:
    """Return what the API answers; raise ApiError if that is no result."""
    try:
        answer = requests.request(method, load().api + path, timeout=TIMEOUT, **options)
    except requests.Timeout:
        raise ApiError(f"The API has not answered within {TIMEOUT} seconds.") from None
    except requests.RequestException:
        raise ApiError("The API does not answer. Is it running? `make app` starts it.") from None
    if answer.ok:
        return answer.json()
    try:
        raise ApiError(f"The API says: {answer.json()['error']}.")
    except (ValueError, KeyError):
        raise ApiError(f"The API failed (status {answer.status_code}).") from None


def main() -> None:
    st.set_page_config(page_title="xnn", layout="wide")
    st.title("Which class, and where does the answer come from?")
    st.warning(NOTICE)
    try:
        info = st.cache_data(call, ttl=60, show_spinner=False)("get", "/model")
    except ApiError as error:
        st.error(str(error))
        st.stop()
    parameters, image = choose_parameters(info), choose_image(info["id"].partition("/")[0])
    if st.button("Predict", type="primary"):
        st.session_state.pop("answer", None)
        try:
            with st.spinner("Predicting and explaining ..."):
                answer = call("post", "/predict", params=parameters, files={"file": image})
            st.session_state.answer = image, answer
        except ApiError as error:
            st.error(str(error))
    predicted, answer = st.session_state.get("answer", (None, None))
    if answer and predicted == image:  # never the answer about another image than the one shown
        show(answer)
    with st.expander("Model card"):
        st.code(info["card"] or "This model has no card.", language=None, wrap_lines=True)


def choose_parameters(info: dict) -> dict:
    """Return the parameters of POST /predict, from the sidebar."""
    baselines = get_args(Baseline)
    with st.sidebar:
        st.header("Explanation")
        target = st.selectbox("Class to explain", [PREDICTED, *info["classes"]])
        method = st.selectbox("Method", get_args(Method), format_func=lambda name: name.replace("_", " "))
        baseline = st.selectbox("Baseline", baselines, baselines.index(info["baseline"]))
        tolerance = st.select_slider("Largest completeness gap", [0.005, 0.01, 0.02, 0.05, 0.1], 0.01)
        clamped = str(st.toggle("Only what raises the score")).lower()
        st.caption(f"Model {info['id']}")
    parameters = {"method": method, "baseline": baseline, "tolerance": tolerance, "clamped": clamped}
    return parameters | ({"target": target} if target != PREDICTED else {})


def choose_image(study: str) -> bytes:
    """Return the image to predict: the uploaded one, else the chosen example."""
    upload = st.file_uploader("A radiograph (PNG or JPEG)")
    files, source = examples(study)
    name = st.radio("or an example", list(files), horizontal=True)
    st.caption(source)
    if not upload:
        st.image(files[name], width=160, caption=name)
    return upload.getvalue() if upload else files[name]


def show(answer: dict) -> None:
    """Show an answer: radiograph, overlay, probabilities, quality flags."""
    explanation = answer["explanation"]
    left, right = st.columns([3, 2])
    with left:
        strength = st.slider("Strength of the overlay", 0.0, 1.0, 1.0, 0.05)
        strengths = {"radiograph": 0.0, explanation["method"].replace("_", " "): strength}
        for column, caption in zip(st.columns(2), strengths, strict=True):
            pixels = blend(answer["radiograph"], explanation["attribution"], strengths[caption])
            column.image(pixels, caption, width="stretch", output_format="PNG")  # JPEG would smear colours
        st.markdown(LEGEND.format(target=explanation["target"]))
    with right:
        st.subheader(f"Predicted class: {answer['predicted']}")
        for name, value in answer["probabilities"].items():
            st.progress(value, f"{name}: {value:.1%}")
        for flag in answer["quality"]:
            st.markdown(f"{ICONS[flag['raised']]} {flag['words']}")
        st.caption(f"{answer['notice']} Answered in {answer['seconds']} s by {answer['model']['id']}.")


def blend(radiograph: str, attribution: str, strength: float) -> np.ndarray:
    """Return (H, W, 3) uint8 of two PNGs in base64: at strength 0 the radiograph, at 1 the full overlay."""
    files = [io.BytesIO(base64.b64decode(each)) for each in (radiograph, attribution)]
    grey, colour = (np.asarray(Image.open(file, formats=["PNG"]), float) for file in files)
    cover = strength * colour[..., 3:] / 255
    mixed = (1 - cover) * (1 - DIMMED * strength) * grey[..., None] + cover * colour[..., :3]
    return np.clip(mixed, 0, 255).astype(np.uint8)


@st.cache_data(show_spinner=False)
def examples(study: str) -> tuple[dict[str, bytes], str]:
    """Return images that the study set aside, or phantoms, as PNG files by name, and a sentence on them."""
    try:
        parent = load_study(study)
        records, store = load_records(parent), load_images(parent)
        chosen = records[records.split == "example"]
    except (ParameterError, DataError, FileNotFoundError):
        chosen = ()
    if not len(chosen):
        drawn = [phantom.draw(label, number, 0, 224, 0).image for number, label in enumerate(phantom.CLASSES)]
        source = "Examples: synthetic phantoms, no patients. Radiographs of this model's study are not here."
        return dict(zip(phantom.CLASSES, map(png, drawn), strict=True)), source
    number = chosen.groupby("label").cumcount() + 1
    names = chosen.label + number.map(" {}".format).where(number > 1, "")
    kind = "synthetic phantoms (no patients)" if parent.synthetic else "real radiographs"
    source = f"Examples: {kind} of study {study}, set aside before training. {parent.archive.attribution}"
    return {name: png(store[row]) for name, row in zip(names, chosen.row, strict=True)}, source.strip()


if __name__ == "__main__":  # so it is when Streamlit runs it
    main()
