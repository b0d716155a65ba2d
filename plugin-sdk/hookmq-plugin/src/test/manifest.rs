//! The manifest, as far as a call depends on it.

use serde::Deserialize;

use crate::{Client, ConnectAttempt, Message, TopicFilter};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    pub hooks: Vec<String>,
    pub capabilities: Vec<String>,
    pub emit: Vec<TopicFilter>,
    pub http: Vec<String>,
    pub secrets: Vec<String>,
    fields: Vec<String>,
}

impl Manifest {
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("the manifest {json}: {error}"))
    }

    /// Whether a request may go to the origin of this url.
    pub fn reaches(&self, url: &str) -> bool {
        let Some((scheme, rest)) = url.split_once("://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let asked = origin(scheme, authority);
        self.http.iter().any(|named| match named.split_once("://") {
            Some((scheme, authority)) => origin(scheme, authority) == asked,
            None => named == "*" || origin("https", named) == asked,
        })
    }

    pub fn shown_attempt(&self, attempt: &ConnectAttempt) -> ConnectAttempt {
        let password = attempt.password.clone().filter(|_| self.wants("password"));
        ConnectAttempt { password, ..attempt.clone() }
    }

    /// None where the manifest asks for nothing of the client.
    pub fn shown_client(&self, client: &Client) -> Option<Client> {
        let wanted = ["client", "attributes", "connection"].iter().any(|field| self.wants(field));
        wanted.then(|| self.bare_client(client))
    }

    /// Without what the manifest does not ask for.
    pub fn bare_client(&self, client: &Client) -> Client {
        let mut client = client.clone();
        if !self.wants("attributes") {
            client.roles.clear();
            client.attributes.clear();
        }
        if !self.wants("connection") {
            client.connection.clear();
        }
        client
    }

    pub fn shown_message(&self, message: &Message) -> Message {
        let payload = message.payload.clone().filter(|_| self.wants("payload"));
        let properties = message.properties.clone().filter(|_| self.wants("properties"));
        Message { payload, properties, ..message.clone() }
    }

    fn wants(&self, field: &str) -> bool {
        self.fields.iter().any(|named| named == field)
    }
}

/// Scheme, host and port, with the scheme's own port where none is named.
fn origin<'a>(scheme: &'a str, authority: &'a str) -> (&'a str, &'a str, &'a str) {
    let port = if scheme == "http" { "80" } else { "443" };
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, port));
    (scheme, host, port)
}
