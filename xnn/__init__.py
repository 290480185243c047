"""xnn: explainable classification of chest radiographs, as notebooks read it.

- studies and runs: `load_study`, `load_run`
- data: `wrangle`, `load_records`, `load_images`, `load_masks`, `load_markers`, `audit`
- models: `Classifier`, `fit`, `load_model`, `predictions`
- evidence: `metrics`, `integrated_gradients`, `explain`; the modules `evidence` and `card`
- tracking: `track`; sweeps: `load_sweep`
- pages on methods: the package `appendix`
- figures: the module `plots`
- the app: the package `app`; `shipping` makes a trained run's model small

Names are imported when they are first used, so a notebook that needs no network loads none.
"""

import importlib
import os

# No package tells its makers that it is used, unless the user wants it to.
for _variable, _value in {
    "DO_NOT_TRACK": "1",
    "FIFTYONE_DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}.items():
    os.environ.setdefault(_variable, _value)

_CONTENTS = {
    "params": ("load_study", "load_run", "studies", "runs", "ParameterError"),
    "sweep": ("load_sweep", "sweeps"),
    "sources": ("DataError",),
    "splits": (),
    "leakage": ("audit", "siblings"),
    "data": ("load_records", "load_images", "load_masks", "load_markers"),
    "wrangling": ("wrangle",),
    "weights": ("WeightsError",),
    "models": ("Classifier", "build", "load_model", "to_input", "parameter_counts"),
    "batches": ("Radiographs",),
    "recipe": (),
    "features": (),
    "distributed": (),
    "training": ("fit",),
    "inference": ("logits", "probabilities"),
    "prediction": ("predictions",),
    "scoring": ("scores",),
    "evaluation": ("metrics", "confidence_intervals", "confusion", "outcome_counts"),
    "curves": (),
    "calibration": (),
    "comparison": (),
    "protocol": (),
    "shortcut": (),
    "verify": (),
    "embedding": (),
    "duplicates": (),
    "suspects": (),
    "exploration": (),
    "mongo": (),
    "fiftyone_dataset": (),
    "fiftyone_view": (),
    "tracking": ("track",),
    "integrated": ("integrated_gradients",),
    "fixed": (),
    "attribution": ("baseline",),
    "methods": ("explain",),
    "sample": (),
    "localisation": (),
    "measures": (),
    "evidence": (),
    "card": (),
    "gallery": (),
    "axioms": (),
    "shipping": (),
}
_MODULES = (
    "app",
    "appendix",
    "plots",
    "phantom",
    "images",
    "pictures",
    "provenance",
    "pipeline",
    "cluster",
    *_CONTENTS,
)
_HOME = {name: module for module, names in _CONTENTS.items() for name in names}
__all__ = sorted([*_MODULES, *_HOME])


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'xnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
