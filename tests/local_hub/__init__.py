"""A small Hub on this machine, for tests and to try publishing by hand: `python -m tests.local_hub` says what to
set.

It answers what the unmodified clients ask (huggingface_hub, datasets, transformers), and keeps everything in a folder:

    blobs/SHA256                                  the content of every file, once
    repos/KIND/OWNER/NAME/repo.json               visibility, branches and tags; replaced whole
    repos/KIND/OWNER/NAME/commits/ID.json         a commit: its parent, and all files of the repository by path

What the clients insist on: `X-Repo-Commit` and a quoted `ETag` on HEAD; large files behind a redirect to another
origin (here `localhost` for `127.0.0.1`), as a client follows one to the same origin and loses these headers; the url
in the 409 of a repository that exists; error codes in headers; the SHA-256 or git hash of a file that is there, so
that an unchanged file is not sent again.

Standard library, except for reading a card. Large files go the plain LFS way (HF_HUB_DISABLE_XET=1).
"""

from . import api as api  # they register the routes
from . import files as files
from .server import Fault as Fault
from .server import Hub as Hub
from .server import Request as Request
