"""The errors that this project raises. Each message says in a sentence or two what came, what was expected, where."""

from typing import Any


class VJEPA2ACError(Exception):
    """Base of every error this project raises on purpose; its text is meant for the person who caused it."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle without `__init__`, whose arguments need not be `args`: errors then come whole from a worker."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


class InputError(VJEPA2ACError, ValueError):
    """A value, array or file that was handed in cannot be used."""


class FieldError(InputError):
    """One field of a request cannot be used; says which, what came, and what was expected."""

    def __init__(self, field: str, came: str, expected: str) -> None:
        super().__init__(f"{field}: {came}; expected {expected}")
        self.field = field


class ConfigError(InputError):
    """A configuration holds an unknown key or a value that makes no sense."""


class CheckpointError(InputError):
    """A weights file is damaged, of another kind, or does not fit the model."""


class VideoError(InputError):
    """A video file is missing, damaged, or shorter than what was asked of it."""


class EpisodeError(InputError):
    """A recorded episode is incomplete or contradicts itself; `episode` names it, `reason` says how."""

    def __init__(self, episode: str, reason: str) -> None:
        super().__init__(episode, reason)
        self.episode, self.reason = episode, reason

    def __str__(self) -> str:
        return f"episode {self.episode}: {self.reason}"


class TooManyBadEpisodesError(InputError):
    """More episodes were unusable than the stated limit allows."""


class DownloadError(VJEPA2ACError):
    """A released file could not be fetched, or what came is not what was expected."""


class NotEnoughMemoryError(VJEPA2ACError):
    """The work does not fit in memory even in its smallest pieces."""


class NotEnoughDiskError(VJEPA2ACError):
    """What was to be written does not fit on the disk."""


class TrainingError(VJEPA2ACError):
    """Training cannot go on: a loss or a weight is no finite number, or a process has ended."""


class PlanningError(VJEPA2ACError):
    """No plan can be given that would be safe to follow."""


class DeadlineError(PlanningError):
    """The deadline came before a single iteration of the search was finished."""


class StaleObservationError(PlanningError):
    """The observation is too old to act on, or from the future."""


class CancelledError(PlanningError):
    """The caller no longer wants the plan."""
