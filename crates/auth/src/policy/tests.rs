//! Tables of what is allowed, on policies in memory.

use kea_core::{
    Engine, Settings,
    policy::{Binding, BindingSpec, Permission, Policy, Role, RoleSpec, Subject, SubjectKind, Verb},
    service::{Access, FunctionAccess},
};
use kea_store::SqlStore;
use proptest::prelude::*;

use super::*;

fn caller(username: &str, roles: &[&str]) -> Caller {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Caller { username: username.into(), roles, groups: Arc::default(), session: None, key: None, scopes: None }
}

/// A role that allows these permissions.
fn role(name: &str, permissions: &[&str]) -> Role {
    let rules = permissions.iter().map(|text| text.parse::<Permission>().unwrap().rule()).collect();
    Role { name: name.parse().unwrap(), spec: RoleSpec { description: String::new(), rules } }
}

fn binding(role: &str, kind: SubjectKind, name: &str) -> Binding {
    let subjects = vec![Subject { kind, name: name.into() }];
    let name = format!("{role}-of-{name}").parse().unwrap();
    Binding { name, spec: BindingSpec { role: role.parse().unwrap(), subjects } }
}

fn rules(roles: Vec<Role>, bindings: Vec<Binding>) -> Rules {
    Rules::new(Policy { revision: 1, roles, bindings })
}

/// A service with these labels; students and teachers may call it, and teachers alone set grades.
fn grades() -> Settings {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let teachers = FunctionAccess { public: None, roles: names(&["teacher"]) };
    let functions = [("set_grades".to_owned(), teachers)].into();
    Settings {
        access: Access { public: false, roles: names(&["student", "teacher"]), functions },
        labels: [("team".to_owned(), "school".to_owned())].into(),
        ..Settings::default()
    }
}

fn allows(rules: &Rules, caller: &Caller, permission: &str, settings: Option<&Settings>) -> bool {
    allows_of(rules, caller, permission, settings, Engine::Python)
}

fn allows_of(rules: &Rules, caller: &Caller, permission: &str, settings: Option<&Settings>, engine: Engine) -> bool {
    let (verb, rest) = permission.split_once(':').map_or((permission, None), |(verb, rest)| (verb, Some(rest)));
    let target = rest.map(|rest| {
        let (service, function) = rest.split_once('/').map_or((rest, None), |(service, f)| (service, Some(f)));
        Target { service, function, settings, engine }
    });
    rules.grant(caller, &Ask { verb: verb.parse().unwrap(), target }).is_some()
}

/// Each line: the role's permission, what is asked, whether it is allowed.
#[test]
fn a_role_allows_what_its_rules_say_and_nothing_else() {
    let settings = grades();
    let free = Settings { access: Access::default(), ..settings };
    for (permission, asked, expected) in [
        ("predict:iris/predict", "predict:iris/predict", true),
        ("predict:iris/predict", "predict:iris/other", false),
        ("predict:iris/predict", "predict:wine/predict", false),
        ("predict:iris/predict", "read:iris", false),
        ("predict:iris", "predict:iris/other", true),
        ("predict:*", "predict:wine/other", true),
        ("predict:*/predict", "predict:wine/predict", true),
        ("predict:*/predict", "predict:wine/other", false),
        ("read:iris", "read:iris", true),
        ("read:*", "delete:iris", false),
        ("predict:team=school", "predict:iris/predict", true),
        ("predict:team=risk", "predict:iris/predict", false),
        ("predict:team=school,stage=test", "predict:iris/predict", false),
        ("audit", "audit", true),
        ("audit", "users", false),
        ("read:*", "audit", false),
        ("*:iris", "delete:iris", true),
        ("*:iris", "delete:wine", false),
        ("*", "roles", true),
    ] {
        let rules = rules(vec![role("r", &[permission])], vec![]);
        assert_eq!(allows(&rules, &caller("ada", &["r"]), asked, Some(&free)), expected, "{permission} / {asked}");
        assert!(!allows(&rules, &caller("ada", &[]), asked, Some(&free)), "without the role: {asked}");
    }
}

