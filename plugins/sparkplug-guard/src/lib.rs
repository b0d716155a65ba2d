//! Holds Sparkplug B edge nodes to their protocol, and shows their payloads as JSON.

use std::collections::BTreeMap;

use hookmq_plugin::emit::{self, Emission};
use hookmq_plugin::{
    Client, Message, MessagePatch, Plugin, PublishVerdict, Qos, UserProperty, metric,
};
use serde::Deserialize;

mod payload;
mod shadow;
mod state;
mod topic;
mod wire;

use payload::Payload;
use state::Node;
use topic::{Kind, Report, Topic};

/// "Payload format invalid".
const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
/// The user property that names a fault.
const TAG: &str = "sparkplug-guard";
/// Before the topics of JSON copies; the manifest asks for what is below.
const SHADOWS: &str = "sparkplug-json";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub on_fault: OnFault,
    /// In place of `on_fault`, for the faults named here.
    pub faults: BTreeMap<Fault, OnFault>,
    pub shadow: Shadow,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    #[default]
    Drop,
    /// Published with a user property.
    Tag,
    /// Only counted.
    Pass,
}

/// Whether reports are published as JSON, too.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shadow {
    #[default]
    None,
    Json,
}

/// What may be wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The topic is none of section 4.1.
    Topic,
    /// Retained, or of a QoS that its kind may not have.
    Delivery,
    /// No payload of the schema.
    Payload,
    /// Not the number after the last one, or none.
    Sequence,
    /// A birth without bdSeq, or a death with another one than the birth.
    BdSeq,
    /// Before the birth of the edge node or the device.
    Unborn,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Delivery => "delivery",
            Self::Payload => "payload",
            Self::Sequence => "sequence",
            Self::BdSeq => "bd_seq",
            Self::Unborn => "unborn",
        }
    }
}

#[derive(Debug)]
pub struct SparkplugGuard {
    config: Config,
}

impl SparkplugGuard {
    fn verdict(&self, fault: Fault, message: &Message) -> PublishVerdict {
        metric::count(&format!("fault_{}", fault.name()), 1);
        match self.config.faults.get(&fault).unwrap_or(&self.config.on_fault) {
            OnFault::Drop => PublishVerdict::Drop(PAYLOAD_FORMAT_INVALID),
            OnFault::Tag => tagged(message, fault),
            OnFault::Pass => PublishVerdict::Pass,
        }
    }

    fn tags(&self) -> bool {
        let mut answers = self.config.faults.values().chain([&self.config.on_fault]);
        answers.any(|answer| *answer == OnFault::Tag)
    }

    /// Notes the report and publishes its copy; what is wrong with it first.
    fn report(&self, report: &Report, message: &Message) -> PublishVerdict {
        let payload = match Payload::decode(message.payload.as_deref().unwrap_or_default()) {
            Ok(payload) => payload,
            Err(_) => return self.verdict(Fault::Payload, message),
        };
        let delivered = check_delivery(report, message);
        let mut node = Node::load(report);
        let noted = note(report, &payload, &mut node);
        let verdict = match delivered.and(noted) {
            Ok(()) => PublishVerdict::Pass,
            Err(fault) => self.verdict(fault, message),
        };
        if self.config.shadow == Shadow::Json && !matches!(verdict, PublishVerdict::Drop(_)) {
            publish_shadow(report, &payload, &node);
        }
        verdict
    }
}

