//! Two-level quota: the thirteen cases, and what surrounds them.

use crate::cloud::*;
use domain::{
    command::Command,
    id::{CellId, ResourceId},
    quota::{Level, Limit, Limits, cell_limit},
    refusal::Refusal,
};
use serde_json::json;
use std::collections::BTreeMap;

/// What happens in a case, to the tenant `a` or to one of its cells `b`, `c`, `d`, in the dimension `units`.
#[derive(Debug, Clone, Copy)]
enum Do {
    Claim(char, u64),
    Release(char, u64),
    Limit(char, u64),
    /// A cell, with a limit of its own or none.
    Create(char, Option<u64>),
    /// A cell below the cell.
    CreateBelow(char),
}
use Do::*;

const ACCEPTED: &str = "";

/// `given`, all accepted; then each step of `when` with the refusal that it gets; then the limits in force.
struct Case {
    name: &'static str,
    given: &'static [Do],
    when: &'static [(Do, &'static str)],
    limits: &'static [(char, u64)],
}

const AFTER_1: [Do; 4] = [Limit('a', 20), Claim('a', 4), Claim('b', 8), Claim('c', 8)];
const TENANT: &str = "quota_exceeded: tenant";
const ABOVE: &str = "above_tenant_limit";

const CASES: [Case; 13] = [
    Case {
        name: "1: two cells claim what both levels have room for",
        given: &[Limit('a', 20), Claim('a', 4)],
        when: &[(Claim('b', 8), ACCEPTED), (Claim('c', 8), ACCEPTED)],
        limits: &[('b', 10), ('c', 10)],
    },
    Case { name: "2: the tenant's own resource finds the tenant full", given: &AFTER_1, when: &[(Claim('a', 2), TENANT)], limits: &[] },
    Case {
        name: "3: a cell can be created in a full tenant",
        given: &AFTER_1,
        when: &[(Create('d', None), ACCEPTED)],
        limits: &[('d', 10)],
    },
    Case {
        name: "4: a new cell under its own limit finds the tenant full",
        given: &[Limit('a', 20), Claim('a', 4), Claim('b', 8), Claim('c', 8), Create('d', None)],
        when: &[(Claim('d', 2), TENANT)],
        limits: &[],
    },
    Case {
        name: "5: a higher limit of the cell makes no room in the tenant",
        given: &AFTER_1,
        when: &[(Limit('b', 12), ACCEPTED), (Claim('b', 1), TENANT)],
        limits: &[('b', 12)],
    },
    Case {
        name: "6: room that others release can be claimed up to the cell's own limit",
        given: &[Limit('a', 20), Claim('a', 4), Claim('b', 8), Claim('c', 8), Limit('b', 12)],
        when: &[(Release('a', 2), ACCEPTED), (Release('c', 2), ACCEPTED), (Claim('b', 4), ACCEPTED)],
        limits: &[('b', 12)],
    },
    Case {
        name: "7: what one cell took is missing to the other",
        given: &[
            Limit('a', 20),
            Claim('a', 4),
            Claim('b', 8),
            Claim('c', 8),
            Limit('b', 12),
            Release('a', 2),
            Release('c', 2),
            Claim('b', 4),
        ],
        when: &[(Claim('c', 2), TENANT)],
        limits: &[],
    },
    Case {
        name: "8: a cell's limit is not set above the tenant's",
        given: &[Limit('a', 20)],
        when: &[(Limit('b', 30), ABOVE)],
        limits: &[('b', 10)],
    },
    Case { name: "9: nor is a cell created with one", given: &[Limit('a', 20)], when: &[(Create('d', Some(30)), ABOVE)], limits: &[] },
    Case {
        name: "10: a default above the tenant's limit gives the tenant's limit",
        given: &[Limit('a', 6), Create('d', None)],
        when: &[],
        limits: &[('b', 6), ('c', 6), ('d', 6)],
    },
    Case { name: "11: cells do not nest", given: &[], when: &[(CreateBelow('b'), "cells_do_not_nest")], limits: &[] },
    Case {
        name: "12: children may add up to more than their parent",
        given: &[Limit('a', 20)],
        when: &[(Limit('b', 12), ACCEPTED), (Limit('c', 12), ACCEPTED)],
        limits: &[('b', 12), ('c', 12)],
    },
    Case {
        name: "13: an own limit that was clamped stays clamped, an inherited one rises again",
        given: &[Limit('a', 20), Limit('b', 12)],
        when: &[(Limit('a', 6), ACCEPTED), (Limit('a', 20), ACCEPTED)],
        limits: &[('b', 6), ('c', 10)],
    },
];

