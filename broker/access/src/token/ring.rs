//! The keys that count now: from files that are looked at, and from URLs that are asked, again and again.
//!
//! A task keeps each place's keys. Those who verify read what it has, and wait for it only where that
//! could help: before a URL has been asked at all, and where a token names a key that is not known. A URL
//! is asked by its task alone, and for such tokens only once in `ask_again`, whatever strangers send.
//! While a place does not answer, what it had counts for `keep`; then its tokens are refused.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_hooks::{BoxFuture, Secret};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::compact::Compact;
use super::key::{self, Key, KeyError, Published};
use super::settings::{KeySettings, Place};
use super::url::KeySetUrl;

/// Longest key set, PEM file or secret that is read, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 256 << 10;

/// Of the keys that may have signed a token, so many are tried: each costs time, and anybody may send a
/// token that names none.
const MAX_TRIED: usize = 8;

/// Permission bits of others than owner and group.
const OTHERS: u32 = 0o007;

/// Gets key sets from URLs.
pub trait FetchKeySet: Send + Sync {
    /// What `url` answers with 200, if it is no longer than [`MAX_KEY_SET_BYTES`] and comes `within` the
    /// time. Redirections are not followed.
    fn fetch(
        &self,
        url: &KeySetUrl,
        within: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, String>>;
}

/// Why no key verifies a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unverified {
    #[error("there are no keys: where they come from does not answer")]
    NoKeys,
    #[error("no key is known that may verify the token")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    WrongSignature,
}

/// All keys of a step. Upkeep ends when it is dropped.
pub(crate) struct KeyRing {
    sources: Vec<Arc<Source>>,
    _upkeep: JoinSet<()>,
}

struct Source {
    settings: KeySettings,
    known: watch::Sender<Known>,
    /// Asks the URL out of turn.
    wanted: Notify,
}

#[derive(Default)]
struct Known {
    keys: Arc<[Key]>,
    /// When they were last seen; none: never.
    seen: Option<Instant>,
    /// How often it was tried to see them, and when last.
    tries: u64,
    tried: Option<Instant>,
}

/// Keys with what they were read from.
pub(super) struct Loaded {
    keys: Vec<Key>,
    digest: [u8; 32],
}

impl KeyRing {
    /// Reads files, and begins to ask URLs on the current tokio runtime.
    ///
    /// # Errors
    /// Where a file holds no usable key.
    pub(crate) fn new(
        settings: &[KeySettings],
        fetch: Option<&Arc<dyn FetchKeySet>>,
    ) -> Result<Self, KeyError> {
        let (mut sources, mut upkeep) = (Vec::new(), JoinSet::new());
        for settings in settings {
            let place = settings.place().map_err(|error| KeyError::Unreadable(error.into()))?;
            let settings = settings.clone();
            let (known, wanted) = (watch::Sender::default(), Notify::new());
            match place {
                Place::Url(url) => {
                    let unable = || KeyError::Unreadable("nobody can ask a URL here".into());
                    let (url, fetch) = (url.clone(), fetch.ok_or_else(unable)?.clone());
                    let source = Arc::new(Source { settings, known, wanted });
                    sources.push(source.clone());
                    upkeep.spawn(async move { source.ask_on(&url, &*fetch).await });
                }
                Place::Secret(_) | Place::Pem(_) | Place::Set(_) => {
                    let loaded = settings.load()?;
                    let source = Arc::new(Source { settings, known, wanted });
                    source.note(Some(loaded.keys));
                    sources.push(source.clone());
                    upkeep.spawn(async move { source.look_on(loaded.digest).await });
                }
            }
        }
        Ok(Self { sources, _upkeep: upkeep })
    }

    /// Verifies the token's signature.
    pub(crate) async fn verify(&self, token: &Compact<'_>) -> Result<(), Unverified> {
        if !self.sources.iter().any(|source| source.knows(token)) {
            let asked = self.sources.iter().filter_map(|source| source.ask_again());
            // Begun together.
            for asked in asked.collect::<Vec<_>>() {
                asked.await;
            }
        }
        let current: Vec<_> = self.sources.iter().filter_map(|source| source.current()).collect();
        let mut suitable = current.iter().flat_map(|keys| keys.iter().filter(|it| it.suits(token)));
        let mut suitable = suitable.by_ref().take(MAX_TRIED).peekable();
        if suitable.peek().is_none() {
            let silent = current.len() < self.sources.len();
            return Err(if silent { Unverified::NoKeys } else { Unverified::UnknownKey });
        }
        match suitable.any(|key| key.verifies(token)) {
            true => Ok(()),
            false => Err(Unverified::WrongSignature),
        }
    }
}

impl Source {
    /// The keys, if they have been seen lately enough.
    fn current(&self) -> Option<Arc<[Key]>> {
        let known = self.known.borrow();
        let is_fresh = known.seen.is_some_and(|seen| seen.elapsed() <= self.settings.keep());
        is_fresh.then(|| known.keys.clone())
    }

    fn knows(&self, token: &Compact<'_>) -> bool {
        self.current().is_some_and(|keys| keys.iter().any(|key| key.suits(token)))
    }

    /// Has the URL asked, and completes when it was; none where it was asked just now.
    fn ask_again(&self) -> Option<impl Future<Output = ()> + use<>> {
        self.settings.jwks_url.as_ref()?;
        let mut known = self.known.subscribe();
        let tries = {
            let known = known.borrow_and_update();
            if known.tried.is_some_and(|tried| tried.elapsed() < self.settings.ask_again()) {
                return None;
            }
            known.tries
        };
        self.wanted.notify_one();
        let longest = self.settings.timeout() * 2;
        Some(async move {
            let asked = known.wait_for(|known| known.tries > tries);
            let _ = tokio::time::timeout(longest, asked).await;
        })
    }

