//! Texts with fields of a certificate in them: `{cn}`, `device-{serial}`.

use std::fmt;

use hookmq_hooks::CertificateFacts;
use serde::Deserialize;

use crate::braces::{LONGEST, Piece, Unbalanced, pieces};
use crate::name::ambiguity;

/// A text with at least one part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// What a certificate says, under the name that templates have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field {
    CommonName,
    Organization,
    OrganizationalUnit,
    Country,
    Subject,
    Issuer,
    Serial,
    Fingerprint,
    SanDns,
    SanUri,
    SanEmail,
    SanIp,
    TrustAnchor,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("it must not be empty")]
    Empty,
    #[error("a brace is not closed, or not opened")]
    Brace,
    #[error("{{{name}}} is no field of a certificate; there are {known}")]
    Unknown { name: String, known: String },
}

/// Why a certificate does not fit a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    Absent(Field),
    Several(Field, usize),
    /// Somebody could take it for something else.
    Ambiguous(Field, &'static str),
    TooLong,
}

impl Field {
    pub(super) const ALL: [Self; 13] = [
        Self::CommonName,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::Country,
        Self::Subject,
        Self::Issuer,
        Self::Serial,
        Self::Fingerprint,
        Self::SanDns,
        Self::SanUri,
        Self::SanEmail,
        Self::SanIp,
        Self::TrustAnchor,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CommonName => "cn",
            Self::Organization => "o",
            Self::OrganizationalUnit => "ou",
            Self::Country => "c",
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::Serial => "serial",
            Self::Fingerprint => "fingerprint",
            Self::SanDns => "san_dns",
            Self::SanUri => "san_uri",
            Self::SanEmail => "san_email",
            Self::SanIp => "san_ip",
            Self::TrustAnchor => "trust_anchor",
        }
    }

    fn values(self, certificate: &CertificateFacts) -> &[String] {
        let CertificateFacts { subject, .. } = certificate;
        match self {
            Self::CommonName => &subject.common_name,
            Self::Organization => &subject.organization,
            Self::OrganizationalUnit => &subject.organizational_unit,
            Self::Country => &subject.country,
            Self::Subject => std::slice::from_ref(&subject.text),
            Self::Issuer => std::slice::from_ref(&certificate.issuer.text),
            Self::Serial => std::slice::from_ref(&certificate.serial),
            Self::Fingerprint => std::slice::from_ref(&certificate.fingerprint),
            Self::SanDns => &certificate.san_dns,
            Self::SanUri => &certificate.san_uri,
            Self::SanEmail => &certificate.san_email,
            Self::SanIp => &certificate.san_ip,
            Self::TrustAnchor => std::slice::from_ref(&certificate.trust_anchor),
        }
    }

    /// The only value, if it can mean one thing only.
    pub(super) fn value(self, certificate: &CertificateFacts) -> Result<&str, Unfit> {
        let value = match self.values(certificate) {
            [] => return Err(Unfit::Absent(self)),
            [value] if value.is_empty() => return Err(Unfit::Absent(self)),
            [value] => value,
            several => return Err(Unfit::Several(self, several.len())),
        };
        match ambiguity(value) {
            Some(what) => Err(Unfit::Ambiguous(self, what)),
            None => Ok(value),
        }
    }
}

impl Template {
    pub(super) fn fill(&self, certificate: &CertificateFacts) -> Result<String, Unfit> {
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::Field(field) => field.value(certificate)?,
            });
        }
        if filled.len() > LONGEST { Err(Unfit::TooLong) } else { Ok(filled) }
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        let part = |piece| match piece {
            Ok(Piece::Text(text)) => Ok(Part::Text(text.to_owned())),
            Ok(Piece::Name(name)) => {
                let field = Field::ALL.into_iter().find(|field| field.name() == name);
                field.map(Part::Field).ok_or_else(|| TemplateError::Unknown {
                    name: name.to_owned(),
                    known: Field::ALL.map(Field::name).join(", "),
                })
            }
            Err(Unbalanced) => Err(TemplateError::Brace),
        };
        let parts: Vec<_> = pieces(&text).map(part).collect::<Result<_, _>>()?;
        if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(Self(parts)) }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(field) => write!(f, "the certificate has no {}", field.name()),
            Self::Several(field, count) => {
                write!(f, "the certificate has {count} {}, and one is wanted", field.name())
            }
            Self::Ambiguous(field, what) => {
                write!(f, "the certificate's {} holds {what}", field.name())
            }
            Self::TooLong => write!(f, "it is longer than {LONGEST} bytes"),
        }
    }
}
