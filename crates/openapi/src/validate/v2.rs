//! JSON bodies of the Open Inference Protocol V2.
//!
//! The frame around the data is small and is read once, with its problems; only the data has a fast path.

use kea_core::{Datatype, Field, Function, Tensor, tensor::TensorData};
use serde::de::DeserializeSeed;

use super::{
    Rejection, V2Call,
    decode::{ABSENT, Columns, Rows, finish_columns, finish_tensors},
    element::{Element, Rules, each_datatype},
    explain::{Levels, depth_of, expected_shape, give, unknown_input},
    half,
    json::{self, Raw},
    nest::{self, Level, Nest},
    opaque,
    plan::{Features, Kind, Missing, Plan, Tensors},
    scan::Scanner,
    unexplained,
    words::{self, Path, Problems},
};

mod frame;

use frame::{Given, Request};

const INPUTS: Path<'static> = Path::Key(&Path::Root, "inputs");

pub(crate) fn decode(function: &Function, plan: &Plan, body: &[u8]) -> Result<V2Call, Rejection> {
    match &plan.kind {
        Kind::Opaque => return Err(opaque(function)),
        Kind::Half(input) => return Err(half(input)),
        Kind::Arguments(_) => return Err(named_arguments(function)),
        Kind::Features(_) | Kind::Tensors(_) => {}
    }
    let mut problems = Problems::default();
    let request = Request::read(function, json::parse(body)?, &mut problems)?;
    let inputs = match &plan.kind {
        Kind::Features(features) => FeatureReader { plan: features, function }.read(&request, &mut problems),
        Kind::Tensors(tensors) => read_tensors(tensors, function, &request, &mut problems),
        Kind::Arguments(_) | Kind::Opaque | Kind::Half(_) => None,
    };
    match (inputs, problems.into_list()) {
        (Some(inputs), problems) if problems.is_empty() => {
            Ok(V2Call { id: request.id, inputs, outputs: request.outputs })
        }
        (None, problems) if problems.is_empty() => Err(Rejection::Invalid(vec![unexplained(function)])),
        (_, problems) => Err(Rejection::Invalid(problems)),
    }
}

fn named_arguments(function: &Function) -> Rejection {
    let name = &function.name;
    Rejection::Unsupported(format!(
        "`{name}` takes named arguments, which the Open Inference Protocol has no form for: \
         POST {{\"inputs\": {{...}}}} to /api/v1/k8c/services/SERVICE/{name} instead"
    ))
}

/// Rows given as tensors of features.
struct FeatureReader<'p> {
    plan: &'p Features,
    function: &'p Function,
}

