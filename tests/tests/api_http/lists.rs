//! Lists: filtered, in pages, bound to whoever walks them.

use crate::cloud::{cloud, network, server};
use reqwest::StatusCode;
use serde_json::json;

fn names(page: &crate::cloud::Answer) -> Vec<String> {
    page.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_walk_shows_everything_that_matches_exactly_once() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let mut last = None;
        for n in 0..7 {
            last = Some(
                cloud()
                    .post(&acme.admin, &acme.resources(), server(&acme.cells[n % 2], &format!("web-{n}"), 1))
                    .fresh()
                    .answer()
                    .await
                    .ok(),
            );
        }
        let last = last.unwrap();
        for order in ["created", "name"] {
            let (mut seen, mut page) = (Vec::new(), String::new());
            loop {
                let path = format!("{}?kind=server&limit=3&order={order}{page}", acme.resources());
                let answer = cloud().get(&acme.admin, &path).at_least(&last).answer().await.ok();
                seen.extend(names(&answer));
                match answer.body["next"].as_str() {
                    Some(next) => page = format!("&page={next}"),
                    None => break,
                }
            }
            assert_eq!(seen, (0..7).map(|n| format!("web-{n}")).collect::<Vec<_>>(), "{order}");
        }
    });
}

#[test]
fn filters_find_what_they_name() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let mut labelled = server(&acme.cells[0], "db-1", 1);
        labelled["labels"] = json!({ "tier": "data", "owner": "ada" });
        cloud().post(&acme.admin, &acme.resources(), labelled).fresh().answer().await.ok();
        cloud().post(&acme.admin, &acme.resources(), server(&acme.cells[1], "web-1", 1)).fresh().answer().await.ok();
        let last = cloud().post(&acme.admin, &acme.resources(), network("web-net")).fresh().answer().await.ok();
        let in_green = format!("cell={}", acme.cells[1]);
        for (query, expected) in [
            ("kind=network", vec!["web-net"]),
            ("label=tier:data&label=owner:ada", vec!["db-1"]),
            ("label=tier:web", vec![]),
            (in_green.as_str(), vec!["web-1"]),
            ("cell=none", vec!["web-net"]),
            ("zone=zone-1&name_prefix=web", vec!["web-1"]),
            ("name=db-1", vec!["db-1"]),
            ("phase=active", vec![]),
            ("phase=creating", vec!["db-1", "web-1", "web-net"]),
        ] {
            let path = format!("{}?{query}", acme.resources());
            assert_eq!(names(&cloud().get(&acme.admin, &path).at_least(&last).answer().await.ok()), expected, "{query}");
        }
    });
}

#[test]
fn a_page_belongs_to_the_walk_that_it_was_given_to() {
    cloud().run(async {
        let acme = cloud().acme().await;
        let mut last = None;
        for n in 0..2 {
            last = Some(cloud().post(&acme.admin, &acme.resources(), network(&format!("n-{n}"))).fresh().answer().await.ok());
        }
        let path = format!("{}?limit=1", acme.resources());
        let page = cloud().get(&acme.admin, &path).at_least(&last.unwrap()).answer().await.ok();
        let next = page.body["next"].as_str().unwrap();
        for other in ["&kind=network", "&order=name"] {
            let refused = cloud().get(&acme.admin, &format!("{path}&page={next}{other}")).answer().await;
            assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "invalid-page-token"), "{other}");
        }
        let stolen = cloud().get(crate::cloud::OPERATOR, &format!("{path}&page={next}")).answer().await;
        assert_eq!(stolen.problem(), "invalid-page-token");
        let wrong = cloud().get(&acme.admin, &format!("{}?colour=red", acme.resources())).answer().await;
        assert_eq!((wrong.status, &wrong.body["parameter"]), (StatusCode::BAD_REQUEST, &json!("colour")));
    });
}
