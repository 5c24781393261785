//! The subjects of a node beside those of parts (`cluster/names.rs`), and what inboxes begin with. Who may publish and subscribe to which stands in
//! `docs/scaling/nats.conf`.
//!
//! Home: the thread that speaks to NATS. Invariant: all are below `tickring.CLUSTER.`, so that one permission holds them.

use async_nats::Subject;

use crate::cluster::names::ClusterName;

/// Of a `u64`.
const NUMBER_CHARS_MAX: usize = 20;

/// See the file's head.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    /// Whoever owns the market hears requests there.
    pub(super) requests: Subject,
    /// This process hears answers there.
    pub(super) replies: Subject,
    /// This process hears itself there.
    pub(super) echoes: Subject,
    /// All nodes tell each other there which kept results hold no more.
    pub(super) notices: Subject,
    /// What every node's `replies` begin with.
    replies_prefix: String,
}

impl Subjects {
    pub(super) fn new(cluster: &ClusterName, node: &ClusterName, incarnation: u64) -> Subjects {
        let replies_prefix = format!("tickring.{cluster}.reply.");
        Subjects {
            requests: Subject::from(format!("tickring.{cluster}.owner")),
            replies: Subject::from(format!("{replies_prefix}{node}.{incarnation}")),
            echoes: Subject::from(format!("tickring.{cluster}.echo.{node}.{incarnation}")),
            notices: Subject::from(format!("tickring.{cluster}.notices")),
            replies_prefix,
        }
    }

    /// Whether a node of this cluster may hear answers there: else a request would have its owner publish anywhere.
    pub(super) fn is_for_replies(&self, subject: &str) -> bool {
        let Some((node, incarnation)) =
            subject.strip_prefix(&self.replies_prefix).and_then(|rest| rest.split_once('.'))
        else {
            return false;
        };
        let is_number = incarnation.len() <= NUMBER_CHARS_MAX && incarnation.parse::<u64>().is_ok();
        ClusterName::parse(node.as_bytes()).is_some() && is_number
    }
}

/// What the subjects begin with at which a node is answered by JetStream.
pub(super) fn inboxes(cluster: &ClusterName, node: &ClusterName) -> String {
    format!("tickring.{cluster}.inbox.{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_nodes_of_the_cluster_alone() {
        let name = |text: &str| ClusterName::parse(text.as_bytes()).unwrap();
        let subjects = Subjects::new(&name("prod"), &name("a"), 7);
        assert!(subjects.is_for_replies(&subjects.replies));
        assert!(subjects.is_for_replies("tickring.prod.reply.other-node.18446744073709551615"));
        for elsewhere in [
            "",
            "tickring.prod.owner",
            "tickring.prod.reply.a",
            "tickring.prod.reply.a.7.more",
            "tickring.prod.reply.*.7",
            "tickring.prod.reply.a.>",
            "tickring.prod.reply.a.000000000000000000007",
            "tickring.test.reply.a.7",
            "$JS.API.STREAM.DELETE.KV_tickring_prod",
        ] {
            assert!(!subjects.is_for_replies(elsewhere), "{elsewhere}");
        }
    }
}
