"""The assets of simulated conversations: reviews, personas, tasks, episodes, pairs, judgements, figures and the report. Thin: the work is in
assets/build.

What is played is partitioned by domain and agent.
"""

from collections.abc import Sequence

import dagster as dg

from assets import auditing
from assets import simulation_pictures as pictures
from assets.automation import SIMULATION_PARTITIONS, WEEKLY
from assets.build import (
    comparison,
    ecpo,
    episodes,
    judging,
    personas,
    reviews,
    sim_items,
    simulation_evaluation,
    simulation_report,
)
from assets.build.scales import Scale, scales
from assets.conversations import LLM_POOL
from assets.progress import step
from assets.publishing import POOL, BuildConfig, Contracts, publish
from assets.resources import LlmResource, SourcesResource, WarehouseResource
from assets.settings import scale_name, simulation_split
from assets.specs import table_spec
from pipelines.reviews.read import READER_VERSION
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_FEEDBACK, CORE_TURNS
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.mentions import CORE_FILM_MENTIONS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_ITEM_INDEX
from warehouse.tables.simulation import (
    CORE_REVIEW_ITEMS,
    CORE_REVIEW_TASKS,
    CORE_REVIEWS,
    META_REVIEW_FILES,
    ML_SIM_EMBEDDINGS,
    PREF_ECPO_PAIRS,
    PREF_SKTO,
    PREF_TRAJECTORIES,
    PREF_TREE_PAIRS,
    SIM_CALLS,
    SIM_EPISODES,
    SIM_ITEMS,
    SIM_JUDGEMENTS,
    SIM_PERSONAS,
    SIM_TASKS,
    SIM_TURNS,
)
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY, REPORT_SIMULATION

_ASKS = ("openai", "polars", "deltalake")


class SimulateConfig(BuildConfig):
    """How many tasks of each split and how many turns, where that differs from the scale (0: as the scale says)."""

    tasks: int = 0
    turns: int = 0


def _scale() -> Scale:
    return scales()[scale_name()]


def partitions_of(context: dg.AssetExecutionContext) -> Sequence[episodes.Partition]:
    """Domain and agent of every partition that a run is for. Raises TypeError for a partition of another kind."""
    keys = [key for key in context.partition_keys if isinstance(key, dg.MultiPartitionKey)]
    if len(keys) < len(context.partition_keys):
        raise TypeError(f"partitions of simulations have a domain and an agent: {', '.join(context.partition_keys)}")
    return [(key.keys_by_dimension["domain"], key.keys_by_dimension["agent"]) for key in keys]


def simulation_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """Every asset of simulated conversations."""
    return [*_user_assets(contracts), _episodes(contracts), *_evaluation_assets(contracts)]


