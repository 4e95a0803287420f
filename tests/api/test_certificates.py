import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from fastapi.testclient import TestClient

from api.certificate_page import certificate_page, samples_in_words, stated_in_words
from api.shelf import CertificateId
from filiere.archive import read_run
from processing.certificate import verify
from processing.statement import Name, StatedStatistics
from tests.api.conftest import HTML
from tests.api.workshop import Workshop

NAME = "T1-0002-r1"


def file_of(workshop: Workshop, name: str = NAME) -> Path:
    return workshop.settings.certificates_dir / f"{name}.json"


def page_of(workshop: Workshop, name: str = NAME) -> str:
    answer = TestClient(workshop.app).get(f"/certificates/{name}", headers=HTML)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    "address", [f"/certificates/{NAME}", "/batches/T1-0002/certificate", f"/certificates/{NAME}.json"]
)
def test_the_file_is_given_byte_for_byte(client: TestClient, filled: Workshop, address: str) -> None:
    answer = client.get(address)
    assert answer.content == file_of(filled).read_bytes()
    assert answer.headers["content-type"] == "application/json"


def test_a_certificate_never_changes_so_it_may_be_kept_for_ever(client: TestClient) -> None:
    answer = client.get(f"/certificates/{NAME}")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["etag"].startswith('"')
    again = client.get(f"/certificates/{NAME}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_newest_certificate_of_a_batch_may_change_so_it_is_asked_again(client: TestClient) -> None:
    answer = client.get("/batches/T1-0002/certificate")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-location"] == f"/certificates/{NAME}"
    assert "accept" in answer.headers["vary"].lower()


def test_a_browser_gets_a_page_that_says_what_and_why(client: TestClient) -> None:
    page = client.get(f"/certificates/{NAME}", headers=HTML)
    for words in (
        "Authentique",
        "T1-0002",
        "Granulé recyclé de polypropylène",
        "Contenu recyclé",
        "Le Relais de la Seine",
        "BSD-2026-1187",
        "bilan bouclé",
        "filiere certificate verify T1-0002-r1.json",
        "T1-R2.parquet",
        '<svg class="chart"',
        "Ce que ce serveur a vérifié",
    ):
        assert words in page.text
    again = client.get(f"/certificates/{NAME}", headers=HTML | {"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_page_in_english_has_no_french_verdict(client: TestClient) -> None:
    page = client.get(f"/certificates/{NAME}?lang=en", headers=HTML)
    assert "Authentic" in page.text
    assert "Authentique" not in page.text
    assert page.headers["content-language"] == "en"


def test_a_supplier_cannot_bring_markup_in(client: TestClient) -> None:
    page = client.get(f"/certificates/{NAME}", headers=HTML).text
    assert "Tri <b>" not in page
    assert "Tri &lt;b&gt;&amp; fils&lt;/b&gt;" in page


def test_what_is_downloaded_verifies_without_this_server(client: TestClient, tmp_path: Path) -> None:
    content = client.get(f"/certificates/{NAME}.json").content
    key = client.get("/keys/issuer.pub.pem").content
    sealed = []
    for run in ("T1-R1", "T1-R2"):
        path = tmp_path / f"{run}.parquet"
        path.write_bytes(client.get(f"/certificates/{NAME}/readings/{run}.parquet").content)
        sealed.append(read_run(path))
    assert verify(content, trusted=[key], readings=sealed).authentic


def test_sealed_readings_have_a_tag_and_are_not_sent_twice(client: TestClient) -> None:
    address = f"/certificates/{NAME}/readings/T1-R2.parquet"
    tag = client.get(address).headers["etag"]
    assert client.get(address, headers={"if-none-match": tag}).status_code == 304


def test_sealed_readings_of_another_certificates_run_are_not_given(client: TestClient) -> None:
    answer = client.get(f"/certificates/{NAME}/readings/F1-R1.parquet")
    assert answer.status_code == 404
    assert "names no run" in answer.json()["detail"]


@pytest.mark.parametrize("place", [10, 2000, 5000, -10])
def test_one_byte_changed_anywhere_is_not_authentic_and_shows_no_claim(
    copied: Callable[[], Workshop], place: int
) -> None:
    workshop = copied()
    content = bytearray(file_of(workshop).read_bytes())
    content[place] ^= 1
    file_of(workshop).write_bytes(content)
    page = page_of(workshop)
    assert "NON authentique" in page
    assert "Contenu recyclé" not in page


def test_a_true_certificate_under_another_number_is_refused(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    shutil.copy(file_of(workshop), file_of(workshop, "T1-0003-r1"))
    page = page_of(workshop, "T1-0003-r1")
    assert "NON authentique" in page
    assert "Ce fichier est le certificat T1-0002-r1" in page


def test_sealed_readings_that_were_changed_are_found(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    assert "NON authentique" not in page_of(workshop)
    path = workshop.settings.archive_dir / "T1-R2.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    page = page_of(workshop)
    assert "NON authentique" in page
    assert "T1-R2" in page
    assert str(workshop.settings.data_dir) not in page


def test_sealed_readings_of_another_run_are_found(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    path = workshop.settings.archive_dir / "T1-R2.parquet"
    path.unlink()
    shutil.copy(workshop.settings.archive_dir / "T1-R1.parquet", path)
    assert "NON authentique" in page_of(workshop)


def test_absent_readings_are_said_and_leave_the_certificate_authentic(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    (workshop.settings.archive_dir / "T1-R2.parquet").unlink()
    page = page_of(workshop)
    assert "NON authentique" not in page
    assert "ne sont pas sur ce serveur" in page


def test_without_a_trusted_key_nothing_is_called_authentic(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    (workshop.settings.keys_dir / "issuer.pub.pem").unlink()
    page = page_of(workshop)
    assert "Non décidé" in page
    assert "Authentique" not in page


def test_a_certificate_that_is_no_json_is_red_and_still_downloadable(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    file_of(workshop).write_bytes(b"\xff\x00 not json")
    assert "NON authentique" in page_of(workshop)
    answer = TestClient(workshop.app).get(f"/certificates/{NAME}.json")
    assert answer.content == b"\xff\x00 not json"


def test_a_later_revision_is_the_newest_and_the_older_page_says_so(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    shutil.copy(file_of(workshop), file_of(workshop, "T1-0002-r2"))
    answer = TestClient(workshop.app).get("/batches/T1-0002/certificate")
    assert answer.headers["content-location"] == "/certificates/T1-0002-r2"
    assert "révision plus récente" in page_of(workshop)


def test_a_refused_lot_says_every_reason_to_programs_and_people(client: TestClient) -> None:
    answer = client.get("/batches/T1-0003/certificate")
    assert answer.status_code == 409
    assert any("Melt temperature" in reason for reason in answer.json()["reasons"])
    page = client.get("/batches/T1-0003/certificate", headers=HTML)
    assert page.status_code == 409
    assert "Certificat refusé" in page.text
    assert "Température de la matière" in page.text


def test_a_refusal_that_cannot_be_read_is_still_a_refusal(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    (workshop.settings.certificates_dir / "T1-0003.refused.json").write_bytes(b"[")
    answer = TestClient(workshop.app).get("/batches/T1-0003/certificate", headers=HTML)
    assert answer.status_code == 409
    assert "illisible" in answer.text


@pytest.mark.parametrize(
    ("lot", "words"),
    [
        ("T1-0004", "En cours de fabrication"),
        ("T1-0001", "Produit non certifié"),
        ("T1-0002-rebut", "Produit non certifié"),
        ("BALLE-001", "Lot reçu"),
        ("T1-9999", "Lot inconnu"),
    ],
)
def test_a_lot_without_a_certificate_gets_a_page_that_helps(client: TestClient, lot: str, words: str) -> None:
    page = client.get(f"/batches/{lot}/certificate", headers=HTML)
    assert page.status_code == 404
    assert words in page.text
    problem = client.get(f"/batches/{lot}/certificate")
    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")


def test_a_finished_lot_whose_certificate_is_awaited_says_to_come_back(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    file_of(workshop).unlink()
    page = TestClient(workshop.app).get("/batches/T1-0002/certificate", headers=HTML)
    assert page.status_code == 404
    assert "Certificat attendu" in page.text


@pytest.mark.parametrize(
    "address",
    [
        "/certificates/..%2F..%2Fetc%2Fpasswd",
        "/certificates/..%2Fkeys%2Fissuer",
        "/certificates/%2e%2e%2fkeys%2fissuer-r1",
        f"/certificates/{NAME}/readings/..%2F..%2Fkeys%2Fissuer.pem",
        f"/certificates/{NAME}/readings/..%2Fledger.parquet",
        "/batches/..%2F..%2Fkeys/certificate",
        "/static/..%2F..%2Fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
    ],
)
def test_no_address_leads_out_of_its_folder(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code in (404, 422)
    assert b"PRIVATE" not in answer.content
    assert b"root:" not in answer.content


def test_the_private_key_is_at_no_address(client: TestClient) -> None:
    assert b"PUBLIC KEY" in client.get("/keys/issuer.pub.pem").content
    for name in ("issuer.pem", "issuer", "..%2Fissuer.pem"):
        assert client.get(f"/keys/{name}").status_code == 404


def test_before_the_first_certificate_there_is_no_key_and_it_says_so(tmp_path: Path) -> None:
    workshop = Workshop.open(tmp_path / "empty")
    answer = TestClient(workshop.app).get("/keys/issuer.pub.pem")
    assert answer.status_code == 404
    assert "first certificate" in answer.json()["detail"]
    workshop.close()


def test_a_typed_number_leads_to_the_certificate_and_nowhere_else(client: TestClient) -> None:
    answer = client.get("/certificates", params={"lot": " T1-0002 "}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/batches/T1-0002/certificate")
    for wrong in ("//evil.example", "https://evil.example", "a/b", "", "a\r\nSet-Cookie: x=1"):
        assert client.get("/certificates", params={"lot": wrong}, follow_redirects=False).status_code == 404


def test_the_page_is_the_same_however_often_it_is_asked(client: TestClient) -> None:
    first, second = (client.get(f"/certificates/{NAME}", headers=HTML).text for _ in range(2))
    assert first == second


def test_the_statement_on_the_page_is_the_one_that_is_signed(client: TestClient) -> None:
    statement = json.loads(client.get(f"/certificates/{NAME}").content)["statement"]
    page = client.get(f"/certificates/{NAME}", headers=HTML).text
    assert statement["issuer"]["key_id"] in page
    assert all(run["seal"]["root"] in page for run in statement["runs"])


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_first_words_say_that_it_is_the_workshops_own_declaration(client: TestClient, language: str) -> None:
    page = client.get(f"/certificates/{NAME}", params={"lang": language}, headers=HTML).text
    verdict = page[page.index('<section class="verdict') : page.index('<section class="facts"')]
    assert "GRS" in verdict
    assert ("déclaration de l’atelier" if language == "fr" else "own declaration") in verdict
    assert 'href="#means"' in verdict
    assert 'id="means"' in page


def test_nothing_above_the_fold_is_written_for_engineers_only(client: TestClient) -> None:
    page = client.get(f"/certificates/{NAME}", headers=HTML).text
    first = page[page.index('<section class="verdict') : page.index('<section aria-labelledby="origin"')]
    for jargon in ("U95", "GUM", "JCS", "Ed25519", "RFC", "Merkle"):
        assert jargon not in first
    assert "pesées" in first
    assert "l’origine est déclarée par les fournisseurs" in first


def test_material_without_evidence_is_told_among_the_first_facts(client: TestClient) -> None:
    page = client.get(f"/certificates/{NAME}", headers=HTML).text
    facts = page[page.index('<section class="facts"') : page.index('<section aria-labelledby="origin"')]
    assert "Sans preuve d’origine" in facts


def test_bio_based_content_is_told_apart_and_nothing_recycled_is_said_in_words(client: TestClient) -> None:
    page = client.get("/batches/F1-0001/certificate", headers=HTML).text
    facts = page[page.index('<section class="facts"') : page.index('<section aria-labelledby="origin"')]
    assert "Biosourcé" in facts
    assert "ne compte pas comme recyclé" in facts
    assert "rien de ce qui est entré n’est compté comme recyclé" in facts
    assert ">0,00\u202f%</span>" in facts


def test_the_chain_of_custody_is_explained_and_not_called_mass_balance(client: TestClient) -> None:
    page = client.get(f"/certificates/{NAME}", params={"lang": "en"}, headers=HTML).text
    assert "controlled blending" in page
    assert "it is not the “mass balance” model" in page
    assert "Mass balance, on dry mass" not in page


def test_what_was_used_of_a_received_lot_is_told_beside_what_was_received(client: TestClient) -> None:
    statement = client.get(f"/certificates/{NAME}.json").json()["statement"]
    taken = sum(
        Decimal(portion["mass_kg"])
        for run in statement["runs"]
        for portion in run["inputs"]
        if portion["lot"] == "MM-17"
    )
    page = client.get(f"/certificates/{NAME}", params={"lang": "en"}, headers=HTML).text
    card = page[page.index("MM-17") :]
    assert f"<dt>Used here</dt><dd>{taken:.1f} kg" in card[: card.index("</li>")]


def test_the_mean_and_margin_of_a_judged_signal_are_those_of_the_statement(client: TestClient) -> None:
    statement = client.get(f"/certificates/{NAME}.json").json()["statement"]
    (melt,) = (each for each in statement["runs"][-1]["statistics"] if each["key"] == "extruder.melt_temp")
    page = client.get(f"/certificates/{NAME}", params={"lang": "en"}, headers=HTML).text
    shown = re.search(r"Melt temperature[^<]*<span class=\"note\">mean ([0-9.]+) ± ([0-9.]+)", page)
    assert shown is not None
    places = len(shown[1].partition(".")[2])
    assert shown.groups() == (f"{Decimal(melt['mean']):.{places}f}", f"{Decimal(melt['u95']):.{places}f}")


def test_incomplete_readings_are_never_called_whole() -> None:
    stated = StatedStatistics(
        key="k",
        name=Name(fr="x", en="x"),
        unit="Cel",
        critical=True,
        period_s="1",
        resolution="0.5",
        n=3,
        mean="200",
        sd="1",
        u95="0.25",
        low="190",
        high=None,
        minutes_outside="0",
        completeness="0.99999",
    )
    assert stated_in_words(stated, "fr") == (
        "moyenne 200,00 ± 0,25\xa0°C · hors limites 0,0\xa0min · mesures reçues 99,9\u202f%"
    )


def test_of_a_few_samples_each_is_told() -> None:
    stated = StatedStatistics(
        key="k",
        name=Name(fr="x", en="x"),
        unit="g/(10.min)",
        critical=False,
        period_s="86400",
        resolution="0.1",
        n=2,
        mean="10.5",
        sd="0.1",
        u95="0.2",
        low="6",
        high=None,
        minutes_outside="0",
        completeness="1",
    )
    assert samples_in_words(stated, [10.4, 10.55], "fr") == "2 prélèvements : 10,4 · 10,6 g/10 min"
    assert samples_in_words(stated, [10.4], "en") == "1 sample: 10.4 g/10 min"


def test_a_true_certificate_of_a_lot_that_is_not_released_says_so_beside_the_word(
    copied: Callable[[], Workshop],
) -> None:
    workshop = copied()
    proof = workshop.app.state.parts.prover.prove(CertificateId(lot="T1-0002", revision=1))
    release = msgspec.structs.replace(proof.statement.release, verdict="fail")
    statement = msgspec.structs.replace(proof.statement, release=release)
    failed = replace(proof, verification=replace(proof.verification, statement=statement))
    parts = replace(workshop.app.state.parts, prover=SimpleNamespace(prove=lambda _: failed))
    page = bytes(certificate_page(parts, CertificateId(lot="T1-0002", revision=1), "fr").body).decode()
    assert "non conforme" in page[: page.index('<section class="facts"')]
    assert "Pourquoi il n’est pas libéré" in page


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("t1-0002", "/batches/T1-0002/certificate"),
        ("T1-0002-r1", "/certificates/T1-0002-r1"),
        ("T1-0002-R1", "/certificates/T1-0002-r1"),
        ("T1-0002-r9", "/batches/T1-0002-r9/certificate"),
        ("t1-0002-r1", "/certificates/T1-0002-r1"),
        ("balle-001", "/batches/BALLE-001/certificate"),
    ],
)
def test_a_number_is_found_however_it_is_typed(client: TestClient, typed: str, address: str) -> None:
    answer = client.get("/certificates", params={"lot": typed}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, address)


def test_a_certificate_number_that_is_wrong_gets_a_page_that_helps_and_programs_a_problem(client: TestClient) -> None:
    page = client.get("/certificates/T1-0002-r7", headers=HTML)
    assert page.status_code == 404
    assert 'href="/certificates/T1-0002-r1"' in page.text
    assert "Pas de certificat à ce numéro" in page.text
    unknown = client.get("/certificates/T1-9999-r1", headers=HTML)
    assert (unknown.status_code, "Lot inconnu" in unknown.text) == (404, True)
    assert client.get("/certificates/T1-0002-r7").headers["content-type"] == "application/problem+json"


def test_a_residue_whose_number_looks_like_a_certificates_leads_to_that(copied: Callable[[], Workshop]) -> None:
    """`T1-0002-R1` may be a lot: a telephone writes the certificate `T1-0002-r1` like that."""
    page = TestClient(copied().app).get("/batches/T1-0002-R1/certificate", headers=HTML)
    assert page.status_code == 404
    assert 'href="/certificates/T1-0002-r1"' in page.text


def test_a_link_out_of_the_folder_is_no_certificate(copied: Callable[[], Workshop], tmp_path: Path) -> None:
    workshop = copied()
    secret = tmp_path / "secret.txt"
    secret.write_text("not for strangers")
    file_of(workshop, "LINK-1-r1").symlink_to(secret)
    client = TestClient(workshop.app)
    for address in ("/certificates/LINK-1-r1", "/certificates/LINK-1-r1.json", "/batches/LINK-1/certificate"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "strangers" not in answer.text


def test_a_pipe_in_the_folder_holds_nobody_up(copied: Callable[[], Workshop]) -> None:
    workshop = copied()
    os.mkfifo(file_of(workshop, "PIPE-1-r1"))
    assert TestClient(workshop.app).get("/certificates/PIPE-1-r1").status_code == 404


def test_sealed_readings_behind_a_link_are_not_given(copied: Callable[[], Workshop], tmp_path: Path) -> None:
    workshop = copied()
    path = workshop.settings.archive_dir / "T1-R2.parquet"
    path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    assert TestClient(workshop.app).get(f"/certificates/{NAME}/readings/T1-R2.parquet").status_code == 404


@pytest.mark.parametrize("ending", ["", ".json"])
def test_a_damaged_certificate_is_not_kept_for_a_year(copied: Callable[[], Workshop], ending: str) -> None:
    workshop = copied()
    file_of(workshop).write_bytes(file_of(workshop).read_bytes()[:-40])
    answer = TestClient(workshop.app).get(f"/certificates/{NAME}{ending}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
