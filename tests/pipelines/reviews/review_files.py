"""Records of review releases as upstream writes them, invented, and files made of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any


def amazon_review(**other: Any) -> dict[str, Any]:
    return {
        "rating": 5.0, "title": "A keeper", "text": "Warm and clever.", "images": [], "asin": "B000000002", "parent_asin": "B000000001",
        "user_id": "AUSER1", "timestamp": 1_588_687_728_923, "helpful_vote": 0, "verified_purchase": True, **other,
    }  # fmt: skip


def amazon_item(**other: Any) -> dict[str, Any]:
    return {
        "main_category": "Books", "title": "Salt Road: A Novel", "average_rating": 4.5, "rating_number": 12, "features": [],
        "description": ["A smuggler crosses", "a frozen sea."], "price": None, "images": [], "videos": [], "store": "Mara Lind (Author)",
        "categories": ["Books", "Fantasy"], "details": {}, "parent_asin": "B000000001", "bought_together": None,
        "author": {"avatar": None, "name": "Mara Lind", "about": []}, **other,
    }  # fmt: skip


def yelp_review(**other: Any) -> dict[str, Any]:
    return {
        "review_id": "r-1", "user_id": "u-1", "business_id": "b-1", "stars": 4.0, "useful": 0, "funny": 0, "cool": 0, "text": "Quick and kind.",
        "date": "2014-02-05 20:30:30", **other,
    }  # fmt: skip


def yelp_business(**other: Any) -> dict[str, Any]:
    return {
        "business_id": "b-1", "name": "Ellery Roasters", "address": "1 Gate Street", "city": "Port Ellery", "state": "PA", "postal_code": "10001",
        "latitude": 1.0, "longitude": 1.0, "stars": 4.5, "review_count": 9, "is_open": 1, "attributes": None, "categories": "Coffee & Tea, Food", "hours": None,
        **other,
    }  # fmt: skip


def ecpo_review(**other: Any) -> dict[str, Any]:
    return {
        "Rating": 4.0, "Title": "Good fun", "Content": "Read it<br />in a day.", "ParentASIN": "B000000001", "Timestamp": 1_602_813_575_301,
        "ItemName": "Salt Road", "AuthorName": "", "AverageRating": 4.7, "RatingCount": 2925, "Price": None, "Categories": ["Books", "Fantasy"],
        "Description": "A summary.", **other,
    }  # fmt: skip


def ecpo_task(**other: Any) -> dict[str, Any]:
    persona = {
        "Activities": "Looks for new things.",
        "Linguistics": {"Information Density": "Brief.", "Expression Style": "Plain.", "Tone": "Warm."},
    }
    item = {"ItemID": "B000000001", "ItemName": "Salt Road", "Price": 0.0, "Categories": ["Books"], "Description": "A summary."}  # fmt: skip
    return {"UserID": "AUSER1", "Persona": persona, "Items": [item], **other}


def lines(*records: Any) -> bytes:
    """JSON lines; texts and bytes stand as they are."""
    rows = [
        each if isinstance(each, bytes) else each.encode() if isinstance(each, str) else json.dumps(each).encode()
        for each in records
    ]
    return b"\n".join(rows) + b"\n"


def put(path: Path, content: bytes) -> Path:
    """Write a file, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path
