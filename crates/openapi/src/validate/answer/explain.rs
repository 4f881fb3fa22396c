//! Every problem of an answer that was not seen to fit at a glance.

use super::{
    super::{
        arguments,
        explain::expected_shape,
        json::{self, Kind as Json, Raw},
        nest,
        words::{self, Path, Problems},
    },
    Misfit, WHOSE,
    plan::{Answer, Array, Kind, Output},
};

const PREDICTIONS: Path<'static> = Path::Key(&Path::Root, "predictions");

/// Holds `{"predictions": [...]}` against the contract. Where it may be one prediction of all
/// as well as rows, and is neither, the problems of rows are told.
pub(super) fn predictions(answer: &Answer, body: &[u8]) -> Result<(), Misfit> {
    let body = json::parse(body).map_err(|rejection| Misfit::not_json(&rejection))?;
    let as_rows = problems(answer, body, answer.of_rows);
    if as_rows.count() == 0 || answer.may_be_whole && problems(answer, body, false).count() == 0 {
        return Ok(());
    }
    Err(Misfit(as_rows.into_list()))
}

fn problems(answer: &Answer, body: Raw<'_>, of_rows: bool) -> Problems {
    let mut problems = Problems::default();
    let Some(list) = list_of(body, &mut problems) else { return problems };
    if !of_rows && list.len() != 1 {
        let received = format!("{} predictions", list.len());
        problems.add(&PREDICTIONS, "one prediction, as the outputs have no rows", received, WHOSE);
    }
    for (at, prediction) in list.into_iter().enumerate() {
        if problems.is_full() {
            break;
        }
        of_prediction(answer, prediction, of_rows, &PREDICTIONS.index(at), &mut problems);
    }
    problems
}

/// The predictions, where there is a list of them.
fn list_of<'b>(body: Raw<'b>, problems: &mut Problems) -> Option<Vec<Raw<'b>>> {
    let Some(members) = json::members(body) else {
        problems.add(&Path::Root, "an object with `predictions`", words::received(body), WHOSE);
        return None;
    };
    let mut named = members.iter().filter(|(key, _)| key == "predictions").map(|(_, value)| *value);
    let (found, again) = (named.next(), named.next());
    if again.is_some() {
        problems.add(&PREDICTIONS, "`predictions` once", "`predictions` again", WHOSE);
    }
    let list = found.and_then(json::elements);
    if list.is_none() {
        let received = found.map_or_else(|| "nothing".into(), words::received);
        problems.add(&PREDICTIONS, "an array of predictions", received, WHOSE);
    }
    list
}

fn of_prediction(answer: &Answer, given: Raw<'_>, of_rows: bool, path: &Path<'_>, problems: &mut Problems) {
    let Some(members) = json::members(given) else {
        return problems.add(path, "an object with the outputs by name", words::received(given), WHOSE);
    };
    for output in &answer.outputs {
        let name = &output.field.name;
        let path = path.key(name);
        let mut named = members.iter().filter(|(key, _)| key == name).map(|(_, value)| *value);
        match (named.next(), named.next()) {
            (None, _) if output.field.required => problems.add(&path, expected(output, of_rows), "nothing", WHOSE),
            (None, _) => {}
            (Some(_), Some(_)) => problems.add(&path, "each output once", format!("`{name}` again"), WHOSE),
            (Some(value), None) => of_output(output, value, of_rows, &path, problems),
        }
    }
}

fn of_output(output: &Output, value: Raw<'_>, of_rows: bool, path: &Path<'_>, problems: &mut Problems) {
    match &output.kind {
        Kind::Array(array) => Elements { output, array }.explain(value, array.dims(of_rows), path, problems),
        Kind::Json(validator) => {
            let before = problems.count();
            arguments::validate_one(validator, value, path, problems);
            problems.detail_since(before, WHOSE);
        }
        Kind::Any => {}
    }
}

fn expected(output: &Output, of_rows: bool) -> String {
    match &output.kind {
        Kind::Array(array) => Elements { output, array }.expected(array.dims(of_rows)),
        Kind::Json(_) | Kind::Any => "a value".into(),
    }
}

/// Elements of one output.
pub(super) struct Elements<'a> {
    pub(super) output: &'a Output,
    pub(super) array: &'a Array,
}

impl Elements<'_> {
    fn expected(&self, dims: &[i64]) -> String {
        let element = words::expected_element(&self.output.field, self.array.rules.datatype);
        match dims {
            [.., _] if !self.output.field.labels.is_empty() => {
                let labels = words::list(self.output.field.labels.iter().map(String::as_str));
                format!("an object with {labels}, each {element}")
            }
            dims => expected_shape(dims, &element),
        }
    }

    /// Adds what is wrong with nested arrays of these dimensions.
    pub(super) fn explain(&self, value: Raw<'_>, dims: &[i64], path: &Path<'_>, problems: &mut Problems) {
        let wrong = |problems: &mut Problems| problems.add(path, self.expected(dims), words::received(value), WHOSE);
        match dims {
            _ if problems.is_full() => {}
            [] => {
                if json::judge_raw(value, &self.array.rules).is_err() {
                    wrong(problems);
                }
            }
            [_] if !self.output.field.labels.is_empty() => match json::kind(value) {
                Json::Object => self.labelled(value, path, problems),
                _ => wrong(problems),
            },
            [wanted, inner @ ..] => match json::elements(value).filter(|list| nest::fits(list.len(), *wanted)) {
                Some(list) => {
                    let each = list.into_iter().enumerate();
                    each.for_each(|(at, value)| self.explain(value, inner, &path.index(at), problems));
                }
                None => wrong(problems),
            },
        }
    }

    /// The last dimension by the names of its elements.
    fn labelled(&self, value: Raw<'_>, path: &Path<'_>, problems: &mut Problems) {
        let members = json::members(value).unwrap_or_default();
        let labels = &self.output.field.labels;
        for label in labels {
            let path = path.key(label);
            match members.iter().find(|(key, _)| key == label) {
                Some((_, value)) => self.explain(value, &[], &path, problems),
                None => problems.add(&path, self.expected(&[]), "nothing", WHOSE),
            }
        }
        for (key, value) in members.iter().filter(|(key, _)| labels.iter().all(|label| label != key)) {
            problems.add(&path.key(key), "no such name", words::received(value), WHOSE);
        }
    }
}
