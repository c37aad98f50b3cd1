use super::mock::{Mock, app, bench};
use super::*;
use crate::effect::{Mode, perform, query, roll_back};

#[test]
fn clients_held_back_are_owed_and_set_back_by_rollback() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let hold = ClientUpdate { app: app(), on: false };
    let lane = mock.lane(&bench, Mode::Run);
    assert_eq!(perform(&lane, None, &hold), Ok(true));
    assert_eq!(perform(&lane, None, &hold), Ok(false));
    assert_eq!(lane.run().obligations.all()[0].debt.what, "client update on");
    assert!(!mock.world().clients);

    let lane = mock.lane(&bench, Mode::Rebuild);
    perform(&lane, None, &hold).unwrap();
    roll_back(&lane).unwrap();

    assert!(mock.world().clients);
    assert!(lane.run().obligations.all().is_empty());
}

#[test]
fn version_and_health_are_read() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let lane = mock.lane(&bench, Mode::Plan);

    assert_eq!(query(&lane, None, Version { app: app() }), Ok("5.5.2.0".to_owned()));
    let health = query(&lane, None, Health { app: app() }).unwrap();
    assert_eq!(Health { app: app() }.result(&health).unwrap(), "1 checks, all well");
}

#[test]
fn settings_are_checked_before_anything_happens() {
    let known: Vec<Setting> = serde_json::from_value(json!([
        { "name": "home", "doc": "", "required": true },
        { "name": "password", "doc": "", "secret": true },
    ]))
    .unwrap();
    let check = |settings: Value| match check_settings("x", settings.as_object().unwrap(), &known) {
        Ok(()) => String::new(),
        Err(Halt::Failure(failure)) => {
            format!("{} / {}", failure.message, failure.hint.unwrap_or_default())
        }
        Err(other) => other.to_string(),
    };

    assert_eq!(check(json!({ "home": "/h", "password": { "$secret": "pw" } })), "");
    assert_eq!(
        check(json!({ "hoem": "/h" })),
        "adapter `x` has no setting `hoem` / Did you mean `home`?"
    );
    assert_eq!(check(json!({})), "adapter `x` needs the setting `home` / ");
    assert!(check(json!({ "home": "/h", "password": "plain" })).contains("is given as text"));
}

#[test]
fn secrets_of_settings_are_hidden_from_the_first_call_on() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let lane = mock.lane(&bench, Mode::Run);

    checked(&lane, &app()).unwrap();

    assert_eq!(lane.run().redactor.text("value-of-pw"), "[secret]");
    let none = App { adapter: "mokc".to_owned(), settings: json!({}) };
    let Err(Halt::Failure(failure)) = checked(&lane, &none) else { panic!() };
    assert_eq!(failure.message, "there is no adapter `mokc`");
}

#[test]
fn a_server_that_misses_a_request_is_asked_again() {
    let (bench, mock) = (bench(), Mock::with_users(0));
    let lane = mock.lane(&bench, Mode::Run);
    let call = lane.next_call("test");
    let cx = Cx { lane: &lane, target: lane.target(), call: &call };
    let mut patience = Patience::default();
    let failed = |kind| Err::<(), _>(Failure::new(kind, "no").into());

    for _ in 0..4 {
        assert_eq!(patience.take(&cx, failed(Kind::Connect)), Ok(None));
    }
    assert_eq!(patience.take(&cx, Ok(())), Ok(Some(())));
    assert_eq!(patience.take(&cx, failed(Kind::Connect)), Ok(None));
    assert!(patience.take(&cx, failed(Kind::Auth)).is_err());
}
