//! The step `jwt`: where its keys are, and what its settings say together.

use std::path::Path;

use hookmq_access::JwtSettings;
use hookmq_hooks::Hook;
use serde::Deserialize;
use serde_json::Value;

use super::StepCheck;

/// Keys of the configuration that name files.
const FILES: [&str; 3] = ["secret_file", "pem_file", "jwks_file"];

impl StepCheck<'_> {
    /// Makes paths of `settings` whole, and looks whether all of it can be used.
    pub(super) fn tokens(&mut self, settings: &mut Value) {
        match (self.hook, settings.is_null()) {
            (Hook::Authorize, true) => return,
            (Hook::Authorize, false) => {
                return self.problem("config", "to authorize by tokens takes none");
            }
            (_, true) => return self.problem("config", "`jwt` needs `keys` and `username`"),
            (_, false) => {}
        }
        let keys = settings.get_mut("keys").and_then(Value::as_array_mut);
        for key in keys.into_iter().flatten().filter_map(Value::as_object_mut) {
            for name in FILES {
                if let Some(Value::String(file)) = key.get_mut(name) {
                    *file = self.check.resolve(Path::new(file)).display().to_string();
                }
            }
        }
        // What is malformed is told elsewhere.
        let Ok(settings) = JwtSettings::deserialize(&*settings) else { return };
        for problem in settings.problems() {
            let mut path = self.path.key("config");
            if let Some(index) = problem.key {
                path = path.key("keys").index(index);
            }
            if !problem.name.is_empty() {
                path = path.key(problem.name);
            }
            self.check.problem(&path, problem.message);
        }
    }
}
