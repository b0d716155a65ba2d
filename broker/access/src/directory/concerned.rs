//! Whose rights have changed, gathered for the one who judges connected clients again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Directory, PrincipalKey};

/// Principals that are gathered one by one; with more, everybody is concerned.
const MOST: usize = 10_000;

/// Whose rights may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerned {
    Everybody,
    /// Usernames by tenant.
    Principals(HashMap<Arc<str>, HashSet<Arc<str>>>),
}

/// What has been gathered and not been taken yet.
#[derive(Default)]
pub(super) struct News {
    gathered: Mutex<Gathered>,
    arrived: Notify,
}

#[derive(Default)]
struct Gathered {
    concerned: Option<Concerned>,
    /// Principals in `concerned`.
    named: usize,
}

impl Directory {
    /// Waits for clients whose rights may have changed since the last call. Nothing is lost where the
    /// future is dropped. For one caller.
    pub async fn concerned(&self) -> Concerned {
        self.shared.news.take().await
    }
}

impl News {
    pub(super) fn concern(&self, key: &PrincipalKey) {
        let mut gathered = self.gathered.lock();
        let Gathered { concerned, named } = &mut *gathered;
        let nobody = || Concerned::Principals(HashMap::new());
        if let Concerned::Principals(of) = concerned.get_or_insert_with(nobody) {
            let new = of.entry(key.tenant.clone()).or_default().insert(key.username.clone());
            *named += usize::from(new);
        }
        if *named > MOST {
            *concerned = Some(Concerned::Everybody);
        }
        drop(gathered);
        self.arrived.notify_one();
    }

    pub(super) fn concern_everybody(&self) {
        self.gathered.lock().concerned = Some(Concerned::Everybody);
        self.arrived.notify_one();
    }

    async fn take(&self) -> Concerned {
        loop {
            if let Gathered { concerned: Some(it), .. } = std::mem::take(&mut *self.gathered.lock())
            {
                return it;
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(concerned: &Concerned) -> Vec<&str> {
        let Concerned::Principals(of) = concerned else { panic!("everybody") };
        let mut names: Vec<_> = of["acme"].iter().map(|name| &**name).collect();
        names.sort();
        names
    }

    fn key(number: usize) -> PrincipalKey {
        PrincipalKey {
            tenant: "acme".into(),
            username: number.to_string().into(),
            client_id: None,
            roles: Default::default(),
        }
    }

    #[tokio::test]
    async fn the_concerned_are_gathered_until_they_are_taken() {
        let news = News::default();
        news.concern(&key(1));
        news.concern(&key(2));
        assert_eq!(names(&news.take().await), ["1", "2"]);
        news.concern(&key(3));
        assert_eq!(names(&news.take().await), ["3"]);
    }

    #[tokio::test]
    async fn too_many_to_name_are_everybody() {
        let news = News::default();
        for number in 0..=MOST {
            news.concern(&key(number));
        }
        news.concern(&key(0));
        assert_eq!(news.take().await, Concerned::Everybody);
    }
}
