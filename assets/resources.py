"""Resources: the warehouse that a run writes to, and where sources and services are."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from assets.settings import llm_api_key, llm_settings, tmdb_api_key
from warehouse.store import Warehouse

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.tmdb import TmdbClient


class WarehouseResource(dg.ConfigurableResource):
    """The warehouse. A run holds its lock from start to end, so that two runs write one after the other."""

    root: str

    _warehouse: Warehouse | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[WarehouseResource, None, None]:
        """Open the warehouse and hold its lock while the run lasts."""
        self._warehouse = Warehouse(Path(self.root))
        with self._warehouse.lock(
            on_wait=lambda holder: dg.get_dagster_logger().warning(f"waiting for another run: {holder}")
        ):
            yield self

    @property
    def store(self) -> Warehouse:
        """The open warehouse."""
        if self._warehouse is None:
            raise RuntimeError("the warehouse is only open inside a run")
        return self._warehouse


class SourcesResource(dg.ConfigurableResource):
    """The folder of catalogue files."""

    folder: str

    @property
    def path(self) -> Path:
        """The folder as a path."""
        return Path(self.folder)


class TmdbResource(dg.ConfigurableResource):
    """TMDB's API. The key stays in the environment (TMDB_API_KEY) and never enters run configuration."""

    base_url: str

    def client(self) -> TmdbClient | None:
        """A client, or None when there is no key."""
        from pipelines.gateways.tmdb import TmdbClient  # the HTTP client is slow to import

        key = tmdb_api_key()
        return TmdbClient(key, self.base_url) if key else None


class LlmResource(dg.ConfigurableResource):
    """The language model. Endpoint, model, mode and budget come from the environment, and so does the key, which never enters run
    configuration.
    """

    @contextmanager
    def gateway(self, warehouse: Warehouse, tell: Callable[[str], None]) -> Iterator[LlmGateway | None]:
        """The gateway over the answers kept in `warehouse`, or None when no language model is configured."""
        settings = llm_settings()
        if settings is None:
            tell("language model skipped: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set")
            yield None
            return
        from assets.build.ledger import llm_cache
        from pipelines.gateways.llm.gateway import LlmGateway

        with llm_cache(warehouse) as cache:
            yield LlmGateway(settings, llm_api_key(), cache)
