//! Packets of every type, as any peer could send them.
//!
//! What packets borrow is leaked: a few kilobytes in a test's process.

use std::num::{NonZeroU16, NonZeroU32};

use hookmq_codec::{
    Ack, AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect,
    ConnectProperties, Disconnect, DisconnectProperties, Packet, PacketId, PacketType,
    ProtocolVersion, Publish, PublishProperties, Qos, ReasonCode, RetainHandling, SubAck,
    Subscribe, SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe,
    UserProperties, UserPropertiesBuf, Will,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(vec![ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5])
}

/// A version and a packet as it has it.
pub fn versioned_packet() -> impl Strategy<Value = (ProtocolVersion, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let acknowledgement = |packet_type| ack(version, packet_type);
    let of_every_version = prop_oneof![
        connect(version).prop_map(|connect| Packet::Connect(Box::new(connect))),
        conn_ack(version).prop_map(|conn_ack| Packet::ConnAck(Box::new(conn_ack))),
        publish(version).prop_map(Packet::Publish),
        acknowledgement(PacketType::PubAck).prop_map(Packet::PubAck),
        acknowledgement(PacketType::PubRec).prop_map(Packet::PubRec),
        acknowledgement(PacketType::PubRel).prop_map(Packet::PubRel),
        acknowledgement(PacketType::PubComp).prop_map(Packet::PubComp),
        subscribe(version).prop_map(Packet::Subscribe),
        sub_ack(version, PacketType::SubAck).prop_map(Packet::SubAck),
        unsubscribe(version).prop_map(Packet::Unsubscribe),
        sub_ack(version, PacketType::UnsubAck).prop_map(Packet::UnsubAck),
        select(vec![Packet::PingReq, Packet::PingResp]),
        disconnect(version).prop_map(Packet::Disconnect),
    ];
    match version {
        ProtocolVersion::V5 => {
            prop_oneof![13 => of_every_version, 1 => auth().prop_map(Packet::Auth)].boxed()
        }
        _ => of_every_version.boxed(),
    }
}

fn text() -> impl Strategy<Value = &'static str> {
    "[^\0]{0,12}".prop_map(|text| &*text.leak())
}

pub fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..300).prop_map(|bytes| &*bytes.leak())
}

pub fn topic() -> impl Strategy<Value = TopicName<'static>> {
    "[^\0+#]{1,20}".prop_map(|text| TopicName::new(text.leak()).unwrap())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof!["[^\0+#/]{0,4}", Just("+".to_owned())];
    let share = of("[a-z]{1,5}");
    (share, vec(level, 1..5), any::<bool>()).prop_filter_map(
        "a filter is not empty",
        |(share, levels, all_below)| {
            let mut filter = share.map(|name| format!("$share/{name}/")).unwrap_or_default();
            filter.push_str(&levels.join("/"));
            if all_below {
                filter.push_str("/#");
            }
            TopicFilter::new(filter).ok()
        },
    )
}

fn user_properties() -> impl Strategy<Value = UserProperties<'static>> {
    vec((text(), text()), 0..3).prop_map(|pairs| {
        let built = UserPropertiesBuf::try_from_pairs(pairs).unwrap();
        Box::leak(Box::new(built)).as_user_properties()
    })
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<NonZeroU16>()
}

fn qos() -> impl Strategy<Value = Qos> {
    select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn subscription_identifier() -> impl Strategy<Value = NonZeroU32> {
    (1..=268_435_455u32).prop_map(|number| NonZeroU32::new(number).unwrap())
}

fn reason_code(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes = (0..=255).filter_map(ReasonCode::from_byte);
    select(codes.filter(|code| code.is_allowed_in(packet_type)).collect::<Vec<_>>())
}

/// Nothing before version 5.
fn properties<T: Default + Clone + std::fmt::Debug + 'static>(
    version: ProtocolVersion,
    of_version_5: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    match version {
        ProtocolVersion::V5 => prop_oneof![Just(T::default()), of_version_5].boxed(),
        _ => Just(T::default()).boxed(),
    }
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Connect<'static>> {
    let credentials = (of(text()), of(bytes())).prop_map(move |(username, password)| {
        let alone = username.is_none() && version != ProtocolVersion::V5;
        (username, password.filter(|_| !alone))
    });
    (
        any::<bool>(),
        any::<u16>(),
        text(),
        of(will(version)),
        credentials,
        properties(version, connect_properties()),
    )
        .prop_map(
            move |(clean_start, keep_alive, client_id, will, credentials, properties)| {
                let (username, password) = credentials;
                Connect {
                    version,
                    clean_start,
                    keep_alive,
                    client_id,
                    will,
                    username,
                    password,
                    properties,
                }
            },
        )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties<'static>> {
    (
        of(any::<u32>()),
        of(any::<NonZeroU16>()),
        of(any::<NonZeroU32>()),
        of(any::<u16>()),
        of(any::<bool>()),
        of(any::<bool>()),
        of((text(), of(bytes()))),
        user_properties(),
    )
        .prop_map(
            |(expiry, receive, size, alias, response, problem, method, user_properties)| {
                ConnectProperties {
                    session_expiry_interval: expiry,
                    receive_maximum: receive,
                    maximum_packet_size: size,
                    topic_alias_maximum: alias,
                    request_response_information: response,
                    request_problem_information: problem,
                    authentication_method: method.map(|(method, _)| method),
                    authentication_data: method.and_then(|(_, data)| data),
                    user_properties,
                }
            },
        )
}

