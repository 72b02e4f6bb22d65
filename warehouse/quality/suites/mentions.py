"""What is expected of the tables of warehouse/tables/mentions.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Suite

SUITES: tuple[Suite, ...] = ()
