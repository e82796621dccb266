//! An image of one layer, as an archive that every tool for images reads.
//!
//! ```text
//! blobs/sha256/<hash>   the layer, the configuration, the manifest
//! index.json            ─► manifest ─► configuration, layer       OCI image layout 1.0.0
//! manifest.json         ─► configuration, layer                   `docker save`'s, for Docker before 25
//! oci-layout            the version
//! ```
//!
//! Read by `docker load`, `podman load`, `ctr images import`, `kind load image-archive`, and by skopeo as
//! `oci-archive:`. The same files give the same bytes: nothing in it has a time.
//!
//! Formats: opencontainers/image-spec v1.1 (`image-layout.md`, `manifest.md`, `config.md`);
//! moby `image/tarexport` (`manifest.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// When everything was made, as far as the image says.
const TIME: &str = "1970-01-01T00:00:00Z";

/// An image with nothing but some files in it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name, with a registry where it has one, and its tag: `covtap-agent:0.1.0`.
    pub name: String,
    /// Kubernetes' and Go's word for its processor: `amd64`, `arm64`.
    pub architecture: String,
    /// Version of what is in it.
    pub version: String,
    /// What is executed by whoever names nothing else.
    pub entrypoint: Vec<String>,
    /// Executable files by their absolute paths.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// Writes the archive.
    ///
    /// # Errors
    /// When it cannot be written, and when a path is none of a file.
    pub fn write(&self, to: impl Write) -> io::Result<()> {
        let layer = layer(&self.files)?;
        let configuration = self.configuration(&digest(&layer)).to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIGURATION, &configuration),
            "layers": [descriptor(LAYER, &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut archive = tar::Builder::new(to);
        directory(&mut archive, "blobs/")?;
        directory(&mut archive, "blobs/sha256/")?;
        for blob in [&configuration, &layer, &manifest] {
            file(&mut archive, Path::new(&blob_path(blob)), blob, 0o644)?;
        }
        let documents = [
            ("index.json", self.index(&manifest)),
            ("manifest.json", self.docker(&configuration, &layer)),
            ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
        ];
        for (name, document) in documents {
            let text = document.to_string();
            file(&mut archive, Path::new(name), text.as_bytes(), 0o644)?;
        }
        archive.into_inner()?.flush()
    }

    fn configuration(&self, layer: &str) -> Value {
        json!({
            "created": TIME,
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/bin"],
                "Entrypoint": self.entrypoint,
                "Labels": {
                    "org.opencontainers.image.title": "covtap agent",
                    "org.opencontainers.image.version": self.version,
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
            "history": [{ "created": TIME, "created_by": "covtap agent image" }],
        })
    }

    fn index(&self, manifest: &[u8]) -> Value {
        let mut described = descriptor(MANIFEST, manifest);
        described["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        described["annotations"] = json!({
            // containerd takes the first for the name, others the tag alone.
            "io.containerd.image.name": in_full(&self.name),
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next(),
        });
        json!({ "schemaVersion": 2, "manifests": [described] })
    }

    fn docker(&self, configuration: &[u8], layer: &[u8]) -> Value {
        json!([{
            "Config": blob_path(configuration),
            "RepoTags": [self.name],
            "Layers": [blob_path(layer)],
        }])
    }
}

/// A name as containerd keeps it: what has no registry is Docker Hub's.
fn in_full(name: &str) -> String {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// The first 8 hexadecimal digits of a hash.
#[must_use]
pub fn short_digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/{}", digest(bytes).replace(':', "/"))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// The layer: the files, and the directories above them.
fn layer(files: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut made = BTreeSet::new();
    for (path, content) in files {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let above = inside.ancestors().skip(1);
        let mut above: Vec<&Path> = above.filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        for path in above {
            if made.insert(path.to_owned()) {
                directory(&mut archive, &format!("{}/", path.display()))?;
            }
        }
        file(&mut archive, inside, content, 0o755)?;
    }
    archive.into_inner()
}

fn directory(archive: &mut tar::Builder<impl Write>, path: &str) -> io::Result<()> {
    let mut header = header(0, 0o755);
    header.set_entry_type(tar::EntryType::Directory);
    archive.append_data(&mut header, path, io::empty())
}

fn file(
    archive: &mut tar::Builder<impl Write>,
    path: &Path,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    archive.append_data(&mut header(content.len(), mode), path, content)
}

fn header(size: usize, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use serde_json::Value;

    use super::{Image, digest, in_full};

    fn image() -> Image {
        let path = "/usr/lib/x86/libc.so.6".into();
        Image {
            name: "covtap-agent:0.1.0".into(),
            architecture: "arm64".into(),
            version: "0.1.0".into(),
            entrypoint: vec!["/usr/bin/covtap".into()],
            files: BTreeMap::from([
                ("/usr/bin/covtap".into(), b"ELF".to_vec()),
                (path, b"library".to_vec()),
            ]),
        }
    }

    fn archive() -> Vec<u8> {
        let mut bytes = Vec::new();
        image().write(&mut bytes).unwrap();
        bytes
    }

    /// Files by their names, and directories.
    fn unpack(bytes: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        let read = entries.map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let name = entry.path().unwrap().display().to_string();
            (name, (entry.header().mode().unwrap(), content))
        });
        read.collect()
    }

    #[test]
    fn both_manifests_lead_to_the_files() {
        let files = unpack(&archive());
        let document = |name: &str| serde_json::from_slice::<Value>(&files[name].1).unwrap();
        let blob = |digest: &str| &files[&format!("blobs/{}", digest.replace(':', "/"))].1;
        let index = document("index.json");
        let manifest = index["manifests"][0]["digest"].as_str().unwrap();
        let manifest: Value = serde_json::from_slice(blob(manifest)).unwrap();
        let layer = blob(manifest["layers"][0]["digest"].as_str().unwrap());
        let configuration = blob(manifest["config"]["digest"].as_str().unwrap());
        let docker = &document("manifest.json")[0];
        assert_eq!(&files[docker["Config"].as_str().unwrap()].1, configuration);
        assert_eq!(&files[docker["Layers"][0].as_str().unwrap()].1, layer);
        assert_eq!(docker["RepoTags"][0], "covtap-agent:0.1.0");
        let configuration: Value = serde_json::from_slice(configuration).unwrap();
        assert_eq!(configuration["architecture"], "arm64");
        assert_eq!(configuration["rootfs"]["diff_ids"][0], *digest(layer));
        let inside = unpack(layer);
        assert_eq!(inside["usr/bin/covtap"], (0o755, b"ELF".to_vec()));
        assert_eq!(inside["usr/lib/x86/libc.so.6"].1, b"library");
        for directory in ["usr/", "usr/bin/", "usr/lib/", "usr/lib/x86/"] {
            assert_eq!(inside[directory].0, 0o755, "{directory}");
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn names_are_completed_as_containerd_does() {
        for (name, full) in [
            ("covtap:1", "docker.io/library/covtap:1"),
            ("me/covtap:1", "docker.io/me/covtap:1"),
            ("registry.example/covtap:1", "registry.example/covtap:1"),
            ("localhost/covtap:1", "localhost/covtap:1"),
            ("host:5000/covtap:1", "host:5000/covtap:1"),
        ] {
            assert_eq!(in_full(name), full);
        }
    }

    #[test]
    fn hashes_are_those_of_sha256sum() {
        assert_eq!(
            digest(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
