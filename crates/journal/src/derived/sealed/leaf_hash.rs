//! The hashes of many transfers, two at a time.
//!
//! A hash is a chain of instructions that wait for each other; a second chain beside it runs in those waits, so that
//! two take as long as one. Sealing hashes every transfer, which is why it is worth a file.

use qenex_kernel::row::Transfer;

/// The hashes of two transfers, as [`Transfer::hash`] gives them.
#[inline]
#[allow(unsafe_code)]
pub(crate) fn hash_two(pair: [&Transfer; 2]) -> [[u8; 32]; 2] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has what the function needs.
        return unsafe { x86::hash_two(pair) };
    }
    pair.map(Transfer::hash)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x,
        _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32, _mm_storeu_si128,
    };

    use qenex_kernel::row::Transfer;
    use zerocopy::IntoBytes;

    /// Blocks of 64 bytes in a padded message.
    const BLOCKS: usize = 3;

    /// FIPS 180-4, section 4.2.2.
    const K: [u32; 64] = [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ];

    /// Words a, b, e, f, then c, d, g, h of FIPS 180-4, section 5.3.3: the order of the instructions.
    const INITIAL: [[i32; 4]; 2] = [
        [0x6a09_e667, 0xbb67_ae85_u32.cast_signed(), 0x510e_527f, 0x9b05_688c_u32.cast_signed()],
        [0x3c6e_f372, 0xa54f_f53a_u32.cast_signed(), 0x1f83_d9ab, 0x5be0_cd19],
    ];

    /// Length of a message: a byte and a row.
    const MESSAGE_BITS: i32 = 8 * 129;

    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) fn hash_two(pair: [&Transfer; 2]) -> [[u8; 32]; 2] {
        let messages = [message(pair[0]), message(pair[1])];
        let mut states = [INITIAL.map(|[a, b, c, d]| _mm_set_epi32(a, b, c, d)); 2];
        for block in 0..BLOCKS {
            let words = |message: &[__m128i; 4 * BLOCKS]| *message[4 * block..].first_chunk().expect("four of twelve");
            compress(&mut states, [words(&messages[0]), words(&messages[1])]);
        }
        [digest(states[0]), digest(states[1])]
    }

    /// A zero byte, the row, and the padding of FIPS 180-4, section 5.1.1; words in the processor's order.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    #[allow(unsafe_code)]
    fn message(transfer: &Transfer) -> [__m128i; 4 * BLOCKS] {
        let swap = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
        let mut message = [_mm_setzero_si128(); 4 * BLOCKS];
        let mut before = _mm_setzero_si128();
        let (pieces, _) = transfer.as_bytes().as_chunks::<16>();
        for (words, piece) in message.iter_mut().zip(pieces) {
            // SAFETY: reads the 16 bytes, wherever they lie.
            let piece = unsafe { _mm_loadu_si128(piece.as_ptr().cast()) };
            *words = _mm_shuffle_epi8(_mm_alignr_epi8::<15>(piece, before), swap);
            before = piece;
        }
        let padding = _mm_set_epi64x(0, 0x80);
        message[8] = _mm_shuffle_epi8(_mm_alignr_epi8::<15>(padding, before), swap);
        message[11] = _mm_set_epi32(MESSAGE_BITS, 0, 0, 0);
        message
    }

    /// Takes one block of each message into its state.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn compress(states: &mut [[__m128i; 2]; 2], mut words: [[__m128i; 4]; 2]) {
        let before = *states;
        rounds::<0, false>(states, &mut words, 0);
        rounds::<1, false>(states, &mut words, 0);
        rounds::<2, false>(states, &mut words, 0);
        rounds::<3, false>(states, &mut words, 0);
        for group in [4, 8, 12] {
            rounds::<0, true>(states, &mut words, group);
            rounds::<1, true>(states, &mut words, group);
            rounds::<2, true>(states, &mut words, group);
            rounds::<3, true>(states, &mut words, group);
        }
        for (state, before) in states.iter_mut().zip(before) {
            *state = [_mm_add_epi32(state[0], before[0]), _mm_add_epi32(state[1], before[1])];
        }
    }

    /// Four rounds of each state, with the words at `AT`; those are replaced first, if they were used before.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn rounds<const AT: usize, const NEXT: bool>(
        states: &mut [[__m128i; 2]; 2],
        words: &mut [[__m128i; 4]; 2],
        group: usize,
    ) {
        let constants = constants(group + AT);
        for (state, words) in states.iter_mut().zip(words) {
            if NEXT {
                let [older, newer, newest] = [words[(AT + 1) % 4], words[(AT + 2) % 4], words[(AT + 3) % 4]];
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(words[AT], older), _mm_alignr_epi8::<4>(newest, newer));
                words[AT] = _mm_sha256msg2_epu32(sum, newest);
            }
            let sum = _mm_add_epi32(words[AT], constants);
            state[1] = _mm_sha256rnds2_epu32(state[1], state[0], sum);
            state[0] = _mm_sha256rnds2_epu32(state[0], state[1], _mm_shuffle_epi32::<0x0E>(sum));
        }
    }

    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn constants(group: usize) -> __m128i {
        let [a, b, c, d] = *K[4 * group..].first_chunk().expect("four words");
        _mm_set_epi32(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed())
    }

    /// The words in their order, as bytes.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    #[allow(unsafe_code)]
    fn digest(state: [__m128i; 2]) -> [u8; 32] {
        // From (f e b a) and (h g d c), lowest first, to (a b c d) and (e f g h).
        let ab_ef = _mm_shuffle_epi32::<0x1B>(state[0]);
        let gh_cd = _mm_shuffle_epi32::<0xB1>(state[1]);
        let low = _mm_blend_epi16::<0xF0>(ab_ef, gh_cd);
        let high = _mm_alignr_epi8::<8>(gh_cd, ab_ef);
        let mut bytes = [0; 32];
        let swap = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
        for (bytes, half) in bytes.chunks_exact_mut(16).zip([low, high]) {
            // SAFETY: writes the 16 bytes, wherever they lie.
            unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_shuffle_epi8(half, swap)) };
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes;

    use super::*;

    #[test]
    fn equals_the_hash_of_one() {
        let mut state = 7u64;
        let mut transfer = || {
            let bytes: [u8; 128] = core::array::from_fn(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            });
            Transfer::read_from_bytes(&bytes).expect("128 bytes")
        };
        for _ in 0..100 {
            let (a, b) = (transfer(), transfer());
            assert_eq!(hash_two([&a, &b]), [a.hash(), b.hash()]);
        }
        assert_eq!(hash_two([&Transfer::ZERO; 2]), [Transfer::ZERO.hash(); 2]);
    }
}
