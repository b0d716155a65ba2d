use super::*;

fn options() -> MosquittoOptions {
    MosquittoOptions {
        tenant: "acme".into(),
        acl: None,
        passwd: None,
        dynsec: None,
        anonymous: "anonymous".into(),
        broad_subscriptions: false,
    }
}

fn acl(text: &str) -> Import {
    let mut import = Import::default();
    acl::read(&mut import, text, "anonymous", false);
    import
}

/// Who, what, where, in a line each.
fn permissions(import: &Import) -> Vec<String> {
    let line = |it: &Permission| {
        let subject = match &it.subject {
            Subject::Everyone => "everyone",
            Subject::Principal(name) | Subject::Role(name) => name,
        };
        let effect = if it.effect == Effect::Deny { " denied" } else { "" };
        format!("{subject} {} {}{effect} {}", it.action, it.filter, it.priority)
    };
    import.permissions.iter().map(line).collect()
}

#[test]
fn an_acl_file_becomes_permissions() {
    let import = acl("# for clients without a name
topic read news/#

user kim lee
topic write devices/kim/#
topic commands/ kim
pattern read answers/%u/%c
");
    assert_eq!(
        permissions(&import),
        [
            "anonymous subscribe news/# 0",
            "kim lee publish devices/kim/# 0",
            "kim lee publish commands/ kim 0",
            "kim lee subscribe commands/ kim 0",
            "everyone subscribe answers/{username}/{client_id} 0",
        ]
    );
    let names: Vec<_> = import.principals.iter().map(|it| &*it.username).collect();
    assert_eq!(names, ["anonymous", "kim lee"]);
    assert!(import.notes[0].contains("binds the client id"), "{:?}", import.notes);
}

#[test]
fn where_something_is_denied_each_delivery_is_looked_at() {
    let import = acl("user kim\ntopic read a/#\ntopic deny a/secret\n");
    assert_eq!(
        permissions(&import),
        [
            "kim subscribe a/# 0",
            "kim receive a/# 0",
            "kim publish a/secret denied 1",
            "kim receive a/secret denied 1",
        ]
    );
}

#[test]
fn what_cannot_be_expressed_is_told_with_its_line_and_nothing_else_is_lost() {
    let import = acl(
        "user \u{1b}[31m\ntopic read a\nuser kim\ntopic read a#\ntopic read {x}\ntopik read a\ntopic read b\n",
    );
    assert_eq!(permissions(&import), ["kim subscribe b 0"]);
    for (place, text) in [
        ("line 1:", "user name"),
        ("line 2:", "of nobody"),
        ("line 4:", "\"a#\""),
        ("line 5:", "\"{x}\""),
        ("line 6:", "\"topik\""),
    ] {
        let found = import.notes.iter().any(|note| note.contains(place) && note.contains(text));
        assert!(found, "{place} {text}: {:?}", import.notes);
    }
}

#[test]
fn a_password_file_becomes_credentials() {
    let mut import = Import::default();
    import.read_passwords(
        "kim:$7$101$b59SrLZ+qQCs1J58$WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==\nlee:plain text\nkim:$7$101$x$y\nnonsense\n\n",
    );
    assert_eq!(import.principals.len(), 2);
    assert!(import.principals[0].password.is_some() && import.principals[1].password.is_none());
    assert_eq!(import.notes.len(), 3);
    assert!(!import.notes.join(" ").contains("plain text"), "it may be a password");
}

#[test]
fn dynamic_security_becomes_principals_roles_and_permissions() {
    let mut import = Import::default();
    let text = r##"{
        "defaultACLAccess": {"publishClientSend": false, "subscribe": true, "unsubscribe": true},
        "clients": [
            {"username": "kim", "salt": "b59SrLZ+qQCs1J58", "iterations": 101, "disabled": true,
             "password": "WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==",
             "roles": [{"rolename": "device"}]},
            {"username": "lee", "clientid": "lee-1"}
        ],
        "groups": [{"groupname": "all", "roles": [{"rolename": "reader", "priority": 3}],
                    "clients": [{"username": "kim"}, {"username": "lee"}]}],
        "roles": [{"rolename": "device", "acls": [
            {"acltype": "publishClientSend", "topic": "devices/%u/#", "allow": true, "priority": 2},
            {"acltype": "publishClientReceive", "topic": "secret", "allow": false, "priority": 5},
            {"acltype": "subscribeLiteral", "topic": "a/#", "allow": true},
            {"acltype": "unsubscribePattern", "topic": "#", "allow": true}
        ]}]
    }"##;
    dynsec::read(&mut import, text, "anonymous").unwrap();
    assert_eq!(
        permissions(&import),
        [
            "device publish devices/{username}/# 2",
            "device receive secret denied 5",
            "device subscribe a/# 0",
            "everyone subscribe # -2147483648",
        ]
    );
    let [kim, lee] = &import.principals[..] else { panic!("{:?}", import.principals) };
    assert!(!kim.enabled && kim.password.is_some() && lee.enabled);
    assert_eq!(kim.roles, ["device", "reader"]);
    assert_eq!(lee.roles, ["reader"]);
    for about in
        ["lee\" has no password", "lee\" is bound", "priorities of roles", "for this filter alone"]
    {
        assert!(
            import.notes.iter().any(|note| note.contains(about)),
            "{about}: {:?}",
            import.notes
        );
    }
    assert!(dynsec::read(&mut import, "{", "anonymous").is_err());
    // One name that the tables refuse would undo the whole transaction.
    let long = "r".repeat(256);
    let text = format!(
        r#"{{"clients": [{{"username": "max", "roles": [{{"rolename": "{long}"}}]}}],
            "roles": [{{"rolename": "{long}"}}]}}"#
    );
    dynsec::read(&mut import, &text, "anonymous").unwrap();
    assert!(!import.to_sql("acme").unwrap().contains(&long));
}

#[test]
fn names_cannot_leave_their_quotes() {
    let mut import = acl("user it's'); DROP TABLE tenants; --\ntopic a\n");
    import.notes.clear();
    let sql = import.to_sql("o'brien").unwrap();
    assert!(sql.contains("('o''brien', 'it''s''); DROP TABLE tenants; --', true)"), "{sql}");
    assert!(import.to_sql("a\nb").is_err());
    assert!(import.to_sql(&"a".repeat(255)).is_ok() && import.to_sql(&"a".repeat(256)).is_err());
    assert!(options().read().is_err(), "no file is named");
}
