//! Docstrings: their prose, and what they say of parameters, in the styles of Google, NumPy and reST.

use std::collections::HashMap;

use ruff_python_ast::{Expr, Stmt};

const PARAMETERS: [&str; 8] = [
    "args",
    "arguments",
    "parameters",
    "params",
    "attributes",
    "keyword args",
    "keyword arguments",
    "other parameters",
];
const RETURNS: [&str; 4] = ["returns", "return", "yields", "yield"];
const OTHERS: [&str; 12] = [
    "raises",
    "example",
    "examples",
    "note",
    "notes",
    "see also",
    "references",
    "warning",
    "warnings",
    "todo",
    "methods",
    "warns",
];

/// What a docstring says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Docstring {
    /// All before the first section.
    pub(super) prose: String,
    /// Descriptions by parameter or attribute.
    pub(super) parameters: HashMap<String, String>,
    /// What is returned.
    pub(super) returns: String,
}

impl Docstring {
    /// The first paragraph, on one line.
    pub(super) fn summary(&self) -> String {
        let first = self.prose.lines().take_while(|line| !line.trim().is_empty());
        first.map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// What is said of a parameter; empty where nothing is.
    pub(super) fn parameter(&self, name: &str) -> String {
        self.parameters.get(name).cloned().unwrap_or_default()
    }
}

/// The docstring of a body, where it has one.
pub(super) fn of(body: &[Stmt]) -> Option<Docstring> {
    let Stmt::Expr(statement) = body.first()? else { return None };
    let Expr::StringLiteral(literal) = &*statement.value else { return None };
    Some(parse(literal.value.to_str()))
}

/// Whether a body begins with a docstring.
pub(super) fn is_there(body: &[Stmt]) -> bool {
    matches!(body.first(), Some(Stmt::Expr(statement)) if statement.value.is_string_literal_expr())
}

/// Reads the text of a docstring.
pub(super) fn parse(text: &str) -> Docstring {
    let lines = dedented(text);
    // Only epytext has fields that begin so, and marks words up in braces.
    let marked = lines.iter().any(|line| line.trim_start().starts_with('@') && field_list_entry(line).is_some());
    let lines = if marked { lines.iter().map(|line| unmarked(line)).collect() } else { lines };
    let mut docstring = Docstring::default();
    let mut prose = Vec::new();
    let mut at = 0;
    let mut in_prose = true;
    while at < lines.len() {
        if let Some((section, body)) = section(&lines, at) {
            in_prose = false;
            let end = body + section.length(&lines[body..]);
            docstring.add_section(&section, &lines[body..end]);
            at = end;
        } else if let Some((names, first)) = field_list_entry(&lines[at]) {
            in_prose = false;
            let end = at + 1 + continued(&lines[at + 1..]);
            docstring.add_field(names, first, &lines[at + 1..end]);
            at = end;
        } else {
            if in_prose {
                prose.push(lines[at].trim_end());
            }
            at += 1;
        }
    }
    docstring.prose = prose.join("\n").trim().to_owned();
    docstring
}

/// The lines without their common indentation, as `inspect.cleandoc` leaves them.
fn dedented(text: &str) -> Vec<String> {
    let expanded = text.replace('\t', "        ");
    let rest = expanded.lines().skip(1).filter(|line| !line.trim().is_empty());
    let margin = rest.map(indent).min().unwrap_or(0);
    let cut = |(number, line): (usize, &str)| match number {
        0 => line.trim_start().to_owned(),
        _ => line.get(margin.min(indent(line))..).unwrap_or_default().to_owned(),
    };
    expanded.lines().enumerate().map(cut).collect()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

enum Style {
    Google,
    Numpy,
}

struct Section {
    title: String,
    style: Style,
    indent: usize,
}

/// The section that begins at a line, and where its body does.
fn section(lines: &[String], at: usize) -> Option<(Section, usize)> {
    let line = lines[at].trim();
    let known = |title: &str| [&PARAMETERS[..], &RETURNS, &OTHERS].iter().any(|titles| titles.contains(&title));
    let indent = indent(&lines[at]);
    let underlined =
        lines.get(at + 1).is_some_and(|next| next.trim().len() >= 3 && next.trim().bytes().all(|b| b == b'-'));
    let title = line.trim_end_matches(':').to_lowercase();
    match (known(&title), underlined) {
        (true, true) => Some((Section { title, style: Style::Numpy, indent }, at + 2)),
        (true, false) if line.ends_with(':') => Some((Section { title, style: Style::Google, indent }, at + 1)),
        _ => None,
    }
}

impl Section {
    /// How many lines belong to it.
    fn length(&self, body: &[String]) -> usize {
        let ends = |(at, line): (usize, &String)| match self.style {
            Style::Google => !line.trim().is_empty() && indent(line) <= self.indent,
            Style::Numpy => section(body, at).is_some(),
        };
        body.iter().enumerate().position(|(at, line)| ends((at, line))).unwrap_or(body.len())
    }
}

impl Docstring {
    fn add_section(&mut self, section: &Section, body: &[String]) {
        let entries = || entries(body);
        if PARAMETERS.contains(&section.title.as_str()) {
            for (head, words) in entries() {
                match section.style {
                    Style::Google => self.add_google(&head, &words),
                    Style::Numpy => self.add_numpy(&head, &words),
                }
            }
        } else if RETURNS.contains(&section.title.as_str()) && self.returns.is_empty() {
            self.returns = match section.style {
                Style::Google => google_returns(body),
                Style::Numpy => entries().first().map(|(_, words)| words.join(" ")).unwrap_or_default(),
            };
        }
    }

    /// `name (type): words`
    fn add_google(&mut self, head: &str, words: &[String]) {
        let Some((name, first)) = split_google(head) else { return };
        self.add(&name, &joined(first, words));
    }

    /// `name, other : type` with the words below.
    fn add_numpy(&mut self, head: &str, words: &[String]) {
        let names = head.split_once(':').map_or(head, |(names, _)| names);
        for name in names.split(',') {
            self.add(name, &words.join(" "));
        }
    }

    /// `:param type name: words`
    fn add_field(&mut self, names: &str, first: &str, words: &[String]) {
        let words: Vec<String> = words.iter().map(|line| line.trim().to_owned()).collect();
        let mut parts = names.split_whitespace();
        match (parts.next(), parts.next_back()) {
            (
                Some("param" | "parameter" | "arg" | "argument" | "key" | "keyword" | "ivar" | "var" | "cvar"),
                Some(name),
            ) => {
                self.add(name, &joined(first, &words));
            }
            (Some("return" | "returns"), None) => self.returns = joined(first, &words),
            _ => {}
        }
    }

    fn add(&mut self, name: &str, words: &str) {
        let name = name.trim().trim_start_matches('*').trim_matches('`');
        if !name.is_empty() && !words.is_empty() {
            self.parameters.entry(name.to_owned()).or_insert_with(|| words.to_owned());
        }
    }
}

/// The entries of a section: each line of the least indentation with the deeper lines below it.
fn entries(body: &[String]) -> Vec<(String, Vec<String>)> {
    let filled = || body.iter().filter(|line| !line.trim().is_empty());
    let margin = filled().map(|line| indent(line)).min().unwrap_or(0);
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    for line in filled() {
        match entries.last_mut() {
            Some((_, words)) if indent(line) > margin => words.push(line.trim().to_owned()),
            _ => entries.push((line.trim().to_owned(), Vec::new())),
        }
    }
    entries
}

/// Name and words of `name (type, with (brackets)): words`.
fn split_google(head: &str) -> Option<(String, &str)> {
    let mut open = 0_usize;
    let colon = head.char_indices().find(|(_, c)| {
        match c {
            '(' | '[' => open += 1,
            ')' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
        *c == ':' && open == 0
    });
    let (colon, _) = colon?;
    let name = head[..colon].split(['(', ' ']).next().unwrap_or_default();
    Some((name.to_owned(), head[colon + 1..].trim()))
}

/// `type: words` or just words.
fn google_returns(body: &[String]) -> String {
    let text = body.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    match text.split_once(": ") {
        Some((kind, words)) if !kind.contains(". ") && kind.split_whitespace().count() <= 3 => words.trim().to_owned(),
        _ => text,
    }
}

/// `:param x: words` or `@param x: words`, split at the second colon.
fn field_list_entry(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let rest = line.strip_prefix(':').or_else(|| line.strip_prefix('@'))?;
    let (names, words) = rest.split_once(':')?;
    let plain = names.starts_with(|c: char| c.is_ascii_lowercase()) && names.split_whitespace().count() <= 4;
    plain.then_some((names, words.trim()))
}

/// The words of `C{text}` and `B{I{text}}` without the markup of epytext.
fn unmarked(line: &str) -> String {
    let mut found = String::with_capacity(line.len());
    let mut open = 0_usize;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins = !found.ends_with(char::is_alphanumeric) && letters.peek() == Some(&'{');
        if begins && "BCEGILMSUX".contains(letter) {
            letters.next();
            open += 1;
        } else if letter == '}' && open > 0 {
            open -= 1;
        } else {
            found.push(letter);
        }
    }
    found
}

/// How many lines continue an entry of a field list: those up to the next entry or an empty line.
fn continued(lines: &[String]) -> usize {
    lines.iter().take_while(|line| !line.trim().is_empty() && field_list_entry(line).is_none()).count()
}

fn joined(first: &str, more: &[String]) -> String {
    let words = [first].into_iter().chain(more.iter().map(String::as_str));
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")
}
