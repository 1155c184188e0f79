"""MLflow: where runs are kept, how they are logged, how models are registered and found again.

The only importer of mlflow, but for ``pyfunc_face`` that MLflow itself loads. Without ``MLFLOW_TRACKING_URI``
everything lies in ``mlruns/`` of the project: an SQLite database and an artifact folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from train import __version__
from train.atomic import whole_file, whole_folder
from train.bundle import MANIFEST
from train.config import project_root
from train.schema import LABELS, SelonError

EXPERIMENT = "selon"
REGISTERED = "selon"
CHAMPION = "champion"
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
#: The classifier that answers where nothing was trained yet.
SHIPPED = "data/petit/classifier"
#: Where the package lies: of a clone, the folder that ``SHIPPED`` starts from, wherever the command is called.
_BESIDE = Path(__file__).parents[1]


def _home() -> Path:
    return project_root() / "mlruns"


def _own_uri() -> str:
    return f"sqlite:///{_home() / 'mlflow.db'}"


def tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, else the project's own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri()


def _place() -> str:
    return _without_password(tracking_uri())


def _without_password(text: str) -> str:
    """Return ``text`` without what an address says before its host: a name and a password."""
    return re.sub(r"(?<=//)[^/@\s]*@", "", text)


def _own() -> bool:
    """Whether runs are kept in the project itself; MLflow sets the variable too, to what it is told."""
    return tracking_uri() == _own_uri()


@contextmanager
def _locked() -> Iterator[None]:
    """Let one process of this project at a time do what is inside."""
    from filelock import FileLock

    _home().mkdir(parents=True, exist_ok=True)
    with FileLock(_home() / ".lock"):
        yield


def _client() -> Any:
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
    with _locked():
        try:
            if mlflow.get_experiment_by_name(EXPERIMENT) is None:
                place = (_home() / "artifacts").as_uri() if _own() else None
                mlflow.create_experiment(EXPERIMENT, artifact_location=place)
            mlflow.set_experiment(EXPERIMENT)
        except _faults() as error:
            raise SelonError(f"{_place()}: MLflow cannot be used there ({_reason(error)})") from None
    return mlflow.MlflowClient()


def _faults() -> tuple[type[Exception], ...]:
    """Return what MLflow raises where its server or database fails."""
    import mlflow
    import requests

    return (mlflow.exceptions.MlflowException, requests.exceptions.RequestException)


def _reason(error: Exception) -> str:
    return f"{_without_password((str(error).strip().splitlines() or [type(error).__name__])[0]):.200}"


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
        except _faults() as error:
            if not self._try_again:
                print(f"{_place()}: MLflow fails ({_reason(error)}); the training goes on", file=sys.stderr)
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
        with suppress(*_faults()):
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
    client = _client()
    import mlflow

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
    except _faults() as error:
        if died is not None and died is not error:  # ending the run failed as well: that is not the cause
            raise died from None
        if resume and getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            raise SelonError(f"runs:/{resume}: the interrupted run is gone; start without --resume") from None
        raise SelonError(
            f"{_place()}: MLflow did not take all of the run ({_reason(error)}); when it is back, the same "
            "command with --resume goes on from what was trained"
        ) from None


def known_run(run_id: str) -> str | None:
    """Return a run's id if MLflow still has it, None where it is gone or deleted."""
    client = _client()
    try:
        return run_id if client.get_run(run_id).info.lifecycle_stage == "active" else None
    except _faults() as error:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise SelonError(f"{_place()}: MLflow cannot be used there ({_reason(error)})") from None


@contextmanager
def reopen(run_id: str) -> Iterator[Run]:
    """Give a finished run to add to; it stays finished, whatever happens."""
    client = _client()
    try:
        yield Run(client, run_id)
    except _faults() as error:
        raise SelonError(f"runs:/{run_id}: MLflow did not take the figures ({_reason(error)})") from None


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


