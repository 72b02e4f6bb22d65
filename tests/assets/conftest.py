"""A small pack, what changed in it, and the warehouses made of both: built once, copied by whoever changes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pipelines.synth.churn import churn
from pipelines.synth.pack import write_pack
from tests.assets.commands import BUILD, PROJECT, Command, Finished, marquee

MOVIES = 120
CHANGED_SHARE = 0.08

# A catalogue that nobody foresaw: described by the user, read without any code.
FESTIVAL = """
[[source]]
name = "festival"
title = "Programme of an invented festival"
licence = "ours"
files = ["festival/programme.csv"]
format = "csv"
encoding = "cp1252"
delimiter = ";"
null_words = ["", "?"]
reliability = 0.6

[source.columns]
source_id = "No"
title = "Shown as"
year = "Year"
directors = { from = "Made by", separator = "/" }
"""
INVENTED = ("Lantern Street at Dawn", 1961, "Ada Quill")


@dataclass(frozen=True)
class Built:
    """A warehouse and the command that brought it to where it is."""

    root: Path
    done: Finished


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for everything below."""
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="session")
def home(place: Path) -> Path:
    """A dagster home outside the checkout, with the checkout's dagster.yaml."""
    folder = place / "home"
    folder.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", folder)
    return folder


def known_films(pack: Path) -> list[tuple[str, int, str]]:
    """Title, year and director of the films that most catalogues of a pack have."""
    counts = pl.read_parquet(pack / "truth" / "records.parquet").group_by("film").agg(n=pl.col("source").n_unique())
    films = pl.read_parquet(pack / "truth" / "films.parquet").filter(pl.col("directors").list.len() > 0)
    found = films.join(counts.filter(pl.col("n") >= 4), on="film").sort("n", "film", descending=True)
    return found.select("title", "year", pl.col("directors").list.first()).head(4).rows()


def write_festival(pack: Path, films: list[tuple[str, int, str]]) -> None:
    """Write the programme of the invented festival, numbered from 1, with its block."""
    (pack / "sources.toml").write_text(FESTIVAL, encoding="utf-8")
    (pack / "festival").mkdir(exist_ok=True)
    lines = [f"{number};{title};{year};{director}" for number, (title, year, director) in enumerate(films, start=1)]
    text = "\n".join(["No;Shown as;Year;Made by", *lines, ""])
    (pack / "festival" / "programme.csv").write_text(text, encoding="cp1252")


@pytest.fixture(scope="session")
def pack(place: Path) -> Path:
    """Catalogues of a hundred-odd films, and the programme of a festival: three films that others have, one that is its own.

    Nobody rates them or talks about them: what is made of that is tested over packs of its own.
    """
    folder = write_pack(place / "pack", movies=MOVIES, seed=4, dialogues=0).out
    (folder / "ml-latest-small" / "ratings.csv").unlink()
    first, second, third, _ = known_films(folder)
    write_festival(folder, [first, second, third, INVENTED])
    return folder


@pytest.fixture(scope="session")
def churned(place: Path, pack: Path) -> Path:
    """The same catalogues later: some records edited, removed and added.

    The festival found out that its third film is its own, and its fourth one that others have: a split and a merge.
    """
    folder = churn(pack, place / "churned", share=CHANGED_SHARE, seed=1).out
    first, second, _, fourth = known_films(pack)
    write_festival(folder, [first, second, ("Nine Small Boats", 1934, "Tom Brandt"), fourth])
    return folder


@pytest.fixture(scope="session")
def built(place: Path, home: Path, pack: Path) -> Built:
    """The warehouse of the pack, built by the program itself. Not to be written to."""
    root = place / "built"
    done = marquee(*BUILD, "--sources", pack, "--warehouse", root, home=home)
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture(scope="session")
def refreshed(place: Path, home: Path, built: Built, churned: Path) -> Built:
    """That warehouse, refreshed with what changed. Not to be written to."""
    root = place / "refreshed"
    shutil.copytree(built.root, root)
    done = Command("refresh", "--sources", churned, "--warehouse", root, home=home).wait()
    assert done.code == 0, done
    return Built(root, done)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Copies a folder to one that the test may change."""

    def copy(folder: Path, name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    return copy
