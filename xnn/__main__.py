"""The command line: ``xnn COMMAND ...``, which Make calls; ``xnn --help`` lists the commands."""

import errno
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from .config import files
from .config.errors import UserError
from .config.schema import root
from .report import pipeline, steps
from .report.steps import StepError, Task

Study = Annotated[str, typer.Argument(help="A folder of params/.")]
RunName = Annotated[str, typer.Argument(help="A file of the study's folder, without .yaml.")]
Runs = Annotated[list[str] | None, typer.Argument(help="Runs; all that need no download by default.")]
Jobs = Annotated[int, typer.Option(envvar="JOBS", help="Steps, or runs of a sweep, side by side.")]
Only = Annotated[str, typer.Option(envvar="ONLY", help="Parts: scores, predictions, training; or all.")]
Online = Annotated[bool, typer.Option(envvar="ONLINE", help="Include runs whose weights are downloaded.")]

HINTS = {
    errno.ENOSPC: "free some space and run make again; nothing half-written is kept",
    errno.EACCES: "the folder cannot be written to",
    errno.EROFS: "the file system is read-only",
    errno.EBUSY: "end that program and run make again",
}

cli = typer.Typer(
    help="Explainable classification of chest radiographs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


# ---- the report ----------------------------------------------------------------------------------


@cli.command()
def report(study: Study, runs: Runs = None, jobs: Jobs = 2, online: Online = False) -> None:
    """Make the report of a study, or of some of its runs, and the site."""
    tasks = steps.report(study, runs, online)
    pipeline.make_all(tasks, jobs)
    print(f"{len(tasks)} pages of study {study} and on methods are current", flush=True)
    if not steps.has_lungs(files.load_study(study)):
        print(f"study {study} has no lung masks, so no page tests whether they matter: set MASKS", flush=True)
    track(study)
    site()


@cli.command()
def status(study: Study, runs: Runs = None, online: Online = False) -> None:
    """Print which pages are current, and what the others would take."""
    pipeline.status(steps.report(study, runs, online))


@cli.command()
def page(file: Path, jobs: Jobs = 2) -> None:
    """Make one page of reports/ and the pages that it follows."""
    pipeline.make_page(file, jobs)


@cli.command()
def run(
    step: Annotated[str, typer.Argument(help="For example 4-evaluate.")],
    subject: Annotated[str, typer.Argument(help="A study; a sweep for 8-sweep; none for methods.")] = "",
    run: Annotated[str | None, typer.Argument(help="For steps of a run.")] = None,
) -> None:
    """Execute one step unless its page is current."""
    pipeline.run_step(step, subject, run)


@cli.command()
def site(renderer: Annotated[str | None, typer.Argument(help="quarto or smalldocs.")] = None) -> None:
    """Render the site from the reports that there are."""
    from .report.site import render

    render(renderer)


@cli.command()
def track(study: Study) -> None:
    """Log the finished runs of a study to MLflow."""
    from .report.tracking import track

    for run in track(files.load_study(study)):
        print(f"{run}: logged to MLflow (make mlflow)")


@cli.command()
def verify(study: Study, only: Only = "") -> None:
    """Make the numbers of a study's report again, or parts of them, and compare."""
    from .report.verify import report

    sys.exit(report(study, only))


@cli.command()
def restamp(
    commit: Annotated[str, typer.Argument(help="A tree in which the pages were current.")] = "HEAD",
    current: Annotated[bool, typer.Option(help="List what is current, and change nothing.")] = False,
) -> None:
    """Renew the keys of committed results after a change that changes no number."""
    from .report import restamp

    if current:
        print("\n".join(restamp.results()))
    else:
        before = restamp.current_in(commit)
        stale = before - set(restamp.results())
        renewed = stale & set(restamp.results(renew=stale))
        print(f"{len(before)} results were current in {commit}, {len(renewed)} have new keys")


# ---- runs ----------------------------------------------------------------------------------------


@cli.command()
def train(study: Study, runs: Annotated[list[str], typer.Argument(help="Runs of the study.")]) -> None:
    """Train runs without a notebook, one after the other."""
    loaded = [files.load_run(study, run) for run in runs]  # a wrong name is told before torch is imported
    from .training.fit import fit

    for run in loaded:
        fit(run, model=True)


@cli.command()
def sweep(
    sweep: Annotated[str, typer.Argument(help="A file of params/sweeps/, or its name.")],
    steps: Annotated[list[str] | None, typer.Argument(help="Steps; the sweep's own by default.")] = None,
    jobs: Jobs = 2,
    scheduler: Annotated[str | None, typer.Option(envvar="SCHEDULER", help="tcp://... of dask.")] = None,
) -> None:
    """Make the runs of a sweep and their summary."""
    from .report import cluster

    stop = "xnn: stopped; run make sweep again to continue"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(stop))  # so that workers are closed
    loaded = files.load_sweep(Path(sweep).name.removesuffix(".yaml"))
    failed = cluster.make(loaded, jobs, scheduler or None, tuple(steps or ()))
    if any((run.reports / "metrics.json").exists() for run in loaded.runs()):
        pipeline.run_step("8-sweep", loaded.name)
    if failed:
        sys.exit(f"xnn: {failed} runs of sweep {loaded.name} failed; make sweep makes those again")