fn will(version: ProtocolVersion) -> impl Strategy<Value = Will<'static>> {
    let properties = properties(version, (message_properties(), any::<u32>()));
    (topic(), bytes(), qos(), any::<bool>(), properties).prop_map(
        |(topic, payload, qos, retain, (properties, delay_interval))| Will {
            topic,
            payload,
            qos,
            retain,
            delay_interval,
            properties,
        },
    )
}

/// Without subscription identifiers, which wills do not have.
fn message_properties() -> impl Strategy<Value = PublishProperties<'static>> {
    (of(any::<bool>()), of(any::<u32>()), of(text()), of(topic()), of(bytes()), user_properties())
        .prop_map(|(format, expiry, content_type, response, correlation, user_properties)| {
            PublishProperties {
                payload_format_indicator: format,
                message_expiry_interval: expiry,
                content_type,
                response_topic: response.map(TopicName::as_str),
                correlation_data: correlation,
                subscription_identifiers: Vec::new(),
                user_properties,
            }
        })
}

pub fn publish_properties() -> impl Strategy<Value = PublishProperties<'static>> {
    (message_properties(), vec(subscription_identifier(), 0..3)).prop_map(
        |(properties, subscription_identifiers)| PublishProperties {
            subscription_identifiers,
            ..properties
        },
    )
}

pub fn publish(version: ProtocolVersion) -> impl Strategy<Value = Publish<'static>> {
    let properties =
        properties(version, (publish_properties(), of((any::<NonZeroU16>(), any::<bool>()))));
    (topic(), bytes(), qos(), packet_id(), any::<(bool, bool)>(), properties).prop_map(
        |(topic, payload, qos, packet_id, (dup, retain), (properties, alias))| Publish {
            dup: dup && qos != Qos::AtMostOnce,
            qos,
            retain,
            topic: Some(topic).filter(|_| !alias.is_some_and(|(_, omit_topic)| omit_topic)),
            packet_id: Some(packet_id).filter(|_| qos != Qos::AtMostOnce),
            topic_alias: alias.map(|(alias, _)| alias),
            properties,
            payload,
        },
    )
}

fn conn_ack(version: ProtocolVersion) -> impl Strategy<Value = ConnAck<'static>> {
    let code = match version {
        ProtocolVersion::V5 => reason_code(PacketType::ConnAck).boxed(),
        _ => select(vec![
            ReasonCode::Success,
            ReasonCode::UnsupportedProtocolVersion,
            ReasonCode::ClientIdentifierNotValid,
            ReasonCode::ServerUnavailable,
            ReasonCode::BadUserNameOrPassword,
            ReasonCode::NotAuthorized,
        ])
        .boxed(),
    };
    (any::<bool>(), code, properties(version, conn_ack_properties())).prop_map(
        move |(session_present, reason_code, properties)| ConnAck {
            session_present: session_present
                && reason_code == ReasonCode::Success
                && version != ProtocolVersion::V31,
            reason_code,
            properties,
        },
    )
}

fn conn_ack_properties() -> impl Strategy<Value = ConnAckProperties<'static>> {
    let numbers = (
        of(any::<u32>()),
        of(any::<NonZeroU16>()),
        of(any::<NonZeroU32>()),
        of(any::<u16>()),
        of(any::<u16>()),
    );
    let maximum_qos = of(select(vec![Qos::AtMostOnce, Qos::AtLeastOnce]));
    let flags = vec(of(any::<bool>()), 4);
    let texts = vec(of(text()), 5);
    (numbers, maximum_qos, flags, texts, of(bytes()), user_properties()).prop_map(
        |(numbers, maximum_qos, flags, texts, authentication_data, user_properties)| {
            ConnAckProperties {
                session_expiry_interval: numbers.0,
                receive_maximum: numbers.1,
                maximum_qos,
                retain_available: flags[0],
                maximum_packet_size: numbers.2,
                assigned_client_identifier: texts[0],
                topic_alias_maximum: numbers.3,
                reason_string: texts[1],
                wildcard_subscription_available: flags[1],
                subscription_identifiers_available: flags[2],
                shared_subscription_available: flags[3],
                server_keep_alive: numbers.4,
                response_information: texts[2],
                server_reference: texts[3],
                authentication_method: texts[4],
                authentication_data,
                user_properties,
            }
        },
    )
}

