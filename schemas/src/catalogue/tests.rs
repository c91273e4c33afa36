//! The bundled catalogue holds, what is wrong with a file is pointed at, and a hostile spec does no harm.

use super::*;
use domain::{id::ServiceName, quota::Amounts};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn service(name: &str) -> Service {
    let name: ServiceName = name.parse().unwrap();
    bundled().into_iter().find(|s| s.name == name).unwrap()
}

fn check(name: &str) -> SpecCheck {
    SpecCheck::new(&service(name)).unwrap()
}

/// `#/pointer: problem`, one a line.
fn violations(result: Result<(), Vec<Violation>>) -> Vec<String> {
    result.err().unwrap_or_default().into_iter().map(|v| format!("{}: {}", v.pointer, v.problem)).collect()
}

/// A file of the bundle in which `to` stands in place of `from`, and the faults that are found in the whole.
fn faults(file: &str, from: &str, to: &str) -> (String, Vec<String>) {
    let mut files: Vec<(&str, String)> = BUNDLED.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let text = &mut files.iter_mut().find(|(name, _)| *name == file).unwrap().1;
    assert!(text.contains(from), "{file} does not hold {from:?}");
    *text = text.replacen(from, to, 1);
    let text = text.clone();
    match parse(&files) {
        Err(CatalogueError::Faulty(faults)) => (text, faults.iter().map(Fault::to_string).collect()),
        other => panic!("{to:?} was accepted: {other:?}"),
    }
}

const NETWORK: &str = "6f1f9c0e-58f7-4d0e-9d0c-0d7d0c9b4a11";

#[test]
fn the_first_six_services_are_bundled_and_have_no_fault() {
    let names: Vec<String> = bundled().iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["bucket", "network", "public_ip", "security_group", "server", "volume"]);
    for service in bundled() {
        assert_eq!(review(&service), [], "{}", service.name);
    }
}

#[test]
fn a_directory_reads_like_the_bundle() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
    assert_eq!(load_dir(&dir).unwrap(), bundled());
}

#[test]
fn a_service_survives_the_journal() {
    for service in bundled() {
        let json = serde_json::to_string(&service).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&json).unwrap(), service);
    }
}

