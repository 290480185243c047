"""A real server on this machine, in a thread or as a process of its own."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import requests
import torch
from PIL import Image

import xnn
from support.project import PROJECT, ROOT
from support.samples import CLASSES
from xnn.app import api, model
from xnn.app.settings import Settings, listen


def folder_of(path, size=32, **options):
    """A folder with a network of random weights, as a training leaves one."""
    torch.manual_seed(0)
    xnn.Classifier("mobilenet_v2", CLASSES, size, **options).save_pretrained(path)
    return path


@contextlib.contextmanager
def serving(folder, **settings):
    """The address of an API of the model in a folder, with the settings given."""
    given = Settings(model=str(folder), port=0, **settings)
    guard, listening = (
        api.create(given, model.load(str(folder), given.lungs)),
        listen(given.host, given.port, "XNN_"),
    )
    server = api.server(guard)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", guard.app
    finally:
        server.should_exit = True
        thread.join(60)


def process(module, port, model, **environment):
    """``python -m module``, its API on the port; its output is kept."""
    given = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=PROJECT,
        env={**os.environ, "XNN_ROOT": str(ROOT), "XNN_MODEL": str(model), "XNN_PORT": str(port), **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def await_health(port, seconds=600):
    """Wait until an API answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=2)
        time.sleep(0.1)
    raise TimeoutError(f"no API on port {port}")


def healthcheck(image, port) -> int:
    """The status of the command that looks after the container of an image, for a server on this port."""
    text = (PROJECT / f"docker/{image}.Dockerfile").read_text()
    _, option, code = json.loads(re.search(r"HEALTHCHECK.*\n +CMD (\[.+\])", text)[1])
    code = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", code)
    return subprocess.run([sys.executable, option, code], stderr=subprocess.DEVNULL).returncode


def picture(size=64, seed=0) -> np.ndarray:
    """(size, size) grey."""
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


def encoded(pixels, form="PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()
