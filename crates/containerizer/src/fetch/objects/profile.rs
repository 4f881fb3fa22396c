//! Profiles of the AWS tools: `~/.aws/credentials` and `~/.aws/config`, of which keys and region are taken.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use object_store::aws::AmazonS3ConfigKey;

const DEFAULT: &str = "default";

/// The settings of the profile that `AWS_PROFILE` names, or of the default one, which there need not be.
pub(super) fn read<'a>(
    home: &Path,
    given: impl Fn(&str) -> Option<&'a str>,
) -> Result<Vec<(AmazonS3ConfigKey, String)>, String> {
    let file = |variable: &str, name: &str| given(variable).map_or_else(|| home.join(".aws").join(name), PathBuf::from);
    let credentials = text(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
    let config = text(&file("AWS_CONFIG_FILE", "config"))?;
    let named = given("AWS_PROFILE");
    let name = named.unwrap_or(DEFAULT);
    let in_config = if name == DEFAULT { name.to_owned() } else { format!("profile {name}") };
    let sections = [section(&config, &in_config), section(&credentials, name)];
    if named.is_some() && sections.iter().all(Option::is_none) {
        return Err(format!("there is no profile `{name}` in the files of the AWS tools"));
    }
    let pairs = sections.into_iter().flatten().flatten();
    Ok(pairs.filter_map(|(key, value)| Some((setting(key)?, value.to_owned()))).collect())
}

fn setting(key: &str) -> Option<AmazonS3ConfigKey> {
    match key {
        "aws_access_key_id" => Some(AmazonS3ConfigKey::AccessKeyId),
        "aws_secret_access_key" => Some(AmazonS3ConfigKey::SecretAccessKey),
        "aws_session_token" => Some(AmazonS3ConfigKey::Token),
        "region" => Some(AmazonS3ConfigKey::Region),
        _ => None,
    }
}

fn text(file: &Path) -> Result<String, String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| format!("`{}` cannot be read: {error}", file.display())),
    }
}

/// The pairs of the section `[name]`.
fn section<'a>(text: &'a str, name: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let header = |line: &'a str| line.trim().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim());
    let mut lines = text.lines().skip_while(|line| header(line) != Some(name));
    lines.next()?;
    let within = lines.take_while(|line| header(line).is_none());
    // What is indented belongs to a setting of several lines, of which none is wanted here.
    let plain = within.filter(|line| !line.starts_with([' ', '\t', '#', ';']));
    Some(plain.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let text = "# mine\n[default]\nregion=eu-1\ns3 =\n  region = no\n\n[other]\nregion = us-1\n; end\n";
        assert_eq!(section(text, "default"), Some(vec![("region", "eu-1"), ("s3", "")]));
        assert_eq!(section(text, "other"), Some(vec![("region", "us-1")]));
        assert_eq!(section(text, "none"), None);
    }
}
