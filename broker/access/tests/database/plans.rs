//! How the databases look a principal up: by the index, however many permissions others have.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use super::world::World;

/// Ten thousand principals with a permission of their own, in one tenant.
fn many(numbers: &str) -> String {
    let rows = [
        ("principals (tenant, username)", "'acme', 'device-' || n"),
        (
            "permissions (tenant, subject_kind, subject, action, filter)",
            "'acme', 'principal', 'device-' || n, 'subscribe', 'own/' || n",
        ),
    ];
    let mut sql = "INSERT INTO tenants (name) VALUES ('acme');".to_owned();
    for (table, values) in rows {
        sql += &format!("INSERT INTO {table} {numbers} SELECT {values} FROM numbers;");
    }
    sql
}

const NUMBERS: &str = "WITH RECURSIVE numbers (n) AS
    (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)";

/// What a connection would do with `sql`, step by step.
async fn sqlite_plan(world: &World, sql: &str, values: &[&str]) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(world.sqlite_file());
    let mut connection = options.connect().await.unwrap();
    let mut question = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    for value in values {
        question = question.bind(*value);
    }
    let rows = question.bind(10_001_i64).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

const BY_INDEX: &str = "permissions_by_subject (tenant=? AND subject_kind=? AND subject=?)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_finds_the_permissions_of_each_subject_by_the_index() {
    let world = World::sqlite().start_with(&many(NUMBERS)).await;
    let look_up = include_str!("../../src/database/look_up_sqlite.sql");
    // A client id that is no value would be null; it is bound all the same.
    let plan = sqlite_plan(&world, look_up, &["acme", "device-7", "c", "[]"]).await;
    assert!(plan.iter().any(|step| step.contains(BY_INDEX)), "{plan:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_finds_what_many_have_by_indexes() {
    let world = World::sqlite().start_with(&many(NUMBERS)).await;
    let look_up = include_str!("../../src/database/look_up_many_sqlite.sql");
    let plan = sqlite_plan(&world, look_up, &["[]", "[]"]).await;
    let of_principal = "sqlite_autoindex_principals_1 (tenant=? AND username=?)";
    let of_tenant = "sqlite_autoindex_tenants_1 (name=?)";
    let roles = "sqlite_autoindex_principal_roles_1 (tenant=? AND username=?)";
    for index in [BY_INDEX, of_principal, of_tenant, roles] {
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
    }
    let tables = ["t", "p", "m", "r", "permissions", "principals", "principal_roles", "tenants"];
    let scans = tables.map(|table| format!("SCAN {table}"));
    assert!(!plan.iter().any(|step| scans.contains(step)), "{plan:#?}");
}

/// Without statistics, and with the plan that serves all questions, which is what a connection has after its
/// first few: a planner that guesses must have no choice.
async fn postgres_plan(world: &World, types: &str, sql: &str, values: &str) -> Vec<String> {
    let prepare = format!(
        "DELETE FROM pg_statistic;
        UPDATE pg_class SET reltuples = -1, relpages = 0
        WHERE relname ~ '^(permissions|principals|principal_roles|tenants)';
        SET LOCAL plan_cache_mode = force_generic_plan;
        PREPARE look_up ({types}) AS {sql}"
    );
    let mut transaction = world.transaction(&prepare).await;
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE look_up ({values})"));
    let rows = sqlx::query(explain).persistent(false).fetch_all(&mut *transaction).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn goes_by_subject(step: &str) -> bool {
    step.contains("Index Cond:") && step.contains("(subject = ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_finds_the_permissions_of_each_subject_by_the_index() {
    let world = World::postgres().start_with(&many(NUMBERS)).await;
    let look_up = include_str!("../../src/database/look_up_postgres.sql");
    let types = "text, text, text, text[], bigint";
    let values = "'acme', 'device-7', NULL, '{}', 10001";
    let plan = postgres_plan(&world, types, look_up, values).await;
    assert!(plan.iter().any(|step| goes_by_subject(step)), "{plan:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_finds_what_many_have_by_indexes() {
    let world = World::postgres().start_with(&many(NUMBERS)).await;
    let look_up = include_str!("../../src/database/look_up_many_postgres.sql");
    let types = "text[], text[], text[], text[], text[], bigint";
    let plan = postgres_plan(&world, types, look_up, "'{}', '{}', '{}', '{}', '{}', 20001").await;
    assert!(plan.iter().any(|step| goes_by_subject(step)), "{plan:#?}");
    let indexes =
        ["tenants_pkey", "principals_pkey", "principal_roles_pkey", "permissions_by_subject"];
    for index in indexes {
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
    }
    assert!(!plan.iter().any(|step| step.contains("Seq Scan")), "{plan:#?}");
}
