"""MLflow: where runs are kept and how they are logged.

Only this file, ``registry`` upon it, and ``pyfunc_face`` that MLflow itself loads import mlflow. Without
``MLFLOW_TRACKING_URI`` everything lies in ``mlruns/`` of the project: an SQLite database and an artifact folder.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from train.config import project_root
from train.schema import SelonError

EXPERIMENT = "selon"
#: A cross-validated run's artifact.
PREDICTIONS = "cross-validation.predictions.json"
_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "scikit-learn", "mlflow", "onnxruntime", "numpy")
#: MLflow speaks on stderr between our own lines, counts its users, and copies uv.lock, which names hosts.
_QUIET = {
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    # A server that is down should be told of in seconds, not after four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
#: Seconds until a server that did not take a training's figures is asked again.
_PATIENCE = 60
#: Figures that MLflow takes in one request.
_AT_ONCE = 1000
#: How MLflow says that there is no such thing; the second of an alias, and of an id that is none.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class AwayError(SelonError):
    """MLflow's server or database does not answer."""


def home() -> Path:
    """Return where this project keeps its runs, checkpoints and downloads."""
    return project_root() / "mlruns"


def _own_uri() -> str:
    return f"sqlite:///{home() / 'mlflow.db'}"


def tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, else the project's own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri()


def _place() -> str:
    return without_password(tracking_uri())


def without_password(text: str) -> str:
    """Return ``text`` without what an address says before its host: a name and a password."""
    return re.sub(r"(?<=//)[^/\s]*@", "", text)


def own() -> bool:
    """Whether runs are kept in the project itself; MLflow sets the variable too, to what it is told."""
    return tracking_uri() == _own_uri()


@contextmanager
def locked() -> Iterator[None]:
    """Let one process of this project at a time do what is inside."""
    from filelock import FileLock

    home().mkdir(parents=True, exist_ok=True)
    with FileLock(home() / ".lock"):
        yield


