"""The page: take an image, press Predict, see where the answer comes from. It asks the API over HTTP.

Run by streamlit, as `python -m xnn.app` does.
"""

import streamlit as st

from xnn.app import client, examples, pictures

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
    return client.model()


@st.cache_data(show_spinner=False)
def tried(study: str) -> examples.Examples:
    return examples.find(study)


def main() -> None:
    st.set_page_config(page_title="xnn", layout="wide")
    st.title("Which class, and where does the answer come from?")
    st.warning(NOTICE)
    try:
        card = served()
    except client.Refusal as refusal:
        st.error(str(refusal))
        st.stop()
    parameters = asked(card)
    image = chosen(card)
    if st.button("Predict", type="primary", disabled=image is None):
        st.session_state.pop("answer", None)
        try:
            with st.spinner("Predicting and explaining ..."):
                st.session_state.answer = image, client.predict(image, parameters)
        except client.Refusal as refusal:
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
        overlay = pictures.blend(answer["radiograph"], explanation["attribution"], strength)
        how = {"width": "stretch", "output_format": "PNG"}  # JPEG would smear the colours
        pair = st.columns(2)
        plain = pictures.blend(answer["radiograph"], explanation["attribution"], 0)
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


main()
