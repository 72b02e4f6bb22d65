"""Source blocks: what a `[[source]]` block in TOML may say, checked key by key.

Belongs here: the grammar (docs/adding-a-source.md explains it to users), its defaults and its error messages.
Does not belong here: reading the files that a block names.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import polars as pl

from pipelines.sources.paths import parse_path
from warehouse.tables.titles import KINDS, RAW_FIELDS

# Raise whenever the same bytes and block would be read differently: every raw table is then read again.
READER_VERSION = 1

BUILTIN = Path(__file__).with_name("builtin.toml")
USER_FILE = "sources.toml"

FORMATS = ("csv", "tsv", "lines", "json", "jsonl", "parquet")
DEFAULT_DELIMITER = {"csv": ",", "tsv": "\t"}
DEFAULT_QUOTE = {"csv": '"', "tsv": ""}
DEFAULT_NULL_WORDS = {"tsv": ("", "\\N")}

TEXT_FIELDS = frozenset(c.name for c in RAW_FIELDS if c.dtype == pl.String) | {"source_id"}
LIST_FIELDS = frozenset(c.name for c in RAW_FIELDS) - TEXT_FIELDS

_FILE_KEYS = frozenset(
    {"files", "format", "encoding", "delimiter", "quote", "columns", "pattern", "records", "null_words"}
)
_SOURCE_KEYS = (_FILE_KEYS - {"columns"}) | {
    "name", "title", "licence", "homepage", "header", "kind", "reliability", "reject_share_max", "ignore",
    "group_by", "columns", "patterns", "where", "kinds", "join",
}  # fmt: skip
_JOIN_KEYS = (_FILE_KEYS - {"columns"}) | {"header", "on", "to", "where", "take", "collect"}
_LOOKUP_KEYS = (_FILE_KEYS - {"columns"}) | {"header", "key", "value"}
_FIELD_KEYS = frozenset({"from", "separator", "null_words", "pattern", "format", "flag", "lookup"})
_COLLECT_KEYS = frozenset({"from", "order_by", "where"})

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FORMAT = re.compile(r"(?P<prefix>[^{}]*)\{(?::0>(?P<width>[1-9]\d?))?\}(?P<suffix>[^{}]*)")
TEMPLATE_COLUMN = re.compile(r"\{([^{}]+)\}")


class BlockError(ValueError):
    """A source block is wrong; the message names file, block and key."""


@dataclass(frozen=True)
class FileFormat:
    """How the bytes of a file become records."""

    format: str
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = ""
    header: tuple[str, ...] | None = None
    pattern: str | None = None
    records: str = "array"
    null_words: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Lookup:
    """A table key -> value which turns ids into names.

    `value` holds templates: the first one that can be filled wins.
    """

    files: tuple[str, ...]
    file_format: FileFormat
    key: str
    value: tuple[str, ...]

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The columns that the templates name, each once."""
        return tuple(dict.fromkeys(c for template in self.value for c in TEMPLATE_COLUMN.findall(template)))


