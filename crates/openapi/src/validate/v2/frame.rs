//! The frame of a V2 request: everything but the data.

use std::borrow::Cow;

use kea_core::{Datatype, Function};

use super::{
    super::{
        Rejection,
        explain::Members,
        json::{self, Kind, Raw},
        words::{self, Path, Problems},
    },
    INPUTS, is_true,
};

const OUTPUTS: Path<'static> = Path::Key(&Path::Root, "outputs");

/// A request, its data unread.
#[derive(Default)]
pub(crate) struct Request<'b> {
    pub(crate) id: Option<String>,
    pub(crate) inputs: Vec<Given<'b>>,
    /// Whether all tensors of the request are among `inputs`, so that others are surely missing.
    pub(crate) complete: bool,
    pub(crate) outputs: Option<Vec<String>>,
}

/// A tensor of the request.
pub(crate) struct Given<'b> {
    /// Where it is among `inputs`.
    pub(crate) at: usize,
    pub(crate) name: Cow<'b, str>,
    pub(crate) shape: Vec<usize>,
    /// The product of `shape`.
    pub(crate) elements: usize,
    pub(crate) datatype: Datatype,
    pub(crate) data: Raw<'b>,
}

impl Given<'_> {
    /// Adds a problem with `key` of this tensor.
    pub(crate) fn wrong(
        &self,
        problems: &mut Problems,
        key: &str,
        expected: impl Into<String>,
        received: impl Into<String>,
        detail: impl Into<String>,
    ) {
        problems.add(&INPUTS.index(self.at).key(key), expected, received, detail);
    }

    pub(crate) fn shape_text(&self) -> String {
        words::cut(&format!("shape {:?}", self.shape), 100)
    }
}

impl<'b> Request<'b> {
    /// Reads the frame. Problems are added to `problems`, and what they make unreadable is left out.
    pub(crate) fn read(function: &Function, body: Raw<'b>, problems: &mut Problems) -> Result<Self, Rejection> {
        let mut request = Self::default();
        let Some(members) = json::members(body) else {
            problems.add(&Path::Root, "an object with `inputs`", words::received(body), "send an object");
            return Ok(request);
        };
        let known = ["id", "parameters", "inputs", "outputs"];
        let members = fields(&members, known, &Path::Root, problems);
        let [id, parameters, inputs, outputs] = members;
        request.id = id.and_then(|id| text(id, &Path::Root.key("id"), problems));
        refuse_binary(parameters, "binary_data_output", &Path::Root, problems)?;
        match inputs {
            Some(inputs) => (request.inputs, request.complete) = read_inputs(inputs, problems)?,
            None => problems.add(&INPUTS, "an array of tensors", "nothing", "give the tensors in `inputs`"),
        }
        if let Some(outputs) = outputs {
            request.outputs = Some(read_outputs(function, outputs, problems)?);
        }
        Ok(request)
    }
}

/// The members called `known`; others and those that come twice are added to `problems`.
fn fields<'b, const N: usize>(
    members: &Members<'b>,
    known: [&str; N],
    path: &Path<'_>,
    problems: &mut Problems,
) -> [Option<Raw<'b>>; N] {
    let mut found = [None; N];
    for (key, value) in members {
        let at = path.key(key);
        match known.iter().position(|known| key == known) {
            Some(i) if found[i].is_none() => found[i] = Some(*value),
            Some(_) => problems.add(&at, "each field once", format!("`{key}` again"), "give each field once only"),
            None => {
                let detail = match words::nearest(key, known) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("the fields here are {}", words::list(known)),
                };
                problems.add(&at, "no such field", words::received(value), detail);
            }
        }
    }
    found
}

fn text(raw: Raw<'_>, path: &Path<'_>, problems: &mut Problems) -> Option<String> {
    let text = json::text(raw).filter(|_| json::kind(raw) == Kind::Text);
    if text.is_none() {
        problems.add(path, "a string", words::received(raw), "write it as text in double quotes");
    }
    text.map(Cow::into_owned)
}

/// Parameters may say anything, but what asks for the binary extension cannot be left aside.
fn refuse_binary(
    parameters: Option<Raw<'_>>,
    binary: &str,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Result<(), Rejection> {
    let Some(parameters) = parameters else { return Ok(()) };
    let Some(members) = json::members(parameters) else {
        let received = words::received(parameters);
        problems.add(&path.key("parameters"), "an object", received, "give an object, or leave it out");
        return Ok(());
    };
    let asks =
        |(key, value): &(Cow<'_, str>, Raw<'_>)| key == binary && (json::kind(value) != Kind::Bool || is_true(value));
    if members.iter().any(asks) {
        return Err(Rejection::Unsupported("binary tensor data is not supported yet: send JSON data".into()));
    }
    if members.iter().any(|(key, _)| key == "classification") {
        return Err(Rejection::Unsupported(
            "the classification extension is not supported: read the output itself".into(),
        ));
    }
    Ok(())
}

/// The tensors that can be read, and whether these are all.
fn read_inputs<'b>(inputs: Raw<'b>, problems: &mut Problems) -> Result<(Vec<Given<'b>>, bool), Rejection> {
    let list = match json::elements(inputs) {
        Some(list) if !list.is_empty() => list,
        _ => {
            problems.add(&INPUTS, "an array of tensors", words::received(inputs), "give one tensor at least");
            return Ok((Vec::new(), false));
        }
    };
    let count = list.len();
    let mut given = Vec::with_capacity(list.len().min(1024));
    for (at, input) in list.into_iter().enumerate() {
        given.extend(read_input(at, input, problems)?);
    }
    let complete = given.len() == count;
    Ok((given, complete))
}