/// Section 4.1: no report is retained; a death of an edge node is its will, of QoS 1, and all others
/// have QoS 0.
fn check_delivery(report: &Report, message: &Message) -> Result<(), Fault> {
    let is_will = report.kind == Kind::Death && report.device.is_none();
    let qos = if is_will { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    match message.qos == qos && !message.retain {
        true => Ok(()),
        false => Err(Fault::Delivery),
    }
}

/// What the report makes of the edge node.
fn note(report: &Report, payload: &Payload, node: &mut Node) -> Result<(), Fault> {
    match (report.kind, report.device) {
        (Kind::Birth, None) => {
            let bd_seq = payload.bd_seq().ok_or(Fault::BdSeq)?;
            let seq = payload.sequence().ok_or(Fault::Sequence)?;
            *node = Node { births: node.births.wrapping_add(1), bd_seq: Some(bd_seq), seq };
            node.store(report);
            Ok(())
        }
        (Kind::Death, None) => {
            // A will that comes after the edge node has connected anew concerns the old connection.
            if payload.bd_seq().is_none_or(|number| node.bd_seq != Some(number)) {
                return Err(if node.is_alive() { Fault::BdSeq } else { Fault::Unborn });
            }
            node.bd_seq = None;
            node.store(report);
            Ok(())
        }
        _ => {
            if !node.is_alive() {
                return Err(Fault::Unborn);
            }
            let in_order = advance(payload, node);
            node.store(report);
            in_order.and(note_device(report, node))
        }
    }
}

/// After a gap, numbers go on from there: it is one fault.
fn advance(payload: &Payload, node: &mut Node) -> Result<(), Fault> {
    let expected = node.seq.wrapping_add(1);
    let seq = payload.sequence().ok_or(Fault::Sequence)?;
    node.seq = seq;
    if seq == expected { Ok(()) } else { Err(Fault::Sequence) }
}

fn note_device(report: &Report, node: &Node) -> Result<(), Fault> {
    match (report.kind, report.device) {
        (Kind::Birth, Some(_)) => node.add_device(report),
        (_, Some(_)) if !node.has_device(report) => return Err(Fault::Unborn),
        (Kind::Death, Some(_)) => state::remove_device(report),
        _ => {}
    }
    Ok(())
}

/// The copy has the names that data refers to by alias, and nothing of what it leaves out.
fn publish_shadow(report: &Report, payload: &Payload, node: &Node) {
    let aliases = match report.kind {
        Kind::Birth => {
            let aliases = shadow::aliases(payload);
            node.store_aliases(report, &aliases);
            aliases
        }
        Kind::Data if payload.metrics.iter().any(|metric| metric.name.is_none()) => {
            node.aliases(report)
        }
        _ => shadow::Aliases::new(),
    };
    let kind = match report.kind {
        Kind::Birth => "birth",
        Kind::Data => "data",
        Kind::Death => "death",
    };
    let mut topic = format!("{SHADOWS}/{}/{kind}/{}", report.group, report.node);
    if let Some(device) = report.device {
        topic.push('/');
        topic.push_str(device);
    }
    if emit::publish(&Emission::new(topic, shadow::json(payload, &aliases))).is_err() {
        metric::count("shadows_refused", 1);
    }
}

/// With the fault's name, in the place of what the publisher may have said about it.
fn tagged(message: &Message, fault: Fault) -> PublishVerdict {
    let mut properties = other_properties(message);
    properties.push(UserProperty { name: TAG.into(), value: fault.name().into() });
    with_properties(properties)
}

/// A publisher's own tag would be mistaken for this plugin's.
fn has_tag(message: &Message) -> bool {
    message.properties.iter().flat_map(|p| &p.user_properties).any(|p| p.name == TAG)
}

fn with_properties(properties: Vec<UserProperty>) -> PublishVerdict {
    let user_properties = Some(properties);
    PublishVerdict::Replace(MessagePatch { user_properties, ..MessagePatch::default() })
}

fn other_properties(message: &Message) -> Vec<UserProperty> {
    let properties = message.properties.iter().flat_map(|p| &p.user_properties);
    properties.filter(|property| property.name != TAG).cloned().collect()
}

impl Plugin for SparkplugGuard {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self { config })
    }

    fn publish(&mut self, _: Option<Client>, message: Message) -> Result<PublishVerdict, String> {
        let verdict = match Topic::parse(&message.topic) {
            None | Some(Ok(Topic::State | Topic::Command)) => PublishVerdict::Pass,
            Some(Ok(Topic::Report(report))) => self.report(&report, &message),
            Some(Err(())) => self.verdict(Fault::Topic, &message),
        };
        Ok(match verdict {
            PublishVerdict::Pass if self.tags() && has_tag(&message) => {
                with_properties(other_properties(&message))
            }
            verdict => verdict,
        })
    }
}

hookmq_plugin::export! {
    plugin: SparkplugGuard,
    hooks: [publish],
    topics: ["spBv1.0/#"],
    fields: [payload, properties],
    capabilities: [log, metric, kv],
    emit: ["sparkplug-json/#"],
    config_schema: "../schema.json",
}

#[cfg(test)]
mod tests;
