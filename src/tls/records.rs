//! Sizes and boundaries of TLS records (RFC 8446 §5, RFC 5246 §6.2). Pure arithmetic.

/// Type, version and length.
pub(super) const HEADER_BYTES: usize = 5;

/// Plaintext that one record carries at most.
const PLAIN_BYTES_MAX: usize = 1 << 14;

/// What protection may add to a record's plaintext (RFC 5246 §6.2.3; RFC 8446 §5.2 allows less).
const EXPANSION_BYTES_MAX: usize = 2048;

/// A whole record, header included: also the most that a connection keeps of what it has received.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + PLAIN_BYTES_MAX + EXPANSION_BYTES_MAX;

/// What a record of ours is longer than its plaintext: header, explicit nonce and tag of AES-GCM in TLS 1.2. TLS 1.3 and
/// ChaCha20 take less.
pub const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + 8 + 16;

/// Two key updates that may go out before the plaintext: the one a peer asked for, and our own where a key has
/// protected enough (each a record with a handshake message of 5 bytes and a content type).
const KEY_UPDATES_BYTES: usize = 2 * (HEADER_BYTES + 5 + 1 + 16);

/// The plaintext that surely fits into `out_bytes` once it is protected; 0 where none does.
#[must_use]
pub const fn plain_bytes_max(out_bytes: usize) -> usize {
    const FULL: usize = PLAIN_BYTES_MAX + OVERHEAD_BYTES_MAX;
    let room = out_bytes.saturating_sub(KEY_UPDATES_BYTES);
    let rest = (room % FULL).saturating_sub(OVERHEAD_BYTES_MAX);
    room / FULL * PLAIN_BYTES_MAX + rest
}

/// The start of the first record that is incomplete in `bytes`, which begin with a record: all before it are whole.
pub(super) fn whole_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = record_bytes(&bytes[at..])
        && length <= bytes.len() - at
    {
        at += length;
    }
    at
}

/// How many bytes the record that begins here lacks, or its header as long as that one is incomplete. At least 1:
/// `begun` is no whole record.
pub(super) fn missing_bytes(begun: &[u8]) -> usize {
    record_bytes(begun).unwrap_or(HEADER_BYTES).saturating_sub(begun.len()).max(1)
}

/// The length of the record that begins here, if its header is whole.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES)?;
    Some(HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_incomplete_record_begins() {
        let record = |payload: u8| {
            let mut record = vec![23, 3, 3, 0, payload];
            record.resize(HEADER_BYTES + usize::from(payload), 7);
            record
        };
        let two = [record(3), record(9)].concat();
        assert_eq!(whole_bytes(&two), two.len());
        assert_eq!(whole_bytes(&two[..two.len() - 1]), 8);
        assert_eq!(whole_bytes(&two[..7]), 0);
        assert_eq!(whole_bytes(&[]), 0);
        assert_eq!(missing_bytes(&two[8..10]), 3);
        assert_eq!(missing_bytes(&two[8..13]), 9);
        assert_eq!(missing_bytes(&two[8..15]), 7);
    }

    #[test]
    fn reserves_the_overhead_of_each_record() {
        assert_eq!(plain_bytes_max(0), 0);
        assert_eq!(plain_bytes_max(54 + 29), 0);
        assert_eq!(plain_bytes_max(54 + 30), 1);
        assert_eq!(plain_bytes_max(4096), 4096 - 54 - 29);
        assert_eq!(plain_bytes_max(65_536), 65_536 - 54 - 4 * 29);
        assert_eq!(plain_bytes_max(54 + 16_413), 16_384);
        assert_eq!(plain_bytes_max(54 + 16_413 + 29), 16_384);
    }
}
