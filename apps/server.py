"""An HTTP server for tasks, documented as OpenAPI (``affekt serve``).

Every job is a file in the server's folder, so that the queue survives a restart: an interrupted job starts again and
uses the cached parts. Input files are uploaded first and referenced as ``file:ID`` in a task.
"""

import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

import gen
from apps.studio.words import without_folders
from gen import checkpoints, registry
from gen.emotion import own
from gen.errors import AffektError, InputError
from gen.jobs.cache import Cache, default_root, hidden
from gen.jobs.plan import plan_tasks
from gen.jobs.run import Event, run
from gen.jobs.schema import Task, parse_task, task_class, with_paths

log = logging.getLogger(__name__)

PREFIX = "file:"
WEIGHTS = ("model", "vocoder", "flame")  # fields with a checkpoint name
ABOUT = "Emotional speech, talking portraits, piano music, and films of all three."
OPEN, DONE = ("queued", "running"), ("done", "failed", "stopped")
State = Literal["queued", "running", "done", "failed", "stopped"]


class Limits(BaseModel):
    """The limits of a server."""

    waiting: int = 100  # waiting jobs; more are rejected
    megabytes: int = 200  # maximum size of an upload
    hours: float = 24.0  # time that files and finished jobs are kept


class Stored(BaseModel):
    """An uploaded file; ``name`` is its reference in tasks."""

    name: str
    bytes: int


class Made(BaseModel):
    """A file of a result."""

    name: str
    bytes: int
    link: str


class Job(BaseModel):
    """A task and its state; ``progress`` is from 0 to 1."""

    id: str
    kind: str
    state: State
    created: float
    progress: float = 0.0
    message: str = ""
    seconds: float = 0.0
    notes: list[str] = []
    files: list[Made] = []


class Stop(BaseException):
    """The running job was cancelled; passes through the runner like Ctrl-C."""


