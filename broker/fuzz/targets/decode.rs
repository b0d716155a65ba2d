//! No bytes bring the decoder down, in any version.

#![no_main]

use hookmq_codec::{ProtocolVersion, decode, decode_connect, decode_forwarded, frame, needed};
use libfuzzer_sys::fuzz_target;

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_forwarded(bytes);
    let mut rest = bytes;
    while let Ok(Some(frame)) = frame(rest, 1 << 20) {
        assert_eq!(needed(rest), Some(frame.length));
        let _ = decode_connect(frame);
        for version in VERSIONS {
            if let Err(error) = decode(frame, version) {
                assert!(error.reason_code().is_failure());
            }
        }
        rest = &rest[frame.length..];
    }
});
