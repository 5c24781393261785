//! The `[log]` table: what is logged, and into which file besides. Home: the main thread.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::keys::distance;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Letters by which a word is a level misspelt, and no module's name.
const LETTERS_MISSPELT: usize = 2;

/// What goes to stderr and to `/api/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As `RUST_LOG` has it: a level, and levels of modules.
    pub filter: String,
    /// A file besides; empty for none.
    pub file: PathBuf,
}

impl Default for Log {
    fn default() -> Log {
        Log { filter: "info".to_owned(), file: PathBuf::new() }
    }
}

impl Log {
    /// The file, if there is to be one.
    #[must_use]
    pub fn file_path(&self) -> Option<&Path> {
        (!self.file.as_os_str().is_empty()).then_some(self.file.as_path())
    }

    /// The first part of the filter that is none.
    pub(super) fn odd_part(&self) -> Option<&str> {
        let is_level = |text: &str| text.parse::<log::LevelFilter>().is_ok();
        let is_module = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
        };
        // A regular expression behind a slash is what env_logger has besides.
        let levels = self.filter.split('/').next().unwrap_or_default();
        let parts = || levels.split(',').map(str::trim).filter(|part| !part.is_empty());
        let says_what_of_ours = |part: &str| is_level(part) || part.starts_with("tickring");
        let has_ours = parts().any(says_what_of_ours);
        let is_misspelt = |part: &str| {
            LEVELS.into_iter().any(|level| distance(level, &part.to_ascii_lowercase()) <= LETTERS_MISSPELT)
        };
        parts().find(|part| match part.split_once('=') {
            Some((module, level)) => !is_module(module.trim()) || !is_level(level.trim()),
            // A module alone is all of it. A word that is near a level is that one misspelt, and so is one that leaves nothing of ours.
            None => !says_what_of_ours(part) && (!has_ours || !is_module(part) || is_misspelt(part)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_levels_of_modules_are_a_filter_and_a_misspelt_one_is_not() {
        let odd =
            |filter: &str| Log { filter: filter.to_owned(), ..Log::default() }.odd_part().map(str::to_owned);
        for good in [
            "",
            "info",
            "WARN",
            "off",
            "info,tickring::hub=debug",
            "tickring::shard",
            "warn,tickring=trace/client",
            "info,hyper",
            "hyper_util::rt,debug",
            "tickring,glommio",
        ] {
            assert_eq!(odd(good), None, "{good}");
        }
        for (bad, part) in [
            ("verbose", "verbose"),
            ("info,tickring=loud", "tickring=loud"),
            ("=info", "=info"),
            ("hyper", "hyper"),
            ("info,degub", "degub"),
            ("info,a b", "a b"),
        ] {
            assert_eq!(odd(bad).as_deref(), Some(part));
        }
    }
}
