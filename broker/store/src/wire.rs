//! How words of the protocol are written down where their own crates know no serde.

/// A topic filter as its text.
pub(crate) mod filter_text {
    use hookmq_codec::TopicFilter;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(filter: &TopicFilter, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(filter.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TopicFilter, D::Error> {
        TopicFilter::new(Box::<str>::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A subscription as the options byte of SUBSCRIBE (section 3.8.3.1) and its identifier.
pub(crate) mod granted {
    use std::num::NonZeroU32;

    use hookmq_codec::{Qos, RetainHandling, SubscriptionOptions};
    use hookmq_core::Subscription;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(it: &Subscription, to: S) -> Result<S::Ok, S::Error> {
        let SubscriptionOptions { maximum_qos, no_local, retain_as_published, retain_handling } =
            it.options;
        let flags = u8::from(no_local) << 2 | u8::from(retain_as_published) << 3;
        let options = maximum_qos as u8 | flags | (retain_handling as u8) << 4;
        (options, it.identifier).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Subscription, D::Error> {
        let (options, identifier) = <(u8, Option<NonZeroU32>)>::deserialize(from)?;
        let unknown = || D::Error::custom("unknown subscription options");
        let options = SubscriptionOptions {
            maximum_qos: Qos::from_bits(options & 0b11).ok_or_else(unknown)?,
            no_local: options & 0b100 != 0,
            retain_as_published: options & 0b1000 != 0,
            retain_handling: match options >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(unknown()),
            },
        };
        Ok(Subscription { options, identifier })
    }
}
