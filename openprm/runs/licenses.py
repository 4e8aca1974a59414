"""The license of what is published: the permissive one that all its sources have, else the user's choice."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import InputError
from .provenance import Origin

#: By SPDX id in lower case, as the Hub writes it. Whatever is not here may ask for more than naming its authors.
PERMISSIVE = frozenset(
    "apache-2.0 mit bsd bsd-2-clause bsd-3-clause isc unlicense cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0"
    " odc-by pddl".split()
)
#: Ids that the Hub knows besides; any other is shown there as the name of another license.
HUB_LICENSES = PERMISSIVE | frozenset(
    "cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0"
    " cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 gpl-2.0 gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 odbl openrail gemma"
    " llama2 llama3 llama3.1 llama3.2 llama3.3 llama4".split()
)


def is_permissive(origin: Origin) -> bool:
    """Whether a source may be passed on under any license; not where its license is unknown."""
    return str(origin.get("license")).lower() in PERMISSIVE


def choose_license(origins: Iterable[Origin], wanted: str | None) -> str:
    """The license to publish under, in lower case: `wanted`, or the one permissive license that all sources have.

    Raises InputError where the user has to choose.
    """
    if wanted:
        return wanted.lower()
    origins = list(origins)
    found = {str(origin.get("license")).lower() for origin in origins}
    if len(found) == 1 and found <= PERMISSIVE:
        return found.pop()
    sources = ", ".join(f"{origin['name']} ({origin.get('license') or 'unknown'})" for origin in origins) or "nothing"
    raise InputError(
        f"this derives from {sources}, which leaves the license open; read the terms of these sources, and say under "
        "which license you publish: --license"
    )
