import base64
import io
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from PIL import Image
from starlette.exceptions import HTTPException

from support.hostile import corpus, images
from support.serving import encoded, folder_of, picture, serving
from xnn.app import answers, limits, telemetry
from xnn.app.settings import Settings

FILE = encoded(picture())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("served") / "study/run/model")


@pytest.fixture(scope="module")
def server(model):
    with serving(model, max_bytes=200_000) as found:
        yield found


@pytest.fixture
def url(server):
    return server[0]


def post(url, data=FILE, **options):
    return requests.post(f"{url}/predict", files={"file": ("../../x.png", data)}, timeout=60, **options)


def error(answer, status):
    """The sentence of a refusal, which tells nothing of the machine."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "request_id"}
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    for secret in ("Traceback", "/tmp", ".py", "site-packages", socket.gethostname()):
        assert secret not in answer.text
    return answer.json()["error"]


# ---- what it answers -----------------------------------------------------------------------------


def test_json_holds_class_probabilities_explanation_and_origin(url):
    answer = post(url).json()
    assert answer["predicted"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    explained = answer["explanation"]
    assert explained["target"] == answer["predicted"]
    assert explained["completeness"]["gap"] <= 0.01
    assert explained["steps"] >= 9
    overlay = Image.open(io.BytesIO(base64.b64decode(explained["overlay"])))
    assert (overlay.size, overlay.mode) == ((32, 32), "RGB")
    assert answer["flags"] == ["uncalibrated"]
    assert answer["prediction_set"] is None
    assert (explained["lung_share"], explained["zones"]) == (None, None)
    assert {flag["name"] for flag in answer["quality"]} == {
        "uncalibrated",
        "no_lungs",
        "far_from_training",
        "incomplete",
        "in_the_frame",
    }
    assert answer["model"]["id"] == "study/run"
    assert len(answer["model"]["sha256"]) == 64
    assert "no medical device" in answer["notice"]


def test_a_folder_without_more_says_what_is_not_known(url):
    answer = post(url, params={"explain": "false"}).json()
    words = {flag["name"]: flag["words"] for flag in answer["quality"]}
    assert "not calibrated" in words["uncalibrated"]
    assert "not known" in words["far_from_training"]
    assert answer["calibrated"] is False
    assert answer["explanation"] is None


def test_png_has_the_class_in_its_headers(url):
    answer = post(url, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-flags"] == "uncalibrated"
    assert answer.headers["x-class"] in ("bacteria", "normal", "virus")
    assert 1 / 3 <= float(answer.headers["x-probability"]) <= 1
    picture = post(url).json()["explanation"]["overlay"]
    assert answer.content == base64.b64decode(picture)


def test_a_raw_body_is_answered_like_a_form(url):
    raw = requests.post(f"{url}/predict", data=FILE, headers={"Content-Type": "image/png"}, timeout=60)
    assert raw.json()["probabilities"] == post(url).json()["probabilities"]


@pytest.mark.parametrize("kind", ["image/jpeg", "image/jpg"])
def test_both_names_of_jpeg_are_accepted(url, kind):
    file = encoded(picture(), "JPEG")
    answer = requests.post(f"{url}/predict", data=file, headers={"Content-Type": kind}, timeout=60)
    assert answer.json()["probabilities"] == post(url, file).json()["probabilities"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/*", "image/png"),
        ("image/png;q=0.5, application/json;q=0.4", "image/png"),
        ("application/json;q=0, */*", "image/png"),
        ("image/png;q=0", None),
        ("text/html", None),
    ],
)
def test_accept_chooses_the_kind_of_answer(url, accept, kind):
    answer = post(url, headers={"Accept": accept}, params={"explain": "false"})
    assert answer.status_code == (200 if kind else 406)
    assert kind in (None, answer.headers["content-type"])


@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "smoothgrad_ig", "grad_cam", "occlusion"])
def test_every_method_explains_the_class_asked_for(url, method):
    answer = post(url, params={"method": method, "target": "virus", "baseline": "blur"}).json()
    assert answer["explanation"]["target"] == "virus"
    assert answer["explanation"]["completeness"] is None


@pytest.mark.parametrize("scale", ["pixels", "regions"])
def test_a_map_is_shown_at_the_scale_asked_for(url, scale):
    smoothed, other = (post(url, params=each).json() for each in ({}, {"scale": scale}))
    assert other["explanation"]["scale"] == scale
    assert other["explanation"]["overlay"] != smoothed["explanation"]["overlay"]


def test_clamped_shows_nothing_that_lowers_the_logit(url):
    layer = post(url, params={"clamped": "true"}).json()["explanation"]["attribution"]
    _, _, blue, opacity = np.moveaxis(np.asarray(Image.open(io.BytesIO(base64.b64decode(layer)))), -1, 0)
    assert opacity.any()
    assert not opacity[blue > 100].any()  # purple


def test_the_other_pages(url):
    documentation = requests.get(f"{url}/docs", timeout=60).text
    assert requests.get(f"{url}/", timeout=60).text == documentation
    for words in ("POST /predict", "smoothgrad_ig", "0.001", "curl -F file=", "too much to do"):
        assert words in documentation
    assert "http" not in documentation.replace("http://127.0.0.1", "")
    assert requests.get(f"{url}/health", timeout=60).json() == {"status": "alive"}
    assert requests.get(f"{url}/ready", timeout=60).json() == {"status": "ready"}
    card = requests.get(f"{url}/model", timeout=60).json()
    assert card["classes"] == ["bacteria", "normal", "virus"]
    assert "no medical device" in card["card"]
    post(url, params={"explain": "false"})
    numbers = requests.get(f"{url}/metrics", timeout=60).text
    assert 'xnn_requests_total{method="POST",route="/predict",status="200"}' in numbers


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/ready", "/model", "/metrics", "/openapi.json"])
def test_head_is_answered_like_get_without_a_body(url, path):
    got = requests.get(url + path, timeout=60, allow_redirects=False)
    head = requests.head(url + path, timeout=60)
    assert (head.status_code, head.content) == (got.status_code, b"")
    changing = {"date", "x-request-id"} | ({"content-length"} if path == "/metrics" else set())
    for name in set(got.headers) | set(head.headers):
        assert name in changing or head.headers[name] == got.headers[name]


def test_after_head_a_connection_goes_on(url):
    head, get = (f"{method} /health HTTP/1.1\r\nhost: localhost\r\n".encode() for method in ("HEAD", "GET"))
    sent = head + b"\r\n" + get + b"connection: close\r\n\r\n"
    assert exchange(url, sent).count(b"HTTP/1.1 200") == 2
    refused = requests.head(f"{url}/predict", timeout=60)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    numbers = requests.get(f"{url}/metrics", timeout=60).text
    assert 'xnn_requests_total{method="HEAD",route="/health",status="200"}' in numbers


# ---- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"target": "covid"}, "target: choose one of bacteria, normal, virus"),
        ({"method": "lime"}, "method: input should be 'integrated_gradients'"),
        ({"tolerance": "0"}, "tolerance: input should be greater than or equal to 0.001"),
        ({"tolerance": "nan"}, "tolerance"),
        ({"baseline": "mean"}, "has no mean of its training images"),
        ({"steps": "9"}, "no parameter 'steps': use explain, target"),
    ],
)
def test_a_wrong_parameter_is_a_sentence(url, parameters, words):
    assert words in error(post(url, params=parameters), 422)


def test_what_is_no_image_is_a_sentence(url):
    assert error(post(url, b"hello"), 422) == "not a JPEG or PNG image"
    assert "truncated" in error(post(url, FILE[:-500]), 422)
    assert "one file, named file" in error(
        requests.post(f"{url}/predict", files={"x": FILE}, timeout=60), 422
    )
    assert "send the image as" in error(requests.post(f"{url}/predict", json={"a": 1}, timeout=60), 415)
    assert "accept one of" in error(post(url, headers={"Accept": "text/html"}), 406)
    broken = {"Content-Type": "multipart/form-data"}
    error(requests.post(f"{url}/predict", data=b"--", headers=broken, timeout=60), 400)
    two = [("file", ("a", FILE)), ("file", ("b", FILE))]
    error(requests.post(f"{url}/predict", files=two, timeout=60), 400)
    error(requests.get(f"{url}/nothing", timeout=60), 404)
    error(requests.get(f"{url}/predict", timeout=60), 405)


def test_bytes_are_counted_while_they_arrive(url, model):
    large = bytes(300_000)
    png = {"Content-Type": "image/png"}
    assert "more than" in error(post(url, large), 413)
    chunks = (large[:50_000] for _ in range(12))  # chunked: nothing says how many will come
    assert "more than" in error(requests.post(f"{url}/predict", data=chunks, headers=png, timeout=60), 413)
    lies = (
        b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\ncontent-length: 99\r\n\r\n"
    )
    with serving(model, body_seconds=0.5) as (hasty, _):
        assert b" 408 " in exchange(hasty, lies + b"x")


def test_a_header_that_does_not_end_is_given_up(url, monkeypatch):
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.5)
    assert exchange(url, b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: ") == b""
    monkeypatch.setattr(limits, "HEADER_SECONDS", 2)  # on a busy machine a whole one takes a moment, too
    whole = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert b" 200 " in exchange(url, whole + b"GET /health HTTP/1.1\r\n")
    assert requests.get(f"{url}/health", timeout=60).ok


def exchange(url, sent, seconds=60) -> bytes:
    """What a server sends back to bytes, until it closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(sent)
        found = b""
        while part := connection.recv(4096):
            found += part
    return found


