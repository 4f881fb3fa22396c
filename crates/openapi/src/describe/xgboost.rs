//! What a model of XGBoost says of itself, where it was saved as JSON. Its trees are passed over.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use kea_core::{Contract, Datatype};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::{
    DescribeError,
    boosters::{Booster, Gives, PARTS},
};

/// Bytes of the longest file that is read, since trees come before what is looked for; a longer one is left to a worker.
const LONGEST: u64 = 1 << 28;

#[derive(Deserialize)]
struct Saved {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default, deserialize_with = "a_text_for_each")]
    feature_names: Vec<String>,
    #[serde(default, deserialize_with = "a_text_for_each")]
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

/// Texts, as many as there may be features: the rest of a file that claims more is not read.
fn a_text_for_each<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {PARTS} texts, one for each feature")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = seq.next_element()? {
                if texts.len() == PARTS {
                    return Err(de::Error::invalid_length(PARTS + 1, &self));
                }
                texts.push(text);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_seq(Texts)
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
