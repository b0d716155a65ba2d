//! Why a question has its answer, for whoever asks the broker to explain one. Needs no capability.
//!
//! ```
//! # use hookmq_plugin::explain;
//! # let schema = "telemetry-2";
//! explain::note("schema", || schema.to_owned());
//! ```

/// Whether anybody is told of this call: somebody has asked `hookmq explain`, or the step's answers are
/// explained in the log.
pub fn wanted() -> bool {
    crate::host::explain::wanted()
}

/// Tells what the answer rests on, if anybody is told: `about` in a word or two. `text` is only called
/// then. The broker cuts long texts, and leaves out notes beyond a number.
pub fn note(about: &str, text: impl FnOnce() -> String) {
    if wanted() {
        crate::host::explain::note(about, &text());
    }
}
