"""A buyer's question: how long does it take to check a certificate with all its readings?"""

import time
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filiere.archive import SealedRun, read_run, write_run
from filiere.chain import Run, fold
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.readings import Series
from processing.certificate import sign, verify
from processing.compose import RunEvidence, make_statement
from processing.genealogy import trace
from processing.keys import key_id, public_pem
from processing.quality import keys_of, run_statistics
from processing.seal import seal
from tests.bench import Bench, Measurement, measured
from tests.chain_events import two_steps

READINGS = 1_000_000
LOT = "G1"


def bench_verify(bench: Bench) -> Iterator[Measurement]:
    """Verifying one certificate: alone, and with a million sealed readings beside it."""
    plant, chain = load_plant("caux"), fold(two_steps())
    runs = trace(chain, LOT, "back").runs
    sealed = [_readings(plant, run, READINGS // len(runs)) for run in runs]
    key = Ed25519PrivateKey.generate()
    evidence = {
        run.id: RunEvidence(seal=seal(readings), statistics=run_statistics(plant, run, readings))
        for run, readings in zip(runs, sealed, strict=True)
    }
    statement = make_statement(plant, chain, LOT, evidence=evidence, key_id=key_id(key.public_key()))
    certificate, trusted = sign(statement, key), [public_pem(key.public_key())]
    folder = bench.folder()
    for readings in sealed:
        write_run(folder / f"{readings.run}.parquet", readings)
    paths = sorted(folder.glob("*.parquet"))
    count = sum(len(series.time_ns) for readings in sealed for series in readings.series)

    def alone() -> float:
        began = time.perf_counter()
        verification = verify(certificate, trusted=trusted)
        took_s = time.perf_counter() - began
        assert verification.authentic, verification.checks
        return took_s * 1000

    def with_readings() -> float:
        began = time.perf_counter()
        verification = verify(certificate, trusted=trusted, readings=[read_run(path) for path in paths])
        took_s = time.perf_counter() - began
        assert verification.authentic, verification.checks
        return took_s

    yield measured("verify, certificate alone", "ms", alone, remark=f"{len(certificate)} bytes, {len(runs)} runs")
    yield measured(
        "verify, with its readings",
        "s",
        with_readings,
        repeats=3,
        remark=f"{count} readings, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB of Parquet read too",
    )


def _readings(plant: Plant, run: Run, count: int) -> SealedRun:
    """A run full of readings, evenly spread over its signals and its time."""
    assert run.stop_ns is not None
    line = plant.line(run.line)
    keys = keys_of(line, line.step(run.step))
    random = np.random.default_rng(7)
    each = count // len(keys)
    time_ns = run.start_ns + np.arange(each, dtype=np.int64) * ((run.stop_ns - run.start_ns) // each)
    return SealedRun(
        run=run.id,
        line=run.line,
        step=run.step,
        start_ns=run.start_ns,
        stop_ns=run.stop_ns,
        keys=keys,
        series=tuple(
            Series(
                key=key,
                time_ns=time_ns,
                value=np.round(random.normal(1.0, 0.01, each), 3),
                quality=np.zeros(each, dtype=np.uint8),
            )
            for key in keys
        ),
    )
