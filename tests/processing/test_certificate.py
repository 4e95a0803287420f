import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from filiere.archive import SealedRun, read_run, same_run, write_run
from filiere.errors import NotAuthentic, SettingsError
from processing.certificate import CERTIFICATE_BYTES_MAX, Verification, read_certificate, sign, verify
from processing.compose import RunEvidence, make_statement
from processing.display import print_verification
from processing.keys import key_id, public_pem
from processing.quality import fetch_run, run_statistics
from processing.seal import seal
from processing.statement import Name, Statement, statement_bytes
from tests.processing.builders import KEY, OTHER_KEY, MemoryStore, plant, two_step_chain

TRUSTED = [public_pem(KEY.public_key())]
OTHERS = [public_pem(OTHER_KEY.public_key())]


@cache
def sealed() -> tuple[SealedRun, ...]:
    chain = two_step_chain()
    return tuple(fetch_run(plant(), MemoryStore(), chain.runs[name]) for name in ("R1", "R2"))


@cache
def statement() -> Statement:
    chain = two_step_chain(evidence="")
    evidence = {
        each.run: RunEvidence(seal=seal(each), statistics=run_statistics(plant(), chain.runs[each.run], each))
        for each in sealed()
    }
    return make_statement(plant(), chain, "G1", evidence=evidence, key_id=key_id(KEY.public_key()))


@cache
def certificate() -> bytes:
    return sign(statement(), KEY)


def failed(verification: Verification) -> dict[str, str]:
    return {check.name: check.label.en for check in verification.checks if check.ok is False}


def resigned(change: Callable[[Any], None], key: Ed25519PrivateKey = KEY) -> bytes:
    """The issuer lies: the statement is changed, and signed again with the trusted key."""
    document = json.loads(statement_bytes(statement()))
    change(document)
    return sign(msgspec.convert(document, Statement), key)


def test_a_certificate_is_authentic_with_and_without_its_readings() -> None:
    for readings in ((), sealed()[:1], sealed()):
        verification = verify(certificate(), trusted=TRUSTED, readings=readings)
        assert verification.authentic, failed(verification)
        unchecked = [check for check in verification.checks if check.ok is None]
        assert len(unchecked) == (0 if len(readings) == 2 else 1)


def test_the_same_statement_and_key_make_the_same_bytes() -> None:
    assert sign(statement(), KEY) == certificate()


def test_the_format_does_not_change_unnoticed() -> None:
    """A change here makes every certificate that was issued unverifiable: make it filiere-statement/2 instead."""
    nothing = Name(fr="", en="")  # explanations may be bettered
    stated = msgspec.structs.replace(
        statement(),
        claim=msgspec.structs.replace(statement().claim, method=nothing),
        release=msgspec.structs.replace(statement().release, reasons=()),
    )
    assert hashlib.sha256(sign(stated, KEY)).hexdigest() == GOLDEN


GOLDEN = "c29e24c23baf3a606e2ac81d62b02708f34fe9d351099a612b06110a1edad91e"


def test_any_changed_byte_is_refused_and_something_is_said() -> None:
    content = certificate()
    for at in range(len(content)):
        broken = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        verification = verify(broken, trusted=TRUSTED)
        assert verification.word == "not_authentic", at
        assert failed(verification), at


@given(st.data())
def test_any_edit_is_refused(data: st.DataObject) -> None:
    content = certificate()
    at = data.draw(st.integers(min_value=0, max_value=len(content)))
    cut = data.draw(st.integers(min_value=0, max_value=8))
    insert = data.draw(st.binary(max_size=8))
    edited = content[:at] + insert + content[at + cut :]
    if edited != content:
        assert not verify(edited, trusted=TRUSTED).authentic


def test_a_certificate_that_was_formatted_again_is_refused_at_its_first_differing_byte() -> None:
    pretty = json.dumps(json.loads(certificate()), indent=1).encode()
    assert "byte 1: got" in failed(verify(pretty, trusted=TRUSTED))["form"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"statement":1,"statement":2}',
        b"[" * 100_000,
        b"1" * 10_000,
        b'"\\ud800"',
        b'{"a":NaN}',
        b"1e999",
        b" " * (CERTIFICATE_BYTES_MAX + 1),
    ],
)
def test_what_is_not_a_certificate_is_refused_without_a_crash(content: bytes) -> None:
    verification = verify(content, trusted=TRUSTED)
    assert verification.word == "not_authentic"
    assert verification.statement is None
    with pytest.raises(NotAuthentic):
        read_certificate(content)


