//! Takes in the built web board, if there is one: every file of `frontend/dist`, as it is and packed, with its hash. Without a
//! build there is nothing to take in, and the server says so; with KANVOY_REQUIRE_WEB set that is an error.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

#[expect(clippy::disallowed_methods, reason = "a build script is told what to do by its environment")]
fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=KANVOY_REQUIRE_WEB");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../frontend");
    let root = root.canonicalize()?;
    let dist = root.join("dist");
    // The folder above it, too: a build that was not there appears there.
    println!("cargo:rerun-if-changed={}", root.join("package.json").display());
    println!("cargo:rerun-if-changed={}", dist.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, &mut files)?;
        files.sort();
    } else if std::env::var_os("KANVOY_REQUIRE_WEB").is_some() {
        panic!("the web board is not built: run `npm ci && npm run build` in frontend/");
    }
    let mut table = String::from("&[\n");
    for (at, file) in files.iter().enumerate() {
        let bytes = fs::read(file)?;
        let packed = packed(&bytes)?;
        let name = out.join(format!("web-{at}.gz"));
        // What packing makes larger, as it does pictures, is sent as it is.
        let gzip = if packed.len() < bytes.len() {
            fs::write(&name, &packed)?;
            format!("Some(include_bytes!({name:?}))")
        } else {
            "None".to_owned()
        };
        let path = file.strip_prefix(&dist).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        let tag = hex(&Sha256::digest(&bytes)[..12]);
        writeln!(table, "File {{ path: {path:?}, tag: \"{tag}\", plain: include_bytes!({file:?}), gzip: {gzip} }},")
            .map_err(io::Error::other)?;
    }
    table.push(']');
    fs::write(out.join("web.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path().canonicalize()?;
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn packed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes)?;
    packer.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