#[test]
fn a_missing_or_empty_directory_is_refused_by_name() {
    let absent = load_dir(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(absent.to_string(), "/nowhere/at/all cannot be read");
    let empty = load_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap_err();
    assert!(empty.to_string().ends_with("holds no service (*.yaml)"), "{empty}");
}

#[test]
fn every_bundled_claim_can_be_counted() {
    let claim = |name: &str, spec: Value| service(name).claim(&spec).unwrap();
    let amounts = |pairs: &[(&str, u64)]| pairs.iter().map(|(d, n)| (d.parse().unwrap(), *n)).collect::<Amounts>();
    let server = claim("server", json!({"vcpus": 4, "memory_mib": 8192, "image": "debian-13"}));
    assert_eq!(server, amounts(&[("servers", 1), ("vcpus", 4), ("memory_mib", 8192)]));
    assert_eq!(claim("volume", json!({"size_gib": 20})), amounts(&[("volumes", 1), ("volume_gib", 20)]));
    for (name, dimension) in
        [("network", "networks"), ("public_ip", "public_ips"), ("bucket", "buckets"), ("security_group", "security_groups")]
    {
        assert_eq!(claim(name, json!({})), amounts(&[(dimension, 1)]));
    }
}

#[test]
fn an_error_in_a_file_is_told_with_file_line_and_reason() {
    // The file, a text in it, what stands there instead, a text in the line that is told, and the reason.
    #[rustfmt::skip]
    let cases = [
        ("server.yaml", "zonal: true", "zonal: true\ncolour: red", "colour: red", "unknown field `colour`"),
        ("server.yaml", "zonal: true", "zonal: maybe", "zonal: maybe", "invalid boolean"),
        ("server.yaml", "zonal: true\n", "", "spec:", "missing field `zonal`"),
        ("server.yaml", "zonal: true", "zonal: true\nzonal: false", "zonal: false", "duplicate mapping key: zonal"),
        ("server.yaml", "title: Server", "title: [", "title: [", ""),
        ("server.yaml", "version: 1", "version: 0", "version: 0", "version: versions count from 1"),
        ("server.yaml", "version: 1", "version: -1", "version: -1", ""),
        ("server.yaml", "title: Server", "title: ''", "title: ''", "title: is empty"),
        ("server.yaml", "name: server", "name: machine", "name: machine", "name: the service machine belongs into machine.yaml"),
        ("server.yaml", "cell: true, tenant: true", "cell: false, tenant: false", "levels:", "levels: can be placed nowhere"),
        ("server.yaml", "power: true", "power: false", "actions:", "actions: what has no power cannot be started, stopped or rebooted"),
        ("server.yaml", "stop, reboot", "reboot", "power:", "power: what has power can be started and stopped"),
        ("server.yaml", "start, stop, reboot", "start, stop, jump", "actions:", ""),
        ("server.yaml", "stop, reboot", "stop, stop", "actions:", "actions.2: stands here twice"),
        ("server.yaml", "create_s: 1800", "create_s: 0", "deadlines:", "deadlines.create_s: a step takes at least a second"),
        ("server.yaml", "field: memory_mib\n", "field: memory_gib\n", "field: memory_gib", "dimensions.2.field: the spec has no field memory_gib"),
        ("server.yaml", "    field: memory_mib\n", "    field: image\n", "field: image", "dimensions.2.field: image must be a required whole number"),
        ("server.yaml", "required: [vcpus, memory_mib", "required: [vcpus", "    field: memory_mib", "dimensions.2.field: memory_mib must be a required whole number"),
        ("server.yaml", "required: [vcpus, memory_mib", "required: [vcpus", "    flavor:", "spec.properties.flavor: a flavor gives memory_mib"),
        ("server.yaml", "dimension: vcpus", "dimension: servers # two", "servers # two", "dimensions.1.dimension: stands here twice"),
        ("server.yaml", "field: networks, kind: network", "field: nets, kind: network", "field: nets", "references.0.field: the spec has no field nets"),
        ("server.yaml", "field: networks, kind: network", "field: image, kind: network", "field: image", "references.0.field: image must be an id"),
        ("server.yaml", "kind: network", "kind: wire", "kind: wire", "references.0.kind: there is no service wire"),
        ("server.yaml", "- field: contact", "- field: owner", "field: owner", "changes.5.field: the spec has no field owner"),
        ("server.yaml", "- field: contact", "- field: vcpus # two", "vcpus # two", "changes.5.field: stands here twice"),
        ("server.yaml", "- field: contact", "- { field: contact, grows_only: true }", "grows_only", "changes.5.field: contact is no number that can grow"),
        ("server.yaml", "required: [vcpus", "required: [cores, vcpus", "required:", "spec.required.0: there is no field \"cores\""),
        ("server.yaml", "additionalProperties: false", "additionalProperties: true", "  type: object", "spec: an object needs additionalProperties: false"),
        ("server.yaml", "minimum: 1\n      maximum: 1024", "minimun: 1\n      maximum: 1024", "minimun", "spec.properties.vcpus.minimun: the keyword minimun cannot be used"),
        ("server.yaml", "maximum: 1024", "maximum: 18446744073709551615", "    vcpus:", "spec.properties.vcpus: a number needs a minimum"),
        ("server.yaml", "type: integer", "type: number", "type: number", "spec.properties.vcpus.type: must be object, array, string, integer or boolean"),
        ("server.yaml", "type: integer", "$ref: '#'", "    vcpus:", "spec.properties.vcpus.type: must be object"),
        ("server.yaml", "      description: Virtual processors.\n", "", "    vcpus:", "spec.properties.vcpus: a field needs a description"),
        ("server.yaml", "pattern: \"^[A-Za", "pattern: \"^[A-(Za", "^[A-(Za", "spec.properties.image.pattern: must be a regular expression"),
        ("server.yaml", "minLength: 1\n", "minLength: -1\n", "minLength: -1", "spec.properties.image.minLength: must be at least 0"),
        ("server.yaml", "format: uuid, maxLength: 36", "format: guid, maxLength: 36", "format: guid", "spec.properties.networks.items.format: \"guid\" is not among"),
        ("server.yaml", "format: uuid, maxLength: 36", "format: uuid", "format: uuid }", "spec.properties.networks.items: a text needs a maxLength"),
        ("server.yaml", "      maxItems: 16\n", "", "    networks:", "spec.properties.networks: a list needs maxItems"),
        ("server.yaml", "sensitivity: secret", "sensitivity: private", "sensitivity: private", "spec.properties.user_data.x-cirrus-sensitivity: must be personal or secret"),
        ("server.yaml", "      readOnly: true\n", "", "    flavor:", "spec.properties.flavor: a flavor is named beside the spec"),
        ("volume.yaml", "attaches_to: server", "attaches_to: machine", "attaches_to:", "attaches_to: there is no service machine"),
        ("volume.yaml", "dimension: volumes\n    unit: \"1\"", "dimension: vcpus\n    unit: cores", "unit: cores", "dimensions.0.unit: vcpus is \"1\" in server"),
        ("volume.yaml", "name: volume.time", "name: disk.time", "name: disk.time", "meters.0.name: must begin with volume."),
        ("volume.yaml", "name: volume.capacity_time", "name: volume.time # two", "# two", "meters.1.name: stands here twice"),
        ("volume.yaml", "factor: 1073741824", "factor: 0", "factor: 0", "meters.1.from.existence.factor: must be at least 1"),
        ("volume.yaml", "field: size_gib, f", "field: size_gb, f", "field: size_gb", "meters.1.from.existence.field: the spec has no field size_gb"),
        ("volume.yaml", "existence: {}", "existence: { while_stopped: false }", "while_stopped", "meters.0.from.existence.while_stopped: what has no power"),
        ("volume.yaml", "existence: {}", "heartbeats: {}", "heartbeats", ""),
        ("server.yaml", "unit: bytes", "unit: miles", "unit: miles", ""),
        ("server.yaml", "value: $.bytes", "value: $..bytes", "value: $..bytes", "meters.3.from.readings.value: can find several values"),
        ("server.yaml", "type: cirrus.server.traffic", "type: cirrus.bucket.size", "type: cirrus.bucket", "meters.3.from.readings.type: cirrus.bucket.size is measured in bucket"),
        ("volume.yaml", "name: volume", "name: server", "name: server", "name: the service server belongs into server.yaml"),
        ("volume.yaml", "name: volume", "name: server", "name: server", "name: there are two services server"),
    ];
    let untold = cases.iter().filter_map(|(file, from, to, place, reason)| {
        let (text, found) = faults(file, from, to);
        // A value that is a list or an object begins where its first part stands.
        let line = text.lines().position(|line| line.contains(place)).map_or(0, |n| n + 1);
        let told = [line, line + 1].iter().any(|line| found.iter().any(|f| f.starts_with(&format!("{file}:{line}: {reason}"))));
        (!told).then(|| format!("{to:?}: expected {file}:{line}: {reason:?}, found {found:#?}"))
    });
    let untold: Vec<String> = untold.collect();
    assert!(untold.is_empty(), "{}", untold.join("\n"));
}

#[test]
fn all_errors_of_all_files_are_told_at_once() {
    let files: Vec<(&str, String)> = BUNDLED.iter().map(|(name, text)| (*name, text.replace("version: 1", "version: 0"))).collect();
    let error = parse(&files).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 6, "{error}");
}