def test_without_a_trusted_key_nothing_is_decided_and_the_key_id_is_said() -> None:
    verification = verify(certificate(), trusted=())
    assert verification.word == "undecided"
    assert not verification.authentic
    key = next(check for check in verification.checks if check.name == "key")
    assert key.ok is None
    assert verification.key_id in key.label.fr


def test_a_broken_certificate_is_not_undecided() -> None:
    assert verify(resigned(lambda d: d["lot"].update(mass_kg="761")), trusted=()).word == "not_authentic"


def test_another_trusted_key_does_not_make_it_authentic() -> None:
    assert "trusted keys" in failed(verify(certificate(), trusted=OTHERS))["key"]
    assert verify(certificate(), trusted=[*OTHERS, *TRUSTED]).authentic


def test_a_certificate_that_somebody_else_signed_is_refused() -> None:
    forged = sign(statement(), OTHER_KEY)
    assert set(failed(verify(forged, trusted=TRUSTED))) == {"key", "signature"}
    assert failed(verify(forged, trusted=OTHERS))["signature"].startswith("The key id")


def test_a_trusted_key_that_is_not_one_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(SettingsError):
        verify(certificate(), trusted=[b"nonsense"])


def _set(path: str, value: object) -> Callable[[Any], None]:
    """`runs.1.balance.u_kg` → sets it."""

    def change(document: Any) -> None:
        *parents, last = path.split(".")
        for name in parents:
            document = document[int(name)] if isinstance(document, list) else document[name]
        document[int(last) if isinstance(document, list) else last] = value

    return change


def _drop_first_run(document: Any) -> None:
    document["runs"].pop(0)


def _add_unused_lot(document: Any) -> None:
    document["received"].append(document["received"][0] | {"lot": "Z"})


def _all_water(document: Any) -> None:
    document["runs"][1]["outputs"][0]["moisture"] = document["lot"]["moisture"] = "1"


def _double_signal(document: Any) -> None:
    document["runs"][1]["statistics"].append(document["runs"][1]["statistics"][0])


def _swap_runs(document: Any) -> None:
    document["runs"].reverse()


