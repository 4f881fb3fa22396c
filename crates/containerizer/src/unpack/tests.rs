//! Archives of every kind, honest and hostile. They are written here byte by byte, since no library writes what these
//! hold.

use std::io::Cursor;

use tar::{Builder, EntryType, Header};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::{Quiet, progress::blocking};

/// One entry of a tar archive, whatever it is called.
fn entry(kind: EntryType, name: &str, target: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, name, "", 0o644, content)
}

fn link(name: &str, target: &str) -> Vec<u8> {
    entry(EntryType::Symlink, name, target, 0o777, b"")
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [&entries.concat()[..], &[0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, mode) in entries {
        let options =
            SimpleFileOptions::default().unix_permissions(*mode).compression_method(CompressionMethod::Stored);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The folder that the archive is unpacked into; at most ten files of 10,000 bytes.
async fn unpacked(name: &str, bytes: &[u8]) -> Result<(tempfile::TempDir, PathBuf), FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let kind = bundle(&path).unwrap().expect("it is not taken for a bundle");
    let into = folder.path().join("unpacked");
    let target = into.clone();
    let most = Most { files: 10, bytes: 10_000 };
    blocking(&Quiet, "", move |report| unpack(&path, kind, &target, most, report)).await?;
    let top = top(&into)?;
    Ok((folder, top))
}

async fn check(name: &str, bytes: &[u8], expected: &str) {
    let (_folder, top) = unpacked(name, bytes).await.unwrap();
    assert_eq!(fs::read_to_string(top.join("data/a.txt")).unwrap(), expected, "{name}");
}

async fn refused(name: &str, bytes: &[u8], expected: &str) {
    let error = unpacked(name, bytes).await.err().unwrap_or_else(|| panic!("{name} is taken, not refused: {expected}"));
    assert!(error.to_string().contains(expected), "{name}: {error}");
}

#[tokio::test]
async fn archives_of_every_kind_are_unpacked() {
    let plain = tar(&[file("data/a.txt", b"a"), file("b.txt", b"b")]);
    check("m.tar", &plain, "a").await;
    check("m.tgz", &gzip(&plain), "a").await;
    // What is compressed otherwise is known by its content, whatever its name says.
    check("m.tar", &gzip(&plain), "a").await;
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    check("m.tar.bz2", &bzip2.finish().unwrap(), "a").await;
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    check("M.TAR.ZST", &zstd, "a").await;
    check("m.zip", &zip(&[("data/a.txt", b"a", 0o644), ("b.txt", b"b", 0o644)]), "a").await;
}

#[tokio::test]
async fn zstandard_may_come_in_several_frames_with_others_between() {
    let plain = tar(&[file("data/a.txt", b"a"), file("b.txt", b"b")]);
    let frame = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let (first, second) = plain.split_at(700);
    check("m.tar.zst", &[skipped.clone(), frame(first), skipped, frame(second)].concat(), "a").await;
}

#[tokio::test]
async fn xz_is_unpacked() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bundle.tar.xz");
    check("m.tar.xz", &fs::read(path).unwrap(), "a").await;
}

#[tokio::test]
async fn long_names_of_both_kinds_are_read() {
    let long = format!("data/{}/a.txt", "x".repeat(150));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, &long, &b"a"[..]).unwrap();
    let (_folder, top) = unpacked("m.tar", &builder.into_inner().unwrap()).await.unwrap();
    assert!(top.ends_with("data") && top.join("x".repeat(150)).join("a.txt").is_file());
}

#[tokio::test]
async fn the_only_folder_is_the_models() {
    check("m.tar", &tar(&[file("iris-1/data/a.txt", b"a"), file("._iris-1", b"")]), "a").await;
    check(
        "m.zip",
        &zip(&[("iris/data/a.txt", b"a", 0o644), ("__MACOSX/iris/._a", b"", 0o644), ("iris/b", b"", 0o644)]),
        "a",
    )
    .await;
}

