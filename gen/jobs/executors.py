"""Executors that render items: in this process, in worker processes, or on a Ray cluster.

All are ``concurrent.futures`` executors. The runner submits at most one item per worker, so that a crashed worker
affects few items.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from gen.errors import DeviceError, InputError
from gen.notes import quiet_libraries

P = ParamSpec("P")
T = TypeVar("T")


class InProcess(Executor):
    """Runs each call immediately in this process (one worker)."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = Future[T]()
        future.set_result(fn(*args, **kwargs))
        return future


class OnRay(Executor):
    """One actor per worker, each with a GPU if the cluster has any; the cache must be on a shared file system."""

    def __init__(self, workers: int):
        if find_spec("ray") is None:
            raise InputError("Ray is not installed: run `pip install affekt[ray]`, or omit --on.")
        self._ray: Any = import_module("ray")
        self._ray.init(ignore_reinit_error=True, log_to_driver=False)
        gpus = 1 if self._ray.cluster_resources().get("GPU") else 0
        actor = self._ray.remote(num_gpus=gpus, max_restarts=-1, max_task_retries=1)(_Actor)
        self._idle = SimpleQueue[Any]()
        for _ in range(workers):
            self._idle.put(actor.remote())

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        actor, future = self._idle.get(), Future[T]()

        def on_done(done: Future[T]) -> None:
            error = done.exception()
            self._idle.put(actor)  # Ray restarts its process
            if isinstance(error, self._ray.exceptions.RayActorError):
                future.set_exception(WorkerDied("its worker died twice; it was killed, or ran out of memory"))
            elif error:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        actor.run.remote(fn, *args, **kwargs).future().add_done_callback(on_done)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._ray.shutdown()


class WorkerDied(RuntimeError):
    """A worker crashed, and so did the retry."""


class _Actor:
    """A long-lived process that keeps the last models loaded."""

    def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        quiet_libraries()
        return fn(*args, **kwargs)


def make(on: str, workers: int) -> Executor:
    """Returns an executor for ``on`` = "local" or "ray"."""
    if on == "ray":
        return OnRay(workers)
    if on != "local":
        raise InputError(f"--on is local or ray, not {on!r}.")
    if workers == 1:
        return InProcess()
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """Prepares a worker: silences libraries, exits quietly on Ctrl-C and together with the parent process."""
    quiet_libraries()
    os.dup2(2, 1)  # keeps library output off stdout, which has the command's own lines
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def pick_device(device: str) -> str:
    """Resolves "auto" to a GPU if available; several workers of a pool are spread over several GPUs."""
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        number = "".join(filter(str.isdigit, multiprocessing.current_process().name)) or "1"  # "SpawnProcess-3"
        return f"cuda:{(int(number) - 1) % torch.cuda.device_count()}" if device == "auto" else device
    if device == "auto":
        return "cpu"
    raise DeviceError(f"{device} is not available: give --device cpu, or install PyTorch for your GPU.")
