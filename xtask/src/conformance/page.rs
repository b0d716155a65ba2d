//! The matrix as a page. Its text depends on the lists, the tags and the outcomes alone.

use std::fmt::{self, Write};

use super::matrix::{Matrix, Outcomes, Verdict};
use super::statements::{Binds, Specification, Statement};
use super::tags::Test;

const INTRODUCTION: &str = "\
# Conformance

Which test shows which normative statement of MQTT. `cargo xtask conformance` runs the tests and \
writes this page; `cargo xtask check` fails where a statement that binds a server has no test.

The statements are those of the specifications' Appendix B, in words of ours; \
[tests/conformance/statements](../tests/conformance/statements) lists them. A test names what it \
shows in its doc comment: `[MQTT5-3.1.2-4]`, `[MQTT311-3.1.2-4]`. Where a statement binds both \
sides, its tests show the broker's. Statements about clients are not the broker's to keep; a test \
that stands beside one shows what the broker does when it is broken. What differs for clients of \
MQTT 3.1, which has no numbered statements: [decision 13](decisions/0013-mqtt-3-1.md).
";

pub fn write(matrix: &Matrix, outcomes: &Outcomes) -> String {
    let mut page = String::from(INTRODUCTION);
    write_sections(&mut page, matrix, outcomes).expect("a string takes all that is written");
    page
}

fn write_sections(page: &mut String, matrix: &Matrix, outcomes: &Outcomes) -> fmt::Result {
    write_summary(page, matrix, outcomes)?;
    writeln!(page, "\n## Not shown by a test\n\n| statement | demands | why there is no test |")?;
    writeln!(page, "|---|---|---|")?;
    let statements = matrix.specifications.iter().flat_map(|it| &it.statements);
    for Statement { id, text, .. } in statements {
        if let Some(reason) = matrix.exemptions.get(id) {
            writeln!(page, "| {id} | {text} | {reason} |")?;
        }
    }
    for specification in &matrix.specifications {
        writeln!(page, "\n## {}\n\n| statement | binds | demands | |", specification.name)?;
        writeln!(page, "|---|---|---|---|")?;
        for statement in &specification.statements {
            let Statement { id, binds, text } = statement;
            let result = result(matrix, statement, outcomes);
            writeln!(page, "| {id} | {} | {text} | {result} |", binds.name())?;
        }
    }
    Ok(())
}

fn write_summary(page: &mut String, matrix: &Matrix, outcomes: &Outcomes) -> fmt::Result {
    writeln!(page, "\n| | bind the broker | shown | exempt | no test | failed | bind clients |")?;
    writeln!(page, "|---|---|---|---|---|---|---|")?;
    for Specification { name, statements } in &matrix.specifications {
        let bind_clients = statements.iter().filter(|it| it.binds == Binds::Client).count();
        let count =
            |wanted| statements.iter().filter(|it| matrix.verdict(it, outcomes) == wanted).count();
        writeln!(
            page,
            "| {name} | {} | {} | {} | {} | {} | {bind_clients} |",
            statements.len() - bind_clients,
            count(Verdict::Shown),
            count(Verdict::Exempt),
            count(Verdict::WithoutTest),
            count(Verdict::Failed),
        )?;
    }
    Ok(())
}

fn result(matrix: &Matrix, statement: &Statement, outcomes: &Outcomes) -> String {
    let tests: Vec<_> = matrix.tests_of(&statement.id).map(link).collect();
    let tests = tests.join(", ");
    match matrix.verdict(statement, outcomes) {
        Verdict::Shown => format!("shown: {tests}"),
        Verdict::Clients if tests.is_empty() => String::new(),
        Verdict::Clients => format!("when broken: {tests}"),
        Verdict::Exempt => "exempt".to_owned(),
        Verdict::WithoutTest => "**no test**".to_owned(),
        Verdict::Failed => format!("**failed**: {tests}"),
    }
}

fn link(test: &Test) -> String {
    format!("[{}](../{})", test.name, test.file.display())
}
