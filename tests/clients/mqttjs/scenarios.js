// What MQTT.js does in each scenario, in Node and in a browser alike, over TCP and WebSocket.
// Each fails by an exception where the broker does not do as it should.

"use strict";

// Milliseconds; far more than anything here takes.
const DEADLINE = 20000;

const LEVELS = { "3.1": 3, "3.1.1": 4, "5.0": 5 };

function check(holds, what) {
  if (!holds) throw new Error(`not so: ${what}`);
}

function checkEqual(got, wanted) {
  const [left, right] = [got, wanted].map((it) => JSON.stringify(it));
  check(left === right, `${left} is ${right}`);
}

/** What `promise` gives, unless it takes too long. */
function inTime(what, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), DEADLINE);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** A connection, and what has come over it. */
class Client {
  constructor(place, clientId, options = {}) {
    const protocolVersion = LEVELS[place.version];
    const protocolId = protocolVersion === 3 ? "MQIsdp" : "MQTT";
    const settings = { clientId, protocolVersion, protocolId, reconnectPeriod: 10, clean: true };
    this.isV5 = protocolVersion === 5;
    if (this.isV5 && options.clean === false) {
      settings.properties = { sessionExpiryInterval: 3600 };
    }
    this.inbox = [];
    this.awaited = [];
    this.mqtt = place.mqtt.connect(place.url, { ...settings, ...options });
    this.mqtt.on("message", (topic, payload, packet) => {
      const message = { ...packet, topic, payload: payload.toString() };
      const resolve = this.awaited.shift();
      resolve ? resolve(message) : this.inbox.push(message);
    });
  }

  static async open(place, clientId, options) {
    const client = new Client(place, clientId, options);
    client.connack = await client.connected();
    return client;
  }

  connected() {
    const connected = new Promise((resolve, reject) => {
      this.mqtt.once("connect", resolve);
      this.mqtt.once("error", reject);
    });
    return inTime("CONNACK", connected);
  }

  async subscribe(filter, qos, properties) {
    const granted = await this.mqtt.subscribeAsync(filter, { qos, properties });
    checkEqual(granted[0].qos, qos);
  }

  publish(topic, payload, options) {
    return inTime("acknowledgement", this.mqtt.publishAsync(topic, payload, options));
  }

  next() {
    const waiting = this.inbox.shift();
    if (waiting) return Promise.resolve(waiting);
    return inTime("message", new Promise((resolve) => this.awaited.push(resolve)));
  }

  async expect(topic, payload, { qos = 1, retain = false } = {}) {
    const message = await this.next();
    checkEqual([message.topic, message.payload], [topic, payload]);
    checkEqual([message.qos, message.retain], [qos, retain]);
    return message;
  }

  /** Loses the connection; the client comes back by itself. */
  drop() {
    this.mqtt.stream.destroy();
  }

  /** Loses the connection for good, without DISCONNECT. */
  vanish() {
    return inTime("end", this.mqtt.endAsync(true));
  }

  /** Sends DISCONNECT. */
  leave() {
    return inTime("end", this.mqtt.endAsync());
  }
}