def log_model(folder: Path) -> str:
    """Log a saved model as pyfunc and register it; return its version, or the one that this run has made before.

    The first version of a registry becomes champion by itself; later ones never do.
    """
    import mlflow

    client = mlflow.MlflowClient()
    made = _versions_of(client, mlflow.active_run().info.run_id)
    uri = "" if made else _log_pyfunc(folder)
    # MLflow prints what it registers, past its own logging.
    with _locked(), redirect_stderr(io.StringIO()):
        version = made[0] if made else mlflow.register_model(uri, REGISTERED, await_registration_for=60)
        if CHAMPION not in client.get_registered_model(REGISTERED).aliases:
            client.set_registered_model_alias(REGISTERED, CHAMPION, version.version)
    return str(version.version)


def _versions_of(client: Any, run_id: str | None) -> Sequence[Any]:
    """Return what a run registered here; its model may have other names too."""
    found: Sequence[Any] = client.search_model_versions(f"name='{REGISTERED}' and run_id='{run_id}'")
    return found


def _log_pyfunc(folder: Path) -> str:
    """Log a saved model with MLflow's face; return its address."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "text"), ColSpec("string", "document", required=False)]),
        outputs=Schema([ColSpec("string", "label"), *(ColSpec("double", f"p_{label}") for label in LABELS)]),
    )
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("pyfunc_face.py")),
        artifacts={"bundle": str(folder)},
        signature=signature,
        input_example=pd.DataFrame({"text": ["L'usine aurait fermé en mars, selon la mairie."]}),
        pip_requirements=[f"selon=={__version__}"],
    )
    return str(info.model_uri)


def promote(version: str) -> None:
    """Make a registered version the champion."""
    _client().set_registered_model_alias(REGISTERED, CHAMPION, version)


def champion() -> str | None:
    """Return the champion's version, None where there is none."""
    models = _client().search_registered_models(filter_string=f"name='{REGISTERED}'")
    version = models[0].aliases.get(CHAMPION) if models else None
    return None if version is None else str(version)


def registered(address: str | None) -> tuple[str | None, str | None]:
    """Return (version, alias) of ``models:/selon/N`` or ``models:/selon@alias``, one of them None; else both are."""
    found = re.fullmatch(rf"models:/{REGISTERED}(?:/(\d+)|@([\w-]+))", address or "")
    return (found[1], found[2]) if found else (None, None)


def registered_version(address: str) -> str:
    """Return the version that ``models:/selon/N`` or ``models:/selon@alias`` names."""
    number, alias = registered(address)
    if number is None and alias is None:
        raise SelonError(f"{address}: a registered model is models:/{REGISTERED}/N or models:/{REGISTERED}@{CHAMPION}")
    client = _client()
    import mlflow

    try:
        if alias:
            return str(client.get_model_version_by_alias(REGISTERED, alias).version)
        return str(client.get_model_version(REGISTERED, number).version)
    except mlflow.exceptions.MlflowException:
        raise SelonError(f"{address}: not in the registry; `selon ui` shows what is") from None


def run_of(address: str) -> str | None:
    """Return the id of the MLflow run that made the model, None for a folder."""
    if address.startswith("runs:/"):
        return address.removeprefix("runs:/").partition("/")[0]
    if not address.startswith("models:/"):
        return None
    version = registered_version(address)
    found = _client().get_model_version(REGISTERED, version)
    return str(found.run_id) if found.run_id else None


def resolve(address: str | None) -> Path:
    """Return the folder of a saved model.

    What was resolved before is remembered until the registry changes, and then needs no MLflow.

    Parameters
    ----------
    address : str or None
        A folder, ``runs:/ID``, ``models:/selon/N`` or ``models:/selon@champion``. None is the champion, and
        where nothing was trained the shipped classifier.

    Raises
    ------
    SelonError
        Where there is no such model.
    """
    if address is not None and not address.startswith(("runs:/", "models:/")):
        return Path(address)
    if address is None and _own() and not _database().is_file():
        return _shipped()
    state = _registry_state()  # before looking: whatever happens meanwhile makes the answer stale
    folder = _recall(address, state)
    if folder is None:
        version = champion() if address is None else _version_of(address)
        folder = _shipped() if version is None else _folder_of(version)
        _remember(address, state, folder)
    return folder


