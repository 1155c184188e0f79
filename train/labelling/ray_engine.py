"""The shards of an archive on a Ray cluster: workers label, the process that asked writes.

The saved model travels as bytes, so that no worker needs its folder or the archive's disk; each needs selon, as
installed there. `RAY_ADDRESS` names a cluster; without it Ray runs on this machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from train.labeller import Labeller
from train.labelling.shards import Job, Part, Shard, label_shard
from train.schema import SelonError

#: Shards in the hands of one worker: the next one waits there already.
_AHEAD = 2
#: How often a local Ray that is slow to start is tried.
_STARTS = 4


class _Worker:
    """One process of the cluster with the model open, on one core."""

    def __init__(self, files: dict[str, bytes], job: Job) -> None:
        self.job = job
        with tempfile.TemporaryDirectory(prefix="selon-") as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self.labeller = Labeller.open(Path(folder), threads=1)

    def label(self, shard: Shard) -> Part:
        """Label a shard."""
        return label_shard(self.labeller, shard, self.job)


def label_shards(
    model: Path, todo: Iterable[Shard], job: Job, workers: int | None = None
) -> Iterator[tuple[Shard, Part]]:
    """Yield each shard (without its items) and its part, in the order in which they are ready.

    Parameters
    ----------
    model : Path
        The folder of the saved model.
    todo : iterable of Shard
        Read only as far as the workers need: the archive is never in memory.
    job : Job
        How to label.
    workers : int, optional
        How many; else one for each core of the cluster.

    Raises
    ------
    SelonError
        Where Ray is not installed, its cluster cannot be reached, or a worker is lost.
    """
    ray = _ray()
    count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    files = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    shared, worker = ray.put(files), ray.remote(num_cpus=1)(_Worker)
    actors = [worker.remote(shared, job) for _ in range(count)]
    busy: dict[Any, tuple[Any, Shard]] = {}
    free = [actor for _ in range(_AHEAD) for actor in actors]  # in turn: each has work before one has more
    try:
        for shard in todo:
            if not free:
                yield _ready(ray, busy, free)
            actor = free.pop(0)
            loaded = Shard(shard.number, [item.loaded() for item in shard.items], shard.size)
            busy[actor.label.remote(loaded)] = (actor, Shard(shard.number, (), shard.size))
        while busy:
            yield _ready(ray, busy, free)
    finally:
        ray.shutdown()


def _ready(ray: Any, busy: dict[Any, tuple[Any, Shard]], free: list[Any]) -> tuple[Shard, Part]:
    """Wait for the next part; an error on a worker is raised here."""
    done = ray.wait(list(busy), num_returns=1)[0][0]
    actor, shard = busy.pop(done)
    free.append(actor)
    try:
        return shard, ray.get(done)
    except ray.exceptions.RayTaskError:
        raise  # an error in our own code
    except ray.exceptions.RayError as error:
        raise SelonError(
            f"--engine ray: a worker could not start or was lost ({_first_line(error)}); what is done is kept, the "
            "same command goes on"
        ) from None


def _ray() -> Any:
    # Ray counts its users; and under `uv run` it would have each worker set up an environment of its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    cluster = "RAY_ADDRESS" in os.environ
    try:
        import ray
    except ImportError:
        raise SelonError("--engine ray needs Ray: install selon[ray], or leave it out to label here") from None
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(include_dashboard=None if cluster else False, log_to_driver=False, logging_level="ERROR")
            return ray
        except Exception as error:  # Ray raises whatever its parts raise
            ray.shutdown()
            # It allows itself half a minute to start, which on a busy machine is little.
            if cluster or attempt == _STARTS or "timed out" not in str(error):
                said = "cannot be reached" if cluster else "cannot be started here"
                raise SelonError(f"--engine ray: Ray {said} ({_first_line(error)}); leave --engine out") from None
    raise AssertionError


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
