"""The assets of retrieval: sessions, embeddings, retrievers, their alignment, rankings, figures and the report. Thin: the work is in
assets/build.
"""

import dagster as dg

from assets import auditing
from assets import retrieval_pictures as pictures
from assets.automation import ON_NEW_INPUTS
from assets.build import (
    alignment,
    embeddings,
    item_index,
    ranking_evaluation,
    rankings,
    rec_turns,
    reranking,
    retrieval_report,
    sessions,
    training,
)
from assets.build.scales import Scale, scales
from assets.conversations import LLM_POOL
from assets.pipes import piped
from assets.progress import step
from assets.publishing import POOL, BuildConfig, Contracts, publish
from assets.resources import LlmResource, SourcesResource, WarehouseResource
from assets.settings import embed_scope, llm_thinking, scale_name
from assets.specs import table_spec
from pipelines.evaluation.ranking.protocols import PROTOCOLS_VERSION
from pipelines.interactions.read import READER_VERSION
from pipelines.interactions.rec_turns import REC_TURNS_VERSION
from pipelines.reranking.requests import RERANKING_VERSION
from pipelines.retrieval.item_text import TEXT_VERSION
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_TURNS, DATASETS
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS, META_SESSION_FILES
from warehouse.tables.mentions import CORE_FILM_MENTIONS
from warehouse.tables.ranking_evaluation import EVAL_RANKING, EVAL_RANKING_TESTS, REPORT_RETRIEVAL
from warehouse.tables.reranking import EVAL_HALLUCINATION, LLM_RANKINGS, RL_REWARDS
from warehouse.tables.retrieval import (
    ML_ITEM_EMBEDDINGS,
    ML_ITEM_INDEX,
    ML_RANKINGS,
    ML_TRAINING_LOG,
    RETRIEVERS,
    RL_RETRIEVERS,
)

# Where there is a GPU, one training at a time has it. The tag says which steps want one, for launchers that choose machines.
GPU_POOL = "gpu"
ON_GPU = {"marquee/wants": "gpu"}

_TORCH = ("pytorch", "deltalake")


def _scale() -> Scale:
    return scales()[scale_name()]


def retrieval_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """Every asset of the retrieval stage."""
    return [
        *_item_assets(contracts),
        *(_retriever(arch, contracts) for arch in RETRIEVERS),
        _rewards(contracts),
        *(_aligned(method, contracts) for method in RL_RETRIEVERS),
        *_ranking_assets(contracts),
        *_evaluation_assets(contracts),
    ]