def _shipped() -> Path:
    """Return the classifier of this project, or the one beside this package."""
    for root in (project_root(), _BESIDE):
        if (root / SHIPPED).is_dir():
            return root / SHIPPED
    raise SelonError(
        "no model yet: run `selon train configs/petit.yaml` in selon's own folder, or name one with --model"
    )


def _version_of(address: str) -> str:
    """Return the registered version that an address names, or that its run made."""
    if address.startswith("models:/"):
        return registered_version(address)
    client = _client()
    import mlflow

    try:
        versions = _versions_of(client, run_of(address))
    except mlflow.exceptions.MlflowException:
        versions = []
    if not versions:
        raise SelonError(f"{address}: no such run, or it saved no model; `selon ui` shows the runs")
    return str(versions[0].version)


def _folder_of(version: str) -> Path:
    """Return the saved model of a registered version: where it lies, or a copy of it if that is elsewhere."""
    client = _client()
    import mlflow

    uri = client.get_model_version_download_uri(REGISTERED, version)
    try:
        if uri.startswith("file:"):
            folder = Path(mlflow.artifacts.download_artifacts(uri))  # the place itself, nothing is copied
        else:
            # By its own address: a registry made anew may count from 1 again.
            folder = _home() / "downloads" / hashlib.sha256(f"{tracking_uri()} {uri}".encode()).hexdigest()[:16]
            if not folder.is_dir():
                with whole_folder(folder) as work:
                    mlflow.artifacts.download_artifacts(uri, dst_path=str(work))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise SelonError(f"models:/{REGISTERED}/{version}: its files cannot be had from {uri}: {error}") from None
    manifest = next(folder.rglob(MANIFEST), None)
    if manifest is None:
        raise SelonError(f"models:/{REGISTERED}/{version}: no {MANIFEST} in {folder}, so selon did not save it")
    return manifest.parent


def _database() -> Path:
    return _home() / "mlflow.db"


def _registry_state() -> str | None:
    """Name the state of the registry that an answer holds for; None where there is no telling.

    The project's own database changes only when the file does. A server gives no such sign.
    """
    if not _own():
        return None
    stat = _database().stat() if _database().is_file() else None
    return f"{tracking_uri()} {stat and (stat.st_mtime_ns, stat.st_size)}"


def has_registry() -> bool:
    """Return whether there may be registered models: the project's own database is there, or another was named."""
    return not _own() or _database().is_file()


def recall(address: str | None) -> Path | None:
    """Return the folder that ``resolve`` would return, where it is known without asking MLflow."""
    return _recall(address, _registry_state())


def _recall(address: str | None, state: str | None) -> Path | None:
    try:
        entry = json.loads((_home() / "resolved.json").read_text(encoding="utf-8"))[address or ""]
    except (OSError, ValueError, KeyError):
        return None
    folder = Path(entry["folder"])
    return folder if state is not None and entry["state"] == state and folder.is_dir() else None


def _remember(address: str | None, state: str | None, folder: Path) -> None:
    if state is None:
        return
    path = _home() / "resolved.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known[address or ""] = {"state": state, "folder": str(folder)}
    with whole_file(path) as file:
        json.dump(known, file)


def run_name(run_id: str) -> str:
    """Return a run's name; SelonError where there is no such run."""
    client = _client()
    import mlflow

    try:
        return str(client.get_run(run_id).info.run_name)
    except mlflow.exceptions.MlflowException:
        raise SelonError(f"runs:/{run_id}: no such run; `selon ui` shows the runs") from None


def read_artifact(run_id: str, name: str) -> Path:
    """Return a local copy of a run's artifact; SelonError where the run has none of that name."""
    _client()
    import mlflow

    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))
    except (mlflow.exceptions.MlflowException, OSError):
        raise SelonError(f"runs:/{run_id}: has no {name}; is it a cross-validated run?") from None


def serve_ui(port: int) -> int:
    """Open MLflow's pages on this project's runs, on loopback; return the exit code."""
    if tracking_uri().startswith(("http://", "https://")):
        raise SelonError(f"{_place()} is an MLflow server already: open that address in a browser")
    _client()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    return subprocess.call([*command, "--host", "127.0.0.1", "--port", str(port)])


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
