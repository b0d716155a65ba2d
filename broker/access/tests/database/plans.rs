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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_finds_the_permissions_of_each_subject_by_the_index() {
    let world = World::sqlite().start_with(&many(NUMBERS)).await;
    let look_up = include_str!("../../src/database/look_up_sqlite.sql");
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {look_up}"));
    let options = SqliteConnectOptions::new().filename(world.sqlite_file());
    let mut connection = options.connect().await.unwrap();
    let question =
        sqlx::query(explain).bind("acme").bind("device-7").bind(None::<String>).bind("[]");
    let rows = question.bind(10_001_i64).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    let by_index = "permissions_by_subject (tenant=? AND subject_kind=? AND subject=?)";
    assert!(plan.iter().any(|step| step.contains(by_index)), "{plan:#?}");
}

/// Without statistics, and with the plan that serves all questions, which is what a connection has after its
/// first few: a planner that guesses must have no choice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_finds_the_permissions_of_each_subject_by_the_index() {
    let world = World::postgres().start_with(&many(NUMBERS)).await;
    let look_up = include_str!("../../src/database/look_up_postgres.sql");
    let prepare = format!(
        "DELETE FROM pg_statistic;
        UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname LIKE 'permissions%';
        SET LOCAL plan_cache_mode = force_generic_plan;
        PREPARE look_up (text, text, text, text[], bigint) AS {look_up}"
    );
    let mut transaction = world.transaction(&prepare).await;
    let explain = "EXPLAIN EXECUTE look_up ('acme', 'device-7', NULL, '{}', 10001)";
    let rows = sqlx::query(explain).persistent(false).fetch_all(&mut *transaction).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let of_subject = |step: &String| step.contains("Index Cond:") && step.contains("(subject = ");
    assert!(plan.iter().any(of_subject), "{plan:#?}");
}
