//! AES-256 over counters for WebAssembly, which has no AES instructions: eight blocks at a time
//! in 128-bit vectors. The whole of a layer's decryption in the sandbox is half as fast again with
//! it as with the `aes` crate's four blocks in 64-bit words (docs/performance.md).
//!
//! The algorithm is fixslicing (Adomnicai and Peyrin, <https://eprint.iacr.org/2020/1123>), as the
//! `aes` crate has it for 64-bit words; a vector is two of these side by side. It has no table and
//! no branch that depends on key or data. The tests of `ocicrypt` compare it natively
//! with `ctr` and with the standard's vectors.

mod lanes;
mod sbox;

use zeroize::Zeroizing;

use self::lanes::{Lanes, in_all_rows};

/// Bytes that are encrypted at a time: eight blocks.
pub const BATCH: usize = 8 * 16;

/// Of eight slices each, which are the same in both lanes.
type RoundKeys = Zeroizing<[[u64; 8]; 15]>;

/// AES-256 (FIPS 197).
pub struct Aes256(RoundKeys);

impl Aes256 {
    /// With the round keys of `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(key_schedule(key))
    }

    /// XORs `batches` with the keystream of counter mode (SP 800-38A, section 6.5) from the block
    /// `counter` on.
    #[inline]
    pub fn apply_keystream(&self, counter: u128, batches: &mut [[u8; BATCH]]) {
        encrypt(&self.0, counter, batches);
    }
}

/// [`Aes256::apply_keystream`], compiled with vectors.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn encrypt(keys: &RoundKeys, mut counter: u128, batches: &mut [[u8; BATCH]]) {
    for batch in batches {
        let mut blocks = [[0; 16]; 8];
        for block in &mut blocks {
            *block = counter.to_be_bytes();
            counter = counter.wrapping_add(1);
        }
        let mut state = slice(&blocks);
        add_round_key(&mut state, &keys[0]);
        for rounds in keys[1..13].as_chunks::<4>().0 {
            round::<1>(&mut state, &rounds[0]);
            round::<2>(&mut state, &rounds[1]);
            round::<3>(&mut state, &rounds[2]);
            round::<0>(&mut state, &rounds[3]);
        }
        round::<1>(&mut state, &keys[13]);
        shift_rows_2(&mut state);
        sbox::sub_bytes(&mut state);
        add_round_key(&mut state, &keys[14]);
        unslice_onto(state, batch);
    }
}

/// One round; which rotations stand for ShiftRows and MixColumns depends on its number modulo 4.
#[inline(always)]
fn round<const KIND: u32>(state: &mut [Lanes; 8], key: &[u64; 8]) {
    sbox::sub_bytes(state);
    mix_columns::<KIND>(state);
    add_round_key(state, key);
}

#[inline(always)]
fn add_round_key(state: &mut [Lanes; 8], key: &[u64; 8]) {
    for at in 0..8 {
        state[at] = state[at] ^ Lanes::both(key[at]);
    }
}

#[inline(always)]
fn mix_columns<const KIND: u32>(state: &mut [Lanes; 8]) {
    // Neither `map` with closures, which are compiled without vectors where they are not inlined, nor a loop,
    // which stays one, with all slices in memory.
    macro_rules! all {
        ($of:expr) => {
            [$of(0), $of(1), $of(2), $of(3), $of(4), $of(5), $of(6), $of(7)]
        };
    }
    let b = all!(|at: usize| state[at].turned::<1, KIND>());
    let c = all!(|at: usize| state[at] ^ b[at]);
    // Of the four columns; twice three of them are two.
    let d = all!(|at: usize| match KIND % 2 {
        0 => c[at].turned::<2, 0>(),
        _ => c[at].turned::<2, 2>(),
    });
    state[0] = b[0] ^ c[7] ^ d[0];
    state[1] = b[1] ^ c[0] ^ c[7] ^ d[1];
    state[2] = b[2] ^ c[1] ^ d[2];
    state[3] = b[3] ^ c[2] ^ c[7] ^ d[3];
    state[4] = b[4] ^ c[3] ^ c[7] ^ d[4];
    state[5] = b[5] ^ c[4] ^ d[5];
    state[6] = b[6] ^ c[5] ^ d[6];
    state[7] = b[7] ^ c[6] ^ d[7];
}

/// Eight blocks, four in each lane, as eight slices of a bit of each byte.
#[inline(always)]
fn slice(blocks: &[[u8; 16]; 8]) -> [Lanes; 8] {
    let mut state = [Lanes::both(0); 8];
    for at in 0..4 {
        let low = Lanes::new(half(&blocks[at], 0), half(&blocks[at + 4], 0));
        let high = Lanes::new(half(&blocks[at], 8), half(&blocks[at + 4], 8));
        [state[at], state[at + 4]] = Lanes::in_turns(low, high);
    }
    swap_bits(&mut state);
    state
}

#[inline(always)]
fn half(block: &[u8; 16], from: usize) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&block[from..from + 8]);
    u64::from_le_bytes(half)
}

