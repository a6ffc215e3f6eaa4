"""A Ray cluster that computes for Fathom; Ray is imported only where one is asked for."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from fathom.errors import FathomError
from fathom.runs.agent_learner import agent_class
from fathom.runs.process import prepare

RETRIES = 5
"""How often Ray begins a task again whose process or machine died."""
_CONNECT = 10.0
"""Seconds in which a cluster has to answer."""


def connect(address: str) -> Any:
    """The module `ray`, connected to a cluster.

    Raises:
        FathomError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise FathomError('--ray needs Ray: pip install "fathom-rl[ray]"') from error
    if not ray.is_initialized():
        handler = signal.getsignal(signal.SIGTERM)
        try:
            _check_reachable(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of many kinds, by what is wrong with the address
            raise FathomError(
                f"there is no Ray cluster at {address!r} that can be reached from here; `ray start --head` starts"
                " one"
            ) from error
        finally:
            with contextlib.suppress(ValueError):  # in another thread than the main one
                signal.signal(signal.SIGTERM, handler)  # Ray has set its own
    return ray


def _check_reachable(address: str) -> None:
    """Raise OSError or ValueError where nobody listens at an address, which Ray takes minutes to find out."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()


def cluster_cores(address: str) -> int:
    """The CPUs of a cluster."""
    return max(1, int(connect(address).cluster_resources().get("CPU", 1)))


class RayWorkers:
    """Processes of a Ray cluster that compute pieces of a training: `agents.agent.Workers`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray = connect(address)
        self._compute = self._ray.remote(max_retries=RETRIES)(_compute)

    def map(
        self, function: Callable[[Any, Any], Any], common: Any, pieces: Sequence[Any]
    ) -> list[Any]:
        """See `agents.agent.Workers.map`.

        Raises:
            FathomError: the cluster is gone, or has no machine with as many CPUs as this process has threads.
        """
        threads = torch.get_num_threads()
        machines = [node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]]
        if max(machines, default=0) < threads:
            raise FathomError(
                f"no machine of the Ray cluster {self._address} has {threads} CPUs, which are the threads of this"
                " run: train with fewer --threads"
            )
        shared = self._ray.put(common)
        compute = self._compute.options(num_cpus=threads)
        try:
            return self._ray.get([compute.remote(function, shared, one, threads) for one in pieces])
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            raise FathomError(
                f"the Ray cluster {self._address} failed ({type(error).__name__}); `fathom resume RUN` goes on from"
                " the last checkpoint, with --ray ADDRESS or without"
            ) from error

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()


def _compute(function: Callable[[Any, Any], Any], common: Any, piece: Any, threads: int) -> Any:
    """A piece of a training, with the arithmetic of the process that trains."""
    prepare(threads, "cpu")
    return function(common, piece)


@contextlib.contextmanager
def workers_at(address: str | None, agent: str) -> Iterator[RayWorkers | None]:
    """The workers of a cluster that an agent's training can use; None without an address.

    Raises:
        FathomError: it cannot use any, or the cluster cannot be reached.
    """
    if address is None:
        yield None
        return
    if not agent or not agent_class(agent).spreads:
        raise FathomError(
            f"--ray spreads self-play over a cluster, and {agent or 'a fit'} has none; `fathom sweep … --ray` spreads"
            " whole runs"
        )
    workers = RayWorkers(address)
    try:
        yield workers
    finally:
        workers.close()
