"""Aligning LRURec with the language model: sets drawn from it, their frozen rewards, training on them, and the lists that are ranked again.

Does not belong here: how sets are drawn and learned from (models/draw.py, models/rl.py), how the language model is asked (reranking.py).

Source: RAR, section 3.3 and algorithm 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build import reranking
from assets.build.files import FILES_FOLDER, digest_of
from assets.build.launching import Launch
from assets.build.scales import Scale
from assets.build.tables import Built, Tell, as_one, latest_or_empty, published_or_empty
from assets.build.training import DIALOGUES, retriever_frame, run_counts, trained, training_data
from pipelines.reranking.rewards import named_draws
from warehouse.store import Warehouse
from warehouse.tables.reranking import LLM_RANKINGS, RL_REWARDS
from warehouse.tables.retrieval import ML_RANKINGS, RETRIEVERS, RL_RETRIEVERS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.requests import Thinking

POLICY = "lrurec"
# Raise it when the same policy would be drawn from otherwise.
DRAWS_VERSION = "1"
REWARDS_VERSION = f"{DRAWS_VERSION}.{reranking.RERANKING_VERSION}"

_PLACE = ("example_id", "round", "draw")


def policies(warehouse: Warehouse, scale: Scale, tell: Tell) -> list[dict[str, Any]]:
    """The retrievers that alignment starts from, by seed; where there is none it is told."""
    rows = published_or_empty(warehouse, RETRIEVERS[POLICY]).filter(
        (pl.col("stage") == "dialogues") & pl.col("seed").is_in(list(scale.rl.seeds))
    )
    if rows.is_empty():
        tell(f"skipped: no {POLICY} was trained on dialogues with seed {' or '.join(map(str, scale.rl.seeds))}")
    return rows.sort("seed").to_dicts()


def _drawn(warehouse: Warehouse, policy: Mapping[str, Any], scale: Scale, tell: Tell, launch: Launch) -> Path:
    """The file of sets drawn from a policy, made where it is not there. Raises ProcessFailed."""
    data, manifest = training_data(warehouse, DIALOGUES, DIALOGUES, scale, tell)
    asked = {
        "seed": policy["seed"],
        "sets": scale.rl.sets,
        "max_turns": scale.rl.turns,
        "max_rounds": scale.rl.rounds,
    }
    digest = digest_of([DRAWS_VERSION, policy["model_id"], manifest["data_hash"], asked])
    folder = warehouse.root / FILES_FOLDER / RL_REWARDS.name / digest
    out = folder / "draws.parquet"
    if not out.exists():
        tell(f"drawing candidate sets from {POLICY}, seed {policy['seed']}")
        folder.mkdir(parents=True, exist_ok=True)
        config = {**asked, "model": str(warehouse.root / policy["path"]), "data": str(data), "out": str(out)}
        (folder / "draw.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        launch("models.draw", folder / "draw.json", tell)
    return out


def build_rewards(
    warehouse: Warehouse, scale: Scale, gateway: LlmGateway | None, thinking: Thinking, tell: Tell, launch: Launch
) -> Built:
    """Draw candidate sets for training turns and let the language model reward them: rl_rewards. Raises ProcessFailed."""
    built = Built((warehouse.write(RL_REWARDS, latest_or_empty(warehouse, RL_REWARDS)),), {})
    for policy in policies(warehouse, scale, tell):
        path = _drawn(warehouse, policy, scale, tell, launch)
        items = pl.read_parquet(warehouse.root / policy["path"] / "items.parquet")
        draws = named_draws(pl.read_parquet(path), items)
        built = _added(built, reranking.build_rewards(warehouse, gateway, draws, policy["model_id"], tell, thinking))
    return built


def build_aligned(warehouse: Warehouse, method: str, scale: Scale, tell: Tell, launch: Launch) -> Built:
    """Train the tuned LRURec on the frozen rewards by `method` (dpo, simpo, grpo): ml_retriever_rar_<method>.

    A policy none of whose sets was rewarded is passed over. Raises ProcessFailed.
    """
    table, system = RL_RETRIEVERS[method], f"rar_{method}"
    rows = []
    for policy in policies(warehouse, scale, tell):
        data, manifest = training_data(warehouse, DIALOGUES, DIALOGUES, scale, tell)
        rewarded = published_or_empty(warehouse, RL_REWARDS).filter(pl.col("policy_id") == policy["model_id"])
        draws = _drawn(warehouse, policy, scale, tell, launch)
        whole = _rewarded(rewarded, draws)
        if not (whole["reward"] > 0).any():
            tell(f"skipped: no set of {POLICY}, seed {policy['seed']}, has a reward above 0, so it is not aligned")
            continue
        tell(f"{system}, seed {policy['seed']}")
        path = _rewards_file(whole, draws)
        config = {
            "task": "rl",
            "arch": POLICY,
            "preset": policy["preset"],
            "model": dict(scale.tuning.model),
            "seed": policy["seed"],
            "data": str(data),
            "init_from": str(warehouse.root / policy["path"]),
            "rl": {"method": method, "rewards": str(path), **scale.rl.settings},
        }
        about = {
            "system": system,
            "stage": "rl",
            "trained_on": DIALOGUES,
            "started_from": policy["model_id"],
        }
        rows.append(trained(warehouse, table, config, about, manifest, tell, launch, [path.stem]))
    return Built((warehouse.write(table, retriever_frame(table, rows)),), run_counts(rows))


def _rewarded(rewarded: pl.DataFrame, draws: Path) -> pl.DataFrame:
    """The draws with their rewards, as models.rl reads them. Turns of which a set has no reward yet are left out."""
    rewards = rewarded.select(
        pl.concat_str("dialogue_id", "turn", separator=":").alias("example_id"), "round", "draw", "reward"
    )
    rows = pl.read_parquet(draws).join(rewards, on=_PLACE, how="left", maintain_order="left")
    return rows.filter(pl.col("reward").is_not_null().all().over("example_id"))


def _rewards_file(whole: pl.DataFrame, draws: Path) -> Path:
    """Rewarded draws in a file named by its content: other rewards are another training run."""
    digest = hashlib.sha256(whole.select(*_PLACE, "reward").write_csv().encode()).hexdigest()[:16]
    path = draws.with_name(f"rewards-{digest}.parquet")
    if not path.exists():
        beside = path.with_suffix(".tmp")
        whole.write_parquet(beside)
        beside.rename(path)
    return path


def build_reranked(
    warehouse: Warehouse, scale: Scale, gateway: LlmGateway | None, thinking: Thinking, tell: Tell
) -> Built:
    """Let the language model rank the first candidates of the scale's systems: llm_rankings."""
    listed = published_or_empty(warehouse, ML_RANKINGS, ["system", "seed", "setting"])
    chosen = listed.filter((pl.col("setting") == "dialogues") & pl.col("system").is_in(list(scale.reranking.systems)))
    # One seed of each: the language model costs more than all of training.
    seeds = chosen.group_by("system").agg(pl.col("seed").min()).sort("system")
    built = Built((warehouse.write(LLM_RANKINGS, latest_or_empty(warehouse, LLM_RANKINGS)),), {})
    corpus = reranking.Corpus(warehouse, tell)
    for system, seed in seeds.iter_rows():
        made = reranking.build_llm_rankings(
            warehouse,
            gateway,
            False,
            tell,
            system,
            seed,
            limit=scale.reranking.turns or None,
            thinking=thinking,
            corpus=corpus,
        )
        built = _added(built, made)
    return built


def _added(before: Built, after: Built) -> Built:
    """Two builds of one table as one: the last version, and the counts of both."""
    counts = dict(before.counts)
    for name, number in after.counts.items():
        counts[name] = number if name == "rows" else counts.get(name, 0) + number
    return Built((as_one([*before.commits, *after.commits]),), counts)
