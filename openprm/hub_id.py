"""Names of repositories on the Hub, with the revision and config that may follow them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"[\w-][\w.-]*"
_HUB_ID = re.compile(rf"({_NAME}(?:/{_NAME})?)(?:@([\w./-]+))?(?::([\w.-]+))?")


@dataclass(frozen=True)
class HubId:
    """A repository on the Hub, as `[OWNER/]NAME[@REVISION][:CONFIG]`.

    repository: `[OWNER/]NAME`. revision: a branch, tag or commit; None: the newest. config: of a dataset.
    """

    repository: str
    revision: str | None = None
    config: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubId | None:
        """The id written in `text`; None where `text` is not one.

        >>> HubId.parse("me/pairs@v1.0:process")
        HubId(repository='me/pairs', revision='v1.0', config='process')
        """
        match = _HUB_ID.fullmatch(text)
        return cls(*match.groups()) if match else None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{revision}" + (f":{self.config}" if self.config else "")
