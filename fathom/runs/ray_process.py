"""The process that talks to a Ray cluster for a training, which `fathom.runs.cluster` starts.

Ray prints, takes signals over, and ends a process whose cluster is gone; none of it reaches the training.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from fathom.errors import FathomError
from fathom.runs.cluster import RETRIES, check_reachable, connect
from fathom.runs.process import prepare

_LOOK = 1.0
"""Seconds between two looks whether the cluster is still there."""


def main() -> None:
    """Compute pieces that come through a pipe until it is closed: `DESCRIPTOR ADDRESS THREADS`."""
    descriptor, address, threads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training ends this process
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with Connection(descriptor) as pipe:
        try:
            cluster = _Cluster(address, threads)
        except FathomError as error:
            pipe.send_bytes(pickle.dumps(error))
            return
        pipe.send_bytes(pickle.dumps((cluster.address, cluster.cores)))
        while True:
            try:
                asked = pickle.loads(pipe.recv_bytes())
            except EOFError:
                break
            try:
                answer = cluster.map(*asked)
            except FathomError as error:
                answer = error
            pipe.send_bytes(pickle.dumps(answer))
    cluster.ray.shutdown()


class _Cluster:
    """A connection to a cluster; FathomError where there is none, or no machine with so many CPUs."""

    def __init__(self, address: str, threads: int) -> None:
        self.ray = connect(address)
        self.address = self.ray.get_runtime_context().gcs_address
        self.cores = int(self.ray.cluster_resources().get("CPU", 0))
        machines = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
        if max(machines, default=0) < threads:
            raise FathomError(
                f"no machine of the Ray cluster {self.address} has {threads} CPUs, which are the threads of this"
                " run: train with fewer --threads"
            )
        self._threads = threads
        self._compute = self.ray.remote(max_retries=RETRIES, num_cpus=threads)(_compute)

    def map(self, function: Any, common: Any, pieces: list[Any]) -> Any:
        """See `agents.agent.Workers.map`; FathomError where a piece failed or the cluster is gone."""
        try:
            shared = self.ray.put(common)
            tasks = [self._compute.remote(function, shared, one, self._threads) for one in pieces]
            waiting = tasks
            while waiting:
                _, waiting = self.ray.wait(waiting, num_returns=len(waiting), timeout=_LOOK)
                if waiting:
                    check_reachable(self.address)  # Ray itself waits for a minute
            return self.ray.get(tasks)
        except self.ray.exceptions.RayTaskError as error:
            lines = str(error).strip().splitlines()
            raise FathomError(f"a search on the Ray cluster failed: {lines[-1]}") from error
        except (self.ray.exceptions.RayError, OSError) as error:
            raise FathomError(f"the Ray cluster {self.address} is gone") from error


def _compute(function: Callable[[Any, Any], Any], common: Any, piece: Any, threads: int) -> Any:
    """A piece of a training, with the arithmetic of the process that trains."""
    prepare(threads, "cpu")
    return function(common, piece)


if __name__ == "__main__":
    main()
