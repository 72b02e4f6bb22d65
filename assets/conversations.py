"""The assets of conversations: dialogues, mentions, annotations, preference pairs and their evaluations. Thin: the work is in assets/build.

All but the evaluations and the ledger are partitioned by dataset, so that one dataset can be refreshed alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import dagster as dg

from assets import auditing
from assets import conversation_pictures as pictures
from assets.automation import DATASET_PARTITIONS, ON_NEW_INPUTS, WEEKLY
from assets.build import annotation, conversation_evaluation, dialogues, mentions, preferences
from assets.build.ledger import build_ledger
from assets.progress import step
from assets.publishing import POOL, BuildConfig, Contracts, publish
from assets.resources import LlmResource, SourcesResource, WarehouseResource
from assets.specs import table_spec
from pipelines.annotation.strategy import STRATEGY_VERSION
from pipelines.annotation.vto import VTO_VERSION
from pipelines.dialogues.read import READER_VERSION
from pipelines.mentions.link import LINKER_VERSION
from pipelines.preferences.assemble import PAIRS_VERSION
from pipelines.sources.blocks import SourceBlock
from warehouse.tables.annotation import (
    ANNO_STRATEGY,
    ANNO_TURNS,
    ANNO_VALIDATION,
    ANNO_VTO,
    EVAL_ANNOTATION,
    EVAL_ANNOTATION_DISAGREEMENTS,
)
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import (
    CORE_DIALOGUE_ITEMS,
    CORE_DIALOGUES,
    CORE_FEEDBACK,
    CORE_MENTION_HINTS,
    CORE_TURN_LABELS,
    CORE_TURNS,
    DATASETS,
)
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.mentions import (
    CORE_FILM_MENTIONS,
    CORE_ITEM_LINKS,
    CORE_MENTIONS,
    EVAL_MENTION_DISAGREEMENTS,
    EVAL_MENTION_LINKING,
)
from warehouse.tables.preferences import EVAL_PREFERENCES, PREF_DPO, PREF_GRPO, PREF_KTO, PREF_PAIRS, PREF_REWARD
from warehouse.tables.reranking import LLM_RANKINGS, RL_REWARDS
from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_CALLS, SIM_JUDGEMENTS, SIM_PERSONAS

# Stages that ask the language model take turns: the rate limit is the endpoint's, not a stage's.
LLM_POOL = "llm"


def datasets_of(context: dg.AssetExecutionContext) -> Sequence[str]:
    """The datasets that a run is for: those of its partitions, all where it has none."""
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else DATASETS


def conversation_assets(
    blocks: Mapping[str, SourceBlock], contracts: Contracts
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset made of conversations."""
    spec = partial(table_spec, partitions_def=DATASET_PARTITIONS)
    reading = f"reader {READER_VERSION}"

    @dg.multi_asset(
        name="read_dialogues",
        specs=[spec(table, [], reading) for table in dialogues.TABLES],
        check_specs=[
            dg.AssetCheckSpec(
                "readable",
                asset=CORE_DIALOGUES.name,
                # A dataset that is refused keeps its last version, and the others go on: what is published belongs together.
                blocking=False,
                description=f"At most {dialogues.REJECT_SHARE_MAX:.0%} of a dataset's files could not be read.",
            ),
            *auditing.checks_of(dialogues.TABLES),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def read_dialogues(
        context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource, sources: SourcesResource
    ):
        with step(context, "read dialogues") as teller:
            built, outcomes = dialogues.build_dialogues(
                warehouse.store, datasets_of(context), sources.path, config.full, teller
            )
            for outcome in outcomes.values():
                if outcome.problem:
                    teller(outcome.problem)
            yield auditing.dialogues_check(outcomes)
            extra = {CORE_TURNS.name: pictures.turns(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    linking = f"mentions {LINKER_VERSION}"
    linked_from = [CORE_TURNS.name, CORE_MENTION_HINTS.name, CORE_DIALOGUE_ITEMS.name, CORE_MOVIES.name]

    @dg.multi_asset(
        name="link_mentions",
        specs=[
            spec(CORE_ITEM_LINKS, [CORE_DIALOGUE_ITEMS.name, CORE_MOVIES.name], linking, ON_NEW_INPUTS),
            spec(CORE_MENTIONS, linked_from, linking, ON_NEW_INPUTS),
            spec(CORE_FILM_MENTIONS, [CORE_MENTIONS.name], linking, ON_NEW_INPUTS, kinds=("duckdb",)),
        ],
        check_specs=auditing.checks_of((CORE_ITEM_LINKS, CORE_MENTIONS)),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def link_mentions(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        with step(context, "link mentions") as teller:
            built = mentions.build_mentions(warehouse.store, datasets_of(context), config.full, teller)
            extra = {CORE_MENTIONS.name: pictures.mentions(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra, views=(CORE_FILM_MENTIONS,))

    annotated_from = [CORE_TURNS.name, CORE_MENTIONS.name, ANNO_VALIDATION.name]
    rules = f"rules and prompt {VTO_VERSION}"

    @dg.multi_asset(
        name="annotate",
        specs=[
            spec(ANNO_VTO, annotated_from, rules, ON_NEW_INPUTS, kinds=("polars", "deltalake", "openai")),
            spec(ANNO_TURNS, [ANNO_VTO.name, *annotated_from], rules, ON_NEW_INPUTS),
            spec(
                ANNO_STRATEGY,
                [*annotated_from, CORE_TURN_LABELS.name],
                f"rules and prompt {STRATEGY_VERSION}",
                ON_NEW_INPUTS,
                kinds=("polars", "deltalake", "openai"),
            ),
        ],
        check_specs=auditing.checks_of((ANNO_VTO, ANNO_TURNS, ANNO_STRATEGY)),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=LLM_POOL,
    )
    def annotate(
        context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource, llm: LlmResource
    ):
        with step(context, "annotate") as teller:
            with llm.gateway(warehouse.store, teller) as gateway:
                built = annotation.build_annotations(
                    warehouse.store, datasets_of(context), gateway, config.full, teller
                )
            extra = {ANNO_TURNS.name: pictures.annotation(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    @dg.multi_asset(
        name="make_pairs",
        specs=[
            spec(
                PREF_PAIRS,
                [
                    CORE_TURNS.name,
                    CORE_MENTIONS.name,
                    CORE_FEEDBACK.name,
                    CORE_ITEM_LINKS.name,
                    CORE_MOVIES.name,
                    ANNO_VALIDATION.name,
                    dg.AssetDep(PREF_ECPO_PAIRS.name, partition_mapping=dg.AllPartitionMapping()),
                ],
                f"constructions {PAIRS_VERSION}",
                # Simulations come once a week, or never: pairs do not wait for them.
                ON_NEW_INPUTS.ignore(dg.AssetSelection.assets(PREF_ECPO_PAIRS.name)),
                kinds=("polars", "deltalake", "openai"),
            ),
            *(
                spec(view, [PREF_PAIRS.name], f"constructions {PAIRS_VERSION}", ON_NEW_INPUTS, kinds=("duckdb",))
                for view in (PREF_DPO, PREF_REWARD, PREF_KTO, PREF_GRPO)
            ),
        ],
        check_specs=auditing.checks_of((PREF_PAIRS,)),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=LLM_POOL,
    )
    def make_pairs(
        context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource, llm: LlmResource
    ):
        with step(context, "make pairs") as teller:
            with llm.gateway(warehouse.store, teller) as gateway:
                built = preferences.build_pairs(warehouse.store, datasets_of(context), gateway, config.full, teller)
            extra = {PREF_PAIRS.name: pictures.pairs(warehouse.store, built)}
            views = (PREF_DPO, PREF_REWARD, PREF_KTO, PREF_GRPO)
            yield from publish(warehouse.store, contracts, built, teller, extra, views=views)

    @dg.multi_asset(
        name="keep_ledger",
        specs=[
            table_spec(
                LLM_CALLS,
                [
                    ANNO_VTO.name,
                    ANNO_STRATEGY.name,
                    PREF_PAIRS.name,
                    LLM_RANKINGS.name,
                    RL_REWARDS.name,
                    SIM_PERSONAS.name,
                    SIM_CALLS.name,
                    SIM_JUDGEMENTS.name,
                ],
                "1",
                ON_NEW_INPUTS.ignore(dg.AssetSelection.assets(SIM_PERSONAS.name, SIM_CALLS.name, SIM_JUDGEMENTS.name)),
                kinds=("deltalake", "sqlite"),
            )
        ],
        check_specs=auditing.checks_of((LLM_CALLS,)),
        pool=POOL,
    )
    def keep_ledger(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "keep ledger") as teller:
            built = build_ledger(warehouse.store)
            extra = {LLM_CALLS.name: pictures.calls(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    @dg.multi_asset(
        name="evaluate_mentions",
        specs=[
            table_spec(table, [CORE_ITEM_LINKS.name, CORE_MENTIONS.name, CORE_MOVIES.name], linking, WEEKLY)
            for table in (EVAL_MENTION_LINKING, EVAL_MENTION_DISAGREEMENTS)
        ],
        check_specs=auditing.checks_of((EVAL_MENTION_LINKING, EVAL_MENTION_DISAGREEMENTS)),
        pool=POOL,
    )
    def evaluate_mentions(context: dg.AssetExecutionContext, warehouse: WarehouseResource, sources: SourcesResource):
        with step(context, "evaluate mentions") as teller:
            built = conversation_evaluation.build_mention_evaluation(warehouse.store, sources.path, blocks, teller)
            extra = {EVAL_MENTION_LINKING.name: pictures.mention_linking(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    @dg.multi_asset(
        name="evaluate_annotation",
        specs=[
            table_spec(table, [ANNO_VTO.name, ANNO_TURNS.name, ANNO_STRATEGY.name, ANNO_VALIDATION.name], rules, WEEKLY)
            for table in (EVAL_ANNOTATION, EVAL_ANNOTATION_DISAGREEMENTS)
        ],
        check_specs=auditing.checks_of((EVAL_ANNOTATION, EVAL_ANNOTATION_DISAGREEMENTS)),
        pool=POOL,
    )
    def evaluate_annotation(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate annotation") as teller:
            built = conversation_evaluation.build_annotation_evaluation(warehouse.store, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="evaluate_pairs",
        specs=[table_spec(EVAL_PREFERENCES, [PREF_PAIRS.name], f"constructions {PAIRS_VERSION}", WEEKLY)],
        check_specs=auditing.checks_of((EVAL_PREFERENCES,)),
        pool=POOL,
    )
    def evaluate_pairs(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate pairs") as teller:
            built = conversation_evaluation.build_pair_evaluation(warehouse.store, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    return [
        read_dialogues,
        link_mentions,
        annotate,
        make_pairs,
        keep_ledger,
        evaluate_mentions,
        evaluate_annotation,
        evaluate_pairs,
        # Written by `marquee annotate import`, whenever people hand their labels in.
        table_spec(ANNO_VALIDATION, [], "1", kinds=("deltalake",)),
    ]
