//! Which programs there are: on a disk, and as a broker has them in force.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use hookmq_tests::admin::AdminClient;
use serde_json::Value;

use super::super::image::Image;
use super::{PROGRAMS, TENANTS};

/// What each program is, by its place.
pub type Found = BTreeMap<String, String>;

pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A plugin of a tenant, by its artefact and its configuration.
pub fn plugin(sha256: &str, config: &Value) -> String {
    format!("{sha256} {config}")
}

/// How a program of the operator's stands.
pub fn standing(active: Option<&str>, candidate: Option<&str>) -> Option<String> {
    (active.is_some() || candidate.is_some()).then(|| format!("{active:?} {candidate:?}"))
}

/// What the files say. All that they speak of is there and whole.
pub fn kept(image: &Image) -> Result<Found, String> {
    let mut found = Found::new();
    for (path, content) in &image.0 {
        let Some(content) = content else { continue };
        let json =
            || serde_json::from_slice::<Value>(content).map_err(|error| format!("{path}: {error}"));
        if let Some(stem) = path.strip_suffix(".json").filter(|it| it.starts_with(TENANTS)) {
            of_tenant(image, stem, &json()?, &mut found)?;
        }
        if let Some(directory) =
            path.strip_suffix("/standing.json").filter(|it| it.starts_with(PROGRAMS))
        {
            of_operator(image, directory, &json()?, &mut found)?;
        }
    }
    Ok(found)
}

fn of_tenant(image: &Image, stem: &str, page: &Value, found: &mut Found) -> Result<(), String> {
    let tenant = text(&page["tenant"]);
    assert!(stem.ends_with(&sha256(tenant.as_bytes())), "{stem} is of {tenant}");
    for (name, rule) in page["rules"].as_object().into_iter().flatten() {
        let source = text(&rule["source"]);
        if sha256(source.as_bytes()) != text(&rule["sha256"]) {
            return Err(format!("the rule {name} of {tenant} has changed"));
        }
        found.insert(format!("{tenant}/rules/{name}"), source.to_owned());
    }
    for (name, kept) in page["plugins"].as_object().into_iter().flatten() {
        for version in [kept, &kept["previous"]].into_iter().filter(|it| !it.is_null()) {
            is_whole(image, stem, text(&version["sha256"]), "wasm")?;
        }
        let value = plugin(text(&kept["sha256"]), &kept["config"]);
        found.insert(format!("{tenant}/plugins/{name}"), value);
    }
    Ok(())
}

fn of_operator(
    image: &Image,
    directory: &str,
    kept: &Value,
    found: &mut Found,
) -> Result<(), String> {
    let [active, previous, candidate] =
        [&kept["active"], &kept["previous"], &kept["candidate"]["sha256"]].map(Value::as_str);
    for version in [active, previous, candidate].into_iter().flatten() {
        is_whole(image, directory, version, "rhai")?;
    }
    let name = directory.rsplit('/').next().unwrap_or_default();
    found.extend(standing(active, candidate).map(|it| (name.to_owned(), it)));
    Ok(())
}

fn is_whole(image: &Image, directory: &str, digest: &str, kind: &str) -> Result<(), String> {
    let path = format!("{directory}/{digest}.{kind}");
    match image.0.get(&path) {
        Some(Some(content)) if sha256(content) == digest => Ok(()),
        Some(_) => Err(format!("{path} is torn")),
        None => Err(format!("{path} is missing")),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// What the API says. All that is in force loads.
pub fn in_force(admin: &AdminClient) -> Found {
    let mut found = Found::new();
    for tenant in ["a", "b"] {
        for kind in ["rules", "plugins"] {
            let path = format!("/api/v1/tenants/{tenant}/{kind}");
            let (status, listed) = admin.get(&path);
            assert_eq!(status, 200, "{listed}");
            for item in listed["items"].as_array().into_iter().flatten() {
                let name = text(&item["name"]);
                let shown = admin.get(&format!("{path}/{name}")).1;
                assert_eq!(shown["problem"], Value::Null, "{shown}");
                let value = match kind {
                    "rules" => text(&shown["source"]).to_owned(),
                    _ => plugin(text(&shown["sha256"]), &shown["config"]),
                };
                found.insert(format!("{tenant}/{kind}/{name}"), value);
            }
        }
    }
    let (status, life) = admin.get("/api/v1/rules/stamp");
    assert_eq!(status, 200, "{life}");
    let active = life["active"]["sha256"].as_str().filter(|_| life["pinned"] == true);
    let stands = standing(active, life["candidate"]["sha256"].as_str());
    found.extend(stands.map(|it| ("rule-stamp".to_owned(), it)));
    found
}
