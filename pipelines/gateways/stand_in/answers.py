"""What the stand-in answers: rules for the prompts that it knows, the smallest fitting object for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.gateways.stand_in import (
    agents,
    annotation,
    judging,
    personas,
    preferences,
    reranking,
    rewriting,
    simulators,
)

# Data and temperature of a request in, answer out; by the name of the prompt.
Answerer = Callable[[Mapping[str, Any], float], object]
ANSWERERS: Mapping[str, Answerer] = {
    **annotation.ANSWERERS,
    **preferences.ANSWERERS,
    **reranking.ANSWERERS,
    **personas.ANSWERERS,
    **simulators.ANSWERERS,
    **agents.ANSWERERS,
    **rewriting.ANSWERERS,
    **judging.ANSWERERS,
}

_DEEPEST = 20


def answer(prompt: str | None, data: dict[str, Any], temperature: float, schema: Mapping[str, Any]) -> object:
    """Answer a request by the rules for its prompt."""
    known = ANSWERERS.get(prompt or "")
    return smallest(schema) if known is None else known(data, temperature)


def smallest(schema: Mapping[str, Any]) -> object:
    """A small value that fits a JSON schema, as far as type, const, enum, properties, items, $ref and bounds tell.

    Raises ValueError for a schema that ends in itself.
    """
    return _smallest(schema, schema, 0)


def _smallest(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> object:
    if depth > _DEEPEST:
        raise ValueError("the schema demands values without end")
    if "$ref" in schema:
        target: Any = root
        for part in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            target = target[part] if part else target
        return _smallest(target, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _smallest(schema[several][0], root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if "null" in kind else kind[0]
    if kind == "object" or (kind is None and "properties" in schema):
        parts = schema.get("properties", {})
        return {name: _smallest(parts.get(name, {}), root, depth + 1) for name in schema.get("required", parts)}
    if kind == "array":
        return [_smallest(schema.get("items", {}), root, depth + 1)] * int(schema.get("minItems", 0))
    if kind == "string":
        return "-" * int(schema.get("minLength", 0))
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        return min(low, schema["maximum"]) if "maximum" in schema else low
    return False if kind == "boolean" else None
