"""What runs when: the conditions of assets, the sensor on the sources folder, the daily refresh, freshness.

Belongs here: every rule about time and change. What a run does is in the asset modules.
"""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import dagster as dg

from warehouse.tables.dialogues import DATASETS
from warehouse.tables.simulation import AGENTS, SIM_DOMAINS

# Downstream of the raw tables everything follows by itself as soon as its inputs are new.
ON_NEW_INPUTS = dg.AutomationCondition.eager().with_label("as soon as inputs are new")

# Measuring costs as much as linking, and its result moves slowly.
WEEKLY = dg.AutomationCondition.on_cron("0 6 * * 0").with_label("on Sundays, 6:00")

# The corpus is refreshed daily: older than two days means that refreshes fail.
CORPUS_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))

# Conversations are made dataset by dataset: one can be refreshed alone.
DATASET_PARTITIONS = dg.StaticPartitionsDefinition(list(DATASETS))

# What makes one run cover all datasets.
ALL_DATASETS = {
    "dagster/asset_partition_range_start": DATASETS[0],
    "dagster/asset_partition_range_end": DATASETS[-1],
}

# Episodes are played domain by domain and agent by agent.
SIMULATION_PARTITIONS = dg.MultiPartitionsDefinition(
    {"agent": dg.StaticPartitionsDefinition(list(AGENTS)), "domain": dg.StaticPartitionsDefinition(list(SIM_DOMAINS))}
)


def simulations(agent: str | None = None, domain: str | None = None) -> dict[str, str]:
    """Tags that make one run cover an agent and a domain; all of them where none is named."""
    first = {"agent": agent or AGENTS[0], "domain": domain or SIM_DOMAINS[0]}
    last = {"agent": agent or AGENTS[-1], "domain": domain or SIM_DOMAINS[-1]}
    return {
        "dagster/asset_partition_range_start": dg.MultiPartitionKey(first),
        "dagster/asset_partition_range_end": dg.MultiPartitionKey(last),
    }


REFRESH_JOB = "refresh_corpus"
CONVERSATIONS_JOB = "refresh_conversations"
RETRIEVAL_JOB = "train_retrievers"
SIMULATION_JOB = "simulate_users"
EVERYTHING_JOB = "build_everything"

refresh_job = dg.define_asset_job(
    REFRESH_JOB,
    selection=dg.AssetSelection.groups("raw", "meta", "core"),
    description="Reads what changed in the sources folder and brings the corpus up to date.",
    executor_def=dg.in_process_executor,
)

conversations_job = dg.define_asset_job(
    CONVERSATIONS_JOB,
    selection=dg.AssetSelection.groups("dialogues", "anno", "pref", "interactions", "embeddings")
    - dg.AssetSelection.assets("anno_validation"),
    description="Reads dialogue and rating files that changed, links, annotates and pairs what is new in them, and embeds new films.",
    executor_def=dg.in_process_executor,
)

retrieval_job = dg.define_asset_job(
    RETRIEVAL_JOB,
    selection=dg.AssetSelection.groups("interactions", "embeddings", "retrieval")
    | dg.AssetSelection.assets(
        "llm_calls", "eval_ranking", "eval_ranking_tests", "eval_hallucination", "report_retrieval"
    ),
    description="Embeds and indexes films, trains retrievers whose inputs changed, aligns them with the language model, evaluates and reports.",
    executor_def=dg.in_process_executor,
)

simulation_job = dg.define_asset_job(
    SIMULATION_JOB,
    selection=dg.AssetSelection.groups("users", "episodes", "judgements")
    | dg.AssetSelection.assets("llm_calls", "eval_simulation", "eval_simulator_fidelity", "report_simulation"),
    description="Reads reviews, infers personas, plays conversations of simulated users with the agents, makes pairs of them, judges, evaluates and reports.",
    executor_def=dg.in_process_executor,
)

# A job holds assets of one partitioning only: what is simulated has its own.
everything_job = dg.define_asset_job(
    EVERYTHING_JOB,
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("episodes"),
    description="The corpus, the conversations, the retrievers, and their evaluations. What is simulated is made by simulate_users.",
    executor_def=dg.in_process_executor,
)

daily_refresh = dg.ScheduleDefinition(
    name="daily_refresh",
    job_name=REFRESH_JOB,
    cron_schedule="0 4 * * *",
    execution_timezone="UTC",
    description="Every night at 4:00 UTC.",
)


# Training takes hours where there is much to train on: after a week's changes, and not with every one of them.
weekly_training = dg.ScheduleDefinition(
    name="weekly_training",
    job_name=RETRIEVAL_JOB,
    cron_schedule="0 8 * * 0",
    execution_timezone="UTC",
    description="On Sundays at 8:00 UTC: only runs whose data or configuration changed are trained again.",
)


@dg.schedule(
    name="weekly_simulation",
    job_name=SIMULATION_JOB,
    cron_schedule="0 10 * * 0",
    execution_timezone="UTC",
    description="On Sundays at 10:00 UTC, all domains and agents: only what is new is played.",
)
def weekly_simulation(context: dg.ScheduleEvaluationContext):
    return dg.RunRequest(tags=simulations())


@dg.schedule(
    name="daily_conversations",
    job_name=CONVERSATIONS_JOB,
    cron_schedule="0 5 * * *",
    execution_timezone="UTC",
    description="Every night at 5:00 UTC, all datasets in one run.",
)
def daily_conversations(context: dg.ScheduleEvaluationContext):
    return dg.RunRequest(tags=ALL_DATASETS)


def listing(folder: Path) -> str:
    """Hash of the names, sizes and times of change of all files under `folder`; empty when there is none."""
    if not folder.is_dir():
        return ""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        return ""
    lines = [f"{path.relative_to(folder)}\t{(stat := path.stat()).st_size}\t{stat.st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def sources_sensor(folder: Path) -> dg.SensorDefinition:
    """A sensor that asks for a refresh when files under `folder` changed and have settled."""

    @dg.sensor(
        name="sources_changed",
        jobs=[refresh_job, conversations_job],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a refresh when files in the sources folder changed and did not change again for a minute.",
    )
    def sources_changed(context: dg.SensorEvaluationContext):
        seen = listing(folder)
        cursor = {"last": None, "asked": None, "times": 0, **json.loads(context.cursor or "{}")}
        # Two equal looks in a row: a file that is still being copied would be read half.
        settled = seen == cursor["last"]
        is_due = bool(seen) and settled and seen != cursor["asked"]
        asked = {"asked": seen, "times": cursor["times"] + 1} if is_due else {}
        context.update_cursor(json.dumps({**cursor, "last": seen, **asked}))
        if not seen:
            return dg.SkipReason(f"no files in {folder}")
        if seen == cursor["asked"]:
            return dg.SkipReason("nothing changed")
        if not settled:
            return dg.SkipReason("files changed; waiting until they settle")
        # Dagster starts one run a key, ever: files that are put back as they once were need a new one.
        key = f"{seen}:{asked['times']}"
        return [
            dg.RunRequest(run_key=f"{key}:corpus", job_name=REFRESH_JOB),
            dg.RunRequest(run_key=f"{key}:conversations", job_name=CONVERSATIONS_JOB, tags=ALL_DATASETS),
        ]

    return sources_changed


automation_sensor = dg.AutomationConditionSensorDefinition(
    "automation", target=dg.AssetSelection.all(), default_status=dg.DefaultSensorStatus.RUNNING
)
