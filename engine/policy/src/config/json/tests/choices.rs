//! Which of several service configs a client takes.

use crate::config::{Client, ServiceConfig};

const CLIENT: Client<'static> = Client { language: "rust", hostname: "web-1", roll: 50 };

#[test]
fn the_first_choice_that_is_meant_for_the_client_counts() {
    let chosen = |criteria: &str| {
        let text = format!(
            r#"[{{{criteria} "serviceConfig": {{"loadBalancingPolicy": "random"}}}},
                {{"clientLanguage": [], "clientHostname": null, "serviceConfig": {{}}}}]"#
        );
        let config = ServiceConfig::choose(&text, &CLIENT).unwrap().expect("the second is for all");
        config.balancer.is_some()
    };
    for (criteria, expected) in [
        ("", true),
        (r#""clientLanguage": ["go", "RUST"],"#, true),
        (r#""clientLanguage": ["go"],"#, false),
        (r#""clientHostname": ["web-1"],"#, true),
        (r#""clientHostname": ["WEB-1", "web-10"],"#, false),
        (r#""percentage": 51,"#, true),
        (r#""percentage": 50,"#, false),
        (r#""percentage": 100,"#, true),
        (r#""percentage": 0,"#, false),
        (r#""clientLanguage": ["rust"], "percentage": 1,"#, false),
    ] {
        assert_eq!(chosen(criteria), expected, "{criteria}");
    }
    assert_eq!(ServiceConfig::choose("[]", &CLIENT), Ok(None));
    let none = r#"[{"percentage": 0, "serviceConfig": {}}]"#;
    assert_eq!(ServiceConfig::choose(none, &CLIENT), Ok(None));
}

#[test]
fn a_percentage_is_of_the_clients() {
    let text = r#"[{"percentage": 30, "serviceConfig": {}}]"#;
    let is_meant = |roll| ServiceConfig::choose(text, &Client { roll, ..CLIENT }).unwrap().is_some();
    assert_eq!((0..100).filter(|roll| is_meant(*roll)).count(), 30);
}

#[test]
fn bad_choices_are_refused() {
    for (text, expected) in [
        ("{}", "service config: must be a list, is an object"),
        ("[1]", "[0]: must be an object, is 1"),
        (
            r#"[{"serviceConfig": {}}, {"clientlanguage": []}]"#,
            "[1].clientlanguage: is no criterion of a choice: there are clientLanguage, clientHostname and percentage",
        ),
        ("[{}]", "[0].serviceConfig: is missing, and is required"),
        (r#"[{"serviceConfig": 1}]"#, "[0].serviceConfig: must be an object, is 1"),
        (
            r#"[{"percentage": 101, "serviceConfig": {}}]"#,
            "[0].percentage: must be a whole number from 0 to 100, is 101",
        ),
        (
            r#"[{"clientLanguage": "rust", "serviceConfig": {}}]"#,
            "[0].clientLanguage: must be a list, is \"rust\"",
        ),
        (
            r#"[{"clientHostname": [1], "serviceConfig": {}}]"#,
            "[0].clientHostname[0]: must be a string, is 1",
        ),
        (
            r#"[{"serviceConfig": {"methodConfig": [{"name": [{}, {}]}]}}]"#,
            "[0].serviceConfig.methodConfig[0].name[1]: is for the default, as methodConfig[0].name[0] is: keep one of them",
        ),
    ] {
        assert_eq!(ServiceConfig::choose(text, &CLIENT).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_config_that_is_not_chosen_may_be_wrong() {
    let text = r#"[{"percentage": 0, "serviceConfig": {"methodConfig": 1}}, {"serviceConfig": {}},
                   {"serviceConfig": {"methodConfig": 1}}]"#;
    assert_eq!(ServiceConfig::choose(text, &CLIENT), Ok(Some(ServiceConfig::default())));
}
