"""The names of what preflight finds, as ``checks.warn`` takes them beside those of rules.

Rules are pure and named by their functions; preflight looks at this machine, and its findings say
which check they are of (``Problem.rule``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MachineCheck:
    """A check of this machine.

    Attributes:
        name: says what holds on a machine that can run the plan.
        required: why ``checks.warn`` may not name it, a clause; empty: it may.
    """

    name: str
    required: str = ""


FILES = MachineCheck("files_exist")
PACKAGES = MachineCheck("packages_are_installed")
GPUS_VISIBLE = MachineCheck("gpus_are_visible")
GPUS_THERE = MachineCheck("gpus_exist")
DISK = MachineCheck("disk_has_room")
WANDB_KEY = MachineCheck("wandb_has_a_key")

_NOTHING_STARTS = "without it nothing can be started"

MACHINE_CHECKS = (
    FILES,
    PACKAGES,
    GPUS_VISIBLE,
    GPUS_THERE,
    DISK,
    WANDB_KEY,
    MachineCheck("runtime_exists", _NOTHING_STARTS),
    MachineCheck("commands_exist", _NOTHING_STARTS),
    MachineCheck("ports_are_free", "the learner would talk to another server"),
    MachineCheck("run_directory_is_empty", "it may hold another run"),
    MachineCheck("checkpoint_exists", "there would be nothing to resume from"),
    MachineCheck("rehearsal", "rehearse=false turns it off"),
)
"""Every check of preflight; those that cannot be warnings are named only to say so."""
