"""A small pack, what changed in it, and the warehouses made of both: built once, whichever worker comes first, copied by whoever changes them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
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


def _once(folder: Path, make: Callable[[Path], Finished | None]) -> Built:
    """What `make` leaves in `folder`, made by the first worker that asks for it; the others wait until it is there."""
    told = folder.with_name(f"{folder.name}.json")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            shutil.rmtree(folder, ignore_errors=True)
            done = make(folder) or Finished(0, "", "")
            assert done.code == 0, done
            told.write_text(json.dumps(asdict(done)), encoding="utf-8")
    return Built(folder, Finished(**json.loads(told.read_text(encoding="utf-8"))))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for everything below."""
    return tmp_path_factory.mktemp("corpus")


def dagster_home(folder: Path) -> Path:
    """Make `folder` a dagster home outside the checkout, with the checkout's dagster.yaml."""
    folder.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "dagster.yaml", folder)
    return folder


@pytest.fixture(scope="session")
def home(place: Path) -> Path:
    """A dagster home."""
    return dagster_home(place / "home")


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
def pack(shared: Path) -> Path:
    """Catalogues of a hundred-odd films, and the programme of a festival: three films that others have, one that is its own.

    Nobody rates them or talks about them: what is made of that is tested over packs of its own.
    """

    def make(folder: Path) -> None:
        write_pack(folder, movies=MOVIES, seed=4, dialogues=0)
        (folder / "ml-latest-small" / "ratings.csv").unlink()
        first, second, third, _ = known_films(folder)
        write_festival(folder, [first, second, third, INVENTED])

    return _once(shared / "pack", make).root


@pytest.fixture(scope="session")
def churned(shared: Path, pack: Path) -> Path:
    """The same catalogues later: some records edited, removed and added.

    The festival found out that its third film is its own, and its fourth one that others have: a split and a merge.
    """

    def make(folder: Path) -> None:
        churn(pack, folder, share=CHANGED_SHARE, seed=1)
        first, second, _, fourth = known_films(pack)
        write_festival(folder, [first, second, ("Nine Small Boats", 1934, "Tom Brandt"), fourth])

    return _once(shared / "churned", make).root


@pytest.fixture(scope="session")
def builders_home(shared: Path) -> Path:
    """The dagster home of the commands below, and of no other."""
    return dagster_home(shared / "home")


@pytest.fixture(scope="session")
def built(shared: Path, builders_home: Path, pack: Path) -> Built:
    """The warehouse of the pack, built by the program itself. Not to be written to."""
    return _once(
        shared / "built",
        lambda root: marquee(*BUILD, "--sources", pack, "--warehouse", root, home=builders_home),
    )


@pytest.fixture(scope="session")
def refreshed(shared: Path, builders_home: Path, built: Built, churned: Path) -> Built:
    """That warehouse, refreshed with what changed. Not to be written to."""

    def make(root: Path) -> Finished:
        shutil.copytree(built.root, root)
        return Command("refresh", "--sources", churned, "--warehouse", root, home=builders_home).wait()

    return _once(shared / "refreshed", make)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Copies a folder to one that the test may change."""

    def copy(folder: Path, name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    return copy
