//! Black-box tests of the real binary.

pub mod admin;
pub mod broker;
pub mod certificates;
pub mod client;
pub mod company;
pub mod doors;
pub mod estate;
pub mod fault_proxy;
pub mod faults;
pub mod gate;
pub mod guarded;
pub mod mosquitto;
pub mod postgres;
pub mod process;
pub mod scene;
pub mod scram;
pub mod tenants;
pub mod tokens;
pub mod trace;
pub mod wait;
pub mod websocket;
pub mod wire;