#[test]
fn an_order_names_its_sizes_or_a_flavor_but_not_both() {
    let server = check("server");
    let sizes = json!({"vcpus": 2, "memory_mib": 4096, "image": "debian-13"});
    let flavored = json!({"image": "debian-13"});
    assert_eq!(server.check(&sizes, false), Ok(()));
    assert_eq!(server.check(&flavored, true), Ok(()));
    assert_eq!(violations(server.check(&flavored, false)), ["#/spec/vcpus: is missing", "#/spec/memory_mib: is missing"]);
    assert_eq!(violations(server.check(&sizes, true)), ["#/spec/memory_mib: comes with the flavor", "#/spec/vcpus: comes with the flavor"]);
    let inside = json!({"vcpus": 2, "memory_mib": 4096, "image": "debian-13", "flavor": "m1"});
    assert_eq!(violations(server.check(&inside, false)), ["#/spec/flavor: is named beside the spec, not in it"]);
    assert_eq!(violations(check("volume").check(&json!({"size_gib": 1}), true)), ["#/flavor: this service has no flavors"]);
}

#[test]
fn every_error_points_to_its_field_and_says_what_would_be_right() {
    #[rustfmt::skip]
    let cases: &[(&str, Value, &[&str])] = &[
        ("server", json!({"vcpus": 0, "memory_mib": "much", "image": ""}), &[
            "#/spec/image: must match ^[A-Za-z0-9][A-Za-z0-9 ._:/+-]*$", "#/spec/image: must not be empty",
            "#/spec/memory_mib: must be a whole number", "#/spec/vcpus: must be at least 1",
        ]),
        ("server", json!({"vcpus": 1, "memory_mib": 1, "image": "a", "networks": [NETWORK, NETWORK]}), &["#/spec/networks: must not hold the same value twice"]),
        ("server", json!({"vcpus": 1, "memory_mib": 1, "image": "a", "networks": ["lan"]}), &["#/spec/networks/0: must be an id (a UUID)"]),
        ("server", json!({"vcpus": 1, "memory_mib": 1, "image": "a", "user_data": {"$sealed": "x"}}), &["#/spec/user_data: must be a text"]),
        ("server", json!([]), &["#/spec: must be an object"]),
        ("server", json!(null), &["#/spec: must be an object"]),
        ("volume", json!({"size_gib": 65537, "class": "quick"}), &["#/spec/class: must be one of standard, fast", "#/spec/size_gib: must be at most 65536"]),
        ("volume", json!({"size_gib": 1, "a/b ~ü": 1}), &["#/spec/a~1b%20~0%C3%BC: does not exist"]),
        ("volume", json!({"size_gib": 1, "x".repeat(5000): 1}), &["#/spec: has a field that does not exist, with a name of 5000 bytes"]),
        ("network", json!({"cidr": "10.0.0.0/33"}), &["#/spec/cidr: must match"]),
        ("network", json!({"cidr": "10.0.0.0/24", "dns_servers": ["::1"]}), &["#/spec/dns_servers/0: must be an IPv4 address"]),
        ("public_ip", json!({"ip_version": 5}), &["#/spec/ip_version: must be one of 4, 6"]),
        ("bucket", json!({"versioning": 1}), &["#/spec/versioning: must be true or false"]),
        ("security_group", json!({"rules": [{"direction": "ingress", "protocol": "tcp", "port_min": 0, "ports": 1}]}), &[
            "#/spec/rules/0/ports: does not exist", "#/spec/rules/0/port_min: must be at least 1",
        ]),
    ];
    for (name, spec, expected) in cases {
        let found = violations(check(name).check(spec, false));
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for line in *expected {
            assert!(found.iter().any(|f| f.starts_with(line)), "expected {line:?}, found {found:#?}");
        }
    }
}

