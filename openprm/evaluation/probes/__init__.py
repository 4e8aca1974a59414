"""What is measured beside a benchmark's own arithmetic: biases, attacks, calibration.

A probe may have its models reward changed items: a view. Each is a module with one `Probe`, entered in `PROBES`.
"""

from __future__ import annotations

from .abstention import Abstention
from .attacks import Attacks
from .base import Probe as Probe
from .base import Views as Views
from .calibration import Calibration
from .distribution import Distribution
from .last_step import LastStep
from .length import Length
from .mathematics import Mathematics
from .prefixes import Prefixes

#: The probes by name.
PROBES: dict[str, Probe] = {
    "abstention": Abstention(),
    "attacks": Attacks(),
    "calibration": Calibration(),
    "distribution": Distribution(),
    "last-step": LastStep(),
    "length": Length(),
    "mathematics": Mathematics(),
    "prefixes": Prefixes(),
}