fn ack_properties() -> impl Strategy<Value = AckProperties<'static>> {
    (of(text()), user_properties()).prop_map(|(reason_string, user_properties)| AckProperties {
        reason_string,
        user_properties,
    })
}

fn ack(version: ProtocolVersion, packet_type: PacketType) -> impl Strategy<Value = Ack<'static>> {
    let code = match version {
        ProtocolVersion::V5 => reason_code(packet_type).boxed(),
        _ => Just(ReasonCode::Success).boxed(),
    };
    (packet_id(), code, properties(version, ack_properties()))
        .prop_map(|(packet_id, reason_code, properties)| Ack { packet_id, reason_code, properties })
}

fn subscription_options(version: ProtocolVersion) -> impl Strategy<Value = SubscriptionOptions> {
    let handling =
        select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    (qos(), any::<(bool, bool)>(), handling).prop_map(
        move |(maximum_qos, (no_local, retain_as_published), retain_handling)| match version {
            ProtocolVersion::V5 => {
                SubscriptionOptions { maximum_qos, no_local, retain_as_published, retain_handling }
            }
            _ => SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() },
        },
    )
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Subscribe<'static>> {
    let request = (filter(), subscription_options(version)).prop_map(|(filter, options)| {
        let no_local = options.no_local && filter.share_name().is_none();
        (filter, SubscriptionOptions { no_local, ..options })
    });
    let of_version_5 = (of(subscription_identifier()), user_properties()).prop_map(
        |(subscription_identifier, user_properties)| SubscribeProperties {
            subscription_identifier,
            user_properties,
        },
    );
    (packet_id(), vec(request, 1..4), properties(version, of_version_5))
        .prop_map(|(packet_id, filters, properties)| Subscribe { packet_id, filters, properties })
}

fn sub_ack(
    version: ProtocolVersion,
    packet_type: PacketType,
) -> impl Strategy<Value = SubAck<'static>> {
    let codes = match (version, packet_type) {
        (ProtocolVersion::V5, _) => vec(reason_code(packet_type), 1..4).boxed(),
        (_, PacketType::UnsubAck) => Just(Vec::new()).boxed(),
        _ => {
            let granted = [ReasonCode::Success, ReasonCode::GrantedQos1, ReasonCode::GrantedQos2];
            let refusal: &[_] = match version {
                ProtocolVersion::V31 => &[],
                _ => &[ReasonCode::UnspecifiedError],
            };
            vec(select([&granted, refusal].concat()), 1..4).boxed()
        }
    };
    (packet_id(), codes, properties(version, ack_properties())).prop_map(
        |(packet_id, reason_codes, properties)| SubAck { packet_id, reason_codes, properties },
    )
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Unsubscribe<'static>> {
    (packet_id(), vec(filter(), 1..4), properties(version, user_properties())).prop_map(
        |(packet_id, filters, user_properties)| Unsubscribe { packet_id, filters, user_properties },
    )
}

fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Disconnect<'static>> {
    let code = match version {
        ProtocolVersion::V5 => reason_code(PacketType::Disconnect).boxed(),
        _ => Just(ReasonCode::Success).boxed(),
    };
    let of_version_5 = (of(any::<u32>()), of(text()), of(text()), user_properties()).prop_map(
        |(session_expiry_interval, reason_string, server_reference, user_properties)| {
            DisconnectProperties {
                session_expiry_interval,
                reason_string,
                server_reference,
                user_properties,
            }
        },
    );
    (code, properties(version, of_version_5))
        .prop_map(|(reason_code, properties)| Disconnect { reason_code, properties })
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    (reason_code(PacketType::Auth), text(), of(bytes()), of(text()), user_properties()).prop_map(
        |(reason_code, method, authentication_data, reason_string, user_properties)| Auth {
            reason_code,
            properties: AuthProperties {
                authentication_method: Some(method),
                authentication_data,
                reason_string,
                user_properties,
            },
        },
    )
}
