"""Prompts: files in pipelines/prompts, read, checked and put into messages.

Belongs here: what a prompt file may hold, and the frame in which data reaches a model. Does not belong here: the prompts
themselves, and what is done with answers.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

PLACEHOLDER = "{data}"
OPENING = "<data>"
CLOSING = "</data>"

MOST_TOKENS = 32_768
_FIELDS = {"name", "version", "temperature", "max_tokens", "system", "user", "schema", "note"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

# Escaped though JSON allows them as they are: what could close the delimiters or open a chat template's special token (< and
# >), what a terminal or a reader would act on (C1 controls, line separators, marks of direction), what hides text from
# a reader (tags, byte-order marks), and lone surrogates, which UTF-8 cannot carry.
_ESCAPED = re.compile(
    "[<>\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


class PromptError(ValueError):
    """A prompt file cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Prompt:
    """One prompt. `user` is a template with one `{data}`; `schema` is the JSON schema of the answer."""

    name: str
    version: str
    temperature: float
    max_tokens: int
    system: str
    user: str
    schema: Mapping[str, Any] = field(repr=False)
    note: str = ""

    def messages(self, data: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages to send: `data` stands as one JSON document between <data> and </data> in the user's message.

        Everything else is the same whatever the data is. Raises TypeError or ValueError for data that JSON cannot hold.
        """
        before, after = self.user.split(PLACEHOLDER)
        block = f"{OPENING}\n{document(data)}\n{CLOSING}"
        return [{"role": "system", "content": self.system}, {"role": "user", "content": f"{before}{block}{after}"}]

    @property
    def digest(self) -> str:
        """SHA-256 over all that reaches the model, which is everything but the note."""
        parts = [self.name, self.version, self.temperature, self.max_tokens, self.system, self.user, self.schema]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def document(data: Mapping[str, Any]) -> str:
    """Data as one line of JSON that holds no `<`, no `>` and no character that is not for reading.

    Whatever is escaped comes back when the JSON is read. Raises TypeError or ValueError for what JSON cannot hold.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _ESCAPED.sub(
        lambda found: json.dumps(found[0])[1:-1] if found[0] not in "<>\x7f" else f"\\u{ord(found[0]):04x}", text
    )


def load_prompt(name: str, folder: Traversable | None = None) -> Prompt:
    """Read `<name>.toml` of pipelines/prompts (or of `folder`). Raises PromptError."""
    path = (folder or files("pipelines.prompts")) / f"{name}.toml"
    where = f"prompt {path.name}"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PromptError(f"{where}: there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PromptError(f"{where}: not readable as TOML: {error}") from None
    if unknown := sorted(content.keys() - _FIELDS):
        raise PromptError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_FIELDS))}")
    if missing := sorted(_FIELDS - {"note"} - content.keys()):
        raise PromptError(f"{where}: key {missing[0]!r} is missing")
    for key in ("name", "version", "system", "user", "note"):
        if not isinstance(content.get(key, "-"), str) or not content.get(key, "-").strip():
            raise PromptError(f"{where}: key {key!r} must be a text that is not empty")
    if content["name"] != name or not _NAME.fullmatch(name):
        raise PromptError(
            f"{where}: key 'name' must be the name of the file: letters, digits, _ and -, at most 64; it is {content['name']!r}"
        )
    temperature, max_tokens = content["temperature"], content["max_tokens"]
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
        raise PromptError(f"{where}: key 'temperature' must be a number from 0 to 2, not {temperature!r}")
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or not 1 <= max_tokens <= MOST_TOKENS:
        raise PromptError(
            f"{where}: key 'max_tokens' must be a whole number from 1 to {MOST_TOKENS}, not {max_tokens!r}"
        )
    if content["user"].count(PLACEHOLDER) != 1 or PLACEHOLDER in content["system"]:
        raise PromptError(f"{where}: key 'user' must hold {PLACEHOLDER} exactly once, and 'system' never")
    if re.search(rf"{OPENING}\s*\{PLACEHOLDER}", content["user"]):
        raise PromptError(f"{where}: key 'user': {OPENING} and {CLOSING} are put around {PLACEHOLDER}; leave them out")
    return Prompt(
        name=name,
        version=content["version"],
        temperature=float(temperature),
        max_tokens=max_tokens,
        system=content["system"],
        user=content["user"],
        schema=_schema(content["schema"], where),
        note=content.get("note", ""),
    )


def _schema(value: Any, where: str) -> dict[str, Any]:
    """A JSON schema given as TOML table or as JSON text; checked for what structured output asks of it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise PromptError(f"{where}: key 'schema' is not readable as JSON: {error}") from None
    if not isinstance(value, dict) or value.get("type") != "object":
        raise PromptError(f"{where}: key 'schema' must be a JSON schema of type object")
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        raise PromptError(f"{where}: key 'schema' is no JSON schema: {error.message}") from None
    _strict(value, "schema", where)
    return value


def _strict(part: Any, path: str, where: str) -> None:
    """Hold objects to what strict structured output demands; an endpoint would refuse every single request."""
    if isinstance(part, list):
        for number, each in enumerate(part):
            _strict(each, f"{path}[{number}]", where)
    if not isinstance(part, dict):
        return
    if part.get("type") == "object" and isinstance(part.get("properties"), dict):
        if part.get("additionalProperties") is not False:
            raise PromptError(f"{where}: key '{path}.additionalProperties' must be false")
        if optional := sorted(part["properties"].keys() - set(part.get("required", []))):
            raise PromptError(f"{where}: key '{path}.required' must name every property; {optional[0]!r} is missing")
    for key, each in part.items():
        _strict(each, f"{path}.{key}", where)
