//! Values with placeholders.

use serde_json::Value;

/// What placeholders stand for.
pub struct Facts<'a> {
    pub tenant: &'a str,
    pub username: &'a str,
    pub client_id: &'a str,
    pub topic: &'a str,
    /// Milliseconds since 1970; asked only where an operation needs it.
    pub now: fn() -> u64,
}

/// The value with the placeholders of its strings filled in, at any depth.
pub fn render(value: &Value, facts: &Facts) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(render_text(text, facts)?),
        Value::Array(items) => {
            items.iter().map(|item| render(item, facts)).collect::<Result<_, _>>()?
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| Ok((name.clone(), render(value, facts)?)))
            .collect::<Result<_, String>>()?,
        other => other.clone(),
    })
}

/// Whether the value's placeholders are all known.
pub fn check(value: &Value) -> Result<(), String> {
    let facts = Facts { tenant: "", username: "", client_id: "", topic: "", now: || 0 };
    render(value, &facts).map(drop)
}

/// `{name}` is a placeholder; `{{` and `}}` are braces.
fn render_text(text: &str, facts: &Facts) -> Result<String, String> {
    let mut rendered = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        rendered.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix(brace) {
            rendered.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = behind.split_once('}').filter(|_| brace == "{") else {
            return Err(format!("{text:?}: a single brace is written twice, {{{{ or }}}}"));
        };
        rendered.push_str(match name {
            "tenant" => facts.tenant,
            "username" => facts.username,
            "client_id" => facts.client_id,
            "topic" => facts.topic,
            _ => {
                return Err(format!(
                    "unknown placeholder {{{name}}}; there are {{tenant}}, {{username}}, \
                     {{client_id}} and {{topic}}"
                ));
            }
        });
        rest = after;
    }
    rendered.push_str(rest);
    Ok(rendered)
}