LIES: list[tuple[str, Callable[[Any], None], str, str]] = [
    ("recycled content", _set("claim.recycled_content", "0.9"), "claim", "stated 0.9, recomputed 0.5"),
    ("its uncertainty", _set("claim.u95", "0"), "claim", "claim.u95: stated 0, recomputed 0.001005"),
    ("an origin", _set("claim.virgin", "0.5"), "claim", "claim.virgin"),
    ("custody model", _set("claim.custody_model", "segregated"), "claim", "controlled_blending"),
    ("lot mass", _set("lot.mass_kg", "761"), "lot", "lot.mass_kg: stated 761, recomputed 760"),
    ("lot moisture", _set("lot.moisture", "0"), "lot", "lot.moisture"),
    ("product", _set("lot.material", "gold"), "lot", "lot.material"),
    ("line", _set("lot.line", "caux/textile/t2"), "lot", "lot.line"),
    ("date", _set("date", "2026-09-22T18:13:20.000Z"), "lot", "date"),
    ("balance", _set("runs.1.balance.u_kg", "99"), "balance", "balance.R2.u_kg: stated 99, recomputed 1.392004"),
    ("balanced", _set("runs.0.balance.balanced", value=False), "balance", "balance.R1.balanced"),
    ("output of a run", _set("runs.1.outputs.0.mass_kg", "700"), "lot", "lot.mass_kg: stated 760, recomputed 700"),
    ("more out than in", _set("runs.1.outputs.0.mass_kg", "900"), "chain", "dry out of"),
    ("drawn over what was made", _set("runs.1.inputs.0.mass_kg", "801"), "chain", "at most the 800 kg"),
    ("drawn over what was received", _set("received.0.mass_kg", "400"), "chain", "at most the 400 kg"),
    ("used before it existed", _set("runs.1.start", "2026-09-21T15:30:00.000Z"), "chain", "before it existed"),
    ("closed before it started", _set("runs.1.stop", "2026-09-21T16:30:00.000Z"), "chain", "after its start"),
    ("a time that is none", _set("runs.1.stop", "2026-99-99T16:30:00.000Z"), "chain", "RFC 3339"),
    ("origins above one", _set("received.0.origin", {"virgin": "0.5", "post_consumer": "0.6"}), "chain", "sum to 1.1"),
    ("a negative origin", _set("received.0.origin", {"virgin": "-1", "post_consumer": "2"}), "chain", "parts of"),
    ("a negative mass", _set("runs.0.outputs.1.mass_kg", "-200"), "chain", "got -200; expected 0"),
    ("a moisture above one", _set("runs.0.outputs.1.moisture", "1.5"), "chain", "expected 0 to at most 1"),
    ("another text of a number", _set("received.0.mass_kg", "500.0"), "chain", "stated 500.0, recomputed 500"),
    ("a run left out", _drop_first_run, "chain", "not known yet"),
    ("a lot of no use", _add_unused_lot, "chain", "received"),
    ("runs out of order", _swap_runs, "chain", "runs"),
    ("no run makes the lot", _set("lot.id", "A"), "chain", "no run that makes it"),
    ("verdict", _set("release.verdict", "fail"), "release", "stated fail, recomputed pass"),
    ("completeness", _set("runs.1.statistics.1.completeness", "0.9"), "release", "recomputed hold"),
    ("a mean out of limits", _set("runs.1.statistics.1.mean", "250"), "release", "recomputed fail"),
    ("evidence", _set("received.1.evidence", "BL-B"), "claim", "recomputed segregated"),
    ("evidence of nothing but a space", _set("received.1.evidence", " "), "chain", "evidence"),
    ("a mass beyond all trucks", _set("received.0.mass_kg", "1000000.1"), "chain", "at most 1000000"),
    ("more places than any scale", _set("runs.0.outputs.1.u_kg", "0.1234567891"), "chain", "9 decimal places"),
    ("a moisture known to nobody", _set("received.0.u_moisture", "1.5"), "chain", "u_moisture"),
    ("a lot of another age", _set("received.0.date", "1970-01-01T00:00:00.000Z"), "chain", "2020"),
    ("a revision that replaces nothing", _set("revision", 2), "lot", "replaces: stated –, recomputed G1-r1"),
    ("a first that replaces something", _set("replaces", "G1-r0"), "lot", "replaces: stated G1-r0, recomputed –"),
    ("another site", _set("issuer.site", "paris"), "lot", "issuer.site: stated paris, recomputed caux"),
    ("a lot of water", _all_water, "chain", "no dry mass"),
    ("more than complete", _set("runs.1.statistics.1.completeness", "1.1"), "statistics", "completeness"),
    ("time before the start", _set("runs.1.statistics.1.minutes_outside", "-3"), "statistics", "minutes_outside"),
    ("outside longer than the run", _set("runs.1.statistics.1.minutes_outside", "61"), "statistics", "at most 60"),
    ("a negative spread", _set("runs.1.statistics.1.sd", "-3"), "statistics", "sd"),
    ("a negative uncertainty", _set("runs.1.statistics.1.u95", "-3"), "statistics", "u95"),
    ("another text of a mean", _set("runs.1.statistics.1.mean", "228.0020"), "statistics", "the text 228.002"),
    ("a mean of no reading", _set("runs.1.statistics.1.n", 0), "statistics", "mean"),
    ("no mean of readings", _set("runs.1.statistics.0.sd", None), "statistics", "sd"),
    ("more readings than leaves", _set("runs.1.statistics.0.n", 100), "statistics", "at most 120"),
    ("a period that runs back", _set("runs.1.statistics.0.period_s", "-1"), "statistics", "period_s"),
    ("a signal twice", _double_signal, "statistics", "each once"),
]