#[test]
fn a_number_that_nobody_can_count_is_refused() {
    let server = check("server");
    for (number, expected) in [
        ("9223372036854775808", "must be at most 67108864"),
        ("18446744073709551615", "must be at most 67108864"),
        ("18446744073709551616", "must be at most 67108864"),
        ("1e300", "must be at most 67108864"),
        ("-1", "must be at least 1"),
        ("-0.0", "must be at least 1"),
        ("4096.5", "must be a whole number"),
        ("4096.0", "must be a whole number, without a point or an exponent"),
        ("4e3", "must be a whole number, without a point or an exponent"),
    ] {
        let spec: Value = serde_json::from_str(&format!(r#"{{"vcpus":1,"image":"a","memory_mib":{number}}}"#)).unwrap();
        let found = violations(server.check(&spec, false));
        assert!(found.contains(&format!("#/spec/memory_mib: {expected}")), "{number}: {found:?}");
        assert!(server.check(&spec, false).is_err(), "{number}");
    }
    assert!(serde_json::from_str::<Value>("1e400").is_err(), "a number beyond all bounds is no JSON here and never becomes a spec");
}

#[test]
fn a_hostile_spec_gets_a_short_answer() {
    let nested = (0..100).fold(json!("x"), |inner, _| json!([inner]));
    let deep = json!({"rules": nested});
    let wide = json!({"rules": vec![json!({"direction": 1}); 20_000]});
    let wrong = json!({"rules": vec![json!({}); 4_000]});
    let names: serde_json::Map<String, Value> = (0..9_000).map(|n| (format!("field-{n}"), json!(1))).collect();
    let huge = json!({"rules": "x".repeat(1_000_000)});
    let group = check("security_group");
    for (spec, first) in [
        (deep, "#/spec: is nested deeper than 16 levels"),
        (wide, "#/spec: holds more than 10000 values"),
        (wrong, "#/spec/rules/0/direction: is missing"),
        (Value::Object(names), "#/spec/field-0: does not exist"),
        (huge, "#/spec/rules: must be a list"),
    ] {
        let found = violations(group.check(&spec, false));
        assert!(found.contains(&first.to_owned()), "{first}: {:?}", &found[..found.len().min(5)]);
        assert!(found.len() <= 100 && found.iter().map(String::len).sum::<usize>() < 10_000, "{first}: {} violations", found.len());
    }
}

#[test]
fn what_was_read_can_be_sent_back_in_a_change() {
    let server = check("server");
    let before = json!({
        "vcpus": 2, "memory_mib": 4096, "flavor": "m1", "image": "debian-13",
        "user_data": {"$sealed": "v1.k1.AAAA"}, "contact": {"$sealed": "v1.k2.BBBB"},
    });
    let with = |field: &str, value: Value| {
        let mut after = before.clone();
        after[field] = value;
        violations(server.check_change(&before, &after))
    };
    let without = |field: &str| {
        let mut after = before.clone();
        after.as_object_mut().unwrap().remove(field);
        after
    };
    assert_eq!(server.check_change(&before, &before), Ok(()));
    assert_eq!(with("contact", json!("ops@example.org")), [""; 0]);
    assert_eq!(with("networks", json!([NETWORK])), [""; 0]);
    assert_eq!(with("contact", json!({"$sealed": "v1.k3.CCCC"})), ["#/spec/contact: is sealed: send it as it was read, or a new value"]);
    assert_eq!(with("image", json!({"$sealed": "v1.k3.CCCC"})), ["#/spec/image: must be a text"]);
    let beside = "#/spec/flavor: leave it out and give vcpus and memory_mib: a flavor is chosen when ordering only";
    assert_eq!(with("vcpus", json!(4)), [beside]);
    assert_eq!(with("flavor", json!("m2")), [beside]);
    let mut resized = without("flavor");
    resized["vcpus"] = json!(4);
    assert_eq!(server.check_change(&before, &resized), Ok(()));
    assert_eq!(violations(server.check_change(&before, &without("image"))), ["#/spec/image: is missing"]);
}

#[test]
fn a_server_says_which_fields_are_sealed_and_why() {
    let marked = BTreeMap::from([("contact".to_owned(), Sensitivity::Personal), ("user_data".to_owned(), Sensitivity::Secret)]);
    assert_eq!(*check("server").sensitive(), marked);
    assert!(check("volume").sensitive().is_empty());
}

#[test]
fn a_schema_that_does_not_compile_gives_an_error_and_no_panic() {
    let mut service = service("volume");
    service.spec = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}});
    assert!(SpecCheck::new(&service).is_err());
    assert!(!review(&service).is_empty());
    service.spec = json!(true);
    assert!(!review(&service).is_empty());
}

