"""The page, run by Streamlit; it calls the API over HTTP and needs no torch."""

import base64
import contextlib
import io
from typing import get_args

import numpy as np
import pandas as pd
import requests
import streamlit as st
from PIL import Image

from xnn.app.settings import Baseline, Method, Scale, load
from xnn.data.dicom import decode
from xnn.data.examples import examples
from xnn.data.images import ImageError

TIMEOUT = 60  # seconds; the API gives up earlier
DIMMED = 0.2  # how much darker the radiograph is below opaque colours, as in every figure
NOTICE = "**Not a medical device, not for diagnosis.** Do not upload anything that could identify a patient."
LEGEND = (
    ":orange[**Orange**] is evidence for **{target}**, :violet[**purple**] against it, and clear areas are "
    "neither. Colours are opaque from four times the mean magnitude."
)
ICONS = {True: ":material/warning:", False: ":material/check:", None: ":material/help:"}
PREDICTED = "the most likely one"
FINDINGS = {"bacteria": "bacterial pneumonia", "normal": "no pneumonia", "virus": "viral pneumonia"}
BASELINES = {"blur": "a blurred copy", "black": "a black image", "mean": "the mean radiograph"}
SCALES = {"smoothed": "smoothed", "pixels": "single pixels", "regions": "regions of similar grey"}


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


def finding(name: str) -> str:
    """Return what a radiologist calls a class."""
    return FINDINGS.get(name, name)


def choose_parameters(info: dict) -> dict:
    """Return the parameters of POST /predict, from the sidebar."""
    baselines = get_args(Baseline)
    with st.sidebar:
        st.header("Explanation")
        target = st.selectbox("Finding to explain", [PREDICTED, *info["classes"]], format_func=finding)
        scale = st.selectbox("Detail of the map", get_args(Scale), format_func=SCALES.get)
        start = baselines.index(info["baseline"])
        baseline = st.selectbox("Compared with", baselines, start, format_func=BASELINES.get)
        method = st.selectbox("Method", get_args(Method), format_func=lambda name: name.replace("_", " "))
        tolerance = st.select_slider("Largest error of the sum", [0.005, 0.01, 0.02, 0.05, 0.1], 0.01)
        clamped = str(st.toggle("Only evidence for the finding")).lower()
        st.caption(f"Model {info['id']}")
    parameters = {"method": method, "baseline": baseline, "tolerance": tolerance}
    parameters |= {"scale": scale, "clamped": clamped}
    return parameters | ({"target": target} if target != PREDICTED else {})


def choose_image(study: str) -> bytes:
    """Return the image to predict: the one uploaded or chosen last."""
    upload = st.file_uploader("A frontal chest radiograph (PNG, JPEG or DICOM)", on_change=_clear_example)
    files, source = st.cache_data(examples, show_spinner=False)(study)
    st.session_state.setdefault("example", next(iter(files)))
    name = st.radio("or an example", list(files), horizontal=True, key="example", format_func=finding)
    st.caption(source)
    image = upload.getvalue() if upload and not name else files[name or next(iter(files))]
    with contextlib.suppress(ImageError):  # in words when the API is called
        st.image(decode(image, 224), width=160, caption=finding(name) if name else upload and upload.name)
    return image


def _clear_example():
    st.session_state.example = None


def show(answer: dict) -> None:
    """Show an answer: raised flags above the class, then radiograph, map, zones and what was checked."""
    for flag in answer["quality"]:
        if flag["raised"]:
            st.error(flag["words"], icon=ICONS[True])
    missing = "no_lungs" in answer["flags"]
    st.subheader("No lungs found" if missing else f"Most likely: {finding(answer['predicted'])}")
    explanation = answer["explanation"]
    left, right = st.columns([3, 2])
    with left:
        strength = st.slider("Strength of the overlay", 0.0, 1.0, 1.0, 0.05)
        strengths = {"radiograph": 0.0, explanation["method"].replace("_", " "): strength}
        for column, caption in zip(st.columns(2), strengths, strict=True):
            pixels = blend(answer["radiograph"], explanation["attribution"], strengths[caption])
            column.image(pixels, caption, width="stretch", output_format="PNG")  # JPEG would smear colours
        st.markdown(LEGEND.format(target=finding(explanation["target"])))
    with right:
        if missing:
            st.markdown("What the network says of any image, without meaning here:")
        for name, value in answer["probabilities"].items():
            st.progress(value, f"{finding(name)}: {value:.1%}")
        for sentence in (None if missing else _set(answer["prediction_set"]), _share(explanation)):
            if sentence:
                st.markdown(sentence)
        if explanation["zones"]:
            st.dataframe(pd.Series(explanation["zones"], name="log-odds").round(2), width="stretch")
        for flag in answer["quality"]:
            if not flag["raised"]:
                st.markdown(f"{ICONS[flag['raised']]} {flag['words']}")
        st.caption(f"{answer['notice']} Answered in {answer['seconds']} s by {answer['model']['id']}.")


def _set(found: dict | None) -> str | None:
    if not found:
        return None
    names = " or ".join(map(finding, found["classes"])) or "none of the findings"
    held = f" (on test radiographs: {found['coverage']:.0%})" if found["coverage"] else ""
    return (
        f"Not ruled out: **{names}**. Such sets hold the true finding in {found['level']:.0%} of cases{held}."
    )


def _share(explanation: dict) -> str | None:
    if explanation["lung_share"] is None:
        return None
    return (
        f"**{explanation['lung_share']:.0%}** of the map lies within the lungs, which cover "
        f"{explanation['lung_area']:.0%} of the image."
    )


def blend(radiograph: str, attribution: str, strength: float) -> np.ndarray:
    """Return (H, W, 3) uint8 of two PNGs in base64: at strength 0 the radiograph, at 1 the full overlay."""
    files = [io.BytesIO(base64.b64decode(each)) for each in (radiograph, attribution)]
    grey, colour = (np.asarray(Image.open(file, formats=["PNG"]), float) for file in files)
    cover = strength * colour[..., 3:] / 255
    mixed = (1 - cover) * (1 - DIMMED * strength) * grey[..., None] + cover * colour[..., :3]
    return np.clip(mixed, 0, 255).astype(np.uint8)


if __name__ == "__main__":  # so it is when Streamlit runs it
    main()
