//! The slow path: a request that was refused is read once more, and every problem in it is named.

use std::borrow::Cow;

use kea_core::{Field, Function, management::Violation};

use super::{
    decode::{MOST_FILLED, Rows},
    element::Rules,
    json::{self, Kind, Raw},
    nest,
    plan::{Features, Input, Missing, Names, Tensors},
    words::{self, Path, Problems},
};

/// The one key of a body.
pub(crate) const INPUTS: Path<'static> = Path::Key(&Path::Root, "inputs");

/// An object's members.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

/// Problems of a body for [`kea_core::Layout::Features`].
pub(crate) fn features(plan: &Features, function: &Function, body: Raw<'_>) -> Vec<Violation> {
    let mut problems = Problems::default();
    if let Some((_, members)) = inputs_of(function, body, &mut problems) {
        let columns = known_inputs(function, &plan.names, &members, &mut problems);
        explain_columns(plan, function, &columns, &mut problems);
        report_missing(function, &columns, |i| &plan.missing[i], &mut problems);
    }
    problems.into_list()
}

/// Problems of a body for [`kea_core::Layout::Tensors`].
pub(crate) fn tensors(plan: &Tensors, function: &Function, body: Raw<'_>) -> Vec<Violation> {
    let mut problems = Problems::default();
    if let Some((_, members)) = inputs_of(function, body, &mut problems) {
        let inputs = known_inputs(function, &plan.names, &members, &mut problems);
        explain_tensors(plan, function, &inputs, &mut problems);
        report_missing(function, &inputs, |i| &plan.inputs[i].missing, &mut problems);
    }
    problems.into_list()
}

/// `inputs` and its members, where it is an object; all that is wrong around it is added to `problems`.
pub(crate) fn inputs_of<'a>(
    function: &Function,
    body: Raw<'a>,
    problems: &mut Problems,
) -> Option<(Raw<'a>, Members<'a>)> {
    let Some(members) = json::members(body) else {
        let detail = words::with_example_body("send an object with `inputs`", function);
        problems.add(&Path::Root, "an object with `inputs`", words::received(body), detail);
        return None;
    };
    let mut inputs = None;
    for (key, value) in &members {
        if key != "inputs" {
            unknown_top_level(function, key, value, problems);
        } else if inputs.replace(*value).is_some() {
            problems.add(&INPUTS, "`inputs` once", "`inputs` again", "give `inputs` once only");
        }
    }
    let Some(inputs) = inputs else {
        let detail = words::with_example_body("put the function's inputs into `inputs`", function);
        problems.add(&INPUTS, "an object", "nothing", detail);
        return None;
    };
    let inside = json::members(inputs);
    if inside.is_none() {
        let names = function.inputs.iter().map(|field| field.name.as_str());
        let what = format!("give {} by name", words::list(names));
        let detail = words::with_example_body(&what, function);
        problems.add(&INPUTS, "an object", words::received(inputs), detail);
    }
    Some((inputs, inside?))
}

fn unknown_top_level(function: &Function, key: &str, value: Raw<'_>, problems: &mut Problems) {
    let is_input = function.inputs.iter().any(|field| field.name == key);
    let detail = if is_input {
        words::with_example_body(&format!("move `{key}` into `inputs`"), function)
    } else {
        words::with_example_body("remove it, a body has `inputs` and nothing else", function)
    };
    problems.add(&Path::Root.key(key), "no such field", words::received(value), detail);
}

/// The value of each known input; unknown ones and those that come twice are added to `problems`.
pub(crate) fn known_inputs<'a>(
    function: &Function,
    names: &Names,
    members: &Members<'a>,
    problems: &mut Problems,
) -> Vec<Option<Raw<'a>>> {
    let mut values = vec![None; names.order.len()];
    for (key, value) in members {
        let path = INPUTS.key(key);
        match names.find(key, 0) {
            None => problems.add(&path, "no such input", words::received(value), unknown_input(function, key)),
            Some(i) if values[i].is_some() => {
                problems.add(&path, "each input once", format!("`{key}` again"), "give each input once only");
            }
            Some(i) => values[i] = Some(*value),
        }
    }
    values
}

pub(crate) fn unknown_input(function: &Function, key: &str) -> String {
    let names = || function.inputs.iter().map(|field| field.name.as_str());
    match words::nearest(key, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("`{}` takes {}", function.name, words::list(names())),
    }
}

fn report_missing<'p>(
    function: &Function,
    values: &[Option<Raw<'_>>],
    missing: impl Fn(usize) -> &'p Missing,
    problems: &mut Problems,
) {
    for (i, field) in function.inputs.iter().enumerate() {
        if values[i].is_none() && matches!(missing(i), Missing::Refuse) {
            problems.add(&INPUTS.key(&field.name), expected_field(field), "nothing", give(field));
        }
    }
}

