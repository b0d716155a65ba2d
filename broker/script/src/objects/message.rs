//! `message`: an application message that a rule reads, and changes by assignment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookmq_codec::{PublishProperties, Qos, TopicName};
use hookmq_core::Message;
use hookmq_hooks::MessagePatch;
use rhai::{Array, Dynamic, Engine, ImmutableString, Map};

use crate::RuleLimits;
use crate::fault::{Fallible, fault, too_large};
use crate::json::{from_dynamic, payload};
use crate::objects::bytes::Bytes;
use crate::objects::json::{Document, Json};

/// A message with the changes that a rule makes to it; all copies share them.
#[derive(Clone)]
pub(crate) struct MessageRef(Arc<Shared>);

struct Shared {
    original: Message,
    draft: Mutex<Draft>,
}

#[derive(Default)]
struct Draft {
    patch: MessagePatch,
    json: Parsed,
}

#[derive(Default)]
enum Parsed {
    #[default]
    NotYet,
    NotJson,
    Document(Arc<Document>),
}

impl MessageRef {
    pub(crate) fn new(original: Message) -> Self {
        Self(Arc::new(Shared { original, draft: Mutex::default() }))
    }

    /// What the rule has changed.
    pub(crate) fn take_patch(&self) -> MessagePatch {
        let mut draft = self.draft();
        draft.settle();
        std::mem::take(&mut draft.patch)
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.0.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topic(&self) -> ImmutableString {
        match &self.draft().patch.topic {
            Some(topic) => topic.as_str().into(),
            None => self.0.original.topic().as_str().into(),
        }
    }

    fn set_topic(&mut self, topic: &str) -> Fallible<()> {
        TopicName::new(topic).map_err(|error| fault(format!("`{topic}`: {error}")))?;
        self.draft().patch.topic = Some(topic.into());
        Ok(())
    }

    fn levels(&self, most: usize) -> Fallible<Array> {
        let topic = self.topic();
        match topic.split('/').count() > most {
            true => Err(too_large("levels of a topic")),
            false => Ok(super::array(topic.split('/'))),
        }
    }

    /// The level at `index`, counted from 0, or from the end where negative; `()` where none is.
    fn level(&self, index: i64) -> Dynamic {
        let topic = self.topic();
        let place = |index: i64| usize::try_from(index).unwrap_or(usize::MAX);
        super::optional(match index < 0 {
            true => topic.rsplit('/').nth(place(index.saturating_neg() - 1)),
            false => topic.split('/').nth(place(index)),
        })
    }

    fn with_payload<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        let mut draft = self.draft();
        draft.settle();
        read(draft.patch.payload.as_deref().unwrap_or(self.0.original.payload()))
    }

    /// `()` where the payload is not UTF-8.
    fn text(&self, most: usize) -> Fallible<Dynamic> {
        self.with_payload(|payload| match payload.len() > most {
            true => Err(too_large("length of a payload as text")),
            false => Ok(super::optional(std::str::from_utf8(payload).ok())),
        })
    }

    fn set_payload(&mut self, new: Vec<u8>) {
        let mut draft = self.draft();
        draft.json = Parsed::NotYet;
        draft.patch.payload = Some(new).filter(|new| new != self.0.original.payload());
    }

    /// `()` where the payload is not JSON. It is parsed when a rule first asks.
    fn json(&self, limits: &RuleLimits) -> Fallible<Dynamic> {
        let mut draft = self.draft();
        if let Parsed::NotYet = draft.json {
            let text = draft.patch.payload.as_deref().unwrap_or(self.0.original.payload());
            draft.json = match Document::parse(text, limits)? {
                Some(document) => Parsed::Document(document),
                None => Parsed::NotJson,
            };
        }
        Ok(match &draft.json {
            Parsed::Document(document) => document.root(),
            Parsed::NotYet | Parsed::NotJson => Dynamic::UNIT,
        })
    }

    fn set_json(&mut self, value: &Dynamic, limits: &RuleLimits) -> Fallible<()> {
        let written_back = value.read_lock::<Json>().is_some_and(|view| {
            matches!(&self.draft().json, Parsed::Document(document) if view.is_root_of(document))
        });
        if !written_back {
            let document = Document::of(from_dynamic(value)?, limits);
            self.draft().json = Parsed::Document(document);
        }
        Ok(())
    }

    fn qos(&self) -> i64 {
        self.draft().patch.qos.unwrap_or(self.0.original.qos()) as i64
    }

    fn set_qos(&mut self, qos: i64) -> Fallible<()> {
        self.draft().patch.qos = Some(qos_of(qos)?);
        Ok(())
    }

    fn retain(&self) -> bool {
        self.draft().patch.retain.unwrap_or(self.0.original.retain())
    }

    fn content_type(&self) -> Fallible<Dynamic> {
        if let Some(content_type) = &self.draft().patch.content_type {
            return Ok(content_type.as_str().into());
        }
        Ok(super::optional(self.properties()?.content_type))
    }