/// Any JSON that a stranger may send.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..100).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!(NETWORK)),
        Just(json!({ SEALED: "x" })),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let fields = proptest::collection::btree_map(".{0,10}", inner.clone(), 0..4);
        let list = proptest::collection::vec(inner, 0..4).prop_map(Value::from);
        prop_oneof![list, fields.prop_map(|fields| Value::Object(fields.into_iter().collect()))]
    })
}

/// A spec with anything in some of the fields of the services.
fn nearly_a_spec() -> impl Strategy<Value = Value> {
    const FIELDS: &[&str] =
        &["vcpus", "memory_mib", "image", "flavor", "networks", "contact", "size_gib", "cidr", "ip_version", "rules", "x"];
    let good = json!({
        "server": { "vcpus": 2, "memory_mib": 4096, "image": "debian-13", "networks": [NETWORK] },
        "volume": { "size_gib": 10 },
        "network": { "cidr": "10.0.0.0/16" },
        "public_ip": { "ip_version": 6 },
        "bucket": {},
        "security_group": { "rules": [{ "direction": "egress", "protocol": "any" }] },
    });
    let good: Vec<Value> = good.as_object().unwrap().values().cloned().collect();
    let changes = proptest::collection::vec((proptest::sample::select(FIELDS), proptest::option::of(anything())), 0..3);
    (proptest::sample::select(good), changes).prop_map(|(mut spec, changes)| {
        let fields = spec.as_object_mut().unwrap();
        for (field, value) in changes {
            match value {
                Some(value) => drop(fields.insert(field.to_owned(), value)),
                None => drop(fields.remove(field)),
            }
        }
        spec
    })
}

