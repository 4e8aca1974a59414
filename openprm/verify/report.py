"""What came of the checks of a repository, in words and as an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was checked, whether it is as it should be, and what was found.

    `ok` is None where that was not checked: what it takes is `missing` here, or it never can be.
    """

    what: str
    ok: bool | None
    detail: str
    missing: bool = False

    def __str__(self) -> str:
        state = "missing" if self.missing else {True: "ok", False: "WRONG", None: "not checked"}[self.ok]
        return f"{state:<11}  {self.what}: {self.detail}"


@dataclass(frozen=True)
class Report:
    """What was found in one repository."""

    repository: str
    kind: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what could be checked."""
        return all(finding.ok is not False for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 verified; 1 something is wrong; 2 nothing is, but something that can be checked was not: it takes what is
        missing. What never can be checked (a sampling, a judge's rewards, a training) leaves 0.
        """
        return 1 if not self.ok else 2 if any(finding.missing for finding in self.findings) else 0


def lines(report: Report) -> Iterator[str]:
    """A report in words."""
    yield f"{report.repository} ({report.kind})"
    yield from (f"  {finding}" for finding in report.findings)
    wrong = sum(finding.ok is False for finding in report.findings)
    missing = sum(finding.missing for finding in report.findings)
    never = sum(finding.ok is None for finding in report.findings) - missing
    of = f"of {len(report.findings)} checks"
    if wrong:
        said = f"NOT verified: {wrong} {of} found something wrong"
    elif missing:
        said = f"nothing is wrong, but NOT all was checked: for {missing} {of} something is missing"
    else:
        said = "verified" + (f", but for {never} {of} that nobody can make" if never else "")
    yield f"{said} (exit code {report.exit_code})"
