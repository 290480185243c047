"""FiftyOne: a dataset of a study's radiographs with all that is known of them, and the app that shows it.

FiftyOne takes a dozen seconds to import and leaves servers behind, so it runs in a child process only.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from matplotlib.colors import to_hex
from PIL import Image

from .. import plots
from ..config import freshness, leash, provenance
from ..config.files import load_run, load_study, runs
from ..config.names import summary
from ..config.provenance import whole
from ..config.schema import Run, Study
from ..data.records import load_images, load_records
from ..evaluation import predictions
from . import mongo
from .audit import load_audit

PROGRAM = "xnn.explore.fiftyone"  # this module, in a child process
PORT = 5151
QUIET = {"FIFTYONE_SHOW_PROGRESS_BARS": "0", "FIFTYONE_LOGGING_LEVEL": "ERROR"}
LARGEST = 10  # patients with the most images, in a view of their own


class FiftyOneError(RuntimeError):
    """FiftyOne failed; the message is its last line."""


def folder(study: Study) -> Path:
    """Return the folder of the study's database and of copies of its radiographs."""
    return study.artifacts / "fiftyone"


def build(study: Study) -> str:
    """Make the study's dataset, and return a sentence for the page on what it holds or why there is none.

    Raises FiftyOneError if FiftyOne itself fails.
    """
    try:
        with _child(study, stdout=subprocess.PIPE) as child:
            lines = child.stdout.read().strip().splitlines() or ["it ended without a message"]
    except mongo.NoDatabase as reason:
        return f"No FiftyOne dataset, only the figures above: {reason}."
    if child.returncode:
        raise FiftyOneError(lines[-1])
    return f"{lines[-1]} `make fiftyone STUDY={study.name}` opens it."


def open_app(study: Study, port: int = PORT, address: str = "127.0.0.1") -> int:
    """Show the study's dataset in FiftyOne's app until Ctrl-C, and return the exit status.

    A dataset that is not current is made again first. Raises NoDatabase if there is no database.
    """
    with _child(study, str(port), address) as child, contextlib.suppress(KeyboardInterrupt):
        return child.wait()
    return 0


@contextlib.contextmanager
def _child(study: Study, *where: str, **streams) -> Iterator[subprocess.Popen]:
    """Run `main` in a child process, beside a database."""
    with mongo.serve(folder(study)) as database:
        environment = {**os.environ, **QUIET, mongo.VARIABLE: database}
        options = {"env": environment, "text": True, "start_new_session": True, **streams}
        with leash.start(PROGRAM, study.name, *where, **options) as child:
            yield child


# ---- in the child: the dataset -------------------------------------------------------------------


def current(study: Study):
    """Return the study's dataset, made again unless it is of today's files and code."""
    import fiftyone as fo

    files = [study.artifacts / "records.csv", study.artifacts / "audit.csv"]
    for pattern in ("predictions.csv", "validation.csv", "gallery/maps.npz"):
        files += sorted(study.reports.glob(f"*/{pattern}"))
    hashes = {str(file): provenance.file_sha256(file) for file in files}
    key = freshness.digest([hashes, freshness.of_function(PROGRAM, "make").sha256])
    name = f"xnn-{study.name}"
    if fo.dataset_exists(name) and fo.load_dataset(name).info.get("key") == key:
        return fo.load_dataset(name)
    dataset = make(study, name)
    dataset.info["key"] = key
    dataset.save()
    return dataset


def make(study: Study, name: str):
    """Make and return a persistent dataset: columns of records.csv and audit.csv, and results of runs."""
    import fiftyone as fo
    import fiftyone.brain as fob

    records, (audit, embedding) = load_records(study), load_audit(study)
    dataset = fo.Dataset(name, persistent=True, overwrite=True)
    dataset.add_samples(_samples(study, records.merge(audit, on="path", validate="one_to_one")), dynamic=True)
    fob.compute_uniqueness(dataset, embeddings=embedding)
    fob.compute_visualization(dataset, points=audit[["x", "y"]].to_numpy(), brain_key="embedding_map")
    for run in runs(study.name):
        _add_run(dataset, load_run(study.name, run))
    _save_views(dataset, audit)
    dataset.app_config = _appearance(dataset)
    dataset.description = re.sub(r"[*`]", "", summary(study))
    return dataset


def sentence(dataset) -> str:
    """Return what a dataset holds, in words."""
    counts = {"predictions": len(_fields(dataset, "run_")), "heatmaps": len(_fields(dataset, "ig_raises_"))}
    results = "".join(f", {kind} of {count} runs" for kind, count in counts.items() if count)
    views = ", ".join(dataset.list_saved_views())
    return f"FiftyOne dataset `{dataset.name}`: {len(dataset):,} radiographs{results}; saved views: {views}."


def _fields(dataset, prefix: str) -> list[str]:
    return [field for field in dataset.get_field_schema() if field.startswith(prefix)]


