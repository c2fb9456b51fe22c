//! What is refused: protocols that do not meet, bounds, stale commits and superseded requests.

use expect_test::expect;

use super::super::super::GroupOptions;
use super::script::{check, check_with};

#[test]
fn protocols_have_to_meet() {
    check(
        "
        join a v=3 protocols=range,sticky
        join b v=3 protocols=sticky,range
        join c v=3 protocols=sticky
        join d v=3 protocols=roundrobin
        join e v=3 type=connect protocols=sticky
        join a
        join b
        ",
        &expect![[r#"
            > join a v=3 protocols=range,sticky
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b v=3 protocols=sticky,range
            > join c v=3 protocols=sticky
            > join d v=3 protocols=roundrobin
              d: 23 InconsistentGroupProtocol
            > join e v=3 type=connect protocols=sticky
              e: 23 InconsistentGroupProtocol
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, sticky led by a.1
              c: joined as c.3 in generation 2, sticky led by a.1
              a: joined as a.1 in generation 2, sticky led by a.1, members a.1 b.2 c.3
            > join b
              b: joined as b.2 in generation 2, sticky led by a.1
        "#]],
    );
}

#[test]
fn session_timeout_has_bounds() {
    check(
        "join a session=5999\njoin b session=1800001\njoin c v=3 session=6000",
        &expect![[r#"
        > join a session=5999
          a: 26 InvalidSessionTimeout
        > join b session=1800001
          b: 26 InvalidSessionTimeout
        > join c v=3 session=6000
          stored generation 1 begun
          c: joined as c.3 in generation 1, range led by c.3, members c.3
    "#]],
    );
}

#[test]
fn full_group_refuses() {
    let options = GroupOptions {
        initial_rebalance_delay_ms: 0,
        members_max: 2,
        pending_members_max: 1,
        ..GroupOptions::default()
    };
    let script = "
        join a v=3
        join b v=3
        join a
        join c v=3
        sync a a:0 b:1
        join c
        join d
        join e
        join d
        show
    ";
    check_with(
        options,
        script,
        &expect![[r#"
        > join a v=3
          stored generation 1 begun
          a: joined as a.1 in generation 1, range led by a.1, members a.1
        > join b v=3
        > join a
          stored generation 2 begun
          b: joined as b.2 in generation 2, range led by a.1
          a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
        > join c v=3
          c: 81 GroupMaxSizeReached
        > sync a a:0 b:1
          stored generation 2 assigned
          a: has "0"
        > join c
          c: 81 GroupMaxSizeReached
        > join d
          d: 81 GroupMaxSizeReached
        > join e
          e: 81 GroupMaxSizeReached
        > join d
          d: 81 GroupMaxSizeReached
        > show
          Stable generation 2, members [a.1 b.2], waiting []
    "#]],
    );
}

#[test]
fn subscription_bytes_are_bounded() {
    let options = GroupOptions {
        initial_rebalance_delay_ms: 0,
        group_bytes_max: 40,
        ..GroupOptions::default()
    };
    check_with(
        options,
        "join a v=3\njoin b v=3 topics=0123456789\njoin c v=3",
        &expect![[r#"
        > join a v=3
          stored generation 1 begun
          a: joined as a.1 in generation 1, range led by a.1, members a.1
        > join b v=3 topics=0123456789
        > join c v=3
          c: 81 GroupMaxSizeReached
    "#]],
    );
}

#[test]
fn commits_are_fenced() {
    check(
        "
        commit nobody
        join a v=3
        commit a
        commit nobody
        sync a a:all
        commit a
        join b v=3
        commit a
        join a
        commit a
        wait 20000
        commit a
        show
        commit nobody
        ",
        &expect![[r#"
            > commit nobody
              nobody: ok
            > join a v=3
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > commit a
              a: 27 RebalanceInProgress
            > commit nobody
              nobody: 25 UnknownMemberId
            > sync a a:all
              stored generation 1 assigned
              a: has "all"
            > commit a
              a: ok
            > join b v=3
            > commit a
              a: ok
            > join a
              stored generation 2 begun
              b: joined as b.3 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.3
            > commit a
              a: 27 RebalanceInProgress
            > wait 20000
              stored generation 3 empty
            > commit a
              a: 25 UnknownMemberId
            > show
              Empty generation 3, members [], waiting []
            > commit nobody
              nobody: ok
        "#]],
    );
}

#[test]
fn newer_request_of_the_same_member_answers_the_older() {
    check(
        "
        join a v=3
        join b v=3
        join a
        sync b
        sync b
        sync a a:0 b:1
        join a
        join a
        join b
        ",
        &expect![[r#"
            > join a v=3
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b v=3
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync b
            > sync b
              b: 27 RebalanceInProgress
            > sync a a:0 b:1
              stored generation 2 assigned
              b: has "1"
              a: has "0"
            > join a
            > join a
              a: 27 RebalanceInProgress
            > join b
              stored generation 3 begun
              a: joined as a.1 in generation 3, range led by a.1, members a.1 b.2
              b: joined as b.2 in generation 3, range led by a.1
        "#]],
    );
}

#[test]
fn ids_that_nobody_used_make_room() {
    let options = GroupOptions {
        initial_rebalance_delay_ms: 0,
        pending_members_max: 1,
        ..GroupOptions::default()
    };
    check_with(
        options,
        "join a\njoin b\njoin a\njoin b\nleave b",
        &expect![[r#"
            > join a
              a: 79 MemberIdRequired
            > join b
              b: 79 MemberIdRequired
            > join a
              a: 25 UnknownMemberId
            > join b
              stored generation 1 begun
              b: joined as b.2 in generation 1, range led by b.2, members b.2
            > leave b
              b: ok
              stored generation 2 empty
        "#]],
    );
}