@dataclass(frozen=True)
class FieldRule:
    """How one target field is filled from source columns."""

    columns: tuple[str, ...]
    separator: str | None = None
    null_words: tuple[str, ...] | None = None
    pattern: str | None = None
    format: tuple[str, int, str] | None = None
    flag: str | None = None
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True)
class Collect:
    """Many rows of a joined file -> one list column of the title."""

    column: str
    order_by: str | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Join:
    """A further file of the same source, attached by key.

    `take`: new column -> column; `collect`: new column -> rule.
    """

    files: tuple[str, ...]
    file_format: FileFormat
    on: str
    to: str
    where: Mapping[str, tuple[str, ...]]
    take: Mapping[str, str]
    collect: Mapping[str, Collect]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the joined file that the join needs, each once."""
        needed = [self.on, *self.where, *self.take.values()]
        for rule in self.collect.values():
            needed += [rule.column, *([rule.order_by] if rule.order_by else []), *rule.where]
        return tuple(dict.fromkeys(needed))


@dataclass(frozen=True)
class SourceBlock:
    """One source: where its files are, how they are read, and which column fills which field."""

    name: str
    files: tuple[str, ...]
    file_format: FileFormat
    columns: Mapping[str, FieldRule]
    title: str
    licence: str | None = None
    homepage: str | None = None
    kind: str | None = None
    reliability: float = 0.5
    reject_share_max: float = 0.05
    ignore: tuple[str, ...] = ()
    group_by: str | None = None
    patterns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    joins: tuple[Join, ...] = ()
    content: str = ""

    @property
    def hash(self) -> str:
        """Hash of all that can change what is read: the block (without its prose) and READER_VERSION."""
        return hashlib.sha256(f"{READER_VERSION}\n{self.content}".encode()).hexdigest()

    @property
    def attached(self) -> frozenset[str]:
        """Columns that come from joined files."""
        return frozenset(name for join in self.joins for name in (*join.take, *join.collect))

    @property
    def title_columns(self) -> Mapping[str, tuple[str, ...]]:
        """Key of the block -> columns of the title files themselves, of which at least one must be there."""
        needed = {f"columns.{target}": rule.columns for target, rule in self.columns.items()}
        needed |= {f"where.{column}": (column,) for column in self.where}
        needed |= {f"join[{number}].to": (join.to,) for number, join in enumerate(self.joins, 1)}
        if self.group_by:
            needed["group_by"] = (self.group_by,)
        return {key: columns for key, columns in needed.items() if not self.attached.intersection(columns)}


def builtin_blocks() -> dict[str, SourceBlock]:
    """The blocks that come with the package, by name."""
    return read_blocks(BUILTIN)


def all_blocks(sources: Path) -> dict[str, SourceBlock]:
    """Built-in blocks and those of `sources`/sources.toml.

    Raises BlockError when a user block reuses a built-in name.
    """
    blocks = builtin_blocks()
    user_file = sources / USER_FILE
    if user_file.is_file():
        for name, block in read_blocks(user_file).items():
            if name in blocks:
                raise BlockError(
                    f"{user_file}, source {name!r}: there is a built-in source of this name; choose another"
                )
            blocks[name] = block
    return blocks


def read_blocks(path: Path) -> dict[str, SourceBlock]:
    """Blocks of one TOML file by name, in file order. Raises BlockError naming file, block and key."""
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BlockError(f"{path}: {error}") from error
    unknown = sorted(set(document) - {"source"})
    if unknown:
        raise BlockError(f"{path}: unknown table {unknown[0]!r}; a sources file holds [[source]] blocks only")
    raw_blocks = document.get("source", [])
    if not isinstance(raw_blocks, list) or not all(isinstance(raw, dict) for raw in raw_blocks):
        raise BlockError(f"{path}: write [[source]] with two brackets for each source")
    blocks: dict[str, SourceBlock] = {}
    for number, raw in enumerate(raw_blocks, 1):
        block = _Parser(path, raw.get("name", f"number {number}")).block(raw)
        if block.name in blocks:
            raise BlockError(f"{path}, source {block.name!r}, key name: used by two blocks of this file")
        blocks[block.name] = block
    return blocks


class _Parser:
    """Checks and reads the keys of one block; keeps where it is for the error messages."""

    def __init__(self, path: Path, name: object) -> None:
        self.path = path
        self.name = name

    def fail(self, key: str, problem: str) -> NoReturn:
        raise BlockError(f"{self.path}, source {self.name!r}, key {key}: {problem}")

    def known(self, raw: Mapping[str, Any], keys: frozenset[str] | set[str], where: str = "") -> None:
        for key in raw:
            if key not in keys:
                self.fail(where + key, f"unknown; known keys: {', '.join(sorted(keys))}")

    def text(self, raw: Mapping[str, Any], key: str, where: str = "", default: str | None = None) -> str | None:
        value = raw.get(key, default)
        if value is not None and not isinstance(value, str):
            self.fail(where + key, f"must be text, not {value!r}")
        return value

    def required(self, raw: Mapping[str, Any], key: str, where: str = "") -> str:
        value = self.text(raw, key, where)
        if not value:
            self.fail(where + key, "is missing or empty")
        return value

    def words(self, value: object, key: str, *, empty: bool = True) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            self.fail(key, f"must be a list of texts, not {value!r}")
        if not value and not empty:
            self.fail(key, "must not be empty")
        return tuple(value)

    def table(self, raw: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
        value = raw.get(key, {})
        if not isinstance(value, dict):
            self.fail(where + key, f"must be a table, not {value!r}")
        return value

    def share(self, raw: Mapping[str, Any], key: str, default: float) -> float:
        value = raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.fail(key, f"must be a number from 0 to 1, not {value!r}")
        return float(value)

    def regex(self, pattern: str, key: str) -> tuple[str, ...]:
        """Check `pattern` in the engine that will run it, and return its named groups."""
        try:
            pl.select(pl.lit("").str.extract(pattern, 0))
        except pl.exceptions.PolarsError as error:
            self.fail(key, f"not a regular expression: {' '.join(str(error).split())}")
        return tuple(re.findall(r"\(\?P?<([A-Za-z_]\w*)>", pattern))

    def path_in_json(self, column: str, key: str) -> None:
        try:
            parse_path(column)
        except ValueError as error:
            self.fail(key, str(error))

    def globs(self, raw: Mapping[str, Any], where: str = "") -> tuple[str, ...]:
        key = where + "files"
        patterns = self.words(raw.get("files", []), key, empty=False)
        for pattern in patterns:
            parts = pattern.removeprefix("!").split("/")
            if not all(parts) or ".." in parts or "\\" in pattern or re.match(r"[A-Za-z]:", parts[0]):
                self.fail(key, f"{pattern!r} must be relative to the sources folder, with / and without ..")
        if all(pattern.startswith("!") for pattern in patterns):
            self.fail(key, "only exclusions")
        return patterns

    def file_format(self, raw: Mapping[str, Any], where: str = "", inherited: FileFormat | None = None) -> FileFormat:
        """Format keys of a source, join or lookup.

        The latter two inherit the source's unless they state a format.
        """
        name = self.text(raw, "format", where) or (inherited.format if inherited else None)
        if name not in FORMATS:
            self.fail(where + "format", f"must be one of {', '.join(FORMATS)}, not {name!r}")
        base = inherited if inherited and "format" not in raw else FileFormat(
            format=name,
            delimiter=DEFAULT_DELIMITER.get(name, ""),
            quote=DEFAULT_QUOTE.get(name, ""),
            null_words=DEFAULT_NULL_WORDS.get(name, ("",)),
        )  # fmt: skip
        encoding = self.text(raw, "encoding", where, base.encoding) or ""
        try:
            "".encode(encoding)
            codecs.lookup(encoding)
        except (LookupError, ValueError):
            self.fail(where + "encoding", f"unknown encoding {encoding!r}")
        delimited = name in DEFAULT_DELIMITER
        for key in ("delimiter", "quote", "header"):
            if key in raw and not delimited:
                self.fail(where + key, f"only for {' and '.join(DEFAULT_DELIMITER)}")
        delimiter = self.text(raw, "delimiter", where, base.delimiter) or ""
        quote = self.text(raw, "quote", where, base.quote) or ""
        if delimited and (not delimiter or any(c in delimiter for c in "\n\r\0")):
            self.fail(where + "delimiter", f"cannot be {delimiter!r}")
        if len(delimiter.encode()) > 1 and quote:
            self.fail(where + "quote", 'must be "" with a delimiter of several characters')
        if quote and (len(quote.encode()) != 1 or quote == delimiter or quote in "\n\r\0"):
            self.fail(where + "quote", f"must be one ASCII character other than the delimiter, not {quote!r}")
        header = self.words(raw["header"], where + "header", empty=False) if "header" in raw else None
        if header and len(set(header)) < len(header):
            self.fail(where + "header", "names a column twice")
        pattern = self.text(raw, "pattern", where)
        if name == "lines":
            if not pattern or not self.regex(pattern, where + "pattern"):
                self.fail(where + "pattern", "format lines needs one named group for each column")
        elif pattern is not None:
            self.fail(where + "pattern", "only for format lines")
        records = self.text(raw, "records", where, "array") or "array"
        if "records" in raw and name != "json":
            self.fail(where + "records", "only for format json")
        null_words = self.words(raw.get("null_words", list(base.null_words)), where + "null_words")
        return FileFormat(name, encoding, delimiter, quote, header, pattern, records, null_words)

    def where(self, raw: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[str, ...]]:
        return {
            column: self.words(allowed, f"{prefix}where.{column}", empty=False)
            for column, allowed in self.table(raw, "where", prefix).items()
        }

    def lookup(self, raw: object, key: str, inherited: FileFormat) -> Lookup:
        if not isinstance(raw, dict):
            self.fail(key, f"must be a table or a list of tables, not {raw!r}")
        self.known(raw, _LOOKUP_KEYS, key + ".")
        templates = self.words(raw.get("value", []), key + ".value", empty=False)
        return Lookup(
            files=self.globs(raw, key + "."),
            file_format=self.file_format(raw, key + ".", inherited),
            key=self.required(raw, "key", key + "."),
            value=tuple(t if TEMPLATE_COLUMN.search(t) else "{" + t + "}" for t in templates),
        )

    def rule(self, target: str, raw: object, inherited: FileFormat) -> FieldRule:
        key = f"columns.{target}"
        if target not in TEXT_FIELDS | LIST_FIELDS:
            self.fail(key, f"unknown field; known: {', '.join(sorted(TEXT_FIELDS | LIST_FIELDS))}")
        if isinstance(raw, str | list):
            raw = {"from": raw}
        if not isinstance(raw, dict):
            self.fail(key, f"must be a column name, a list of them, or a table, not {raw!r}")
        self.known(raw, _FIELD_KEYS, key + ".")
        columns = self.words(raw.get("from", []), key + ".from", empty=False)
        separator = self.text(raw, "separator", key + ".")
        flag = self.text(raw, "flag", key + ".")
        for only_list, value in (("separator", separator), ("flag", flag)):
            if value is not None and target in TEXT_FIELDS:
                self.fail(f"{key}.{only_list}", f"{target} holds one text, not a list")
        if separator == "":
            self.fail(f"{key}.separator", "must not be empty")
        pattern = self.text(raw, "pattern", key + ".")
        if pattern is not None:
            self.regex(pattern, key + ".pattern")
            if separator is not None:
                self.fail(f"{key}.separator", "use either separator or pattern")
        form = self.text(raw, "format", key + ".")
        parts = _FORMAT.fullmatch(form) if form is not None else None
        if form is not None and not parts:
            self.fail(f"{key}.format", f"must hold {{}} or {{:0>7}} once, not {form!r}")
        lookups = raw.get("lookup", [])
        return FieldRule(
            columns=columns,
            separator=separator,
            null_words=self.words(raw["null_words"], key + ".null_words") if "null_words" in raw else None,
            pattern=pattern,
            format=(parts["prefix"], int(parts["width"] or 0), parts["suffix"]) if parts else None,
            flag=flag,
            lookups=tuple(
                self.lookup(one, key + ".lookup", inherited)
                for one in (lookups if isinstance(lookups, list) else [lookups])
            ),
        )

    def join(self, raw: object, number: int, inherited: FileFormat) -> Join:
        prefix = f"join[{number}]."
        if not isinstance(raw, dict):
            self.fail("join", "write [[source.join]] with two brackets")
        self.known(raw, _JOIN_KEYS, prefix)
        on = self.required(raw, "on", prefix)
        take = raw.get("take", {})
        if isinstance(take, list):
            take = dict(zip(take, take, strict=True)) if self.words(take, prefix + "take") else {}
        if not isinstance(take, dict) or not all(isinstance(column, str) for column in take.values()):
            self.fail(prefix + "take", f"must be a list of columns or a table of new = old names, not {take!r}")
        collect: dict[str, Collect] = {}
        for name, rule in self.table(raw, "collect", prefix).items():
            rule_prefix = f"{prefix}collect.{name}."
            if isinstance(rule, str):
                rule = {"from": rule}
            if not isinstance(rule, dict):
                self.fail(rule_prefix[:-1], f"must be a column name or a table, not {rule!r}")
            self.known(rule, _COLLECT_KEYS, rule_prefix)
            collect[name] = Collect(
                self.required(rule, "from", rule_prefix),
                self.text(rule, "order_by", rule_prefix),
                self.where(rule, rule_prefix),
            )
        if not take and not collect:
            self.fail(prefix + "take", "a join needs take or collect")
        return Join(
            files=self.globs(raw, prefix),
            file_format=self.file_format(raw, prefix, inherited),
            on=on,
            to=self.text(raw, "to", prefix) or on,
            where=self.where(raw, prefix),
            take=take,
            collect=collect,
        )

    def block(self, raw: Mapping[str, Any]) -> SourceBlock:
        name = self.required(raw, "name")
        if not _NAME.fullmatch(name):
            self.fail("name", "must be lower-case letters, digits and _, starting with a letter, 63 at most")
        self.known(raw, _SOURCE_KEYS)
        file_format = self.file_format(raw)
        # A header or a line pattern describes one file, so joins and lookups never inherit it.
        inherited = FileFormat(
            file_format.format, file_format.encoding, file_format.delimiter, file_format.quote,
            null_words=file_format.null_words,
        )  # fmt: skip
        columns = {target: self.rule(target, rule, inherited) for target, rule in self.table(raw, "columns").items()}
        if "title" not in columns:
            self.fail("columns.title", "is missing: every source must say which column holds the title")
        patterns: dict[str, str] = {}
        for target, pattern in self.table(raw, "patterns").items():
            if target != "title" or not isinstance(pattern, str):
                self.fail(f"patterns.{target}", "only a pattern for title can be given, as text")
            groups = self.regex(pattern, "patterns.title")
            if "title" not in groups or set(groups) - {"title", "year", "alias"}:
                self.fail("patterns.title", "needs the named group title, and may have year and alias")
            patterns[target] = pattern
        kinds: dict[str, str] = {}
        for word, kind in self.table(raw, "kinds").items():
            if kind not in KINDS:
                self.fail(f"kinds.{word}", f"must be one of {', '.join(KINDS)}, not {kind!r}")
            kinds[word] = kind
        kind = self.text(raw, "kind")
        if kind is not None and kind not in KINDS:
            self.fail("kind", f"must be one of {', '.join(KINDS)}, not {kind!r}")
        raw_joins = raw.get("join", [])
        if not isinstance(raw_joins, list):
            self.fail("join", "write [[source.join]] with two brackets")
        joins = tuple(self.join(one, number, inherited) for number, one in enumerate(raw_joins, 1))
        attached = [column for join in joins for column in (*join.take, *join.collect)]
        for column in attached:
            if attached.count(column) > 1:
                self.fail("join", f'column {column!r} is attached twice; rename one with take = {{ new = "old" }}')
        prose = {"title", "licence", "homepage"}
        if file_format.format in ("json", "jsonl"):
            for target, rule in columns.items():
                for column in rule.columns:
                    self.path_in_json(column, f"columns.{target}")
        return SourceBlock(
            name=name,
            files=self.globs(raw),
            file_format=file_format,
            columns=columns,
            title=self.text(raw, "title") or name,
            licence=self.text(raw, "licence"),
            homepage=self.text(raw, "homepage"),
            kind=kind,
            reliability=self.share(raw, "reliability", 0.5),
            reject_share_max=self.share(raw, "reject_share_max", 0.05),
            ignore=self.words(raw.get("ignore", []), "ignore"),
            group_by=self.text(raw, "group_by"),
            patterns=patterns,
            where=self.where(raw),
            kinds=kinds,
            joins=joins,
            content=json.dumps({k: v for k, v in raw.items() if k not in prose}, sort_keys=True, default=str),
        )
