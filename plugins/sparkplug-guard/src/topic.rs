//! The topics of Sparkplug 3.0, section 4.1.

/// The name space of Sparkplug B.
pub const NAMESPACE: &str = "spBv1.0";

/// What a topic of the name space is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// `spBv1.0/STATE/host`: a host application, which is no edge node's affair.
    State,
    /// A command to an edge node or a device.
    Command,
    Report(Report<'a>),
}

/// What an edge node says of itself, or of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    pub group: &'a str,
    pub kind: Kind,
    pub node: &'a str,
    /// None where the report is about the edge node.
    pub device: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Birth,
    Data,
    Death,
}

impl<'a> Topic<'a> {
    /// None outside of the name space; an error within where it breaks the structure.
    pub fn parse(topic: &'a str) -> Option<Result<Self, ()>> {
        let rest = match topic.split_once('/') {
            Some((NAMESPACE, rest)) => rest,
            None if topic == NAMESPACE => return Some(Err(())),
            _ => return None,
        };
        let levels: Vec<&str> = rest.splitn(5, '/').collect();
        if levels.iter().any(|level| level.is_empty()) {
            return Some(Err(()));
        }
        Some(match levels[..] {
            ["STATE", _] => Ok(Self::State),
            ["STATE", ..] => Err(()),
            [_, "NCMD", _] | [_, "DCMD", _, _] => Ok(Self::Command),
            [group, name, node] => Self::report(group, name, 'N', node, None),
            [group, name, node, device] => Self::report(group, name, 'D', node, Some(device)),
            _ => Err(()),
        })
    }

    fn report(
        group: &'a str,
        name: &str,
        initial: char,
        node: &'a str,
        device: Option<&'a str>,
    ) -> Result<Self, ()> {
        let kind = match name.strip_prefix(initial) {
            Some("BIRTH") => Kind::Birth,
            Some("DATA") => Kind::Data,
            Some("DEATH") => Kind::Death,
            _ => return Err(()),
        };
        Ok(Self::Report(Report { group, kind, node, device }))
    }
}
