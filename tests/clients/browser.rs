//! MQTT.js in a page, in Chromium.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};
use hookmq_tests::process::Running;
use hookmq_tests::wait::DEADLINE;

use crate::foreign::{installed, source};

/// What a browser needs to run in a test: no window, no sandbox (which root cannot have), no
/// traffic of its own, no shared memory larger than a container may have.
const OPTIONS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--allow-file-access-from-files",
    "--disable-features=LocalNetworkAccessChecks",
    "--remote-debugging-port=0",
    "--enable-logging=stderr",
];

#[test]
fn a_page_in_a_browser_does_all_that_a_client_does() {
    let broker = Broker::open_at("ws://127.0.0.1:0");
    let place = directory();
    for file in [
        source("mqttjs/page.html"),
        source("mqttjs/scenarios.js"),
        installed("node/node_modules/mqtt/dist/mqtt.min.js"),
    ] {
        let name = file.file_name().expect("a file has a name");
        std::fs::copy(&file, place.path().join(name)).expect("copy a file of the page");
    }
    let page = place.path().join("page.html");
    let url = format!("file://{}?url=ws://{}", page.display(), broker.address(OPEN_LISTENER));
    let mut chromium = Command::new("chromium");
    chromium.args(OPTIONS).arg(format!("--user-data-dir={}", place.path().join("user").display()));
    chromium.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut chromium = Running::spawn(&mut chromium, "apt-get install chromium");
    let verdict = verdict(&mut chromium);
    // A browser that is killed leaves processes, which write into its directory.
    chromium.terminate("chromium");
    assert!(verdict.contains("scenarios: passed"), "{verdict}");
}

/// The line on the browser's console that says what came of the scenarios.
fn verdict(chromium: &mut Running) -> String {
    let log = BufReader::new(chromium.0.stderr.take().expect("a pipe"));
    let (sender, verdicts) = channel();
    // It ends with the browser; what nobody wants is read too, so that the browser never waits.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            eprintln!("{line}");
            if line.contains("scenarios: ") {
                // The test may have given up.
                let _ = sender.send(line);
            }
        }
    });
    verdicts.recv_timeout(DEADLINE).expect("the page says what came of it")
}
