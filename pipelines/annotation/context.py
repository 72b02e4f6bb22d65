"""What rules look at: turns with titles and names masked, cut into clauses, with counts and a hash of all that came before.

Masking keeps a film called "Love Actually" from reading as a feeling. Does not belong here: rules and their flags (`rulebook.py`,
`matching.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import polars as pl

from pipelines.annotation.rulebook import reading

# Stand for a mentioned title and for what looks like a proper name. Words that no text has.
TITLE = "xtitlex"
NAME = "xnamex"

# Longer turns are read as far as this: nobody says more in a turn, and pasted megabytes are no conversation.
CHARACTERS_READ = 4_000

_ID_PLACEHOLDER = r"@\d{2,}"
_CLAUSE = "\x1f"

_CAPITAL = r"(?:[A-Z]\p{Ll}[\p{L}'’\-]*|[A-Z]\.)"


@dataclass(frozen=True)
class Context:
    """Turns as rules see them.

    turns: dialogue_id, turn, dataset, role, read (lower case, masked), titles, names, new_titles, proposed_titles (numbers of the
    turn), words, run (number of the speaker's stretch), input_hash; sorted by dialogue and turn, one row for each given turn.
    clauses: row (of `turns`), clause (with a `?` at the end of a question).
    """

    turns: pl.DataFrame
    clauses: pl.DataFrame

    def part(self, dialogues: pl.Series) -> Context:
        """The same for some dialogues, by their ids."""
        numbered = self.turns.with_row_index("row")
        own = numbered.filter(pl.col("dialogue_id").is_in(dialogues.implode())).with_row_index("new")
        clauses = self.clauses.join(own.select("row", "new"), on="row", maintain_order="left").select(
            pl.col("new").alias("row"), "clause"
        )
        return Context(own.drop("row", "new"), clauses)


def read_context(turns: pl.DataFrame, mentions: pl.DataFrame) -> Context:
    """Prepare turns for rules.

    turns: dialogue_id, turn, dataset, role, text. mentions: dialogue_id, turn, start, end, movie_id (linked and usable ones).
    Only whole dialogues give right results: earlier turns count.
    """
    ordered = turns.select("dialogue_id", "turn", "dataset", "role", "text").sort("dialogue_id", "turn")
    masked = _masked(ordered, mentions)
    read = _lowered(masked)
    frame = ordered.drop("text").with_columns(
        read,
        read.str.count_matches(rf"\b{TITLE}\b").cast(pl.Int32).alias("titles"),
        read.str.count_matches(rf"\b{NAME}\b").cast(pl.Int32).alias("names"),
        read.str.count_matches(r"[\p{L}\p{N}']+").cast(pl.Int32).alias("words"),
        (pl.col("role") != pl.col("role").shift(1))
        .fill_null(True)
        .cum_sum()
        .over("dialogue_id")
        .cast(pl.Int32)
        .alias("run"),
    )
    frame = _with_films(frame, mentions)
    return Context(frame.with_columns(_prefix_hashes(frame, masked)), _clauses(read))


def _masked(turns: pl.DataFrame, mentions: pl.DataFrame) -> pl.Series:
    """Texts with every mentioned title replaced by TITLE; overlapping mentions count as one."""
    texts = turns.with_row_index("row").select("row", "dialogue_id", "turn", "text")
    spans = (
        mentions.select("dialogue_id", "turn", "start", "end")
        .join(texts.select("row", "dialogue_id", "turn"), on=["dialogue_id", "turn"])
        .select("row", "start", "end")
        .unique()
        .sort("row", "start", "end")
        # A span begins a new place where it starts at or after the furthest end before it.
        .with_columns(pl.col("end").cum_max().over("row").alias("reach"))
        .with_columns((pl.col("start") >= pl.col("reach").shift(1).over("row")).fill_null(True).alias("is_first"))
        .with_columns(pl.col("is_first").cum_sum().over("row").alias("place"))
        .group_by("row", "place", maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max())
    )
    if spans.is_empty():
        masked = texts["text"]
    else:
        pieces = spans.join(texts.select("row", "text"), on="row", maintain_order="left").with_columns(
            pl.col("end").shift(1).over("row").fill_null(0).alias("since")
        )
        before = pieces.select(
            "row",
            pl.concat_str(
                pl.col("text").str.slice(pl.col("since"), pl.col("start") - pl.col("since")), pl.lit(f" {TITLE} ")
            ).alias("piece"),
        )
        after = pieces.group_by("row", maintain_order=True).agg(
            pl.col("text").last().str.slice(pl.col("end").last()).alias("piece")
        )
        joined = pl.concat([before, after]).group_by("row", maintain_order=True).agg(pl.col("piece").str.join(""))
        masked = texts.join(joined, on="row", how="left", maintain_order="left").select(
            pl.col("piece").fill_null(pl.col("text"))
        )["piece"]
    return masked.str.slice(0, CHARACTERS_READ).str.replace_all(_ID_PLACEHOLDER, f" {TITLE} ").alias("masked")


def _lowered(masked: pl.Series) -> pl.Series:
    """Lower case, uniform spellings, and NAME in the place of what looks like a proper name."""
    habits = reading()
    common = [f" {word}{mark}" for word in habits["not_names"].split() for mark in " ,.!?"]
    text = (
        (" " + masked + " ")
        .str.replace_all(r"[\s\p{Cc}]+|QUOTATION_MARK|&quot;|[“”«»\"]", " ")
        # Twice: neighbours share the blank between them.
        .str.replace_many(common, [each.lower() for each in common])
        .str.replace_many(common, [each.lower() for each in common])
    )
    names = (
        text.str.replace_all(rf"\b{_CAPITAL}(?: (?:de |van |von |of the |of |the )?{_CAPITAL})+", f" {NAME} ")
        # A single capitalised word counts inside a sentence only: at its beginning every word has a capital.
        .str.replace_all(r"([\p{Ll}\d,] +)[A-Z]\p{Ll}[\p{L}'’\-]+", f"${{1}}{NAME} ")
    )
    # Who writes in capitals throughout names nobody.
    is_shouted = text.str.count_matches(r"\p{Lu}") > 2 * text.str.count_matches(r"\p{Ll}")
    read = names.zip_with(~is_shouted, text).str.to_lowercase()
    for pattern, spelling in habits["spellings"]:
        read = read.str.replace_all(pattern, spelling)
    return read.str.replace_all(r"\s+", " ").str.strip_chars().alias("read")


def _with_films(turns: pl.DataFrame, mentions: pl.DataFrame) -> pl.DataFrame:
    """Add new_titles (films that no earlier turn mentions) and proposed_titles (that the recommender mentioned before)."""
    films = (
        mentions.select("dialogue_id", "turn", "movie_id")
        .unique()
        .join(turns.select("dialogue_id", "turn", "role"), on=["dialogue_id", "turn"])
    )
    by = ["dialogue_id", "movie_id"]
    first = films.group_by(by).agg(pl.col("turn").min().alias("first"))
    proposed = films.filter(pl.col("role") == "recommender").group_by(by).agg(pl.col("turn").min().alias("proposed"))
    counted = (
        films.join(first, on=by, how="left")
        .join(proposed, on=by, how="left")
        .group_by("dialogue_id", "turn")
        .agg(
            (pl.col("first") == pl.col("turn")).sum().cast(pl.Int32).alias("new_titles"),
            (pl.col("proposed") < pl.col("turn")).sum().cast(pl.Int32).alias("proposed_titles"),
        )
    )
    return turns.join(counted, on=["dialogue_id", "turn"], how="left", maintain_order="left").with_columns(
        pl.col("new_titles", "proposed_titles").fill_null(0)
    )


def _clauses(read: pl.Series) -> pl.DataFrame:
    """The clauses of each text: row, clause."""
    cut = (
        read.str.replace_all(r"\?[?!. ]*", f" ?{_CLAUSE}")
        .str.replace_all(r"(\d)\.(\d)", "$1$2")
        .str.replace_all(r"[.!;:\n]+", _CLAUSE)
        .str.replace_all(r",? (?:but|although|though|however) ", _CLAUSE)
        .str.replace_all(
            r", (?:(?:and|so|then|or) )?(i|it|that|you|they|he|she|we|what|who|do|is|have|how|another|maybe) ",
            f"{_CLAUSE}$1 ",
        )
    )
    return (
        pl.DataFrame({"clause": cut.str.split(_CLAUSE)})
        .with_row_index("row")
        .explode("clause", empty_as_null=False)
        .with_columns(pl.col("clause").str.strip_chars(" ,"))
        .filter(pl.col("clause") != "")
    )


def _prefix_hashes(turns: pl.DataFrame, masked: pl.Series) -> pl.Series:
    """63 bits over each turn and all turns before it in its dialogue: the same on every machine."""
    parts = turns.select(
        pl.concat_str(
            pl.col("turn").cast(pl.String),
            "role",
            masked,
            pl.col("new_titles", "proposed_titles").cast(pl.String),
            separator="\x1e",
        ).alias("content")
    )
    with duckdb.connect() as connection:
        connection.register("parts", parts)
        own = connection.sql("SELECT md5_number_lower(content) AS own FROM parts").pl()["own"]
    # A sum wraps around and does not care for order; the turn's number is part of each summand.
    sums = turns.select("dialogue_id", own.cast(pl.UInt64)).select(pl.col("own").cum_sum().over("dialogue_id"))["own"]
    return (sums // 2).cast(pl.Int64).alias("input_hash")
