//! `assert` and `assert_eq`.

use rhai::{Dynamic, Engine};

use crate::call;
use crate::fault::{Fallible, fault};
use crate::json::{equal, from_dynamic};

/// Characters of a value that a failed expectation shows.
const SHOWN: usize = 200;

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("assert", |condition: bool| expect(condition, "this does not hold"))
        .register_fn("assert", expect)
        .register_fn("assert_eq", |left: Dynamic, right: Dynamic| expect_equal(&left, &right, ""))
        .register_fn("assert_eq", |left: Dynamic, right: Dynamic, what: &str| {
            expect_equal(&left, &right, what)
        });
}

fn expect(condition: bool, what: &str) -> Fallible<()> {
    call::count_expectation();
    if condition { Ok(()) } else { Err(fault(what)) }
}

fn expect_equal(left: &Dynamic, right: &Dynamic, what: &str) -> Fallible<()> {
    call::count_expectation();
    let (left, right) = (from_dynamic(left)?, from_dynamic(right)?);
    if equal(&left, &right) {
        return Ok(());
    }
    let show =
        |value: &serde_json::Value| value.to_string().chars().take(SHOWN).collect::<String>();
    let what = if what.is_empty() { String::new() } else { format!("{what}: ") };
    Err(fault(format!("{what}{} is not {}", show(&left), show(&right))))
}
