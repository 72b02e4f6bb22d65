"""What is expected of the tables of warehouse/tables/annotation.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Suite

SUITES: tuple[Suite, ...] = ()
