"""`filiere` whose intake is connected as paho has it, one callback a message: what the bulk reader is compared with."""

from functools import partial

import collector.intake.intake
from collector.intake.connection import CallbackConnection
from filiere.cli import main

if __name__ == "__main__":
    collector.intake.intake.Intake = partial(collector.intake.intake.Intake, connect=CallbackConnection)  # type: ignore[assignment, misc]  # the same, connected otherwise
    main()
