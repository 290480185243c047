"""The page, run by Streamlit: an image goes to the API over HTTP, its answer is shown."""

import base64
import io
import os
from typing import NamedTuple

import numpy as np
import requests
import streamlit as st
from PIL import Image

from xnn.config.files import load_study
from xnn.config.schema import ParameterError
from xnn.data import phantom
from xnn.data.archive import DataError
from xnn.data.records import load_images, load_records

# ---- client ---------------------------------------------------------------------------------------

API = os.environ.get("XNN_API", "http://127.0.0.1:8000")
SECONDS = 60  # the API gives up earlier


class Refusal(Exception):  # noqa: N818 - it is what the API says, not a fault
    """What the API, or its absence, has to say to the reader."""


def model() -> dict:
    """The card of the model that is served."""
    return _asked("get", "/model", timeout=10)


def predict(image: bytes, parameters: dict) -> dict:
    """The answer to an image with the parameters of POST /predict; those that are None are left out."""
    given = {name: str(value).lower() for name, value in parameters.items() if value is not None}
    return _asked("post", "/predict", params=given, files={"file": ("image", image)}, timeout=SECONDS)


def _asked(method, path, **options):
    try:
        answer = requests.request(method, API + path, **options)
    except requests.Timeout:
        raise Refusal(f"The API has not answered within {options['timeout']} seconds.") from None
    except requests.RequestException:
        raise Refusal("The API does not answer: is it running? `make app` starts it.") from None
    if answer.ok:
        return answer.json()
    try:
        raise Refusal(f"The API says: {answer.json()['error']}.")
    except (ValueError, KeyError):
        raise Refusal(f"The API failed (status {answer.status_code}).") from None


# ---- examples -------------------------------------------------------------------------------------

SIDE, SEED = 224, 0  # of phantoms, as in the phantom study


class Examples(NamedTuple):
    """Name to PNG file, and where they are from, in words."""

    files: dict[str, bytes]
    words: str


def find(study: str) -> Examples:
    """Of the study of that name, where its data is here."""
    try:
        return _set_aside(load_study(study))
    except (ParameterError, DataError, FileNotFoundError):
        return _drawn()


def _set_aside(study):
    records, store = load_records(study), load_images(study)
    chosen = records[records.split == "example"]
    if chosen.empty:
        return _drawn()
    number = chosen.groupby("label").cumcount() + 1
    names = chosen.label + number.map(" {}".format).where(number > 1, "")
    files = {name: png(store[row]) for name, row in zip(names, chosen.row, strict=True)}
    kind = "drawn phantoms (no patients)" if study.synthetic else "real radiographs"
    words = f"Examples: {kind} of study {study.name}, set aside before training. {study.archive.attribution}"
    return Examples(files, words.strip())


def _drawn():
    files = {
        label: png(phantom.draw(label, number, 0, SIDE, SEED).image)
        for number, label in enumerate(phantom.CLASSES)
    }
    words = "Examples: drawn phantoms, no patients; radiographs of this model's study are not here."
    return Examples(files, words)


