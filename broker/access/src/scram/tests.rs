use std::num::NonZeroU32;

use proptest::prelude::*;

use super::secret::SecretFormatError;
use super::*;

const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn iterations(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// The password `pencil` of RFC 7677.
fn pencil() -> ScramSecret {
    let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    ScramSecret::derive("pencil", salt.try_into().unwrap(), iterations(4096)).unwrap()
}

fn challenged(client_first: &str) -> Challenged {
    ClientFirst::read(client_first.as_bytes()).unwrap().challenge(pencil(), SERVER_NONCE)
}

fn malformed(message: &[u8]) -> bool {
    matches!(ClientFirst::read(message), Err(ScramError::Malformed(_)))
}

#[test]
fn the_exchange_of_rfc_7677_succeeds() {
    let first = ClientFirst::read(CLIENT_FIRST.as_bytes()).unwrap();
    assert_eq!(first.username(), "user");
    let challenged = first.challenge(pencil(), SERVER_NONCE);
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(challenged.message(), expected);
    let server_final = challenged.finish(CLIENT_FINAL.as_bytes());
    assert_eq!(server_final.unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn a_secret_is_written_as_postgresql_writes_it_and_read_strictly() {
    let text = pencil().to_text();
    assert_eq!(
        text,
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
         WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    );
    assert_eq!(text.parse(), Ok(pencil()));
    let broken = [
        String::new(),
        "md5d41d8cd98f00b204e9800998ecf8427e".into(),
        text.replace("256$", "512$"),
        text.replace("4096", "0"),
        text.replace("4096", "+4096"),
        text.replace("4096", "04096"),
        text.replace("4096", "4294967296"),
        text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        text.replace("gQ==", "gQ"),
        text.replace("4qY=:", "4qY:"),
        text.replace(":wfPL", ":wfP"),
        text.clone() + " ",
        text.clone() + "$",
        "\n".to_owned() + &text,
    ];
    for broken in broken {
        assert_eq!(broken.parse::<ScramSecret>(), Err(SecretFormatError), "{broken}");
    }
}

#[test]
fn names_are_unescaped_and_prepared() {
    let name = |escaped: &str| {
        let message = format!("n,,n={escaped},r=x");
        ClientFirst::read(message.as_bytes()).map(|first| first.username().to_owned())
    };
    assert_eq!(name("a=2Cb=3Dc"), Ok("a,b=c".into()));
    assert_eq!(name("=3D2C"), Ok("=2C".into()));
    assert_eq!(name("I\u{AD}X"), Ok("IX".into()), "mapped to nothing");
    assert_eq!(name("\u{2168}"), Ok("IX".into()), "NFKC");
    for wrong in ["", "a=", "a=2c", "a=41", "=", "\u{7}", "a\0", "\u{AD}", "\u{627}1"] {
        assert!(matches!(name(wrong), Err(ScramError::Malformed(_))), "{wrong:?}");
    }
}

#[test]
fn passwords_are_prepared() {
    let secret = |password| ScramSecret::derive(password, [1; 16], iterations(1));
    assert_eq!(secret("I\u{AD}X"), secret("\u{2168}"));
    assert_ne!(secret("IX"), secret("ix"));
    assert_eq!(secret(""), Err(PasswordError::Empty));
    assert_eq!(secret("\u{AD}"), Err(PasswordError::Empty));
    assert_eq!(secret("a\u{7}"), Err(PasswordError::Prohibited));
}

#[test]
fn a_first_message_that_is_not_one_is_refused() {
    let refused = |message: &str| ClientFirst::read(message.as_bytes()).unwrap_err();
    assert_eq!(refused("p=tls-exporter,,n=u,r=x"), ScramError::ChannelBinding);
    assert_eq!(refused("n,a=admin,n=u,r=x"), ScramError::AuthorizationIdentity);
    assert_eq!(refused("n,,m=x,n=u,r=x"), ScramError::Extension);
    let table = [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=u,r=x",
        "N,,n=u,r=x",
        "n,b,n=u,r=x",
        "n,,r=x,n=u",
        "n,,n=u",
        "n,,n=u,",
        "n,,n=u,r=",
        "n,,n=u,r=a b",
        "n,,n=u,r=\u{e4}",
        "n,,n=u,r=x,",
        "n,,n=u,r=x,y",
        "n,,n=u,r=x,1=y",
        "n,,n=u,r=x,y=",
        "n,,u,r=x",
    ];
    for message in table {
        assert!(malformed(message.as_bytes()), "{message:?}");
    }
    assert!(malformed(b"n,,n=\xff,r=x"));
    assert!(malformed(format!("n,,n=u,r={}", "x".repeat(LONGEST_NONCE + 1)).as_bytes()));
    assert!(malformed(format!("n,,n=u,r=x,y={}", "x".repeat(LONGEST_MESSAGE)).as_bytes()));
    for message in ["y,,n=u,r=x", "n,,n=u,r=x,y=z", "n,,n=u,r=!#$%+-~"] {
        assert!(ClientFirst::read(message.as_bytes()).is_ok(), "{message:?}");
    }
}

#[test]
fn a_last_message_of_another_exchange_is_refused() {
    let finish = |client_first: &str, message: &str| {
        challenged(client_first).finish(message.as_bytes()).unwrap_err()
    };
    let other_nonce = CLIENT_FINAL.replace("k0,", "k1,");
    assert_eq!(finish(CLIENT_FIRST, &other_nonce), ScramError::OtherExchange);
    // "eSws" is "y,,": somebody between has taken "p=..." or "y" away.
    let other_binding = CLIENT_FINAL.replace("biws", "eSws");
    assert_eq!(finish(CLIENT_FIRST, &other_binding), ScramError::OtherExchange);
    assert_eq!(
        finish(&CLIENT_FIRST.replace("n,,", "y,,"), CLIENT_FINAL),
        ScramError::OtherExchange
    );
    let other_user = CLIENT_FIRST.replace("user", "admin");
    assert_eq!(finish(&other_user, CLIENT_FINAL), ScramError::Proof);
    let other_proof = CLIENT_FINAL.replace("p=dHzb", "p=eHzb");
    assert_eq!(finish(CLIENT_FIRST, &other_proof), ScramError::Proof);
    let extended = CLIENT_FINAL.replace(",p=", ",x=y,p=");
    assert_eq!(finish(CLIENT_FIRST, &extended), ScramError::Proof, "what is sent is signed");
}

#[test]
fn a_last_message_that_is_not_one_is_refused() {
    let table = [
        String::new(),
        "c=biws".into(),
        CLIENT_FINAL.replace(",p=", ","),
        CLIENT_FINAL.replace("c=biws,", ""),
        CLIENT_FINAL.replace("c=biws", "c=b"),
        CLIENT_FINAL.replace("c=biws", "m=x,c=biws"),
        CLIENT_FINAL.replace("dVQ=", "dVQ"),
        CLIENT_FINAL.replace("p=dHzb", "p="),
        CLIENT_FINAL.to_owned() + ",x=y",
        CLIENT_FINAL.to_owned() + "\n",
    ];
    for message in table {
        let refused = challenged(CLIENT_FIRST).finish(message.as_bytes());
        assert!(matches!(refused, Err(ScramError::Malformed(_))), "{message:?}: {refused:?}");
    }
}

#[test]
fn a_stranger_is_shown_the_same_each_time_and_nothing_that_others_are_shown() {
    let shown = |key: &[u8], tenant, username| {
        let secret = ScramSecret::of_stranger(key, tenant, username, iterations(4096));
        challenged_with(secret).message().to_owned()
    };
    let pump = shown(b"key", "acme", "pump");
    assert_eq!(pump, shown(b"key", "acme", "pump"));
    assert_eq!(pump.len(), challenged(CLIENT_FIRST).message().len());
    let others = [shown(b"other", "acme", "pump"), shown(b"key", "other", "pump")];
    assert!(others.iter().chain([&shown(b"key", "acme", "valve")]).all(|it| *it != pump));
}

fn challenged_with(secret: ScramSecret) -> Challenged {
    ClientFirst::read(CLIENT_FIRST.as_bytes()).unwrap().challenge(secret, SERVER_NONCE)
}

#[test]
fn secrets_and_proofs_are_not_shown() {
    assert_eq!(format!("{:?}", pencil()), "ScramSecret(..)");
    let shown = format!("{:?}", ClientFirst::read(CLIENT_FIRST.as_bytes()).unwrap());
    assert!(!shown.contains("rOpr"), "{shown}");
}

proptest! {
    #[test]
    fn whatever_is_sent_is_read_or_refused(
        message in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200).boxed(),
            "[npyamcr=,]{0,3},?[a=]{0,2},[nrm]=(\\PC|=2C|=3D|=|,){0,9},r=[ -~]{0,9}"
                .prop_map(String::into_bytes).boxed(),
            "c=[biwseA=]{0,8},r=[ -~]{0,9}(,[a-z]=.)?,p=[A-Za-z0-9+/=]{0,50}"
                .prop_map(String::into_bytes).boxed(),
        ],
    ) {
        if let Ok(first) = ClientFirst::read(&message) {
            let name = first.username();
            prop_assert!(!name.is_empty() && !name.contains('\0'), "{name:?}");
        }
        prop_assert!(challenged_with(pencil_once()).finish(&message).is_err());
    }

    #[test]
    fn whatever_is_stored_is_read_or_refused(text in "(SCRAM-SHA-256)?[$0-9:A-Za-z+/=]{0,150}") {
        if let Ok(secret) = text.parse::<ScramSecret>() {
            prop_assert_eq!(secret.to_text(), text);
        }
    }
}

fn pencil_once() -> ScramSecret {
    ScramSecret::of_stranger(b"key", "acme", "pump", iterations(1))
}
