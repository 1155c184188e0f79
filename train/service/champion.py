"""Which model to serve: from an address to a folder and a version, without MLflow in the serving process.

Whether an alias moved is read straight from where MLflow keeps it: one row of its SQLite database, or one request
to its REST interface. Finding the files of a version is MLflow's own work and happens in a process of its own,
which is this module run as a script.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from train import registry, tracking
from train.schema import SelonError

#: Seconds that a look at the registry may take.
_TIMEOUT = 5


class Found(NamedTuple):
    """The folder of a saved model, and the version that the registry gives it."""

    folder: Path
    version: str | None


class RegistryError(Exception):
    """The registry cannot be asked this way, or not just now; says why without a word of its address or answer."""


def alias_of(address: str | None) -> str | None:
    """Return the alias that an address follows; None for one that always means the same model."""
    return registry.CHAMPION if address is None else registry.registered(address)[1]


def alias_version(alias: str) -> str | None:
    """Return the version that an alias means now, None where there is none; cheap, for it is asked every few seconds.

    Raises
    ------
    RegistryError
        Where the tracking store is neither SQLite nor a server, or does not answer.
    """
    uri = tracking.tracking_uri()
    if uri.startswith("sqlite:///"):
        return _in_database(Path(uri.removeprefix("sqlite:///")), alias)
    if uri.startswith(("http://", "https://")):
        return _at_server(uri, alias)
    raise RegistryError("neither SQLite nor a server")


def find(address: str | None) -> Found:
    """Return the model that an address means now; SelonError where there is none."""
    if address is not None and not address.startswith(("runs:/", "models:/")):
        return Found(Path(address), None)
    alias = alias_of(address)
    version = registry.registered(address)[0]
    if alias is not None:
        try:
            version = alias_version(alias)
        except RegistryError:
            return _elsewhere(address)
    if address is None and version is None and not registry.has_registry():
        return Found(registry.resolve(None), None)
    numbered = address if version is None else f"models:/{registry.REGISTERED}/{version}"
    known = registry.recall(numbered)
    return Found(known, version) if known else _elsewhere(numbered)


def _in_database(path: Path, alias: str) -> str | None:
    if not path.is_file():
        return None
    query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            rows = database.execute(query, (registry.REGISTERED, alias)).fetchall()
    except sqlite3.Error as error:
        raise RegistryError(type(error).__name__) from None
    if len(rows) > 1:  # MLflow's workspaces
        raise RegistryError("several registries in one database")
    return str(rows[0][0]) if rows else None


def _at_server(uri: str, alias: str) -> str | None:
    query = urllib.parse.urlencode({"name": registry.REGISTERED, "alias": alias})
    try:
        parts = urllib.parse.urlsplit(uri)
        login, _, server = parts.netloc.rpartition("@")
        address = f"{parts.scheme}://{server}{parts.path.rstrip('/')}/api/2.0/mlflow/registered-models/alias?{query}"
        request = urllib.request.Request(address, headers=_credentials(login))  # noqa: S310 - http or https
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            return str(json.load(response)["model_version"]["version"])
    except urllib.error.HTTPError as error:
        if error.code in (400, 404):
            return None
        raise RegistryError(f"HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise RegistryError(type(error).__name__) from None


def _credentials(login: str) -> dict[str, str]:
    """Return the header for what MLflow's own variables say, or else the address itself (``name:password``)."""
    name, password, token = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD", "TOKEN"))
    pair = f"{name}:{password}" if name and password else urllib.parse.unquote(login)
    if token and not (name and password):  # MLflow's order
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"} if pair else {}


def _elsewhere(address: str | None) -> Found:
    """Ask MLflow in a process of its own, so that this one stays small and its clients wait for nothing."""
    command = [sys.executable, "-m", "train.service.champion", *([address] if address else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"{address}: could not be found"]
        raise SelonError(said[-1])
    found = json.loads(done.stdout.splitlines()[-1])
    return Found(Path(found["folder"]), found["version"])


def _main(address: str | None) -> None:
    version, alias = registry.registered(address)
    if address is None:
        version = registry.champion()
    elif alias:
        version = registry.registered_version(address)
    folder = registry.resolve(f"models:/{registry.REGISTERED}/{version}" if version else address)
    print(json.dumps({"folder": str(folder), "version": version}))


if __name__ == "__main__":
    try:
        _main(sys.argv[1] if len(sys.argv) > 1 else None)
    except SelonError as error:
        sys.exit(str(error))
