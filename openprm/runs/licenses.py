"""Which license data may be published under, given those of what it derives from. No legal advice: it refuses what the
terms rule out, and asks where they leave a choice.

An origin is a mapping with `name`, `license` (an SPDX identifier, in any case, or an id that the Hub knows) and, for a
model, `kind: model`. Licenses are compared in lower case, as the Hub writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError

Origin = Mapping[str, Any]


@dataclass(frozen=True)
class License:
    """What a license asks of those who pass on something derived.

    attribution: that its authors are named.
    non_commercial: that nobody uses it commercially.
    share_alike: the family of licenses (the same or a later version) that it must be passed on under.
    no_derivatives: that nothing derived is passed on at all.
    agreement: its name, where it is one that weights derived from a model stay under; it claims nothing of what the
      model says, but may ask for words to be shown (`built_with`) and for a beginning of the names of models that are
      trained on it (`name_begins`), and say that it may train no models of other kinds (`only_own_kind`).
    """

    id: str
    attribution: bool = True
    non_commercial: bool = False
    share_alike: str | None = None
    no_derivatives: bool = False
    agreement: str | None = None
    built_with: str | None = None
    name_begins: str | None = None
    only_own_kind: bool = False


def _creative_commons() -> Iterable[License]:
    """Those that the Hub has ids for."""
    for kind, versions in (
        ("by", "2.0 2.5 3.0 4.0"),
        ("by-sa", "3.0 4.0"),
        ("by-nc", "2.0 3.0 4.0"),
        ("by-nc-sa", "2.0 3.0 4.0"),
        ("by-nd", "4.0"),
        ("by-nc-nd", "3.0 4.0"),
    ):
        for version in versions.split():
            yield License(
                f"cc-{kind}-{version}",
                non_commercial="nc" in kind,
                share_alike=f"cc-{kind}" if "sa" in kind else None,
                no_derivatives="nd" in kind,
            )


def _llama() -> Iterable[License]:
    """Section 1.b of each agreement."""
    yield License("llama2", agreement="Llama 2 Community License", only_own_kind=True)
    yield License(
        "llama3",
        agreement="Meta Llama 3 Community License",
        built_with="Built with Meta Llama 3",
        name_begins="Llama 3",
        only_own_kind=True,
    )
    for version in ("3.1", "3.2", "3.3", "4"):
        name = f"Llama {version} Community License"
        yield License(f"llama{version}", agreement=name, built_with="Built with Llama", name_begins="Llama")


#: By the Hub's id.
LICENSES: dict[str, License] = {
    license.id: license
    for license in (
        *(License(name) for name in ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "odc-by")),
        *(License(name, attribution=False) for name in ("cc0-1.0", "unlicense", "pddl")),
        License("cdla-permissive-2.0", attribution=False),
        *(License(name, share_alike=name) for name in ("gpl-2.0", "gpl-3.0", "agpl-3.0", "odbl", "cdla-sharing-1.0")),
        *_creative_commons(),
        *_llama(),
    )
}


#: Parts of the name of a license that is not in `LICENSES` which say that it forbids something.
_FORBIDDING = {"nc", "nd", "sa", "noncommercial", "research"}


def combined(origins: Sequence[Origin], wanted: str | None = None, *, weights: Iterable[Origin] = ()) -> str:
    """The license, in lower case, under which what derives from the origins may be published.

    Where all have the same it is that one; where one is restricted (non-commercial, share-alike) among permissive
    ones, that one. Else it is the one `wanted`, which must not allow what an origin forbids. A license that is not in
    `LICENSES` is not guessed at: it can only be kept by all alike, or passed over by a `wanted` one; not even that
    where its name says that it forbids something.

    `weights` are the origins whose weights what is published derives from, where it is a model: under an agreement of
    theirs it stays.

    Raises InputError where an origin has no license, forbids what is wanted, or several leave no license, and where
    one must be wanted.
    """
    for origin in origins:
        if not origin.get("license"):
            raise InputError(
                f"the license of {origin['name']} is not known, and what derives from it would be published; "
                f"look it up, and say it: --source-license {origin['name']}=LICENSE"
            )
        facts = _facts(origin)
        if facts.no_derivatives if facts else "nd" in _words(_id(origin)):
            raise InputError(
                f"{_named(origin)} allows nothing derived to be passed on; publish without what comes from it"
            )
    by_id = {_id(origin): origin for origin in origins}
    bound = {_id(origin): origin for origin in weights if (facts := _facts(origin)) and facts.agreement}
    if bound:
        return _checked(_kept(bound, wanted), by_id)
    if wanted:
        return _checked(wanted.lower(), by_id)
    if not by_id:
        raise InputError("nothing says which license this is under; choose one: --license")
    if len(by_id) == 1:
        return next(iter(by_id))
    known = [LICENSES[name] for name in by_id if name in LICENSES]
    shared = [license for license in known if license.share_alike]
    if shared and len(known) == len(by_id):
        return _checked(max(license.id for license in shared), by_id)
    if len(known) == len(by_id) and not any(license.agreement for license in known):
        restricted = [license.id for license in known if license.non_commercial]
        if len(restricted) == 1:
            return restricted[0]
    listed = ", ".join(_named(origin) for origin in by_id.values())
    raise InputError(f"this derives from {listed}, which leave the license open; choose one: --license")


def _kept(bound: Mapping[str, Origin], wanted: str | None) -> str:
    """The agreement that weights stay under."""
    if len(bound) > 1:
        listed = ", ".join(_named(origin) for origin in bound.values())
        raise InputError(
            f"these weights would have to stay under several agreements: {listed}; they cannot be published"
        )
    name, origin = next(iter(bound.items()))
    if wanted and wanted.lower() != name:
        raise InputError(
            f"weights that derive from {_named(origin)} stay under the {LICENSES[name].agreement}, and {wanted} is "
            f"another license; publish them under it: --license {name}"
        )
    return name


def check_model_name(name: str, origins: Iterable[Origin]) -> None:
    """Raises InputError where a license asks for a beginning that the name of a model (without its owner) lacks."""
    for origin in origins:
        facts = _facts(origin)
        begins = _words(facts.name_begins or "") if facts else []
        if facts and _words(name)[: len(begins)] != begins:
            raise InputError(
                f"a model called {name!r} derives from {_named(origin)}, whose license asks that its name begin with "
                f"“{facts.name_begins}”; rename it"
            )


def _checked(license: str, by_id: Mapping[str, Origin]) -> str:
    """`license`, where no origin forbids it."""
    facts = LICENSES.get(license, License(license))
    for name, origin in by_id.items():
        theirs = LICENSES.get(name)
        if name == license:
            continue
        if theirs is None:
            if _FORBIDDING & {*_words(name)}:
                raise InputError(
                    f"{_named(origin)} is a license that is not known here, and its name says it forbids something; "
                    f"choose {name} itself, or leave out what comes from it"
                )
            continue
        if theirs.attribution and not theirs.agreement and not facts.attribution:
            raise InputError(
                f"{_named(origin)} asks that its authors are named, and {license} does not; choose a license that does"
            )
        # within a family a later version will do: only the version at the end differs
        if theirs.share_alike and (facts.share_alike != theirs.share_alike or license < name):
            raise InputError(
                f"{_named(origin)} must be passed on under the same license, and {license} is another; "
                "leave out what comes from it, or publish it in a repository of its own"
            )
        if theirs.non_commercial and not facts.non_commercial:
            raise InputError(
                f"{_named(origin)} forbids commercial use, and {license} does not; "
                f"choose a license that does, such as {name}, or leave out what comes from it"
            )
    return license


def notices(origins: Sequence[Origin]) -> list[str]:
    """What a card must say because of the origins' licenses, one sentence or two each, in the origins' order."""
    found = []
    for origin in origins:
        facts = _facts(origin)
        if facts is None:
            found.append(
                f"{_named(origin)} has terms that are not described here: read them before you use what derives from "
                "it."
            )
            continue
        if facts.non_commercial:
            found.append(f"For non-commercial use only, because of {_named(origin)}.")
        if facts.share_alike:
            found.append(
                f"What you derive from this must be passed on under the same license, because of {_named(origin)}."
            )
        if facts.agreement:
            found.append(_model_terms(origin, facts))
    if attributed := [_named(origin) for origin in origins if (facts := _facts(origin)) and facts.attribution]:
        found.append(f"Name the authors of what this derives from: {', '.join(dict.fromkeys(attributed))}.")
    return list(dict.fromkeys(found))


def _model_terms(origin: Origin, facts: License) -> str:
    shown = f"**{facts.built_with}**: " if facts.built_with else ""
    words = f"{shown}{_named(origin)} is under the {facts.agreement}."
    if facts.name_begins:
        words += f" The name of a model that is trained on this must begin with “{facts.name_begins}”."
    if facts.only_own_kind:
        words += " Its outputs may not be used to improve models that do not derive from it."
    return f"{words} Weights that derive from it stay under that agreement, and a copy of it must go with them."


def _words(name: str) -> list[str]:
    """`cc-by-nc-4.0` is cc, by, nc, 4, 0."""
    return re.findall(r"[a-z]+|\d+", name.lower())


def _id(origin: Origin) -> str:
    return str(origin["license"]).lower()


def _facts(origin: Origin) -> License | None:
    return LICENSES.get(_id(origin))


def _named(origin: Origin) -> str:
    return f"{origin['name']} ({_id(origin)})"
