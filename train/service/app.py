"""The application: routes, limits and errors put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from train import __version__
from train.service import api, mlflow_protocol, pages, problems
from train.service.batching import Batcher
from train.service.guard import Gate, Intake, Watchman
from train.service.monitoring import CONTENT_TYPE, Metrics
from train.service.served import Keeper
from train.service.settings import ServiceSettings
from train.service.state import Here, Service

#: Nobody is let in who would wait longer than this part of the deadline: a quick 429 is better news than a late answer.
_WAIT = 6


def create_app(keeper: Keeper, settings: ServiceSettings) -> FastAPI:
    """Return the application that serves what ``keeper`` holds; its threads run while it does."""
    metrics = Metrics()
    batcher = Batcher(settings.batch_tokens, settings.queue_tokens, settings.deadline / _WAIT, metrics.batch)
    metrics.watch_queue(lambda: batcher.held, lambda: batcher.limit)
    metrics.model(keeper.current)
    keeper.swapped = metrics.swapped

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        keeper.start()
        try:
            yield
        finally:
            keeper.close()
            await run_sync(batcher.close)

    app = _Served(
        title="selon",
        version=__version__,
        description="Labels each sentence of a French news article: who vouches for it, not whether it is true.",
        docs_url=None,  # both viewers load scripts from elsewhere; `pages` has one that needs none
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy the address would be another's
        lifespan=lifespan,
    )
    app.state.service = Service(settings, keeper, batcher, metrics)
    problems.install(app)
    app.include_router(api.router)
    app.include_router(mlflow_protocol.router)
    _add_probes(app)
    pages.install(app)
    token = settings.token.get_secret_value() if settings.token else None
    app.guard = lambda inner: Watchman(
        Gate(Intake(inner, settings.max_body, settings.max_open, settings.deadline, batcher.check), token), metrics
    )
    return app


class _Served(FastAPI):
    """FastAPI with our guard before everything, Starlette's own error page included."""

    guard: Any = None

    def build_middleware_stack(self) -> ASGIApp:
        return self.guard(super().build_middleware_stack())  # type: ignore[no-any-return]

    def openapi(self) -> dict[str, Any]:
        """Return the document of the API, with the one form of its errors and the token."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            schema = problems.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = document["components"]["schemas"]
            schemas |= {**schema.pop("$defs", {}), problems.ProblemDetails.__name__: schema}
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}, {}]
            self.openapi_schema = document
        return self.openapi_schema


def _add_probes(app: FastAPI) -> None:
    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    @app.get("/health/live", response_class=Response, responses=plain, tags=["operation"])
    @app.get("/health", response_class=Response, include_in_schema=False)
    async def live() -> Response:
        """Say that the process is there."""
        return Response("ok\n", media_type="text/plain")

    @app.get(
        "/health/ready",
        response_class=Response,
        responses={**plain, **problems.documented(503)},
        tags=["operation"],
    )
    async def ready(here: Here) -> Response:
        """Say whether a request would be admitted now."""
        if here.batcher.held >= here.batcher.limit:
            raise problems.ProblemError(503, "too much to do just now", {"Retry-After": "1"})
        return Response("ok\n", media_type="text/plain")

    @app.get("/metrics", response_class=Response, responses={**plain, **problems.documented(401)}, tags=["operation"])
    async def metrics(here: Here) -> Response:
        """Return figures for Prometheus."""
        return Response(here.metrics.page(), headers={"Content-Type": CONTENT_TYPE})