@pytest.mark.parametrize(("change", "check", "said"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_even_the_issuer_cannot_sign_a_number_that_does_not_follow(
    change: Callable[[Any], None], check: str, said: str
) -> None:
    verification = verify(resigned(change), trusted=TRUSTED)
    assert verification.word == "not_authentic"
    assert said in failed(verification)[check], failed(verification)
    assert "signature" not in failed(verification)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("runs.1.seal.root", "00" * 32), "runs.R2.seal.root"),
        (_set("runs.1.seal.leaves", 122), "runs.R2.seal.leaves: stated 122, recomputed 121"),
        (_set("runs.1.statistics.1.mean", "228.003"), "runs.R2.statistics.extruder.melt_temp.mean"),
        (_set("runs.1.statistics.1.sd", "0.1"), "sd"),
        (_set("runs.1.statistics.1.u95", "0.1"), "u95"),
        (_set("runs.1.statistics.1.n", 59), "n: stated 59, recomputed 60"),
        (_set("runs.1.statistics.1.minutes_outside", "1"), "minutes_outside"),
        (_set("runs.1.statistics.1.completeness", "0.999"), "completeness"),
        (_set("runs.1.step", "sorting"), "runs.R2.step"),
    ],
)
def test_the_readings_say_whether_seal_and_statistics_are_true(change: Callable[[Any], None], said: str) -> None:
    assert verify(resigned(change), trusted=TRUSTED).authentic
    verification = verify(resigned(change), trusted=TRUSTED, readings=sealed())
    assert said in failed(verification)["readings"]


NASTY = [
    "0",
    "-0",
    "1",
    "-1",
    "999999999999999",
    "0." + "9" * 18,
    "1" + "0" * 299,
    "",
    "x\n",
    "2026-01-01T00:00:00Z",
    0,
    1,
]
NASTY += [-1, 2**53, 2**70, None, True, [], {}, "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999Z"]


def paths(value: Any, so_far: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    found = [so_far] if so_far else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        found += paths(child, (*so_far, name))
    return found


@given(st.data())
def test_no_value_anywhere_crashes_the_check_or_its_display(data: st.DataObject) -> None:
    document = json.loads(statement_bytes(statement()))
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        *parents, last = data.draw(st.sampled_from(paths(document)))
        place = document
        for name in parents:
            place = place[name]
        place[last] = data.draw(st.sampled_from(NASTY))
    body = rfc8785_or_none(document)
    if body is None:
        return
    signature = json.loads(certificate())["signature"] | {"value": KEY.sign(b"filiere-statement/1\n" + body).hex()}
    forged = rfc8785.dumps({"signature": signature, "statement": document})
    verification = verify(forged, trusted=TRUSTED, readings=sealed())
    print_verification(Console(file=io.StringIO()), verification, "fr", details=True)
    assert verification.statement is None or verification.checks[0].ok


def rfc8785_or_none(document: Any) -> bytes | None:
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError:
        return None


def test_readings_of_another_run_are_refused() -> None:
    other = two_step_chain().runs["R2"]
    strange = fetch_run(plant(), MemoryStore(), replace(other, id="R9"))
    assert "not in this certificate" in failed(verify(certificate(), trusted=TRUSTED, readings=[strange]))["readings"]


def test_any_changed_byte_of_the_readings_is_refused_or_changes_no_reading(tmp_path: Path) -> None:
    path = tmp_path / "R2.parquet"
    write_run(path, sealed()[1])
    content = path.read_bytes()
    broken, refused = tmp_path / "broken.parquet", 0
    for at in range(0, len(content), 3):
        broken.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        try:
            read = read_run(broken)
        except NotAuthentic:
            refused += 1
            continue
        verification = verify(certificate(), trusted=TRUSTED, readings=[read])
        assert verification.authentic == same_run(read, sealed()[1]), at
        refused += not verification.authentic
    assert refused > len(content) / 3 / 2


def test_the_file_is_canonical_json_of_a_statement_and_its_signature() -> None:
    document = json.loads(certificate())
    assert rfc8785.dumps(document) == certificate()
    assert list(document) == ["signature", "statement"]