# ---- around the report ---------------------------------------------------------------------------


@cli.command()
def fiftyone(study: Study) -> None:
    """Open a study's radiographs in FiftyOne."""
    from .explore import audit, fiftyone, mongo

    subject = files.load_study(study)
    pipeline.provide(Task("2-explore", subject))
    records, table = (subject.artifacts / name for name in ("records.csv", "audit.csv"))
    if not table.exists() or table.stat().st_mtime < records.stat().st_mtime:
        audit.explore(subject)
    address = os.environ.get("FIFTYONE_DEFAULT_APP_ADDRESS", "127.0.0.1")  # as FiftyOne names them
    port = int(os.environ.get("FIFTYONE_DEFAULT_APP_PORT", fiftyone.PORT))
    try:
        socket.create_server((address, port)).close()  # else its page would show another program's
    except OSError as error:
        raise StepError(
            f"port {port} of {address}: {os.strerror(error.errno)}; set FIFTYONE_DEFAULT_APP_PORT"
        ) from None
    try:
        sys.exit(fiftyone.open_app(subject, port, address))
    except mongo.NoDatabase as error:
        raise StepError(error) from None


@cli.command()
def app(
    only: Annotated[str, typer.Argument(help="page: the page alone, for an API elsewhere.")] = "",
) -> None:
    """Start the app on this machine: the page and the API."""
    os.execv(sys.executable, [sys.executable, "-m", "xnn.app", *(["page"] if only == "page" else [])])


@cli.command()
def ship(study: Study, run: RunName, folder: Path | None = None) -> None:
    """Package a trained run's model for the app, small enough to ship."""
    from .report.ship import ship

    print(ship(files.load_run(study, run), folder or root() / "models" / f"{study}-{run}"))


@cli.command("ship-lungs")
def ship_lungs(study: Study, folder: Path | None = None) -> None:
    """Package a study's lung segmenter for the app."""
    from .report.ship import ship_lungs

    print(ship_lungs(files.load_study(study), folder or root() / "models/lungs"))


def main() -> None:
    """Run the command; every expected error ends in one clear line and exit status 1, not in a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` clears up
    try:
        cli()
    except UserError as error:
        sys.exit(f"xnn: {error}")
    except OSError as error:
        if error.errno not in HINTS:
            raise
        place = error.filename or tempfile.gettempdir()
        sys.exit(f"xnn: {place}: {error.strerror}; {HINTS[error.errno]}")


if __name__ == "__main__":
    main()
