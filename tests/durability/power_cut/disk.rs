//! A disk that keeps what was synced, and of what was not as much as it likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::image::Image;
use super::recording::Event;

/// Every file has what is on the disk for sure, and what was done to it since.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: Vec<File>,
    /// As programs see them.
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    /// Since the last sync of the directory that they are in.
    name_changes: Vec<NameChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    changes: Vec<Change>,
    /// So many of them are in the reach of a sync that has begun.
    syncing: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    Length(u64),
}

/// A file system makes each of them as a whole.
#[derive(Debug, Clone)]
struct NameChange {
    names: Vec<(String, Option<Node>)>,
    syncing: bool,
}

/// What a disk has done with what it was not told to sync.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Nothing,
    Everything,
    /// The first so many percent, and of the next one a part.
    Beginning(u32),
    /// Each with so many percent.
    Some(u32),
    /// Each sector of each write with so many percent.
    Sectors(u32),
}

const SECTOR: usize = 512;

impl Disk {
    /// A disk that has this for sure.
    pub fn of(image: &Image) -> Self {
        let mut disk = Self::default();
        for (path, content) in &image.0 {
            let node = match content {
                None => Node::Directory,
                Some(content) => {
                    disk.files.push(File { durable: content.clone(), ..File::default() });
                    Node::File(disk.files.len() - 1)
                }
            };
            disk.names.insert(path.clone(), node);
        }
        disk.durable_names = disk.names.clone();
        disk
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::NewDirectory(path) => {
                self.change_names(vec![(path.clone(), Some(Node::Directory))]);
            }
            Event::NewFile(path) if !self.names.contains_key(path) => {
                self.files.push(File::default());
                let node = Node::File(self.files.len() - 1);
                self.change_names(vec![(path.clone(), Some(node))]);
            }
            Event::Write { path, offset, data } => {
                self.file(path).changes.push(Change::Write(*offset, data.clone()));
            }
            Event::Length { path, length } => self.file(path).changes.push(Change::Length(*length)),
            Event::Renamed { from, to } => {
                let node = self.names.get(from).copied();
                assert!(matches!(node, Some(Node::File(_))), "{from} is renamed");
                self.change_names(vec![(from.clone(), None), (to.clone(), node)]);
            }
            Event::Removed(path) => self.change_names(vec![(path.clone(), None)]),
            Event::SyncBegun(path) => self.begin_sync(path),
            Event::SyncEnded(path) => self.end_sync(path),
            _ => {}
        }
    }

    fn node(&self, path: &str) -> Option<Node> {
        match path.is_empty() {
            true => Some(Node::Directory),
            false => self.names.get(path).copied(),
        }
    }

    fn file(&mut self, path: &str) -> &mut File {
        match self.names.get(path) {
            Some(Node::File(number)) => &mut self.files[*number],
            other => panic!("{path} is written to, and is {other:?}"),
        }
    }

    fn change_names(&mut self, names: Vec<(String, Option<Node>)>) {
        make(&names, &mut self.names);
        self.name_changes.push(NameChange { names, syncing: false });
    }

    fn begin_sync(&mut self, path: &str) {
        match self.node(path) {
            Some(Node::Directory) => {
                let inside = self.name_changes.iter_mut().filter(|it| it.is_in(path));
                inside.for_each(|it| it.syncing = true);
            }
            _ => {
                let file = self.file(path);
                file.syncing = file.changes.len();
            }
        }
    }

    /// Not the name of what is synced: that is its directory's.
    fn end_sync(&mut self, path: &str) {
        match self.node(path) {
            Some(Node::Directory) => {
                let is_synced = |it: &mut NameChange| it.syncing && it.is_in(path);
                let synced = self.name_changes.extract_if(.., is_synced);
                synced.for_each(|it| make(&it.names, &mut self.durable_names));
            }
            _ => {
                let File { durable, changes, syncing } = self.file(path);
                changes.drain(..*syncing).for_each(|it| it.make(durable, |_| true));
                *syncing = 0;
            }
        }
    }

    /// What a program sees.
    pub fn seen(&self) -> Image {
        image(&self.names, |number| self.files[number].after(Mood::Everything, None))
    }

    /// What is there when the power comes back, if it goes now.
    pub fn after_power_cut(&self, rng: &mut StdRng) -> Image {
        let common = rng.random_bool(0.5).then(|| Mood::choose(rng));
        let mood = common.unwrap_or_else(|| Mood::choose(rng));
        let mut names = self.durable_names.clone();
        let count = self.name_changes.len();
        for (number, change) in self.name_changes.iter().enumerate() {
            if mood.keeps(number, count, rng) {
                make(&change.names, &mut names);
            }
        }
        image(&names, |number| {
            let mood = common.unwrap_or_else(|| Mood::choose(rng));
            self.files[number].after(mood, Some(rng))
        })
    }
}

impl NameChange {
    fn is_in(&self, directory: &str) -> bool {
        self.names.iter().any(|(path, _)| parent(path) == directory)
    }
}

/// That of what is directly in the directory where all begins is empty.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn make(changes: &[(String, Option<Node>)], names: &mut BTreeMap<String, Node>) {
    for (path, node) in changes {
        match node {
            Some(node) => _ = names.insert(path.clone(), *node),
            None => _ = names.remove(path),
        }
    }
}

