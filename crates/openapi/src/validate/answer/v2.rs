//! Answers of the Open Inference Protocol V2: a small frame, which is read with its problems, around data that has a fast path.

use serde::de::DeserializeSeed;

use super::{
    super::{
        explain::expected_shape,
        json::{self, Raw},
        nest,
        scan::Scanner,
        words::{self, Path, Problems},
    },
    Misfit, WHOSE,
    explain::Elements,
    glance::Nested,
    plan::{Answer, Array, Kind, Output},
};

const OUTPUTS: Path<'static> = Path::Key(&Path::Root, "outputs");

/// Holds an answer against the tensors of the contract, of which `all` were asked for or some.
pub(super) fn check(answer: &Answer, body: &[u8], all: bool) -> Result<(), Misfit> {
    let body = json::parse(body).map_err(|rejection| Misfit::not_json(&rejection))?;
    let mut problems = Problems::default();
    if let Some(list) = list_of(body, &mut problems) {
        let tensors: Vec<Given<'_>> = list.into_iter().enumerate().map(|(at, raw)| Given::of(at, raw)).collect();
        for output in &answer.outputs {
            match (tensors.iter().find(|tensor| tensor.name == output.field.name), &output.kind) {
                (Some(tensor), Kind::Array(array)) => tensor.check(output, array, &mut problems),
                (None, _) if all && output.field.required => {
                    let expected = format!("a tensor `{}`", output.field.name);
                    problems.add(&OUTPUTS, expected, "nothing", WHOSE);
                }
                (Some(_), Kind::Json(_) | Kind::Any) | (None, _) => {}
            }
        }
    }
    let problems = problems.into_list();
    if problems.is_empty() { Ok(()) } else { Err(Misfit(problems)) }
}

fn list_of<'b>(body: Raw<'b>, problems: &mut Problems) -> Option<Vec<Raw<'b>>> {
    let members = json::members(body);
    let outputs = members.iter().flatten().find(|(key, _)| key == "outputs").map(|(_, value)| *value);
    let list = outputs.and_then(json::elements);
    if list.is_none() {
        let received = outputs.map_or_else(|| "nothing".into(), words::received);
        problems.add(&OUTPUTS, "an array of tensors", received, WHOSE);
    }
    list
}

/// A tensor of an answer, its data unread.
struct Given<'b> {
    at: usize,
    name: String,
    shape: Option<Vec<usize>>,
    datatype: Option<Raw<'b>>,
    data: Option<Raw<'b>>,
}

impl<'b> Given<'b> {
    fn of(at: usize, tensor: Raw<'b>) -> Self {
        let members = json::members(tensor).unwrap_or_default();
        let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        Self {
            at,
            name: member("name").and_then(json::text).unwrap_or_default().into_owned(),
            shape: member("shape").and_then(|shape| serde_json::from_str(shape.get()).ok()),
            datatype: member("datatype"),
            data: member("data"),
        }
    }

    fn check(&self, output: &Output, array: &Array, problems: &mut Problems) {
        let wanted = array.rules.datatype;
        if self.datatype.and_then(json::text).is_none_or(|datatype| datatype != wanted.as_str()) {
            return self.wrong(problems, "datatype", wanted.as_str(), self.datatype);
        }
        let Some(shape) = self.shape.as_ref().filter(|shape| is_shape(shape, array)) else {
            let received = self.shape.as_ref().map_or_else(|| "no shape".into(), |shape| format!("shape {shape:?}"));
            let received = words::cut(&received, 100);
            return problems.add(&OUTPUTS.index(self.at).key("shape"), shape_words(array), received, WHOSE);
        };
        let elements = shape.iter().copied().fold(1usize, usize::saturating_mul);
        let dims = [i64::try_from(elements).unwrap_or(i64::MAX)];
        match self.data {
            None => self.wrong(problems, "data", &format!("{elements} values"), None),
            Some(data) if is_flat(array, &dims, data) => {}
            Some(data) => {
                // Labels are of KEA's own protocol alone.
                let field = kea_core::Field { labels: Vec::new(), ..output.field.clone() };
                let output = &Output { field, kind: Kind::Any };
                let path = OUTPUTS.index(self.at);
                Elements { output, array }.explain(data, &dims, &path.key("data"), problems);
            }
        }
    }

    fn wrong(&self, problems: &mut Problems, key: &str, expected: &str, received: Option<Raw<'_>>) {
        let received = received.map_or_else(|| "nothing".into(), words::received);
        problems.add(&OUTPUTS.index(self.at).key(key), expected, received, WHOSE);
    }
}

fn is_flat(array: &Array, dims: &[i64], data: Raw<'_>) -> bool {
    let nested = || Nested { rules: &array.rules, dims, labels: &[] };
    let text = data.get();
    nested().deserialize(&mut Scanner::new(text.as_bytes())).is_ok()
        || nested().deserialize(&mut serde_json::Deserializer::from_str(text)).is_ok()
}

/// One element a row may come in a column.
fn is_shape(shape: &[usize], array: &Array) -> bool {
    match &array.shape {
        None => matches!(shape, [_] | [_, 1]),
        Some(wanted) => {
            let is_row = |at: usize, wanted: i64| at == 0 && wanted == 1;
            let mut dims = shape.iter().zip(wanted).enumerate();
            shape.len() == wanted.len() && dims.all(|(at, (n, wanted))| nest::fits(*n, *wanted) || is_row(at, *wanted))
        }
    }
}

fn shape_words(array: &Array) -> String {
    match &array.shape {
        None => "shape [rows] or [rows, 1]".into(),
        Some(shape) => expected_shape(shape, "values"),
    }
}
