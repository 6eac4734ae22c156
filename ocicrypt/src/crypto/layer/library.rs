//! AES-256 of the `aes` library, which uses the processor's AES instructions, over counters that are
//! also generated with its vector instructions. The library's own counter mode, `ctr`, generates them
//! one by one: on a processor with AES for 512-bit vectors, that takes longer than encrypting them
//! (docs/performance.md). No `unsafe` is needed: code that is inlined into the library's function is
//! compiled for the processor that the library has detected.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
    ParBlocks,
};

use super::counter::{BATCH, Cipher, xor};

/// The library's AES-256. Its round keys are wiped when dropped.
pub struct Library(aes::Aes256);

impl Cipher for Library {
    fn new(key: &[u8; 32]) -> Self {
        Self(aes::Aes256::new(key.into()))
    }

    fn turn(&self, counter: u128, batches: &mut [[u8; BATCH]]) {
        self.0.encrypt_with_backend(Turn { counter, bytes: batches.as_flattened_mut() });
    }
}

/// The work for the library's AES of this processor.
struct Turn<'a> {
    counter: u128,
    bytes: &'a mut [u8],
}

impl BlockSizeUser for Turn<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Turn<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, aes: &B) {
        let Self { mut counter, bytes } = self;
        let blocks = B::ParBlocksSize::USIZE;
        let whole = bytes.len() / (16 * blocks) * (16 * blocks);
        let (whole, rest) = bytes.split_at_mut(whole);
        for piece in whole.chunks_exact_mut(16 * blocks) {
            turn(aes, counter, piece);
            counter = counter.wrapping_add(blocks as u128);
        }
        if !rest.is_empty() {
            turn(aes, counter, rest);
        }
    }
}

/// Encrypts at most as many blocks as the library encrypts at once.
#[inline(always)]
fn turn<B: BlockCipherEncBackend<BlockSize = U16>>(aes: &B, counter: u128, bytes: &mut [u8]) {
    let mut keystream = ParBlocks::<B>::default();
    count(counter, Array::cast_slice_to_core_mut(&mut keystream));
    aes.encrypt_par_blocks_inplace(&mut keystream);
    xor(bytes, Array::cast_slice_to_core(&keystream).as_flattened());
}

/// Fills in the counter blocks from `counter` on.
#[inline(always)]
fn count(counter: u128, blocks: &mut [[u8; 16]]) {
    let [first, second, third, low] = [96, 64, 32, 0].map(|shift| (counter >> shift) as u32);
    // A processor that encrypts only a few blocks at once has no vectors for which this is faster.
    if blocks.len() > 8 && low.checked_add(blocks.len() as u32).is_some() {
        for (at, block) in (0..).zip(blocks) {
            let words = [first, second, third, low + at];
            for (place, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *place = word.to_be_bytes();
            }
        }
    } else {
        for (at, block) in (0..).zip(blocks) {
            *block = counter.wrapping_add(at).to_be_bytes();
        }
    }
}