    fn response_topic(&self) -> Fallible<Dynamic> {
        Ok(super::optional(self.properties()?.response_topic))
    }

    fn correlation_data(&self) -> Fallible<Dynamic> {
        let data = self.properties()?.correlation_data;
        Ok(data.map_or(Dynamic::UNIT, |data| Dynamic::from(Bytes::new(data))))
    }

    /// What the publisher says of its payload; `()` where it says nothing.
    fn payload_is_text(&self) -> Fallible<Dynamic> {
        Ok(self.properties()?.payload_format_indicator.map_or(Dynamic::UNIT, Into::into))
    }

    /// As published.
    fn properties(&self) -> Fallible<PublishProperties<'_>> {
        self.0.original.properties().map_err(|error| fault(error.to_string()))
    }

    fn pairs(&self) -> Fallible<Vec<(String, String)>> {
        if let Some(pairs) = &self.draft().patch.user_properties {
            return Ok(pairs.clone());
        }
        let pairs = self.properties()?.user_properties.iter();
        Ok(pairs.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// By name; where a name occurs twice, its last value.
    fn user_properties(&self) -> Fallible<Map> {
        let pairs = self.pairs()?.into_iter();
        Ok(pairs.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Replaces all user properties, unless nothing differs.
    fn set_user_properties(&mut self, new: Map) -> Fallible<()> {
        let text = |(name, value): (rhai::Identifier, Dynamic)| match value.into_string() {
            Ok(value) => Ok((name.to_string(), value)),
            Err(kind) => Err(fault(format!("user property `{name}` must be a string, not {kind}"))),
        };
        let new = new.into_iter().map(text).collect::<Fallible<BTreeMap<_, _>>>()?;
        let old = self.pairs()?.into_iter().collect::<BTreeMap<_, _>>();
        if new != old {
            self.draft().patch.user_properties = Some(new.into_iter().collect());
        }
        Ok(())
    }
}

impl Draft {
    /// Turns a changed document into the payload.
    fn settle(&mut self) {
        if let Parsed::Document(document) = &self.json
            && let Some(text) = document.changed_text()
        {
            self.patch.payload = Some(text);
        }
    }
}

pub(crate) fn qos_of(qos: i64) -> Fallible<Qos> {
    let bits = u8::try_from(qos).ok();
    bits.and_then(Qos::from_bits).ok_or_else(|| fault(format!("{qos} is not a QoS: 0, 1 or 2")))
}

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits) {
    let limits = *limits;
    engine
        .register_type_with_name::<MessageRef>("message")
        .register_get("topic", |message: &mut MessageRef| message.topic())
        .register_set("topic", |message: &mut MessageRef, topic: ImmutableString| {
            message.set_topic(&topic)
        })
        .register_get("levels", move |message: &mut MessageRef| message.levels(limits.array_size))
        .register_fn("level", |message: &mut MessageRef, index: i64| message.level(index))
        .register_get("text", move |message: &mut MessageRef| message.text(limits.string_size))
        .register_set("text", |message: &mut MessageRef, text: ImmutableString| {
            message.set_payload(text.as_bytes().to_vec());
        })
        .register_get("bytes", |message: &mut MessageRef| message.with_payload(Bytes::new))
        .register_set("bytes", |message: &mut MessageRef, bytes: Bytes| {
            message.set_payload(bytes.as_slice().to_vec());
        })
        .register_set("payload", |message: &mut MessageRef, value: Dynamic| {
            payload(&value).map(|payload| message.set_payload(payload))
        })
        .register_get("size", |message: &mut MessageRef| {
            message.with_payload(|payload| payload.len() as i64)
        })
        .register_get("json", move |message: &mut MessageRef| message.json(&limits))
        .register_set("json", move |message: &mut MessageRef, value: Dynamic| {
            message.set_json(&value, &limits)
        })
        .register_get("qos", |message: &mut MessageRef| message.qos())
        .register_set("qos", MessageRef::set_qos)
        .register_get("retain", |message: &mut MessageRef| message.retain())
        .register_set("retain", |message: &mut MessageRef, retain: bool| {
            message.draft().patch.retain = Some(retain);
        })
        .register_get("content_type", |message: &mut MessageRef| message.content_type())
        .register_set("content_type", |message: &mut MessageRef, value: ImmutableString| {
            message.draft().patch.content_type = Some(value.to_string());
        })
        .register_get("response_topic", |message: &mut MessageRef| message.response_topic())
        .register_get("correlation_data", |message: &mut MessageRef| message.correlation_data())
        .register_get("payload_is_text", |message: &mut MessageRef| message.payload_is_text())
        .register_get("user_properties", |message: &mut MessageRef| message.user_properties())
        .register_set("user_properties", MessageRef::set_user_properties);
}
