//! What version 2 says behind the addresses (section 2.2): here, of TLS between client and proxy.

use std::time::{SystemTime, UNIX_EPOCH};

use hookmq_access::proxied_certificate;
use hookmq_hooks::CertificateFacts;

use super::ProxyHeader;

const SSL: u8 = 0x20;
const SSL_COMMON_NAME: u8 = 0x22;
const SSL_CLIENT_CERTIFICATE: u8 = 0x28;

/// The client came over TLS; it showed a certificate in this connection, or earlier in the session.
const CLIENT_SSL: u8 = 1;
const CERTIFICATE_SHOWN: u8 = 2 | 4;

impl ProxyHeader {
    /// The client certificate that the proxy has verified, under the name of `trust_anchor`. None where
    /// there is none, or the proxy says that it has not verified it.
    ///
    /// # Errors
    /// Where the fields are malformed, say something twice, or name what is no clean identity.
    pub fn certificate(&self, trust_anchor: &str) -> Result<Option<CertificateFacts>, String> {
        let Some(ssl) = only(&self.fields, SSL)? else { return Ok(None) };
        let Some((&[client, verified @ ..], fields)) = ssl.split_first_chunk::<5>() else {
            return Err("the PROXY header's TLS field is cut short".into());
        };
        let has_shown = client & CLIENT_SSL != 0 && client & CERTIFICATE_SHOWN != 0;
        let [common_name, der] =
            [SSL_COMMON_NAME, SSL_CLIENT_CERTIFICATE].map(|it| only(fields, it));
        let (common_name, der) = (common_name?, der?);
        if !has_shown || verified != [0; 4] {
            return Ok(None);
        }
        let facts = proxied_certificate(der, common_name, trust_anchor);
        let facts = facts.map_err(|error| error.to_string())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        match facts {
            Some(facts) if u64::try_from(facts.not_after).unwrap_or(0) < now => {
                Err("the proxy vouches for a certificate that has expired".into())
            }
            facts => Ok(facts),
        }
    }
}

/// The value of the only field of this type; all fields must be well formed.
fn only(mut fields: &[u8], kind: u8) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    while !fields.is_empty() {
        let Some((&[field, high, low], rest)) = fields.split_first_chunk::<3>() else {
            return Err("a field of the PROXY header is cut short".into());
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return Err("a field of the PROXY header is cut short".into());
        };
        if field == kind && found.replace(value).is_some() {
            return Err(format!("the PROXY header has two fields of type {kind:#04x}"));
        }
        fields = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
    }

    fn ssl(client: u8, verified: u32, fields: &[Vec<u8>]) -> Vec<u8> {
        field(SSL, &[&[client], &verified.to_be_bytes()[..], &fields.concat()].concat())
    }

    fn read(fields: Vec<u8>) -> Result<Option<CertificateFacts>, String> {
        ProxyHeader { source: None, fields }.certificate("edge")
    }

    #[test]
    fn a_verified_certificate_is_taken() {
        let name = field(SSL_COMMON_NAME, b"pump-7");
        for client in [3, 5, 7] {
            let fields =
                [field(2, b"host"), ssl(client, 0, &[field(0x21, b"TLSv1.3"), name.clone()])];
            let facts = read(fields.concat()).unwrap().unwrap();
            assert_eq!(facts.subject.common_name, ["pump-7"]);
            assert!(facts.vouched_by_proxy && facts.trust_anchor == "edge");
        }
    }

    #[test]
    fn what_is_not_verified_or_not_there_is_nobody() {
        let name = field(SSL_COMMON_NAME, b"pump-7");
        for fields in [
            vec![],
            field(2, b"host"),
            ssl(7, 1, std::slice::from_ref(&name)),
            ssl(0, 0, std::slice::from_ref(&name)),
            ssl(1, 0, std::slice::from_ref(&name)),
            ssl(6, 0, std::slice::from_ref(&name)),
            ssl(7, 0, &[]),
        ] {
            assert_eq!(read(fields.clone()), Ok(None), "{fields:?}");
        }
    }

    #[test]
    fn what_is_malformed_or_said_twice_is_refused() {
        let name = field(SSL_COMMON_NAME, b"pump-7");
        let good = ssl(7, 0, std::slice::from_ref(&name));
        for fields in [
            ssl(7, 0, &[name.clone(), field(SSL_COMMON_NAME, b"pump-8")]),
            [good.clone(), good.clone()].concat(),
            ssl(7, 0, &[field(SSL_COMMON_NAME, b"pump\0")]),
            ssl(7, 0, &[field(SSL_COMMON_NAME, b"\xff")]),
            ssl(7, 0, &[field(SSL_CLIENT_CERTIFICATE, b"no certificate")]),
            ssl(7, 0, &[name[..5].to_vec()]),
            field(SSL, &[7, 0]),
            good[..good.len() - 1].to_vec(),
            [good.clone(), vec![0]].concat(),
        ] {
            assert!(read(fields.clone()).is_err(), "{fields:?}");
        }
    }
}