#[test]
fn kea_brings_four_roles() {
    let rules = rules(vec![], vec![]);
    let free = Settings::default();
    let table = [
        ("predict:iris/predict", [true, true, false, true]),
        ("read:iris", [true, true, true, true]),
        ("deploy:iris", [true, true, false, false]),
        ("delete:iris", [true, true, false, false]),
        ("logs:iris", [true, true, true, false]),
        ("cache:iris", [true, true, false, false]),
        ("balance:iris", [true, true, false, false]),
        ("audit", [true, false, true, false]),
        ("users", [true, false, true, false]),
        ("roles", [true, false, true, false]),
        ("keys", [true, false, true, false]),
        ("metrics", [true, true, true, false]),
    ];
    for (asked, expected) in table {
        let told = ["admin", "engineer", "security", "consumer"]
            .map(|role| allows(&rules, &caller("ada", &[role]), asked, Some(&free)));
        assert_eq!(told, expected, "{asked}");
    }
}

#[test]
fn own_roles_of_a_service_win_over_general_ones() {
    let rules = rules(vec![role("caller-of-all", &["predict:*"])], vec![]);
    let settings = grades();
    let may = |role: &str, asked: &str| allows(&rules, &caller("ada", &[role]), asked, Some(&settings));
    for (role, get, set, read) in [
        ("student", true, false, true),
        ("teacher", true, true, true),
        ("consumer", false, false, true),
        ("engineer", false, false, true),
        ("caller-of-all", false, false, false),
        ("admin", true, true, true),
        ("nobody", false, false, false),
    ] {
        let told =
            (may(role, "predict:grades/get_grades"), may(role, "predict:grades/set_grades"), may(role, "read:grades"));
        assert_eq!(told, (get, set, read), "{role}");
    }
}

#[test]
fn a_function_alone_may_be_restricted() {
    let mut settings = grades();
    settings.access.roles.clear();
    let rules = rules(vec![], vec![]);
    let may = |role: &str, asked: &str| allows(&rules, &caller("ada", &[role]), asked, Some(&settings));
    assert!(may("consumer", "predict:grades/get_grades"));
    assert!(!may("consumer", "predict:grades/set_grades"));
    assert!(may("teacher", "predict:grades/set_grades"));
    assert!(!may("teacher", "predict:grades/get_grades"), "a role of one function is none of the others");
}

#[test]
fn paths_of_a_web_service_are_all_as_narrow_as_the_narrowest() {
    let settings = grades();
    let rules = rules(vec![role("one-path", &["predict:web/items"])], vec![]);
    let may = |role: &str, settings: &Settings| {
        ["predict:web/set_grades", "predict:web/set%5Fgrades", "predict:web/items"]
            .map(|asked| allows_of(&rules, &caller("ada", &[role]), asked, Some(settings), Engine::External))
    };
    assert_eq!(may("teacher", &settings), [true; 3]);
    assert_eq!(may("student", &settings), [false; 3]);
    assert_eq!(may("consumer", &settings), [false; 3]);
    assert_eq!(may("one-path", &Settings::default()), [false; 3]);
    assert_eq!(may("consumer", &Settings::default()), [true; 3]);
}

#[test]
fn a_function_is_public_unless_it_says_otherwise() {
    let access = |public, functions: &[(&str, Option<bool>, &[&str])]| Access {
        public,
        roles: Vec::new(),
        functions: functions
            .iter()
            .map(|(name, public, roles)| {
                let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
                ((*name).to_owned(), FunctionAccess { public: *public, roles })
            })
            .collect(),
    };
    let open = access(true, &[("closed", Some(false), &[]), ("of_roles", None, &["teacher"])]);
    assert!(open.is_public("other", Engine::Onnx));
    assert!(!open.is_public("closed", Engine::Onnx) && !open.is_public("of_roles", Engine::Onnx));
    assert!(!open.is_public("other", Engine::External), "its paths cannot be told apart");
    let closed = access(false, &[("open", Some(true), &[])]);
    assert!(closed.is_public("open", Engine::Onnx) && !closed.is_public("other", Engine::Onnx));
    assert!(!closed.is_public("open", Engine::External));
}