const scenarios = {
  async qualities(place) {
    const client = await Client.open(place, "qualities");
    await client.subscribe("a/+", 2);
    for (const qos of [0, 1, 2]) {
      const payload = "\u20ac".repeat(50000 * qos + 1);
      await client.publish("a/b", payload, { qos });
      await client.expect("a/b", payload, { qos });
    }
    await client.leave();
  },

  async retained(place) {
    const publisher = await Client.open(place, "publisher");
    await publisher.publish("kept", "x", { qos: 1, retain: true });
    const late = await Client.open(place, "late");
    await late.subscribe("kept", 1);
    await late.expect("kept", "x", { retain: true });
    await publisher.publish("kept", "", { qos: 1, retain: true });
    await late.expect("kept", "");
    const later = await Client.open(place, "later");
    await later.subscribe("kept", 1);
    await publisher.publish("kept", "live", { qos: 1 });
    await later.expect("kept", "live");
    for (const client of [publisher, late, later]) await client.leave();
  },

  async will(place) {
    const witness = await Client.open(place, "witness");
    await witness.subscribe("will", 1);
    const will = (payload) => ({ will: { topic: "will", payload, qos: 1, retain: false } });
    const mortal = await Client.open(place, "mortal", will("gone"));
    await mortal.vanish();
    await witness.expect("will", "gone");
    const leaving = await Client.open(place, "leaves", will("never"));
    await leaving.leave();
    await witness.publish("will", "end", { qos: 1 });
    await witness.expect("will", "end");
    await witness.leave();
  },

  async session(place) {
    let client = await Client.open(place, "keeper", { clean: false });
    checkEqual(client.connack.sessionPresent, false);
    await client.subscribe("a", 1);
    await client.leave();
    const publisher = await Client.open(place, "publisher");
    for (let number = 0; number < 50; number += 1) {
      await publisher.publish("a", `${number}`, { qos: 1 });
    }
    await publisher.leave();
    client = await Client.open(place, "keeper", { clean: false });
    // MQTT 3.1 has no such flag.
    checkEqual(client.connack.sessionPresent, place.version !== "3.1");
    for (let number = 0; number < 50; number += 1) {
      await client.expect("a", `${number}`);
    }
    await client.leave();
    client = await Client.open(place, "keeper");
    checkEqual(client.connack.sessionPresent, false);
    await client.leave();
  },

  async reconnect(place) {
    const client = await Client.open(place, "returns", { clean: false });
    await client.subscribe("back", 1);
    const back = client.connected();
    client.drop();
    // MQTT.js keeps it until the connection is back.
    await client.publish("back", "across", { qos: 1 });
    await back;
    await client.expect("back", "across");
    await client.leave();
  },

  async properties(place) {
    const subscriber = await Client.open(place, "subscriber");
    await subscriber.subscribe("a", 1, { subscriptionIdentifier: 268435455 });
    const text = {
      payloadFormatIndicator: true,
      contentType: "text/plain",
      responseTopic: "answers",
      userProperties: { b: ["1", "3"], a: "2" },
    };
    const publisher = await Client.open(place, "publisher");
    const correlationData = Uint8Array.from([0, 255, 7]);
    const properties = { ...text, correlationData, messageExpiryInterval: 3600 };
    await publisher.publish("a", "x", { qos: 1, properties });
    const got = (await subscriber.expect("a", "x")).properties;
    for (const name of Object.keys(text)) checkEqual([name, got[name]], [name, text[name]]);
    checkEqual([...got.correlationData], [...correlationData]);
    checkEqual(got.subscriptionIdentifier, 268435455);
    const expiry = got.messageExpiryInterval;
    check(expiry > 3500 && expiry <= 3600, `${expiry} seconds are nearly an hour`);
    for (const client of [subscriber, publisher]) await client.leave();
  },

  async aliases(place) {
    const client = await Client.open(place, "alias", { autoAssignTopicAlias: true });
    await client.subscribe("#", 1);
    // More topics than the broker takes aliases; from the second round on, some have one.
    const topics = Array.from({ length: 20 }, (_, number) => `a/long/topic/${number}`);
    for (const round of ["1", "2", "3"]) {
      await Promise.all(topics.map((topic) => client.publish(topic, round, { qos: 1 })));
      for (const topic of topics) await client.expect(topic, round);
    }
    await client.leave();
  },
};

const OF_V5 = ["properties", "aliases"];

/** Plays those that are named, or all that the version has, one after another. */
async function play(place, names) {
  const all = Object.keys(scenarios);
  const known = all.filter((name) => place.version === "5.0" || !OF_V5.includes(name));
  for (const name of names.length > 0 ? names : known) {
    try {
      await scenarios[name](place);
    } catch (error) {
      throw new Error(`${name} in ${place.version}: ${error.stack ?? error}`);
    }
  }
}

if (typeof module !== "undefined") module.exports = play;
