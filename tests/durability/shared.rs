//! Shared subscriptions whose members outlive their connections.

use hookmq_codec::Qos;
use hookmq_tests::client::publish;

use crate::in_both_versions;

const FILTER: &str = "$share/group/t";

#[test]
fn messages_for_a_group_that_is_away_survive_and_go_to_one_member_each() {
    in_both_versions(|stage| {
        for member in ["a", "b"] {
            stage.away(member, FILTER, Qos::AtLeastOnce);
        }
        let mut publisher = stage.client("p");
        for number in 0..10 {
            publisher.publish(publish("t", &[number], Qos::AtLeastOnce));
        }
        stage.crash();
        let mut member = stage.resume("a");
        for number in 0..10 {
            let received = member.expect_message("t", &[number]);
            member.acknowledge(&received);
        }
        member.disconnect();
        stage.flush();
        stage.crash();
        stage.resume("a").expect_nothing();
        stage.resume("b").expect_nothing();
    });
}

#[test]
fn what_a_member_had_in_flight_is_there_after_a_crash() {
    in_both_versions(|stage| {
        let mut member = stage.session("a");
        member.subscribe(FILTER, Qos::AtLeastOnce);
        stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
        member.expect_message("t", b"x");
        stage.flush();
        stage.crash();
        let mut member = stage.resume("a");
        let received = member.expect_message("t", b"x");
        member.acknowledge(&received);
        member.disconnect();
        stage.flush();
        stage.crash();
        stage.resume("a").expect_nothing();
    });
}

#[test]
fn what_a_member_without_a_lasting_session_acknowledges_is_gone_for_the_others() {
    in_both_versions(|stage| {
        stage.away("lasting", FILTER, Qos::AtLeastOnce);
        let mut passing = stage.client("passing");
        passing.subscribe(FILTER, Qos::AtLeastOnce);
        let mut publisher = stage.client("p");
        publisher.publish(publish("t", b"1", Qos::AtLeastOnce));
        let received = passing.expect_message("t", b"1");
        passing.acknowledge(&received);
        publisher.publish(publish("t", b"2", Qos::AtLeastOnce));
        passing.expect_message("t", b"2");
        stage.flush();
        stage.crash();
        let mut lasting = stage.resume("lasting");
        let received = lasting.expect_message("t", b"2");
        lasting.acknowledge(&received);
        lasting.expect_nothing();
    });
}