struct Board {
    cloud: Cloud,
    cells: BTreeMap<char, CellId>,
    pools: BTreeMap<char, Vec<(ResourceId, u64)>>,
}

impl Board {
    fn new() -> Self {
        let mut cloud = Cloud::open();
        let default = Command::SetTenantQuota { limits: Limits::new(), cell_default: changes([("units", Some(Limit::At(10)))]) };
        cloud.ada(default).accepted();
        let cells = BTreeMap::from([('b', cloud.b), ('c', cloud.c)]);
        Self { cloud, cells, pools: BTreeMap::new() }
    }

    fn play(&mut self, step: Do) -> Answer {
        let cloud = &mut self.cloud;
        match step {
            Claim(who, units) => {
                let new = cloud.order("pool").spec(json!({ "units": units }));
                let new = if who == 'a' { new.at_tenant() } else { new.in_cell(self.cells[&who]) };
                let answer = cloud.ada(new);
                if answer.refusal().is_none() {
                    cloud.done(answer.resource()).accepted();
                    self.pools.entry(who).or_default().push((answer.resource(), units));
                }
                answer
            }
            Release(who, units) => {
                let (pool, had) = self.pools.get_mut(&who).and_then(|all| all.last_mut()).expect("it has claimed");
                let (pool, had) = (*pool, std::mem::replace(had, *had - units));
                let answer = cloud.ada(change(pool, json!({ "units": had - units })));
                cloud.done(pool).is("resource.changed");
                answer
            }
            Limit('a', units) => {
                cloud.asks("olga", Command::SetTenantQuota { limits: limits([("units", Limit::At(units))]), cell_default: changes([]) })
            }
            Limit(who, units) => {
                cloud.ada(Command::SetCellQuota { cell: self.cells[&who], limits: changes([("units", Some(Limit::At(units)))]) })
            }
            Create(who, own) => {
                let limits = own.map_or(Limits::new(), |n| limits([("units", Limit::At(n))]));
                let answer = cloud.ada(Command::CreateCell { name: who.to_string(), billing_account: None, limits, parent: None });
                self.cells.insert(who, answer.id.into());
                answer
            }
            CreateBelow(who) => {
                let parent = Some(self.cells[&who]);
                cloud.ada(Command::CreateCell { name: "below".to_owned(), billing_account: None, limits: Limits::new(), parent })
            }
        }
    }

    fn limit(&self, who: char) -> Limit {
        let tenant = self.cloud.acme();
        cell_limit(&tenant.limits, &tenant.cell_default, &tenant.cells[&self.cells[&who]].limits, &dimension("units")).0
    }
}

fn check(case: &Case) {
    let mut board = Board::new();
    for step in case.given {
        let answer = board.play(*step);
        assert!(answer.refusal().is_none(), "{}: given {step:?}: {}", case.name, answer.brief());
    }
    for (step, expected) in case.when {
        let answer = board.play(*step);
        let got = match answer.refusal() {
            None => ACCEPTED.to_owned(),
            Some(Refusal::QuotaExceeded { level: Level::Tenant, .. }) => TENANT.to_owned(),
            Some(Refusal::QuotaExceeded { level: Level::Cell, .. }) => "quota_exceeded: cell".to_owned(),
            Some(refusal) => reason(refusal),
        };
        assert_eq!(got, *expected, "{}: {step:?}", case.name);
    }
    for (who, expected) in case.limits {
        assert_eq!(board.limit(*who), Limit::At(*expected), "{}: limit of {who}", case.name);
    }
}

#[test]
fn the_thirteen_cases_of_two_level_quota_hold() {
    CASES.iter().for_each(check);
}

#[test]
fn a_refusal_says_level_dimension_limit_used_and_asked() {
    let mut board = Board::new();
    board.play(Limit('a', 20)).accepted();
    board.play(Claim('b', 7)).accepted();
    let refusal =
        |level, limit, used, asked| Refusal::QuotaExceeded { level, dimension: dimension("units"), limit: Limit::At(limit), used, asked };
    board.play(Claim('b', 4)).refused_with(refusal(Level::Cell, 10, 7, 4));
    board.play(Claim('a', 14)).refused_with(refusal(Level::Tenant, 20, 7, 14));
}

