"""Where items are rendered: in this process, in worker processes, or on a Ray cluster.

All are ``concurrent.futures`` executors. The runner keeps no more items in flight than there are workers, so that a
worker that dies takes few with it.
"""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from importlib.util import find_spec
from queue import SimpleQueue

from gen.errors import DeviceError, InputError
from gen.notes import hush


class InProcess(Executor):
    """Runs each call at once; the way of one worker."""

    def submit(self, call, /, *args):
        future = Future()
        future.set_result(call(*args))
        return future


class OnRay(Executor):
    """One actor per worker, with a GPU each where the cluster has any; the cache must lie on a shared file system."""

    def __init__(self, workers: int):
        if find_spec("ray") is None:
            raise InputError("Ray is not installed: run `pip install affekt[ray]`, or leave out --on.")
        import ray

        ray.init(ignore_reinit_error=True, log_to_driver=False)
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        actor = ray.remote(num_gpus=gpus, max_restarts=-1, max_task_retries=1)(_Actor)
        self._idle: SimpleQueue = SimpleQueue()
        for _ in range(workers):
            self._idle.put(actor.remote())

    def submit(self, call, /, *args):
        import ray

        actor, future = self._idle.get(), Future()

        def settle(done: Future) -> None:
            error = done.exception()
            self._idle.put(actor)  # Ray starts its process anew
            if isinstance(error, ray.exceptions.RayActorError):
                future.set_exception(WorkerDied("its worker died twice; it was killed, or ran out of memory"))
            elif error:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        actor.run.remote(call, *args).future().add_done_callback(settle)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        import ray

        ray.shutdown()


class WorkerDied(RuntimeError):
    """A worker was lost, and so was the one that tried again."""


class _Actor:
    """Keeps a process, and with it the models loaded last."""

    def run(self, call, *args):
        hush()
        return call(*args)


def make(on: str, workers: int) -> Executor:
    """An executor for ``on`` = "local" or "ray"."""
    if on == "ray":
        return OnRay(workers)
    if on != "local":
        raise InputError(f"Items can be rendered on local or ray, not on {on!r}.")
    if workers == 1:
        return InProcess()
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """End quietly on Ctrl-C, and with the parent: a worker must not outlive a killed run."""
    hush()
    os.dup2(2, 1)  # what libraries print belongs to none of the lines that this command prints
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def pick_device(device: str) -> str:
    """ "auto" is a GPU where there is one; several workers of a pool share several GPUs in turn."""
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        number = "".join(filter(str.isdigit, multiprocessing.current_process().name)) or "1"  # "SpawnProcess-3"
        return f"cuda:{(int(number) - 1) % torch.cuda.device_count()}" if device == "auto" else device
    if device == "auto":
        return "cpu"
    raise DeviceError(f"There is no {device} here: give --device cpu, or install PyTorch for your GPU.")
