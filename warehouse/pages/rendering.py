"""HTML pages in one shape: whole in one file, without a server, scripts or anything from elsewhere.

Belongs here: how a template becomes a page. Does not belong here: what a page shows (`warehouse/quality/`, `pipelines/reporting/`), looks (`page.css`).
"""

from __future__ import annotations

from typing import Any

import jinja2

_SHARED = "warehouse.pages"


def rendered(package: str, template: str, **values: Any) -> str:
    """The page that `template` of `package` gives for `values`; it may extend and import the templates of `warehouse.pages`.

    Values are text and never markup, unless the template says `safe`. Raises jinja2.UndefinedError where the template names a value that is not there.
    """
    packages = [package] if package == _SHARED else [package, _SHARED]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, "") for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
