"""Which license derived data may have: refused where terms rule it out, asked for where they leave a choice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.data.paper_datasets import PAIR_SOURCES, PROMPT_SOURCES
from openprm.errors import InputError
from openprm.runs.licenses import LICENSES, check_model_name, combined, notices


def origins(**licenses: str | None) -> list[dict[str, Any]]:
    return [{"name": name, "license": license} for name, license in licenses.items()]


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        ({"a": "MIT", "b": "mit"}, "mit"),
        ({"a": "CC-BY-NC-SA-4.0", "b": "MIT", "c": "Apache-2.0"}, "cc-by-nc-sa-4.0"),
        ({"a": "MIT", "b": "cc-by-sa-4.0"}, "cc-by-sa-4.0"),
        ({"a": "cc-by-sa-3.0", "b": "cc-by-sa-4.0"}, "cc-by-sa-4.0"),
        ({"a": "cc-by-nc-4.0", "b": "MIT"}, "cc-by-nc-4.0"),
        ({"a": "cc-by-nc-4.0", "b": "cc-by-nc-sa-4.0"}, "cc-by-nc-sa-4.0"),
        ({"a": "llama3.1", "b": "cc-by-nc-sa-4.0", "c": "mit"}, "cc-by-nc-sa-4.0"),
        ({"a": "my-own", "b": "my-own"}, "my-own"),
    ],
)
def test_one_license_follows(licenses: dict[str, str], expected: str) -> None:
    assert combined(origins(**licenses)) == expected


@pytest.mark.parametrize(
    ("licenses", "said"),
    [
        ({"a": "MIT", "b": "Apache-2.0"}, r"a \(mit\), b \(apache-2.0\), which leave the license open.*--license"),
        ({"a": "MIT", "b": "other"}, r"a \(mit\), b \(other\)"),
        ({"a": "MIT", "b": "llama3.1"}, r"b \(llama3.1\)"),
        ({"a": "cc-by-nc-4.0", "b": "other"}, r"b \(other\)"),
        ({"a": "MIT", "b": None}, "the license of b is not known.*--source-license b=LICENSE"),
        ({"a": "MIT", "b": ""}, "--source-license b=LICENSE"),
        ({"a": "cc-by-nd-4.0"}, r"a \(cc-by-nd-4.0\) allows nothing derived"),
        ({"a": "cc-by-sa-4.0", "b": "cc-by-nc-sa-4.0"}, "must be passed on under the same license"),
        ({"a": "gpl-3.0", "b": "cc-by-sa-4.0"}, "must be passed on under the same license"),
        ({"a": "cc-by-sa-4.0", "b": "cc-by-nc-4.0"}, r"b \(cc-by-nc-4.0\) forbids commercial use"),
        ({"a": "cc-by-nd-4.0-intl"}, "allows nothing derived"),
        ({"a": "cc-by-sa-4.0", "b": "other"}, r"b \(other\), which leave the license open"),
        ({}, "nothing says which license"),
    ],
)
def test_no_license_follows(licenses: dict[str, str | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        combined(origins(**licenses))


@pytest.mark.parametrize(
    ("licenses", "wanted"),
    [
        ({"a": "MIT", "b": "Apache-2.0"}, "cc-by-4.0"),
        ({"a": "MIT", "b": "other"}, "Apache-2.0"),
        ({"a": "MIT"}, "my-own"),
        ({"a": "cc-by-sa-3.0"}, "cc-by-sa-4.0"),
        ({"a": "cc-by-nc-4.0"}, "CC-BY-NC-SA-4.0"),
        ({"a": "llama3.1"}, "llama3.1"),
        ({}, "mit"),
    ],
)
def test_a_choice_that_nobody_forbids(licenses: dict[str, str], wanted: str) -> None:
    assert combined(origins(**licenses), wanted) == wanted.lower()


@pytest.mark.parametrize(
    ("licenses", "wanted", "said"),
    [
        ({"a": "MIT", "b": "CC-BY-NC-4.0"}, "mit", r"b \(cc-by-nc-4.0\) forbids commercial use, and mit does not"),
        ({"b": "CC-BY-NC-4.0"}, "my-own", "forbids commercial use, and my-own does not"),
        ({"b": "CC-BY-SA-4.0"}, "mit", r"b \(cc-by-sa-4.0\) must be passed on under the same license"),
        ({"b": "CC-BY-SA-4.0"}, "cc-by-sa-3.0", "under the same license"),
        ({"b": "CC-BY-SA-4.0"}, "cc-by-nc-sa-4.0", "under the same license"),
        ({"b": None}, "mit", "--source-license b="),
        ({"b": "MIT"}, "cc0-1.0", "asks that its authors are named, and cc0-1.0 does not"),
        ({"b": "cc-by-4.0"}, "pddl", "authors"),
        ({"b": "qwen-research"}, "mit", r"b \(qwen-research\) is a license that is not known here"),
        ({"b": "cc-by-nc-sa-4.0-intl"}, "mit", "choose cc-by-nc-sa-4.0-intl itself"),
        ({"b": "my-nc"}, "cc-by-nc-4.0", "not known here"),
    ],
)
def test_a_choice_that_somebody_forbids(licenses: dict[str, str | None], wanted: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        combined(origins(**licenses), wanted)


ids = st.lists(st.sampled_from([*LICENSES, "other"]), min_size=1, max_size=4)


@given(ids, st.none() | st.sampled_from(sorted(LICENSES)))
def test_what_is_allowed_forbids_what_the_origins_forbid(licenses: list[str], wanted: str | None) -> None:
    given = [{"name": f"o{index}", "license": license} for index, license in enumerate(licenses)]
    try:
        found = combined(given, wanted)
    except InputError:
        return
    assert combined(given[::-1], wanted) == found  # in any order
    facts = [LICENSES[license] for license in licenses if license in LICENSES]
    assert not [fact for fact in facts if fact.no_derivatives]
    if any(fact.attribution and not fact.agreement for fact in facts):
        assert found not in LICENSES or LICENSES[found].attribution
    if any(fact.non_commercial for fact in facts):
        assert LICENSES[found].non_commercial
    assert {fact.share_alike for fact in facts} - {None} <= {
        LICENSES[found].share_alike if found in LICENSES else None
    }


LLAMA = {"name": "Llama-3.1-8B", "license": "llama3.1", "kind": "model"}
MATH = {"name": "math", "license": "mit"}


def test_weights_stay_under_the_agreement_of_those_they_derive_from() -> None:
    assert combined([MATH, LLAMA], "mit") == "mit"  # data that it wrote
    assert combined([MATH, LLAMA], weights=[LLAMA]) == "llama3.1"
    assert combined([MATH, LLAMA], "Llama3.1", weights=[LLAMA]) == "llama3.1"
    with pytest.raises(InputError, match=r"stay under the Llama 3.1 Community License.*--license llama3.1"):
        combined([MATH, LLAMA], "apache-2.0", weights=[LLAMA])
    with pytest.raises(InputError, match=r"scienceqa .* must be passed on under the same license, and llama3.1"):
        combined([LLAMA, {"name": "scienceqa", "license": "cc-by-nc-sa-4.0"}], weights=[LLAMA])
    older = {**LLAMA, "name": "old", "license": "llama2"}
    with pytest.raises(InputError, match="several agreements"):
        combined([LLAMA, older], weights=[LLAMA, older])
    assert combined([MATH], "mit", weights=[MATH]) == "mit"


@pytest.mark.parametrize(
    ("license", "name", "allowed"),
    [
        ("llama3.1", "Llama-PRM", True),
        ("llama3.1", "llama_3.1-prm", True),
        ("llama3.1", "openprm", False),
        ("llama3.1", "llamas", False),
        ("llama3.1", "my-Llama", False),
        ("llama3", "Llama-3-PRM", True),
        ("llama3", "Llama3-PRM", True),
        ("llama3", "Llama-PRM", False),
        ("llama2", "openprm", True),
        ("mit", "openprm", True),
        ("other", "openprm", True),
    ],
)
def test_names_of_models(license: str, name: str, allowed: bool) -> None:
    origin = {"name": "base", "license": license, "kind": "model"}
    if allowed:
        check_model_name(name, [origin])
    else:
        with pytest.raises(InputError, match="asks that its name begin with"):
            check_model_name(name, [origin])


def test_the_papers_own_mix() -> None:
    given = [PROMPT_SOURCES[name].origin() for name in ("ultrafeedback", "scienceqa", "math")]
    assert combined(given) == "cc-by-nc-sa-4.0"
    with pytest.raises(InputError, match="scienceqa"):
        combined(given, "mit")
    assert "For non-commercial use only, because of scienceqa (cc-by-nc-sa-4.0)." in notices(given)


def test_declared_sources_have_known_licenses() -> None:
    for source in (*PROMPT_SOURCES.values(), *PAIR_SOURCES.values()):
        assert source.license.lower() in LICENSES, source.name


def test_notices() -> None:
    assert notices(origins(a="cc0-1.0")) == []
    assert notices(origins(a="MIT", b="mit")) == ["Name the authors of what this derives from: a (mit), b (mit)."]
    (llama, attribution) = notices([{"name": "Llama-3.1-8B", "license": "llama3.1", "kind": "model"}])
    assert llama.startswith("**Built with Llama**: Llama-3.1-8B (llama3.1) is under the Llama 3.1 Community License.")
    assert "must begin with “Llama”" in llama
    assert "Llama-3.1-8B" in attribution
    older = notices(origins(a="llama3"))[0]
    assert "Built with Meta Llama 3" in older
    assert "may not be used to improve models" in older
    assert "Built with" not in notices(origins(a="llama2"))[0]
    assert "a (other) has terms that are not described here" in notices(origins(a="other"))[0]
