//! Opens files until there is no descriptor left.

use keycell_hostile_guests::{Failure, Fixture, LayerKey, Request, failure, fixture};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

struct OpensThousands;

impl Fixture for OpensThousands {
    fn unwrap(_: Request) -> Result<LayerKey, Failure> {
        let (keys, _) = &get_directories()[0];
        let mut held = Vec::new();
        for _ in 0..100_000 {
            let opened = keys.open_at(
                PathFlags::empty(),
                "key.pem",
                OpenFlags::empty(),
                DescriptorFlags::READ,
            );
            match opened {
                Ok(file) => held.push(file),
                Err(error) => {
                    let message = format!("open: refused ({error:?} after {})", held.len());
                    return Err(failure(&message));
                }
            }
        }
        Err(failure("HARM, a hundred thousand files are open"))
    }
}

fixture!(OpensThousands);
