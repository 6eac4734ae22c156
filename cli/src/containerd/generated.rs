//! Configuration files that another program writes anew at each start, so that what is added to them is
//! lost. What the file says decides, not where it is: `--data-dir` moves it.

use std::path::{Path, PathBuf};

/// What MicroK8s makes its configuration from, in the same directory.
const MICROK8S_TEMPLATE: &str = "containerd-template.toml";

/// The templates of k3s and RKE2, in the same directory.
pub const RANCHER_TEMPLATES: [&str; 2] = ["config-v3.toml.tmpl", "config.toml.tmpl"];

/// Who writes the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Generator {
    /// k3s.
    K3s,
    /// RKE2.
    Rke2,
    /// k0s, which imports each file of a directory.
    K0s,
    /// MicroK8s.
    MicroK8s,
    /// A program that is not known; the line that says so.
    Unknown(String),
}

/// Where Keycell's part goes instead.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A file in this directory, all of which the program imports.
    Directory(PathBuf),
    /// The end of this template, which is made if it does not exist.
    Template(PathBuf),
}

impl Generator {
    /// The program that generates `file`, which has this text, or does not exist yet.
    pub fn of(file: &Path, text: Option<&str>) -> Option<Self> {
        let comments = text.unwrap_or_default().lines().map(str::trim);
        let header: Vec<_> =
            comments.take_while(|line| line.is_empty() || line.starts_with('#')).collect();
        let says = |words: &[&str]| {
            let contains = |line: &&&str| {
                let line = line.to_lowercase();
                words.iter().any(|word| line.contains(word))
            };
            header.iter().find(contains)
        };
        let generated = says(&["generated", "do not edit"]);
        let path = file.to_string_lossy();
        if says(&["k0s_managed=true"]).is_some()
            || path == "/etc/k0s/containerd.toml" && text.is_none()
        {
            Some(Self::K0s)
        } else if beside(file, MICROK8S_TEMPLATE).is_file() || path.contains("/microk8s/") {
            Some(Self::MicroK8s)
        } else if generated.is_some() && says(&["rke2"]).is_some()
            || path.contains("/rancher/rke2/")
        {
            Some(Self::Rke2)
        } else if generated.is_some() && says(&["k3s", ".toml.tmpl"]).is_some()
            || path.contains("/rancher/")
            // A template that does not begin with theirs makes a file without the header.
            || RANCHER_TEMPLATES.iter().any(|name| beside(file, name).is_file())
        {
            Some(Self::K3s)
        } else {
            says(&["do not edit"])
                .map(|line| Self::Unknown(line.trim_start_matches('#').trim().to_owned()))
        }
    }

    /// Where it takes settings from, for a configuration of version `syntax`. None if that is not known.
    pub fn place(&self, file: &Path, syntax: u32) -> Option<Place> {
        match self {
            Self::K3s | Self::Rke2 => {
                let name = RANCHER_TEMPLATES[usize::from(syntax < 3)];
                Some(Place::Template(beside(file, name)))
            }
            Self::K0s => Some(Place::Directory(beside(file, "containerd.d"))),
            Self::MicroK8s => Some(Place::Template(beside(file, MICROK8S_TEMPLATE))),
            Self::Unknown(_) => None,
        }
    }

    /// Its systemd units, without `.service`.
    pub fn units(&self) -> &'static [&'static str] {
        match self {
            Self::K3s => &["k3s", "k3s-agent"],
            Self::Rke2 => &["rke2-server", "rke2-agent"],
            Self::K0s => &["k0scontroller", "k0sworker"],
            Self::MicroK8s => &["snap.microk8s.daemon-containerd"],
            Self::Unknown(_) => &["containerd"],
        }
    }
}

/// The templates in which Keycell's part may be, beside a configuration file.
pub fn templates(file: &Path) -> [PathBuf; 3] {
    let [v3, v2] = RANCHER_TEMPLATES;
    [v3, v2, MICROK8S_TEMPLATE].map(|name| beside(file, name))
}

/// The file of this name in the directory of `file`.
pub fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(name)
}

/// The unit to restart after a change: the first of these that is installed.
pub fn unit(generator: Option<&Generator>) -> &'static str {
    let units = generator.map_or(&["containerd"][..], Generator::units);
    let directories = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/lib/systemd/system",
        "/usr/local/lib/systemd/system",
    ];
    let is_installed = |unit: &&&str| {
        let file = format!("{unit}.service");
        directories.iter().any(|directory| Path::new(directory).join(&file).exists())
    };
    units.iter().find(is_installed).unwrap_or(&units[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_are_known_by_what_the_file_says() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("agent/etc/containerd/config.toml");
        let line = "DO NOT EDIT: Ansible";
        for (text, expected) in [
            (
                "# File generated by k3s. DO NOT EDIT. Use config-v3.toml.tmpl instead.\nversion = 3\n",
                Some(Generator::K3s),
            ),
            (
                "\n# File generated by rke2. DO NOT EDIT. Use config.toml.tmpl instead.\n",
                Some(Generator::Rke2),
            ),
            ("# Generated by k3s\r\nversion = 2\r\n", Some(Generator::K3s)),
            ("# k0s_managed=true\n# This is a placeholder\nversion = 2\n", Some(Generator::K0s)),
            ("  # DO NOT EDIT: Ansible\n", Some(Generator::Unknown(line.to_owned()))),
            ("# Written by hand\nversion = 2\n# generated by k3s. DO NOT EDIT.\n", None),
            ("version = 2\n", None),
        ] {
            assert_eq!(Generator::of(&file, Some(text)), expected, "{text}");
        }
        assert_eq!(Generator::of(&file, None), None);
        let rancher = Path::new("/var/lib/rancher/rke2/agent/etc/containerd/config.toml");
        assert_eq!(Generator::of(rancher, None), Some(Generator::Rke2));
        std::fs::create_dir_all(dir.path().join("agent/etc/containerd"))?;
        std::fs::write(beside(&file, MICROK8S_TEMPLATE), "")?;
        assert_eq!(Generator::of(&file, Some("version = 2\n")), Some(Generator::MicroK8s));
        Ok(())
    }
}
