"""The assets of the corpus: raw tables, records, links, films, their evaluation. Thin: the work is in assets/build."""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from assets import auditing, pictures
from assets.automation import CORPUS_FRESH, ON_NEW_INPUTS, WEEKLY
from assets.build import corpus as build
from assets.build import enrichment, evaluation
from assets.build.sources import build_sources
from assets.progress import step
from assets.publishing import POOL, BuildConfig, Contracts, publish
from assets.resources import SourcesResource, TmdbResource, WarehouseResource
from assets.specs import materialized, table_spec
from pipelines.corpus.policy import POLICY_VERSION
from pipelines.linking.keys import KEYS_VERSION
from pipelines.linking.rules import RULES_VERSION
from pipelines.sources.blocks import READER_VERSION, SourceBlock
from pipelines.sources.normalise import NORMALISE_VERSION
from warehouse.tables.corpus import (
    CORE_MOVIE_CONFLICTS,
    CORE_MOVIE_ID_HISTORY,
    CORE_MOVIE_LINKS,
    CORE_MOVIES,
    CORE_MOVIES_COMPLETE,
    CORE_RECORD_PAIRS,
    EVAL_ENTITY_RESOLUTION,
    EVAL_UNCERTAIN_PAIRS,
)
from warehouse.tables.enrichment import RAW_TMDB_API__DETAILS
from warehouse.tables.titles import (
    CORE_TITLE_RECORDS,
    META_ROW_ACCOUNTING,
    META_SOURCE_FILES,
    RAW_REJECTS,
    raw_table_name,
)

TMDB_POOL = "tmdb_api"


