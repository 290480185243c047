"""FiftyOne for real: the dataset of a small study, its views, and the app in a browser."""

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from support.mongod import MISSING, none_is_left
from support.project import CHROMIUM, ROOT
from xnn import __main__, load_images, load_records, load_run, load_study, plots
from xnn.evaluation.predictions import predictions_table
from xnn.explain import gallery
from xnn.explain import sample as samples
from xnn.explore import audit, fiftyone, mongo
from xnn.report import steps

pytestmark = MISSING
ASK = """
import json, fiftyone as fo
data = fo.load_dataset("xnn-{study}")
views = {{name: len(data.load_saved_view(name)) for name in data.list_saved_views()}}
some = data.load_saved_view("explained").first()
print(json.dumps({{
    "samples": len(data), "views": views, "fields": list(data.get_field_schema()),
    "tags": data.count_sample_tags(), "labels": data.count_values("label.label"),
    "predicted": data.count("run_plain"),
    "maps": [some[f"ig_{{side}}_plain"].map.mean() for side in ("raises", "lowers")],
    "brain": data.list_brain_runs(), "persistent": data.persistent, "unique": data.bounds("uniqueness"),
}}))
"""


@pytest.fixture(scope="module")
def study(small):
    """The small study, looked at, with a run that has predictions and a gallery."""
    study, run = load_study(small), load_run(small, "plain")
    audit.explore(study)
    records = load_records(study)
    test = records[records.split == "test"]
    noise = np.random.default_rng(0).dirichlet([1, 1, 1], len(test))
    run.reports.mkdir(parents=True, exist_ok=True)
    predictions = predictions_table(test, noise, study.classes)
    predictions.to_csv(run.reports / "predictions.csv", index=False)
    cases = samples.draw(predictions, run)
    cases = cases[cases.shown].assign(difference=1.0, gap=0.001)
    maps = np.zeros((len(cases), 32, 32))
    maps[:, :8, :8], maps[:, 24:, 24:] = 1, -1  # an eighth of each, so that the colours are full
    rows = records.set_index("path").row[cases.path].to_numpy()
    gallery.write(run, cases, load_images(study)[rows], {"integrated_gradients": maps})
    yield study
    shutil.rmtree(run.reports)


@pytest.fixture(scope="module")
def told(study):
    os.environ.pop(mongo.VARIABLE, None)
    return fiftyone.build(study)


def test_the_page_says_what_the_dataset_holds(study, told):
    assert told.startswith(f"FiftyOne dataset `xnn-{study.name}`: {len(load_records(study))} radiographs")
    assert "predictions of 1 runs, heatmaps of 1 runs" in told
    assert f"`make fiftyone STUDY={study.name}` opens it." in told
    assert none_is_left(fiftyone.folder(study))


def test_the_dataset_holds_what_is_known(study, told):
    records, (table, _) = load_records(study), audit.load_audit(study)
    with mongo.serve(fiftyone.folder(study)) as address:
        answer = subprocess.run(
            [sys.executable, "-c", ASK.format(study=study.name)],
            env={**os.environ, **fiftyone.QUIET, mongo.VARIABLE: address},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = json.loads(answer.splitlines()[-1])
    assert found["samples"] == len(records)
    assert found["persistent"]
    assert found["tags"] == records.split.value_counts().to_dict()
    assert found["labels"] == records.label.value_counts().to_dict()
    assert found["predicted"] == (records.split == "test").sum()
    assert found["maps"] == pytest.approx([1 / 16, 1 / 16], abs=0.01)
    assert found["views"]["suspected label errors"] == table.suspect.sum()
    assert found["views"]["largest patients"] == records.patient.value_counts().head(10).sum()
    assert {"patient", "sha256", "duplicate_group", "uniqueness"} < set(found["fields"])
    assert found["brain"] == ["embedding_map", "uniqueness"] or "embedding_map" in found["brain"]
    assert 0 <= found["unique"][0] < found["unique"][1] <= 1


def test_without_a_database_the_page_says_what_is_missing(study, monkeypatch):
    monkeypatch.setattr(mongo.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    line = fiftyone.build(study)
    assert line.startswith("No FiftyOne dataset, only the figures above: there is no mongod")
    assert len(line.splitlines()) == 1


def test_what_was_not_looked_at_is_before_it_is_shown(study, monkeypatch):
    table = study.artifacts / "audit.csv"
    table.unlink()
    monkeypatch.setattr(mongo.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(steps.StepError, match="there is no mongod"):
        __main__.fiftyone(study.name)
    assert table.exists()


def test_a_port_in_use_is_named_with_the_way_out(study, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("FIFTYONE_DEFAULT_APP_PORT", str(other.getsockname()[1]))
        with pytest.raises(steps.StepError, match="in use; set FIFTYONE_DEFAULT_APP_PORT"):
            __main__.fiftyone(study.name)


def test_a_temporary_folder_with_a_long_path_is_no_place_for_a_socket(study, monkeypatch, tmp_path):
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr(mongo.tempfile, "tempdir", str(deep))
    with mongo.serve(fiftyone.folder(study)) as address:
        assert "deep" not in address


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH to look at the app with")
def test_a_browser_shows_radiographs_with_labels_and_a_heatmap(study, told, tmp_path):
    with opened(study) as address, browser() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(180_000)
        shot = tmp_path / "shot.png"
        page.goto(f"{address}/datasets/xnn-{study.name}?view=explained")
        page.locator("[data-cy=looker] canvas").first.wait_for()
        if not (found := wait_for(lambda: coloured(page, shot), 30)):
            # the app's session may reset the view that the address asks for: select it
            page.get_by_text("Unsaved view").first.click()
            page.get_by_text("explained", exact=True).first.click()
            found = wait_for(lambda: coloured(page, shot))
        assert found, "no heatmap on the page"
        assert page.get_by_text("ig_raises_plain").first.is_visible()
    assert none_is_left(fiftyone.folder(study))


# ---- what the tests look with ------------------------------------------------------------------------


@contextlib.contextmanager
def opened(study):
    """The address of the app, opened as `make fiftyone` does, on a port of its own; ended by Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys, xnn; from xnn.explore import fiftyone as view\n"
    code += "sys.exit(view.open_app(xnn.load_study(sys.argv[1]), int(sys.argv[2])))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, study.name, str(port)],
        env={**os.environ, "XNN_ROOT": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # in the background of a shell SIGINT is ignored, and would be here
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    try:
        lines = iter(process.stdout.readline, "")  # FiftyOne may say that it waits for its own server
        assert any(f"127.0.0.1:{port}" in line for line in lines), "the app ended before it was there"
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(180)
        process.stdout.close()
        assert not [
            each for each in psutil.process_iter(["cmdline"]) if str(port) in (each.info["cmdline"] or [])
        ]
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 2):
            pass


@contextlib.contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            timeout=180_000,
        )
        yield chromium
        chromium.close()


def wait_for(call, seconds=180):
    end = time.time() + seconds
    while not (found := call()) and time.time() < end:
        time.sleep(1)
    return found


def coloured(page, shot) -> bool:
    """Whether the green and the red of the heatmaps are on the page: an image's corner each."""
    page.screenshot(path=shot)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    near = [(np.abs(pixels - colour).max(axis=-1) < 40).mean() for colour in (plots.RAISES, plots.LOWERS)]
    return min(near) > 0.005
