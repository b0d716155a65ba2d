//! Mosquitto's `acl_file`.

use super::{Effect, Import, Permission, Subject, filter_of, is_name};

/// Denials stand before whatever allows.
const DENIAL: i32 = 1;

/// Who the lines that follow are for.
enum Section {
    /// Clients without a user name.
    Anonymous,
    User(String),
    /// Of a user whose name cannot be kept.
    Nobody,
}

/// Reads `text`. Mosquitto lets everybody subscribe to anything and looks at each delivery; where
/// `deliveries` or a denial asks for it, we look at deliveries as well.
pub(super) fn read(import: &mut Import, text: &str, anonymous: &str, deliveries: bool) {
    let words = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let denies = text.lines().any(|line| words(line).as_deref() == Some("deny"));
    let mut reader =
        Reader { import, section: Section::Anonymous, deliveries: deliveries || denies };
    for (number, line) in (1..).zip(text.lines()) {
        reader.line(line.trim_start(), &format!("ACL file, line {number}"), anonymous);
    }
    match deliveries {
        true => {
            let all = Permission {
                subject: Subject::Everyone,
                action: "subscribe",
                filter: "#".into(),
                effect: Effect::Allow,
                priority: 0,
            };
            import.permit(all, "--broad-subscriptions");
        }
        false => import.note(
            "ACL file: a subscription to more than a client may read is refused; Mosquitto accepts \
             it and leaves out what it may not read, and so does --broad-subscriptions",
        ),
    }
}

struct Reader<'a> {
    import: &'a mut Import,
    section: Section,
    deliveries: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, place: &str, anonymous: &str) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            _ if line.is_empty() || line.starts_with('#') => {}
            "user" if is_name(rest) => {
                self.import.principal(rest);
                self.section = Section::User(rest.to_owned());
            }
            "user" => {
                self.section = Section::Nobody;
                self.import.note(format!("{place}: the user name cannot be kept, left out"));
            }
            "topic" => {
                let subject = match &self.section {
                    Section::Anonymous => {
                        self.import.principal(anonymous);
                        Subject::Principal(anonymous.to_owned())
                    }
                    Section::User(name) => Subject::Principal(name.clone()),
                    Section::Nobody => {
                        return self.import.note(format!("{place}: of nobody, left out"));
                    }
                };
                // Only patterns have placeholders.
                self.rule(&subject, rest, str::to_owned, place);
            }
            "pattern" => self.rule(&Subject::Everyone, rest, filter_of, place),
            _ => self.import.note(format!("{place}: {word:?} is not known, left out")),
        }
    }

    /// `[read|write|readwrite|deny] TOPIC`; the topic may have spaces.
    fn rule(&mut self, subject: &Subject, rest: &str, filter: fn(&str) -> String, place: &str) {
        let known = ["read", "write", "readwrite", "deny"];
        let (access, topic) = match rest.split_once(char::is_whitespace) {
            Some((word, topic)) if known.contains(&word) => (word, topic.trim_start()),
            _ => ("readwrite", rest),
        };
        let mut add = |action, effect, priority| {
            let (subject, filter) = (subject.clone(), filter(topic));
            let permission = Permission { subject, action, filter, effect, priority };
            self.import.permit(permission, place);
        };
        if access == "deny" {
            add("publish", Effect::Deny, DENIAL);
            return add("receive", Effect::Deny, DENIAL);
        }
        if access != "read" {
            add("publish", Effect::Allow, 0);
        }
        if access != "write" {
            add("subscribe", Effect::Allow, 0);
            if self.deliveries {
                add("receive", Effect::Allow, 0);
            }
        }
    }
}
