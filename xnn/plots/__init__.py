"""Every figure: arrays and tables in, a matplotlib figure out.

A figure belongs to its caller: pyplot forgets it at once, so that a notebook shows it once and none
stays in memory. All share one look; ``style`` gives it to figures drawn elsewhere. There is a module of
figures for each part of the report, so that a page is made anew only where a figure of its own has changed.
"""

from .audit import embedding_map, sizes
from .comparison import compare_scores, differences, score_by_size
from .data import class_counts, class_means, image_sheet, images_per_patient, intensity_histograms
from .evaluation import (
    confusion_matrices,
    f1_by_threshold,
    outcome_counts,
    per_class_scores,
    precision_recall_curves,
    reliability,
    risk_coverage,
)
from .explanation import (
    LOWERS,
    RAISES,
    captions,
    card,
    insertion_deletion,
    opacity,
    overlay,
    overlay_table,
    overlays,
    photograph,
    randomisation,
)
from .look import CLASS_COLOURS, STYLE, class_colours, style
from .sweep import seed_spread, sweep_scores
from .training import learning_curves
