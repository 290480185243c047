"""How much blur before the network steadies its answers? Asked of validation images alone.

    python benchmarks/smoothing.py > benchmarks/smoothing.md
    python benchmarks/smoothing.py --run mobilenetv2-112-robust > benchmarks/smoothing-112.md

The trained run predicts each validation image as it is, and after each change that should not matter
(xnn/data/changes.py), with several values of evaluation.smooth. Intervals are 95 %, over patients.
"""

import argparse

import numpy as np
import pandas as pd

from xnn import load_images, load_model, load_records, load_run, original_sizes
from xnn.config.schema import Run
from xnn.data import changes
from xnn.evaluation import groups
from xnn.evaluation.comparison import markdown, signed, with_interval
from xnn.evaluation.intervals import all_and_resampled, summary
from xnn.evaluation.predictions import predictions_table
from xnn.evaluation.scoring import mean, scores
from xnn.explain.target import fused
from xnn.models import classifier

SIGMAS = (0, 0.7, 1, 1.6)
RESAMPLES = 2000
PAGE = """# How much blur steadies the answers?

**Answer.** {answer}

Output of `python benchmarks/smoothing.py --run {run}`, which describes the method. Study `{study}`, {n}
validation images of {patients} patients; no test image was used. *Worst group*: the lowest
accuracy, normal against pneumonia, among the quarters of healthy and of ill images by size; runs are chosen
by it. The columns of changes are shares of answers that become another class.

{table}"""


def answers(run: Run, sigma: float, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the probabilities (N, C) of images (N, H, W) uint8 of each kind, after a blur of `sigma` px."""
    own = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"smooth": sigma})})
    network = fused(load_model(own))
    return {kind: classifier.answers(network, each, own.evaluation.flip) for kind, each in images.items()}


def changed(images: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return images (N, H, W) as they are, under the name "", and after each change."""
    rng = np.random.default_rng(seed)
    kinds = {
        name: np.stack([change(each, rng) for each in images]) for name, change in changes.CHANGES.items()
    }
    return {"": images, **kinds}


def worst_group(run: Run, records: pd.DataFrame, sizes: pd.Series | None, plain: np.ndarray) -> dict | None:
    """Return the accuracy in the worst group of class and size, if sizes are known."""
    table = predictions_table(records, plain, run.study.classes)
    images = groups.quartered(run.study, {"val": table}, sizes)
    return groups.worst(groups.by_size(images, RESAMPLES, run.seed), "val")


def page(
    run: Run, records: pd.DataFrame, sizes: pd.Series | None, found: dict[float, dict[str, np.ndarray]]
) -> str:
    """Return the benchmark as Markdown, from the originals' sizes and the probabilities of each sigma."""
    classes, rows, f1, moved = run.study.classes, [], {}, {}
    labels = records.label.map(classes.index).to_numpy()
    weights = all_and_resampled(records.patient, RESAMPLES, run.seed)
    for sigma, by_kind in found.items():
        plain = by_kind[""]
        f1[sigma] = scores(labels, plain, classes, weights)["f1_weighted"]
        moved[sigma] = {
            kind: mean(each.argmax(1) != plain.argmax(1), weights) for kind, each in by_kind.items() if kind
        }
        shares = {kind: with_interval(summary(each)) for kind, each in moved[sigma].items()}
        quality = {"weighted F1": summary(f1[sigma]), "worst group": worst_group(run, records, sizes, plain)}
        quality = {name: with_interval(each) for name, each in quality.items() if each}
        rows.append({"blur, px": sigma} | quality | shares)
    given = run.evaluation.smooth
    falls = " and ".join(
        f"{kind} by {signed(summary(moved[given][kind] - moved[0][kind]))}" for kind in list(moved[0])[:2]
    )
    answer = (
        f"The run's blur of {given:g} px changes the share of answers that become another class: "
        f"{falls}. Weighted F1 changes by {signed(summary(f1[given] - f1[0]))}."
    )
    told = {
        "run": run.name,
        "study": run.study.name,
        "n": len(records),
        "patients": records.patient.nunique(),
    }
    return PAGE.format(answer=answer, table=markdown(pd.DataFrame(rows)), **told)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="kermany")
    parser.add_argument("--run", default="mobilenetv2-robust")
    given = parser.parse_args()
    run = load_run(given.study, given.run)
    records = load_records(run.study).query("split == 'val'").reset_index(drop=True)
    images = changed(load_images(run.study)[records.row.to_numpy()])
    found = {sigma: answers(run, sigma, images) for sigma in SIGMAS}
    print(page(run, records, original_sizes(run.study), found), end="")


if __name__ == "__main__":
    main()
