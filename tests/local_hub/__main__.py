"""`python -m tests.local_hub`: a Hub to try things out with."""

import argparse
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from . import Hub


def main() -> None:
    """Serve a Hub until Ctrl-C, and say how to talk to it."""
    parser = argparse.ArgumentParser(prog="python -m tests.local_hub", description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/hub"), help="where it keeps everything [runs/hub]")
    parser.add_argument("--port", type=int, default=8899, help="[8899]; 0: any")
    arguments = parser.parse_args()
    with Hub(arguments.root, arguments.port) as hub:
        print("A Hub for trying things out. In another terminal:\n")
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={hub.token} HF_HUB_DISABLE_XET=1")
        print(f"export HF_HOME={quote(str(hub.store.root / 'home'))} NO_PROXY=127.0.0.1,localhost\n", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
