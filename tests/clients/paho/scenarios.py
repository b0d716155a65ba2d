"""What Paho's client does in one scenario: scenarios.py PORT VERSION SCENARIO.

Ends with a traceback where the broker does not do as it should.
"""

import queue
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
VERSION = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}[sys.argv[2]]
IS_V5 = VERSION == mqtt.MQTTv5

# Seconds; far more than anything here takes.
DEADLINE = 20


class Client:
    """A connection with its own thread, and what has come over it."""

    def __init__(self, name, session=False, will=None, subscribe=None):
        self.connects = queue.Queue()
        self.messages = queue.Queue()
        self.subscribed = queue.Queue()
        arguments = {} if IS_V5 else {"clean_session": not session}
        callbacks = mqtt.CallbackAPIVersion.VERSION2
        self.mqtt = mqtt.Client(callbacks, client_id=name, protocol=VERSION, **arguments)
        self.mqtt.on_connect = lambda _c, _u, flags, reason, _p: self.connects.put((flags, reason))
        self.mqtt.on_message = lambda _c, _u, message: self.messages.put(message)
        self.mqtt.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subscribed.put(reasons)
        self.mqtt.reconnect_delay_set(min_delay=1, max_delay=1)
        if will:
            self.mqtt.will_set(**will)
        arguments = {}
        if IS_V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if session else 0
            arguments = {"clean_start": not session, "properties": properties}
        self.mqtt.connect("127.0.0.1", PORT, **arguments)
        self.mqtt.loop_start()
        self.session_present = self.connected()
        if subscribe:
            self.subscribe(*subscribe)

    def connected(self):
        flags, reason = self.connects.get(timeout=DEADLINE)
        assert not reason.is_failure, reason
        return flags.session_present

    def subscribe(self, topic_filter, qos, **more):
        self.mqtt.subscribe(topic_filter, qos=qos, **more)
        (reason,) = self.subscribed.get(timeout=DEADLINE)
        assert reason.value == qos, reason

    def publish(self, *arguments, **more):
        self.mqtt.publish(*arguments, **more).wait_for_publish(DEADLINE)

    def next(self):
        return self.messages.get(timeout=DEADLINE)

    def expect(self, topic, payload, qos=None, retain=False):
        message = self.next()
        assert (message.topic, message.payload) == (topic, payload), (message.topic, message.payload)
        assert qos is None or message.qos == qos, message.qos
        assert message.retain == retain, message.retain
        return message

    def drop(self):
        """Loses the connection; the client's own thread comes back."""
        self.mqtt.socket().shutdown(socket.SHUT_RDWR)

    def vanish(self):
        """Loses the connection for good, without DISCONNECT."""
        self.mqtt.loop_stop()
        self.mqtt.socket().close()

    def leave(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def qualities():
    client = Client("qualities", subscribe=("a/+", 2))
    for qos in (0, 1, 2):
        payload = bytes(range(256)) * (qos + 1)
        client.publish("a/b", payload, qos=qos)
        client.expect("a/b", payload, qos=qos)
    client.leave()


def retained():
    client = Client("publisher")
    client.publish("a", b"kept", qos=1, retain=True)
    late = Client("late", subscribe=("a", 1))
    late.expect("a", b"kept", retain=True)
    client.publish("a", b"", qos=1, retain=True)
    late.expect("a", b"")
    later = Client("later", subscribe=("a", 1))
    client.publish("a", b"live", qos=1)
    later.expect("a", b"live")


def will():
    witness = Client("witness", subscribe=("will", 2))
    mortal = Client("mortal", will={"topic": "will", "payload": b"gone", "qos": 2})
    mortal.vanish()
    witness.expect("will", b"gone", qos=2)
    Client("leaves", will={"topic": "will", "payload": b"never", "qos": 1}).leave()
    witness.publish("will", b"end")
    witness.expect("will", b"end")


def session():
    client = Client("keeper", session=True, subscribe=("a", 2))
    assert not client.session_present
    client.leave()
    publisher = Client("publisher")
    for number in range(50):
        publisher.publish("a", b"%d" % number, qos=1 + number % 2)
    client = Client("keeper", session=True)
    # MQTT 3.1 has no such flag.
    assert client.session_present == (VERSION != mqtt.MQTTv31)
    # QoS 2 takes a round more, so only messages of one QoS keep their order.
    messages = sorted((client.next() for _ in range(50)), key=lambda message: message.qos)
    got = [(message.qos, int(message.payload)) for message in messages]
    assert got == [(1, it) for it in range(0, 50, 2)] + [(2, it) for it in range(1, 50, 2)], got
    client.leave()
    client = Client("keeper")
    assert not client.session_present


def reconnect():
    client = Client("keeper", session=True, subscribe=("a", 1))
    client.drop()
    # Paho keeps it until the connection is back.
    client.mqtt.publish("a", b"across", qos=1)
    client.connected()
    client.expect("a", b"across", qos=1)
    client.leave()


def properties():
    subscriber = Client("subscriber")
    asked = Properties(PacketTypes.SUBSCRIBE)
    asked.SubscriptionIdentifier = 268435455
    subscriber.mqtt.subscribe("a", options=SubscribeOptions(qos=1), properties=asked)
    subscriber.subscribed.get(timeout=DEADLINE)
    sent = Properties(PacketTypes.PUBLISH)
    sent.UserProperty = [("b", "1"), ("a", "2"), ("b", "3"), ("", "\u20ac")]
    sent.ResponseTopic = "answers"
    sent.CorrelationData = bytes(range(256))
    sent.ContentType = "text/plain"
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 3600
    publisher = Client("publisher")
    publisher.publish("a", "\u20ac", qos=1, properties=sent)
    got = subscriber.expect("a", "\u20ac".encode()).properties
    for name in ("UserProperty", "ResponseTopic", "CorrelationData", "ContentType"):
        assert getattr(got, name) == getattr(sent, name), (name, getattr(got, name))
    assert got.PayloadFormatIndicator == 1
    assert 3500 < got.MessageExpiryInterval <= 3600, got.MessageExpiryInterval
    assert got.SubscriptionIdentifier == [268435455], got.SubscriptionIdentifier
    assert not hasattr(got, "TopicAlias")


def aliases():
    client = Client("alias", subscribe=("#", 1))
    alias = Properties(PacketTypes.PUBLISH)
    alias.TopicAlias = 2
    client.publish("a/long/topic", b"one", qos=1, properties=alias)
    for payload in (b"two", b"three"):
        client.publish("", payload, qos=1, properties=alias)
    for payload in (b"one", b"two", b"three"):
        client.expect("a/long/topic", payload)
    client.publish("another", b"four", qos=1, properties=alias)
    client.publish("", b"five", qos=1, properties=alias)
    client.expect("another", b"four")
    client.expect("another", b"five")


def many_threads():
    """Ten clients with ten threads publish to one."""
    subscriber = Client("subscriber", subscribe=("a/#", 1))
    publishers = [Client(f"publisher {number}") for number in range(10)]

    def publish(number):
        for count in range(20):
            publishers[number].publish(f"a/{number}", b"%d" % count, qos=1)

    threads = [threading.Thread(target=publish, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
    counts = [0] * 10
    for _ in range(200):
        message = subscriber.next()
        number = int(message.topic.removeprefix("a/"))
        assert message.payload == b"%d" % counts[number], message.payload
        counts[number] += 1
    for thread in threads:
        thread.join()


SCENARIOS = [
    qualities, retained, will, session, reconnect, properties, aliases, many_threads
]

{scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[3]]()
