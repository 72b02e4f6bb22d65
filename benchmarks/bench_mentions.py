"""Finding films by name: Marquee's look-up against rapidfuzz's extractOne over all titles in one run, and scanning of free text.

    python benchmarks/bench_mentions.py [--movies N | --pack DIR] [--mentions N]

Films are those of a synthetic pack (337,731 unless told otherwise). Mentions are their titles as people type them: with a typing error, in
lower case, without article, without punctuation, and with two of these. Both sides get the same mentions; extractOne takes seconds for
each, so it gets the first `--mentions` of them, while the look-up's time is that of a batch of 5,000, and of single calls.
An answer is right when it has the title of the film that the mention was made from. Making the gazetteer is timed apart.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.bench_build import MOVIES, add_pack_options, made_pack
from benchmarks.machine import GB, Target, machine, own_peak_bytes, print_line, tell
from pipelines.mentions.gazetteer import Gazetteer, build_gazetteer, names_of
from pipelines.mentions.lookup import look_up, prepare
from pipelines.mentions.scan import scan
from pipelines.synth.draw import Stream, stream
from pipelines.synth.pack import TRUTH

SEED = 42
BATCH = 5_000
ALONE = 30
TURNS = 20_000
KINDS = (
    "typing error",
    "lower case",
    "no article",
    "no punctuation",
    "typing error in lower case",
    "no article in lower case",
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

# What stands around a title in a turn; about half of the turns name none.
_TURNS = (
    "hi there, how are you doing today? i am looking for something to watch this weekend",
    "Have you seen {}? I really liked it, the ending surprised me.",
    "i loved {} when it came out but my sister could not stand it lol",
    "Not really. I prefer something a bit older, maybe with a good story and not too much blood.",
    "What about {}? It is more of a comedy, and the whole family can see it.",
    "yes! that one was great, who was the lead in it again?",
    "ok then try {} or maybe {}, both are on tonight",
    "No I haven't, but I will have to check it out. Thank you so much for your help!",
    "{}",
    "It has been a long day and I just want to laugh, nothing too serious please.",
)


def films_of(pack: Path) -> pl.DataFrame:
    """The films of a pack, with the columns that the gazetteer takes."""
    truth = pl.read_parquet(pack / TRUTH / "films.parquet")
    return truth.select(
        pl.concat_str(pl.lit("film-"), "film").alias("movie_id"),
        "title", "original_title", "aliases", "year", "kind", "genres", "directors",
        pl.col("cast").alias("cast_members"),
        "votes",
        pl.lit(1, dtype=pl.Int32).alias("source_count"),
    )  # fmt: skip


def with_typing_error(title: str, random: Stream) -> str:
    """A title with one letter swapped with the next, left out, doubled or replaced; never the first one."""
    if len(title) < 4:
        return title
    at = int(random.integers(1, len(title) - 1))
    way = int(random.integers(4))
    before, here, following, rest = title[:at], title[at], title[at + 1], title[at + 2 :]
    if way == 0:
        return before + following + here + rest
    if way == 1:
        return before + following + rest
    if way == 2:
        return before + here + here + following + rest
    return before + _LETTERS[int(random.integers(len(_LETTERS)))] + following + rest


def mentions_of(films: pl.DataFrame, n: int, random: Stream) -> pl.DataFrame:
    """Titles as people type them: title (the true one), mention, how (see KINDS). Half of them are of the films with most votes."""
    known = films.sort("votes", "movie_id", descending=[True, False], nulls_last=True)["title"].head(
        max(films.height // 20, 1)
    )
    titles = pl.concat(
        [
            pool.gather(random.integers(0, pool.len(), count))
            for pool, count in ((known, n // 2), (films["title"], n - n // 2))
        ]
    ).gather(random.permutation(n))
    how = pl.Series(KINDS).gather(np.arange(n) % len(KINDS))
    wrong = pl.Series([with_typing_error(title, random) for title in titles], dtype=pl.String)
    frame = pl.DataFrame({"title": titles, "how": how, "wrong": wrong})
    bare = pl.col("title").str.replace(r"^(?:The|A|An) ", "")
    plain = pl.col("title").str.replace_all(r"[^\p{L}\p{M}\p{N} ]", "").str.replace_all(r" +", " ").str.strip_chars()
    written = {
        "typing error": pl.col("wrong"),
        "lower case": pl.col("title").str.to_lowercase(),
        "no article": bare,
        "no punctuation": pl.when(plain != "").then(plain).otherwise("title"),
        "typing error in lower case": pl.col("wrong").str.to_lowercase(),
        "no article in lower case": bare.str.to_lowercase(),
    }
    return frame.select(
        "title", "how", mention=pl.coalesce([pl.when(pl.col("how") == how).then(text) for how, text in written.items()])
    )


def turns_of(films: pl.DataFrame, n: int, random: Stream) -> pl.DataFrame:
    """Turns of conversations that name films, in the case that people use: row, text."""
    titles = films["title"].gather(random.integers(0, films.height, 2 * n)).to_list()
    texts = [_TURNS[k % len(_TURNS)].format(titles[2 * k], titles[2 * k + 1]) for k in range(n)]
    texts = [text.lower() if k % 3 == 0 else text for k, text in enumerate(texts)]
    return pl.DataFrame({"row": np.arange(n), "text": texts})


def answers(mentions: pl.Series, films: pl.DataFrame, gazetteer: Gazetteer) -> pl.Series:
    """Title of the likeliest film for each mention, null where there is none."""
    prepared = prepare(mentions)
    found = look_up(pl.DataFrame({"query": np.arange(len(mentions)), "title": prepared["title"]}), gazetteer, limit=1)
    every = pl.DataFrame({"query": np.arange(len(mentions))})
    return (
        every.join(found, on="query", how="left")
        .join(films.select("movie_id", "title"), on="movie_id", how="left")
        .sort("query")["title"]
    )


def look_ups(films: pl.DataFrame, gazetteer: Gazetteer, sample: int) -> dict[str, object]:
    """Time and answers of look_up, and of extractOne on the first `sample` mentions."""
    from rapidfuzz import process

    mentions = mentions_of(films, max(BATCH, sample), stream(SEED, "mentions"))
    started = time.perf_counter()
    omissions, trigrams = gazetteer.omissions, gazetteer.trigrams
    index_s = time.perf_counter() - started
    started = time.perf_counter()
    mentions = mentions.with_columns(found=answers(mentions["mention"], films, gazetteer))
    each_s = (time.perf_counter() - started) / mentions.height
    started = time.perf_counter()
    for k in range(ALONE):
        answers(mentions["mention"][k : k + 1], films, gazetteer)
    alone_s = (time.perf_counter() - started) / ALONE
    tell(f"looked up {mentions.height:,} mentions, {each_s * 1e3:.3f} ms each")

    judged = mentions.head(sample)
    titles = films["title"].to_list()
    started = time.perf_counter()
    extracted = [process.extractOne(mention, titles) for mention in judged["mention"]]
    extract_s = (time.perf_counter() - started) / judged.height
    judged = judged.with_columns(
        extracted=pl.Series([found[0] if found else None for found in extracted], dtype=pl.String)
    )
    theirs = judged.filter(pl.col("extracted") == pl.col("title"))
    same = theirs.filter(pl.col("found") == pl.col("extracted")).height
    return {
        "index_s": round(index_s, 2),
        "index_entries": {"omissions": len(omissions.keys), "trigrams": int(trigrams.matrix.nnz)},
        "s_per_mention": each_s,
        "mentions": mentions.height,
        "s_per_mention_alone": alone_s,
        "extract_one_s_per_mention": extract_s,
        "extract_one_mentions": judged.height,
        "times_as_fast": round(extract_s / each_s, 1),
        "extract_one_right": round(theirs.height / judged.height, 4),
        "right_on_the_same": round(judged.filter(pl.col("found") == pl.col("title")).height / judged.height, 4),
        "same_where_extract_one_is_right": round(same / theirs.height, 4) if theirs.height else None,
        "right_by_kind": {
            how: round(value, 4)
            for how, value in mentions.group_by("how").agg((pl.col("found") == pl.col("title")).fill_null(False).mean().alias("right")).sort("how").iter_rows()
        },
    }  # fmt: skip


def scans(films: pl.DataFrame, gazetteer: Gazetteer) -> dict[str, object]:
    """Time of scanning turns."""
    turns = turns_of(films, TURNS, stream(SEED, "turns"))
    started = time.perf_counter()
    found = scan(turns, gazetteer, tell)
    seconds = time.perf_counter() - started
    return {
        "turns": turns.height,
        "words": int(turns["text"].str.count_matches(r"\S+").sum()),
        "hits": found.height,
        "seconds": round(seconds, 3),
        "turns_per_s": round(turns.height / seconds),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pack_options(parser)
    parser.add_argument("--mentions", type=int, default=60, help="mentions that extractOne gets (60)")
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        films = films_of(made_pack(options, Path(temporary)))
    where = machine()
    tell(f"indexing the names of {films.height:,} films")
    started = time.perf_counter()
    gazetteer = build_gazetteer(films, names_of(films))
    gazetteer_s = time.perf_counter() - started
    scanned = scans(films, gazetteer)
    looked_up = look_ups(films, gazetteer, max(options.mentions, 1))
    figures = {
        "films": films.height,
        "keys": gazetteer.keys.height,
        "gazetteer_s": round(gazetteer_s, 2),
        "lookup": looked_up,
        "scan": scanned,
        "peak_memory_gb": round(own_peak_bytes() / GB, 2),
    }
    share = looked_up["same_where_extract_one_is_right"]
    targets = [
        Target("lookup.times_as_fast", looked_up["times_as_fast"], 1000, is_upper=False),  # type: ignore[arg-type]
        Target("lookup.same_where_extract_one_is_right", share, 0.99, is_upper=False),  # type: ignore[arg-type]
        Target("scan.turns_per_s", scanned["turns_per_s"], 5000, is_upper=False),  # type: ignore[arg-type]
    ]
    what = f"looking up and finding film names, against rapidfuzz's extractOne; the targets hold for {MOVIES:,} films on 2 cores"
    print_line("mentions", what, figures, targets, where)


if __name__ == "__main__":
    main()
