"""What an endpoint understands of the protocol: not all that call themselves compatible know structured output.

Belongs here: the body of a call, in full or with what the endpoint refused left out. Does not belong here: sending it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.gateways.llm.requests import LlmRequest

# Followed by the schema as JSON, to the end of the system message.
SCHEMA_IN_WORDS = '\n\nAnswer with one JSON object and nothing else. It must fit this JSON schema, named "{name}":\n'

Shape = Literal["json_schema", "json_object", "text"]
_SIMPLER: dict[Shape, Shape] = {"json_schema": "json_object", "json_object": "text"}

# How an endpoint is told that its model should not think: by an effort, by the least that it knows, or not at all, as models that cannot think
# refuse to be told.
Unthinking = Literal["none", "minimal", ""]
_EFFORTS = {"low": "low", "on": "medium"}
_FEWER: dict[Unthinking, Unthinking] = {"none": "minimal", "minimal": ""}


@dataclass(frozen=True)
class Dialect:
    """`answers`: how the shape of an answer is demanded; `limit`: the name of its longest length.

    `unthinking`: the effort that stands for no thinking. `has_template`: whether switches of chat templates are sent, by which servers of open models
    (vLLM, SGLang) turn thinking on and off. Where thinking is asked for, the effort is never left out: an answer without it would pass for one with it.
    """

    answers: Shape = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    unthinking: Unthinking = "none"
    has_template: bool = True

    def without(self, refused: str, message: str) -> Dialect | None:
        """The dialect that does without what a refusal (the parameter and the message) names; None when it names nothing
        that could be left out.
        """
        named = refused or message
        if "max_tokens" in named and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        if self.has_template and ("chat_template" in named or "enable_thinking" in named):
            return replace(self, has_template=False)
        if "reasoning_effort" in named or "reasoning.effort" in named:
            return replace(self, unthinking=_FEWER[self.unthinking]) if self.unthinking else None
        if any(part in named for part in ("response_format", "json_schema", "json_object")):
            simpler = _SIMPLER.get(self.answers)
            return replace(self, answers=simpler) if simpler else None
        return None

    def body(self, model: str, request: LlmRequest, seed: int | None) -> dict[str, Any]:
        """The body of a call. Outside of json_schema the schema stands in the system message."""
        prompt = request.prompt
        messages = prompt.messages(request.data)
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": request.sampled_at,
            self.limit: prompt.max_tokens,
        }
        if seed is not None:
            body["seed"] = seed
        if request.thinking is not None:
            if effort := self.unthinking if request.thinking == "off" else _EFFORTS[request.thinking]:
                body["reasoning_effort"] = effort
            if self.has_template:
                body["chat_template_kwargs"] = {"enable_thinking": request.thinking != "off"}
        if self.answers == "json_schema":
            shape = {"name": prompt.name, "strict": True, "schema": prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
            return body
        messages[0]["content"] += SCHEMA_IN_WORDS.format(name=prompt.name) + json.dumps(prompt.schema)
        if self.answers == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body