def test_another_host_and_another_origin_get_nothing(url):
    for path in ("health", "docs"):
        answer = requests.get(f"{url}/{path}", headers={"Host": "evil.example"}, timeout=60)
        assert (answer.status_code, "XNN_HOSTS" in answer.json()["error"]) == (400, True)
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (requests.options(f"{url}/predict", headers=asked, timeout=60), post(url, headers=asked)):
        assert "access-control-allow-origin" not in answer.headers


def test_every_answer_has_the_headers_of_security(url):
    for path in ("/docs", "/health", "/nothing"):
        headers = requests.get(url + path, timeout=60).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_too_much_to_do_is_503_with_retry_after(model, monkeypatch):
    going, free = threading.Event(), threading.Event()

    answer = answers.answer

    def slow(*given):
        going.set()
        free.wait(60)
        return answer(*given)

    monkeypatch.setattr(answers, "answer", slow)
    with serving(model, waiting=0, seconds=120) as (url, _):
        first = []
        thread = threading.Thread(target=lambda: first.append(post(url)))
        thread.start()
        assert going.wait(60)
        second = post(url)
        assert "too many" in error(second, 503)
        assert int(second.headers["retry-after"]) > 0
        assert requests.get(f"{url}/ready", timeout=60).status_code == 503
        assert requests.get(f"{url}/health", timeout=60).status_code == 200
        free.set()
        thread.join(60)
        assert first[0].status_code == 200
        assert requests.get(f"{url}/ready", timeout=60).status_code == 503, "the free place is promised"
        time.sleep(int(second.headers["retry-after"]))
        assert post(url, params={"explain": "false"}).status_code == 200
        assert requests.get(f"{url}/ready", timeout=60).status_code == 200