def png(grey) -> bytes:
    """A grey image (H, W) uint8 as a file."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


# ---- pictures -------------------------------------------------------------------------------------

DIMMED = 0.2  # of the radiograph's brightness below colours at full strength, as in every figure


def blend(radiograph: str, attribution: str, strength: float) -> np.ndarray:
    """(H, W, 3) uint8 of pictures in base64; strength 0 is the radiograph, 1 the overlay of the notebooks."""
    grey = _pixels(radiograph)[..., None].astype(float)
    colour = _pixels(attribution).astype(float)
    cover = strength * colour[..., 3:] / 255
    under = (1 - DIMMED * strength) * grey
    return np.clip((1 - cover) * under + cover * colour[..., :3], 0, 255).astype(np.uint8)


def _pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)), formats=("PNG",)))


# ---- ui -------------------------------------------------------------------------------------------

METHODS = [
    "integrated_gradients",
    "saliency",
    "gradient_x_input",
    "smoothgrad_ig",
    "grad_cam",
    "occlusion",
]
MEGABYTES = 10
NOTICE = (
    "**No medical device.** Part of a research report on explainable neural networks: not for diagnosis. "
    "Upload nothing that could tell who a patient is."
)
MEANING = (
    ":green[**Green**] raises the network's score for **{target}**, :red[**red**] lowers it; clear parts do "
    "neither. Colours are opaque from six times the mean magnitude on."
)
MARKS = {True: ":material/warning:", False: ":material/check:", None: ":material/help:"}


@st.cache_data(ttl=60, show_spinner=False)
def served() -> dict:
    return model()


@st.cache_data(show_spinner=False)
def tried(study: str) -> Examples:
    return find(study)


def main() -> None:
    st.set_page_config(page_title="xnn", layout="wide")
    st.title("Which class, and where does the answer come from?")
    st.warning(NOTICE)
    try:
        card = served()
    except Refusal as refusal:
        st.error(str(refusal))
        st.stop()
    parameters = asked(card)
    image = chosen(card)
    if st.button("Predict", type="primary", disabled=image is None):
        st.session_state.pop("answer", None)
        try:
            with st.spinner("Predicting and explaining ..."):
                st.session_state.answer = image, predict(image, parameters)
        except Refusal as refusal:
            st.error(str(refusal))
    about, answer = st.session_state.get("answer", (None, None))
    if answer and about == image:  # of another image than the one that is chosen now it would mislead
        shown(answer)
    with st.expander("The model's card"):
        st.code(card["card"] or "This model has no card.", language=None, wrap_lines=True)


def asked(card: dict) -> dict:
    """The parameters, in the sidebar."""
    with st.sidebar:
        st.header("The question")
        target = st.selectbox("Explain the class", ["the one that is named", *card["classes"]])
        method = st.selectbox("Method", METHODS, format_func=lambda name: name.replace("_", " "))
        names = ["black", "mean", "blur"]
        baseline = st.selectbox("Baseline", names, index=names.index(card["baseline"]))
        tolerance = st.select_slider(
            "Tolerance of the completeness gap", [0.005, 0.01, 0.02, 0.05, 0.1], 0.01
        )
        clamped = st.toggle("Only what raises the score")
        st.caption(f"Model {card['id']}")
    named = None if target not in card["classes"] else target
    integrated = method == "integrated_gradients"
    return {
        "target": named,
        "method": method,
        "baseline": baseline,
        "tolerance": tolerance if integrated else None,
        "clamped": clamped,
    }


def chosen(card: dict) -> bytes | None:
    """The image to ask about: an uploaded one, else the example that is chosen."""
    upload = st.file_uploader(
        f"A radiograph (PNG or JPEG, {MEGABYTES} MB at most)", max_upload_size=MEGABYTES
    )
    found = tried(card["id"].partition("/")[0])
    name = st.radio("or an example", list(found.files), horizontal=True)
    st.caption(found.words)
    image = upload.getvalue() if upload else found.files[name]
    if not upload:
        st.image(image, width=160, caption=name)
    return image


def shown(answer: dict) -> None:
    """An answer: class, bars, overlay, flags."""
    explanation = answer["explanation"]
    left, right = st.columns([3, 2])
    with left:
        strength = st.slider("Strength of the overlay", 0.0, 1.0, 1.0, 0.05)
        overlay = blend(answer["radiograph"], explanation["attribution"], strength)
        how = {"width": "stretch", "output_format": "PNG"}  # JPEG would smear the colours
        pair = st.columns(2)
        plain = blend(answer["radiograph"], explanation["attribution"], 0)
        pair[0].image(plain, caption="radiograph", **how)
        pair[1].image(overlay, caption=explanation["method"].replace("_", " "), **how)
        st.markdown(MEANING.format(target=explanation["target"]))
    with right:
        st.subheader(f"The network says: {answer['predicted']}")
        for name, value in answer["probabilities"].items():
            st.progress(value, text=f"{name}: {value:.1%}")
        for flag in answer["quality"]:
            st.markdown(f"{MARKS[flag['raised']]} {flag['words']}")
        st.caption(f"{answer['notice']} Answered in {answer['seconds']} s by {answer['model']['id']}.")


if __name__ == "__main__":  # Streamlit runs it so
    main()
