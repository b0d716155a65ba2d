//! What the shape of a listener alone does not say.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{ListenerConfig, ListenerDocument, PRIVATE, TrustedProxies, WebSocketSettings};
use crate::config::bind::{Bind, Transport};
use crate::config::check::Check;
use crate::config::error::KeyPath;
use crate::tls::ApplicationProtocol;

impl Check {
    pub(in crate::config) fn listeners(
        &mut self,
        documents: Vec<ListenerDocument>,
    ) -> Vec<ListenerConfig> {
        let all = KeyPath::root("listeners");
        if documents.is_empty() {
            self.problem(&all, "at least one listener is needed");
        }
        let mut names = HashSet::new();
        let mut places = HashSet::new();
        let mut listeners = Vec::new();
        for (index, document) in documents.into_iter().enumerate() {
            let path = all.index(index);
            if !names.insert(document.name.clone()) {
                let message = format!("there is another listener named {:?}", document.name);
                self.problem(&path.key("name"), message);
            }
            let place = match &document.bind {
                // The system chooses a port for each 0.
                Bind::Network { address, .. } if address.port() == 0 => None,
                Bind::Network { address, .. } => Some(address.to_string()),
                Bind::Unix(file) => Some(self.resolve(file).display().to_string()),
            };
            if let Some(place) = place
                && !places.insert(place.clone())
            {
                self.problem(&path.key("bind"), format!("another listener binds {place}"));
            }
            listeners.push(self.listener(&path, document));
        }
        listeners
    }

    fn listener(&mut self, path: &KeyPath, document: ListenerDocument) -> ListenerConfig {
        let name = self.name(&path.key("name"), &document.name);
        match document.bind.clone() {
            Bind::Unix(file) => {
                let file = self.resolve(&file);
                self.unix_listener(path, name, file, document)
            }
            Bind::Network { transport, address } => {
                self.network_listener(path, name, (transport, address), document)
            }
        }
    }

    fn unix_listener(
        &mut self,
        path: &KeyPath,
        name: Arc<str>,
        file: PathBuf,
        document: ListenerDocument,
    ) -> ListenerConfig {
        for (key, is_there) in [
            ("tls", document.tls.is_some()),
            ("allow_public_plaintext", document.allow_public_plaintext),
            ("allow_public_anonymous", document.allow_public_anonymous),
            ("websocket", document.websocket.is_some()),
            ("proxy_protocol", document.proxy_protocol.is_some()),
        ] {
            if is_there {
                self.problem(&path.key(key), "a unix:// listener has none");
            }
        }
        let mode = document.mode.unwrap_or(PRIVATE);
        ListenerConfig { mode, ..ListenerConfig::plain(name, Bind::Unix(file)) }
    }

    fn network_listener(
        &mut self,
        path: &KeyPath,
        name: Arc<str>,
        (transport, address): (Transport, SocketAddr),
        document: ListenerDocument,
    ) -> ListenerConfig {
        let mut listener = ListenerConfig::plain(name, document.bind);
        listener.allow_public_anonymous = document.allow_public_anonymous;
        let scheme = transport.scheme();
        if document.mode.is_some() {
            self.problem(&path.key("mode"), "it concerns unix:// listeners only");
        }
        match (transport.is_encrypted(), document.tls) {
            (true, None) => {
                let message =
                    format!("a {scheme}:// listener needs `tls` with certificate and key");
                self.problem(path, message);
            }
            (true, Some(settings)) => {
                if document.allow_public_plaintext {
                    let message = "it concerns tcp:// and ws:// listeners only";
                    self.problem(&path.key("allow_public_plaintext"), message);
                }
                let protocol = match transport.is_websocket() {
                    true => ApplicationProtocol::Http,
                    false => ApplicationProtocol::Mqtt,
                };
                let tls = self.tls(&path.key("tls"), &listener.name, protocol, settings);
                listener.tls = tls.map(Arc::new);
            }
            (false, Some(_)) => {
                let message = match transport.is_websocket() {
                    true => "a ws:// listener has none; bind wss:// instead",
                    false => "a tcp:// listener has none; bind tls:// instead",
                };
                self.problem(&path.key("tls"), message);
            }
            (false, None) => {
                let allowed = document.allow_public_plaintext;
                self.plaintext(&path.key("bind"), address, allowed);
            }
        }
        if let Some(websocket) = document.websocket {
            self.websocket(&path.key("websocket"), transport, &websocket);
            listener.websocket = Some(websocket);
        }
        if let Some(proxies) = document.proxy_protocol {
            if proxies.trusted.is_empty() {
                let path = path.key("proxy_protocol").key("trusted");
                self.problem(&path, "without a trusted proxy, nobody could connect");
            }
            listener.proxies = Some(TrustedProxies(proxies.trusted));
            let path = path.key("proxy_protocol").key("trust_anchor");
            listener.proxy_anchor = proxies.trust_anchor.map(|name| self.name(&path, &name));
            let own = listener.tls.as_ref().map(|tls| tls.settings().trust_anchors());
            if let (Some(name), Some(own)) = (&listener.proxy_anchor, own)
                && own.contains(&name)
            {
                self.problem(&path, format!("{name:?} is a trust anchor of `tls`"));
            }
        }
        listener
    }

    fn websocket(&mut self, path: &KeyPath, transport: Transport, settings: &WebSocketSettings) {
        if !transport.is_websocket() {
            self.problem(path, "it concerns ws:// and wss:// listeners only");
        }
        if settings.path.as_deref().is_some_and(|path| !path.starts_with('/')) {
            self.problem(&path.key("path"), "it must start with a slash");
        }
        for (index, origin) in settings.origins.iter().enumerate() {
            if !is_origin(origin) {
                let message = format!("{origin:?} is no origin, such as https://example.com");
                self.problem(&path.key("origins").index(index), message);
            }
        }
    }
}

/// A scheme, a host and perhaps a port, as browsers write it.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map(|(_, host)| host);
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '?', '#', '*']))
}
