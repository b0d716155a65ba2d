//! What a crash may leave behind.

use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};

const CONFIGURATION: &str = "
data_dir: data
listeners: [{name: listener-1, bind: \"tcp://127.0.0.1:0\"}]
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
";

/// Soft and hard limit of a core dump's size.
fn core_limits(limits: &str) -> Vec<&str> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    line.expect("a limit of core dumps").split_whitespace().take(2).collect()
}

#[test]
fn a_crash_leaves_no_core_dump_unless_it_is_asked_to() {
    let as_it_is = std::fs::read_to_string("/proc/self/limits").expect("limits of this process");
    let as_it_is = core_limits(&as_it_is);
    for (option, variable, expected) in [
        (None, None, vec!["0", "0"]),
        (None, Some("false"), vec!["0", "0"]),
        (None, Some("true"), as_it_is.clone()),
        (Some("--core-dumps"), None, as_it_is.clone()),
    ] {
        let broker = Broker::with_command(CONFIGURATION, directory(), |command| {
            command.args(option).env_remove("HOOKMQ_CORE_DUMPS");
            command.envs(variable.map(|value| ("HOOKMQ_CORE_DUMPS", value)));
        });
        broker.address(OPEN_LISTENER);
        assert_eq!(core_limits(&broker.limits()), expected, "{option:?} {variable:?}");
    }
}