#[test]
fn bindings_give_roles_to_users_groups_and_keys() {
    let bindings = vec![
        binding("reader", SubjectKind::User, "ada"),
        binding("reader", SubjectKind::Group, "staff"),
        binding("reader", SubjectKind::Key, "k1"),
    ];
    let rules = rules(vec![role("reader", &["read:*"])], bindings);
    let read =
        |caller: &Caller| rules.grant(caller, &Ask::of_any_service(Verb::Read)).map(|grant| grant.binding.cloned());
    let bob = caller("bob", &[]);
    assert!(read(&caller("ada", &[])).flatten().is_some_and(|binding| binding.as_str() == "reader-of-ada"));
    assert!(read(&Caller { groups: ["staff".to_owned()].into(), ..bob.clone() }).is_some());
    assert!(read(&Caller { key: Some("k1".into()), ..bob.clone() }).is_some());
    assert!(read(&bob).is_none());
    assert!(read(&caller("staff", &[])).is_none(), "a group's name is no user's");
    assert!(read(&Caller { key: Some("ada".into()), ..bob }).is_none(), "a user's name is no key's");
}

#[test]
fn nobody_takes_the_name_of_a_role_of_keas_own() {
    let rules = rules(vec![role("consumer", &["*"])], vec![]);
    assert!(!allows(&rules, &caller("ada", &["consumer"]), "users", None));
}

async fn policies(roles: Vec<Role>, bindings: Vec<Binding>) -> (Policies, Arc<SqlStore>) {
    let store = Arc::new(SqlStore::open_in_memory().await.unwrap());
    let policies = Policies::open(store.clone(), store.clone()).await.unwrap();
    for role in &roles {
        policies.put_role(role).await.unwrap();
    }
    for binding in &bindings {
        policies.put_binding(binding).await.unwrap();
    }
    (policies, store)
}

#[tokio::test]
async fn scopes_take_away_and_never_give() {
    let (policies, _) = policies(vec![role("r", &["predict:iris", "read:*", "audit"])], vec![]).await;
    let may = |roles: &[&str], scopes: Option<&[&str]>, ask: Ask<'_>| {
        let scopes = scopes.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
        let caller = Caller { scopes: scopes.map(Into::into), ..caller("ada", roles) };
        policies.check(&caller, &ask).map_err(|denied| denied.to_string())
    };
    let call = |function| Ask::call("iris", function, None, Engine::Python);
    assert_eq!(may(&["r"], None, call("predict")), Ok(()));
    assert_eq!(may(&["r"], Some(&["predict:iris/predict"]), call("predict")), Ok(()));
    let told = may(&["r"], Some(&["predict:iris/predict"]), call("other")).unwrap_err();
    assert!(told.contains("`predict:iris/other` is not within the scopes"), "{told}");
    assert!(may(&["r"], Some(&[]), call("predict")).is_err(), "no scope is no permission");
    assert!(may(&["r"], Some(&["predict:iris/"]), call("predict")).is_err(), "what cannot be read allows nothing");
    assert!(may(&[], Some(&["*"]), call("predict")).is_err(), "a scope gives nothing");
    assert!(may(&["admin"], Some(&["audit"]), call("predict")).is_err(), "an admin's key is limited, too");
    assert_eq!(may(&["admin"], Some(&["*"]), Ask::of_kea(Verb::Users)), Ok(()));
    assert_eq!(may(&["r"], Some(&["read:iris", "audit"]), Ask::of_kea(Verb::Audit)), Ok(()));
}

#[tokio::test]
async fn who_is_denied_is_told_what_is_missing() {
    let (policies, _) = policies(vec![], vec![]).await;
    let settings = grades();
    let denied = |roles: &[&str], ask: Ask<'_>| policies.check(&caller("ada", roles), &ask).unwrap_err();
    let call = Ask::call("grades", "set_grades", Some(&settings), Engine::Python);
    let told = denied(&["student", "consumer"], call);
    assert_eq!(told.missing.permission().to_string(), "predict:grades/set_grades");
    assert_eq!(told.reason, "`predict:grades/set_grades` is for these roles alone: teacher");
    let told = denied(&["consumer"], Ask::of_kea(Verb::Audit));
    assert_eq!(told.reason, "`audit` is not allowed by the roles consumer");
    assert_eq!((told.missing.service, told.missing.function), (None, None));
    assert!(denied(&[], Ask::of_any_service(Verb::Read)).to_string().contains("without a role: ask an administrator"));
}

