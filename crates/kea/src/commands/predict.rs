//! `kea predict`: calls a function with inputs as people have them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use kea_core::{ServiceId, VersionId, contract::DEFAULT_FUNCTION, management::PredictResponse};
use serde_json::value::RawValue;

use super::Session;
use crate::{
    failure::Failure,
    output::{cell, pretty, table},
};

/// What is called, and with what.
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The service
    name: ServiceId,
    /// The inputs as JSON: an object of inputs, or an array of rows, each an object of inputs
    #[arg(required_unless_present = "file")]
    inputs: Option<String>,
    /// File of the inputs; `-` is standard input
    #[arg(short, long, conflicts_with = "inputs")]
    file: Option<PathBuf>,
    /// The function to call
    #[arg(long, default_value = DEFAULT_FUNCTION)]
    function: String,
    /// A version other than the live one
    #[arg(long)]
    version: Option<VersionId>,
}

/// Why inputs cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputsError {
    /// No JSON.
    #[error("the inputs are not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON of another kind.
    #[error("the inputs are neither an object, as {{\"x\": 1}}, nor an array of rows, as [{{\"x\": 1}}, {{\"x\": 2}}]")]
    NotInputs,
    /// An array without rows.
    #[error("the inputs are an empty array: give at least one row")]
    NoRows,
    /// A row that names no inputs.
    #[error("row {row} is no object: write each row as {{\"x\": 1}}")]
    NotARow {
        /// Its number, from 1.
        row: usize,
    },
    /// Rows of different inputs.
    #[error("row {row} has no `{name}`, which other rows have: give each row the same inputs")]
    Ragged {
        /// Its number, from 1.
        row: usize,
        /// What it lacks.
        name: String,
    },
}

/// Calls a function of a service.
pub(crate) async fn run(session: &Session, args: PredictArgs) -> Result<(), Failure> {
    let text = match (args.inputs, args.file) {
        (Some(inputs), _) => inputs,
        (None, Some(file)) => read(&file)?,
        (None, None) => return Err(Failure::Usage("give inputs, or a file of them with -f".into())),
    };
    let path = ["services", args.name.as_str(), args.function.as_str()];
    let query: Vec<_> = args.version.iter().map(|version| ("version", version.as_str())).collect();
    let answer = session.client.call(&path, &query, body(&text)?).await?;
    match answer.read::<PredictResponse>() {
        Ok(response) if !session.output.is_json() => session.output.line(&show(&response)),
        // An existing web service answers as it likes.
        Ok(_) | Err(_) => session.output.line(&pretty(answer.text())),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    text.map_err(|source| Failure::File { path: file.into(), source })
}

/// The body of a request. Values go through as they are written, so that no number loses a digit.
fn body(text: &str) -> Result<String, InputsError> {
    let text = text.trim();
    let json: &RawValue = serde_json::from_str(text)?;
    match json.get().as_bytes().first() {
        Some(b'{') if is_whole_body(text)? => Ok(text.into()),
        Some(b'{') => Ok(format!("{{\"inputs\":{text}}}")),
        Some(b'[') => columns(&serde_json::from_str::<Vec<_>>(text)?),
        _ => Err(InputsError::NotInputs),
    }
}

/// Whether the object is a request already, rather than inputs of which one is called `inputs`.
fn is_whole_body(text: &str) -> Result<bool, InputsError> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    Ok(members.get("inputs").is_some_and(|inputs| inputs.get().starts_with('{')))
}

/// Rows `[{"x": 1}, {"x": 2}]` as the API takes many of them: `{"inputs": {"x": [1, 2]}}`.
fn columns(rows: &[&RawValue]) -> Result<String, InputsError> {
    let mut columns: BTreeMap<String, Vec<&RawValue>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        if !row.get().starts_with('{') {
            return Err(InputsError::NotARow { row: index + 1 });
        }
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(row.get())?;
        for (name, value) in members {
            let column = columns.entry(name.clone()).or_default();
            // A name that appears for the first time here is missing in the rows before.
            if column.len() < index {
                return Err(InputsError::Ragged { row: column.len() + 1, name });
            }
            column.push(value);
        }
        if let Some((name, _)) = columns.iter().find(|(_, column)| column.len() <= index) {
            return Err(InputsError::Ragged { row: index + 1, name: name.clone() });
        }
    }
    if rows.is_empty() {
        return Err(InputsError::NoRows);
    }
    Ok(serde_json::to_string(&BTreeMap::from([("inputs", columns)]))?)
}

/// One line a prediction, one column an output.
fn show(response: &PredictResponse) -> String {
    let rows = &response.predictions;
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|row| row.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let header: Vec<_> = names.iter().map(|name| name.to_uppercase()).collect();
    let header: Vec<_> = header.iter().map(String::as_str).collect();
    let row =
        |row: &serde_json::Map<_, _>| names.iter().map(|name| row.get(*name).map(cell).unwrap_or_default()).collect();
    table(&header, rows.iter().map(row))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(body(text).unwrap(), expected);
    }

    fn refused(text: &str, expected: &str) {
        let told = body(text).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn an_object_is_the_inputs() {
        check(r#" {"x": 1, "y": [2]} "#, r#"{"inputs":{"x": 1, "y": [2]}}"#);
        check("{}", r#"{"inputs":{}}"#);
    }

    #[test]
    fn a_whole_request_is_taken_as_it_is() {
        check(r#"{"inputs": {"x": 1}}"#, r#"{"inputs": {"x": 1}}"#);
    }

    #[test]
    fn an_input_may_be_called_inputs() {
        check(r#"{"inputs": [[1, 2]]}"#, r#"{"inputs":{"inputs": [[1, 2]]}}"#);
    }

    #[test]
    fn rows_become_columns() {
        check(r#"[{"x": 1, "y": "a"}, {"y": "b", "x": 2.50}]"#, r#"{"inputs":{"x":[1,2.50],"y":["a","b"]}}"#);
        check(r#"[{"image": [[0, 1]]}]"#, r#"{"inputs":{"image":[[[0, 1]]]}}"#);
    }

    #[test]
    fn no_number_loses_a_digit() {
        check(r#"[{"x": 12345678901234567890123.0}]"#, r#"{"inputs":{"x":[12345678901234567890123.0]}}"#);
    }

    #[test]
    fn what_is_wrong_with_rows_is_told_by_row_and_name() {
        refused("[]", "empty array");
        refused(r#"[{"x": 1}, 2]"#, "row 2 is no object");
        refused(r#"[{"x": 1, "y": 1}, {"x": 1}]"#, "row 2 has no `y`");
        refused(r#"[{"x": 1}, {"x": 1, "y": 1}]"#, "row 1 has no `y`");
        refused("3", "neither an object");
        refused(r#"{"x": NaN}"#, "not JSON");
        refused("", "not JSON");
    }

    #[test]
    fn predictions_are_shown_a_line_each() {
        let response = serde_json::from_value(json!({"predictions": [{"label": "setosa", "p": 0.5}, {"label": "b"}]}));
        assert_eq!(show(&response.unwrap()), "LABEL   P\nsetosa  0.5\nb\n");
    }
}
