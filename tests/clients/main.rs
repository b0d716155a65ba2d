//! Clients that others wrote, against the real binary: what each can do, in every version it speaks.

mod browser;
mod foreign;
mod mosquitto;
mod mqttjs;

mod paho;
mod rumqtt;

/// The broker's limits in these tests; any, so that there is an admin API.
const LIMITS: &str = "connections: 1000";
