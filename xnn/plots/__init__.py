"""Every figure: arrays and tables in, a matplotlib figure out.

A figure belongs to its caller: pyplot forgets it at once, so that a notebook shows it once and none stays in
memory. All have one look; ``style`` gives it to figures drawn elsewhere.
"""

from .data import (
    class_counts,
    class_means,
    embedding_map,
    image_sheet,
    images_per_patient,
    intensity_histograms,
    sizes,
)
from .evaluation import (
    confusion_matrices,
    f1_by_threshold,
    outcome_counts,
    precision_recall_curves,
    reliability,
    risk_coverage,
)
from .explanation import (
    LOWERS,
    RAISES,
    card,
    cases,
    insertion_deletion,
    opacity,
    overlay,
    photograph,
    save_photograph,
)
from .look import CLASS_COLOURS, STYLE, class_colours, style
from .regions import region_scores
from .runs import (
    beside_published,
    compare_scores,
    differences,
    learning_curves,
    panels_of_runs,
    score_by_size,
    seed_spread,
    sweep_scores,
)
