//! Authorities of several nodes and one bucket, each by hand: who is let in where, what becomes of a session, what is told while the bucket does not answer.

use std::collections::BTreeMap;

use super::*;

/// What a key-value bucket does, in order, and what it tells of that.
#[derive(Default)]
struct Bucket {
    /// Each key's revision, and what it holds since then.
    keys: BTreeMap<SessionKey, (u64, Option<String>)>,
    revision: u64,
    changes: Vec<SessionKey>,
    is_away: bool,
    /// So many writes to come are done, and not answered; then as many are neither.
    answers_lost: usize,
    writes_lost: usize,
}

impl Bucket {
    fn answer(&mut self, BucketRequest { key, wanted }: BucketRequest) -> BucketAnswer {
        if self.is_away {
            return BucketAnswer::Unknown;
        }
        match wanted {
            Wanted::Read { .. } => {
                let (revision, text) = self.keys.get(&key).cloned().unwrap_or_default();
                let value = text.and_then(|text| SessionValue::parse(key, text.as_bytes()));
                BucketAnswer::Holds { revision, value: value.map(Box::new) }
            }
            Wanted::Write { text, revision, lasts_s } => {
                assert!(lasts_s > 0);
                self.write(key, revision, Some(text))
            }
            Wanted::Delete { revision } => self.write(key, revision, None),
        }
    }

    fn write(&mut self, key: SessionKey, revision: u64, text: Option<String>) -> BucketAnswer {
        if self.writes_lost > 0 {
            self.writes_lost -= 1;
            return BucketAnswer::Unknown;
        }
        if self.keys.get(&key).map_or(0, |(last, _)| *last) != revision {
            return BucketAnswer::Refused;
        }
        self.put(key, text);
        if self.answers_lost > 0 {
            self.answers_lost -= 1;
            return BucketAnswer::Unknown;
        }
        BucketAnswer::Written { revision: self.revision }
    }

    fn put(&mut self, key: SessionKey, text: Option<String>) {
        self.revision += 1;
        self.keys.insert(key, (self.revision, text));
        self.changes.push(key);
    }

    fn seen(&self, key: SessionKey) -> BucketWord {
        let (revision, text) = self.keys[&key].clone();
        let value = text.and_then(|text| SessionValue::parse(key, text.as_bytes()));
        BucketWord::Seen { key, revision, value: value.map(Box::new) }
    }

    fn count(&self) -> usize {
        self.keys.values().filter(|(_, text)| text.is_some()).count()
    }
}

struct Cluster {
    bucket: Bucket,
    nodes: Vec<World>,
    /// How many changes each has been told.
    told: Vec<usize>,
    /// What each has told its shards to be over.
    ended: Vec<Vec<GrantId>>,
    entropy: u16,
}

impl Cluster {
    fn new(count: usize) -> Cluster {
        let nodes = (0..count).map(|number| {
            let mut world = World::new();
            world.origin.shard = u8::try_from(number).unwrap();
            world.authority.share_sessions();
            world
        });
        let mut cluster = Cluster {
            bucket: Bucket::default(),
            nodes: nodes.collect(),
            told: vec![0; count],
            ended: vec![Vec::new(); count],
            entropy: 0,
        };
        (0..count).for_each(|node| cluster.watch(node));
        cluster
    }

    /// A node is told all that there is, as after a connection.
    fn watch(&mut self, node: usize) {
        let all: Vec<BucketWord> = self.bucket.keys.keys().map(|key| self.bucket.seen(*key)).collect();
        for word in [BucketWord::Began].into_iter().chain(all).chain([BucketWord::Complete]) {
            self.say(node, word);
        }
        self.told[node] = self.bucket.changes.len();
    }

    fn say(&mut self, node: usize, word: BucketWord) {
        let world = &mut self.nodes[node];
        world.authority.handle_bucket_word(word, world.now);
        self.ended[node].extend(std::iter::from_fn(|| world.authority.poll_ended()));
    }

