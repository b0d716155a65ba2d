//! Frames in every split, and those that are refused.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_header(0, payload.len(), &mut bytes);
    bytes[0] = first;
    bytes[1] |= MASKED;
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What comes out when `bytes` come in pieces of these lengths, in turn.
fn read(bytes: &[u8], pieces: &[usize], maximum: u32) -> Result<(Vec<u8>, Vec<Demand>), Violation> {
    let mut reader = FrameReader::new(maximum);
    let (mut payload, mut demands) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    for length in pieces.iter().cycle() {
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        rest = behind;
        let mut piece = piece.to_vec();
        let (length, demand) = reader.read(&mut piece);
        payload.extend_from_slice(&piece[..length]);
        match demand {
            Some(Demand::Refuse(violation)) => return Err(violation),
            demand => demands.extend(demand),
        }
        if rest.is_empty() || demands.last() == Some(&Demand::Close) {
            break;
        }
    }
    Ok((payload, demands))
}

proptest! {
    #[test]
    fn payloads_come_out_whole_however_frames_and_reads_are_cut(
        messages in vec((vec(vec(any::<u8>(), 0..300), 1..4), any::<[u8; 4]>()), 1..5),
        pieces in vec(1usize..50, 1..20),
    ) {
        let (mut bytes, mut expected, mut pings) = (Vec::new(), Vec::new(), Vec::new());
        for (fragments, mask) in &messages {
            for (index, fragment) in fragments.iter().enumerate() {
                let opcode = if index == 0 { 2 } else { 0 };
                let last = if index + 1 == fragments.len() { FINAL } else { 0 };
                bytes.extend(frame(last | opcode, fragment, *mask));
                expected.extend_from_slice(fragment);
                // Control frames may stand between fragments.
                let ping = &fragment[..fragment.len().min(125)];
                bytes.extend(frame(0x89, ping, *mask));
                bytes.extend(frame(0x8A, ping, *mask));
                pings.push(Demand::Pong(ping.to_vec()));
            }
        }
        let (payload, demands) = read(&bytes, &pieces, 10_000).unwrap();
        prop_assert_eq!(payload, expected.clone());
        let last_ping = pings.last();
        prop_assert_eq!(demands.last(), last_ping);
        let (payload, demands) = read(&bytes, &[1], 10_000).unwrap();
        prop_assert_eq!(payload, expected);
        prop_assert_eq!(demands, pings);
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..2000), pieces in vec(1usize..50, 1..20)) {
        if let Ok((payload, _)) = read(&bytes, &pieces, 1000) {
            prop_assert!(payload.len() <= bytes.len());
        }
    }
}

#[test]
fn what_the_protocol_forbids_is_refused() {
    let mask = [1, 2, 3, 4];
    let unmasked = vec![0x82, 0];
    let table = [
        (frame(0x81, b"text", mask), Violation::Text),
        (frame(0x01, b"", mask), Violation::Text),
        (unmasked, Violation::Protocol("a client's frame is not masked")),
        (frame(0x83, b"", mask), Violation::Protocol("an unknown opcode")),
        (frame(0x8B, b"", mask), Violation::Protocol("an unknown opcode")),
        (frame(0xC2, b"", mask), Violation::Protocol("an extension that was not agreed on")),
        (frame(0x80, b"", mask), Violation::Protocol("nothing is continued")),
        (
            [frame(0x02, b"a", mask), frame(0x82, b"b", mask)].concat(),
            Violation::Protocol("a message within another"),
        ),
        (frame(0x09, b"", mask), Violation::Protocol("a control frame is fragmented or too long")),
        (
            frame(0x89, &[0; 126], mask),
            Violation::Protocol("a control frame is fragmented or too long"),
        ),
    ];
    for (bytes, violation) in table {
        for pieces in [1, 1000] {
            assert_eq!(read(&bytes, &[pieces], 100).err(), Some(violation), "{bytes:?}");
        }
    }
}

#[test]
fn a_message_above_the_maximum_is_refused_on_its_announcement() {
    let mask = [1, 2, 3, 4];
    assert!(read(&frame(0x82, &[0; 100], mask), &[7], 100).is_ok());
    let long = frame(0x82, &[0; 101], mask);
    assert_eq!(read(&long[..6], &[1], 100).err(), Some(Violation::TooBig));
    let fragments = [frame(0x02, &[0; 60], mask), frame(0x80, &[0; 41], mask)].concat();
    assert_eq!(read(&fragments[..fragments.len() - 41], &[1], 100).err(), Some(Violation::TooBig));
    let endless = [&[0x82, 0xFF][..], &[0xFF; 8], &mask].concat();
    assert_eq!(read(&endless, &[1], u32::MAX).err(), Some(Violation::TooBig));
    let together = [frame(0x02, &[0; 1], mask), endless].concat();
    let continued = [&together[..7], &[0x80], &together[8..]].concat();
    assert_eq!(read(&continued, &[1], u32::MAX).err(), Some(Violation::TooBig));
}

#[test]
fn what_came_before_a_violation_is_still_read() {
    let mut bytes = [frame(0x82, b"good", [0; 4]), frame(0x81, b"bad", [0; 4])].concat();
    let (length, demand) = FrameReader::new(100).read(&mut bytes);
    assert_eq!(&bytes[..length], b"good");
    assert_eq!(demand, Some(Demand::Refuse(Violation::Text)));
}

#[test]
fn nothing_is_read_behind_a_close_frame() {
    let mask = [9, 9, 9, 9];
    let close = frame(0x88, &[3, 232], mask);
    let bytes = [frame(0x82, b"last", mask), close, frame(0x81, b"text", mask)].concat();
    assert_eq!(read(&bytes, &[1000], 100), Ok((b"last".to_vec(), vec![Demand::Close])));
}

#[test]
fn headers_say_their_length_in_the_shortest_form() {
    for (length, expected) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 255, 255]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut header = Vec::new();
        write_binary_header(length, &mut header);
        assert_eq!(header, expected);
    }
}
