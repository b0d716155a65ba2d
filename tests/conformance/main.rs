//! What MQTT 3.1.1 and 5.0 demand of a server, shown on the real binary from outside.
//!
//! A test carries the ids of the statements that it shows, as `statements/` lists them.

mod alias;
mod answers;
mod authentication;
mod connect;
mod exchange;
mod flags;
mod information;
mod level_3;
mod options;
mod properties;
mod publish;
mod quality;
mod retained;
mod session;
mod shared;
mod subscribe;
mod websocket;
mod will;
mod window;

use hookmq_codec::{Connect, ProtocolVersion, Qos, Will};
use hookmq_tests::client::{connect_to_session, will};
use hookmq_tests::scene::Scene;

/// Returns when the broker's clock has gone on by `seconds`, which a delayed will tells.
fn pass_seconds(scene: &Scene, seconds: u32) {
    let mut witness = scene.client("clock");
    witness.subscribe("clock", Qos::AtMostOnce);
    let will = Will { delay_interval: seconds, ..will("clock", b"now") };
    // Only 5.0 has delays.
    let session = connect_to_session(ProtocolVersion::V5, "hand", 3600);
    scene.connect(Connect { will: Some(will), ..session }).vanish();
    witness.expect_message("clock", b"now");
}
