"""One call to an endpoint: what is sent, what its answer or its failure means.

Does not belong here: when to call, how often, and what is kept (`asking.py`); reading an answer's text (`replies.py`); putting the key on (`transport.py`).

Source of the protocol: OpenAI's API reference, `POST /chat/completions`, with structured output by `response_format`.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

from pipelines.gateways.llm.cache import Ending, Stored
from pipelines.gateways.llm.dialect import Dialect
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.replies import Reply, ReplyError, read_reply, read_value
from pipelines.gateways.llm.requests import LlmRequest, Question, text_tokens
from pipelines.gateways.llm.runs import Stop, is_stand_in
from pipelines.gateways.llm.settings import LlmSettings, Price
from pipelines.gateways.pacing import retry_after_s
from pipelines.gateways.secret import HIDDEN, Secret

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from openai import APIStatusError, AsyncOpenAI

# Of a request that fails for reasons that pass: overload, server errors, broken connections.
TRIES = 6
# Each may cost as much as an answer, and each takes the whole timeout.
TRIES_IN_TIME = 3

_LONGEST_WORDS = 200
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[\w*.-]{4,}|Bearer\s+\S+", re.IGNORECASE)


class NoAnswer(Exception):
    """A call that brought no chat completion, and what to do about it.

    `stop`: nothing more is to be sent, and why. `tries`: how many calls that end like this a question is worth. `pause_s`: how long nobody is to call, if it
    said so. `is_charge_known` is False when nobody knows whether it was charged. `simpler`: the dialect that does without what was refused.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        *,
        stop: Stop | None = None,
        tries: int = TRIES,
        pause_s: float | None = None,
        is_charge_known: bool = True,
        simpler: Dialect | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.stop = stop
        self.tries = tries
        self.pause_s = pause_s
        self.is_charge_known = is_charge_known
        self.simpler = simpler

    def ending(self, model: str, latency_s: float) -> Ending:
        """Its line in the ledger."""
        return Ending(
            outcome="failed",
            model=model,
            latency_s=latency_s,
            http_status=self.status,
            error=self.reason,
            is_charge_known=self.is_charge_known,
        )


