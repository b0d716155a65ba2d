//! `cargo xtask run`: the broker with its demo.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::Cargo;
use crate::{announce, cargo, packages, plugins};

/// Builds the broker and the plugins, makes the demo, and becomes the broker.
pub fn run(root: &Path, mut arguments: Vec<String>) -> Result<()> {
    let dev = arguments.first().is_some_and(|argument| argument == "--dev");
    if dev {
        arguments.remove(0);
    }
    packages::require_c_compiler()?;
    announce("build the plugins");
    plugins::build(root)?;
    let target = plugins::target_directory(root);
    let hookmq = match dev {
        true => {
            Cargo::new(root)?.run(&["build", "--package", "hookmq"])?;
            target.join("debug/hookmq")
        }
        false => {
            Cargo::new(root)?.run(&["build", "--package", "hookmq", "--release"])?;
            target.join("release/hookmq")
        }
    };

    let data = root.join("data");
    let mut demo = Command::new(&hookmq);
    demo.arg("demo").arg("--data-dir").arg(&data);
    demo.arg("--rules").arg(root.join("rules"));
    demo.arg("--plugins").arg(target.join("plugins"));
    cargo::run(&mut demo, "set up the demo in ./data")?;
    println!("{}", instructions(root, &data)?);

    let mut broker = Command::new(&hookmq);
    broker.arg("run").arg("--config").arg(data.join("demo/hookmq.yaml")).args(arguments);
    Err(broker.exec()).with_context(|| format!("start {}", hookmq.display()))
}

fn instructions(root: &Path, data: &Path) -> Result<String> {
    let token_file = data.join("admin.token");
    let token = fs::read_to_string(&token_file)
        .with_context(|| format!("read {}", token_file.display()))?;
    let token = token.trim();
    let root = root.display();
    Ok(format!(
        r#"
HookMQ, with everything of the demo in {root}/data:
  plain MQTT     127.0.0.1:1883   everybody is a guest, who may look on
  MQTT over TLS  127.0.0.1:8883   for holders of a certificate in data/demo
  admin API      127.0.0.1:8080   token {token}
  configuration  data/demo/hookmq.yaml, rules in rules/

Try, in other terminals in {root}:

  mosquitto_sub -p 1883 -t 'devices/#' -t 'alarms/#' -v

  mosquitto_pub -p 8883 --cafile data/demo/devices-ca.crt \
    --cert data/demo/sensor-1.crt --key data/demo/sensor-1.key \
    -q 1 -t devices/sensor-1/telemetry -m '{{"temperature_f": 212, "location": "52.5,13.4"}}'

  curl -H "Authorization: Bearer $(cat data/admin.token)" http://127.0.0.1:8080/api/v1/pipeline

Ctrl-C ends the broker.
"#
    ))
}