def corpus_assets(blocks: Mapping[str, SourceBlock], contracts: Contracts) -> list[dg.AssetsDefinition]:
    """Every asset of the corpus, over the sources that `blocks` describe."""
    raw = {name: contracts[raw_table_name(name)] for name in blocks}
    raw_names = [table.name for table in raw.values()]
    reading = f"reader {READER_VERSION}"

    @dg.multi_asset(
        name="read_sources",
        specs=[
            *(
                table_spec(table, [], f"{reading}, block {blocks[name].hash[:8]}", group="raw")
                for name, table in raw.items()
            ),
            *(table_spec(table, raw_names, reading) for table in (RAW_REJECTS, META_ROW_ACCOUNTING, META_SOURCE_FILES)),
        ],
        check_specs=[
            *(
                dg.AssetCheckSpec(
                    "readable",
                    asset=table.name,
                    blocking=True,
                    description=f"At most {blocks[name].reject_share_max:.0%} of the rows could not be read, and the files have rows at all.",
                )
                for name, table in raw.items()
            ),
            *auditing.check_specs(RAW_REJECTS),
            *auditing.check_specs(META_ROW_ACCOUNTING),
        ],
        can_subset=True,
        pool=POOL,
    )
    def read_sources(
        context: dg.AssetExecutionContext,
        config: BuildConfig,
        warehouse: WarehouseResource,
        sources: SourcesResource,
    ):
        asked = {key.to_user_string() for key in context.selected_asset_keys}
        some = {name: block for name, block in blocks.items() if raw_table_name(name) in asked}
        with step(context, "read sources") as teller:
            result = build_sources(warehouse.store, some, sources.path, config.full, teller)
            commits = {o.commit.table: o.commit for o in result.outcomes.values() if o.commit is not None}
            commits |= {commit.table: commit for commit in result.shared}
            audited = auditing.audit(warehouse.store, {c.table: c for c in result.shared}, teller)
            if not any(auditing.is_blocking(outcome) for outcome in audited):
                warehouse.store.publish({name: commit.version for name, commit in commits.items()}, contracts)
            yield from (auditing.check_result(found) for found in audited if found[0] in asked)
            for name, outcome in result.outcomes.items():
                yield auditing.source_check(raw_table_name(name), outcome)
                if outcome.problem:
                    teller(f"{name}: {outcome.problem}")
            for name, commit in commits.items():
                if name in asked:
                    extra = pictures.sources(result.outcomes) if name == META_ROW_ACCOUNTING.name else {}
                    yield materialized(warehouse.store, contracts[name], commit, teller.seconds, extra)

    @dg.multi_asset(
        name="normalise",
        specs=[
            table_spec(
                CORE_TITLE_RECORDS,
                raw_names,
                f"normaliser {NORMALISE_VERSION}, keys {KEYS_VERSION}",
                ON_NEW_INPUTS,
            )
        ],
        check_specs=auditing.check_specs(CORE_TITLE_RECORDS),
        pool=POOL,
    )
    def normalise(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        with step(context, "normalise") as teller:
            built = build.build_title_records(warehouse.store, blocks, config.full, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    linking = f"rules {RULES_VERSION}, keys {KEYS_VERSION}"

    @dg.multi_asset(
        name="link_records",
        specs=[
            table_spec(
                CORE_RECORD_PAIRS,
                [CORE_TITLE_RECORDS.name],
                linking,
                ON_NEW_INPUTS,
                kinds=("polars", "deltalake", "scipy"),
            ),
            table_spec(CORE_MOVIE_LINKS, [CORE_RECORD_PAIRS.name, CORE_TITLE_RECORDS.name], linking, ON_NEW_INPUTS),
            table_spec(CORE_MOVIE_ID_HISTORY, [CORE_MOVIE_LINKS.name], linking, ON_NEW_INPUTS),
        ],
        check_specs=[
            spec
            for table in (CORE_RECORD_PAIRS, CORE_MOVIE_LINKS, CORE_MOVIE_ID_HISTORY)
            for spec in auditing.check_specs(table)
        ],
        pool=POOL,
    )
    def link_records(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        with step(context, "link") as teller:
            built = build.build_links(warehouse.store, datetime.now(UTC).replace(tzinfo=None), config.full, teller)
            yield from publish(
                warehouse.store,
                contracts,
                built,
                teller,
                {CORE_MOVIE_LINKS.name: pictures.links(warehouse.store, built)},
            )

    @dg.multi_asset(
        name="ask_tmdb",
        specs=[
            table_spec(
                RAW_TMDB_API__DETAILS,
                [CORE_TITLE_RECORDS.name, CORE_MOVIE_LINKS.name],
                "1",
                ON_NEW_INPUTS,
                kinds=("deltalake", "http"),
                group="core",
            )
        ],
        check_specs=auditing.check_specs(RAW_TMDB_API__DETAILS),
        pool=TMDB_POOL,
        retry_policy=dg.RetryPolicy(max_retries=2, delay=30),
    )
    def ask_tmdb(context: dg.AssetExecutionContext, warehouse: WarehouseResource, tmdb: TmdbResource):
        with step(context, "ask TMDB") as teller:
            client = tmdb.client()
            if client is None:
                teller("skipped: TMDB_API_KEY is not set")
            built = enrichment.build_tmdb_details(
                warehouse.store, client, datetime.now(UTC).replace(tzinfo=None), teller
            )
            yield from publish(warehouse.store, contracts, built, teller)

    fusing = f"policy {POLICY_VERSION}"

    @dg.multi_asset(
        name="fuse",
        specs=[
            table_spec(
                CORE_MOVIES,
                [CORE_MOVIE_LINKS.name, CORE_TITLE_RECORDS.name, RAW_TMDB_API__DETAILS.name],
                fusing,
                ON_NEW_INPUTS,
                CORPUS_FRESH,
            ),
            table_spec(CORE_MOVIE_CONFLICTS, [CORE_MOVIE_LINKS.name, CORE_TITLE_RECORDS.name], fusing, ON_NEW_INPUTS),
            table_spec(CORE_MOVIES_COMPLETE, [CORE_MOVIES.name], fusing, ON_NEW_INPUTS, kinds=("duckdb",)),
        ],
        check_specs=[*auditing.check_specs(CORE_MOVIES), *auditing.check_specs(CORE_MOVIE_CONFLICTS)],
        pool=POOL,
    )
    def fuse(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        with step(context, "fuse") as teller:
            reliability = {name: block.reliability for name, block in blocks.items()}
            built = build.build_movies(warehouse.store, reliability, config.full, teller)
            yield from publish(
                warehouse.store,
                contracts,
                built,
                teller,
                {CORE_MOVIES.name: pictures.films(warehouse.store, built)},
            )
            if warehouse.store.published(CORE_MOVIES.name) is not None:
                yield dg.MaterializeResult(
                    asset_key=CORE_MOVIES_COMPLETE.name, metadata=pictures.complete(warehouse.store)
                )

    @dg.multi_asset(
        name="evaluate_linking",
        specs=[
            table_spec(EVAL_ENTITY_RESOLUTION, [CORE_TITLE_RECORDS.name, CORE_MOVIES.name], linking, WEEKLY),
            table_spec(EVAL_UNCERTAIN_PAIRS, [CORE_TITLE_RECORDS.name, CORE_MOVIES.name], linking, WEEKLY),
        ],
        check_specs=auditing.check_specs(EVAL_ENTITY_RESOLUTION),
        pool=POOL,
    )
    def evaluate_linking(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate linking") as teller:
            built = evaluation.build_evaluation(warehouse.store, blocks, teller)
            yield from publish(
                warehouse.store,
                contracts,
                built,
                teller,
                {EVAL_ENTITY_RESOLUTION.name: pictures.resolution(warehouse.store, built)},
            )

    return [read_sources, normalise, link_records, ask_tmdb, fuse, evaluate_linking]