def test_who_comes_back_when_told_is_admitted():
    queue = limits.Queue(Settings(waiting=1))
    held = [queue.place() for _ in range(2)]
    for each in held:
        each.__enter__()
    (first, ticket), *_, (last, late) = [refused(queue) for _ in range(3)]
    assert refused(queue, late)[0] == last, "who comes too early has one promise, not two"
    held.pop().__exit__(None, None, None)
    assert refused(queue)[0] >= last, "the free place is promised"
    time.sleep(first)
    with queue.place(), queue.place(ticket):  # another one may get the place, and its owner gets another
        refused(queue)
    queue.promised = {late: time.monotonic() - limits.GRACE - 1}  # who is late loses the place
    with queue.place():
        assert queue.promised == {}


def refused(queue, ticket=None) -> tuple[int, str]:
    """The seconds after which a refused client is told to come back, and its ticket."""
    with pytest.raises(HTTPException) as found, queue.place(ticket):
        pass
    assert found.value.status_code == 503
    headers = found.value.headers
    return int(headers["retry-after"]), headers["set-cookie"].partition(";")[0].partition("=")[2]


def test_of_many_clients_all_who_come_back_are_admitted(model, monkeypatch):
    """Each sends again at once when it is answered, and when it is told to if it is refused."""
    answer, returned = answers.answer, []

    def slow(*given):
        time.sleep(0.2)
        return answer(*given)

    def client():
        session, told, answered = requests.Session(), False, 0
        while answered < 2:
            found = session.post(f"{url}/predict", files={"file": FILE}, params=quick, timeout=60)
            assert found.status_code in (200, 503), found.text
            if told:
                returned.append(found.status_code == 200)
            told, answered = found.status_code == 503, answered + found.ok
            time.sleep(int(found.headers["retry-after"]) if told else 0)

    monkeypatch.setattr(answers, "answer", slow)
    quick = {"explain": "false"}
    with serving(model, waiting=3, seconds=120) as (url, _), ThreadPoolExecutor(12) as clients:
        for each in [clients.submit(client) for _ in range(12)]:
            each.result(120)
    assert len(returned) >= 8
    assert all(returned), returned


