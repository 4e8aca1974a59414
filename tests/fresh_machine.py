"""Another user's machine: a folder and caches of its own, and a Hub that holds a finished run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.local_hub import Hub

TAG = "v1.0"


class FreshMachine:
    """Runs programs in `folder`, with empty caches and without a token; they must end well."""

    def __init__(self, hub: Hub, folder: Path, home: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.environment = hub.environment(home, token=None) | {"OMP_NUM_THREADS": "1"}

    def python(self, program: str, *, package: bool = True) -> str:
        """What a program prints. package: whether `openprm` can be imported."""
        hidden = "" if package else "import sys; sys.modules['openprm'] = None\n"
        (self.folder / "program.py").write_text(hidden + program, "utf-8")
        command = [sys.executable, "program.py"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{program[-500:]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@contextmanager
def hub_of(run: Path, folder: Path) -> Iterator[Hub]:
    """A Hub with a run published by the command line, under `TAG`."""
    with Hub(folder / "hub") as hub:
        command = [sys.executable, "-m", "openprm", "publish", str(run), "--owner", "openprm", "--revision", TAG]
        environment = hub.environment(folder / "home")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        yield hub
