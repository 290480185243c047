"""xnn: explainable classification of chest radiographs, as notebooks read it.

- studies and runs: `load_study`, `load_run`, `summary`
- data: `wrangle`, `load_records`, `load_images`, `load_masks`, `load_markers`, `audit`
- models: `Classifier`, `fit`, `load_model`, `predictions`
- evidence: `metrics`, `integrated_gradients`, `attributions`; the modules `evidence` and `card`
- registries, to add your own to: `BACKBONES`, `METHODS`
- tracking: `track`; sweeps: `load_sweep`

- figures: the module `plots`
- the app: the package `app`; `report.ship` makes a trained run's model small

``__init__.pyi`` says where each name is from. Names are imported when they are first used, so a notebook that
needs no network loads none.
"""

import os

import lazy_loader

# No package reports its use to its makers, unless the user wants it to.
for _variable, _value in {
    "DO_NOT_TRACK": "1",
    "FIFTYONE_DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}.items():
    os.environ.setdefault(_variable, _value)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
