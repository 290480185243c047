from . import (
    app as app,
)
from . import (
    appendix as appendix,
)
from . import (
    attribution as attribution,
)
from . import (
    axioms as axioms,
)
from . import (
    batches as batches,
)
from . import (
    calibration as calibration,
)
from . import (
    card as card,
)
from . import (
    cluster as cluster,
)
from . import (
    comparison as comparison,
)
from . import (
    curves as curves,
)
from . import (
    data as data,
)
from . import (
    distributed as distributed,
)
from . import (
    duplicates as duplicates,
)
from . import (
    embedding as embedding,
)
from . import (
    evaluation as evaluation,
)
from . import (
    evidence as evidence,
)
from . import (
    execute as execute,
)
from . import (
    exploration as exploration,
)
from . import (
    features as features,
)
from . import (
    fiftyone_dataset as fiftyone_dataset,
)
from . import (
    fiftyone_view as fiftyone_view,
)
from . import (
    fixed as fixed,
)
from . import (
    freshness as freshness,
)
from . import (
    gallery as gallery,
)
from . import (
    images as images,
)
from . import (
    inference as inference,
)
from . import (
    integrated as integrated,
)
from . import (
    kept as kept,
)
from . import (
    leakage as leakage,
)
from . import (
    localisation as localisation,
)
from . import (
    measures as measures,
)
from . import (
    methods as methods,
)
from . import (
    models as models,
)
from . import (
    mongo as mongo,
)
from . import (
    params as params,
)
from . import (
    phantom as phantom,
)
from . import (
    pictures as pictures,
)
from . import (
    pipeline as pipeline,
)
from . import (
    plots as plots,
)
from . import (
    prediction as prediction,
)
from . import (
    protocol as protocol,
)
from . import (
    provenance as provenance,
)
from . import (
    recipe as recipe,
)
from . import (
    restamp as restamp,
)
from . import (
    sample as sample,
)
from . import (
    scoring as scoring,
)
from . import (
    shipping as shipping,
)
from . import (
    shortcut as shortcut,
)
from . import (
    sources as sources,
)
from . import (
    splits as splits,
)
from . import (
    steps as steps,
)
from . import (
    suspects as suspects,
)
from . import (
    sweep as sweep,
)
from . import (
    tracking as tracking,
)
from . import (
    training as training,
)
from . import (
    verify as verify,
)
from . import (
    weights as weights,
)
from . import (
    wrangling as wrangling,
)
from .attribution import baseline as baseline
from .batches import Radiographs as Radiographs
from .data import load_images as load_images
from .data import load_markers as load_markers
from .data import load_masks as load_masks
from .data import load_records as load_records
from .evaluation import confidence_intervals as confidence_intervals
from .evaluation import confusion as confusion
from .evaluation import metrics as metrics
from .evaluation import outcome_counts as outcome_counts
from .inference import logits as logits
from .inference import probabilities as probabilities
from .integrated import integrated_gradients as integrated_gradients
from .leakage import audit as audit
from .leakage import siblings as siblings
from .methods import explain as explain
from .models import Classifier as Classifier
from .models import build as build
from .models import load_model as load_model
from .models import parameter_counts as parameter_counts
from .models import to_input as to_input
from .params import ParameterError as ParameterError
from .params import load_run as load_run
from .params import load_study as load_study
from .params import runs as runs
from .params import studies as studies
from .prediction import predictions as predictions
from .scoring import scores as scores
from .sources import DataError as DataError
from .sweep import load_sweep as load_sweep
from .sweep import sweeps as sweeps
from .tracking import track as track
from .training import fit as fit
from .weights import WeightsError as WeightsError
from .wrangling import wrangle as wrangle