fn read_input<'b>(at: usize, input: Raw<'b>, problems: &mut Problems) -> Result<Option<Given<'b>>, Rejection> {
    let path = INPUTS.index(at);
    let Some(members) = json::members(input) else {
        let expected = "an object with name, shape, datatype and data";
        problems.add(&path, expected, words::received(input), "describe each tensor by an object");
        return Ok(None);
    };
    let known = ["name", "shape", "datatype", "parameters", "data"];
    let [name, shape, datatype, parameters, data] = fields(&members, known, &path, problems);
    refuse_binary(parameters, "binary_data_size", &path, problems)?;
    let mut present = |key: &str, value: Option<Raw<'b>>| {
        if value.is_none() {
            problems.add(&path.key(key), "a value", "nothing", format!("give `{key}`"));
        }
        value
    };
    let (name, shape) = (present("name", name), present("shape", shape));
    let (datatype, data) = (present("datatype", datatype), present("data", data));
    let name = name.and_then(|name| text(name, &path.key("name"), problems));
    let shape = shape.and_then(|shape| read_shape(shape, &path.key("shape"), problems));
    let datatype = datatype.and_then(|datatype| read_datatype(datatype, &path.key("datatype"), problems));
    let (Some(name), Some((shape, elements)), Some(datatype), Some(data)) = (name, shape, datatype, data) else {
        return Ok(None);
    };
    Ok(Some(Given { at, name: name.into(), shape, elements, datatype, data }))
}

/// A shape and the product of its dimensions.
fn read_shape(raw: Raw<'_>, path: &Path<'_>, problems: &mut Problems) -> Option<(Vec<usize>, usize)> {
    let shape: Option<Vec<usize>> = serde_json::from_str(raw.get()).ok();
    // Arrays are bounded by the body, so that what goes beyond 32 bits is a mistake.
    let elements = |shape: &Vec<usize>| {
        let product = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        product.filter(|product| (1..=u32::MAX as usize).contains(product))
    };
    let read = shape.and_then(|shape| elements(&shape).map(|elements| (shape, elements)));
    if read.is_none() {
        let received = words::cut(raw.get(), 100);
        let detail = "give the length of each dimension, with at least one row and no -1";
        problems.add(path, "an array of positive whole numbers", received, detail);
    }
    read
}

fn read_datatype(raw: Raw<'_>, path: &Path<'_>, problems: &mut Problems) -> Option<Datatype> {
    let name = text(raw, path, problems)?;
    let datatype = name.parse().ok();
    if datatype.is_none() {
        let detail = "the datatypes are BOOL, UINT8 to UINT64, INT8 to INT64, FP32, FP64 and BYTES";
        problems.add(path, "a datatype of the Open Inference Protocol", words::received(raw), detail);
    }
    datatype
}

fn read_outputs(function: &Function, outputs: Raw<'_>, problems: &mut Problems) -> Result<Vec<String>, Rejection> {
    let Some(list) = json::elements(outputs) else {
        problems.add(&OUTPUTS, "an array of outputs", words::received(outputs), "give an array, or leave it out");
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for (at, output) in list.into_iter().enumerate() {
        let path = OUTPUTS.index(at);
        let Some(members) = json::members(output) else {
            problems.add(&path, "an object with a name", words::received(output), r#"write {"name": "..."}"#);
            continue;
        };
        let [name, parameters] = fields(&members, ["name", "parameters"], &path, problems);
        refuse_binary(parameters, "binary_data", &path, problems)?;
        match name {
            Some(name) => names.extend(read_output_name(function, name, &path.key("name"), problems)),
            None => problems.add(&path.key("name"), "the name of an output", "nothing", "give `name`"),
        }
    }
    Ok(names)
}

fn read_output_name(function: &Function, raw: Raw<'_>, path: &Path<'_>, problems: &mut Problems) -> Option<String> {
    let name = text(raw, path, problems)?;
    let known = || function.outputs.iter().map(|field| field.name.as_str());
    // Where nothing is known of the outputs, the model is the judge.
    if function.outputs.is_empty() || known().any(|known| known == name) {
        return Some(name);
    }
    let detail = match words::nearest(&name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the outputs are {}", words::list(known())),
    };
    problems.add(path, "the name of an output", words::received(raw), detail);
    None
}
