"""Registered models: how one is logged, promoted, and found again by its address.

A model is addressed by folder, ``runs:/ID``, ``models:/selon/N`` or ``models:/selon@champion``.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from train import __version__
from train.atomic import whole_file, whole_folder
from train.bundle import MANIFEST
from train.config import project_root
from train.schema import LABELS, SelonError
from train.tracking import AwayError, asking, connect, home, locked, own, reason, tracking_uri, without_password

REGISTERED = "selon"
CHAMPION = "champion"
#: The classifier that answers where nothing was trained yet.
SHIPPED = "data/petit/classifier"
#: Where the package lies: of a clone, the folder that ``SHIPPED`` starts from, wherever the command is called.
_BESIDE = Path(__file__).parents[1]


def log_model(folder: Path) -> str:
    """Log a saved model as pyfunc and register it; return its version, or the one that this run has made before.

    The first version of a registry becomes champion by itself; later ones never do.
    """
    import mlflow

    client = mlflow.MlflowClient()
    made = _versions_of(client, mlflow.active_run().info.run_id)
    uri = "" if made else _log_pyfunc(folder)
    # MLflow prints what it registers, past its own logging.
    with locked(), redirect_stderr(io.StringIO()):
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
    client = connect()
    with asking():
        client.set_registered_model_alias(REGISTERED, CHAMPION, version)


def champion() -> str | None:
    """Return the champion's version, None where there is none."""
    client = connect()
    with asking():
        models = client.search_registered_models(filter_string=f"name='{REGISTERED}'")
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
    client = connect()
    with asking(f"{address}: not in the registry; `selon ui` shows what is"):
        if alias:
            return str(client.get_model_version_by_alias(REGISTERED, alias).version)
        return str(client.get_model_version(REGISTERED, number).version)


def run_of(address: str) -> str | None:
    """Return the id of the MLflow run that made the model, None for a folder."""
    if address.startswith("runs:/"):
        return address.removeprefix("runs:/").partition("/")[0]
    if not address.startswith("models:/"):
        return None
    version = registered_version(address)
    client = connect()
    with asking():
        found = client.get_model_version(REGISTERED, version)
    return str(found.run_id) if found.run_id else None


def resolve(address: str | None) -> Path:
    """Return the folder of a saved model.

    What was resolved before is remembered until the project's own registry changes, and then needs no MLflow. A server
    is asked each time; while it is away, the numbered version that it last gave answers.

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
    if address is None and own() and not _database().is_file():
        return _shipped()
    state = _registry_state()  # before looking: whatever happens meanwhile makes the answer stale
    folder = _recall(address, state)
    if folder is None:
        try:
            version = champion() if address is None else _version_of(address)
            folder = _shipped() if version is None else _folder_of(version)
        except AwayError:
            known = _recall(address, _server()) if registered(address)[0] else None
            if known is None:
                raise
            return known
        _remember(address, state or _server(), folder)
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
    absent = f"{address}: no such run, or it saved no model; `selon ui` shows the runs"
    client = connect()
    with asking(absent):
        versions = _versions_of(client, run_of(address))
    if not versions:
        raise SelonError(absent)
    return str(versions[0].version)


def _folder_of(version: str) -> Path:
    """Return the saved model of a registered version: where it lies, or a copy of it if that is elsewhere."""
    client = connect()
    import mlflow

    with asking():
        uri = client.get_model_version_download_uri(REGISTERED, version)
    try:
        if uri.startswith("file:"):
            folder = Path(mlflow.artifacts.download_artifacts(uri))  # the place itself, nothing is copied
        else:
            # By its own address: a registry made anew may count from 1 again.
            folder = home() / "downloads" / hashlib.sha256(f"{tracking_uri()} {uri}".encode()).hexdigest()[:16]
            if not folder.is_dir():
                with whole_folder(folder) as work:
                    mlflow.artifacts.download_artifacts(uri, dst_path=str(work))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        place = without_password(uri)
        raise SelonError(
            f"models:/{REGISTERED}/{version}: its files cannot be had from {place} ({reason(error)})"
        ) from None
    manifest = next(folder.rglob(MANIFEST), None)
    if manifest is None:
        raise SelonError(f"models:/{REGISTERED}/{version}: no {MANIFEST} in {folder}, so selon did not save it")
    return manifest.parent


def _database() -> Path:
    return home() / "mlflow.db"


def _registry_state() -> str | None:
    """Name the state of the registry that an answer holds for; None where there is no telling.

    The project's own database changes only when the file does. A server gives no such sign.
    """
    if not own():
        return None
    stat = _database().stat() if _database().is_file() else None
    return f"{tracking_uri()} {stat and (stat.st_mtime_ns, stat.st_size)}"


def _server() -> str:
    """Name another registry than the project's own; its address may hold a password."""
    return hashlib.sha256(tracking_uri().encode()).hexdigest()[:16]


def has_registry() -> bool:
    """Return whether there may be registered models: the project's own database is there, or another was named."""
    return not own() or _database().is_file()


def recall(address: str | None) -> Path | None:
    """Return the folder that ``resolve`` would return, where it is known without asking MLflow."""
    return _recall(address, _registry_state())


def _recall(address: str | None, state: str | None) -> Path | None:
    try:
        entry = json.loads((home() / "resolved.json").read_text(encoding="utf-8"))[address or ""]
    except (OSError, ValueError, KeyError):
        return None
    folder = Path(entry["folder"])
    return folder if state is not None and entry["state"] == state and folder.is_dir() else None


def _remember(address: str | None, state: str, folder: Path) -> None:
    path = home() / "resolved.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known[address or ""] = {"state": state, "folder": str(folder)}
    with whole_file(path) as file:
        json.dump(known, file)
