//! Hash slots of a cluster's keys.

/// The number of slots.
pub(super) const SLOTS: u16 = 16_384;

/// The CRC-16/XMODEM remainders of all bytes.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Returns the slot of a key, computed from its hash tag if it has one.
pub(super) fn of(key: &[u8]) -> u16 {
    let crc = |crc: u16, &byte: &u8| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)];
    tag(key).unwrap_or(key).iter().fold(0, crc) % SLOTS
}

/// Returns the hash tag of a key: the non-empty text between the first `{` and the next `}`. Keys
/// with the same tag share a slot.
pub(super) fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let inside = &key[open + 1..];
    let close = inside.iter().position(|&byte| byte == b'}')?;
    Some(&inside[..close]).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_match_cluster_keyslot() {
        // Values returned by CLUSTER KEYSLOT.
        assert_eq!(of(b"123456789"), 0x31C3 % SLOTS);
        assert_eq!(of(b"foo"), 12_182);
        assert_eq!(of(b"{foo}.bar"), of(b"foo"));
        assert_eq!(tag(b"{}foo"), None);
        assert_eq!(tag(b"foo{{bar}}"), Some(&b"{bar"[..]));
    }
}
