"""The `openprm` command. Each command calls one function; heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys

from ..runs.console import prepare_streams, say
from . import hub, runs, search, show, stage_commands  # noqa: F401 (they add their commands)
from .app import app

_INTERRUPTED = 130  # how typer ends on Ctrl-C


def main() -> None:
    """The entry point: errors a user can mend are said in one line, without a traceback."""
    from ..errors import Failure, InputError, is_disk_full

    prepare_streams()
    if not sys.stderr.isatty():  # bars that cannot move are noise in a log; read once, at the first import
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            say(f"openprm: interrupted; {_kept(end)}, and the same command resumes", err=True)
        raise
    except (OSError, ValueError, Failure) as error:
        if not isinstance(error, OSError | InputError | Failure) and type(error) is not ValueError:
            raise  # a subclass of a library's is not about what the user gave
        kept = "; what is finished is kept: free some space, and run the same command again"
        say(f"openprm: {error}{kept if is_disk_full(error) else ''}", err=True)
        sys.exit(1)


def _kept(end: BaseException | None) -> str:
    """What a stage says is kept where it is interrupted."""
    while end and not isinstance(end, KeyboardInterrupt):
        end = end.__cause__ or end.__context__
    return str(end or "") or "what is finished is kept"