impl FeatureReader<'_> {
    fn read(&self, request: &Request<'_>, problems: &mut Problems) -> Option<Vec<Tensor>> {
        if let ([one], Some(datatype)) = (&request.inputs[..], self.plan.matrix)
            && self.is_matrix(one)
        {
            let tensor = each_datatype!(datatype, T => self.read_matrix::<T>(one, problems))?;
            return Some(vec![tensor]);
        }
        let columns = self.by_feature(request, problems)?;
        match self.plan.matrix {
            Some(datatype) => {
                each_datatype!(datatype, T => self.join_matrix::<T>(&columns, problems)).map(|tensor| vec![tensor])
            }
            None => self.join_columns(&columns, problems),
        }
    }

    /// Whether the only tensor holds all features: it has two dimensions and is not merely one feature's column.
    fn is_matrix(&self, given: &Given<'_>) -> bool {
        let is_column = self.plan.names.find(&given.name, 0).is_some() && given.shape.get(1) == Some(&1);
        given.shape.len() == 2 && (!is_column || self.plan.rules.len() == 1)
    }

    fn read_matrix<T: Element>(&self, given: &Given<'_>, problems: &mut Problems) -> Option<Tensor> {
        let Features { rules, matrix_name, uniform, .. } = self.plan;
        let fast = if *uniform { &rules[..1] } else { &rules[..] };
        check_shape(given, &[-1, rules.len() as i64], problems)?;
        let data = read_data::<T>(given, &self.function.inputs, rules, fast, problems)?;
        Some(Tensor { name: matrix_name.clone(), shape: given.shape.clone(), data: T::wrap(data) })
    }

    /// The tensor of each feature; `None` where one of them cannot be used.
    fn by_feature<'g, 'b>(
        &self,
        request: &'g Request<'b>,
        problems: &mut Problems,
    ) -> Option<Vec<Option<&'g Given<'b>>>> {
        let before = problems.count();
        let columns = by_name(self.function, &request.inputs, |name| self.plan.names.find(name, 0), problems);
        let mut rows = None;
        for column in columns.iter().flatten() {
            if !matches!(column.shape[..], [_] | [_, 1]) {
                let detail = format!("give one value a row{}", self.matrix_hint());
                column.wrong(problems, "shape", "shape [rows] or [rows, 1]", column.shape_text(), detail);
            } else if *rows.get_or_insert(column.shape[0]) != column.shape[0] {
                let expected = format!("{} rows, as the first input has", rows.unwrap_or_default());
                column.wrong(
                    problems,
                    "shape",
                    expected,
                    column.shape_text(),
                    "give every input the same number of rows",
                );
            }
        }
        for (i, field) in self.function.inputs.iter().enumerate() {
            if columns[i].is_none() && matches!(self.plan.missing[i], Missing::Refuse) {
                missing(request, field, problems);
            }
        }
        (problems.count() == before).then_some(columns)
    }

    fn matrix_hint(&self) -> String {
        match self.plan.matrix {
            Some(_) => format!(", or one tensor of shape [rows, {}] with all features", self.plan.rules.len()),
            None => String::new(),
        }
    }

    fn read_column<T: Element>(&self, i: usize, given: &Given<'_>, problems: &mut Problems) -> Option<Vec<T>> {
        let (field, rules) = (&self.function.inputs[i..=i], &self.plan.rules[i..=i]);
        read_data(given, field, rules, rules, problems)
    }

    fn join_matrix<T: Element>(&self, given: &[Option<&Given<'_>>], problems: &mut Problems) -> Option<Tensor> {
        let mut columns = Columns::<T> {
            plan: self.plan,
            values: Vec::new(),
            starts: vec![ABSENT; given.len()],
            rows: Rows::Unknown,
        };
        let mut whole = true;
        for (i, given) in given.iter().enumerate() {
            let Some(given) = given else { continue };
            match self.read_column(i, given, problems) {
                Some(values) => {
                    columns.starts[i] = columns.values.len();
                    columns.rows = Rows::Many(given.shape[0]);
                    columns.values.extend(values);
                }
                None => whole = false,
            }
        }
        if whole { columns.into_matrix() } else { None }
    }

    fn join_columns(&self, given: &[Option<&Given<'_>>], problems: &mut Problems) -> Option<Vec<Tensor>> {
        let mut columns: Vec<Option<TensorData>> = vec![None; given.len()];
        let mut rows = 1;
        for (i, given) in given.iter().enumerate() {
            let Some(given) = given else { continue };
            rows = given.shape[0];
            columns[i] = each_datatype!(self.plan.rules[i].datatype, T => {
                self.read_column::<T>(i, given, problems).map(T::wrap)
            });
        }
        if problems.count() > 0 { None } else { finish_columns(self.plan, columns, rows) }
    }
}

fn read_tensors(
    plan: &Tensors,
    function: &Function,
    request: &Request<'_>,
    problems: &mut Problems,
) -> Option<Vec<Tensor>> {
    let by_input = by_name(function, &request.inputs, |name| plan.names.find(name, 0), problems);
    let mut tensors = vec![None; plan.inputs.len()];
    let mut first_rows = None;
    for (i, input) in plan.inputs.iter().enumerate() {
        let field = &function.inputs[i];
        let Some(given) = by_input[i] else {
            if matches!(input.missing, Missing::Refuse) {
                missing(request, field, problems);
            }
            continue;
        };
        if check_shape(given, &input.shape, problems).is_none() {
            continue;
        }
        if input.is_batched() && *first_rows.get_or_insert(given.shape[0]) != given.shape[0] {
            let expected = format!("{} rows, as the first input has", first_rows.unwrap_or_default());
            given.wrong(problems, "shape", expected, given.shape_text(), "give every input the same number of rows");
        }
        let (fields, rules) = (std::slice::from_ref(field), std::slice::from_ref(&input.rules));
        let data = each_datatype!(input.rules.datatype, T => {
            read_data::<T>(given, fields, rules, rules, problems).map(T::wrap)
        });
        let tensor = |data| Tensor { name: plan.names.order[i].clone(), shape: given.shape.clone(), data };
        tensors[i] = data.map(tensor);
    }
    if problems.count() > 0 { None } else { finish_tensors(plan, tensors) }
}

/// The tensor given for each input of the contract; unknown ones and those that come twice are added to `problems`.
fn by_name<'g, 'b>(
    function: &Function,
    given: &'g [Given<'b>],
    find: impl Fn(&str) -> Option<usize>,
    problems: &mut Problems,
) -> Vec<Option<&'g Given<'b>>> {
    let mut found = vec![None; function.inputs.len()];
    for tensor in given {
        let name = words::cut(&format!("`{}`", tensor.name), 100);
        match find(&tensor.name) {
            None => {
                tensor.wrong(problems, "name", "the name of an input", name, unknown_input(function, &tensor.name));
            }
            Some(i) if found[i].is_some() => {
                tensor.wrong(problems, "name", "each input once", name, "give each input once only");
            }
            Some(i) => found[i] = Some(tensor),
        }
    }
    found
}

