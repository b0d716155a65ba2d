//! What the tables take, and what they refuse.

use hookmq_access::Database;
use hookmq_codec::Qos;
use hookmq_hooks::{Action, AuthorizeVerdict};

use super::ACME;
use super::world::{Newcomer, World, join_all};

on_both! {
    migrations_apply_once_whoever_comes_and_how_often
    nonsense_cannot_be_inserted
    an_insert_needs_only_what_matters
}

async fn migrations_apply_once_whoever_comes_and_how_often(world: World) {
    let brokers: Vec<_> = (0..8).map(|_| Database::open(&world.settings)).collect();
    for result in join_all(brokers.iter().map(Database::migrate)).await {
        result.unwrap();
    }
    let one = &brokers[0];
    one.migrate().await.unwrap();
    world.execute(ACME).await.unwrap();
    one.migrate().await.unwrap();
    assert_eq!(world.count("permissions").await, 1);
}

async fn nonsense_cannot_be_inserted(world: World) {
    Database::open(&world.settings).migrate().await.unwrap();
    world.execute(ACME).await.unwrap();
    let permission = |column: &str, value: &str| {
        let columns = [
            ("tenant", "'acme'"),
            ("subject_kind", "'role'"),
            ("subject", "'device'"),
            ("action", "'publish'"),
            ("filter", "'a'"),
        ];
        let mut columns: Vec<_> = columns.into_iter().filter(|(name, _)| *name != column).collect();
        columns.push((column, value));
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        format!("INSERT INTO permissions ({names}) VALUES ({values})")
    };
    let password = |secret: &str| {
        format!(
            "INSERT INTO credentials (tenant, username, kind, secret)
             VALUES ('acme', 'pump', 'password', '{secret}')"
        )
    };
    for secret in ["$argon2id$v=19$m=8,t=1,p=1$abc$def", "$7$101$a+/=$bc", "PBKDF2$sha256$1$a$b"] {
        world.execute(&password(secret)).await.unwrap();
        world.execute("DELETE FROM credentials WHERE kind = 'password'").await.unwrap();
    }
    world.execute(&permission("priority", "-3")).await.unwrap();
    for filter in ["#", "+", "a/+/b/#", "/", "{client_id}/{attribute:site}/x-{tenant}", "$SYS/#"] {
        world.execute(&permission("filter", &format!("'{filter}'"))).await.unwrap();
    }
    for names in ["NULL", "'[]'", r#"'["g"]'"#, r#"'["g", "{x} y", "$h"]'"#] {
        world.execute(&permission("share_names", names)).await.unwrap();
    }
    let filters = [
        "",
        "a#",
        "a/#/b",
        "a+",
        "+a/b",
        "#/",
        "##",
        "{user}",
        "{",
        "a}",
        "{attribute:}",
        "{attribute:{username}}",
        "$share/g/a",
    ];
    let mut nonsense: Vec<_> =
        filters.iter().map(|filter| permission("filter", &format!("'{filter}'"))).collect();
    nonsense.extend([
        permission("tenant", "'nobody'"),
        permission("subject_kind", "'group'"),
        permission("subject_kind", "'everyone'"),
        permission("subject", "''"),
        permission("action", "'read'"),
        permission("effect", "'maybe'"),
        permission("max_qos", "3"),
        permission("on_denial", "'ignore'"),
        permission("share_names", "'{}'"),
        permission("share_names", "'\"g\"'"),
        permission("share_names", "'g'"),
        "INSERT INTO tenants (name) VALUES ('')".into(),
        "INSERT INTO tenants (name) VALUES ('acme')".into(),
        "INSERT INTO tenants (name, attributes) VALUES ('other', '[1]')".into(),
        "INSERT INTO tenants (name, attributes) VALUES ('other', '{')".into(),
        "INSERT INTO principals (tenant, username) VALUES ('nobody', 'pump')".into(),
        "INSERT INTO principals (tenant, username) VALUES ('acme', 'pump')".into(),
        "INSERT INTO principals (tenant, username) VALUES ('acme', 'a\nb')".into(),
        "INSERT INTO principal_roles (tenant, username, role) VALUES ('acme', 'x', 'y')".into(),
        password("pencil"),
        password("$1$abc$def"),
        password("$7$101$a b$c"),
        password("$2b$"),
        password("{PLAIN}pencil"),
    ]);
    let ban = |tenant: &str, kind: &str, subject: &str| {
        format!("INSERT INTO bans (tenant, kind, subject) VALUES ({tenant}, '{kind}', '{subject}')")
    };
    for sound in [
        ban("'acme'", "tenant", ""),
        ban("NULL", "address", "192.0.2.0/24"),
        ban("'acme'", "address", "2001:db8::1"),
        ban("NULL", "principal", "pump"),
        "INSERT INTO bans (kind, subject, expires_at) VALUES ('client_id', 'a', '2030-01-01')"
            .into(),
    ] {
        world.execute(&sound).await.unwrap();
    }
    nonsense.extend([
        ban("NULL", "tenant", ""),
        ban("''", "tenant", ""),
        ban("'acme'", "tenant", "acme"),
        ban("'acme'", "device", "pump"),
        ban("'acme'", "principal", ""),
        ban("NULL", "address", ""),
        ban("NULL", "address", "somewhere"),
        "INSERT INTO bans (kind, subject, expires_at) VALUES ('client_id', 'a', 'soon')".into(),
    ]);
    for sql in nonsense {
        assert!(world.execute(&sql).await.is_err(), "{sql}");
    }
}

async fn an_insert_needs_only_what_matters(world: World) {
    let client = world.start_with(ACME).await.connect(&Newcomer::named("pump")).await.unwrap();
    let allowed = client.publish("devices/pump/pressure");
    assert_eq!(allowed, Ok(AuthorizeVerdict::Allow));
    assert_eq!(client.publish("devices/valve/pressure"), Ok(AuthorizeVerdict::Abstain));
    let subscribe = client.ask(Action::Subscribe, "devices/pump/#", Qos::AtMostOnce);
    assert_eq!(subscribe, Ok(AuthorizeVerdict::Abstain));
}