#[tokio::test]
async fn of_modes_only_the_right_to_run_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let bytes = tar(&[entry(EntryType::Regular, "serve", "", 0o6777, b"#!"), file("data", b"")]);
    let (_folder, top) = unpacked("m.tar", &bytes).await.unwrap();
    let mode = |name: &str| fs::metadata(top.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("serve"), mode("data")), (0o700, 0o600));
    let (_folder, top) = unpacked("m.zip", &zip(&[("serve", b"#!", 0o4755), ("b", b"", 0o600)])).await.unwrap();
    assert_eq!(fs::metadata(top.join("serve")).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn links_within_the_archive_are_kept() {
    let second = entry(EntryType::Link, "again", "data/a.txt", 0o644, b"");
    let bytes = tar(&[link("data/b.txt", "../c.txt"), file("data/a.txt", b"a"), file("c.txt", b"c"), second]);
    let (_folder, top) = unpacked("m.tar", &bytes).await.unwrap();
    assert_eq!(fs::read_to_string(top.join("data/b.txt")).unwrap(), "c");
    assert_eq!(fs::read_to_string(top.join("again")).unwrap(), "a");
}

#[tokio::test]
async fn names_that_lead_out_are_refused() {
    refused("m.tar", &tar(&[file("../evil", b"")]), "entry `../evil` has `..` in its name").await;
    refused("m.tar", &tar(&[file("/etc/evil", b"")]), "has an absolute name").await;
    refused("m.tar", &tar(&[entry(EntryType::Directory, "../up/", "", 0o755, b"")]), "has `..` in its name").await;
    refused("m.zip", &zip(&[("../evil", b"", 0o644)]), "has `..` in its name").await;
    refused("m.zip", &zip(&[("/etc/evil", b"", 0o644)]), "has an absolute name").await;
    refused("m.zip", &zip(&[("..\\evil", b"", 0o644)]), "backslash").await;
}

#[tokio::test]
async fn links_that_lead_out_are_refused() {
    refused("m.tar", &tar(&[link("passwd", "/etc/passwd")]), "`passwd` is a link out of the archive").await;
    refused("m.tar", &tar(&[link("up", "..")]), "is a link out of the archive").await;
    refused("m.tar", &tar(&[entry(EntryType::Link, "x", "/etc/passwd", 0o644, b"")]), "has an absolute name").await;
    refused("m.tar", &tar(&[entry(EntryType::Link, "x", "none", 0o644, b"")]), "did not come before").await;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("passwd", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    refused("m.zip", &writer.finish().unwrap().into_inner(), "is a link out of the archive").await;
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    refused("m.tar", &tar(&[link("a", "b"), file("b/x", b""), file("a/evil", b"")]), "both a file and a folder").await;
    refused("m.tar", &tar(&[link("a", "b"), file("a", b"evil")]), "comes twice").await;
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block] {
        refused("m.tar", &tar(&[entry(kind, "x", "", 0o644, b"")]), "(a device or a pipe)").await;
    }
}

#[tokio::test]
async fn a_name_comes_once() {
    refused("m.tar", &tar(&[file("a", b"1"), file("./a", b"2")]), "`a` comes twice").await;
    refused("m.tar", &tar(&[file("a", b"1"), file("a/b", b"2")]), "both a file and a folder").await;
    // The writer refuses to write a name twice, so one is changed afterwards: in its own header and in the directory.
    let bytes = zip(&[("aaaa", b"1", 0o644), ("bbbb", b"2", 0o644)]);
    let bytes: Vec<u8> = bytes.iter().map(|byte| if *byte == b'b' { b'a' } else { *byte }).collect();
    refused("m.zip", &bytes, "two entries of the same name").await;
}

#[tokio::test]
async fn too_many_files_are_refused_before_they_are_written() {
    let names: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    refused("m.tar", &tar(&names.iter().map(|name| file(name, b"")).collect::<Vec<_>>()), "more than 10 files").await;
    let entries: Vec<(&str, &[u8], u32)> = names.iter().map(|name| (name.as_str(), &b""[..], 0o644)).collect();
    refused("m.zip", &zip(&entries), "more than 10 files").await;
}

#[tokio::test]
async fn bombs_are_stopped_by_what_comes_out_of_them() {
    let zeros = vec![0; 1 << 20];
    refused("m.tar.gz", &gzip(&tar(&[file("zeros", &zeros)])), "larger than 10000 bytes").await;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("zeros", SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)).unwrap();
    writer.write_all(&zeros).unwrap();
    let mut bytes = writer.finish().unwrap().into_inner();
    refused("m.zip", &bytes, "larger than 10000 bytes").await;
    // The same, with a directory that says it is a small file.
    let size = (zeros.len() as u32).to_le_bytes();
    while let Some(at) = bytes.windows(4).position(|part| part == size) {
        bytes[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    unpacked("m.zip", &bytes).await.expect_err("it is refused");
}

#[tokio::test]
async fn a_header_that_would_fill_the_memory_is_refused() {
    let name = vec![b'x'; 2 << 20];
    let bytes = tar(&[entry(EntryType::GNULongName, "././@LongLink", "", 0o644, &name), file("x", b"")]);
    refused("m.tar.gz", &gzip(&bytes), "headers are too long").await;
}

#[tokio::test]
async fn what_is_broken_is_told() {
    let whole = gzip(&tar(&[file("a", &[7; 5000]), file("b", &(0..5000).map(|n| (n * n) as u8).collect::<Vec<_>>())]));
    refused("m.tgz", &whole[..whole.len() / 2], "cannot be unpacked").await;
    refused("m.tgz", &gzip(b"no archive at all"), "cannot be unpacked").await;
    let whole = zip(&[("a", b"1", 0o644)]);
    refused("m.zip", &whole[..whole.len() - 10], "was it cut off").await;
}

#[test]
fn models_that_are_archives_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8], expected: Option<Kind>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert_eq!(bundle(&path).unwrap(), expected, "{name}");
    };
    let any = zip(&[("a", b"1", 0o644)]);
    check("model.keras", &any, None);
    check("model.npz", &any, None);
    check("model.zip", &any, Some(Kind::Zip));
    check("page.zip", b"<html>", None);
    check("model.tar.gz", b"version https://git-lfs.github.com/spec/v1\n", None);
    let fixture = |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap();
    check("iris.zip", &fixture("iris.skops"), None);
    check("network.zip", &fixture("network.keras"), None);
    let script = zip(&[("m/constants.pkl", b"", 0o644), ("m/code/__torch__.py", b"", 0o644)]);
    check("script.zip", &script, None);
    check("bundle.zip", &zip(&[("schema.json", b"{}", 0o644), ("artifacts/data.pkl", b"", 0o644)]), Some(Kind::Zip));
}