/// What to do where `field` is missing.
pub(crate) fn give(field: &Field) -> String {
    match words::example_of(field) {
        Some(example) => format!("give `{}`, for example {example}", field.name),
        None => format!("give `{}`", field.name),
    }
}

pub(crate) fn expected_field(field: &Field) -> String {
    use kea_core::ValueType::{Json, Scalar, Tensor};
    match &field.value {
        Scalar { datatype } => words::expected_element(field, *datatype),
        Tensor { datatype, shape } => expected_shape(shape, &words::expected_element(field, *datatype)),
        Json { .. } => "a value".into(),
    }
}

/// A shape in words, as `rows of 784 values: a number (FP64)`.
pub(crate) fn expected_shape(shape: &[i64], element: &str) -> String {
    let dims: Vec<String> = shape.iter().map(|n| if *n < 0 { "any".into() } else { n.to_string() }).collect();
    if dims.is_empty() { element.into() } else { format!("an array of shape [{}] of {element}", dims.join(", ")) }
}

fn explain_columns(plan: &Features, function: &Function, columns: &[Option<Raw<'_>>], problems: &mut Problems) {
    let mut first: Option<(usize, Rows)> = None;
    for (i, value) in columns.iter().enumerate() {
        let Some(value) = *value else { continue };
        let field = &function.inputs[i];
        let path = INPUTS.key(&field.name);
        let Some(rows) = explain_column(field, &plan.rules[i], value, &path, problems) else { continue };
        match first {
            None => first = Some((i, rows)),
            Some((_, known)) if known == rows => {}
            Some((other, known)) => {
                uneven(&path, rows, known, &function.inputs[other].name, problems);
            }
        }
    }
    let rows = if let Some((_, Rows::Many(rows))) = first { rows } else { 1 };
    let absent = columns.iter().filter(|column| column.is_none()).count();
    report_too_many_defaults(absent, rows, problems);
}

pub(crate) fn report_too_many_defaults(absent: usize, rows: usize, problems: &mut Problems) {
    if absent.saturating_mul(rows) > MOST_FILLED {
        let expected = format!("at most {MOST_FILLED} values filled in by defaults");
        let received = format!("{rows} rows without {absent} of the inputs");
        problems.add(&INPUTS, expected, received, "send fewer rows at a time, or all inputs");
    }
}

/// The rows of one feature, after its problems were added; `None` where they cannot be counted.
fn explain_column(
    field: &Field,
    rules: &Rules,
    value: Raw<'_>,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<Rows> {
    if json::kind(value) != Kind::Array {
        explain_element(field, rules, value, path, problems);
        return (json::kind(value) != Kind::Object).then_some(Rows::One);
    }
    let rows = json::elements(value)?;
    if rows.is_empty() {
        let detail = format!("send at least one row, {}", give(field));
        problems.add(path, "at least one value", "an empty array", detail);
        return None;
    }
    for (row, value) in rows.iter().enumerate() {
        if problems.is_full() {
            break;
        }
        explain_element(field, rules, value, &path.index(row), problems);
    }
    Some(Rows::Many(rows.len()))
}

fn uneven(path: &Path<'_>, rows: Rows, known: Rows, other: &str, problems: &mut Problems) {
    let words = |rows| match rows {
        Rows::Many(1) => "an array of 1 value".into(),
        Rows::Many(rows) => format!("an array of {rows} values"),
        Rows::One | Rows::Unknown => "one value".to_owned(),
    };
    let expected = format!("{}, as `{other}` has", words(known));
    let detail = "give one value for each input, or for each an array with one value a row";
    problems.add(path, expected, words(rows), detail);
}

/// Adds what is wrong with one element.
pub(crate) fn explain_element(field: &Field, rules: &Rules, raw: Raw<'_>, path: &Path<'_>, problems: &mut Problems) {
    if let Err(fault) = json::judge_raw(raw, rules) {
        let expected = words::expected_element(field, rules.declared.unwrap_or(rules.datatype));
        let detail = words::remedy(fault, field, rules.datatype, raw);
        problems.add(path, expected, words::received(raw), detail);
    }
}

fn explain_tensors(plan: &Tensors, function: &Function, values: &[Option<Raw<'_>>], problems: &mut Problems) {
    let mut first: Option<(usize, usize)> = None;
    for (i, value) in values.iter().enumerate() {
        let Some(value) = *value else { continue };
        let (field, input) = (&function.inputs[i], &plan.inputs[i]);
        let path = INPUTS.key(&field.name);
        let Some(rows) = explain_tensor(field, input, value, &path, problems) else { continue };
        match first {
            _ if !input.is_batched() => {}
            None => first = Some((i, rows)),
            Some((_, known)) if known == rows => {}
            Some((other, known)) => {
                let expected = format!("{known} rows, as `{}` has", function.inputs[other].name);
                problems.add(&path, expected, format!("{rows} rows"), "give every input the same number of rows");
            }
        }
    }
    let rows = first.map_or(1, |(_, rows)| rows);
    let defaults = plan.inputs.iter().zip(values).filter(|(input, value)| value.is_none() && input.is_batched());
    let absent = defaults.filter(|(input, _)| matches!(input.missing, Missing::Fill(_))).count();
    report_too_many_defaults(absent, rows, problems);
}

/// The rows of one tensor, after its problems were added; `None` where it has any.
fn explain_tensor(
    field: &Field,
    input: &Input,
    value: Raw<'_>,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<usize> {
    let shape = &input.shape;
    let depth = depth_of(value, shape.len() + 1);
    let one_row = nest::may_leave_out_row(shape) && depth + 1 == shape.len();
    let dims = if one_row { &shape[1..] } else { &shape[..] };
    if depth != dims.len() {
        let element = words::expected_element(field, input.rules.datatype);
        let received = if depth > shape.len() {
            "arrays nested too deep".into()
        } else {
            format!("{} ({depth} dimensions)", words::received(value))
        };
        problems.add(path, expected_shape(shape, &element), received, nesting_remedy(field, shape));
        return None;
    }
    let before = problems.count();
    let (fields, rules) = (std::slice::from_ref(field), std::slice::from_ref(&input.rules));
    let mut levels = Levels::new(fields, rules, dims, problems);
    levels.explain(value, path, 0, 0);
    let rows = if one_row { 1 } else { levels.known.first().copied().flatten().unwrap_or(1) };
    (problems.count() == before).then_some(rows)
}

fn nesting_remedy(field: &Field, shape: &[i64]) -> String {
    let what = match (shape.len(), nest::may_leave_out_row(shape)) {
        (0, _) => "give one value without brackets".into(),
        (1, true) => "give one value, or an array with one value a row".into(),
        (rank, true) => format!("nest arrays {} deep for one row or {rank} deep for many", rank - 1),
        (rank, false) => format!("nest arrays {rank} deep"),
    };
    match words::example_of(field) {
        Some(example) => format!("{what}, for example {example}"),
        None => what,
    }
}

/// How deep the first scalar lies, looked for at most `most` levels down.
pub(crate) fn depth_of(value: Raw<'_>, most: usize) -> usize {
    let mut depth = 0;
    let mut value = value;
    while depth < most && json::kind(value) == Kind::Array {
        depth += 1;
        match json::elements(value).and_then(|elements| elements.first().copied()) {
            Some(first) => value = first,
            None => break,
        }
    }
    depth
}

/// Nested arrays held against dimensions.
pub(crate) struct Levels<'a> {
    /// Fields and rules of the elements, taken in turn: one for all, or one for each column.
    fields: &'a [Field],
    rules: &'a [Rules],
    dims: &'a [i64],
    /// Length of the first array of each level.
    known: Vec<Option<usize>>,
    problems: &'a mut Problems,
}

impl<'a> Levels<'a> {
    pub(crate) fn new(fields: &'a [Field], rules: &'a [Rules], dims: &'a [i64], problems: &'a mut Problems) -> Self {
        Self { fields, rules, dims, known: vec![None; dims.len()], problems }
    }

    /// Explains `value`, which is the element `at` of its array.
    pub(crate) fn explain(&mut self, value: Raw<'_>, path: &Path<'_>, level: usize, at: usize) {
        if self.problems.is_full() {
            return;
        }
        if level == self.dims.len() {
            let column = at % self.fields.len();
            return explain_element(&self.fields[column], &self.rules[column], value, path, self.problems);
        }
        let Some(elements) = json::elements(value) else {
            let detail = "give an array here, as in the other rows";
            return self.problems.add(path, "an array", words::received(value), detail);
        };
        self.compare_length(elements.len(), path, level);
        for (i, element) in elements.iter().enumerate() {
            self.explain(element, &path.index(i), level + 1, i);
        }
    }

    fn compare_length(&mut self, length: usize, path: &Path<'_>, level: usize) {
        let wanted = self.dims[level];
        let known = self.known[level];
        let (expected, detail) = if length == 0 {
            ("at least one value".into(), "send at least one row, and no empty arrays")
        } else if !nest::fits(length, wanted) {
            (format!("{wanted} values"), "give as many values as the model takes")
        } else if known.is_some_and(|known| known != length) {
            let known = known.unwrap_or_default();
            (format!("{known} values, as the arrays before have"), "make all rows equally long")
        } else {
            self.known[level] = Some(length);
            return;
        };
        let received = if length == 1 { "1 value".into() } else { format!("{length} values") };
        self.problems.add(path, expected, received, detail);
    }
}