/// [`slice`] undone, and turned over with what is in `batch`.
#[inline(always)]
fn unslice_onto(mut state: [Lanes; 8], batch: &mut [u8; BATCH]) {
    swap_bits(&mut state);
    for at in 0..4 {
        let [low, high] = Lanes::parted([state[at], state[at + 4]]);
        xor_half(&mut batch[16 * at..], low.first());
        xor_half(&mut batch[16 * at + 8..], high.first());
        xor_half(&mut batch[16 * (at + 4)..], low.second());
        xor_half(&mut batch[16 * (at + 4) + 8..], high.second());
    }
}

#[inline(always)]
fn xor_half(place: &mut [u8], with: u64) {
    let mut half = [0; 8];
    half.copy_from_slice(&place[..8]);
    place[..8].copy_from_slice(&(u64::from_le_bytes(half) ^ with).to_le_bytes());
}

/// Exchanges the index of a bit in its byte with that of the word. Its own inverse.
#[inline(always)]
fn swap_bits(state: &mut [Lanes; 8]) {
    for low in [0, 2, 4, 6] {
        swap_between(state, low, 1, 0x5555_5555_5555_5555);
    }
    for low in [0, 1, 4, 5] {
        swap_between(state, low, 2, 0x3333_3333_3333_3333);
    }
    for low in [0, 1, 2, 3] {
        swap_between(state, low, 4, 0x0f0f_0f0f_0f0f_0f0f);
    }
}

/// Exchanges the bits of `mask` in the word `distance` above `low` with those of `low` that are as
/// many places higher.
#[inline(always)]
fn swap_between(state: &mut [Lanes; 8], low: usize, distance: usize, mask: u64) {
    let (high, shift) = (low + distance, distance as u32);
    let moved = (state[high] ^ state[low].shifted_right(shift)) & Lanes::both(mask);
    state[high] = state[high] ^ moved;
    state[low] = state[low] ^ moved.shifted_left(shift);
}

/// The round keys, sliced, and arranged for the rotations of [`round`].
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn key_schedule(key: &[u8; 32]) -> RoundKeys {
    let mut keys = RoundKeys::default();
    for (at, half) in key.as_chunks::<16>().0.iter().enumerate() {
        put(&mut keys[at], slice(&Zeroizing::new([*half; 8])));
    }
    for number in 2..15 {
        let before = taken(&keys[number - 2]);
        let mut next = taken(&keys[number - 1]);
        sbox::sub_bytes(&mut next);
        sbox::complement(&mut next);
        // RotWord and the round constant at every second one: FIPS 197, 5.2, with Nk = 8.
        let mut from = 3 * 4;
        if number % 2 == 0 {
            from += 16;
            let bit = number / 2 - 1;
            next[bit] = next[bit] ^ Lanes::both(0xf000_0000);
        }
        for at in 0..8 {
            let first = next[at].rotated_right(from) & Lanes::both(const { in_all_rows(0x1) });
            let mixed = before[at] ^ first;
            next[at] = mixed
                ^ (mixed.shifted_left(4) & Lanes::both(const { in_all_rows(0xe) }))
                ^ (mixed.shifted_left(8) & Lanes::both(const { in_all_rows(0xc) }))
                ^ (mixed.shifted_left(12) & Lanes::both(const { in_all_rows(0x8) }));
        }
        put(&mut keys[number], next);
    }
    for number in 1..15 {
        let mut key = taken(&keys[number]);
        match number % 4 {
            1 => shift_rows_3(&mut key),
            2 if number < 14 => shift_rows_2(&mut key),
            3 => shift_rows_1(&mut key),
            _ => {}
        }
        // What `sub_bytes` leaves out.
        sbox::complement(&mut key);
        put(&mut keys[number], key);
    }
    keys
}

#[inline(always)]
fn taken(key: &[u64; 8]) -> [Lanes; 8] {
    let mut taken = [Lanes::both(0); 8];
    for at in 0..8 {
        taken[at] = Lanes::both(key[at]);
    }
    taken
}

#[inline(always)]
fn put(key: &mut [u64; 8], lanes: [Lanes; 8]) {
    for at in 0..8 {
        key[at] = lanes[at].first();
    }
}

#[inline(always)]
fn shift_rows_1(state: &mut [Lanes; 8]) {
    swap_columns(state, 8, 0x00f0_00ff_000f_0000);
    swap_columns(state, 4, 0x0f0f_0000_0f0f_0000);
}

#[inline(always)]
fn shift_rows_2(state: &mut [Lanes; 8]) {
    swap_columns(state, 8, 0x00ff_0000_00ff_0000);
}

#[inline(always)]
fn shift_rows_3(state: &mut [Lanes; 8]) {
    swap_columns(state, 8, 0x000f_00ff_00f0_0000);
    swap_columns(state, 4, 0x0f0f_0000_0f0f_0000);
}

/// Exchanges the bits of `mask` with those `shift` places above them.
#[inline(always)]
fn swap_columns(state: &mut [Lanes; 8], shift: u32, mask: u64) {
    for slice in state {
        let moved = (*slice ^ slice.shifted_right(shift)) & Lanes::both(mask);
        *slice = *slice ^ moved ^ moved.shifted_left(shift);
    }
}
