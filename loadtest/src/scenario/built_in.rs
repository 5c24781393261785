//! The scenarios that need no file. PURE.

/// By name, in the order in which they are listed.
const BUILT_IN: &[(&str, &str)] = &[
    ("baseline", include_str!("../../scenarios/baseline.toml")),
    ("moderate", include_str!("../../scenarios/moderate.toml")),
    ("high", include_str!("../../scenarios/high.toml")),
    ("extreme", include_str!("../../scenarios/extreme.toml")),
    ("ramp", include_str!("../../scenarios/ramp.toml")),
    ("spike", include_str!("../../scenarios/spike.toml")),
    ("endurance", include_str!("../../scenarios/endurance.toml")),
    ("churn", include_str!("../../scenarios/churn.toml")),
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("fanout", include_str!("../../scenarios/fanout.toml")),
    ("burst", include_str!("../../scenarios/burst.toml")),
    ("orders", include_str!("../../scenarios/orders.toml")),
    ("mixed", include_str!("../../scenarios/mixed.toml")),
    ("reconnect-storm", include_str!("../../scenarios/reconnect-storm.toml")),
    ("echo", include_str!("../../scenarios/echo.toml")),
];

/// Of `--quick`, each in its short form.
pub(crate) const QUICK: [&str; 4] = ["baseline", "moderate", "high", "extreme"];
/// The measured time of a short form, in seconds: all four with their warm-ups stay below three minutes.
pub(crate) const QUICK_S: f64 = 15.0;

pub(crate) fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// The text of one.
pub(crate) fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    use super::*;

    #[test]
    fn every_scenario_holds_has_its_own_name_and_says_what_it_is() {
        for name in names() {
            let scenario =
                Scenario::parse(built_in(name).unwrap()).unwrap_or_else(|flaw| panic!("{name}: {flaw}"));
            assert_eq!(scenario.name, name);
            assert!(!scenario.about.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_short_forms_are_all_built_in() {
        assert!(QUICK.iter().all(|name| built_in(name).is_some()));
    }
}
