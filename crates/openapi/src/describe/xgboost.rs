//! What a model of XGBoost says of itself, where it was saved as JSON. Its trees are passed over.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use kea_core::{Contract, Datatype};
use serde::Deserialize;

use super::{
    DescribeError,
    boosters::{Booster, Gives},
};

/// Bytes of the longest file that is read, since trees come before what is looked for; a longer one is left to a worker.
const LONGEST: u64 = 1 << 28;

#[derive(Deserialize)]
struct Saved {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<String>,
    #[serde(default)]
    feature_types: Vec<String>,
    learner_model_param: Parameters,
    objective: Objective,
}

/// Numbers, which XGBoost writes as texts.
#[derive(Deserialize)]
struct Parameters {
    num_feature: String,
    #[serde(default)]
    num_class: String,
    #[serde(default)]
    num_target: String,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

/// The contract of the model in a file.
pub(super) fn contract(path: &Path) -> Result<Contract, DescribeError> {
    let file = || path.display().to_string();
    let opened = File::open(path).and_then(|opened| Ok((opened.metadata()?.len(), opened)));
    let (length, opened) = opened.map_err(|why| DescribeError::Unreadable { file: file(), why })?;
    if length > LONGEST {
        return Err(DescribeError::NeedsRunning);
    }
    let saved = serde_json::from_reader::<_, Saved>(BufReader::new(opened.take(LONGEST)));
    let described = saved.map_err(|error| error.to_string()).and_then(|saved| booster(saved.learner)?.contract());
    described.map_err(|why| DescribeError::NotBooster { file: file(), library: "XGBoost", why })
}

fn booster(learner: Learner) -> Result<Booster, String> {
    let parameters = &learner.learner_model_param;
    let features = number("num_feature", &parameters.num_feature)?;
    let classes = number("num_class", &parameters.num_class)?;
    let targets = number("num_target", &parameters.num_target)?.max(1);
    let gives = match learner.objective.name.as_str() {
        "binary:logistic" => Gives::Classes(targets.saturating_mul(2)),
        "multi:softprob" => Gives::Classes(classes),
        "multi:softmax" | "binary:hinge" => Gives::Label,
        _ => Gives::Values(classes.max(targets)),
    };
    let notes = notes(&learner);
    let platform = format!("xgboost {}", learner.objective.name);
    Ok(Booster { platform, names: learner.feature_names, features, gives, number: Datatype::Fp32, notes })
}

/// A number that is not there is 0, as older versions have fewer of them.
fn number(name: &str, text: &str) -> Result<usize, String> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| format!("its `{name}` is `{}`", text.chars().take(40).collect::<String>())),
    }
}

fn notes(learner: &Learner) -> HashMap<String, String> {
    let typed = learner.feature_names.iter().zip(&learner.feature_types);
    typed.filter(|(_, kind)| *kind == "c").map(|(name, _)| (name.clone(), "The category's code.".to_owned())).collect()
}
