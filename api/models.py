"""What the API answers with. Units are in the names or the descriptions; every measured mass is a decimal text."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from filiere.events import ID_PATTERN
from filiere.plant import Label

LotId = Annotated[
    str,
    Path(
        description="Number of the batch: at most 64 letters, digits, dots, underscores or hyphens.",
        pattern=f"^{ID_PATTERN.pattern}$",
        max_length=64,
        examples=["T1-0042"],
    ),
]
Mass = Annotated[Decimal, Field(description="kg, decimal text", examples=["812.4"])]
Time = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-11-23T09:14:05.250Z"])]


class Model(BaseModel):
    """Base: immutable, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Model):
    """One text in French and in English."""

    fr: str = Field(examples=["Granulé recyclé de polypropylène"])
    en: str = Field(examples=["Recycled polypropylene granulate"])

    @classmethod
    def of(cls, label: Label) -> "Text":
        """A Label."""
        return cls(fr=label.fr, en=label.en)


class Alive(Model):
    """The process answers."""

    alive: bool = Field(examples=[True])


class Check(Model):
    """One dependency."""

    name: str = Field(
        description="readings_store, ledger, message_log, intake, recorder, receipts", examples=["ledger"]
    )
    ok: bool = Field(examples=[True])
    detail: str = Field(description="What it says, or what is wrong and what to do", examples=["12 lots"])


class Ready(Model):
    """All dependencies."""

    ready: bool = Field(description="True when every check is ok", examples=[True])
    checks: list[Check]


class BatchState(StrEnum):
    """Where a batch stands."""

    IN_PROGRESS = "in_progress"
    """Its run is under way; nothing was weighed yet."""
    IN_STOCK = "in_stock"
    """Some of it is left."""
    USED_UP = "used_up"
    """Runs took all of it."""


class CertificateState(StrEnum):
    """Whether a batch has a certificate."""

    ISSUED = "issued"
    REFUSED = "refused"
    """A policy refused it; the certificate's address gives the reasons."""
    NONE = "none"


class Batch(Model):
    """A lot: material traced as one thing."""

    id: str = Field(description="Number of the batch", examples=["T1-0042"])
    material: str = Field(description="Id of the material in the plant model", examples=["recycled_granulate"])
    name: Text = Field(description="Name of the material")
    role: Literal["received", "product", "residue"] = Field(
        description="received: came in from outside; product, residue: a run made it", examples=["product"]
    )
    state: BatchState = Field(description="in_progress, in_stock or used_up", examples=["in_stock"])
    line: str | None = Field(description="Line that made it; null when received", examples=["caux/textile/t1"])
    step: str | None = Field(description="Step that made it; null when received", examples=["extrusion"])
    run: str | None = Field(description="Run that made it; null when received", examples=["T1-R0042"])
    created: Time = Field(description="When it was received or weighed; for one in progress, when its run started")
    mass_kg: Decimal | None = Field(description="As weighed, wet, kg; null while in progress", examples=["812.4"])
    u_kg: Decimal | None = Field(description="Standard uncertainty of mass_kg (k = 1), kg", examples=["0.2"])
    moisture: Decimal | None = Field(description="Water mass fraction, wet basis, 0..1", examples=["0.0005"])
    u_moisture: Decimal | None = Field(description="Standard uncertainty of moisture (k = 1)", examples=["0.0001"])
    stock_kg: Decimal | None = Field(description="What is left of it, wet, kg", examples=["812.4"])
    supplier: str | None = Field(description="Who sent it; null when made here", examples=["Relais du Havre"])
    origin: dict[str, Decimal] | None = Field(
        description="Origin as the supplier declares it, mass fractions that sum to 1; null when made here",
        examples=[{"post_consumer": "0.9", "unevidenced": "0.1"}],
    )
    evidence: str | None = Field(
        description="Document that proves the origin; empty = unevidenced; null when made here", examples=["BSD-2291"]
    )
    certificate: CertificateState = Field(examples=["issued"])


class BatchPage(Model):
    """One page of batches, newest first."""

    items: list[Batch]
    limit: int = Field(description="The most that this page could hold", examples=[50])
    next_cursor: str | None = Field(
        description="Give it back as `cursor`, with the same filters, for the next page; null at the end",
        examples=["WzEsMTc2..."],
    )


class TracedRun(Model):
    """A run between lots."""

    id: str = Field(examples=["T1-R0042"])
    line: str = Field(examples=["caux/textile/t1"])
    step: str = Field(examples=["extrusion"])
    recipe: str = Field(examples=["pp-gris"])
    start: Time
    stop: str | None = Field(description="RFC 3339, UTC; null while it is open", examples=["2026-11-23T11:02:00.000Z"])


