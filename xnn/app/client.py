"""The API as the page sees it: by HTTP, every failure a sentence."""

import os

import requests

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
