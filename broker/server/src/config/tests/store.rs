//! The `store` section.

use hookmq_store::{Durability, OnDamage, StoreOptions, Verify};

use super::*;

fn loaded(section: &str) -> (StoreOptions, PathBuf) {
    let scene = Scene::new(&sound_with(section));
    (scene.load().unwrap().store, scene.path("data/store"))
}

#[test]
fn a_store_is_kept_in_data_dir_and_waits_for_the_disk() {
    let (store, directory) = loaded("");
    assert_eq!(format!("{store:?}"), format!("{:?}", StoreOptions::new(directory)));
    assert_eq!(store.durability, Durability::Fsync);
    let embedded = Config::embedded("d".into(), &[]).store;
    assert_eq!(format!("{embedded:?}"), format!("{:?}", StoreOptions::new("d/store")));
}

#[test]
fn what_the_section_says_becomes_the_options_of_the_store() {
    let (store, directory) = loaded(
        "store: {durability: os, nearly_full: 7, queued_changes: 8, queued_bytes: 9,\n  \
         checkpoint_bytes: 10, verify: index, on_damage: serve_rest}\n",
    );
    let bounds = store.bounds;
    assert_eq!((store.directory, store.durability), (directory, Durability::Os));
    assert_eq!((bounds.nearly_full, bounds.queued_changes, bounds.queued_bytes), (7, 8, 9));
    assert_eq!(bounds.checkpoint.log, 10);
    assert_eq!((store.verify, store.on_damage), (Verify::Index, OnDamage::ServeRest));
    assert_eq!(loaded("store: {durability: memory}\n").0.durability, Durability::Memory);
}

#[test]
fn what_makes_no_sense_of_a_store_is_a_problem_at_its_line() {
    let table = [
        ("durability: maybe", "unknown variant `maybe`, expected one of `fsync`, `os`, `memory`"),
        ("nearly_full: 91", "it must not be more than 90 percent"),
        ("nearly_full: -1", "invalid value: integer `-1`, expected u8"),
        ("queued_changes: 0", "must be more than 0"),
        ("queued_bytes: 0", "must be more than 0"),
        ("checkpoint_bytes: 0", "must be more than 0"),
        ("verify: none", "unknown variant `none`, expected `index` or `all`"),
        ("on_damage: ignore", "unknown variant `ignore`, expected `refuse` or `serve_rest`"),
        ("directory: x", "unknown field `directory`, expected one of `durability`"),
    ];
    for (line, expected) in table {
        let key = line.split(':').next().unwrap();
        let text = sound_with(&format!("store:\n  # a comment\n  {line}\n"));
        assert_problem(&text, &format!("mq.yaml:11:3: store.{key}: {expected}"));
    }
}

#[test]
fn the_commented_keys_of_the_example_are_the_defaults_of_a_store() {
    let example = include_str!("../../../hookmq.example.yaml");
    let lines = example.lines().skip_while(|line| *line != "# store:");
    let section = lines.map_while(|line| line.strip_prefix("# "));
    let section = section.map(|line| format!("{line}\n")).collect::<String>();
    let (store, directory) = loaded(&section);
    assert_eq!(format!("{store:?}"), format!("{:?}", StoreOptions::new(directory)));
    let named = section.lines().skip(1).filter(|line| line.starts_with("  ")).count();
    assert_eq!(named, 9, "{section}");
}