class TracedEdge(Model):
    """A quantity that passed between a lot and a run."""

    run: str = Field(examples=["T1-R0042"])
    batch: str = Field(examples=["T1-0041"])
    kind: Literal["input", "output"] = Field(description="input: the run took it; output: the run made it")
    mass_kg: Mass
    role: str = Field(description="product or residue", examples=["product"])


class BatchTrace(Model):
    """Everything behind (`back`) or ahead of (`forward`) a batch, itself included, each once."""

    batch: str = Field(examples=["T1-0042"])
    direction: Literal["back", "forward"]
    batches: list[Batch] = Field(description="In the order in which they came to be")
    runs: list[TracedRun] = Field(description="Each after the runs whose products it takes")
    edges: list[TracedEdge]


class SignalReadings(Model):
    """Readings of one signal, as columns of equal length."""

    key: str = Field(description="device.signal, unique within the line", examples=["extruder.melt_temp"])
    name: Text
    unit: str = Field(description="UCUM", examples=["Cel"])
    low: float | None = Field(description="Lower limit of the run's recipe, in the unit; null = none", examples=[210.0])
    high: float | None = Field(description="Upper limit, in the unit; null = none", examples=[245.0])
    count: int = Field(description="Readings in the window before downsampling", examples=[5400])
    downsampled: bool = Field(
        description="True: each bucket of time kept its lowest and its highest reading, so peaks are all there"
    )
    time_ms: list[int] = Field(description="ms since 1970-01-01 UTC", examples=[[1795425245250]])
    value: list[float] = Field(description="In the unit", examples=[[228.5]])
    quality: list[str] = Field(description="empty = good; out_of_range; clock_suspect; device_bad", examples=[[""]])


class BatchReadings(Model):
    """Readings of the run that made a batch."""

    batch: str = Field(examples=["T1-0042"])
    run: str = Field(examples=["T1-R0042"])
    line: str = Field(examples=["caux/textile/t1"])
    start: Time = Field(description="Start of the window, included")
    stop: Time = Field(description="End of the window, not included")
    points: int = Field(description="Most readings a signal in this answer", examples=[500])
    signals: list[SignalReadings]


class LatestReading(Model):
    """Last reading of a signal, judged by the limits in force."""

    key: str = Field(examples=["extruder.melt_temp"])
    name: Text
    unit: str = Field(description="UCUM", examples=["Cel"])
    critical: bool = Field(description="A lot is released only when its readings are 99 % complete")
    low: float | None = Field(description="Lower limit in force, in the unit", examples=[210.0])
    high: float | None = Field(description="Upper limit in force, in the unit", examples=[245.0])
    value: float | None = Field(description="In the unit; null = no reading yet", examples=[228.5])
    time: str | None = Field(description="Event time, RFC 3339 UTC", examples=["2026-11-23T09:14:05.250Z"])
    age_s: float | None = Field(description="How much older than the newest reading of the site, s", examples=[0.5])
    status: Literal["ok", "low", "high", "suspect", "stale", "idle", "none"] = Field(
        description="ok; low, high: beyond a limit; suspect: flagged by the recorder; stale: silent while others speak;"
        " idle: not of the run under way (its machine is not part of the step, or it is a sample of an earlier lot), so"
        " it is not judged; none: no reading",
        examples=["ok"],
    )


class OpenRun(Model):
    """The run that is under way on a line."""

    id: str = Field(examples=["T1-R0042"])
    batch: str = Field(description="The lot that it makes", examples=["T1-0042"])
    step: str = Field(examples=["extrusion"])
    step_name: Text
    recipe: str = Field(examples=["pp-gris"])
    recipe_name: Text
    start: Time


class LineState(Model):
    """One line now."""

    line: str = Field(description="Path of the line", examples=["caux/textile/t1"])
    name: Text
    workshop: Text
    state: Literal["running", "idle"] = Field(examples=["running"])
    run: OpenRun | None
    newest: str | None = Field(description="Event time of its newest reading, RFC 3339 UTC; null = none yet")
    age_s: float | None = Field(description="How much older than the newest reading of the site, s", examples=[0.5])
    signals: list[LatestReading]


class Lines(Model):
    """All lines of the plant model."""

    site: str = Field(examples=["caux"])
    newest: str | None = Field(description="Event time of the newest reading of the site, RFC 3339 UTC")
    lines: list[LineState]
