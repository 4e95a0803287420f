"""Every error that crosses a border, named for what the caller can do.

FiliereError
├── PlantError          correct the plant file: the message gives file and line
├── ScenarioError       correct the scenario or mapping file: the message gives file and line
├── SettingsError       correct a setting or an environment variable
├── MessageRefused      quarantine this message, go on with the next
├── EventRefused        the event can never be true: tell who sent it
├── EventEarly          keep the event and try again when what it names has arrived
├── StoreUnavailable    wait and try again: nothing was lost
├── StoreRefused        the store understood and said no: hold, and say so
├── NotFound            no such lot, run, line, certificate
├── BalanceError        weigh again, or correct the masses of the run
├── PolicyRefused       the certificate may not be issued: every reason is listed
└── NotAuthentic        do not believe the certificate: the reason says why

`api/problems.py` adds three that only HTTP knows: BadRequest, Busy and NotNow.
"""


class FiliereError(Exception):
    """Root of the tree. The message says what was got, what was expected and what to do next."""


class PlantError(FiliereError):
    """The plant file is wrong."""


class ScenarioError(FiliereError):
    """A scenario, a fault or a mapping of recorded columns is wrong."""


class SettingsError(FiliereError):
    """A setting is wrong or missing."""


class MessageRefused(FiliereError):
    """A message cannot be recorded. `reason` is a short stable word for counting, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EventRefused(FiliereError):
    """An event contradicts the ledger or itself; the ledger is unchanged."""


class EventEarly(FiliereError):
    """An event names a lot or a run that has not arrived yet; it waits."""


class StoreUnavailable(FiliereError):
    """A store does not answer or asks to wait. Trying again is right, after `retry_after_s` if it said so."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreRefused(FiliereError):
    """A store answered and refused (credentials, bucket, malformed line). Trying again alone does not help."""


class NotFound(FiliereError):
    """What was asked for does not exist."""


class BalanceError(FiliereError):
    """The masses of a run cannot be added up."""


class PolicyRefused(FiliereError):
    """A certificate may not be issued."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class NotAuthentic(FiliereError):
    """A certificate does not hold what it claims."""