/// Links that each stay within their folder, and together lead out of it.
fn chain() -> Vec<Vec<u8>> {
    vec![link("a/b/up", "../.."), link("a/b/out", "up/../..")]
}

#[tokio::test]
async fn nothing_is_made_below_a_link() {
    let bytes = tar(&[chain(), vec![link("a/b/out/made", "x")]].concat());
    refused("m.tar", &bytes, "lies below a link").await;
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("one/two/unpacked");
    let most = Most { files: 10, bytes: 10_000 };
    let layers = [
        tar(&[chain(), vec![file("a/secret", b"s")]].concat()),
        tar(&[file("a/b/out/written", b"w")]),
        tar(&[entry(EntryType::Directory, "a/b/out/folder", "", 0o755, b"")]),
        tar(&[entry(EntryType::Link, "copy", "a/b/up/a/secret", 0o644, b"")]),
    ];
    for (number, bytes) in layers.iter().enumerate() {
        let path = folder.path().join(format!("{number}.tar"));
        fs::write(&path, bytes).unwrap();
        let target = into.clone();
        let done = blocking(&Quiet, "", move |report| unpack(&path, Kind::Tar, &target, most, report)).await;
        assert_eq!(done.is_ok(), number == 0, "layer {number}: {done:?}");
    }
    assert_eq!(fs::read_dir(folder.path().join("one")).unwrap().count(), 1, "something came out of the folder");
    assert!(!into.join("copy").exists());
}

#[tokio::test]
async fn what_is_left_of_the_bounds_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.tar");
    fs::write(&path, tar(&[file("a", b"12345"), file("b", b"")])).unwrap();
    let (into, most) = (folder.path().join("unpacked"), Most { files: 10, bytes: 100 });
    let left = blocking(&Quiet, "", move |report| unpack(&path, Kind::Tar, &into, most, report)).await.unwrap();
    assert_eq!((left.files, left.bytes), (8, 95));
}