def _user_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """Who is simulated, and what can be found."""
    reviewed = (CORE_REVIEWS, META_REVIEW_FILES, CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS)

    @dg.multi_asset(
        name="read_reviews",
        specs=[
            table_spec(
                table,
                [CORE_MOVIE_LINKS.name, CORE_TURNS.name, CORE_FILM_MENTIONS.name, CORE_FEEDBACK.name],
                f"reader {READER_VERSION}",
            )
            for table in reviewed
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "readable",
                asset=CORE_REVIEWS.name,
                blocking=False,
                description="Every review file could be read, and none has gone away; one that could not keeps its last version.",
            ),
            *auditing.checks_of(reviewed),
        ],
        pool=POOL,
    )
    def read_reviews(
        context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource, sources: SourcesResource
    ):
        with step(context, "read reviews") as teller:
            built = reviews.build_reviews(warehouse.store, sources.path, config.full, teller)
            yield auditing.files_check(CORE_REVIEWS, built.problems)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="make_items",
        specs=[
            table_spec(
                table,
                [
                    CORE_REVIEWS.name,
                    CORE_REVIEW_ITEMS.name,
                    CORE_MOVIES.name,
                    ML_ITEM_EMBEDDINGS.name,
                    ML_ITEM_INDEX.name,
                ],
                sim_items.ITEMS_VERSION,
                kinds=("sentencetransformers", "deltalake"),
            )
            for table in (SIM_ITEMS, ML_SIM_EMBEDDINGS)
        ],
        check_specs=auditing.checks_of((SIM_ITEMS, ML_SIM_EMBEDDINGS)),
        pool=POOL,
    )
    def make_items(context: dg.AssetExecutionContext, warehouse: WarehouseResource, sources: SourcesResource):
        with step(context, "make items") as teller:
            from models.encoders import Encoder, profile

            encoder = Encoder(profile(_scale().encoder))
            built = sim_items.build_sim_items(warehouse.store, encoder, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="infer_personas",
        specs=[
            table_spec(
                table,
                [CORE_REVIEWS.name, CORE_REVIEW_TASKS.name, SIM_ITEMS.name],
                personas.PERSONAS_VERSION,
                kinds=_ASKS,
            )
            for table in (SIM_PERSONAS, SIM_TASKS)
        ],
        check_specs=auditing.checks_of((SIM_PERSONAS, SIM_TASKS)),
        pool=LLM_POOL,
    )
    def infer_personas(context: dg.AssetExecutionContext, warehouse: WarehouseResource, llm: LlmResource):
        with step(context, "infer personas") as teller:
            with llm.gateway(warehouse.store, teller) as gateway:
                built = personas.build_personas(
                    warehouse.store, gateway, _scale().simulation.users, simulation_split(), teller
                )
            extra = {SIM_PERSONAS.name: pictures.personas(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    return [read_reviews, make_items, infer_personas]


def _episodes(contracts: Contracts) -> dg.AssetsDefinition:
    """The asset that plays episodes and makes pairs of them: one step, since the pairs of an episode belong to its version."""
    tables = (SIM_EPISODES, SIM_TURNS, SIM_CALLS, PREF_ECPO_PAIRS, PREF_TRAJECTORIES, PREF_TREE_PAIRS)
    version = (
        f"{episodes.SIMULATION_VERSION} rewriting {ecpo.REWRITING_VERSION} comparison {comparison.COMPARISON_VERSION}"
    )

    @dg.multi_asset(
        name="simulate",
        specs=[
            *(
                table_spec(
                    table,
                    [SIM_TASKS.name, SIM_PERSONAS.name, SIM_ITEMS.name, ML_SIM_EMBEDDINGS.name, ML_ITEM_INDEX.name],
                    version,
                    kinds=_ASKS,
                    partitions_def=SIMULATION_PARTITIONS,
                )
                for table in tables
            ),
            table_spec(
                PREF_SKTO,
                [PREF_TREE_PAIRS.name],
                version,
                kinds=("duckdb",),
                partitions_def=SIMULATION_PARTITIONS,
            ),
        ],
        check_specs=auditing.checks_of(tables),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=LLM_POOL,
    )
    def simulate(
        context: dg.AssetExecutionContext, config: SimulateConfig, warehouse: WarehouseResource, llm: LlmResource
    ):
        scale, partitions = _scale(), partitions_of(context)
        plan = scale.simulation.but(tasks=config.tasks, turns=config.turns)
        with step(context, "simulate") as teller:
            search = sim_items.open_search(warehouse.store, scale.encoder, teller)
            with llm.gateway(warehouse.store, teller) as gateway:
                played = episodes.build_episodes(warehouse.store, gateway, search, partitions, plan, teller)
                rewritten = ecpo.build_ecpo(warehouse.store, gateway, partitions, teller)
                compared = comparison.build_comparison(warehouse.store, gateway, search, partitions, plan.trees, teller)
            built = episodes.together([played, rewritten, compared])
            extra = {
                SIM_EPISODES.name: pictures.episodes(warehouse.store, built),
                SIM_TURNS.name: pictures.turns(warehouse.store, built),
                PREF_ECPO_PAIRS.name: pictures.pairs(warehouse.store, built),
            }
            yield from publish(warehouse.store, contracts, built, teller, extra, views=(PREF_SKTO,))

    return simulate


def _evaluation_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """What the judge says, and what is measured."""
    played = [SIM_EPISODES.name, SIM_TURNS.name]

    @dg.multi_asset(
        name="judge_episodes",
        specs=[table_spec(SIM_JUDGEMENTS, played, judging.JUDGING_VERSION, kinds=_ASKS)],
        check_specs=auditing.checks_of((SIM_JUDGEMENTS,)),
        pool=LLM_POOL,
    )
    def judge_episodes(context: dg.AssetExecutionContext, warehouse: WarehouseResource, llm: LlmResource):
        with step(context, "judge episodes") as teller:
            with llm.gateway(warehouse.store, teller) as gateway:
                built = judging.build_judgements(warehouse.store, gateway, _scale().simulation.judged, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    measured_from = [
        *played,
        SIM_CALLS.name,
        SIM_PERSONAS.name,
        SIM_TASKS.name,
        SIM_JUDGEMENTS.name,
        PREF_ECPO_PAIRS.name,
    ]

    @dg.multi_asset(
        name="evaluate_simulation",
        specs=[
            table_spec(
                EVAL_SIMULATION,
                [*measured_from, PREF_TREE_PAIRS.name, LLM_CALLS.name],
                simulation_evaluation.MEASURES_VERSION,
                WEEKLY,
            )
        ],
        check_specs=auditing.checks_of((EVAL_SIMULATION,)),
        pool=POOL,
    )
    def evaluate_simulation(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate simulation") as teller:
            search = sim_items.open_search(warehouse.store, _scale().encoder, teller)
            built = simulation_evaluation.build_simulation_evaluation(warehouse.store, teller, search)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="evaluate_fidelity",
        specs=[
            table_spec(
                EVAL_SIMULATOR_FIDELITY,
                [*played, CORE_TURNS.name, CORE_FILM_MENTIONS.name, CORE_FEEDBACK.name],
                simulation_evaluation.MEASURES_VERSION,
                WEEKLY,
            )
        ],
        check_specs=auditing.checks_of((EVAL_SIMULATOR_FIDELITY,)),
        pool=POOL,
    )
    def evaluate_fidelity(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate fidelity") as teller:
            built = simulation_evaluation.build_fidelity(warehouse.store, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="report_on_simulation",
        specs=[
            table_spec(
                REPORT_SIMULATION,
                [EVAL_SIMULATION.name, EVAL_SIMULATOR_FIDELITY.name, *measured_from],
                simulation_report.REPORT_VERSION,
                WEEKLY,
                kinds=("html",),
            )
        ],
        check_specs=auditing.checks_of((REPORT_SIMULATION,)),
        pool=POOL,
    )
    def report_on_simulation(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "report on simulation") as teller:
            built = simulation_report.build_simulation_report(warehouse.store, teller)
            extra = {REPORT_SIMULATION.name: pictures.report(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    return [judge_episodes, evaluate_simulation, evaluate_fidelity, report_on_simulation]