    /// Each node is told what has changed, and what is to be ended is.
    fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            self.end(node);
        }
        for node in 0..self.nodes.len() {
            for at in std::mem::replace(&mut self.told[node], self.bucket.changes.len())..self.told[node] {
                self.say(node, self.bucket.seen(self.bucket.changes[at]));
            }
        }
    }

    /// What a node is to end is ended, if the bucket answers.
    fn end(&mut self, node: usize) {
        let authority = &mut self.nodes[node].authority;
        let due: Vec<Ending> = std::iter::from_fn(|| authority.poll_ending()).collect();
        for ending in due {
            let mut next = Some(ending);
            while let Some(ending) = next {
                let answer = self.bucket.answer(ending.request());
                next = authority.proceed_ending(ending, answer);
            }
        }
        self.ended[node].extend(std::iter::from_fn(|| authority.poll_ended()));
    }

    fn begin(&mut self, node: usize, proof: Proof, scope: &str) -> Judged {
        self.entropy += 1;
        let number = self.entropy.to_be_bytes();
        let mut entropy: Entropy = [[0; 32], [1; 32]];
        entropy.iter_mut().for_each(|random| random[..2].copy_from_slice(&number));
        let world = &mut self.nodes[node];
        let request = Request { proof, scope: ScopeRequest::parse(scope).unwrap(), origin: world.origin };
        world.authority.judge(&request, world.now, &entropy)
    }

    /// One request and its answer.
    fn step(&mut self, node: usize, judged: Judged) -> Judged {
        let Judged::Asks(inquiry) = judged else { return judged };
        let answer = self.bucket.answer(inquiry.request());
        let world = &mut self.nodes[node];
        world.authority.proceed(inquiry, answer, world.now)
    }

    fn judge(&mut self, node: usize, proof: Proof, scope: &str) -> Verdict {
        let mut judged = self.begin(node, proof, scope);
        loop {
            match judged {
                Judged::Verdict(verdict) => {
                    let authority = &mut self.nodes[node].authority;
                    self.ended[node].extend(std::iter::from_fn(|| authority.poll_ended()));
                    return verdict;
                }
                Judged::Asks(_) => judged = self.step(node, judged),
            }
        }
    }

    fn granted(&mut self, node: usize, proof: Proof, scope: &str) -> (Login, Tokens) {
        match self.judge(node, proof, scope) {
            Verdict::Granted { login, tokens } => (*login, *tokens.expect("it makes tokens")),
            Verdict::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn refused(&mut self, node: usize, proof: Proof) -> Option<Refusal> {
        match self.judge(node, proof, "") {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Granted { .. } => None,
        }
    }

    /// By its key.
    fn open(&mut self, node: usize, name: &str) -> (Login, Tokens) {
        self.granted(node, by_secret("hmac", "s3cret"), &format!("session:{name}"))
    }

    /// By an access token.
    fn enter(&mut self, node: usize, tokens: &Tokens) -> GrantId {
        match self.judge(node, bearer(&tokens.access), "") {
            Verdict::Granted { login, tokens: None } => login.named_grant().unwrap(),
            other @ (Verdict::Granted { .. } | Verdict::Refused(_)) => panic!("{other:?}"),
        }
    }

    fn replace_keys(&mut self, node: usize, keys: Vec<Credential>) {
        self.nodes[node].authority.replace(Arc::new(Keyring::new(keys).unwrap()));
    }

    fn wait_s(&mut self, seconds: u64) {
        self.nodes.iter_mut().for_each(|node| node.wait_s(seconds));
    }
}

#[test]
fn a_session_of_one_node_goes_on_on_another_and_a_used_token_ends_it_everywhere() {
    let mut cluster = Cluster::new(3);
    let (login, first) = cluster.open(0, "desk");
    assert_eq!((login.session.as_deref(), first.expires_in_s), (Some("desk"), 900));
    let (renewed, second) = cluster.granted(1, refresh(&first.refresh), "");
    assert_eq!(renewed.scopes, login.scopes);
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(cluster.refused(0, bearer(&first.access)), Some(Refusal::Token), "there is a newer one");
    let on_each: Vec<GrantId> = (0..3).map(|node| cluster.enter(node, &second)).collect();
    cluster.settle();
    assert!(cluster.ended.iter().all(Vec::is_empty), "{:?}", cluster.ended);
    assert_eq!(cluster.refused(0, refresh(&first.refresh)), Some(Refusal::Token), "it was used");
    for node in 0..3 {
        assert_eq!(cluster.refused(node, bearer(&second.access)), Some(Refusal::Token));
        assert_eq!(cluster.refused(node, refresh(&second.refresh)), Some(Refusal::Token));
    }
    cluster.settle();
    assert_eq!(cluster.ended, on_each.iter().map(|id| vec![*id]).collect::<Vec<_>>());
    assert_eq!(cluster.bucket.count(), 0);
}

#[test]
fn of_two_nodes_that_renew_by_one_token_exactly_one_does_however_they_come_together() {
    // How many of its steps the first has done when the second begins.
    for ahead in 0..4 {
        let mut cluster = Cluster::new(2);
        let (_, first) = cluster.open(0, "desk");
        let mut judged = [0, 1].map(|node| cluster.begin(node, refresh(&first.refresh), ""));
        for _ in 0..ahead {
            judged[0] = cluster.step(0, judged[0].clone());
        }
        while judged.iter().any(|judged| matches!(judged, Judged::Asks(_))) {
            for node in [1, 0] {
                judged[node] = cluster.step(node, judged[node].clone());
            }
        }
        let granted =
            judged.iter().filter(|judged| matches!(judged, Judged::Verdict(Verdict::Granted { .. })));
        assert_eq!(granted.count(), 1, "{ahead}: {judged:?}");
        assert!(judged.contains(&Judged::Verdict(Verdict::Refused(Refusal::Token))), "{judged:?}");
        assert_eq!(cluster.bucket.count(), 0, "two have had the token, as on one node");
    }
}

#[test]
fn a_used_token_ends_its_session_though_another_renews_it_as_often_as_it_is_tried() {
    let mut cluster = Cluster::new(2);
    let (_, first) = cluster.open(0, "desk");
    let (_, mut newest) = cluster.granted(1, refresh(&first.refresh), "");
    let mut judged = cluster.begin(0, refresh(&first.refresh), "");
    let mut renewals = 0;
    while let Judged::Asks(inquiry) = &judged {
        if matches!(inquiry.request().wanted, Wanted::Delete { .. }) {
            newest = cluster.granted(1, refresh(&newest.refresh), "").1;
            renewals += 1;
        }
        judged = cluster.step(0, judged);
    }
    assert_eq!(judged, Judged::Verdict(Verdict::Refused(Refusal::Token)));
    assert_eq!(renewals, crate::limits::SESSION_REQUESTS_MAX / 2);
    cluster.settle();
    assert_eq!(cluster.refused(1, bearer(&newest.access)), Some(Refusal::Token));
    assert_eq!(cluster.bucket.count(), 0);
}

#[test]
fn a_name_that_is_taken_again_on_another_node_ends_the_session_before() {
    let mut cluster = Cluster::new(2);
    let (before, lost) = cluster.open(0, "desk");
    let (after, tokens) = cluster.open(1, "desk");
    let elsewhere = cluster.enter(0, &tokens);
    assert_ne!(Some(elsewhere), before.grant);
    assert_eq!(cluster.refused(0, refresh(&lost.refresh)), Some(Refusal::Token));
    cluster.settle();
    assert_eq!(cluster.ended, [vec![before.grant.unwrap()], Vec::new()]);
    // Its used token is of another family: it ends nothing.
    assert_eq!(cluster.enter(1, &tokens), after.grant.unwrap());
}

#[test]
fn who_logs_out_of_a_session_ends_it_on_all_nodes_and_never_one_that_took_its_name() {
    let mut cluster = Cluster::new(2);
    let (_, tokens) = cluster.open(0, "desk");
    let (there, here) = (cluster.enter(0, &tokens), cluster.enter(1, &tokens));
    cluster.settle();
    cluster.nodes[1].authority.forget(here);
    assert_eq!(cluster.refused(1, bearer(&tokens.access)), Some(Refusal::Token), "at once");
    cluster.settle();
    assert_eq!(cluster.refused(0, bearer(&tokens.access)), Some(Refusal::Token));
    assert_eq!((cluster.ended[0].clone(), cluster.ended[1].clone()), (vec![there], vec![here]));
    // It is over already, and the name is another's by the time that the bucket is asked.
    let (old, _) = cluster.open(0, "desk");
    let (_, tokens) = cluster.open(1, "desk");
    cluster.nodes[0].authority.forget(old.grant.unwrap());
    cluster.settle();
    assert!(!cluster.nodes[0].authority.has_endings());
    cluster.enter(0, &tokens);
}

#[test]
fn while_the_bucket_does_not_answer_keys_and_connections_log_in_and_sessions_are_refused_and_unharmed() {
    let mut cluster = Cluster::new(2);
    let (_, tokens) = cluster.open(0, "desk");
    let (_, held) = cluster.granted(0, by_secret("hmac", "s3cret"), "");
    cluster.bucket.is_away = true;
    cluster.say(0, BucketWord::Lost);
    let (_, held) = cluster.granted(0, refresh(&held.refresh), "");
    assert_eq!(cluster.refused(0, by_secret("bearer", "b3arer")), None);
    let away = Verdict::Refused(Refusal::SessionsAway);
    assert_eq!(cluster.judge(0, refresh(&tokens.refresh), ""), away);
    assert_eq!(cluster.judge(0, bearer(&tokens.access), ""), away);
    assert_eq!(cluster.judge(0, by_secret("hmac", "s3cret"), "session:desk"), away);
    cluster.bucket.is_away = false;
    // Before all is told again, ends could not be.
    assert_eq!(cluster.judge(0, refresh(&tokens.refresh), ""), away);
    cluster.watch(0);
    cluster.granted(0, refresh(&tokens.refresh), "");
    cluster.granted(0, refresh(&held.refresh), "");
}

#[test]
fn ends_that_were_missed_are_told_when_all_is_read_again() {
    let mut cluster = Cluster::new(2);
    let (goes, lost) = cluster.open(0, "goes");
    let (stays, kept) = cluster.open(0, "stays");
    let (taken, _) = cluster.open(0, "taken");
    let (expires, _) = cluster.open(0, "expires");
    cluster.settle();
    cluster.say(0, BucketWord::Lost);
    let there = cluster.enter(1, &lost);
    cluster.nodes[1].authority.forget(there);
    cluster.end(1);
    cluster.open(1, "taken");
    cluster.bucket.keys.remove(&SessionKey::of("hmac", "expires"));
    cluster.granted(1, refresh(&kept.refresh), "");
    assert_eq!(cluster.ended[0], []);
    cluster.watch(0);
    let mut ended = cluster.ended[0].clone();
    ended.sort_unstable();
    assert_eq!(ended, [goes.grant, taken.grant, expires.grant].map(Option::unwrap));
    assert!(!ended.contains(&stays.grant.unwrap()));
    // Another bucket of the same name begins with other revisions.
    cluster.bucket = Bucket::default();
    cluster.told = vec![0; 2];
    cluster.watch(0);
    assert!(cluster.ended[0].contains(&stays.grant.unwrap()));
    cluster.watch(1);
    cluster.open(1, "stays");
}

#[test]
fn a_renewal_whose_answer_is_lost_is_found_and_one_that_was_not_done_is_done_once() {
    for is_done in [true, false] {
        let mut cluster = Cluster::new(2);
        let (_, first) = cluster.open(0, "desk");
        let lost = if is_done { &mut cluster.bucket.answers_lost } else { &mut cluster.bucket.writes_lost };
        *lost = 1;
        let (_, second) = cluster.granted(1, refresh(&first.refresh), "");
        assert_eq!(cluster.bucket.revision, 2, "written once");
        cluster.granted(0, refresh(&second.refresh), "");
    }
}

#[test]
fn a_renewal_of_which_nobody_knows_says_so_and_the_key_makes_the_session_anew() {
    let mut cluster = Cluster::new(2);
    let (_, first) = cluster.open(0, "desk");
    let judged = cluster.begin(0, refresh(&first.refresh), "");
    let judged = cluster.step(0, judged);
    cluster.bucket.answers_lost = 1;
    let mut judged = cluster.step(0, judged);
    cluster.bucket.is_away = true;
    let mut requests = 2;
    while let Judged::Asks(inquiry) = &judged {
        assert_eq!(inquiry.request().wanted, Wanted::Read { waits: true });
        requests += 1;
        judged = cluster.step(0, judged);
    }
    assert_eq!(judged, Judged::Verdict(Verdict::Refused(Refusal::SessionUnknown)));
    assert_eq!(requests, usize::from(crate::limits::SESSION_REQUESTS_MAX));
    cluster.bucket.is_away = false;
    // It was done: the token counts as used, and the session ends; the key makes another.
    assert_eq!(cluster.refused(1, refresh(&first.refresh)), Some(Refusal::Token));
    cluster.open(1, "desk");
}

#[test]
fn a_session_that_may_have_been_made_for_nobody_is_ended_when_the_bucket_answers() {
    let mut cluster = Cluster::new(2);
    let judged = cluster.begin(0, by_secret("hmac", "s3cret"), "session:desk");
    let judged = cluster.step(0, judged);
    cluster.bucket.answers_lost = 1;
    let mut judged = cluster.step(0, judged);
    cluster.bucket.is_away = true;
    // Its time is over before its requests are.
    cluster.nodes[0].now.mono_ns += crate::limits::SESSION_INQUIRY_NS_MAX;
    judged = cluster.step(0, judged);
    assert_eq!(judged, Judged::Verdict(Verdict::Refused(Refusal::SessionUnknown)));
    cluster.settle();
    assert!(cluster.nodes[0].authority.has_endings(), "it is tried until it is known");
    cluster.bucket.is_away = false;
    assert_eq!(cluster.bucket.count(), 1);
    cluster.settle();
    assert_eq!((cluster.bucket.count(), cluster.nodes[0].authority.has_endings()), (0, false));
}

#[test]
fn a_logout_while_the_bucket_is_away_ends_the_session_here_at_once_and_there_when_it_is_back() {
    let mut cluster = Cluster::new(2);
    let (login, tokens) = cluster.open(0, "desk");
    let elsewhere = cluster.enter(1, &tokens);
    cluster.settle();
    cluster.bucket.is_away = true;
    cluster.nodes[0].authority.forget(login.grant.unwrap());
    cluster.settle();
    assert_eq!(cluster.ended, [vec![login.grant.unwrap()], Vec::new()]);
    cluster.bucket.is_away = false;
    // Not even before the bucket knows.
    assert_eq!(cluster.refused(0, bearer(&tokens.access)), Some(Refusal::Token));
    cluster.settle();
    assert_eq!(cluster.ended[1], [elsewhere]);
    assert_eq!(cluster.bucket.count(), 0);
}

#[test]
fn a_bucket_that_refuses_whatever_is_written_is_not_asked_for_ever_and_the_end_is_kept() {
    let mut cluster = Cluster::new(1);
    let (login, _) = cluster.open(0, "desk");
    let authority = &mut cluster.nodes[0].authority;
    authority.forget(login.grant.unwrap());
    let (mut next, mut deletions) = (authority.poll_ending(), 0);
    while let Some(ending) = next {
        let request = ending.request();
        let answer = if matches!(request.wanted, Wanted::Delete { .. }) {
            deletions += 1;
            assert!(deletions < 10, "it is asked for ever");
            BucketAnswer::Refused
        } else {
            cluster.bucket.answer(request)
        };
        next = authority.proceed_ending(ending, answer);
    }
    assert!(deletions > 1 && authority.has_endings());
    cluster.settle();
    assert_eq!((cluster.bucket.count(), cluster.nodes[0].authority.has_endings()), (0, false));
}

#[test]
fn a_log_out_is_not_forgotten_for_a_session_of_that_name_that_may_never_have_been_made() {
    let mut cluster = Cluster::new(2);
    let (login, tokens) = cluster.open(0, "desk");
    cluster.settle();
    let judged = cluster.begin(0, by_secret("hmac", "s3cret"), "session:desk");
    let judged = cluster.step(0, judged);
    cluster.nodes[0].authority.forget(login.grant.unwrap());
    cluster.bucket.writes_lost = 1;
    let judged = cluster.step(0, judged);
    cluster.bucket.is_away = true;
    cluster.nodes[0].now.mono_ns += crate::limits::SESSION_INQUIRY_NS_MAX;
    let judged = cluster.step(0, judged);
    assert_eq!(judged, Judged::Verdict(Verdict::Refused(Refusal::SessionUnknown)));
    cluster.bucket.is_away = false;
    cluster.settle();
    assert_eq!((cluster.bucket.count(), cluster.nodes[0].authority.has_endings()), (0, false));
    assert_eq!(cluster.refused(1, refresh(&tokens.refresh)), Some(Refusal::Token));
}

#[test]
fn who_renews_a_session_while_it_is_logged_out_of_is_not_let_in_by_it() {
    let mut cluster = Cluster::new(1);
    let (login, tokens) = cluster.open(0, "desk");
    let judged = cluster.begin(0, refresh(&tokens.refresh), "");
    let judged = cluster.step(0, judged);
    cluster.nodes[0].authority.forget(login.grant.unwrap());
    let judged = cluster.step(0, judged);
    assert_eq!(judged, Judged::Verdict(Verdict::Refused(Refusal::Token)));
    cluster.settle();
    assert_eq!((cluster.bucket.count(), cluster.nodes[0].authority.has_endings()), (0, false));
}

#[test]
fn a_key_has_sixteen_sessions_over_all_nodes_as_far_as_each_was_told() {
    let mut cluster = Cluster::new(2);
    for number in 0..16 {
        cluster.open(number % 2, &format!("s{number}"));
        cluster.settle();
    }
    for node in 0..2 {
        let verdict = cluster.judge(node, by_secret("hmac", "s3cret"), "session:more");
        assert_eq!(verdict, Verdict::Refused(Refusal::TooManySessions));
    }
    cluster.open(1, "s0");
    assert_eq!(cluster.refused(0, by_secret("bearer", "b3arer")), None, "another key's are not counted");
    // Those that are over make room.
    cluster.wait_s(604_800);
    cluster.open(0, "more");
}

#[test]
fn who_takes_the_name_of_its_own_session_is_in_the_new_one_before_the_end_of_the_old_is_told() {
    let mut cluster = Cluster::new(1);
    let (before, _) = cluster.open(0, "desk");
    cluster.settle();
    let judged = cluster.begin(0, by_secret("hmac", "s3cret"), "session:desk");
    let Judged::Asks(inquiry) = cluster.step(0, judged) else { panic!() };
    let answer = cluster.bucket.answer(inquiry.request());
    // It is told of before it is answered.
    cluster.settle();
    assert_eq!(cluster.ended[0], []);
    let now = cluster.nodes[0].now;
    let authority = &mut cluster.nodes[0].authority;
    let judged = authority.proceed(inquiry, answer, now);
    let Judged::Verdict(Verdict::Granted { login, .. }) = judged else { panic!("{judged:?}") };
    assert_ne!(login.grant, before.grant);
    assert_eq!((authority.poll_ended(), authority.poll_ended()), (before.grant, None));
}

#[test]
fn of_sessions_that_are_opened_at_once_on_one_node_a_key_has_sixteen_too() {
    let mut cluster = Cluster::new(1);
    let open = |cluster: &mut Cluster, number: usize| {
        let judged = cluster.begin(0, by_secret("hmac", "s3cret"), &format!("session:s{number}"));
        cluster.step(0, judged)
    };
    let under_way: Vec<Judged> = (0..16).map(|number| open(&mut cluster, number)).collect();
    let too_many = Judged::Verdict(Verdict::Refused(Refusal::TooManySessions));
    assert_eq!(open(&mut cluster, 16), too_many);
    // The same name twice is one.
    assert!(matches!(open(&mut cluster, 3), Judged::Asks(_)));
    for (number, judged) in under_way.into_iter().enumerate() {
        // One of them is not made.
        cluster.bucket.is_away = number == 15;
        let mut judged = cluster.step(0, judged);
        while matches!(judged, Judged::Asks(_)) {
            judged = cluster.step(0, judged);
        }
        assert_eq!(matches!(judged, Judged::Verdict(Verdict::Granted { .. })), number < 15);
    }
    cluster.bucket.is_away = false;
    cluster.settle();
    assert!(matches!(open(&mut cluster, 16), Judged::Asks(_)), "there is room for one");
    assert_eq!(open(&mut cluster, 17), too_many);
}

#[test]
fn a_key_that_is_changed_or_gone_has_no_session_any_more_on_any_node() {
    let mut cluster = Cluster::new(2);
    let (_, tokens) = cluster.open(0, "desk");
    let (other, others) = cluster.granted(0, by_secret("bearer", "b3arer"), "session:desk");
    cluster.settle();
    let elsewhere = cluster.enter(1, &tokens);
    let mut changed = keys();
    changed[0].publish = Patterns::new(["more.*"]);
    cluster.replace_keys(0, changed.clone());
    assert_eq!(cluster.refused(0, bearer(&tokens.access)), Some(Refusal::Token));
    assert_eq!(cluster.ended[0], [], "the keys tell it");
    cluster.settle();
    assert_eq!(cluster.ended[1], [elsewhere], "whose node has the old keys still");
    assert_eq!(cluster.refused(1, refresh(&tokens.refresh)), Some(Refusal::Token));
    // One by the new key is none where the old one holds, and both are where it is known.
    let (_, newer) = cluster.open(0, "desk");
    assert_eq!(cluster.refused(1, bearer(&newer.access)), Some(Refusal::Token));
    cluster.replace_keys(1, changed);
    cluster.settle();
    cluster.enter(1, &newer);
    assert_eq!(cluster.enter(0, &others), other.grant.unwrap());
}

#[test]
fn a_key_that_is_changed_while_the_bucket_is_asked_lets_nobody_in() {
    let mut cluster = Cluster::new(1);
    let judged = cluster.begin(0, by_secret("hmac", "s3cret"), "session:desk");
    let judged = cluster.step(0, judged);
    let mut without = keys();
    without.remove(0);
    cluster.replace_keys(0, without);
    let judged = cluster.step(0, judged);
    assert_eq!(judged, Judged::Verdict(Verdict::Refused(Refusal::Credentials)));
    cluster.settle();
    assert_eq!(cluster.bucket.count(), 0);
}

#[test]
fn tokens_end_by_their_times_on_every_node_and_a_renewal_asks_for_nothing_wider() {
    let mut cluster = Cluster::new(2);
    let (_, tokens) = cluster.granted(0, by_secret("hmac", "s3cret"), "session:desk trade:read expires:60");
    assert_eq!(tokens.expires_in_s, 60);
    cluster.wait_s(59);
    let (login, tokens) = cluster.granted(1, refresh(&tokens.refresh), "trade:read_write expires:1000");
    assert_eq!(login.scopes.words().collect::<Vec<_>>(), ["account:read", "trade:read"]);
    assert_eq!(tokens.expires_in_s, 1);
    cluster.wait_s(1);
    assert_eq!(cluster.refused(0, bearer(&tokens.access)), Some(Refusal::TokenExpired));
    assert_eq!(cluster.refused(0, refresh(&tokens.refresh)), Some(Refusal::TokenExpired));
    // A key's own end, and where it is taken.
    let (_, brief) = cluster.granted(0, by_secret("local", "l"), "session:x");
    cluster.nodes[1].origin.reach = Reach::Anywhere;
    assert_eq!(cluster.refused(1, bearer(&brief.access)), Some(Refusal::ElsewhereOnly));
    assert_eq!(cluster.refused(1, refresh(&brief.refresh)), Some(Refusal::ElsewhereOnly));
    assert_eq!(cluster.refused(0, refresh(&brief.refresh)), None, "which has used up nothing");
}

#[test]
fn a_log_in_that_is_told_of_a_session_too_late_is_ended_at_once() {
    let mut cluster = Cluster::new(2);
    let (_, tokens) = cluster.open(0, "desk");
    cluster.settle();
    let Judged::Asks(inquiry) = cluster.begin(1, bearer(&tokens.access), "") else { panic!() };
    let stale = cluster.bucket.answer(inquiry.request());
    cluster.open(0, "desk");
    cluster.settle();
    cluster.ended[1].clear();
    let now = cluster.nodes[1].now;
    let judged = cluster.nodes[1].authority.proceed(inquiry, stale, now);
    let Judged::Verdict(Verdict::Granted { login, .. }) = judged else { panic!("{judged:?}") };
    assert_eq!(cluster.nodes[1].authority.poll_ended(), login.grant);
    // The same of one that is ended by then.
    let (last, tokens) = cluster.open(0, "gone");
    cluster.settle();
    let Judged::Asks(inquiry) = cluster.begin(1, bearer(&tokens.access), "") else { panic!() };
    let stale = cluster.bucket.answer(inquiry.request());
    cluster.nodes[0].authority.forget(last.grant.unwrap());
    cluster.settle();
    let judged = cluster.nodes[1].authority.proceed(inquiry, stale, now);
    let Judged::Verdict(Verdict::Granted { login, .. }) = judged else { panic!("{judged:?}") };
    assert_eq!(cluster.nodes[1].authority.poll_ended(), login.grant);
}

#[test]
fn what_somebody_else_wrote_to_a_key_is_no_session_and_does_not_keep_its_name() {
    let mut cluster = Cluster::new(1);
    let (_, tokens) = cluster.open(0, "desk");
    let key = SessionKey::of("hmac", "desk");
    cluster.bucket.put(key, Some("tickring session 1 nonsense\n".to_owned()));
    assert_eq!(cluster.refused(0, refresh(&tokens.refresh)), Some(Refusal::Token));
    assert_eq!(cluster.refused(0, bearer(&tokens.access)), Some(Refusal::Token));
    cluster.settle();
    cluster.open(0, "desk");
}

#[test]
fn a_used_token_counts_as_a_failure_of_the_address_and_tokens_of_a_node_alone_are_none_here() {
    let mut cluster = Cluster::new(1);
    let settings = Settings { failures_per_minute_max: 1, ..Settings::default() };
    cluster.nodes[0].authority.set_settings(settings);
    let (_, first) = cluster.open(0, "desk");
    cluster.granted(0, refresh(&first.refresh), "");
    let mut alone = World::new();
    let (_, own) = alone.granted(by_secret("hmac", "s3cret"), "session:desk");
    assert_eq!(cluster.refused(0, refresh(&own.refresh)), Some(Refusal::Token));
    assert_eq!(alone.refused(refresh(&first.refresh)), Some(Refusal::Token));
    assert_eq!(cluster.refused(0, refresh(&first.refresh)), Some(Refusal::Token));
    assert_eq!(cluster.refused(0, by_secret("hmac", "s3cret")), Some(Refusal::TooManyFailures));
}

#[test]
fn a_client_whose_id_is_a_tokens_letter_is_taken_by_its_secret_without_the_bucket() {
    let mut cluster = Cluster::new(1);
    let token = format!("k.{}.x", "0".repeat(64));
    cluster.replace_keys(0, vec![credential("a", Key::Secret(secret(&token)))]);
    cluster.bucket.is_away = true;
    assert_eq!(cluster.refused(0, bearer(&format!("a.{token}"))), None);
    cluster.bucket.is_away = false;
    assert_eq!(cluster.refused(0, bearer(&format!("a.{token}y"))), Some(Refusal::Credentials), "a guess");
}

/// A linear congruential generator: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Clients that do whatever they like on three nodes, and a bucket that is away, slow and loses answers.
struct Crowd {
    cluster: Cluster,
    chance: Chance,
    under_way: Vec<(usize, Judged, Option<String>)>,
    tokens: Vec<Tokens>,
    /// Of each access token, which session it is of.
    families: BTreeMap<String, String>,
    /// Refresh tokens that were taken.
    taken: std::collections::BTreeSet<String>,
    /// Who is in a session: the node, the grant, and which session it is.
    members: BTreeMap<(usize, GrantId), String>,
    told: usize,
    granted: usize,
}

impl Crowd {
    fn act(&mut self) {
        let node = self.chance.below(3);
        match self.chance.below(16) {
            0..=2 => {
                let name = ["session:x", "session:y"][self.chance.below(2)];
                let judged = self.cluster.begin(node, by_secret("hmac", "s3cret"), name);
                self.under_way.push((node, judged, None));
            }
            kind @ 3..=6 if !self.tokens.is_empty() => {
                // Mostly of the newest.
                let back = 1 + self.chance.below(6).min(self.tokens.len() - 1);
                let tokens = self.tokens[self.tokens.len() - back].clone();
                if kind == 6 {
                    let judged = self.cluster.begin(node, bearer(&tokens.access), "");
                    self.under_way.push((node, judged, Some(tokens.access)));
                } else {
                    let judged = self.cluster.begin(node, refresh(&tokens.refresh), "");
                    self.under_way.push((node, judged, Some(tokens.refresh)));
                }
            }
            7 => self.cluster.bucket.is_away = self.chance.below(4) == 0,
            8 => self.cluster.bucket.answers_lost = self.chance.below(3),
            9 => self.cluster.bucket.writes_lost = self.chance.below(3),
            10 => self.cluster.settle(),
            11 => self.cluster.watch(node),
            12 => self.cluster.say(node, BucketWord::Lost),
            13 => {
                let member = self.members.keys().nth(self.chance.below(8)).copied();
                if let Some((node, grant)) = member.filter(|_| self.chance.below(4) == 0) {
                    self.cluster.nodes[node].authority.forget(grant);
                }
            }
            _ => self.step(),
        }
        self.hear();
    }

    fn step(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let at = self.chance.below(self.under_way.len());
        let (node, judged, shown) = self.under_way.swap_remove(at);
        match self.cluster.step(node, judged) {
            asks @ Judged::Asks(_) => self.under_way.push((node, asks, shown)),
            Judged::Verdict(Verdict::Refused(_)) => {}
            Judged::Verdict(Verdict::Granted { login, tokens }) => {
                self.granted += 1;
                let family = match tokens {
                    Some(tokens) => {
                        let family = tokens.refresh.split('.').nth(3).unwrap().to_owned();
                        if let Some(shown) = shown {
                            assert!(self.taken.insert(shown), "a refresh token is taken once");
                        }
                        self.families.insert(tokens.access.clone(), family.clone());
                        self.tokens.push(*tokens);
                        family
                    }
                    None => self.families[&shown.unwrap()].clone(),
                };
                let before = self.members.insert((node, login.grant.unwrap()), family.clone());
                assert!(before.is_none_or(|before| before == family), "a grant is one session");
            }
        }
        let authority = &mut self.cluster.nodes[node].authority;
        self.cluster.ended[node].extend(std::iter::from_fn(|| authority.poll_ended()));
    }

    /// Who is told that its session is over is in it no more.
    fn hear(&mut self) {
        for (node, ended) in self.cluster.ended.iter_mut().enumerate() {
            for grant in ended.drain(..) {
                self.told += usize::from(self.members.remove(&(node, grant)).is_some());
            }
        }
    }
}

#[test]
fn whatever_is_lost_or_late_a_refresh_token_is_taken_once_and_who_is_in_a_session_that_is_over_is_told() {
    let (mut told, mut granted) = (0, 0);
    for seed in 0..60 {
        let mut crowd = Crowd {
            cluster: Cluster::new(3),
            chance: Chance(seed),
            under_way: Vec::new(),
            tokens: Vec::new(),
            families: BTreeMap::new(),
            taken: std::collections::BTreeSet::new(),
            members: BTreeMap::new(),
            told: 0,
            granted: 0,
        };
        for _ in 0..600 {
            crowd.act();
        }
        let bucket = &mut crowd.cluster.bucket;
        (bucket.is_away, bucket.answers_lost, bucket.writes_lost) = (false, 0, 0);
        while !crowd.under_way.is_empty() {
            crowd.step();
        }
        (0..3).for_each(|node| crowd.cluster.watch(node));
        crowd.cluster.settle();
        crowd.cluster.settle();
        crowd.hear();
        assert!(crowd.cluster.nodes.iter().all(|node| !node.authority.has_endings()));
        let texts = crowd.cluster.bucket.keys.values().filter_map(|(_, text)| text.as_deref());
        let texts: String = texts.collect();
        for (member, family) in &crowd.members {
            assert!(texts.contains(family.as_str()), "seed {seed}: {member:?} is in a session that is over");
        }
        (told, granted) = (told + crowd.told, granted + crowd.granted);
    }
    assert!(told > 1_000 && granted > 2_000, "{told} ends were told, {granted} log-ins granted");
}
