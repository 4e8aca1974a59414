"""The license of what is published: inferred only where that is no decision."""

from __future__ import annotations

import pytest

from openprm.errors import InputError
from openprm.runs.licenses import choose_license
from openprm.runs.provenance import Origin


def origins(*licenses: str | None) -> list[Origin]:
    return [Origin(name=f"data{index}", license=license) for index, license in enumerate(licenses)]


def test_sources_under_one_permissive_license_need_no_choice() -> None:
    assert choose_license(origins("MIT", "mit"), None) == "mit"
    assert choose_license(origins("cc-by-4.0"), "Apache-2.0") == "apache-2.0"


@pytest.mark.parametrize("licenses", [("mit", "CC-BY-NC-4.0"), ("my-own",), (None,), ("mit", "isc"), ()])
def test_other_sources_leave_the_choice_to_the_user(licenses: tuple[str | None, ...]) -> None:
    with pytest.raises(InputError, match="--license") as told:
        choose_license(origins(*licenses), None)
    for origin in origins(*licenses):
        assert f"{origin['name']} ({origin['license'] or 'unknown'})" in str(told.value)
    assert choose_license(origins(*licenses), "CC-BY-NC-4.0") == "cc-by-nc-4.0"