class Desk:
    """The jobs of one folder, and the thread that renders them, oldest first."""

    def __init__(self, folder: Path, device: str = "auto", limits: Limits | None = None):
        self.folder, self.device, self.limits = folder, device, limits or Limits()
        for name in ("jobs", "files", "results"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.lock, self.news = threading.Lock(), threading.Event()
        self.stopped: set[str] = set()
        for job, given in self.all():
            if job.state == "running":
                self._keep(job.model_copy(update={"state": "queued", "progress": 0.0}), given)

    # ---------------------------------------------------------------- jobs

    def all(self) -> Iterator[tuple[Job, dict]]:
        """Jobs with their tasks as given, oldest first."""
        for path in sorted((self.folder / "jobs").glob("[!.]*.json")):
            yield self._read(path)

    def get(self, id: str) -> tuple[Job, dict]:
        """Returns a job and its task. Raises ``KeyError``."""
        path = self.folder / "jobs" / f"{id}.json"
        if not re.fullmatch(r"[0-9a-f-]+", id) or not path.is_file():
            raise KeyError(id)
        return self._read(path)

    def _read(self, path: Path) -> tuple[Job, dict]:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return Job.model_validate(facts["job"]), facts["task"]

    def _keep(self, job: Job, given: dict) -> Job:
        with hidden(self.folder / "jobs" / f"{job.id}.json") as draft:
            draft.write_text(json.dumps({"job": job.model_dump(), "task": given}), encoding="utf-8")
        return job

    def add(self, given: dict) -> Job:
        """Queues a task. Raises ``InputError``, and ``OverflowError`` if too many are waiting."""
        task = self.task(given)
        with self.lock:
            if sum(job.state in OPEN for job, _ in self.all()) >= self.limits.waiting:
                raise OverflowError(f"{self.limits.waiting} jobs are waiting: try again later")
            id = f"{time.time_ns():x}-{uuid4().hex[:8]}"
            job = self._keep(Job(id=id, kind=task.kind, state="queued", created=time.time()), given)
        self.news.set()
        return job

    def stop(self, id: str) -> Job:
        """Cancels a job; a finished job is unchanged. Raises ``KeyError``."""
        with self.lock:
            job, given = self.get(id)
            if job.state == "running":
                self.stopped.add(id)
            elif job.state == "queued":
                job = self._keep(job.model_copy(update={"state": "stopped"}), given)
        return job

    def task(self, given: dict) -> Task:
        """The task with its uploaded files resolved. Raises ``InputError``."""
        for name in (name for name in given if name in WEIGHTS or name.endswith("_model")):
            if checkpoints.is_path(str(given[name])):
                raise InputError(f"{name}: give a checkpoint name, not a path")
        return with_paths(parse_task(given), self.stored)

    # ---------------------------------------------------------------- files

    def store(self, content: bytes, ending: str) -> Stored:
        """Stores an input file."""
        id = uuid4().hex
        with hidden(self.folder / "files" / f"{id}{ending}") as draft:
            draft.write_bytes(content)
        return Stored(name=f"{PREFIX}{id}{ending}", bytes=len(content))

    def stored(self, path: Path) -> Path:
        """The uploaded file referenced by a task. Raises ``InputError`` for anything else."""
        given = str(path)
        found = self.folder / "files" / given.removeprefix(PREFIX)
        if not given.startswith(PREFIX) or found.parent != self.folder / "files" or not found.is_file():
            raise InputError(f"{path.name}: upload the file first and use the returned name ({PREFIX}...)")
        return found

    def results(self, id: str) -> list[Path]:
        place = self.folder / "results" / id
        return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []

    # ---------------------------------------------------------------- work

    def work(self) -> None:
        """Renders jobs until the process ends."""
        while True:
            if not self.work_once():
                self.news.wait(timeout=60)
                self.news.clear()

    def work_once(self) -> bool:
        """Renders the oldest waiting job; True if there was one."""
        self._sweep()
        with self.lock:
            waiting = next(((job, given) for job, given in self.all() if job.state == "queued"), None)
            if waiting is None:
                return False
            job = self._keep(waiting[0].model_copy(update={"state": "running"}), waiting[1])
        done = self._rendered(job, waiting[1])
        with self.lock:
            self.stopped.discard(job.id)
            self._keep(done, waiting[1])
        return True

    def _rendered(self, job: Job, given: dict) -> Job:
        facts: dict = {"state": "failed"}
        start, saved = time.monotonic(), 0.0

        def report(event: Event) -> None:
            nonlocal saved
            if event.state == "progress":
                if job.id in self.stopped:
                    raise Stop
                if time.monotonic() - saved > 0.5:
                    saved = time.monotonic()
                    self._keep(job.model_copy(update={"progress": event.fraction, "message": event.message}), given)
            elif event.state in ("failed", "blocked"):
                facts["message"] = without_folders(event.message)
            elif event.state != "note":
                facts.update(state="done", notes=[without_folders(note) for note in event.notes])

        try:
            plan = plan_tasks({job.kind: self.task(given)})
            run(plan, self.folder / "results" / job.id, Cache(default_root()), report, device=self.device)
        except Stop:
            facts = {"state": "stopped"}
        except AffektError as error:
            facts["message"] = without_folders(str(error))
        except Exception as error:  # a failed job must not stop the server
            log.exception("job %s", job.id)
            facts["message"] = type(error).__name__
        facts["progress"] = 1.0 if facts["state"] == "done" else job.progress
        return job.model_copy(update=facts | {"seconds": round(time.monotonic() - start, 3)})

    def _sweep(self) -> None:
        """Deletes what is older than the limit, except files of waiting jobs."""
        oldest = time.time() - 3600 * self.limits.hours
        jobs = [*self.all()]
        for job, _ in jobs:
            if job.state in DONE and job.created < oldest:
                (self.folder / "jobs" / f"{job.id}.json").unlink(missing_ok=True)
                shutil.rmtree(self.folder / "results" / job.id, ignore_errors=True)
        needed = json.dumps([given for job, given in jobs if job.state in OPEN])
        for path in (self.folder / "files").glob("[!.]*"):
            if path.stat().st_mtime < oldest and path.name not in needed:
                path.unlink()


def build(desk: Desk, token: str) -> FastAPI:
    """The application; every call except the documentation needs the token."""
    own.load()
    app = FastAPI(title="Affekt", version=gen.__version__, description=ABOUT)
    classes = [task_class(kind) for kind in sorted({*registry.names("task")} & {*registry.names("generator")})]
    Given = Annotated[reduce(or_, classes), Field(discriminator="kind")]
    bearer = HTTPBearer(auto_error=False)

    def known(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(401, "give the server's token: Authorization: Bearer ...")

    guarded = {"dependencies": [Depends(known)]}

    def shown(job: Job, request: Request) -> Job:
        link = lambda path: str(request.url_for("result", id=job.id, name=path.name))
        files = [Made(name=path.name, bytes=path.stat().st_size, link=link(path)) for path in desk.results(job.id)]
        return job.model_copy(update={"files": files if job.state == "done" else []})

    def found(id: str) -> Job:
        try:
            return desk.get(id)[0]
        except KeyError:
            raise HTTPException(404, f"no job {id}") from None

    @app.post("/v1/files", status_code=201, **guarded)
    async def upload(request: Request, name: str) -> Stored:
        """Uploads an input file with its content as the body; only the extension of ``name`` is kept."""
        ending = Path(name).suffix.lower()
        if not re.fullmatch(r"(\.[a-z0-9]{1,8})?", ending):
            raise HTTPException(422, "give a name with a file extension, such as .wav")
        content, most = bytearray(), desk.limits.megabytes * 1_000_000
        async for part in request.stream():
            content += part
            if len(content) > most:
                raise HTTPException(413, f"the file is too large: the limit is {desk.limits.megabytes} MB")
        return desk.store(bytes(content), ending)

    @app.post("/v1/jobs", status_code=202, **guarded)
    def queue(task: Given, request: Request) -> Job:
        """Queues a task; input files are given by the names that their uploads returned."""
        try:
            given = task.model_dump(mode="json", by_alias=True, exclude_unset=True)
            return shown(desk.add(given | {"kind": task.kind}), request)
        except AffektError as error:
            raise HTTPException(422, without_folders(str(error))) from None
        except OverflowError as error:
            raise HTTPException(429, str(error)) from None

    @app.get("/v1/jobs", **guarded)
    def jobs(request: Request) -> list[Job]:
        """All jobs that are kept, oldest first."""
        return [shown(job, request) for job, _ in desk.all()]

    @app.get("/v1/jobs/{id}", **guarded)
    def job(id: str, request: Request) -> Job:
        """A job: its state, its progress, and its files once it is done."""
        return shown(found(id), request)

    @app.delete("/v1/jobs/{id}", **guarded)
    def stop(id: str, request: Request) -> Job:
        """Cancels a job: it is not started, or stops at the next step."""
        found(id)
        return shown(desk.stop(id), request)

    @app.get("/v1/jobs/{id}/files/{name}", name="result", **guarded)
    def result(id: str, name: str) -> FileResponse:
        """A file of a result."""
        found(id)
        for path in desk.results(id):
            if path.name == name:
                return FileResponse(path, filename=name)
        raise HTTPException(404, f"job {id} has no file {name}")

    return app


def serve(folder: Path, *, port: int, lan: bool, device: str, limits: Limits, ready: Callable[[str], None]) -> None:
    """Runs the server until it is stopped; the token is ``$AFFEKT_TOKEN``, or a new one that is printed."""
    import uvicorn

    token = os.environ.get("AFFEKT_TOKEN") or secrets.token_urlsafe(24)
    if not os.environ.get("AFFEKT_TOKEN"):
        ready(f"the token is {token} (set AFFEKT_TOKEN to choose one)")
    desk = Desk(folder, device, limits)
    threading.Thread(target=desk.work, daemon=True).start()
    host = "0.0.0.0" if lan else "127.0.0.1"

    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(f"the server is at http://{host}:{port}, documented at /docs and /openapi.json (Ctrl-C stops it)")

    Server(uvicorn.Config(build(desk, token), host=host, port=port, log_level="warning")).run()
