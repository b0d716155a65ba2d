//! The task that stays in contact with the database: connects, migrates, applies changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::Rng;

use super::{DirectoryError, Readiness, Shared};
use crate::database::{LogLine, LogMark};
use crate::{ForeignQueries, QueryError};

/// Lines of the change log that are compared with those seen before.
const LOG_WINDOW: usize = 1000;

const SHORTEST_POLL: Duration = Duration::from_millis(10);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut contact = Contact::default();
    let mut retry = FIRST_RETRY;
    for round in 1.. {
        shared.rounds.send_modify(|it| it.begun = round);
        let start = Instant::now();
        match contact.renew(&shared).await {
            Ok(()) => {
                shared.contact_is_good();
                shared.rounds.send_modify(|it| it.ended_well = round);
                retry = FIRST_RETRY;
                let took = start.elapsed();
                // Either branch may be dropped: a notification that is lost was about this contact.
                tokio::select! {
                    () = tokio::time::sleep(shared.settings.poll_interval.max(SHORTEST_POLL)) => {}
                    // What comes in quick succession is read together: the more work it is, the more.
                    () = shared.look_now.notified() => {
                        tokio::time::sleep(took.min(SHORTEST_POLL)).await;
                    }
                }
            }
            Err(error) => {
                // It answers, but not as expected: it may have been replaced by an empty one.
                contact.migrated &= !error.is_from_database();
                shared.contact_is_lost(&error, contact.last.map(|last| last.elapsed()));
                let jitter = rand::rng().random_range(0.5..1.0);
                tokio::time::sleep(retry.mul_f64(jitter)).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

/// The latest rounds of the upkeep, counted from one. What was committed before a round began is in force
/// when that has ended well.
#[derive(Default)]
pub(super) struct Rounds {
    pub(super) begun: u64,
    pub(super) ended_well: u64,
}

/// How far the change log has been read and applied.
#[derive(Default)]
struct Contact {
    migrated: bool,
    last: Option<Instant>,
    log: Option<(LogMark, HashSet<LogLine>)>,
    /// Where there is no change log: what the operator's query has said, and since when all is known.
    foreign: Option<(String, Instant)>,
}

/// Who is concerned by what the change log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changes {
    Everybody,
    /// Without a username, the whole tenant.
    Some(HashSet<(String, Option<String>)>),
}

#[derive(Debug, thiserror::Error)]
enum ContactError {
    #[error("{0}")]
    Query(#[from] QueryError),
    #[error("{0}")]
    Refresh(DirectoryError),
}

impl ContactError {
    fn is_from_database(&self) -> bool {
        matches!(
            self,
            Self::Query(QueryError::Sql(sqlx::Error::Database(_)) | QueryError::Query { .. })
        )
    }
}

impl Contact {
    /// One round: what has changed since the last one is in force afterwards.
    async fn renew(&mut self, shared: &Arc<Shared>) -> Result<(), ContactError> {
        let database = &shared.database;
        if let Some(queries) = database.foreign() {
            return self.renew_foreign(shared, queries).await;
        }
        if !self.migrated {
            database.migrate().await?;
            self.migrated = true;
        }
        let mut mark = database.log_mark().await?;
        if self.log.as_ref().is_none_or(|(seen, _)| *seen != mark) {
            if mark.length > 2 * LOG_WINDOW as i64 {
                database.trim_log(mark.last - LOG_WINDOW as i64).await?;
                mark = database.log_mark().await?;
            }
            let lines = database.log_lines(LOG_WINDOW).await?;
            match &self.log {
                None => {
                    // Who knows the bans knows this, too.
                    shared.read_tenancy().await?;
                    shared.read_bans().await?;
                    shared.read_mappings().await?;
                    shared.read_tenant_grants().await?;
                }
                Some((_, seen)) => {
                    let changes = Changes::between(seen, &lines);
                    let news_of = |tables: &[&str]| {
                        let is_new = |line: &&LogLine| !seen.contains(*line);
                        changes == Changes::Everybody
                            || lines.iter().filter(is_new).any(|line| line.is_of(tables))
                    };
                    if news_of(&[QUOTAS, "tenants"]) {
                        shared.read_tenancy().await?;
                    }
                    if news_of(&[BANS]) {
                        shared.read_bans().await?;
                    }
                    if news_of(&[MAPPINGS]) {
                        shared.read_mappings().await?;
                    }
                    if news_of(&[TENANT_GRANTS, "tenants"]) {
                        shared.read_tenant_grants().await?;
                    }
                    shared.credentials.forget(&Changes::of_credentials(seen, &lines));
                    shared.apply(&changes).await?;
                }
            }
            self.log = Some((mark, lines.into_iter().collect()));
        }
        self.last = Some(Instant::now());
        Ok(())
    }

    /// The same where the tables are not the broker's own. Nothing says who is concerned: everybody is
    /// looked up again when the database calls, when the query `changes` says something else, and when
    /// what is known is as old as it may become.
    async fn renew_foreign(
        &mut self,
        shared: &Arc<Shared>,
        queries: &ForeignQueries,
    ) -> Result<(), ContactError> {
        if !self.migrated {
            shared.database.check_queries(queries).await?;
            self.migrated = true;
            shared.bans.send_replace(Some(Arc::default()));
            shared.mappings.send_replace(Some(Arc::default()));
            shared.tenant_grants.send_replace(Some(Arc::default()));
        }
        let called = shared.called.swap(false, Ordering::AcqRel);
        let mark = shared.database.foreign_mark(queries).await?;
        let (now, known) = (Instant::now(), self.foreign.as_ref());
        let is_current = known.is_some_and(|(seen, since)| {
            !called && *seen == mark && now - *since < shared.settings.cache_ttl
        });
        if !is_current {
            if known.is_some() {
                shared.credentials.forget(&Changes::Everybody);
                shared.apply(&Changes::Everybody).await?;
            }
            self.foreign = Some((mark, now));
        }
        self.last = Some(now);
        Ok(())
    }
}

impl Changes {
    /// What `lines`, the newest of the log, add to those `seen` before. A transaction may commit
    /// after a later one, so lines can appear between those seen.
    fn between(seen: &HashSet<LogLine>, lines: &[LogLine]) -> Self {
        // The others change nobody's rights.
        Self::where_of(seen, lines, |line| !line.is_of(&[BANS, MAPPINGS, QUOTAS, TENANT_GRANTS]))
    }

    /// As [`Self::between`], of what makes credentials count or not.
    fn of_credentials(seen: &HashSet<LogLine>, lines: &[LogLine]) -> Self {
        Self::where_of(seen, lines, |line| line.is_of(&["credentials", "principals", "tenants"]))
    }

    fn where_of(
        seen: &HashSet<LogLine>,
        lines: &[LogLine],
        matters: impl Fn(&LogLine) -> bool,
    ) -> Self {
        let new: Vec<_> = lines.iter().filter(|line| !seen.contains(*line)).collect();
        // Only the oldest lines go by themselves. Another one did not survive a failover.
        let oldest = lines.last().map_or(i64::MIN, |line| line.seq);
        let there: HashSet<&LogLine> = lines.iter().collect();
        if seen.iter().any(|line| line.seq > oldest && !there.contains(line)) {
            return Self::Everybody;
        }
        // The log has moved, but not where it is looked at; or further than is looked.
        let out_of_sight = new.is_empty() || (new.len() == lines.len() && !seen.is_empty());
        if out_of_sight || new.len() == LOG_WINDOW {
            return Self::Everybody;
        }
        let concerned = new
            .into_iter()
            .filter(|line| matters(line))
            .map(|line| Some((line.tenant.clone()?, line.username.clone())));
        concerned.collect::<Option<_>>().map_or(Self::Everybody, Self::Some)
    }

    pub(super) fn concern(&self, tenant: &str, username: &str) -> bool {
        match self {
            Self::Everybody => true,
            Self::Some(concerned) => {
                let tenant = tenant.to_owned();
                concerned.contains(&(tenant.clone(), None))
                    || concerned.contains(&(tenant, Some(username.to_owned())))
            }
        }
    }
}

/// Tables that are read as a whole.
const BANS: &str = "bans";
const MAPPINGS: &str = "certificate_mappings";
const QUOTAS: &str = "quotas";
const TENANT_GRANTS: &str = "tenant_grants";

impl LogLine {
    fn is_of(&self, tables: &[&str]) -> bool {
        self.what.split(' ').next().is_some_and(|table| tables.contains(&table))
    }
}

impl Shared {
    /// Forgets what `changes` concern, and looks it up again for those who are connected.
    ///
    /// The generation counts up before, so that look-ups in flight see that they are outdated, and
    /// after, so that no decision taken meanwhile is remembered.
    async fn apply(self: &Arc<Self>, changes: &Changes) -> Result<(), ContactError> {
        {
            // Under the lock: who sees the new generation finds nothing old.
            let cache = self.cache.lock();
            self.generation.fetch_add(1, Ordering::AcqRel);
            cache.forget(|key| changes.concern(&key.tenant, &key.username));
        }
        let concerned = self.registry.select(|key| changes.concern(&key.tenant, &key.username));
        let result = self.refresh_all(concerned).await;
        self.generation.fetch_add(1, Ordering::AcqRel);
        result.map_err(ContactError::Refresh)
    }

    fn contact_is_good(&self) {
        if self.expired.swap(false, Ordering::AcqRel) {
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.news.concern_everybody();
        }
        let changed = self.readiness.send_if_modified(|readiness| {
            let changed = *readiness != Readiness::Ready;
            *readiness = Readiness::Ready;
            changed
        });
        if changed {
            tracing::info!(database = %self.database.url(), "the database is ready");
        }
    }

    fn contact_is_lost(&self, error: &ContactError, away: Option<Duration>) {
        let reason = format!("{}: {error}", self.database.url());
        let changed = self.readiness.send_if_modified(|readiness| {
            let now = Readiness::NotReady { reason: reason.clone() };
            let changed = *readiness != now;
            *readiness = now;
            changed
        });
        if changed {
            tracing::warn!(%reason, "the database is not ready");
        }
        let too_long = away.is_none_or(|away| away >= self.settings.keep_known);
        if too_long && !self.expired.swap(true, Ordering::AcqRel) {
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.news.concern_everybody();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: i64, tenant: Option<&str>, username: Option<&str>) -> LogLine {
        let at = format!("at {seq}");
        let (tenant, username) = (tenant.map(Into::into), username.map(Into::into));
        LogLine { seq, at, tenant, username, what: "principals update".into() }
    }

    #[test]
    fn new_lines_concern_a_principal_or_a_whole_tenant() {
        let seen = HashSet::from([line(1, Some("a"), None), line(2, None, None)]);
        let lines = [line(4, Some("b"), Some("pump")), line(3, Some("a"), None)];
        let lines: Vec<_> = lines.into_iter().chain([line(2, None, None)]).collect();
        let changes = Changes::between(&seen, &lines);
        assert!(changes.concern("a", "anyone"));
        assert!(changes.concern("b", "pump"));
        assert!(!changes.concern("b", "valve"));
        assert!(!changes.concern("c", "pump"));
    }

    #[test]
    fn a_line_that_appears_late_between_others_is_seen() {
        let seen = HashSet::from([line(1, Some("a"), None), line(3, Some("a"), None)]);
        let lines = [line(3, Some("a"), None), line(2, Some("b"), None), line(1, Some("a"), None)];
        let changes = Changes::between(&seen, &lines);
        assert!(changes.concern("b", "pump") && !changes.concern("a", "pump"));
    }

    #[test]
    fn bans_concern_nobodys_rights() {
        let seen = HashSet::from([line(1, Some("a"), None)]);
        let ban = LogLine { what: "bans insert".into(), ..line(2, None, None) };
        let changes = Changes::between(&seen, &[ban, line(1, Some("a"), None)]);
        assert_eq!(changes, Changes::Some(HashSet::new()));
    }

    #[test]
    fn permissions_concern_nobodys_credentials() {
        let seen = HashSet::from([line(1, Some("a"), None)]);
        let of = |what: &str, seq| LogLine { what: what.into(), ..line(seq, Some("a"), Some("b")) };
        let permission = of("permissions update", 2);
        let changes = Changes::of_credentials(&seen, &[permission, line(1, Some("a"), None)]);
        assert_eq!(changes, Changes::Some(HashSet::new()));
        let credential = of("credentials update", 2);
        let changes = Changes::of_credentials(&seen, &[credential, line(1, Some("a"), None)]);
        assert!(changes.concern("a", "b") && !changes.concern("a", "c"));
    }

    #[test]
    fn what_cannot_be_compared_concerns_everybody() {
        let newer: Vec<_> = (10..20).rev().map(|seq| line(seq, Some("a"), None)).collect();
        let seen = HashSet::from([line(1, Some("a"), None)]);
        assert_eq!(Changes::between(&seen, &newer), Changes::Everybody);
        let same = [line(1, Some("a"), None)];
        assert_eq!(Changes::between(&seen, &same), Changes::Everybody);
        let all = [line(2, None, None), line(1, Some("a"), None)];
        assert_eq!(Changes::between(&seen, &all), Changes::Everybody);
        let first = [line(1, Some("a"), None)];
        assert!(matches!(Changes::between(&HashSet::new(), &first), Changes::Some(_)));
    }

    #[test]
    fn a_line_that_did_not_survive_a_failover_concerns_everybody() {
        let all = [3, 2, 1].map(|seq| line(seq, Some("a"), None));
        let seen = HashSet::from(all.clone());
        let lost = [line(4, Some("b"), None), all[1].clone(), all[2].clone()];
        assert_eq!(Changes::between(&seen, &lost), Changes::Everybody);
        let another = LogLine { at: "later".into(), ..all[0].clone() };
        let replaced = [another, all[1].clone(), all[2].clone()];
        assert_eq!(Changes::between(&seen, &replaced), Changes::Everybody);
        let trimmed = [line(4, Some("b"), None), all[0].clone(), all[1].clone()];
        assert!(matches!(Changes::between(&seen, &trimmed), Changes::Some(_)));
    }
}
