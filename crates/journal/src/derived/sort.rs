//! Sorting of index entries by their key bits, stable, in a few passes over memory.

use super::num::index;

const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Sorts by the bits from `low_bit` up, keeping the order of entries that are equal there. `scratch` is reused.
///
/// A pass whose digit is the same in all entries is skipped: few keys cost few passes.
pub(crate) fn sort_by_high_bits(entries: &mut Vec<u64>, scratch: &mut Vec<u64>, low_bit: u32) {
    if entries.len() < 256 {
        entries.sort_by_key(|entry| entry >> low_bit);
        return;
    }
    let passes = (u64::BITS - low_bit).div_ceil(DIGIT_BITS);
    let mut counts = vec![[0u32; DIGITS]; passes as usize];
    for &entry in entries.iter() {
        let mut key = entry >> low_bit;
        for count in &mut counts {
            count[digit(key)] += 1;
            key >>= DIGIT_BITS;
        }
    }
    // Whatever is in it will be written over.
    scratch.resize(entries.len(), 0);
    for (pass, count) in (0u32..).zip(&mut counts) {
        let shift = low_bit + pass * DIGIT_BITS;
        if count[digit(entries[0] >> shift)] as usize == entries.len() {
            continue;
        }
        let mut start = 0;
        for slot in count.iter_mut() {
            start += core::mem::replace(slot, start);
        }
        for &entry in entries.iter() {
            let slot = &mut count[digit(entry >> shift)];
            scratch[*slot as usize] = entry;
            *slot += 1;
        }
        core::mem::swap(entries, scratch);
    }
}

#[inline]
fn digit(key: u64) -> usize {
    index(key & (DIGITS as u64 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_stable_sort() {
        let mut state = 1u64;
        for (length, mask) in [(10, u64::MAX), (300, 0xFFFF_FFFF), (5_000, u64::MAX), (5_000, 0x3F00_00FF_FFFF)] {
            let mut entries: Vec<u64> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state ^ (state >> 29)) & mask
                })
                .collect();
            let mut expected = entries.clone();
            expected.sort_by_key(|entry| entry >> 24);
            sort_by_high_bits(&mut entries, &mut Vec::new(), 24);
            assert_eq!(entries, expected);
        }
    }
}
