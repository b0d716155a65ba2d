//! Packets put together byte by byte, also those that no codec would write.

/// A packet with a correct remaining length.
pub fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    [&[first_byte], &integer(body.len() as u32)[..], body].concat()
}

/// A variable byte integer in its shortest form.
pub fn integer(value: u32) -> Vec<u8> {
    let length = [0x80, 0x4000, 0x20_0000].iter().take_while(|&&bound| value >= bound).count();
    integer_of(value, 1 + length)
}

/// A variable byte integer of just `length` bytes, which its value may not need or may exceed.
pub fn integer_of(mut value: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for place in 1..=length {
        let more = if place < length { 0x80 } else { 0 };
        bytes.push((value & 0x7F) as u8 | more);
        value >>= 7;
    }
    bytes
}

/// A string or binary field behind its length.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A property section behind its length.
pub fn section(properties: &[u8]) -> Vec<u8> {
    [&integer(properties.len() as u32)[..], properties].concat()
}

/// A PUBLISH of QoS 0 without properties.
pub fn publish(version_5: bool, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version_5 { &[0] } else { &[] };
    packet(0x30, &[&sized(topic), properties, payload].concat())
}