impl File {
    fn after(&self, mood: Mood, mut rng: Option<&mut StdRng>) -> Vec<u8> {
        let mut content = self.durable.clone();
        let count = self.changes.len();
        for (number, change) in self.changes.iter().enumerate() {
            let Some(rng) = &mut rng else {
                change.make(&mut content, |_| true);
                continue;
            };
            match mood {
                Mood::Sectors(percent) => change.make(&mut content, |_| chance(percent, rng)),
                Mood::Beginning(percent) if number == first(percent, count) => {
                    change.make(&mut content, |_| chance(50, rng));
                }
                _ if mood.keeps(number, count, rng) => change.make(&mut content, |_| true),
                _ => {}
            }
        }
        content
    }
}

impl Change {
    /// `keeps` is asked for each sector of a write.
    fn make(&self, content: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        match self {
            Self::Length(length) if keeps(0) => content.resize(*length as usize, 0),
            Self::Length(_) => {}
            Self::Write(offset, data) => {
                // Sectors are the disk's, and a write may begin in the middle of one.
                let (mut at, mut rest) = (*offset as usize, &data[..]);
                while !rest.is_empty() {
                    let (sector, behind) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    if keeps(at / SECTOR) {
                        content.resize(content.len().max(at + sector.len()), 0);
                        content[at..at + sector.len()].copy_from_slice(sector);
                    }
                    (at, rest) = (at + sector.len(), behind);
                }
            }
        }
    }
}

impl Mood {
    fn choose(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..3 => Self::Nothing,
            3 => Self::Everything,
            4..6 => Self::Beginning(rng.random_range(0..100)),
            6..8 => Self::Some(rng.random_range(1..100)),
            _ => Self::Sectors(rng.random_range(1..100)),
        }
    }

    /// Whether the change of this number, of so many, is on the disk.
    fn keeps(self, number: usize, count: usize, rng: &mut StdRng) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Beginning(percent) => number < first(percent, count),
            Self::Some(percent) | Self::Sectors(percent) => chance(percent, rng),
        }
    }
}

fn first(percent: u32, count: usize) -> usize {
    count * percent as usize / 100
}

fn chance(percent: u32, rng: &mut StdRng) -> bool {
    rng.random_ratio(percent, 100)
}

/// What of it has names that lead to it.
fn image(names: &BTreeMap<String, Node>, mut content: impl FnMut(usize) -> Vec<u8>) -> Image {
    let mut image = BTreeMap::new();
    for (path, node) in names {
        // Nobody finds what is in a directory without a name.
        let above = parent(path);
        if above.is_empty() || image.contains_key(above) {
            let content = match node {
                Node::Directory => None,
                Node::File(number) => Some(content(*number)),
            };
            image.insert(path.clone(), content);
        }
    }
    Image(image)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    const FILE: &str = "data/f";

    fn write(offset: u64, data: &[u8]) -> Event {
        Event::Write { path: FILE.into(), offset, data: data.into() }
    }

    /// What may be in the file after the power was cut behind these events; none where it is not there.
    fn outcomes(events: &[Event]) -> BTreeSet<Option<Vec<u8>>> {
        let mut disk = Disk::default();
        events.iter().for_each(|it| disk.apply(it));
        let cut = |seed| disk.after_power_cut(&mut StdRng::seed_from_u64(seed));
        (0..2000).map(|seed| cut(seed).0.remove(FILE).flatten()).collect()
    }

    fn synced(path: &str) -> [Event; 2] {
        [Event::SyncBegun(path.into()), Event::SyncEnded(path.into())]
    }

    /// A file without content whose name is safe.
    fn made() -> Vec<Event> {
        let made = [Event::NewDirectory("data".into()), Event::NewFile(FILE.into())];
        made.into_iter().chain(synced("data")).chain(synced("")).collect()
    }

    #[test]
    fn a_name_is_there_for_sure_when_all_directories_above_are_synced() {
        assert_eq!(outcomes(&made()), [Some(Vec::new())].into());
        let without = |place| [&made()[..place], &made()[place + 2..]].concat();
        assert_eq!(outcomes(&without(2)), [None, Some(Vec::new())].into());
        assert_eq!(outcomes(&without(4)), [None, Some(Vec::new())].into());
        let removed = [&made()[..], &[Event::Removed(FILE.into())]].concat();
        assert_eq!(outcomes(&removed), [None, Some(Vec::new())].into());
    }

    #[test]
    fn a_sync_keeps_what_was_written_before_it_began() {
        let [begun, ended] = synced(FILE);
        let events = [&made()[..], &[write(0, b"a"), begun, write(1, b"b"), ended]].concat();
        assert_eq!(outcomes(&events), [Some(b"a".to_vec()), Some(b"ab".to_vec())].into());
    }

    #[test]
    fn what_was_not_synced_is_there_in_any_part() {
        let events = [&made()[..], &[write(0, b"a"), write(1, b"b")]].concat();
        let expected = [&b""[..], b"a", b"ab", b"\0b"].map(|it| Some(it.to_vec()));
        assert_eq!(outcomes(&events), expected.into());
        let torn = [&made()[..], &[write(511, b"ab")]].concat();
        let (hole, sector) = (vec![0; 512], [&[0; 511][..], b"a"].concat());
        let both = [&sector[..], b"b"].concat();
        let expected = [Vec::new(), sector, both, [&hole[..], b"b"].concat()].map(Some);
        assert_eq!(outcomes(&torn), expected.into());
        let cut = [&made()[..], &[write(0, b"ab")], &synced(FILE)].concat();
        let cut = [&cut[..], &[Event::Length { path: FILE.into(), length: 1 }]].concat();
        assert_eq!(outcomes(&cut), [Some(b"ab".to_vec()), Some(b"a".to_vec())].into());
    }
}
