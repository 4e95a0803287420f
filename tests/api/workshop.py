"""A data folder as the collector and the issuer leave it: lots of both lines, readings, certificates."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Self

import msgspec
from fastapi import FastAPI

from api.app import create_app
from collector.intake.status import IntakeStatus
from collector.receipts.status import ReceiptsStatus
from collector.recorder.book import ChunkRecord, Progress, Quarantined, RecordBook
from collector.status import STATUS_BYTES
from filiere.clock import NS_PER_S, parse_time
from filiere.events import PRODUCT, RESIDUE, Event, Portion, Received, RunClosed, RunStarted, event_json
from filiere.ledger import Ledger
from filiere.message_log import MessageLog
from filiere.plant import Line, Plant, Recipe, Signal, Step, limits_of
from filiere.plant_file import load_plant
from filiere.readings import Block
from filiere.readings_store import ReadingsStore, open_store
from filiere.settings import Settings, load_settings
from processing.issuer import Issuer
from processing.keys import load_or_make_key

T1, F1 = "caux/textile/t1", "caux/flax/f1"
START_NS = parse_time("2026-11-23T06:00:00Z")
MINUTE_NS = 60 * NS_PER_S
RUN_NS = 40 * MINUTE_NS
MESSAGES = 20


def kg(value: float) -> Decimal:
    return Decimal(str(round(value * 5) / 5))


def portion(lot: str, material: str, mass: Decimal, moisture: str, *, role: str = PRODUCT) -> Portion:
    return Portion(
        lot=lot,
        material=material,
        mass_kg=mass,
        u_kg=Decimal("0.2"),
        moisture=Decimal(moisture),
        u_moisture=Decimal("0.0005"),
        role=role,
    )


def received(made: Portion, *, at_ns: int, supplier: str, origin: Mapping[str, str], evidence: str) -> Received:
    return Received(
        event_id=f"urn:uuid:received-{made.lot}",
        event_time_ns=at_ns,
        site="caux",
        portion=made,
        supplier=supplier,
        origin={name: Decimal(part) for name, part in origin.items()},
        evidence=evidence,
    )


def started(
    run: str, *, line: str, step: str, recipe: str, lot: str, at_ns: int, inputs: Iterable[Portion]
) -> RunStarted:
    return RunStarted(
        event_id=f"urn:uuid:started-{run}",
        event_time_ns=at_ns,
        run=run,
        line=line,
        step=step,
        recipe=recipe,
        lot=lot,
        inputs=tuple(inputs),
    )


def closed(begun: RunStarted, *, product: tuple[str, str], residue: tuple[str, str], share: float = 0.96) -> RunClosed:
    """Outputs that balance: the dry feed, `share` of it as product. (material, moisture) of each."""
    dry = float(sum((given.dry_kg for given in begun.inputs), Decimal(0)))
    outputs = (
        portion(begun.lot, product[0], kg(dry * share / (1 - float(product[1]))), product[1]),
        portion(
            f"{begun.lot}-rebut", residue[0], kg(dry * (1 - share) / (1 - float(residue[1]))), residue[1], role=RESIDUE
        ),
    )
    return RunClosed(
        event_id=f"urn:uuid:closed-{begun.run}",
        event_time_ns=begun.event_time_ns + RUN_NS,
        run=begun.run,
        line=begun.line,
        outputs=outputs,
    )


def part(given: Portion, mass: Decimal) -> Portion:
    return portion(given.lot, given.material, mass, str(given.moisture))


def textile_events() -> Iterator[Event]:
    """Two bales (one without evidence), a sorting, an extrusion that passes, one that is too hot, one under way."""
    bale = portion("BALLE-001", "textile_bale", kg(640), "0.012")
    doubtful = portion("BALLE-002", "textile_bale", kg(60), "0.012")
    master = portion("MM-17", "masterbatch", kg(40), "0.001")
    yield received(
        bale,
        at_ns=START_NS,
        supplier="Le Relais de la Seine",
        origin={"post_consumer": "0.92", "pre_consumer": "0.08"},
        evidence="BSD-2026-1187",
    )
    yield received(doubtful, at_ns=START_NS, supplier="Tri <b>& fils</b>", origin={"post_consumer": "1"}, evidence="")
    yield received(master, at_ns=START_NS, supplier="Couleurs SA", origin={"virgin": "1"}, evidence="FT-88")
    sorting = started(
        "T1-R1",
        line=T1,
        step="sorting",
        recipe="tri-pp",
        lot="T1-0001",
        at_ns=START_NS + MINUTE_NS,
        inputs=(bale, doubtful),
    )
    yield sorting
    sorted_close = closed(sorting, product=("sorted_textile", "0.006"), residue=("sorting_reject", "0.02"), share=0.87)
    yield sorted_close
    (textile, _) = sorted_close.outputs
    at_ns = sorted_close.event_time_ns + MINUTE_NS
    for number, mass in ((2, 300), (3, 150), (4, 100)):
        begun = started(
            f"T1-R{number}",
            line=T1,
            step="extrusion",
            recipe="pp-gris",
            lot=f"T1-000{number}",
            at_ns=at_ns,
            inputs=(part(textile, kg(mass * 0.98)), part(master, kg(mass * 0.02))),
        )
        yield begun
        if number < 4:
            yield closed(begun, product=("recycled_granulate", "0.0005"), residue=("extrusion_purge", "0.0005"))
        at_ns += RUN_NS + MINUTE_NS


def flax_events() -> Iterator[Event]:
    """One lot of composite; the line is idle after it."""
    flax = portion("LIN-9", "flax_fibre", kg(120), "0.10")
    polymer = portion("PP-3", "virgin_pp", kg(250), "0.0002")
    yield received(flax, at_ns=START_NS, supplier="Lin du Caux", origin={"bio_based": "1"}, evidence="CERT-LIN-4")
    yield received(polymer, at_ns=START_NS, supplier="Polymères du Nord", origin={"virgin": "1"}, evidence="FT-12")
    begun = started(
        "F1-R1",
        line=F1,
        step="compounding",
        recipe="lin30-pp",
        lot="F1-0001",
        at_ns=START_NS + MINUTE_NS,
        inputs=(flax, polymer),
    )
    yield begun
    yield closed(begun, product=("composite_pellets", "0.004"), residue=("compounding_purge", "0.004"), share=0.97)


def value_at(signal: Signal, recipe: Recipe, time_ns: int, *, hot: bool) -> float:
    """A calm signal in the middle of its limits; `hot` puts the melt beyond."""
    limits = limits_of(signal, recipe)
    low = limits.low if limits.low is not None else (limits.high * 0.8 if limits.high is not None else 20.0)
    high = limits.high if limits.high is not None else (1.0 if signal.unit == "1" else low * 1.5)
    middle, width = recipe.targets.get(signal.key, (low + high) / 2), (high - low) / 16
    if hot and signal.id == "melt_temp":
        middle = high + 12
    seconds = time_ns / NS_PER_S
    wave = math.sin(seconds / 240 + len(signal.key)) + 0.4 * math.sin(seconds / 17)
    return round((middle + width * wave) / signal.resolution) * signal.resolution


def rows(line: Line, step: Step, recipe: Recipe, start_ns: int, stop_ns: int, *, hot: bool = False) -> Iterator[Block]:
    for unit_id in step.units:
        unit = line.unit(unit_id)
        for period_s in sorted({signal.period_s for signal in unit.signals}):
            signals = [signal for signal in unit.signals if signal.period_s == period_s]
            for seq, time_ns in enumerate(range(start_ns, stop_ns + 1, round(period_s * NS_PER_S))):
                values = {signal.id: value_at(signal, recipe, time_ns, hot=hot) for signal in signals}
                yield Block.one(line=line.path, device=unit.id, time_ns=time_ns + seq % 1000, values=values)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Settings, plant, open stores, and the application over them."""

    settings: Settings
    plant: Plant
    store: ReadingsStore
    ledger: Ledger
    app: FastAPI
    now_ns: int

    @classmethod
    def open(cls, folder: Path, *, now_ns: int = START_NS + 4 * 3600 * NS_PER_S, **overrides: object) -> Self:
        """Over a data folder, as it is."""
        settings = load_settings(data_dir=folder, **overrides)
        plant = load_plant("caux")
        folder.mkdir(parents=True, exist_ok=True)
        store, ledger = open_store(settings), Ledger.open(settings.ledger_database_url)
        app = create_app(settings=settings, plant=plant, store=store, ledger=ledger, clock=lambda: now_ns)
        return cls(settings=settings, plant=plant, store=store, ledger=ledger, app=app, now_ns=now_ns)

    def close(self) -> None:
        self.store.close()
        self.ledger.close()

    def fill(self) -> None:
        """Events and readings of both lines, then certificates."""
        for event in (*textile_events(), *flax_events()):
            self.ledger.append(event_json(event), record_time_ns=event.event_time_ns)
        for run in self.ledger.chain().runs.values():
            line = self.plant.line(run.line)
            step = line.step(run.step)
            stop_ns = run.stop_ns if run.stop_ns is not None else run.start_ns + RUN_NS // 2
            made = rows(line, step, step.recipe(run.recipe), run.start_ns, stop_ns, hot=run.lot == "T1-0003")
            self.store.write(list(made))
        Issuer(
            plant=self.plant,
            ledger=self.ledger,
            store=self.store,
            key=load_or_make_key(self.settings.signing_key_path),
            archive_dir=self.settings.archive_dir,
            certificates_dir=self.settings.certificates_dir,
            settle_s=0,
            clock=lambda: self.now_ns,
        ).run_once()
        self.record(messages=MESSAGES, bookmark=MESSAGES)

    def intake(self, *, connected: bool = True, problem: str | None = None, age_s: float = 1.0) -> None:
        """What the intake said of itself, `age_s` ago, after a minute of it."""
        written_ns = self.now_ns - round(age_s * NS_PER_S)
        status = IntakeStatus(
            connected=connected,
            problem=problem,
            since_ns=written_ns - MINUTE_NS,
            updated_ns=written_ns,
            log_bytes=4096,
            acknowledged=MESSAGES,
        )
        self.settings.intake_status_path.write_bytes(msgspec.json.encode(status).ljust(STATUS_BYTES))

    def receipts(
        self, *, position: int = MESSAGES, connected: bool = True, problem: str | None = None, age_s: float = 1.0
    ) -> None:
        """What the receipts process said of itself, `age_s` ago, after a minute of it."""
        written_ns = self.now_ns - round(age_s * NS_PER_S)
        status = ReceiptsStatus(
            connected=connected,
            problem=problem,
            since_ns=written_ns - MINUTE_NS,
            updated_ns=written_ns,
            position=position,
            answered=7,
        )
        self.settings.receipts_status_path.write_bytes(msgspec.json.encode(status).ljust(STATUS_BYTES))

    def record(self, *, messages: int, bookmark: int, problem: str | None = None, age_s: float = 1.0) -> None:
        """A message log of so many messages, and a recorder that has done some of them, one refused."""
        self.intake(age_s=age_s)
        self.receipts(position=messages, age_s=age_s)
        with MessageLog.open(self.settings.log_path) as log:
            missing = messages - log.head()
            log.append([(b"filiere/v1/caux/textile/t1/extruder/readings", b"{}", self.now_ns)] * missing)
        progress = Progress(
            bookmark=bookmark,
            log_head=messages,
            ledger_position=0,
            store_problem=problem,
            updated_ns=self.now_ns - round(age_s * NS_PER_S),
        )
        record = ChunkRecord(progress=progress)
        record.device(f"{T1}/extruder").stored = bookmark - 1
        record.quarantined.append(
            Quarantined(
                offset=1,
                device=f"{T1}/extruder",
                topic=b"filiere/v1/caux/textile/t1/extruder/readings",
                payload=b"{}",
                reason="wrong_shape",
                message="got no values",
                record_time_ns=self.now_ns,
                rows=1,
                numbered=False,
            )
        )
        with RecordBook.open(self.settings.recorder_path) as book:
            book.commit(record)
