//! The same seed tells the same story, and what was kept of it makes the same cloud. Over many stories of random calls under random faults.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;

struct Story {
    cloud: Cloud,
    kept: Vec<Record>,
    answers: Vec<Answer>,
}

fn pick<'a, T, R: Rng>(rng: &mut R, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

fn tell(seed: u64) -> Story {
    let mut script = StdRng::seed_from_u64(seed);
    let mut chance = StdRng::seed_from_u64(seed ^ 1);
    let mut cloud = Cloud::new(even_durations());
    let mut now = morning();
    let (mut kept, mut answers, mut known) = (Vec::new(), Vec::new(), Vec::<Address>::new());
    let behaviours = [
        Behaviour::TimeoutAfterDoing,
        Behaviour::CutBeforeDoing,
        Behaviour::EndsInError { text: "No valid host was found.".to_owned() },
        Behaviour::NeverEnds,
        Behaviour::Slow { factor: 2.5 },
        Behaviour::Vanishes { after_seconds: 20.0 },
        Behaviour::Lag { seconds: 15.0 },
        Behaviour::Quota { dimension: "servers".to_owned(), limit: 4 },
    ];
    for _ in 0..120 {
        now += TimeDelta::milliseconds(script.random_range(0..4000));
        if script.random_ratio(1, 15) {
            let rules = (0..3).map(|_| Rule::new(pick(&mut script, &behaviours).clone()).with_probability(0.4).times(6)).collect();
            cloud.set_rules(rules, now);
        }
        let kind = *pick(&mut script, &["server", "server", "volume", "public_ip"]);
        let request = match (script.random_range(0..10), known.is_empty()) {
            (0..3, _) | (_, true) => Request::Create { zone: ZONE.to_owned(), kind: kind.to_owned(), new: named(kind) },
            (3, _) => Request::List { zone: ZONE.to_owned(), filter: Filter::by_name(kind), limit: 3, marker: None },
            (choice, false) => {
                let address = pick(&mut script, &known).clone();
                let server = known.iter().rfind(|address| address.kind == "server").map_or("none", |address| &address.id).to_owned();
                match choice {
                    4 => Request::Get { address },
                    5 => Request::Delete { address },
                    6 => Request::Change { address, properties: Properties::new() },
                    7 => Request::Act { address, action: Action::Detach },
                    8 => Request::Act { address, action: pick(&mut script, &[Action::Stop, Action::Start, Action::Reboot]).clone() },
                    _ => Request::Act { address, action: Action::Attach { server } },
                }
            }
        };
        let answer = cloud.handle("worker-1", &request, now, &mut chance);
        if let (Request::Create { .. }, Answer::Reply(reply, _)) = (&request, &answer) {
            known.extend(serde_json::from_value::<Object>(reply.body.clone()).map(|object| object.address()));
        }
        answers.push(answer);
        kept.extend(cloud.drain());
    }
    Story { cloud, kept, answers }
}

fn state(cloud: &Cloud) -> Vec<Record> {
    cloud.snapshot().collect()
}

#[test]
fn a_seed_tells_its_story_again_to_the_letter() {
    for seed in 0..50 {
        let (once, again) = (tell(seed), tell(seed));
        assert_eq!(once.answers, again.answers, "seed {seed}");
        assert_eq!(once.kept, again.kept, "seed {seed}");
    }
    assert_ne!(tell(1).answers, tell(2).answers);
}

#[test]
fn what_was_kept_makes_the_same_cloud_and_so_does_a_snapshot() {
    for seed in 0..200 {
        let story = tell(seed);
        // As they are read again from the file.
        let kept: Vec<Record> = serde_json::from_str(&serde_json::to_string(&story.kept).unwrap()).unwrap();
        let restored = Cloud::restore(even_durations(), kept);
        assert_eq!(state(&restored), state(&story.cloud), "seed {seed}");
        let from_snapshot = Cloud::restore(even_durations(), state(&restored));
        assert_eq!(state(&from_snapshot), state(&restored), "seed {seed}");
    }
}

#[test]
fn nothing_is_ever_attached_to_what_is_not_there() {
    for seed in 0..200 {
        let Story { mut cloud, answers, .. } = tell(seed);
        let objects = cloud.inventory(&Filter::default(), 1000, None, morning()).objects;
        for object in &objects {
            if let Some(server) = &object.attached_to {
                assert!(objects.iter().any(|other| other.id == *server && other.kind == SERVER), "seed {seed}: {object:?}");
            }
        }
        assert!(answers.len() == 120);
    }
}
