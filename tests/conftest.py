"""Fixtures that tests of several packages use."""

import gc
from pathlib import Path

import pytest

from support.project import QUICK, ROOT, write_study

gc.disable()  # while tests are collected: what they import stays

# the files that take longest begin, or a worker would come to one of them when the others have ended
SLOW = (
    "report/test_pipeline",
    "report/test_cluster",
    "report/test_stale_pages",
    "report/test_papermill",
    "report/test_disturbed",
    "training/",
    "report/test_verify",
    "app/",
    "explore/test_fiftyone",
    "test_examples",
    "report/test_site",
    "explain/",
)


def pytest_configure(config):
    config.option.loadscopereorder = False  # of pytest-xdist: else the files of most tests begin


def pytest_collection_modifyitems(items):
    def place(item):
        return next((n for n, name in enumerate(SLOW) if f"tests/{name}" in item.nodeid), len(SLOW))

    items.sort(key=place)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # else some extensions complain at the end of what was not cleared


@pytest.fixture
def root() -> Path:
    """The tests' project folder."""
    return ROOT


@pytest.fixture(scope="session")
def small():
    """A wrangled phantom study, 32 pixels a side, with runs of every kind; its name."""
    tiny = "config: {depths: [1, 1, 1, 1], hidden_sizes: [8, 8, 16, 16]}"
    write_study(
        "small",
        plain=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: plateau}}",
        averaged=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: one_cycle, average: 0.9}}",
        tuned=f"model: {{start_from: plain, train: 15}}\ntraining: {QUICK}, class_weights: true}}",
        head=f"model: {{weights: none, train: head, hidden: [8]}}\ntraining: {QUICK}}}",
        cached=f"model: {{weights: none, train: 15}}\ntraining: {QUICK}, views: 1}}",
        lora=f"model: {{weights: none, train: 15, lora: {{rank: 2}}}}\ntraining: {QUICK}, views: 2}}",
        helped=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: plateau, workers: 2}}",
        free=f"model: {{weights: none}}\ntraining: {QUICK}, schedule: plateau, deterministic: false}}",
        convnext=f"model: {{backbone: convnextv2, weights: none, {tiny}}}\ntraining: {QUICK}}}",
    )
    from xnn import load_study, wrangle

    wrangle(load_study("small"))
    return "small"
