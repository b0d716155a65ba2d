//! What is in a directory at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Files and directories by their paths, as a program sees them or as they are when the power is back.
/// Directories have no content.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Image(pub BTreeMap<String, Option<Vec<u8>>>);

impl Image {
    /// What is below `directory`, for as long as it stays as it is.
    pub fn read(directory: &Path, path: &str) -> Self {
        let mut image = Self::default();
        image.add(directory, path);
        image
    }

    fn add(&mut self, directory: &Path, path: &str) {
        let place = directory.join(path);
        if !place.is_dir() {
            self.0.insert(path.to_owned(), Some(std::fs::read(place).unwrap()));
            return;
        }
        self.0.insert(path.to_owned(), None);
        for entry in std::fs::read_dir(place).unwrap() {
            let name = entry.unwrap().file_name();
            self.add(directory, &format!("{path}/{}", name.to_str().unwrap()));
        }
    }

    /// All is its owner's alone, as the broker makes it.
    pub fn write(&self, directory: &Path) {
        for (path, content) in &self.0 {
            let place = directory.join(path);
            match content {
                None => DirBuilder::new().mode(0o700).create(place).unwrap(),
                Some(content) => {
                    let mut options = OpenOptions::new();
                    let file = options.write(true).create_new(true).mode(0o600).open(place);
                    file.unwrap().write_all(content).unwrap();
                }
            }
        }
    }

    /// Where two differ.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let paths: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differ = |path: &&String| self.0.get(*path) != other.0.get(*path);
        let length = |image: &Self, path| image.0.get(path).map(|it| it.as_ref().map(Vec::len));
        let told = paths.into_iter().filter(differ).map(|path| {
            format!("{path}: lengths {:?} and {:?}", length(self, path), length(other, path))
        });
        told.collect()
    }
}