def _samples(study: Study, table: pd.DataFrame) -> list:
    """Return a sample per record, and keep its radiograph as a JPEG, for FiftyOne to show."""
    import fiftyone as fo

    images, place, side = load_images(study), folder(study) / "images", study.image_size
    place.mkdir(parents=True, exist_ok=True)
    metadata = fo.ImageMetadata(width=side, height=side, num_channels=1, mime_type="image/jpeg")
    samples = []
    for row in table.to_dict("records"):
        file = place / f"{row['row']:06d}-{row['sha256'][:12]}.jpg"
        if not file.exists():
            with whole(file) as partial:
                Image.fromarray(images[row["row"]]).save(partial, "JPEG", quality=90)
        label = fo.Classification(label=row.pop("label"))
        guess = fo.Classification(label=row.pop("guess"), confidence=row.pop("confidence"))
        common = {"filepath": str(file), "metadata": metadata.copy(), "tags": [row["split"]]}
        samples.append(fo.Sample(**common, label=label, guess=guess, **row))
    for old in set(place.iterdir()) - {Path(sample.filepath) for sample in samples}:
        old.unlink()
    return samples


def _add_run(dataset, run: Run) -> None:
    """Add a run's predictions on test and validation, and its gallery's heatmaps of the predicted classes."""
    import fiftyone as fo

    tables = [predictions.files(run, split)[0] for split in predictions.FILES]
    tables = [predictions.read(file) for file in tables if file.exists()]
    if not tables:
        return
    table = pd.concat(tables).drop_duplicates("path").set_index("path")[run.study.classes]
    table = table[table.index.isin(dataset.values("path"))]
    best, name = table.idxmax(axis=1), re.sub(r"\W", "_", run.name)
    labels = {
        path: fo.Classification(label=best[path], confidence=row.max()) for path, row in table.iterrows()
    }
    dataset.set_values(f"run_{name}", labels, key_field="path")
    if not (file := run.reports / "gallery/maps.npz").exists():
        return
    kept = np.load(file)
    maps = zip(kept["path"], kept["predicted"], kept["maps"] / kept["scale"], strict=True)  # -1 to 1
    if maps := {path: signed for path, label, signed in maps if best.get(path) == label}:
        for side, sign in (("raises", 1), ("lowers", -1)):
            found = {path: fo.Heatmap(map=np.maximum(sign * m, 0), range=[0, 1]) for path, m in maps.items()}
            dataset.set_values(f"ig_{side}_{name}", found, key_field="path")


def _save_views(dataset, audit: pd.DataFrame) -> None:
    from fiftyone import ViewField as Field

    close = audit.sort_values("cosine", ascending=False).head(50)[["path", "other"]].to_numpy().ravel()
    nearest = dataset.select_by("path", list(dict.fromkeys(close)), ordered=True)
    suspect = dataset.match(Field("suspect")).sort_by("label_quality")
    counts = dataset.count_values("patient")
    most = sorted(counts, key=lambda patient: (-counts[patient], patient))[:LARGEST]
    largest = dataset.match(Field("patient").is_in(most)).sort_by([("patient_images", -1), ("patient", 1)])
    alike = dataset.match(Field("duplicate_group") != "").sort_by("duplicate_group")
    views = [
        ("near duplicates across classes", nearest, "The nearest images of two classes, side by side"),
        ("suspected label errors", suspect, "Likely label errors (cleanlab), the least probable label first"),
        ("largest patients", largest, f"The {LARGEST} patients with the most images"),
        ("duplicates", alike, "Images with the same content or the same picture"),
    ]
    if maps := _fields(dataset, "ig_raises_"):
        explained = dataset.match(Field.any([Field(field).exists() for field in maps]))
        views.append(("explained", explained, "Radiographs with a heatmap of some run"))
    for title, view, description in views:
        dataset.save_view(title, view, description=description)


def _appearance(dataset):
    """Return the app's settings: labels in the classes' colours, heatmaps as opaque as they are strong."""
    import fiftyone as fo

    values = [{"value": label, "color": colour} for label, colour in plots.CLASS_COLOURS.items()]
    labels = ["label", "guess", *_fields(dataset, "run_")]
    colours = [{"path": field, "colorByAttribute": "label", "valueColors": values} for field in labels]
    for side, colour in (("raises", plots.RAISES), ("lowers", plots.LOWERS)):
        colour = to_hex(np.divide(colour, 255))
        colours += [{"path": field, "fieldColor": colour} for field in _fields(dataset, f"ig_{side}_")]
    first = [field.removeprefix("ig_raises") for field in _fields(dataset, "ig_raises_")][:1]
    shown = ["label", "split", *(kind + run for run in first for kind in ("run", "ig_raises", "ig_lowers"))]
    # coloured by value, the weakest pixels of a map would be as opaque as the strongest
    scheme = fo.ColorScheme(color_by="field", opacity=0.9, fields=colours)
    return fo.DatasetAppConfig(color_scheme=scheme, active_fields=fo.ActiveFields(paths=shown))


# ---- in the child: the program -------------------------------------------------------------------


def _end(*_) -> None:
    """End this process and its children: FiftyOne's server would wait until all browsers are closed."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(128 + signal.SIGTERM)


def main(study: str, port: str = "", address: str = "") -> None:
    """Make a study's dataset, then print what it holds, or with a port show it in the app."""
    signal.signal(signal.SIGTERM, _end)
    try:
        dataset = current(load_study(study))
    except Exception as error:  # of any kind: its message goes to the page
        print(f"{type(error).__name__}: {error}")
        sys.exit(1)
    if not port:
        print(sentence(dataset))
        return
    import fiftyone as fo

    session = fo.launch_app(dataset, port=int(port), address=address, remote=True)
    place = f"http://{address}:{port}/datasets/{dataset.name}"
    print(f"FiftyOne shows {study} at {place}; Ctrl-C ends it", flush=True)
    session.wait(-1)


if __name__ == "__main__":
    main(*sys.argv[1:])