    /// Keeps in mind what has come of a try.
    fn note(&self, seen: Option<Vec<Key>>) {
        self.known.send_modify(|known| {
            let now = Instant::now();
            if let Some(keys) = seen {
                known.keys = keys.into();
                known.seen = Some(now);
            }
            known.tries += 1;
            known.tried = Some(now);
        });
    }

    /// Asks the URL, at intervals and where it is wanted.
    async fn ask_on(&self, url: &KeySetUrl, fetch: &dyn FetchKeySet) {
        let settings = &self.settings;
        let mut answers = true;
        loop {
            let outcome = self.ask(url, fetch).await;
            match &outcome {
                Ok(keys) if !answers || self.known.borrow().seen.is_none() => {
                    info!(%url, keys = keys.len(), "key set read");
                }
                Err(error) if answers => warn!(%url, error, "key set not to be had"),
                _ => {}
            }
            answers = outcome.is_ok();
            self.note(outcome.ok());
            let refresh = settings.refresh();
            let pause = if answers { refresh } else { refresh.min(settings.ask_again()) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => self.wait_its_turn().await,
            }
        }
    }

    /// A wish may come while the URL is being asked.
    async fn wait_its_turn(&self) {
        let tried = self.known.borrow().tried.map_or(Duration::MAX, |tried| tried.elapsed());
        tokio::time::sleep(self.settings.ask_again().saturating_sub(tried)).await;
    }

    async fn ask(&self, url: &KeySetUrl, fetch: &dyn FetchKeySet) -> Result<Vec<Key>, String> {
        let timeout = self.settings.timeout();
        let answer = tokio::time::timeout(timeout, fetch.fetch(url, timeout)).await;
        let set = answer.unwrap_or_else(|_| Err("it does not answer in time".into()))?;
        if set.len() > MAX_KEY_SET_BYTES {
            return Err("its answer is too long".into());
        }
        let keys = key::of_set(&set, &self.settings.algorithms, Published::Yes);
        keys.map_err(|error| error.to_string())
    }

    /// Looks at the file. What has changed counts when it is the same at two looks: who writes it may be
    /// at it still.
    async fn look_on(&self, mut loaded: [u8; 32]) {
        let mut seen = loaded;
        let mut readable = true;
        loop {
            tokio::time::sleep(self.settings.refresh()).await;
            let settings = self.settings.clone();
            let look = tokio::task::spawn_blocking(move || settings.load());
            let Ok(outcome) = look.await else { continue };
            match outcome {
                Ok(look) if look.digest == loaded || look.digest == seen => {
                    if look.digest != loaded || !readable {
                        info!(place = %self.settings, keys = look.keys.len(), "keys read again");
                    }
                    (loaded, seen, readable) = (look.digest, look.digest, true);
                    self.note(Some(look.keys));
                }
                Ok(look) => {
                    // It is there: what counts so far goes on.
                    seen = look.digest;
                    let keys = self.known.borrow().keys.to_vec();
                    self.note(Some(keys));
                }
                Err(error) => {
                    if readable {
                        warn!(place = %self.settings, %error, "keys not to be had");
                    }
                    readable = false;
                    self.note(None);
                }
            }
        }
    }
}

impl KeySettings {
    /// Reads the keys of a file. Blocks.
    pub(super) fn load(&self) -> Result<Loaded, KeyError> {
        let (id, algorithms) = (self.id.as_deref(), &self.algorithms);
        let is_secret = algorithms.iter().any(|algorithm| algorithm.is_symmetric());
        let (bytes, keys) = match self.place().map_err(|it| KeyError::Unreadable(it.into()))? {
            Place::Secret(file) => {
                let bytes = read(file, is_secret)?;
                let secret = bytes.expose();
                let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
                let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
                let key = Key::of_secret(id, secret, algorithms)?;
                (bytes, vec![key])
            }
            Place::Pem(file) => {
                let bytes = read(file, false)?;
                let key = Key::of_pem(id, bytes.expose(), algorithms)?;
                (bytes, vec![key])
            }
            Place::Set(file) => {
                let bytes = read(file, is_secret)?;
                let keys = key::of_set(bytes.expose(), algorithms, Published::No)?;
                (bytes, keys)
            }
            Place::Url(url) => return Err(KeyError::Unreadable(format!("{url} is no file"))),
        };
        Ok(Loaded { keys, digest: Sha256::digest(bytes.expose()).into() })
    }
}

/// For logs: where the keys are.
impl std::fmt::Display for KeySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place() {
            Ok(Place::Secret(file) | Place::Pem(file) | Place::Set(file)) => {
                write!(f, "{}", file.display())
            }
            Ok(Place::Url(url)) => write!(f, "{url}"),
            Err(error) => f.write_str(error),
        }
    }
}

fn read(path: &Path, is_secret: bool) -> Result<Secret, KeyError> {
    let shown = path.display();
    let failed = |error| KeyError::Unreadable(format!("cannot read {shown}: {error}"));
    let file = File::open(path).map_err(failed)?;
    // The mode of what was opened, not of what the path may mean by now.
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if is_secret && mode & OTHERS != 0 {
        let message = format!("{shown} is open to others: chmod o-rwx {shown}");
        return Err(KeyError::Unreadable(message));
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_SET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() <= MAX_KEY_SET_BYTES {
        true => Ok(Secret::new(bytes)),
        false => Err(KeyError::Unreadable(format!("{shown} is too long"))),
    }
}
