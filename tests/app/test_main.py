"""The app as it is started, in real processes, and looked at in a real browser."""

import contextlib
import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
import requests

from support.project import CHROMIUM, PROJECT
from support.serving import (
    await_health,
    encoded,
    folder_of,
    free_port,
    healthcheck,
    picture,
    process,
    serving,
)
from xnn.app.settings import LUNGS, MODEL

FILE = {"file": ("x.png", encoded(picture()))}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("served") / "small/run/model")


def alive(pid) -> bool:
    """Whether a process still runs; a dead one that nobody has waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def children(pid) -> list[int]:
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        pytest.skip("this system does not say which processes another one has started")
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_browser_uploads_predicts_and_sees_the_overlay(model, small, tmp_path):
    if not CHROMIUM:
        pytest.skip("there is no chromium on this machine")
    from playwright.sync_api import sync_playwright

    port, page_port = free_port(), free_port()
    app = process("xnn.app", port, model, XNN_UI_PORT=page_port)
    try:
        await_health(port)
        example = tmp_path / "example.png"
        example.write_bytes(encoded(picture()))
        with sync_playwright() as driver:
            options = {"args": ["--no-sandbox", "--disable-gpu"], "timeout": 180_000}
            browser = driver.chromium.launch(executable_path=CHROMIUM, **options)
            shown, outside = visit(browser, f"http://127.0.0.1:{page_port}", example, tmp_path)
            browser.close()
        assert not outside, "the page asks nobody else"
        assert coloured(shown), "the overlay has its colours"
        started = children(app.pid)
        assert len(started) == 2
        app.send_signal(signal.SIGINT)
        assert app.wait(60) == 0
        assert not any(alive(pid) for pid in started), "nothing is left running"
    finally:
        app.terminate()
        app.wait(60)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_a_cat_is_warned_of_before_its_class():
    from playwright.sync_api import sync_playwright
    from skimage import data

    port, page_port = free_port(), free_port()
    shipped = {"XNN_UI_PORT": page_port, "XNN_LUNGS": PROJECT / LUNGS}
    app = process("xnn.app", port, PROJECT / MODEL, **shipped)
    try:
        await_health(port)
        with sync_playwright() as driver:
            options = {"args": ["--no-sandbox", "--disable-gpu"], "timeout": 180_000}
            browser = driver.chromium.launch(executable_path=CHROMIUM, **options)
            page = upload(
                browser, f"http://127.0.0.1:{page_port}", Path(data.__file__).parent / "chelsea.png", []
            )
            page.get_by_role("heading", name="No lungs found").wait_for()
            assert healthcheck("ui", page_port) == 0
            warning = page.get_by_test_id("stAlertContentError").first
            named = page.get_by_text("no pneumonia:").first
            assert "No lungs found" in warning.inner_text()
            assert warning.bounding_box()["y"] < named.bounding_box()["y"]
            red, green, _ = map(
                int, re.findall(r"\d+", warning.evaluate("e => getComputedStyle(e).color"))[:3]
            )
            assert red > 2 * green
            if file := os.environ.get("SCREENSHOT_CAT"):
                page.screenshot(path=file, full_page=True)
            browser.close()
    finally:
        app.terminate()
        app.wait(60)


def test_what_it_started_ends_with_it_even_if_it_is_killed(model):
    port = free_port()
    app = process("xnn.app", port, model, XNN_UI_PORT=free_port())
    try:
        await_health(port)
        started = children(app.pid)
    finally:
        app.kill()
    until = time.monotonic() + 60
    while any(alive(pid) for pid in started) and time.monotonic() < until:
        time.sleep(0.1)
    assert started
    assert not any(alive(pid) for pid in started)


def upload(browser, address, file, outside):
    """The page after an upload has been predicted; `outside` collects what it asked of others."""
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.set_default_timeout(120_000)
    mine = (address, "data:", "blob:", address.replace("http", "ws"))
    page.on("request", lambda each: None if each.url.startswith(mine) else outside.append(each.url))
    until = time.monotonic() + 120
    while True:
        try:
            page.goto(address)
            break
        except Exception:
            assert time.monotonic() < until
            time.sleep(0.5)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_test_id("stImageCaption").get_by_text(file.name).wait_for()  # the preview
    page.get_by_role("button", name="Predict").click()
    return page


def visit(browser, address, example, folder):
    """Colours of the overlay that the page shows for an upload, and what it asked of others."""
    outside = []
    page = upload(browser, address, example, outside)
    page.get_by_text("Most likely").wait_for()
    picture = page.get_by_role("img").nth(-1)
    picture.wait_for()
    until = time.monotonic() + 60
    while not coloured(shown := colours(page)) and time.monotonic() < until:
        page.wait_for_timeout(200)
    page.screenshot(path=os.environ.get("SCREENSHOT", folder / "page.png"), full_page=True)
    return shown, outside


def coloured(shown) -> bool:
    return any(abs(red - green) > 100 for red, green, _ in shown)


def colours(page) -> set:
    """Colours of the pixels of every picture on the page that has been loaded."""
    found = page.evaluate(
        """() => [...document.images].filter(image => image.naturalWidth).flatMap(image => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, canvas.width, canvas.height).data, out = [];
            for (let i = 0; i < data.length; i += 4) out.push([data[i], data[i + 1], data[i + 2]]);
            return out; })"""
    )
    return {tuple(each) for each in found}


def test_killed_in_the_middle_it_starts_again_and_answers(model):
    port = free_port()
    first = process("xnn.app.api", port, model)
    url = f"http://127.0.0.1:{port}/predict"
    try:
        await_health(port)
        asking = [threading.Thread(target=ask, args=(url,)) for _ in range(4)]
        for each in asking:
            each.start()
        time.sleep(0.2)
    finally:
        first.kill()
        first.wait()
    for each in asking:
        each.join(60)
    second = process("xnn.app.api", port, model)
    try:
        await_health(port)
        answer = requests.post(url, files=FILE, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["explanation"]["completeness"]["passed"]
        second.terminate()
        output, _ = second.communicate(timeout=60)
        assert second.returncode in (0, -signal.SIGTERM)
        lines = [json.loads(line) for line in output.splitlines()]
        assert all({"time", "level", "event"} <= set(line) for line in lines)
        assert "/predict" in [line.get("path") for line in lines]
        assert any("startup complete" in line["event"] for line in lines)
    finally:
        second.kill()


def ask(url):
    with contextlib.suppress(requests.RequestException):
        requests.post(url, files=FILE, params={"tolerance": 0.001}, timeout=60)


def only_line(app) -> str:
    """What an app says that cannot start."""
    output, _ = app.communicate(timeout=300)
    assert app.returncode == 1
    (line,) = output.strip().splitlines()
    assert line.startswith("xnn: ")
    return line


def test_a_model_that_cannot_be_served_is_one_line_at_start(tmp_path):
    app = process("xnn.app", free_port(), tmp_path, XNN_UI_PORT=free_port())
    assert "no config.json" in only_line(app)


@pytest.mark.parametrize(
    ("module", "variable"),
    [("xnn.app", "XNN_PORT"), ("xnn.app", "XNN_UI_PORT"), ("xnn.app.api", "XNN_PORT")],
)
def test_a_port_in_use_is_one_line_at_start(model, module, variable):
    """Even if what uses it answers as the app would."""
    with serving(model) as (url, _):
        port = url.rpartition(":")[2]
        ports = {"XNN_PORT": free_port(), "XNN_UI_PORT": free_port(), variable: port}
        line = only_line(process(module, ports.pop("XNN_PORT"), model, **ports))
    assert line.startswith(f"xnn: {variable}={port} on")
    assert "address already in use" in line


def test_a_model_that_loads_slowly_is_one_line_with_the_setting(model):
    app = process("xnn.app", free_port(), model, XNN_UI_PORT=free_port(), XNN_READY_SECONDS=0.5)
    line = only_line(app)
    assert "within 0.5 seconds" in line
    assert "XNN_READY_SECONDS" in line