#[test]
fn a_limit_lowered_under_current_use_stops_new_claims_and_leaves_what_runs() {
    let mut board = Board::new();
    board.play(Limit('a', 20)).accepted();
    board.play(Claim('b', 8)).accepted();
    board.play(Limit('a', 3)).is("tenant.limits_set");
    assert_eq!(board.cloud.used("units"), 8);
    board.play(Claim('b', 1)).is("refused: quota_exceeded");
    // Shrinking, and what claims nothing in the full dimension, still fits.
    board.play(Release('b', 2)).accepted();
    board.cloud.server();
}

#[test]
fn one_clamp_event_brings_every_higher_limit_of_a_cell_down_to_the_ceiling() {
    let mut board = Board::new();
    board.play(Limit('a', 20)).accepted();
    board.play(Limit('b', 12)).accepted();
    board.play(Limit('c', 4)).accepted();
    board.play(Create('d', Some(18))).accepted();
    board.play(Limit('a', 6)).is("tenant.limits_set tenant.cell_limits_clamped");
    assert_eq!(['b', 'c', 'd'].map(|who| board.limit(who)), [6, 4, 6].map(Limit::At));
}

#[test]
fn a_cell_that_gives_its_own_limit_back_inherits_again() {
    let mut board = Board::new();
    board.play(Limit('a', 20)).accepted();
    board.play(Limit('b', 2)).accepted();
    let b = board.cloud.b;
    board.cloud.ada(Command::SetCellQuota { cell: b, limits: changes([("units", None)]) }).is("cell.limits_set");
    assert_eq!(board.limit('b'), Limit::At(10));
}

#[test]
fn a_change_claims_upwards_before_it_and_downwards_after_it() {
    let mut board = Board::new();
    board.play(Claim('b', 4)).accepted();
    let (pool, _) = board.pools[&'b'][0];
    let cloud = &mut board.cloud;
    cloud.ada(change(pool, json!({ "units": 9 }))).is("resource.change_requested");
    assert_eq!(cloud.used("units"), 9, "up before");
    cloud.done(pool).is("resource.changed");
    cloud.ada(change(pool, json!({ "units": 3 }))).is("resource.change_requested");
    assert_eq!(cloud.used("units"), 9, "not down before it is done");
    cloud.done(pool).is("resource.changed");
    assert_eq!(cloud.used("units"), 3, "down after");
}

#[test]
fn a_change_that_does_not_fit_is_refused_with_what_it_asks_on_top() {
    let mut board = Board::new();
    board.play(Claim('b', 4)).accepted();
    let (pool, _) = board.pools[&'b'][0];
    board.cloud.ada(change(pool, json!({ "units": 11 }))).refused_with(Refusal::QuotaExceeded {
        level: Level::Cell,
        dimension: dimension("units"),
        limit: Limit::At(10),
        used: 4,
        asked: 7,
    });
}

#[test]
fn a_failed_change_gives_back_what_it_claimed_on_top() {
    let mut board = Board::new();
    board.play(Claim('b', 4)).accepted();
    let (pool, _) = board.pools[&'b'][0];
    let cloud = &mut board.cloud;
    cloud.ada(change(pool, json!({ "units": 9 }))).accepted();
    cloud.fails(pool, true).is("resource.step_failed");
    assert_eq!((cloud.used("units"), &cloud.resource(pool).terms.spec), (4, &json!({ "units": 4 })));
}

#[test]
fn amounts_beyond_63_bits_are_refused_even_where_nothing_limits_them() {
    let mut cloud = Cloud::open();
    for units in [u64::MAX, i64::MAX as u64 + 1] {
        cloud.ada(cloud.order("pool").spec(json!({ "units": units }))).is("refused: quota_exceeded");
    }
    cloud.ada(cloud.order("pool").spec(json!({ "units": i64::MAX }))).accepted();
    cloud.ada(cloud.order("pool")).is("refused: quota_exceeded");
    for units in [json!(-1), json!(1.5), json!("1"), json!(null)] {
        cloud.ada(cloud.order("pool").with("units", units)).is("refused: bad_field");
    }
}

#[test]
fn a_dimension_that_nobody_granted_is_zero() {
    let mut cloud = Cloud::open();
    cloud.runs(Command::SetDefaultQuota { tenant: limits([("servers", Limit::At(1))]), cell: Limits::new() }).accepted();
    let other = cloud.runs(reserve("other", Default::default())).accepted();
    cloud.tenant = other.id.into();
    let open = cloud.request(person("ada"), Some(cloud.tenant), Command::OpenTenant {});
    cloud.send(&open, domain::command::Origin::Commands).is("tenant.opened");
    cloud.b = cloud.ada(cell("b")).accepted().id.into();
    cloud.ada(cloud.order("pool")).is("refused: quota_exceeded");
}
