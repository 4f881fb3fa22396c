//! Names that may be used as paths below a folder.

/// What file systems take as one name.
const PART: usize = 255;
/// Longer paths are of no use, and some systems cannot have them below a folder of ours.
const WHOLE: usize = 2048;

/// `name` as a path that stays below the folder that it is joined to, or what is wrong with it.
pub(crate) fn safe(name: &[u8]) -> Result<String, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "has a name that is not UTF-8")?;
    if name.starts_with('/') {
        return Err("has an absolute name");
    }
    if name.contains('\\') {
        return Err("has a backslash in its name");
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character in its name");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("has `..` in its name");
    }
    if name.len() > WHOLE || parts.iter().any(|part| part.len() > PART) {
        return Err("has a name that is too long");
    }
    if parts.is_empty() { Err("has no name") } else { Ok(parts.join("/")) }
}

/// Whether a link called `name` that leads to `target` leads to something below the folder that `name` is relative to.
pub(super) fn stays_within(name: &str, target: &str) -> bool {
    let mut depth = name.split('/').count() - 1;
    if target.is_empty() || target.starts_with('/') || target.contains('\0') || target.len() > WHOLE {
        return false;
    }
    target.split('/').all(|part| match part {
        "" | "." => true,
        ".." if depth == 0 => false,
        ".." => {
            depth -= 1;
            true
        }
        _ => {
            depth += 1;
            true
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_their_folder() {
        let check = |name: &str, expected: Result<&str, &str>| {
            assert_eq!(safe(name.as_bytes()).as_deref().map_err(|why| *why), expected, "{name:?}");
        };
        check("model.py", Ok("model.py"));
        check("./a//b/./c.txt", Ok("a/b/c.txt"));
        check("a/..b", Ok("a/..b"));
        check("/etc/passwd", Err("has an absolute name"));
        check("../up", Err("has `..` in its name"));
        check("a/../../up", Err("has `..` in its name"));
        check("a\\..\\up", Err("has a backslash in its name"));
        check("a\nb", Err("has a control character in its name"));
        check("./", Err("has no name"));
        check(&"a".repeat(256), Err("has a name that is too long"));
        assert!(safe(b"\xff").is_err());
    }

    #[test]
    fn links_stay_below_the_archives_folder() {
        for (name, target) in [("a", "b"), ("a/b", "../c"), ("a/b", "./c/../../d")] {
            assert!(stays_within(name, target), "{name} -> {target}");
        }
        for (name, target) in [("a", "../b"), ("a", "/b"), ("a/b", "../../c"), ("a", "b/../../c"), ("a", "")] {
            assert!(!stays_within(name, target), "{name} -> {target}");
        }
    }
}