fn missing(request: &Request<'_>, field: &Field, problems: &mut Problems) {
    // One that could not be read may be this one.
    if !request.complete {
        return;
    }
    let expected = format!("a tensor `{}`", field.name);
    problems.add(&INPUTS, expected, "nothing", give(field));
}

/// Whether the shape that is said to be given is one of the contract's.
fn check_shape(given: &Given<'_>, wanted: &[i64], problems: &mut Problems) -> Option<()> {
    let dims = given.shape.iter().zip(wanted);
    if given.shape.len() == wanted.len() && dims.clone().all(|(n, wanted)| nest::fits(*n, *wanted)) {
        return Some(());
    }
    let expected = expected_shape(wanted, "values");
    given.wrong(problems, "shape", expected, given.shape_text(), "give the shape of the model, rows first");
    None
}

/// The elements of a tensor, flat or nested.
///
/// `fields` and `rules` are those of each column (or one for all); `fast` stands for `rules` where it says the same.
fn read_data<T: Element>(
    given: &Given<'_>,
    fields: &[Field],
    rules: &[Rules],
    fast: &[Rules],
    problems: &mut Problems,
) -> Option<Vec<T>> {
    let wanted = rules[0].datatype;
    if !is_convertible(given.datatype, wanted) {
        let detail = format!("send the data as {wanted}");
        given.wrong(problems, "datatype", convertible_to(wanted), given.datatype.as_str(), detail);
        return None;
    }
    let (declared_rules, declared_fast);
    let (rules, fast) = if given.datatype == wanted {
        (rules, fast)
    } else {
        let declare = |rules: &[Rules]| rules.iter().map(|rules| rules.declared(given.datatype)).collect::<Vec<_>>();
        (declared_rules, declared_fast) = (declare(rules), declare(fast));
        (&declared_rules[..], &declared_fast[..])
    };
    let elements = read_fast(given, fast);
    if elements.is_none() {
        explain_data(given, fields, rules, problems);
    }
    elements
}

fn read_fast<T: Element>(given: &Given<'_>, rules: &[Rules]) -> Option<Vec<T>> {
    let text = given.data.get();
    let capacity = given.elements.min(text.len() / 2 + 1);
    let new = || Nest::<T>::new(rules, given.shape.len().max(1), capacity);
    let mut nest = new();
    if Level::outermost(&mut nest).deserialize(&mut Scanner::new(text.as_bytes())).is_err() {
        nest = new();
        Level::outermost(&mut nest).deserialize(&mut serde_json::Deserializer::from_str(text)).ok()?;
    }
    let (lengths, elements) = nest.into_elements()?;
    (lengths == given.shape || lengths == [given.elements]).then_some(elements)
}

#[cold]
fn explain_data(given: &Given<'_>, fields: &[Field], rules: &[Rules], problems: &mut Problems) {
    let at = INPUTS.index(given.at);
    let path = at.key("data");
    let before = problems.count();
    let depth = depth_of(given.data, given.shape.len() + 1);
    let nested: Vec<i64> = given.shape.iter().map(|n| *n as i64).collect();
    let flat = [given.elements as i64];
    let dims = match depth {
        1 => &flat[..],
        depth if depth == nested.len() => &nested[..],
        _ => {
            let expected = format!("an array of {} values, flat or nested as the shape", given.elements);
            let detail = "give the data row by row";
            return problems.add(&path, expected, words::received(given.data), detail);
        }
    };
    Levels::new(fields, rules, dims, problems).explain(given.data, &path, 0, 0);
    if problems.count() == before && !problems.is_full() {
        let expected = format!("{} values of {}", given.elements, given.datatype);
        problems.add(&path, expected, words::received(given.data), "compare the data with its shape and datatype");
    }
}

/// Whether every value of `declared` that fits is the same value of `wanted`.
fn is_convertible(declared: Datatype, wanted: Datatype) -> bool {
    let is_number = |datatype: Datatype| datatype.integer_bounds().is_some() || is_json_float(datatype);
    declared == wanted
        || (is_json_float(wanted) && is_number(declared))
        || (wanted.integer_bounds().is_some() && declared.integer_bounds().is_some())
}

/// FP16 comes in binary form only.
fn is_json_float(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Fp32 | Datatype::Fp64)
}

fn convertible_to(wanted: Datatype) -> String {
    match wanted {
        Datatype::Fp32 | Datatype::Fp64 => format!("{wanted}, or other numbers that convert to it without loss"),
        _ if wanted.integer_bounds().is_some() => format!("{wanted}, or another type of whole numbers"),
        _ => wanted.to_string(),
    }
}

/// A value that [`Raw`] texts are compared with where a parameter asks for what is not supported.
fn is_true(raw: Raw<'_>) -> bool {
    raw.get() == "true"
}
