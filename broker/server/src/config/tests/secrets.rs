//! Passwords and tokens: where they may come from, and that they are never shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{Scene, assert_problem, report, sound_with};
use crate::config::database;

#[test]
fn database_urls_come_from_the_file_the_environment_or_a_secret() {
    let table = [
        ("url: mysql://x", "9:12: database.url: a database url starts with postgres:// or sqlite:"),
        (
            "url: \"${HOOKMQ_TEST_UNSET}\"",
            "9:12: database.url: the environment variable \"HOOKMQ_TEST_UNSET\" is not set",
        ),
        ("url: \"postgres://${x\"", "9:12: database.url: `${` without `}`"),
        ("url_file: nowhere", "9:12: database.url_file: cannot read nowhere"),
        ("url: \"sqlite:a\", url_file: b", "9:29: database.url_file: there is `url`, too"),
    ];
    for (keys, expected) in table {
        let text = sound_with(&format!("database: {{{keys}}}\n"));
        assert_problem(&text, &format!("mq.yaml:{expected}"));
    }
    let scene = Scene::new(&sound_with("database: {url_file: db.url}\n"));
    let secret = "postgres://mq:geheim@db.example/mq\n";
    scene.write("db.url", secret, 0o644);
    assert!(scene.report()[0].contains("db.url is open to others"));
    scene.write("db.url", secret, 0o600);
    let shown = format!("{:?}", scene.load().unwrap());
    assert!(shown.contains("db.example") && !shown.contains("geheim"), "{shown}");
}

#[test]
fn environment_variables_are_put_into_the_url() {
    // A variable that every environment has.
    let home = std::env::var("PATH").unwrap();
    let expanded = database::expand("sqlite:${PATH}/x${PATH}").unwrap();
    assert_eq!(expanded, format!("sqlite:{home}/x{home}"));
}

#[test]
fn secrets_in_the_file_are_never_shown() {
    let text = sound_with("database: {url: \"postgres://mq:geheim@db.example/mq\"}\n");
    let shown = format!("{:?}", Scene::new(&text).load().unwrap());
    assert!(!shown.contains("geheim"), "{shown}");
    let wrong = sound_with("database: {url: \"postgres://mq:geheim@db.example:port/mq\"}\n");
    assert!(!report(&wrong).concat().contains("geheim"));
    for (misplaced, expected) in [
        ("database: \"postgres://mq:geheim@db/mq\"", "database: invalid type, expected a map"),
        (
            "plugins: {grants: {asker: {secrets: {token: geheim}}}}",
            "plugins.grants.asker.secrets.token: invalid type, expected a map",
        ),
    ] {
        let report = report(&sound_with(&format!("{misplaced}\n"))).concat();
        assert!(report.ends_with(expected), "{report}");
    }
}

#[test]
fn the_admin_token_is_made_once_and_kept_private() {
    let scene = Scene::new(&sound_with("admin: {bind: 127.0.0.1:0}\n"));
    let admin = scene.load().unwrap().admin.unwrap();
    assert!(!admin.token_file.exists());
    let token = admin.token().unwrap();
    assert_eq!(token.expose().len(), 64);
    assert_eq!(admin.token().unwrap().expose(), token.expose());
    let mode = fs::metadata(&admin.token_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs::set_permissions(&admin.token_file, Permissions::from_mode(0o640)).unwrap();
    assert!(admin.token().is_err());
    assert!(scene.report()[0].contains("run `chmod go-rwx data/admin.token`"));
    scene.write("data/admin.token", "short\n", 0o600);
    assert!(admin.token().unwrap_err().to_string().contains("16 or more"));
}
