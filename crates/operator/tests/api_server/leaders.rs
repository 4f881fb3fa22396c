//! Several operators, of which one acts.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    mock::objects::Part,
    scene::{Scene, lease},
};

/// Who has written anything since there were `before` writes.
fn writers(scene: &Scene, before: usize) -> BTreeSet<String> {
    scene.work().into_iter().skip(before).map(|asked| asked.client).collect()
}

#[tokio::test]
async fn of_two_operators_exactly_one_writes_and_the_other_takes_over() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let mut operators: Vec<_> = ["a", "b"].map(|name| (name.to_string(), scene.operator(name))).into();
    scene.until_runs("iris", "1").await;
    let first = writers(&scene, 0);
    assert_eq!(first.len(), 1, "{first:?}");
    let leader = operators.iter().position(|(name, _)| first.contains(name)).unwrap();
    operators.swap_remove(leader).1.stop().await;
    let before = scene.work().len();
    scene.model("iris", "2");
    scene.until_runs("iris", "2").await;
    assert_eq!(writers(&scene, before), BTreeSet::from([operators[0].0.clone()]));
}

#[tokio::test]
async fn an_operator_whose_lease_another_has_taken_writes_no_more() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    let lease = lease();
    let give = |holder: &str| {
        let spec = json!({"spec": {"holderIdentity": holder}});
        scene.server.objects.merge(&lease, Part::Whole, &spec).unwrap();
    };
    give("other");
    let looked = || scene.server.count(|asked| asked.key == lease);
    let before = looked();
    // It looks at the Lease, sees that it is another one's, and looks again later.
    scene.until("the operator has seen it", || looked() >= before + 2).await;
    let writes = scene.work().len();
    scene.model("iris", "2");
    scene.until("the operator has looked once more", || looked() >= before + 3).await;
    assert_eq!(scene.work().len(), writes);
    give("");
    scene.until_runs("iris", "2").await;
}
