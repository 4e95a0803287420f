import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from filiere.errors import SettingsError
from simulators.testing.bus import BusMessage, MessageBus, fits, pattern_of

TOPIC = "filiere/v1/caux/textile/t1/extruder/readings"

level = st.sampled_from(["", "a", "b", "é"])
topics = st.lists(level, min_size=1, max_size=5).map("/".join).filter(bool)
filters = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.one_of(level, st.just("+")), min_size=1, max_size=5),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def test_who_subscribed_gets_what_fits_in_order_and_in_the_same_call(message_bus: MessageBus):
    heard: list[tuple[str, bytes]] = []
    message_bus.subscribe("filiere/v1/+/+/+/+/readings", lambda topic, payload: heard.append((topic, payload)))
    message_bus.publish(TOPIC, b"\xff\0")
    message_bus.publish(TOPIC, "é")
    message_bus.publish("filiere/v1/caux/textile/t1/terminal/events", b"{}")
    assert heard == [(TOPIC, b"\xff\0"), (TOPIC, "é".encode())]
    assert list(message_bus.published("#"))[-1] == BusMessage("filiere/v1/caux/textile/t1/terminal/events", b"{}")
    assert [message.payload for message in message_bus.published("+/+/+/+/+/extruder/#")] == [b"\xff\0", "é".encode()]


def test_who_ended_a_subscription_hears_no_more(message_bus: MessageBus):
    heard: list[str] = []
    end = message_bus.subscribe("#", lambda topic, _payload: heard.append(topic))
    message_bus.subscribe("#", lambda _topic, _payload: end())
    message_bus.publish(TOPIC, b"")
    end()
    message_bus.publish(TOPIC, b"")
    assert heard == [TOPIC]
    assert len(message_bus) == 2


@given(topic=topics, topic_filter=filters)
def test_filters_mean_what_they_mean_to_an_mqtt_client(topic: str, topic_filter: str):
    assert fits(pattern_of(topic_filter), topic.split("/")) == topic_matches_sub(topic_filter, topic)


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a#", "a/b+", "#/a"])
def test_what_is_no_filter_is_refused_with_an_example(message_bus: MessageBus, topic_filter: str):
    with pytest.raises(SettingsError, match=r"expected MQTT's.*filiere/v1"):
        message_bus.subscribe(topic_filter, lambda _topic, _payload: None)


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#"])
def test_a_topic_with_a_wildcard_is_refused_as_a_broker_does(message_bus: MessageBus, topic: str):
    with pytest.raises(SettingsError, match="expected one without"):
        message_bus.publish(topic, b"")