def connect() -> Any:
    """Return an MlflowClient on an initialised store.

    Two processes that start on a fresh database at once would both create its tables and one would crash, so
    the first touch happens under a file lock.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # The environment of a model is this very package; MLflow warns that it cannot look inside.
    warnings.filterwarnings("ignore", module="mlflow")
    try:
        import mlflow
    except ImportError:
        raise SelonError("runs and registered models need MLflow: install selon[train] or name a folder") from None
    logging.getLogger("alembic").setLevel(logging.ERROR)

    mlflow.set_tracking_uri(tracking_uri())
    with locked(), asking():
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            place = (home() / "artifacts").as_uri() if own() else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=place)
        mlflow.set_experiment(EXPERIMENT)
    return mlflow.MlflowClient()


@contextmanager
def asking(absent: str = "") -> Iterator[None]:
    """Raise SelonError where MLflow fails inside: ``absent``, if given, where it has not what was asked for."""
    try:
        yield
    except faults() as error:
        if absent and getattr(error, "error_code", "") in _ABSENT:
            raise SelonError(absent) from None
        raise AwayError(f"{_place()}: MLflow cannot be used there ({reason(error)})") from None


def faults() -> tuple[type[Exception], ...]:
    """Return what MLflow raises where its server or database fails."""
    import mlflow
    import requests

    return (mlflow.exceptions.MlflowException, requests.exceptions.RequestException)


def reason(error: Exception) -> str:
    """Return the first line of what an error says, without a password."""
    return f"{without_password((str(error).strip().splitlines() or [type(error).__name__])[0]):.200}"


class Run:
    """One MLflow run that is open."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client, self.id = client, run_id
        self._unsent: list[Any] = []
        self._try_again = 0.0

    def figures(self, figures: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at a step; what MLflow allows in no name becomes a dash."""
        self._keep(figures, step)
        self._send()

    def progress(self, figures: Mapping[str, float], step: int) -> None:
        """Log numbers of a training at work, which goes on where a server is away: they are sent when it is back.

        Those that wait when the run ends with an error are lost.
        """
        self._keep(figures, step)
        began = time.monotonic()
        if began < self._try_again:
            return
        try:
            self._send()
        except faults() as error:
            if not self._try_again:
                print(f"{_place()}: MLflow fails ({reason(error)}); the training goes on", file=sys.stderr)
            ended = time.monotonic()  # one that hangs is asked less often than one that refuses
            self._try_again = ended + max(_PATIENCE, 10 * (ended - began))

    def _keep(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        names = {key: re.sub(r"[^/\w.\- :]+", "-", key) for key in figures}
        self._unsent += [Metric(names[key], float(value), now, step) for key, value in figures.items()]

    def _send(self) -> None:
        while self._unsent:
            self.client.log_batch(self.id, metrics=self._unsent[:_AT_ONCE])
            del self._unsent[:_AT_ONCE]

    def picture(self, figure: Any, name: str) -> None:
        """Log a matplotlib figure as an artifact."""
        self.client.log_figure(self.id, figure, name)

    def json(self, value: Any, name: str) -> None:
        """Log a value as a JSON artifact."""
        self.client.log_dict(self.id, value, name)

    def draft(self, value: Any, name: str) -> None:
        """Log a JSON artifact that another will replace: where a server is away, it does without."""
        with suppress(*faults()):
            self.json(value, name)

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        import mlflow

        mlflow.set_tags(dict(tags))


@contextmanager
def run(name: str, tags: Mapping[str, str] | None = None, resume: str | None = None) -> Iterator[Run]:
    """Open a run with system metrics, git commit and package versions; an error in it ends it FAILED.

    With ``resume``, the run of that id goes on; SelonError where it is gone or deleted.
    """
    client = connect()
    import mlflow

    failures: tuple[type[Exception], ...] = (AwayError, *faults())
    died: BaseException | None = None
    try:
        if resume and client.get_run(resume).info.lifecycle_stage == "deleted":
            raise SelonError(f"runs:/{resume}: the interrupted run was deleted; start without --resume")
        with mlflow.start_run(run_id=resume, run_name=None if resume else name, log_system_metrics=True) as active:
            current = Run(client, active.info.run_id)
            current.tags({"git_commit": _git_commit(), **_versions(), **(tags or {})})
            try:
                yield current
            except BaseException as error:
                died = error
                raise
            current.figures({})  # what waits
    except failures as error:
        if died is not None and died is not error:  # ending the run failed as well: that is not the cause
            raise died from None
        if resume and getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            raise SelonError(f"runs:/{resume}: the interrupted run is gone; start without --resume") from None
        raise SelonError(
            f"{_place()}: MLflow did not take all of the run ({reason(error)}); when it is back, the same "
            "command with --resume goes on from what was trained"
        ) from None


def known_run(run_id: str) -> str | None:
    """Return a run's id if MLflow still has it, None where it is gone or deleted."""
    client = connect()
    with asking():
        try:
            return run_id if client.get_run(run_id).info.lifecycle_stage == "active" else None
        except faults() as error:
            if getattr(error, "error_code", "") in _ABSENT:
                return None
            raise


@contextmanager
def reopen(run_id: str) -> Iterator[Run]:
    """Give a finished run to add to; it stays finished, whatever happens."""
    client = connect()
    try:
        yield Run(client, run_id)
    except faults() as error:
        raise SelonError(f"runs:/{run_id}: MLflow did not take the figures ({reason(error)})") from None


def log_parameters(tree: Mapping[str, Any]) -> None:
    """Log a resolved config as parameters, ``section.key``."""
    import mlflow

    mlflow.log_params(dict(_flat(tree)))


def log_dataset(name: str, rows: Sequence[Mapping[str, Any]], digest: str, source: str) -> None:
    """Log what the run read as an MLflow dataset input (article ids and label counts, never text)."""
    import mlflow
    import pandas as pd

    # A local path is described as such; MLflow warns that it cannot tell the scheme.
    data = mlflow.data.from_pandas(pd.DataFrame(rows), source=source, name=name, digest=digest[:8])
    mlflow.log_input(data, context=name)


def run_name(run_id: str) -> str:
    """Return a run's name; SelonError where there is no such run."""
    client = connect()
    with asking(f"runs:/{run_id}: no such run; `selon ui` shows the runs"):
        return str(client.get_run(run_id).info.run_name)


def read_artifact(run_id: str, name: str) -> Path:
    """Return a local copy of a run's artifact; SelonError where the run has none of that name."""
    connect()
    import mlflow

    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))
    except (mlflow.exceptions.MlflowException, OSError):
        raise SelonError(f"runs:/{run_id}: has no {name}; is it a cross-validated run?") from None


def serve_ui(port: int) -> int:
    """Open MLflow's pages on this project's runs, on loopback; return the exit code."""
    if tracking_uri().startswith(("http://", "https://")):
        raise SelonError(f"{_place()} is an MLflow server already: open that address in a browser")
    connect()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    # Whoever is on the machine can read a command line, and the address may hold a password.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": tracking_uri()}
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return server.wait()
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the leader of a session and all that it has started: MLflow's dozen would live on and keep the port."""
    if sys.platform == "win32":
        server.terminate()  # there are no sessions
        return
    with suppress(ProcessLookupError):  # none is left
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
        os.killpg(server.pid, signal.SIGKILL)


def _git_commit() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=project_root(), capture_output=True, text=True, check=False
        )
    except OSError:  # no git here
        return "none"
    return found.stdout.strip() or "none"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[f"version.{name}"] = importlib.metadata.version(name)
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
