//! Locks: each package in one version, with the hashes of its files, as `pip install --require-hashes` takes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A package of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locked {
    pub(crate) name: String,
    /// Its version; empty where a file is named in its place.
    pub(crate) version: String,
    /// Hashes of files that are it, in hexadecimal.
    pub(crate) sha256: Vec<String>,
}

/// Reads a lock.
pub(crate) fn read(text: &str) -> Result<Vec<Locked>, String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '-']));
    lines.map(locked).collect()
}

fn locked(line: &str) -> Result<Locked, String> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let hashes = line.split("--hash=sha256:").skip(1).filter_map(|hash| hash.split_whitespace().next());
    let sha256: Vec<String> = hashes.map(str::to_owned).collect();
    if sha256.is_empty() {
        return Err(format!("`{first}` has no hash: give the file of a wheel, or a package of an index"));
    }
    let wheel = line.split_whitespace().find_map(wheel);
    let (name, version) = wheel.or_else(|| first.split_once("==")).unwrap_or((first, ""));
    let name = name.split('[').next().unwrap_or(name);
    Ok(Locked { name: name.to_owned(), version: version.trim_end_matches(';').to_owned(), sha256 })
}

/// Name and version of the package in a wheel, by the file's name: where it lies says nothing to others.
fn wheel(word: &str) -> Option<(&str, &str)> {
    let place = word.split(['#', '?']).next()?;
    let file = place.rsplit('/').next()?.strip_suffix(".whl")?;
    let mut parts = file.split('-');
    Some((parts.next()?, parts.next()?))
}

/// Makes a lock of pip's report on what it would install.
pub(crate) fn from_pip(report: &[u8]) -> Result<String, String> {
    let report: Value =
        serde_json::from_slice(report).map_err(|error| format!("pip's report cannot be read: {error}"))?;
    let items = report["install"].as_array().ok_or("pip's report lists no packages")?;
    let mut lines = items.iter().map(line_of).collect::<Result<Vec<_>, _>>()?;
    lines.sort();
    Ok(lines.join("\n") + "\n")
}

fn line_of(item: &Value) -> Result<String, String> {
    let (name, version) = (&item["metadata"]["name"], &item["metadata"]["version"]);
    let (Some(name), Some(version)) = (name.as_str(), version.as_str()) else {
        return Err("pip's report has a package without a name".to_owned());
    };
    let download = &item["download_info"];
    let archive = &download["archive_info"];
    // pip before 23.1 writes one hash, of whatever kind its index tells.
    let one = || archive["hash"].as_str()?.strip_prefix("sha256=");
    let hash = archive["hashes"]["sha256"].as_str().or_else(one);
    let hash =
        hash.ok_or_else(|| format!("`{name}` has no hash: give the file of a wheel, or a package of an index"))?;
    let place = match download["url"].as_str() {
        Some(url) if url.starts_with("file://") => format!("{name} @ {url}"),
        _ => format!("{name}=={version}"),
    };
    Ok(format!("{place} --hash=sha256:{hash}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lock_of_uv_is_read() {
        let text = "numpy==2.3.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nuvicorn[standard]==0.30 --hash=sha256:cc\n";
        let found = read(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].version.as_str(), found[0].sha256.len()), ("numpy", "2.3.1", 2));
        assert_eq!((found[1].name.as_str(), found[1].version.as_str()), ("uvicorn", "0.30"));
    }

    #[test]
    fn a_package_without_a_hash_is_refused() {
        assert!(read("x @ git+https://host/x.git").unwrap_err().contains("has no hash"));
    }

    #[test]
    fn pips_report_becomes_a_lock() {
        let package = |name: &str, url: &str| {
            json!({
                "metadata": {"name": name, "version": "1.0"},
                "download_info": {"url": url, "archive_info": {"hashes": {"sha256": "ab"}}},
            })
        };
        let report = json!({"install": [package("six", "https://host/six.whl"), package("own", "file:///m/own.whl")]});
        let lock = from_pip(report.to_string().as_bytes()).unwrap();
        assert_eq!(lock, "own @ file:///m/own.whl --hash=sha256:ab\nsix==1.0 --hash=sha256:ab\n");
        assert_eq!(
            read(&lock).unwrap()[1],
            Locked { name: "six".into(), version: "1.0".into(), sha256: vec!["ab".into()] }
        );
        assert!(from_pip(b"{}").is_err());
    }

    #[test]
    fn a_hash_is_read_as_old_pips_write_it() {
        let lock = |hash: &str| {
            let download = json!({"url": "https://host/six.whl", "archive_info": {"hash": hash}});
            let report =
                json!({"install": [{"metadata": {"name": "six", "version": "1.0"}, "download_info": download}]});
            from_pip(report.to_string().as_bytes())
        };
        assert_eq!(lock("sha256=ab").unwrap(), "six==1.0 --hash=sha256:ab\n");
        assert!(lock("md5=ab").unwrap_err().contains("has no hash"));
    }

    #[test]
    fn a_wheel_is_known_by_its_name_and_not_by_its_place() {
        let check = |line: &str| {
            let found = read(line).unwrap();
            assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("own_pkg", "1.0"), "{line}");
        };
        check("/place/own_pkg-1.0-py3-none-any.whl --hash=sha256:ab");
        check("own-pkg @ https://host/own_pkg-1.0-py3-none-any.whl#sha256=ab --hash=sha256:ab");
        check("own-pkg @ file:///place/own_pkg-1.0-py3-none-any.whl --hash=sha256:ab");
    }
}