#[test]
fn whatever_is_accepted_can_be_counted_and_followed() {
    let checks: Vec<(Service, SpecCheck)> = bundled().into_iter().map(|s| (s.clone(), SpecCheck::new(&s).unwrap())).collect();
    proptest!(|(spec in nearly_a_spec(), before in nearly_a_spec(), flavor in any::<bool>())| {
        for (service, check) in &checks {
            if check.check(&spec, flavor).is_ok() || check.check_change(&before, &spec).is_ok() {
                prop_assert!(service.claim(&spec).is_ok(), "{}: {spec}", service.name);
                prop_assert!(service.references(&spec).is_ok(), "{}: {spec}", service.name);
            }
            if check.check_change(&before, &spec).is_ok() {
                prop_assert_eq!(check.check_change(&spec, &spec), Ok(()), "what is stored can be sent back: {}", spec);
            }
        }
    });
}

#[test]
fn no_json_makes_the_check_fall_over() {
    let checks: Vec<SpecCheck> = bundled().iter().map(|s| SpecCheck::new(s).unwrap()).collect();
    proptest!(|(spec in anything(), before in anything())| {
        for check in &checks {
            prop_assert!(check.check(&spec, false).err().is_none_or(|v| !v.is_empty() && v.len() <= 100));
            prop_assert!(check.check_change(&before, &spec).err().is_none_or(|v| !v.is_empty() && v.len() <= 101));
        }
    });
}
