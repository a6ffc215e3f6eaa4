"""A Ray cluster that computes for Fathom; Ray is imported only where one is asked for."""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from typing import Any

import torch

from fathom.errors import FathomError
from fathom.runs.agent_learner import agent_class

RETRIES = 5
"""How often Ray begins a task again whose process or machine died."""
_LEAVE = 10.0
"""Seconds in which a process that talks to a cluster has to end."""
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
            check_reachable(address)
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


def check_reachable(address: str) -> None:
    """Raise OSError or ValueError where nobody listens at an address, which Ray takes minutes to find out."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()


def cluster_cores(address: str) -> int:
    """The CPUs of a cluster."""
    return max(1, int(connect(address).cluster_resources().get("CPU", 1)))


class RayWorkers:
    """Processes of a Ray cluster that compute pieces of a training: `agents.agent.Workers`.

    Args:
        threads: of each process.

    Raises:
        FathomError: the cluster cannot be reached, or has no machine with as many CPUs.
    """

    def __init__(self, address: str, threads: int) -> None:
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "fathom.runs.ray_process"]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), address, str(threads)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self.address, self.cores = self._answer()
        except BaseException:
            self.close()
            raise

    def map(
        self, function: Callable[[Any, Any], Any], common: Any, pieces: Sequence[Any]
    ) -> list[Any]:
        """See `agents.agent.Workers.map`.

        Raises:
            FathomError: the cluster is gone.
        """
        with contextlib.suppress(OSError):  # then there is no answer either
            self._pipe.send_bytes(pickle.dumps((function, common, list(pieces))))
        return self._answer()

    def _answer(self) -> Any:
        """What the process says that talks to the cluster."""
        try:
            answer = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise FathomError("the Ray cluster is gone") from error
        if isinstance(answer, FathomError):
            raise answer
        return answer

    def close(self) -> None:
        """Leave the cluster."""
        self._pipe.close()
        try:
            self._process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def workers_at(
    address: str | None, agent: str, threads: int | None, message: Callable[[str], None]
) -> Iterator[RayWorkers | None]:
    """The workers of a cluster that an agent's training can use; None without an address.

    Args:
        threads: of the run; PyTorch's default if None.
        message: is told which cluster it is.

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
    workers = RayWorkers(address, threads or torch.get_num_threads())
    message(f"searching on the Ray cluster {workers.address}, which has {workers.cores} CPUs")
    try:
        yield workers
    finally:
        workers.close()