def _item_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """What retrievers learn from, and the vectors of films."""

    @dg.multi_asset(
        name="make_sessions",
        specs=[
            table_spec(table, [CORE_MOVIE_LINKS.name, CORE_MOVIES.name], f"reader {READER_VERSION}", ON_NEW_INPUTS)
            for table in (CORE_SESSIONS, META_SESSION_FILES)
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "readable",
                asset=CORE_SESSIONS.name,
                blocking=False,
                description="Every rating file could be read, and none has gone away; a release that could not keeps its last version.",
            ),
            *auditing.checks_of((CORE_SESSIONS, META_SESSION_FILES)),
        ],
        pool=POOL,
    )
    def make_sessions(
        context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource, sources: SourcesResource
    ):
        with step(context, "make sessions") as teller:
            built = sessions.build_sessions(warehouse.store, sources.path, config.full, teller)
            yield auditing.files_check(CORE_SESSIONS, built.problems)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="make_rec_turns",
        specs=[
            table_spec(
                CORE_REC_TURNS,
                [CORE_DIALOGUES.name, CORE_TURNS.name, CORE_FILM_MENTIONS.name],
                REC_TURNS_VERSION,
                ON_NEW_INPUTS,
            )
        ],
        check_specs=auditing.checks_of((CORE_REC_TURNS,)),
        pool=POOL,
    )
    def make_rec_turns(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        with step(context, "make rec turns") as teller:
            built = rec_turns.build_rec_turns(warehouse.store, DATASETS, config.full, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="embed_items",
        specs=[
            table_spec(
                ML_ITEM_EMBEDDINGS,
                [CORE_MOVIES.name, CORE_SESSIONS.name, CORE_REC_TURNS.name, CORE_FILM_MENTIONS.name],
                f"item text {TEXT_VERSION}",
                ON_NEW_INPUTS,
                kinds=("sentencetransformers", "deltalake"),
            )
        ],
        check_specs=auditing.checks_of((ML_ITEM_EMBEDDINGS,)),
        op_tags=ON_GPU,
        pool=GPU_POOL,
    )
    def embed_items(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        scale = _scale()
        with step(context, "embed items") as teller:
            # Loading the encoder takes torch. Embedding is addressed by content: the same text gives the same vector, also in a full run.
            from models.encoders import Encoder, profile

            encoder = Encoder(profile(scale.encoder))
            built = embeddings.build_embeddings(warehouse.store, encoder, False, teller, embed_scope(scale.embed))
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="index_items",
        specs=[
            table_spec(
                ML_ITEM_INDEX,
                [ML_ITEM_EMBEDDINGS.name],
                "1",
                ON_NEW_INPUTS,
                kinds=("faiss", "deltalake"),
            )
        ],
        check_specs=auditing.checks_of((ML_ITEM_INDEX,)),
        pool=POOL,
    )
    def index_items(context: dg.AssetExecutionContext, config: BuildConfig, warehouse: WarehouseResource):
        with step(context, "index items") as teller:
            built = item_index.build_item_index(warehouse.store, [_scale().encoder], config.full, teller)
            yield from publish(warehouse.store, contracts, built, teller)

    return [make_sessions, make_rec_turns, embed_items, index_items]


def _retriever(arch: str, contracts: Contracts) -> dg.AssetsDefinition:
    """The asset that trains one architecture."""
    table = RETRIEVERS[arch]

    @dg.multi_asset(
        name=f"train_{arch}",
        specs=[
            table_spec(
                table,
                [CORE_SESSIONS.name, CORE_REC_TURNS.name, ML_ITEM_EMBEDDINGS.name],
                f"training {training.TRAINING_VERSION}",
                kinds=_TORCH,
            )
        ],
        check_specs=auditing.checks_of((table,)),
        op_tags=ON_GPU,
        pool=GPU_POOL,
    )
    def train(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, f"train {arch}") as teller:
            built = training.build_retriever(warehouse.store, arch, _scale(), teller, piped(context))
            extra = {table.name: pictures.learning(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    return train


def _rewards(contracts: Contracts) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="reward_draws",
        specs=[
            table_spec(
                RL_REWARDS,
                [RETRIEVERS["lrurec"].name, CORE_REC_TURNS.name, CORE_TURNS.name, CORE_MOVIES.name],
                alignment.REWARDS_VERSION,
                kinds=("pytorch", "openai", "deltalake"),
            )
        ],
        check_specs=auditing.checks_of((RL_REWARDS,)),
        op_tags=ON_GPU,
        pool=LLM_POOL,
    )
    def reward_draws(context: dg.AssetExecutionContext, warehouse: WarehouseResource, llm: LlmResource):
        with step(context, "reward draws") as teller:
            with llm.gateway(warehouse.store, teller) as gateway:
                built = alignment.build_rewards(
                    warehouse.store, _scale(), gateway, llm_thinking(), teller, piped(context)
                )
            yield from publish(warehouse.store, contracts, built, teller)

    return reward_draws


def _aligned(method: str, contracts: Contracts) -> dg.AssetsDefinition:
    """The asset that aligns LRURec by one method of reinforcement learning."""
    table = RL_RETRIEVERS[method]

    @dg.multi_asset(
        name=f"align_{method}",
        specs=[
            table_spec(
                table,
                [RETRIEVERS["lrurec"].name, RL_REWARDS.name],
                f"training {training.TRAINING_VERSION}",
                kinds=_TORCH,
            )
        ],
        check_specs=auditing.checks_of((table,)),
        op_tags=ON_GPU,
        pool=GPU_POOL,
    )
    def align(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, f"align by {method}") as teller:
            built = alignment.build_aligned(warehouse.store, method, _scale(), teller, piped(context))
            extra = {table.name: pictures.learning(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    return align


def _ranking_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """What trained retrievers, baselines and the language model rank."""
    models = [table.name for table in (*RETRIEVERS.values(), *RL_RETRIEVERS.values())]

    @dg.multi_asset(
        name="log_training",
        specs=[table_spec(ML_TRAINING_LOG, models, "1", kinds=("polars", "deltalake"))],
        check_specs=auditing.checks_of((ML_TRAINING_LOG,)),
        pool=POOL,
    )
    def log_training(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "log training") as teller:
            yield from publish(warehouse.store, contracts, training.build_training_log(warehouse.store), teller)

    @dg.multi_asset(
        name="rank",
        specs=[table_spec(ML_RANKINGS, models, rankings.RANKINGS_VERSION, kinds=_TORCH)],
        check_specs=auditing.checks_of((ML_RANKINGS,)),
        op_tags=ON_GPU,
        pool=GPU_POOL,
    )
    def rank(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "rank") as teller:
            built = training.build_all_rankings(warehouse.store, _scale(), teller, piped(context))
            yield from publish(warehouse.store, contracts, built, teller)

    @dg.multi_asset(
        name="rerank",
        specs=[
            table_spec(
                LLM_RANKINGS,
                [ML_RANKINGS.name, CORE_TURNS.name, CORE_MOVIES.name],
                RERANKING_VERSION,
                kinds=("openai", "deltalake"),
            )
        ],
        check_specs=auditing.checks_of((LLM_RANKINGS,)),
        pool=LLM_POOL,
    )
    def rerank(context: dg.AssetExecutionContext, warehouse: WarehouseResource, llm: LlmResource):
        with step(context, "rerank") as teller:
            with llm.gateway(warehouse.store, teller) as gateway:
                built = alignment.build_reranked(warehouse.store, _scale(), gateway, llm_thinking(), teller)
            yield from publish(warehouse.store, contracts, built, teller)

    return [log_training, rank, rerank]


def _evaluation_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """Figures, and the page that shows them."""

    @dg.multi_asset(
        name="evaluate_ranking",
        specs=[
            table_spec(table, [ML_RANKINGS.name, LLM_RANKINGS.name, CORE_MOVIES.name], PROTOCOLS_VERSION, ON_NEW_INPUTS)
            for table in (EVAL_RANKING, EVAL_RANKING_TESTS)
        ],
        check_specs=auditing.checks_of((EVAL_RANKING, EVAL_RANKING_TESTS)),
        pool=POOL,
    )
    def evaluate_ranking(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate ranking") as teller:
            built = ranking_evaluation.build_ranking_evaluation(warehouse.store, True, teller)
            extra = {EVAL_RANKING.name: pictures.figures(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    @dg.multi_asset(
        name="evaluate_hallucination",
        specs=[table_spec(EVAL_HALLUCINATION, [LLM_RANKINGS.name], RERANKING_VERSION, ON_NEW_INPUTS)],
        check_specs=auditing.checks_of((EVAL_HALLUCINATION,)),
        pool=POOL,
    )
    def evaluate_hallucination(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "evaluate hallucination") as teller:
            yield from publish(
                warehouse.store, contracts, reranking.build_hallucination(warehouse.store, teller), teller
            )

    @dg.multi_asset(
        name="report_on_retrieval",
        specs=[
            table_spec(
                REPORT_RETRIEVAL,
                [
                    EVAL_RANKING.name,
                    EVAL_RANKING_TESTS.name,
                    EVAL_HALLUCINATION.name,
                    ML_TRAINING_LOG.name,
                    ML_ITEM_INDEX.name,
                    RL_REWARDS.name,
                ],
                retrieval_report.REPORT_VERSION,
                ON_NEW_INPUTS,
                kinds=("html", "deltalake"),
            )
        ],
        check_specs=auditing.checks_of((REPORT_RETRIEVAL,)),
        pool=POOL,
    )
    def report_on_retrieval(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with step(context, "report on retrieval") as teller:
            built = retrieval_report.build_retrieval_report(warehouse.store, teller)
            extra = {REPORT_RETRIEVAL.name: pictures.report(warehouse.store, built)}
            yield from publish(warehouse.store, contracts, built, teller, extra)

    return [evaluate_ranking, evaluate_hallucination, report_on_retrieval]
