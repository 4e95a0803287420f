import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.errors import EventRefused
from filiere.events import EVENT_BYTES_MAX, ORIGINS, Portion, Received, event_json, parse_event
from tests.chain_events import closed, received, started, two_steps

identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(
    lambda text: text.strip() == text
)
masses = st.decimals(min_value=0, max_value=10_000, places=3)
fractions = st.decimals(min_value=0, max_value=1, places=4)
portions = st.builds(
    Portion, lot=identifiers, material=texts, mass_kg=masses, u_kg=masses, moisture=fractions, u_moisture=fractions
)
times = st.integers(min_value=1_577_836_800_000, max_value=4_102_444_799_999).map(lambda ms: ms * 1_000_000)


@given(identifiers, times, portions, texts, fractions, st.one_of(st.just(""), texts))
def test_a_received_lot_comes_back_as_it_was_sent(event_id, time_ns, portion, supplier, share, evidence):
    event = Received(
        event_id=event_id,
        event_time_ns=time_ns,
        site="caux",
        portion=portion,
        supplier=supplier,
        origin={"post_consumer": share, "virgin": 1 - share},
        evidence=evidence,
    )
    assert parse_event(event_json(event)) == event


@pytest.mark.parametrize("event", two_steps(), ids=lambda event: event.event_id)
def test_every_event_of_a_chain_comes_back_as_it_was_sent(event):
    assert parse_event(event_json(event)) == event
    assert event_json(parse_event(event_json(event))) == event_json(event)


def changed(event, **fields) -> bytes:
    document = json.loads(event_json(event))
    for name, value in fields.items():
        if value is None:
            document.pop(name, None)
        else:
            document[name] = value
    return json.dumps(document).encode()


def changed_portion(**fields) -> bytes:
    element = json.loads(event_json(received()))["quantityList"][0]
    return changed(received(), quantityList=[element | {k.replace("__", ":"): v for k, v in fields.items()}])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected one EPCIS 2.0 event"),
        (b'{"type": NaN}', "not JSON"),
        (b" " * (EVENT_BYTES_MAX + 1), "expected at most"),
        (b"{}", "type: got nothing"),
        (changed(received(), type="ObjectEvents"), "expected an ObjectEvent ADD receiving"),
        (changed(received(), bizStep="shipping"), "expected an ObjectEvent ADD receiving"),
        (changed(received(), eventTime="2026-03-11T12:00:00"), "local time without offset"),
        (changed(received(), eventTime="yesterday"), "expected RFC 3339"),
        (changed(received(), eventTime="0001-01-01T00:00:00+14:00"), "from 2020 to 2099"),
        (changed(received(), eventTime="1970-01-01T00:00:00Z"), "from 2020 to 2099"),
        (changed(received(), eventTime="9999-12-31T23:59:59Z"), "from 2020 to 2099"),
        (changed(received(), eventID=None), "eventID: got nothing"),
        (changed(received(), eventID="x" * 300), "expected at most"),
        (changed(received(), bizLocation="caux"), "bizLocation: got 'caux'"),
        (changed(received(), quantityList=[]), "quantityList"),
        (changed(received(), errorDeclaration={}), "errorDeclaration"),
        (changed(received(), **{"filiere:evidence": 3}), "filiere:evidence"),
        (changed(received(), **{"filiere:origin": {"post_consumer": "0.9"}}), "expected exactly 1"),
        (changed(received(), **{"filiere:origin": {"recycled": "1"}}), "expected only"),
        (changed(received(), **{"filiere:origin": {"virgin": "-1"}}), "expected a number from 0 to 1"),
        (changed_portion(quantity="NaN"), "expected a number"),
        (changed_portion(quantity="Infinity"), "expected a number"),
        (changed_portion(quantity=1e308), "expected a number from 0 to"),
        (changed_portion(quantity=True), "expected a number"),
        (changed_portion(quantity="1e-30"), "at most 9 decimal places"),
        (changed_portion(quantity="1_000"), "expected a number"),
        (changed_portion(quantity=" 5"), "expected a number"),
        (changed_portion(quantity="\u0663"), "expected a number"),
        (event_json(received()).replace(b"500.0", b"1e99999999999999999999"), "beyond every limit"),
        (event_json(received()).decode().encode("utf-16"), "not JSON"),
        (changed(received(), type="\ud800"), "type: got"),
        (changed(received(), eventID="a\nb"), "eventID: got"),
        (changed(received(), eventID="\udfff"), "eventID: got"),
        (changed(received(), bizLocation={"id": "urn:filiere:site:\x1b[2J"}), "bizLocation: got"),
        (changed(received(), **{"filiere:supplier": "\ud800"}), "filiere:supplier"),
        (changed(received(), **{"filiere:evidence": "a\0b"}), "filiere:evidence"),
        (changed(received(), **{"filiere:origin": {"\ud800": "1"}}), "expected only"),
        (changed_portion(uom="GRM"), "expected KGM"),
        (changed_portion(epcClass="urn:filiere:lot:a b"), "epcClass"),
        (changed_portion(epcClass="urn:filiere:lot:" + "x" * 65), "at most 64"),
        (changed_portion(epcClass="urn:filiere:lot:../../etc"), "epcClass"),
        (changed_portion(filiere__material="a\0b"), "filiere:material"),
        (changed_portion(filiere__moisture=2), "from 0 to 1"),
        (changed_portion(filiere__role="waste"), "expected product or residue"),
        (changed(started(), outputQuantityList=[{}]), "inputs and outputs in one event"),
        (changed(started(), transformationID=None), "transformationID: got nothing"),
        (changed(closed(), outputQuantityList=["x"]), "expected an object"),
    ],
)
def test_a_bad_event_is_refused_with_what_was_got_and_expected(body, words):
    with pytest.raises(EventRefused, match=words) as refused:
        parse_event(body)
    assert str(refused.value).isprintable()  # a store, a log and a terminal can take the reason


@pytest.mark.parametrize(("sent", "kept"), [("-0", "0"), ("0e999999999", "0"), ("1e2", "100"), ("1.50", "1.50")])
def test_a_mass_is_kept_in_one_plain_form(sent, kept):
    event = parse_event(event_json(received()).replace(b"500.0", sent.encode()))
    assert isinstance(event, Received)
    assert str(event.portion.mass_kg) == kept


def test_masses_stay_exact_decimals():
    body = changed_portion(quantity=0.1)
    event = parse_event(body)
    assert isinstance(event, Received)
    assert event.portion.mass_kg == Decimal("0.1")


def test_origins_are_five():
    assert ORIGINS == ("post_consumer", "pre_consumer", "virgin", "bio_based", "unevidenced")
