"""Summaries of studies, runs and sweeps, with which their pages open."""

from .schema import Run, Study
from .sweep import Sweep


def summary(subject: Study | Run | Sweep) -> str:
    """Return Markdown: whether the data is real, then the study, then the run or the sweep."""
    if isinstance(subject, Run):
        line = f"Run `{subject.name}`: {subject.model.backbone}, {subject.model.regime}. {subject.note}"
        return f"{summary(subject.study)}\n\n{line.rstrip()}"
    if isinstance(subject, Sweep):
        keys = ", ".join(f"`{key}`" for key in subject.varied)
        line = f"Sweep `{subject.name}`: {subject.title}. Runs like `{subject.base}`, with other values of"
        return f"{summary(subject.base_run.study)}\n\n{line} {keys}."
    if subject.synthetic:
        kind = "**Synthetic data.** Every radiograph of this study is a drawn phantom, not a patient."
    else:
        kind = f"**Real radiographs.** {subject.archive.attribution}".strip()
    split = "publishers' split" if subject.split == "official" else f"split by {subject.split}"
    size = f"{subject.image_size} x {subject.image_size} pixels"
    return f"{kind} Study `{subject.name}`: {subject.title}; {split}, {size}, seed {subject.seed}."
