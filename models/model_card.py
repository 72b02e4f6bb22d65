"""The model card of a model folder: what it is, what it was trained on, how good it was on validation. Does not belong here: figures on the test split, which are tables."""

from __future__ import annotations

from typing import Any


def model_card(config: dict[str, Any], summary: dict[str, Any], manifest: dict[str, Any]) -> str:
    """MODEL_CARD.md, in Markdown."""
    model, training = config["model"], config["training"]
    warnings = summary["warnings"] or ["none"]
    return f"""# {config["arch"]} on {manifest["dataset"]}

A sequential recommender of films: from the films of a history to scores of {config["items"]:,} films.

| | |
| --- | --- |
| architecture | {config["arch"]}, preset `{config["preset"]}` |
| task | {config["task"]} |
| items | {config["items"]:,} (`items.parquet`, in the order of scores) |
| features | {model["features"]}{f", text vectors by {manifest['encoder']}" if manifest.get("encoder") else ""} |
| width, blocks | {model["width"]}, {model["blocks"]} |
| longest history | {model["max_history"]} films, the latest |
| parameters | {summary["parameters"]:,} |

## Data

{manifest["dataset"]} ({manifest.get("setting", "not stated")}), data hash `{config["data_hash"]}`. Licence of the data: {manifest.get("licence") or "not stated"}.
{_origin(config)}
## Training

Loss `{training["loss"]}`, {summary["epochs"]:.2f} epochs, {summary["steps"]:,} steps of {training["batch_size"]} sequences, {summary["interactions"]:,} targets, seed {config["seed"]}.
Learning rate {training["lr"]:g} ({training["schedule"]}), weight decay {training["weight_decay"]:g}. Ended by: {summary["ended_by"]}. Device: {summary["device"]}.

The weights are those of step {summary["best_step"]:,}, where {summary["validation_metric"]} on the validation split was {summary["validation_value"]:.4f}: the full catalogue ranked,
films of the history {"masked" if training.get("validation_masked") else "not masked"}, averaged over labels. It chose the weights, so it is not an estimate of how good they are.

Warnings:

{chr(10).join(f"- {warning}" for warning in warnings)}

## Files and use

`weights.safetensors` (no pickle), `config.json` (everything resolved), `metrics.jsonl` (what was logged). Load with `models.checkpoint.load_model(folder, vectors)`.

It learned what people rated or mentioned, with their tastes and the popularity of their time, and knows nothing of films outside `items.parquet`.
"""


def _origin(config: dict[str, Any]) -> str:
    origin = config.get("init_from")
    return f"\nStarted from weights with sha256 `{origin['weights_sha256']}`.\n" if origin else ""
