"""The statement: everything that a certificate says of a lot, one JSON object whose every measured number is a text.

It discloses what was weighed and received (the facts), and what follows from it (claim, balances, verdict). `compose`
writes one; `facts` turns one back into the chain, from which the rest is computed again: so a certificate is checked.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
import rfc8785

from filiere.errors import NotAuthentic
from filiere.plant import Label

FORMAT: Final = "filiere-statement/1"
RUNS_MAX = 300
"""Runs behind one lot. Exact fractions grow with the depth of the chain: one of 300 runs, each feeding the next, is
checked in seconds, one of 2,000 would busy a verifier for an hour, and a stranger may send it."""
TEXT_MAX = 2_000

Number = Annotated[str, msgspec.Meta(pattern=r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,18})?\Z")]
"""A decimal in plain notation."""
Measured = Annotated[str, msgspec.Meta(pattern=r"^-?(0|[1-9][0-9]{0,299})(\.[0-9]{1,12})?\Z")]
"""A statistic: 6 significant digits, at most 12 places."""
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Time = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z\Z")]


Origin = Literal["post_consumer", "pre_consumer", "virgin", "bio_based", "unevidenced"]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object of the statement: nothing may be missing, nothing added."""


class Name(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text in both languages."""

    fr: Text
    en: Text


class Issuer(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who says so."""

    name: Text
    site: Text
    key_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class PlantModel(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model that the lot was judged by: SHA-256 of the plant file."""

    site: Text
    digest: Hash


class StatedLot(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lot that is certified."""

    id: Id
    material: Text
    name: Name
    mass_kg: Number
    u_kg: Number
    moisture: Number
    line: Text
    line_name: Name


class StatedClaim(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where its dry mass comes from. Fractions 0..1; the five origins sum to exactly 1."""

    recycled_content: Number
    u95: Number
    post_consumer: Number
    pre_consumer: Number
    virgin: Number
    bio_based: Number
    unevidenced: Number
    custody_model: Text
    method: Name


class StatedPortion(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A weighed quantity that a run took. Uncertainties are standard ones (k = 1)."""

    lot: Id
    material: Text
    mass_kg: Number
    u_kg: Number
    moisture: Number
    u_moisture: Number


class StatedOutput(StatedPortion, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A weighed quantity that a run made."""

    role: Literal["product", "residue"]


class StatedReceived(StatedPortion, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lot that came in from outside, with what its supplier declared and the document that proves it."""

    name: Name
    supplier: Text
    origin: dict[Origin, Number]
    evidence: Text
    date: Time


class StatedBalance(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mass balance of a run, dry kg."""

    feed_dry_kg: Number
    product_dry_kg: Number
    residue_dry_kg: Number
    water_in_kg: Number
    water_out_kg: Number
    difference_kg: Number
    u_kg: Number
    k: int
    closure: Number
    balanced: bool


class StatedSeal(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merkle root over the run's readings."""

    root: Hash
    leaves: Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class StatedStatistics(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one signal did during the run. `low` and `high` are its limits; null = none."""

    key: Text
    name: Name
    unit: Text
    critical: bool
    period_s: Number
    resolution: Number
    n: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    mean: Measured | None
    sd: Measured | None
    u95: Measured | None
    low: Number | None
    high: Number | None
    minutes_outside: Measured
    completeness: Measured


class StatedRun(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run behind the lot."""

    id: Id
    line: Text
    step: Text
    name: Name
    recipe: Text
    lot: Id
    start: Time
    stop: Time
    inputs: Annotated[tuple[StatedPortion, ...], msgspec.Meta(min_length=1)]
    outputs: Annotated[tuple[StatedOutput, ...], msgspec.Meta(min_length=1)]
    balance: StatedBalance
    seal: StatedSeal
    statistics: tuple[StatedStatistics, ...]


class StatedRelease(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The verdict on the lot."""

    verdict: Literal["pass", "conditional_pass", "conditional_fail", "fail", "hold"]
    reasons: tuple[Name, ...]


class Statement(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed."""

    format: Literal["filiere-statement/1"]
    revision: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    replaces: Text | None
    date: Time
    """The closing of the lot's run: the same ledger makes the same statement on any day."""
    issuer: Issuer
    plant: PlantModel
    lot: StatedLot
    claim: StatedClaim
    received: tuple[StatedReceived, ...]
    runs: Annotated[tuple[StatedRun, ...], msgspec.Meta(min_length=1, max_length=RUNS_MAX)]
    """First run first: each after those whose products it takes."""
    release: StatedRelease


class NotBelieved(NotAuthentic):
    """What a certificate says cannot be; `label` says why in both languages."""

    def __init__(self, label: Label) -> None:
        super().__init__(label.en)
        self.label = label


def certificate_id(lot_id: str, revision: int) -> str:
    """`L1-r1`: also the name of the file."""
    return f"{lot_id}-r{revision}"


def replaced_id(lot_id: str, revision: int) -> str | None:
    """The certificate that a revision replaces; None for the first."""
    return certificate_id(lot_id, revision - 1) if revision > 1 else None


def statement_bytes(statement: Statement) -> bytes:
    """RFC 8785 canonical JSON."""
    return rfc8785.dumps(to_json(statement))


def to_json(part: Part) -> Any:
    """The JSON value of a part: dicts, lists, texts, integers."""
    return msgspec.to_builtins(part)


def signed_bytes(statement: Statement) -> bytes:
    """What the signature is over: the format, a line feed, the canonical JSON."""
    return f"{FORMAT}\n".encode() + statement_bytes(statement)


def name_of(label: Label) -> Name:
    """Label → Name."""
    return Name(fr=label.fr, en=label.en)


def label_of(name: Name) -> Label:
    """Name → Label."""
    return Label(fr=name.fr, en=name.en)
