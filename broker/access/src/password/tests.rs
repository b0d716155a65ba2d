use super::*;

/// Each made of `pencil`: by argon2-cffi, bcrypt's Python package, mosquitto_passwd, and by hand.
const MADE_ELSEWHERE: [&str; 9] = [
    "$argon2id$v=19$m=1024,t=2,p=2$5phkqQxNZ1qKwXp7kD7x2w$5oq4VpxDz2vyrMsOjwfnHcqOZUXusMxQmBgf4TvCIz4",
    "$argon2i$v=19$m=1024,t=2,p=2$EXErBUAZ4ZLVAWPJxBgxvQ$AzxKyH/uhQE0ccJcSYg/VcMaDY86RekOuuGwMymWqHY",
    "$argon2d$v=19$m=1024,t=2,p=2$VvQBdk4tnprZiLLkLdokEg$AD6QOkmu1z3D2QtJyzy5Bjn95/gWYONt9jhacjtw4jo",
    "$2b$04$4X4/ioQv9//2TeC21XCj..FhK8xI9vZ2MllL1xJePAPFOJUMPrM3.",
    "$7$101$b59SrLZ+qQCs1J58$WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==",
    "$6$c2FsdHNhbHRzYWx0$PollmAeVIh9XZCuN4dUfyQjtPHqKpyIFuY6PnaM9kJIZFkr8X28ITgSOXhqjqLD4OxftYDhhQsKU59eNUzedCA==",
    "PBKDF2$sha256$1000$c2FsdHNhbHRzYWx0$55H6Y6Z0M+vrINPOn+wGNHPZpOZX2zRUYdZT0bY08HA=",
    "PBKDF2$sha512$1000$c2FsdHNhbHRzYWx0$mBU9rVuDZOTNPoli3/NGfrX9GAr4wNXWqIwiXMFrz8+w1X8vNVd33xlvWEeFfzoh2zJbIsq4OS0J1Kr5U/PxZg==",
    // RFC 7677 section 3, in PostgreSQL's format.
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
];

#[test]
fn what_others_made_is_understood() {
    for text in MADE_ELSEWHERE {
        let hash: PasswordHash = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(hash.verify(b"pencil"), "{text}");
        for wrong in [&b"Pencil"[..], b"pencil ", b"", b"\xff"] {
            assert!(!hash.verify(wrong), "{text} {wrong:?}");
        }
        assert!(!format!("{hash:?}").contains('$'), "it could be printed by mistake");
    }
}

#[test]
fn what_is_made_here_is_understood_and_has_a_salt_of_its_own() {
    let hash = PasswordHash::derive(b"pencil");
    let text = hash.to_text().unwrap();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert!(text.parse() == Ok(hash.clone()));
    assert!(hash.verify(b"pencil") && !hash.verify(b"pencils"));
    assert_ne!(PasswordHash::derive(b"pencil").to_text().unwrap(), text);
}

#[test]
fn a_password_longer_than_the_bound_is_wrong() {
    let long = vec![b'x'; LONGEST_PASSWORD + 1];
    assert!(!PasswordHash::derive(&long).verify(&long));
}

#[test]
fn other_texts_are_refused() {
    use PasswordHashError::{Malformed, TooCostly, UnknownForm};
    let salt = "c2FsdHNhbHRzYWx0";
    let hash = "55H6Y6Z0M+vrINPOn+wGNHPZpOZX2zRUYdZT0bY08HA";
    let cases = [
        ("".to_owned(), UnknownForm),
        ("pencil".into(), UnknownForm),
        ("$1$abc$def".into(), UnknownForm),
        ("$9$101$abc$def".into(), UnknownForm),
        ("PBKDF2$md5$1$a$b".into(), UnknownForm),
        ("{plain}pencil".into(), UnknownForm),
        (format!("$argon2id$v=18$m=1024,t=2,p=2${salt}${hash}"), Malformed),
        (format!("$argon2id$v=19$m=1024,t=2${salt}${hash}"), Malformed),
        (format!("$argon2id$v=19$m=1,t=2,p=2${salt}${hash}"), Malformed),
        (format!("$argon2id$v=19$m=+1024,t=2,p=2${salt}${hash}"), Malformed),
        (format!("$argon2id$v=19$m=1024,t=0,p=2${salt}${hash}"), Malformed),
        (format!("$argon2id$v=19$m=4294967295,t=2,p=2${salt}${hash}"), TooCostly),
        (format!("$argon2id$v=19$m=1024,t=4294967295,p=2${salt}${hash}"), TooCostly),
        (format!("$argon2id$v=19$m=1024,t=2,p=2$c2Fs${hash}"), Malformed),
        (format!("$argon2id$v=19$m=1024,t=2,p=2${salt}$YQ"), Malformed),
        (format!("$argon2id$v=19$m=1024,t=2,p=2${salt}${hash}$"), Malformed),
        (format!("$7$0${salt}${hash}"), Malformed),
        (format!("$7$4294967295${salt}${hash}"), TooCostly),
        (format!("$7$101${salt}$"), Malformed),
        (format!("$7$101${salt}$YQ=="), Malformed),
        (format!("$7$101$${hash}"), Malformed),
        (format!("$6${salt}${hash}"), Malformed),
        ("$2b$31$4X4/ioQv9//2TeC21XCj..FhK8xI9vZ2MllL1xJePAPFOJUMPrM3.".into(), TooCostly),
        ("$2b$04$4X4/ioQv9//2TeC21XCj..".into(), Malformed),
        ("$2b$04$é4X4/ioQv9//2TeC21XCj..FhK8xI9vZ2MllL1xJePAPFOJUMPrM".into(), Malformed),
        ("SCRAM-SHA-256$4096:W22Z".into(), Malformed),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<PasswordHash>().err(), Some(expected), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\$|argon2id|2b|7|6|PBKDF2|sha512|v=19|m=8,t=1,p=1|[A-Za-z0-9+/=,]{0,24}|\\PC){0,12}") {
        if let Ok(hash) = text.parse::<PasswordHash>() {
            proptest::prop_assert!(!hash.verify(b"pencil"));
        }
    }
}