#[tokio::test]
async fn a_change_holds_at_once_here_and_soon_elsewhere() {
    let (here, store) = policies(vec![], vec![]).await;
    let there = Policies::open(store.clone(), store.clone()).await.unwrap();
    let ada = caller("ada", &[]);
    let may = |policies: &Policies| policies.check(&ada, &Ask::of_kea(Verb::Audit)).is_ok();
    let grant = binding("security", SubjectKind::User, "ada");
    here.put_binding(&grant).await.unwrap();
    assert_eq!((may(&here), may(&there)), (true, false));
    there.catch_up().await.unwrap();
    assert!(may(&there));
    assert!(there.delete_binding(&grant.name).await.unwrap());
    assert_eq!((may(&here), may(&there)), (true, false));
    here.catch_up().await.unwrap();
    assert!(!may(&here));
    store.close().await;
    assert!(here.catch_up().await.is_err());
    assert!(!may(&here), "what was read last holds");
}

#[tokio::test]
async fn local_users_have_their_own_roles() {
    let (policies, store) = policies(vec![], vec![]).await;
    let user = crate::users::new_user("ada", String::new(), vec!["security".into()]);
    store.put_user(&user).await.unwrap();
    let ada = policies.caller_named("ada").await.unwrap();
    assert!(policies.explain(&ada, &Ask::of_kea(Verb::Audit)).is_ok_and(|by| by.role == "security"));
    let nobody = policies.caller_named("bob").await.unwrap();
    assert!(policies.check(&nobody, &Ask::of_kea(Verb::Audit)).is_err());
}

fn any_permission() -> impl Strategy<Value = String> {
    let service = prop_oneof!["[a-c]", Just("*".to_owned()), Just("team=school".to_owned())];
    prop_oneof![
        Just("*".to_owned()),
        Just("audit".to_owned()),
        (0..8_usize, service.clone()).prop_map(|(verb, service)| format!("{}:{service}", Verb::ALL[verb])),
        service.prop_map(|service| format!("predict:{service}/f")),
    ]
}

proptest! {
    #[test]
    fn a_caller_without_roles_and_bindings_is_never_allowed(
        permissions in prop::collection::vec(any_permission(), 0..5),
        bound in "[a-c]",
        verb in 0..Verb::ALL.len(),
        service in "[a-c]",
        restricted: bool,
    ) {
        let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
        let rules = rules(vec![role("r", &permissions)], vec![binding("r", SubjectKind::User, &bound)]);
        let settings = if restricted { grades() } else { Settings { access: Access::default(), ..grades() } };
        let verb = Verb::ALL[verb];
        let target = Target { service: &service, function: Some("f"), settings: Some(&settings), engine: Engine::Python };
        let ask = Ask { verb, target: verb.is_of_service().then_some(target) };
        prop_assert!(rules.grant(&caller("nobody", &[]), &ask).is_none());
        prop_assert!(!rules.may_somewhere(&caller("nobody", &[]), verb));
    }

    #[test]
    fn whoever_is_allowed_something_may_do_so_somewhere(
        permissions in prop::collection::vec(any_permission(), 0..5),
        verb in 0..Verb::ALL.len(),
        service in "[a-c]",
    ) {
        let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
        let rules = rules(vec![role("r", &permissions)], vec![]);
        let settings = Settings { access: Access::default(), ..grades() };
        let verb = Verb::ALL[verb];
        let target = Target { service: &service, function: Some("f"), settings: Some(&settings), engine: Engine::Python };
        let ask = Ask { verb, target: verb.is_of_service().then_some(target) };
        let ada = caller("ada", &["r"]);
        prop_assert!(rules.grant(&ada, &ask).is_none() || rules.may_somewhere(&ada, verb));
    }
}
