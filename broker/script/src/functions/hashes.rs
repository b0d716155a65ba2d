//! Digests, as `bytes`.

use rhai::{Dynamic, Engine};
use sha2::{Digest, Sha256};

use super::bytes_of;
use crate::fault::Fallible;
use crate::objects::bytes::Bytes;

/// Bytes that SHA-256 takes at a time, which HMAC fits its key to (RFC 2104).
const BLOCK: usize = 64;

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("sha256", |value: Dynamic| -> Fallible<Bytes> {
            Ok(Bytes::new(&Sha256::digest(bytes_of(&value)?)))
        })
        .register_fn("hmac_sha256", |key: Dynamic, value: Dynamic| -> Fallible<Bytes> {
            Ok(Bytes::new(&hmac(&bytes_of(&key)?, &bytes_of(&value)?)))
        })
        .register_fn("crc32", |value: Dynamic| -> Fallible<i64> {
            Ok(i64::from(crc32fast::hash(&bytes_of(&value)?)))
        });
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5C));
    outer.chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1, 2 and 6.
    #[test]
    fn hmac_gives_the_values_of_the_rfc() {
        let table: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0B; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xAA; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, text, expected) in table {
            assert_eq!(hex::encode(hmac(key, text)), expected);
        }
    }
}
