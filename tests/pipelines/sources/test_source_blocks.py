"""The grammar of source blocks: what it accepts, and what it says when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.sources.blocks import BlockError, SourceBlock, all_blocks, builtin_blocks, read_blocks

MINIMAL = """
[[source]]
name = "attic"
files = ["attic/*.csv"]
format = "csv"
"""
TITLE = '[source.columns]\ntitle = "Name"\n'


def block_of(tmp_path: Path, text: str) -> SourceBlock:
    path = tmp_path / "sources.toml"
    path.write_text(text, "utf-8")
    (block,) = read_blocks(path).values()
    return block


def test_defaults_of_a_minimal_block(tmp_path: Path) -> None:
    block = block_of(tmp_path, MINIMAL + TITLE)
    assert block.name == block.title == "attic"
    assert (block.file_format.delimiter, block.file_format.quote) == (",", '"')
    assert block.file_format.null_words == ("",)
    assert (block.kind, block.reliability, block.reject_share_max) == (None, 0.5, 0.05)
    assert block.columns["title"].columns == ("Name",)
    assert block.title_columns == {"columns.title": ("Name",)}


def test_tsv_has_imdb_nulls_and_no_quotes_by_default(tmp_path: Path) -> None:
    block = block_of(tmp_path, MINIMAL.replace('"csv"', '"tsv"') + TITLE)
    assert block.file_format.delimiter == "\t"
    assert block.file_format.quote == ""
    assert block.file_format.null_words == ("", "\\N")


def test_joins_and_lookups_inherit_the_format_unless_they_state_one(tmp_path: Path) -> None:
    block = block_of(
        tmp_path,
        MINIMAL.replace("*.csv", "x.csv")
        + 'delimiter = ";"\nencoding = "latin-1"\n'
        + TITLE
        + 'directors = { from = "ids", lookup = '
        + '{ files = ["n.tsv"], format = "tsv", key = "id", value = "name" } }\n'
        + '[[source.join]]\nfiles = ["y.csv"]\non = "key"\ntake = ["ids"]\n',
    )
    (join,) = block.joins
    assert (join.file_format.delimiter, join.file_format.encoding, join.to) == (";", "latin-1", "key")
    (lookup,) = block.columns["directors"].lookups
    assert (lookup.file_format.delimiter, lookup.file_format.encoding) == ("\t", "utf-8")
    assert lookup.value == ("{name}",)
    # `ids` comes from the join: the title files need not have it, but the key to join on.
    assert block.title_columns == {"columns.title": ("Name",), "join[1].to": ("key",)}


def test_hash_follows_content_and_not_prose(tmp_path: Path) -> None:
    plain = block_of(tmp_path, MINIMAL + TITLE).hash
    assert block_of(tmp_path, MINIMAL + 'licence = "mine"\ntitle = "The attic"\n' + TITLE).hash == plain
    assert block_of(tmp_path, MINIMAL + 'encoding = "cp1252"\n' + TITLE).hash != plain
    assert block_of(tmp_path, MINIMAL + 'where = { a = ["b"] }\n' + TITLE).hash != plain


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (MINIMAL, "columns.title"),
        (MINIMAL + "colour = 1\n" + TITLE, "colour"),
        (MINIMAL.replace("attic/*.csv", "../secret.csv") + TITLE, "files"),
        (MINIMAL.replace("attic/*.csv", "/etc/passwd") + TITLE, "files"),
        (MINIMAL.replace("attic/*.csv", "C:/films.csv") + TITLE, "files"),
        (MINIMAL.replace('"attic/*.csv"', "") + TITLE, "files"),
        (MINIMAL.replace("attic/*.csv", "!attic/*.csv") + TITLE, "files"),
        (MINIMAL.replace('name = "attic"', 'name = "Attic"') + TITLE, "name"),
        (MINIMAL.replace('name = "attic"', "") + TITLE, "name"),
        (MINIMAL.replace('"csv"', '"xls"') + TITLE, "format"),
        (MINIMAL + 'encoding = "klingon"\n' + TITLE, "encoding"),
        (MINIMAL + 'encoding = "base64"\n' + TITLE, "encoding"),
        (MINIMAL + 'delimiter = "::"\n' + TITLE, "quote"),
        (MINIMAL + 'delimiter = ""\n' + TITLE, "delimiter"),
        (MINIMAL + 'quote = ","\n' + TITLE, "quote"),
        (MINIMAL + 'pattern = "x"\n' + TITLE, "pattern"),
        (MINIMAL + 'records = "values"\n' + TITLE, "records"),
        (MINIMAL + 'header = ["a", "a"]\n' + TITLE, "header"),
        (MINIMAL + "reliability = 2\n" + TITLE, "reliability"),
        (MINIMAL + "reject_share_max = true\n" + TITLE, "reject_share_max"),
        (MINIMAL + 'kind = "film"\n' + TITLE, "kind"),
        (MINIMAL + TITLE + 'colour = "c"\n', "columns.colour"),
        (MINIMAL + TITLE + 'year = { from = "y", separator = "|" }\n', "columns.year.separator"),
        (
            MINIMAL + TITLE + 'genres = { from = "g", separator = "/", pattern = "x" }\n',
            "columns.genres.separator",
        ),
        (MINIMAL + TITLE + 'year = { from = "y", pattern = "(" }\n', "columns.year.pattern"),
        (MINIMAL + TITLE + 'year = { from = "y", pattern = "(?=x)" }\n', "columns.year.pattern"),
        (MINIMAL + TITLE + 'imdb_id = { from = "i", format = "tt" }\n', "columns.imdb_id.format"),
        (MINIMAL + TITLE + 'year = { from = "y", colour = 1 }\n', "columns.year.colour"),
        (MINIMAL + TITLE + "year = 7\n", "columns.year"),
        (MINIMAL + TITLE + '[source.kinds]\nX = "film"\n', "kinds.X"),
        (MINIMAL + TITLE + '[source.patterns]\ntitle = "(?P<year>x)"\n', "patterns.title"),
        (MINIMAL + TITLE + '[[source.join]]\nfiles = ["x"]\non = "k"\n', "join[1].take"),
        (MINIMAL + TITLE + '[[source.join]]\nfiles = ["x"]\ntake = ["k"]\n', "join[1].on"),
        (
            MINIMAL + TITLE + 'directors = { from = "d", lookup = { files = ["x"], key = "k" } }\n',
            "columns.directors.lookup.value",
        ),
        (MINIMAL.replace('"csv"', '"lines"') + TITLE, "pattern"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_block_and_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(BlockError) as error:
        block_of(tmp_path, text)
    message = str(error.value)
    assert "sources.toml" in message
    assert f"key {key}:" in message
    assert "attic" in message or "number 1" in message or "Attic" in message


def test_broken_toml_and_stray_tables_are_block_errors(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    for text in ("[[source]]\nname = ", "[sauce]\n", "[source]\nname = 'a'\n", "source = 1\n"):
        path.write_text(text)
        with pytest.raises(BlockError, match=r"sources\.toml"):
            read_blocks(path)
    path.write_bytes(b"\xff\xfe[[")
    with pytest.raises(BlockError, match=r"sources\.toml"):
        read_blocks(path)


def test_names_are_unique_and_built_in_ones_taken(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text((MINIMAL + TITLE) * 2)
    with pytest.raises(BlockError, match="two blocks"):
        read_blocks(path)
    path.write_text((MINIMAL + TITLE).replace("attic", "imdb"))
    with pytest.raises(BlockError, match="built-in source"):
        all_blocks(tmp_path)
    path.write_text(MINIMAL + TITLE)
    assert set(all_blocks(tmp_path)) == set(builtin_blocks()) | {"attic"}


def test_no_user_file_is_no_error(tmp_path: Path) -> None:
    assert all_blocks(tmp_path) == builtin_blocks()
