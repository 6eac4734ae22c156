//! Examples of command lines, for the help and the manual page of every command.

use clap::Command;

/// What a command line does, and the line.
pub type Example = (&'static str, &'static str);

/// The examples of each command, which is named by the words after `keycell`.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            ("Make a key for a node", "keycell keygen node.pem --public node.pub.pem"),
            (
                "Encrypt an image for it",
                "keycell encrypt oci:plain:app oci:encrypted:app -r jwe:node.pub.pem",
            ),
            ("Check a node", "keycell doctor"),
        ],
    ),
    (
        "encrypt",
        &[
            (
                "For the owner of a key",
                "keycell encrypt oci:plain:app oci:encrypted:app -r jwe:node.pub.pem",
            ),
            (
                "For several recipients",
                "keycell encrypt oci:plain:app oci:out:app -r jwe:node.pub.pem -r pgp:ops",
            ),
            (
                "Add a recipient to an encrypted image",
                "keycell encrypt oci:out:app oci:more:app -r jwe:new.pub.pem --keys node.pem",
            ),
            (
                "For one platform",
                "keycell encrypt oci:plain oci:out -r jwe:node.pub.pem --platform linux/arm64",
            ),
        ],
    ),
    (
        "decrypt",
        &[(
            "With the keys in a directory",
            "keycell decrypt oci:encrypted:app oci:plain:app --keys keys",
        )],
    ),
    (
        "inspect",
        &[
            ("Who can decrypt an image", "keycell inspect oci:encrypted:app"),
            ("Which key opens which layer", "keycell inspect oci:encrypted:app --keys keys"),
        ],
    ),
    (
        "recipients",
        &[(
            "Remove the owner of a public key",
            "keycell recipients remove oci:out:app oci:less:app -r jwe:old.pub.pem",
        )],
    ),
    (
        "recipients remove",
        &[
            (
                "Remove the owner of a public key",
                "keycell recipients remove oci:out:app oci:less:app -r jwe:old.pub.pem",
            ),
            (
                "Remove whoever has a private key",
                "keycell recipients remove oci:out:app oci:less:app --key old.pem",
            ),
        ],
    ),
    (
        "clevis",
        &[(
            "Answer a request of ocicrypt, with one Tang server",
            "keycell clevis --tang http://tang.example",
        )],
    ),
    (
        "keyprovider",
        &[
            (
                "Serve the members of a group",
                "keycell keyprovider --listen unix:/run/keycell.sock --group keycell",
            ),
            (
                "Answer one request, with the keys in a directory",
                "keycell keyprovider --decryption-keys-path keys <request.json",
            ),
        ],
    ),
    (
        "keygen",
        &[
            ("A P-256 key", "keycell keygen node.pem --public node.pub.pem"),
            (
                "An RSA key, for a program that has no elliptic curves",
                "keycell keygen node.pem --type rsa3072 --public node.pub.pem",
            ),
        ],
    ),
    (
        "keys",
        &[
            ("The keys of a node", "keycell keys /etc/containerd/ocicrypt/keys"),
            ("The public key of a private key", "keycell keys --public node.pem"),
        ],
    ),
    ("guest", &[("What is installed", "keycell guest list")]),
    (
        "guest install",
        &[(
            "A guest that its author has signed",
            "keycell guest install a.wasm --signature a.minisig --public-key key.pub",
        )],
    ),
    ("guest list", &[("What is installed", "keycell guest list")]),
    ("guest show", &[("What is known of a guest", "keycell guest show mine")]),
    ("guest verify", &[("Check all guests", "keycell guest verify")]),
    ("guest rebuild", &[("After an upgrade", "keycell guest rebuild")]),
    ("guest remove", &[("Remove a guest", "keycell guest remove mine")]),
    (
        "guest default",
        &[
            ("Let the decoder run a guest", "keycell guest default mine"),
            ("Let it run its own again", "keycell guest default embedded"),
        ],
    ),
    (
        "doctor",
        &[
            ("Whether the next pull will succeed", "keycell doctor"),
            ("Whether a key opens an image", "keycell doctor --image registry.example/app:1"),
        ],
    ),
    (
        "metrics",
        &[(
            "For node_exporter",
            "keycell metrics --output /var/lib/prometheus/node-exporter/keycell.prom",
        )],
    ),
    ("config", &[("Print what containerd needs", "keycell config containerd")]),
    (
        "config containerd",
        &[
            ("Print what containerd needs", "keycell config containerd"),
            ("Install it", "keycell config containerd --write"),
            ("Print what an older release needs", "keycell config containerd --version 1.7"),
        ],
    ),
    (
        "completions",
        &[("For bash, from the next shell on", "keycell completions bash >>~/.bash_completion")],
    ),
    (
        "payload",
        &[(
            "Call the decoder as containerd does",
            "keycell payload oci:encrypted:app --layer 1 --output payload",
        )],
    ),
    (
        "conform",
        &[
            ("Test a decoder", "keycell conform /usr/local/bin/ctd-decoder"),
            ("Test a guest", "keycell conform guest.wasm --filter jwe"),
        ],
    ),
];

/// The examples of a command, which is named by the words after `keycell`.
pub fn of(words: &str) -> &'static [Example] {
    let found = EXAMPLES.iter().find(|(name, _)| *name == words);
    found.map(|(_, examples)| *examples).unwrap_or_default()
}

/// Adds the examples to the help of a command, and of all commands below it.
pub fn add(command: Command) -> Command {
    add_below(command, "")
}

fn add_below(command: Command, words: &str) -> Command {
    let text = of(words).iter().map(|(what, line)| format!("  {what}:\n    {line}\n"));
    let header = command.get_styles().get_header();
    let mut help = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
    help += &format!("{header}Examples:{header:#}\n{}", text.collect::<String>());
    let command = if of(words).is_empty() { command } else { command.after_help(help) };
    command.mut_subcommands(|below| {
        let words = format!("{words} {}", below.get_name());
        add_below(below, words.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Arguments;

    fn all<'a>(command: &'a Command, words: &str, found: &mut Vec<(String, &'a Command)>) {
        found.push((words.to_owned(), command));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            all(below, format!("{words} {}", below.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_has_examples_in_its_help() {
        let (command, mut found) = (add(Arguments::command()), Vec::new());
        all(&command, "", &mut found);
        for (words, command) in &found {
            let mut command = (*command).clone();
            assert!(!of(words).is_empty(), "`keycell {words}` has no example");
            let help = command.render_long_help().to_string();
            for (_, line) in of(words) {
                let line = line.split(' ').next_back().expect("a word");
                assert!(help.contains("Examples:\n") && help.contains(line), "{help}");
            }
        }
        for (words, _) in EXAMPLES {
            assert!(
                found.iter().any(|(found, _)| found == words),
                "`keycell {words}` is no command"
            );
        }
    }

    #[test]
    fn every_example_can_be_parsed() {
        for (words, line) in EXAMPLES
            .iter()
            .flat_map(|(words, each)| each.iter().map(move |(_, line)| (words, line)))
        {
            let arguments = line.split(' ').take_while(|word| !word.starts_with(['<', '>']));
            let parsed = Arguments::command().try_get_matches_from(arguments);
            assert!(parsed.is_ok(), "{line}: {}", parsed.expect_err("an error"));
            assert!(line.len() <= 76, "wrapped on a terminal of 80 columns: {line}");
            let own = format!("keycell {words}");
            assert!(
                words.is_empty()
                    || words == &"guest"
                    || words == &"config"
                    || line.starts_with(&own),
                "{line}"
            );
        }
    }
}
