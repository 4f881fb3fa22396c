//! What a model of LightGBM says of itself at the head of its text; its trees are not read.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use kea_core::{Contract, Datatype};
use serde_json::Value;

use super::{
    DescribeError,
    boosters::{Booster, Gives},
};

/// The first line of each model.
const FIRST: &[u8] = b"tree";

/// Bytes of the head, which has names and ranges of all features, that are read.
const HEAD: u64 = 1 << 24;

/// Bytes at the end in which categories are looked for, and the end of the trees.
const END: u64 = 1 << 20;

/// What follows the last tree. A file without it has lost some, and is no model to a worker.
const NO_MORE_TREES: &str = "\nend of trees";

/// What the last lines call the categories of a data frame, which LightGBM itself sees as codes.
const CATEGORIES: &str = "\npandas_categorical:";

/// Whether a file, which other programs call so too, is a model of LightGBM.
pub(super) fn is_one(path: &Path) -> bool {
    let mut first = [0; FIRST.len() + 1];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first.starts_with(FIRST) && first[FIRST.len()].is_ascii_whitespace()
}

/// The contract of the model in a file.
pub(super) fn contract(path: &Path) -> Result<Contract, DescribeError> {
    let file = || path.display().to_string();
    let read = File::open(path).and_then(|mut opened| Ok((head(&mut opened)?, end(&mut opened)?)));
    let (head, end) = read.map_err(|why| DescribeError::Unreadable { file: file(), why })?;
    let whole = if end.contains(NO_MORE_TREES) { Ok(()) } else { Err("it ends before its trees do".to_owned()) };
    let described = whole.and_then(|()| booster(&head, &categories(&end))?.contract());
    described.map_err(|why| DescribeError::NotBooster { file: file(), library: "LightGBM", why })
}

/// Names and values before the first tree.
fn head(file: &mut File) -> io::Result<HashMap<String, String>> {
    let mut lines = BufReader::new(file.take(HEAD));
    let (mut head, mut line) = (HashMap::new(), Vec::new());
    while lines.read_until(b'\n', &mut line)? > 0 && !line.starts_with(b"Tree=") {
        if let Some((name, value)) = String::from_utf8_lossy(&line).trim_end().split_once('=') {
            head.insert(name.to_owned(), value.to_owned());
        }
        line.clear();
    }
    Ok(head)
}

fn end(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Categories of each categorical feature, in order; none where the model was not trained with a data frame.
fn categories(end: &str) -> Vec<Vec<Value>> {
    let listed = end.rsplit_once(CATEGORIES).and_then(|(_, rest)| rest.lines().next());
    listed.and_then(|listed| serde_json::from_str(listed).ok()).unwrap_or_default()
}

fn booster(head: &HashMap<String, String>, categories: &[Vec<Value>]) -> Result<Booster, String> {
    let value = |name: &str| head.get(name).ok_or_else(|| format!("its head has no `{name}`"));
    let names: Vec<String> = value("feature_names")?.split_whitespace().map(str::to_owned).collect();
    let last: usize = number("max_feature_idx", value("max_feature_idx")?)?;
    let classes = number("num_class", value("num_class")?)?;
    let objective = head.get("objective").and_then(|text| text.split_whitespace().next()).unwrap_or("custom");
    Ok(Booster {
        platform: format!("lightgbm {objective}"),
        features: last.saturating_add(1),
        gives: match objective {
            "binary" => Gives::Classes(2),
            "multiclass" | "multiclassova" => Gives::Classes(classes),
            _ => Gives::Values(classes),
        },
        number: Datatype::Fp64,
        notes: notes(&names, value("feature_infos")?, categories),
        names: if are_made_up(&names) { Vec::new() } else { names },
    })
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("its `{name}` is `{}`", text.chars().take(40).collect::<String>()))
}

/// LightGBM names features that have no names.
fn are_made_up(names: &[String]) -> bool {
    names.iter().enumerate().all(|(position, name)| *name == format!("Column_{position}"))
}

/// What the codes of categorical features stand for. Of any other feature the range is written in brackets.
fn notes(names: &[String], infos: &str, categories: &[Vec<Value>]) -> HashMap<String, String> {
    let coded = names.iter().zip(infos.split_whitespace());
    let coded: Vec<&String> = coded.filter(|(_, info)| is_coded(info)).map(|(name, _)| name).collect();
    let told = if coded.len() == categories.len() { categories } else { &[] };
    let note = |position: usize| told.get(position).map_or_else(|| "The category's code.".to_owned(), |of| legend(of));
    coded.into_iter().enumerate().map(|(position, name)| (name.clone(), note(position))).collect()
}

fn is_coded(info: &str) -> bool {
    !info.starts_with('[') && info != "none"
}

fn legend(categories: &[Value]) -> String {
    let shown = categories.iter().enumerate().map(|(code, category)| match category {
        Value::String(text) => format!("{code} = {text}"),
        Value::Bool(true) => format!("{code} = True"),
        Value::Bool(false) => format!("{code} = False"),
        other => format!("{code} = {other}"),
    });
    format!("The category's code: {}.", shown.collect::<Vec<_>>().join(", "))
}
