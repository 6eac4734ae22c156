//! `cargo run --release -p keycell-walls --example cost [ROUNDS]` measures what the walls of
//! `ctd-decoder` cost at its start, in microseconds. Each round runs in its own process, since walls
//! stay up.

use std::io::Result;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use keycell_walls::decoder::{Needs, Walls};

fn main() -> Result<()> {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "once" {
        once();
        return Ok(());
    }
    let rounds = argument.parse().unwrap_or(200);
    let mut taken = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        let output = Command::new(std::env::current_exe()?).arg("once").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        for (all, one) in taken.iter_mut().zip(text.split_whitespace()) {
            all.extend(one.parse::<u32>());
        }
    }
    println!("{rounds} processes    least  median  three quarters (µs)");
    for (name, mut all) in ["before the guest", "before the layer"].into_iter().zip(taken) {
        all.sort_unstable();
        let at = |part: usize| all.get(part * all.len() / 4).copied().unwrap_or_default();
        println!("{name}  {:>6}  {:>6}  {:>6}", at(0), at(2), at(3));
    }
    Ok(())
}

fn once() {
    let started = Instant::now();
    let needs = Needs { keys: Some(Path::new("/etc/ssl")), ..Needs::default() };
    let walls = Walls::before_guest(needs).expect("nobody else to become");
    let between = started.elapsed();
    let walls = walls.before_layer();
    let all = started.elapsed();
    assert!(walls.missing().all(|wall| !wall.required), "{:?}", walls.walls());
    println!("{} {}", between.as_micros(), (all - between).as_micros());
}
