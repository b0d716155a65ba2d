//! The configuration of Mosquitto's plugin for dynamic security.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::{Effect, Import, Permission, Subject, filter_of, is_name, is_short_name};

/// Behind everything else.
const DEFAULT: i32 = i32::MIN;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default, rename = "defaultACLAccess")]
    default_access: BTreeMap<String, bool>,
    #[serde(default)]
    clients: Vec<Client>,
    #[serde(default)]
    groups: Vec<Group>,
    #[serde(default)]
    roles: Vec<Role>,
    anonymous_group: Option<String>,
}

#[derive(Deserialize)]
struct Client {
    username: String,
    clientid: Option<String>,
    password: Option<String>,
    salt: Option<String>,
    iterations: Option<u32>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    roles: Vec<RoleName>,
}

#[derive(Deserialize)]
struct Group {
    groupname: String,
    #[serde(default)]
    roles: Vec<RoleName>,
    #[serde(default)]
    clients: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    username: String,
}

#[derive(Deserialize)]
struct RoleName {
    rolename: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Deserialize)]
struct Role {
    rolename: String,
    #[serde(default)]
    acls: Vec<Acl>,
}

#[derive(Deserialize)]
struct Acl {
    acltype: String,
    topic: String,
    allow: bool,
    #[serde(default)]
    priority: i32,
}

pub(super) fn read(import: &mut Import, text: &str, anonymous: &str) -> Result<()> {
    let document: Document = serde_json::from_str(text)?;
    for client in &document.clients {
        read_client(import, client);
    }
    for group in &document.groups {
        let roles = names(import, &group.roles, &format!("group {:?}", group.groupname));
        let mut members: Vec<&str> = group.clients.iter().map(|it| &*it.username).collect();
        if document.anonymous_group.as_ref() == Some(&group.groupname) {
            members.push(anonymous);
        }
        for member in members.into_iter().filter(|name| is_name(name)) {
            give(import, member, &roles);
        }
    }
    for role in &document.roles {
        let place = format!("role {:?}", role.rolename);
        if !is_short_name(&role.rolename) {
            import.note(format!("{place}: the name cannot be kept, left out"));
            continue;
        }
        for acl in &role.acls {
            read_acl(import, &Subject::Role(role.rolename.clone()), acl, &place);
        }
    }
    for (acltype, allow) in document.default_access {
        let topic = "#".to_owned();
        // What nothing allows is denied.
        if allow && acltype != "unsubscribe" {
            let acl = Acl { acltype, topic, allow, priority: DEFAULT };
            read_acl(import, &Subject::Everyone, &acl, "defaultACLAccess");
        }
    }
    Ok(())
}

fn read_client(import: &mut Import, client: &Client) {
    let place = format!("client {:?}", client.username);
    if !is_name(&client.username) {
        return import.note(format!("{place}: the name cannot be kept, left out"));
    }
    match (&client.password, &client.salt) {
        (Some(password), Some(salt)) => {
            let iterations = client.iterations.unwrap_or(101);
            let hash = format!("$7${iterations}${salt}${password}");
            import.password(&client.username, &hash, &place);
        }
        _ => import.note(format!("{place} has no password")),
    }
    let roles = names(import, &client.roles, &place);
    give(import, &client.username, &roles);
    import.principal(&client.username).enabled = !client.disabled;
    if client.clientid.is_some() {
        import.note(format!(
            "{place} is bound to a client id, which is left out: a connect step binds client ids"
        ));
    }
}

fn names(import: &mut Import, roles: &[RoleName], place: &str) -> Vec<String> {
    if roles.iter().any(|role| role.priority > 0) {
        import.note(format!(
            "{place}: priorities of roles are left out; those of their permissions decide"
        ));
    }
    roles.iter().map(|role| role.rolename.clone()).filter(|name| is_short_name(name)).collect()
}

fn give(import: &mut Import, username: &str, roles: &[String]) {
    let principal = import.principal(username);
    for role in roles {
        if !principal.roles.contains(role) {
            principal.roles.push(role.clone());
        }
    }
}

fn read_acl(import: &mut Import, subject: &Subject, acl: &Acl, place: &str) {
    let action = match acl.acltype.as_str() {
        "publishClientSend" => "publish",
        "publishClientReceive" => "receive",
        "subscribe" | "subscribePattern" => "subscribe",
        "subscribeLiteral" => {
            if acl.topic.contains(['+', '#']) {
                import.note(format!(
                    "{place}: {:?} stands for this filter alone in Mosquitto, and for all that it \
                     covers here",
                    acl.topic
                ));
            }
            "subscribe"
        }
        "unsubscribe" | "unsubscribeLiteral" | "unsubscribePattern" => {
            return import
                .note(format!("{place}: everybody may unsubscribe, {} left out", acl.acltype));
        }
        other => return import.note(format!("{place}: {other:?} is not known, left out")),
    };
    let effect = if acl.allow { Effect::Allow } else { Effect::Deny };
    let (subject, filter) = (subject.clone(), filter_of(&acl.topic));
    let permission = Permission { subject, action, filter, effect, priority: acl.priority };
    import.permit(permission, place);
}
