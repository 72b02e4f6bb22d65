"""Write, audit, publish as every asset does it: what was built is checked, and published when every blocking check holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets import auditing
from assets.build.tables import Built
from assets.progress import Teller
from assets.specs import materialized
from warehouse.contracts import Table
from warehouse.store import Warehouse

# Whatever writes to the warehouse shares one slot: writers take turns, readers never wait.
POOL = "warehouse"

Contracts = Mapping[str, Table]


class BuildConfig(dg.Config):
    """How much to do: with `full`, files are read and everything is computed again even where nothing changed."""

    full: bool = False


def publish(
    warehouse: Warehouse,
    contracts: Contracts,
    built: Built,
    teller: Teller,
    extra: Mapping[str, Any] | None = None,
    views: Sequence[Table] = (),
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Audit the new versions; publish and report them, and the `views` over them, when every blocking check holds."""
    commits = {commit.table: commit for commit in built.commits}
    outcomes = auditing.audit(warehouse, commits, teller)
    yield from (auditing.check_result(outcome) for outcome in outcomes)
    if any(auditing.is_blocking(outcome) for outcome in outcomes):
        teller(f"not published: {', '.join(commits)} keep their last good versions")
        return
    warehouse.publish({name: commit.version for name, commit in commits.items()}, contracts)
    for name, commit in commits.items():
        yield materialized(
            warehouse,
            contracts[name],
            commit,
            teller.seconds,
            {**built.counts, **(extra or {}).get(name, {})},
        )
    for view in views:
        yield dg.MaterializeResult(asset_key=view.name, metadata=(extra or {}).get(view.name, {}))
