//! Boosters that the libraries saved, and files that are none.

use std::{fs, path::Path};

use kea_core::{Contract, Layout};
use tempfile::TempDir;

use crate::describe::{DescribeError, describe};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
const TOLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/told_by_workers");
const SAVED: [&str; 2] = ["xgboost_flowers.json", "lightgbm_flowers.txt"];

/// What is told of a file with such a name and content.
fn told(name: &str, content: &[u8]) -> Result<Contract, DescribeError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    describe(&path)
}

fn saved(name: &str) -> Vec<u8> {
    fs::read(Path::new(CORPUS).join(name)).unwrap()
}

#[test]
fn a_booster_is_described_as_by_the_worker_that_runs_it() {
    for name in SAVED {
        let expected = fs::read(Path::new(TOLD).join(name).with_extension("json")).unwrap();
        let expected: Contract = serde_json::from_slice(&expected).unwrap();
        assert_eq!(told(name, &saved(name)).unwrap(), expected, "{name}");
    }
}

#[test]
fn features_without_names_are_one_tensor() {
    let text = String::from_utf8(saved("lightgbm_flowers.txt")).unwrap();
    let names: Vec<&str> =
        text.lines().find_map(|line| line.strip_prefix("feature_names=")).unwrap().split(' ').collect();
    let made_up: Vec<String> = (0..names.len()).map(|position| format!("Column_{position}")).collect();
    let contract = told("model.txt", text.replace(&names.join(" "), &made_up.join(" ")).as_bytes()).unwrap();
    assert_eq!(contract.functions[0].layout, Layout::Tensors);
    assert_eq!(contract.functions[0].inputs.len(), 1);
}

#[test]
fn a_text_that_is_no_model_is_not_taken_for_one() {
    assert!(matches!(told("requirements.txt", b"trees==1.0\n"), Err(DescribeError::NeedsRunning)));
}

#[test]
fn a_model_too_long_to_be_read_is_left_to_a_worker() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.json");
    fs::File::create(&path).unwrap().set_len((1 << 28) + 1).unwrap();
    assert!(matches!(describe(&path), Err(DescribeError::NeedsRunning)));
}

#[test]
fn claims_that_cannot_be_are_refused_with_what_they_are() {
    let xgboost = String::from_utf8(saved("xgboost_flowers.json")).unwrap();
    let lightgbm = String::from_utf8(saved("lightgbm_flowers.txt")).unwrap();
    let cases = [
        ("m.json", xgboost.replace(r#""num_feature":"4""#, r#""num_feature":"18446744073709551615""#), "features"),
        ("m.json", xgboost.replace(r#""num_feature":"4""#, r#""num_feature":"5""#), "it has 5 features and names 4"),
        ("m.json", xgboost.replace(r#""num_class":"3""#, r#""num_class":"99999999999""#), "classes cannot be"),
        ("m.json", xgboost.replace(r#""num_class":"3""#, r#""num_class":"-1""#), "its `num_class` is `-1`"),
        (
            "m.json",
            xgboost.replace(r#""feature_names":["#, &format!(r#""feature_names":[{}"#, r#""","#.repeat(1_000_001))),
            "at most 1000000 texts, one for each feature",
        ),
        ("m.json", "{}".into(), "missing field `learner`"),
        ("m.json", format!("{{\"learner\":{}", "[".repeat(1 << 20)), "line 1"),
        ("m.txt", lightgbm.replace("max_feature_idx=3", "max_feature_idx=18446744073709551615"), "features"),
        ("m.txt", lightgbm.replace("num_class=3", "num_class=99999999999"), "classes cannot be"),
        ("m.txt", lightgbm.replace("feature_names=", "names="), "its head has no `feature_names`"),
    ];
    for (name, content, expected) in cases {
        let error = told(name, content.as_bytes()).unwrap_err();
        assert!(matches!(error, DescribeError::NotBooster { .. }), "{expected}: {error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_file_that_ends_early_or_has_other_bytes_is_refused_or_described() {
    for name in SAVED {
        let whole = saved(name);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        // What follows the trees of LightGBM says how it was trained, which is not needed.
        let mark = b"end of trees";
        let needed = whole.windows(mark.len()).position(|part| part == mark).map_or(whole.len(), |at| at + mark.len());
        for at in (0..whole.len()).step_by(17) {
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(describe(&path).is_err(), at < needed, "{name}, {at} bytes");
            let mut other = whole.clone();
            other[at] ^= 1 << (at % 8);
            fs::write(&path, other).unwrap();
            let _contract_or_error = describe(&path);
        }
    }
}
