//! A layer from memory through the cipher: HMAC-SHA256, AES-256-CTR, and the digest where it is
//! compared.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keycell_bench_micro::layer;
use ocicrypt::layer::{LayerKey, PlainReader};

const LENGTHS: [(&str, usize); 4] =
    [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20)];

fn cipher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cipher");
    for (name, length) in LENGTHS {
        let (encrypted, key) = layer(length);
        // As nearly all layers are: compressed, so that the digest is not compared.
        let compressed = key.clone().with_digest_of_any_blob();
        group.throughput(Throughput::Bytes(length as u64));
        for (kind, key) in [("compressed", &compressed), ("tar", &key)] {
            group.bench_function(BenchmarkId::new(kind, name), |bencher| {
                bencher.iter(|| decrypt(&encrypted, key));
            });
        }
    }
    group.finish();
}

/// Every chunk of the plain layer, as the host's cipher takes them.
fn decrypt(encrypted: &[u8], key: &LayerKey) {
    let mut reader = PlainReader::new(encrypted, key);
    while let Some(chunk) = reader.next_chunk().expect("the layer is genuine") {
        black_box(chunk);
    }
}

criterion_group!(benches, cipher);
criterion_main!(benches);