class Endpoint:
    """The endpoint as one run knows it: its client, opened before the first call, and the dialect that it turned out to understand."""

    def __init__(self, settings: LlmSettings, key: Secret | None, price: Price | None) -> None:
        self._settings = settings
        self._key = key
        self._price = price or Price(0.0, 0.0)
        self.is_free = price is None
        self._client: AsyncOpenAI | None = None
        self._dialect = Dialect()
        self._validators: dict[str, Draft202012Validator] = {}

    def most_usd(self, question: Question) -> float:
        """The most that a call can cost."""
        return self._price.cost_usd(question.tokens, question.request.prompt.max_tokens)

    def open(self) -> None:
        """Open the client."""
        from pipelines.gateways.llm.transport import open_client  # openai is slow to import

        self._client = open_client(self._settings, self._key)

    async def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            await self._client.close()

    async def send(self, request: LlmRequest, misfits: int) -> str:
        """Send a question, whose earlier answers did not fit `misfits` times; returns the body of the answer. Raises NoAnswer."""
        dialect = self._dialect
        # With the same seed, an endpoint that honours it would give the same misfit again.
        seed = (request.seed or 0) + misfits if misfits else request.seed
        try:
            return await self._post(dialect, request, seed)
        except NoAnswer as trouble:
            # Another call may have found out first, and even more.
            if trouble.simpler is not None and self._dialect == dialect:
                self._dialect = trouble.simpler
            raise

    async def _post(self, dialect: Dialect, request: LlmRequest, seed: int | None) -> str:
        import httpx2
        import openai

        assert self._client is not None
        body = dialect.body(self._settings.model, request, seed)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                # Not chat.completions.create: checking our own body against its types takes as long as the rest of a call.
                response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return self._without_key(response.content.decode("utf-8", "replace"))
        except (TimeoutError, openai.APITimeoutError):
            raise NoAnswer(
                f"no answer within {self._settings.timeout_s:g} s", tries=TRIES_IN_TIME, is_charge_known=False
            ) from None
        except openai.APIConnectionError as error:
            kind = type(error.__cause__).__name__
            raise NoAnswer(
                f"no connection, or one that broke ({kind})", is_charge_known=kind in ("ConnectError", "ConnectTimeout")
            ) from None
        except openai.APIStatusError as error:
            raise self._trouble(error, dialect) from None
        except Exception as error:
            # The client's own reading of a strange answer; its words could quote what was sent.
            raise NoAnswer(f"unreadable answer ({type(error).__name__})", is_charge_known=False) from None

    def _trouble(self, error: APIStatusError, dialect: Dialect) -> NoAnswer:
        """What an HTTP status other than 200 means."""
        status, settings = error.status_code, self._settings
        words = self._words(error)
        said = f"HTTP {status}{f': {words}' if words else ''}"
        if status == 402 or (status in (403, 429) and "insufficient_quota" in (error.code, error.type)):
            return NoAnswer(f"the account's quota is used up ({said})", status, stop="quota")
        if status == 429:
            return NoAnswer(f"too many requests ({said})", status, pause_s=retry_after_s(error.response.headers))
        if status == 401:
            # Not its words: they like to quote the key.
            return NoAnswer(
                f"{settings.base_url} refuses the API key (HTTP 401); check OPENAI_API_KEY", status, stop="key"
            )
        if status == 403:
            return NoAnswer(
                f"{settings.base_url} forbids this key to ask {settings.model} ({said})", status, stop="key"
            )
        if status == 404:
            return NoAnswer(
                f"{settings.base_url} does not know the model {settings.model}, or is no such endpoint ({said})",
                status,
                stop="address",
            )
        if status in (408, 409, 425) or status >= 500:
            return NoAnswer(f"server error ({said})", status, pause_s=retry_after_s(error.response.headers))
        if status < 400 or status == 405:
            return NoAnswer(f"{settings.base_url} is no endpoint for chat completions ({said})", status, stop="address")
        simpler = dialect.without(error.param or "", error.message) if status in (400, 422) else None
        return NoAnswer(f"the request was refused ({said})", status, tries=1, simpler=simpler)

    def _words(self, error: APIStatusError) -> str:
        """What the endpoint says about its refusal, on one line, without anything like a key."""
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error")
        said = (inner if isinstance(inner, dict) else body).get("message")
        if not isinstance(said, str):
            return ""
        text = _KEY_LIKE.sub(HIDDEN, self._without_key(said[:10_000]))
        return re.sub(r"[^\x20-\x7e\xa1-\ud7ff\ue000-\uffff]+", " ", text).strip()[:_LONGEST_WORDS]

    def _without_key(self, text: str) -> str:
        return text if self._key is None else self._key.hide_in(text)

    def judge(self, question: Question, body: str, latency_s: float, before_usd: float) -> tuple[Ending, Stored]:
        """Read an answer: how the call ended, and what is to be stored if no other call should follow. `before_usd`: what earlier
        calls for the same question cost.
        """
        settings, price = self._settings, self._price
        reply: Reply | None = None
        value, outcome, error = None, "answered", None
        try:
            reply = read_reply(body)
            if reply.is_refusal:
                outcome, error = "refused", "the model declined to answer"
            else:
                text = None if reply.text is None else self._without_key(reply.text)
                value, is_mended = read_value(text, self._validator(question.request.prompt))
                if is_mended:
                    outcome = "repaired"
                plain = json.dumps(value, ensure_ascii=False)
                if self._without_key(plain) != plain:
                    raise ReplyError("the answer holds the key")
        except ReplyError as trouble:
            value, outcome = None, "invalid"
            error = "the answer was cut at max_tokens" if reply and reply.is_cut else str(trouble)
        model = (reply.model if reply else None) or settings.model
        if is_stand_in(model) and not is_stand_in(settings.model):
            value, outcome = None, "failed"
            error = f"the stand-in answered at {settings.base_url}, which is not {settings.model}: set MARQUEE_LLM_MODEL={model}"
        sent = reply.prompt_tokens if reply else None
        received = reply.completion_tokens if reply else None
        sent = question.tokens if sent is None else sent
        received = text_tokens((reply.text if reply else body) or "") if received is None else received
        cost_usd = 0.0 if is_stand_in(model) else price.cost_usd(sent, received)
        ending = Ending(outcome, model, latency_s, sent, received, cost_usd, 200, error)
        return ending, Stored(outcome, value, model, before_usd + cost_usd, error)

    def _validator(self, prompt: Prompt) -> Draft202012Validator:
        from jsonschema import Draft202012Validator

        # Not by the prompt's identity: a prompt may have gone meanwhile, and another stand in its place in memory.
        schema = json.dumps(prompt.schema)
        if schema not in self._validators:
            self._validators[schema] = Draft202012Validator(prompt.schema)
        return self._validators[schema]