def test_a_request_gives_up_at_its_time_limit(model):
    with serving(model, seconds=0.3, max_gradients=1_000_000) as (url, app):
        passes = []

        def slow(*_):
            passes.append(time.sleep(0.4))

        hook = app.state.model.network.register_forward_hook(slow)
        answer = post(url, params={"method": "smoothgrad_ig"})
        assert "no answer within 0.3 seconds" in error(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        hook.remove()
        assert len(passes) <= 1, "the time is over after the first of thousands"


def test_a_failure_tells_nothing_but_its_id(model, monkeypatch, caplog):
    monkeypatch.setattr(answers, "answer", lambda *_: 1 / 0)
    with serving(model) as (url, _):
        said = error(post(url, headers={"X-Request-ID": "mine"}), 500)
    assert "log says why" in said


# ---- logs ----------------------------------------------------------------------------------------


def test_a_request_is_a_line_of_json_with_its_id(url, caplog):
    with caplog.at_level(logging.INFO, logger="xnn.app"):
        answer = post(url, headers={"X-Request-ID": "abc-1"}, params={"explain": "false"})
        refused = post(url, headers={"X-Request-ID": "not { ok }"}, params={"explain": "false"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert refused.headers["x-request-id"] != "not { ok }"
    records = [record for record in caplog.records if record.name == "xnn.app"]
    line = json.loads(telemetry.LINE.format(records[0]))
    assert {"time", "level", "event", "request_id", "status", "bytes", "seconds"} < set(line)
    assert (line["request_id"], line["status"], line["path"]) == ("abc-1", 200, "/predict")
    assert line["bytes"] > len(FILE)
    assert "x.png" not in json.dumps(line)


# ---- files ---------------------------------------------------------------------------------------


def test_images_of_every_mode_are_answered_or_refused_in_words(url):
    for kind, data in images(np.random.default_rng(0)):
        answer = post(url, data, params={"explain": "false"})
        if kind in ("png I;16", "png interlaced"):
            error(answer, 422)
        else:
            assert answer.status_code == 200, f"{kind}: {answer.text}"
            assert np.isfinite(list(answer.json()["probabilities"].values())).all()


def test_hostile_files_are_answered_or_refused_in_words(url):
    for kind, data in corpus(100):
        answer = post(url, data, params={"explain": "false"})
        assert answer.status_code in (200, 400, 413, 422), f"{kind}: {answer.status_code} {answer.text[:200]}"
        if answer.status_code != 200:
            error(answer, answer.status_code)
