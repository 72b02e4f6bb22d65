"""What the stand-in says when it is asked for an answer of high or of low quality.

By rules, from the data of the request alone, and marked as such wherever it is stored: no language model wrote this.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

_OPENINGS = (
    "Going by what you said,",
    "Since you asked,",
    "For an evening like that,",
    "From what you told me,",
    "If I may suggest something,",
)
_ADVICE = (
    "I would start with {film}.",
    "{film} comes to mind first.",
    "{film} should suit you well.",
    "give {film} a try.",
)
_REASONS = {
    "Comedy": "It keeps things light and is easy to laugh with.",
    "Drama": "It takes its people seriously and stays with you.",
    "Horror": "It builds its dread slowly and holds it.",
    "Action": "It hardly stops to breathe.",
    "Romance": "Its two leads carry it from the first scene on.",
    "Thriller": "It keeps you guessing until late.",
    "Animation": "It is drawn with care, and not for children alone.",
    "Sci-Fi": "It thinks its one idea through to the end.",
}
_REASON = "It is close to what you described."
_SECOND = (
    "If you would rather have something else, {film} goes another way.",
    "{film} would be the other choice, and rather different.",
)
_CLOSINGS = (
    "Does that sound right?",
    "Shall I look for more in that direction?",
    "Or are you in the mood for something else?",
)
_LOW = (
    "There are a lot of movies out there, you know. Some of them are good and some of them are not so good.",
    "I am not really sure. You could just watch whatever is on tonight and see how it goes.",
    "I had a nice lunch today, and the weather is fine. Movies are okay, too.",
    "Like I said before, it depends. It always depends on a lot of things.",
    "You should probably watch something popular, most people seem to do that and they are fine with it.",
    "Maybe look at a list on the internet, there are many lists with many movies on them.",
    "I do not know much about that kind of thing, so any movie will do, I guess.",
)
_LOW_FILM = "{film} is a movie. It was made in some year and there are people in it, so you could watch that."


def answer_high(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """A helpful answer: a film of the data, a reason, and an invitation to go on."""
    films, draw = _films(data), _draw(data, temperature)
    if not films:
        return {
            "response": "What kind of film are you in the mood for? Tell me one that you liked, and I will find something close to it."
        }
    first = films[draw % len(films)]
    reason = next((_REASONS[genre] for genre in first["genres"] if genre in _REASONS), _REASON)
    sentences = [
        f"{_OPENINGS[draw // 7 % len(_OPENINGS)]} {_ADVICE[draw // 11 % len(_ADVICE)].format(film=first['name'])}",
        reason,
    ]
    if len(films) > 1:
        second = films[(draw + 1) % len(films)]
        sentences.append(_SECOND[draw // 13 % len(_SECOND)].format(film=second["name"]))
    sentences.append(_CLOSINGS[draw // 17 % len(_CLOSINGS)])
    return {"response": " ".join(sentences)}


def answer_low(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """An answer that is vague or off the point, mostly without a film."""
    films, draw = _films(data), _draw(data, temperature)
    if films and draw % 5 == 0:
        return {"response": _LOW_FILM.format(film=films[0]["name"])}
    return {"response": _LOW[draw // 5 % len(_LOW)]}


def _films(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Films of the data that have a title: name (with the year where there is one) and genres."""
    listed = data.get("films")
    found = []
    for film in listed if isinstance(listed, list) else []:
        if isinstance(film, dict) and isinstance(film.get("title"), str) and film["title"].strip():
            year, genres = film.get("year"), film.get("genres")
            found.append(
                {
                    "name": f"{film['title']} ({year})" if isinstance(year, int) else film["title"],
                    "genres": [each for each in genres if isinstance(each, str)] if isinstance(genres, list) else [],
                }
            )
    return found


def _draw(data: Mapping[str, Any], temperature: float) -> int:
    """A number that is the same for the same data and temperature."""
    text = json.dumps([data, temperature], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {
    "response_high": answer_high,
    "response_low": answer_low,
}
