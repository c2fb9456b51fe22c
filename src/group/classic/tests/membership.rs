//! Coming, staying and going.

use expect_test::expect;

use super::super::super::GroupOptions;
use super::script::{after_three, check, check_with};

#[test]
fn three_members_join_and_sync() {
    check(
        &after_three("show"),
        &expect![[r#"
        > join a v=3
          stored generation 1 begun
          a: joined as a.1 in generation 1, range led by a.1, members a.1
        > join b v=3
        > join c v=3
        > join a
          stored generation 2 begun
          b: joined as b.2 in generation 2, range led by a.1
          c: joined as c.3 in generation 2, range led by a.1
          a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2 c.3
        > sync a a:0 b:1 c:2
          stored generation 2 assigned
          a: has "0"
        > sync b
          b: has "1"
        > sync c
          c: has "2"
        > show
          Stable generation 2, members [a.1 b.2 c.3], waiting []
    "#]],
    );
}

#[test]
fn dynamic_member_needs_its_id_first() {
    check(
        "
        join a
        show
        join a
        sync a a:all
        beat a
        join b
        beat a
        wait 9999
        wait 1
        ",
        &expect![[r#"
            > join a
              a: 79 MemberIdRequired
            > show
              Empty generation 0, members [], waiting []
            > join a
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > sync a a:all
              stored generation 1 assigned
              a: has "all"
            > beat a
              a: ok
            > join b
              b: 79 MemberIdRequired
            > beat a
              a: ok
            > wait 9999
            > wait 1
              stored generation 2 empty
        "#]],
    );
}

#[test]
fn initial_delay_collects_members() {
    let options = GroupOptions { initial_rebalance_delay_ms: 250, ..GroupOptions::default() };
    let script = "
        join a v=3
        wait 249
        join b v=3
        wait 1
        show
        wait 249
        wait 1
    ";
    check_with(
        options,
        script,
        &expect![[r#"
        > join a v=3
        > wait 249
        > join b v=3
        > wait 1
        > show
          PreparingRebalance generation 0, members [a.1 b.2], waiting [a b]
        > wait 249
        > wait 1
          stored generation 1 begun
          a: joined as a.1 in generation 1, range led by a.1, members a.1 b.2
          b: joined as b.2 in generation 1, range led by a.1
    "#]],
    );
}

#[test]
fn initial_delay_ends_with_the_rebalance_timeout() {
    let options = GroupOptions { initial_rebalance_delay_ms: 250, ..GroupOptions::default() };
    let script = "
        join a v=3 rebalance=400
        wait 200
        join b v=3 rebalance=400
        wait 150
        join c v=3 rebalance=400
        wait 50
        show
    ";
    check_with(
        options,
        script,
        &expect![[r#"
        > join a v=3 rebalance=400
        > wait 200
        > join b v=3 rebalance=400
        > wait 150
        > join c v=3 rebalance=400
        > wait 50
          stored generation 1 begun
          a: joined as a.1 in generation 1, range led by a.1, members a.1 b.2 c.3
          b: joined as b.2 in generation 1, range led by a.1
          c: joined as c.3 in generation 1, range led by a.1
        > show
          CompletingRebalance generation 1, members [a.1 b.2 c.3], waiting []
    "#]],
    );
}

#[test]
fn expired_member_is_taken_over_from() {
    check(
        &after_three(
            "
            wait 9000
            beat a
            beat b
            wait 1500
            beat a
            join a
            beat b
            join b
            sync b
            sync a a:0+2 b:1
            beat c
            ",
        ),
        &expect![[r#"
            > join a v=3
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b v=3
            > join c v=3
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              c: joined as c.3 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2 c.3
            > sync a a:0 b:1 c:2
              stored generation 2 assigned
              a: has "0"
            > sync b
              b: has "1"
            > sync c
              c: has "2"
            > wait 9000
            > beat a
              a: ok
            > beat b
              b: ok
            > wait 1500
            > beat a
              a: 27 RebalanceInProgress
            > join a
            > beat b
              b: 27 RebalanceInProgress
            > join b
              stored generation 3 begun
              a: joined as a.1 in generation 3, range led by a.1, members a.1 b.2
              b: joined as b.2 in generation 3, range led by a.1
            > sync b
            > sync a a:0+2 b:1
              stored generation 3 assigned
              b: has "1"
              a: has "0+2"
            > beat c
              c: 25 UnknownMemberId
        "#]],
    );
}

#[test]
fn leader_that_leaves_is_replaced() {
    check(
        &after_three(
            "
            leave a
            beat b
            join b
            join c
            sync b b:0+1 c:2
            sync c
            ",
        ),
        &expect![[r#"
            > join a v=3
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b v=3
            > join c v=3
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              c: joined as c.3 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2 c.3
            > sync a a:0 b:1 c:2
              stored generation 2 assigned
              a: has "0"
            > sync b
              b: has "1"
            > sync c
              c: has "2"
            > leave a
              a: ok
            > beat b
              b: 27 RebalanceInProgress
            > join b
            > join c
              stored generation 3 begun
              b: joined as b.2 in generation 3, range led by b.2, members b.2 c.3
              c: joined as c.3 in generation 3, range led by b.2
            > sync b b:0+1 c:2
              stored generation 3 assigned
              b: has "0+1"
            > sync c
              c: has "2"
        "#]],
    );
}

#[test]
fn rejoins_in_a_stable_group() {
    check(
        &after_three(
            "
            join b
            sync b
            join b topics=t,u
            show
            join a
            join c
            sync a
            sync b
            ",
        ),
        &expect![[r#"
            > join a v=3
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b v=3
            > join c v=3
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              c: joined as c.3 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2 c.3
            > sync a a:0 b:1 c:2
              stored generation 2 assigned
              a: has "0"
            > sync b
              b: has "1"
            > sync c
              c: has "2"
            > join b
              b: joined as b.2 in generation 2, range led by a.1
            > sync b
              b: has "1"
            > join b topics=t,u
            > show
              PreparingRebalance generation 2, members [a.1 b.2 c.3], waiting [b]
            > join a
            > join c
              stored generation 3 begun
              b: joined as b.2 in generation 3, range led by a.1
              a: joined as a.1 in generation 3, range led by a.1, members a.1 b.2 c.3
              c: joined as c.3 in generation 3, range led by a.1
            > sync a
              stored generation 3 assigned
              a: has ""
            > sync b
              b: has ""
        "#]],
    );
}

#[test]
fn leaders_rejoin_rebalances() {
    check(
        &after_three("join a\nbeat b\njoin b\njoin c\nshow"),
        &expect![[r#"
        > join a v=3
          stored generation 1 begun
          a: joined as a.1 in generation 1, range led by a.1, members a.1
        > join b v=3
        > join c v=3
        > join a
          stored generation 2 begun
          b: joined as b.2 in generation 2, range led by a.1
          c: joined as c.3 in generation 2, range led by a.1
          a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2 c.3
        > sync a a:0 b:1 c:2
          stored generation 2 assigned
          a: has "0"
        > sync b
          b: has "1"
        > sync c
          c: has "2"
        > join a
        > beat b
          b: 27 RebalanceInProgress
        > join b
        > join c
          stored generation 3 begun
          a: joined as a.1 in generation 3, range led by a.1, members a.1 b.2 c.3
          b: joined as b.2 in generation 3, range led by a.1
          c: joined as c.3 in generation 3, range led by a.1
        > show
          CompletingRebalance generation 3, members [a.1 b.2 c.3], waiting []
    "#]],
    );
}

#[test]
fn rebalance_timeout_drops_who_does_not_rejoin() {
    check(
        "
        join a v=3 rebalance=1000
        sync a a:all
        join b v=3 rebalance=1000
        wait 999
        wait 1
        sync a
        commit a
        ",
        &expect![[r#"
            > join a v=3 rebalance=1000
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > sync a a:all
              stored generation 1 assigned
              a: has "all"
            > join b v=3 rebalance=1000
            > wait 999
            > wait 1
              stored generation 2 begun
              b: joined as b.3 in generation 2, range led by b.3, members b.3
            > sync a
              a: 25 UnknownMemberId
            > commit a
              a: 25 UnknownMemberId
        "#]],
    );
}

#[test]
fn who_does_not_sync_in_time_is_removed() {
    check(
        "
        join a v=3 rebalance=2000
        join b v=3 rebalance=2000
        join a
        sync a a:0 b:1
        wait 1999
        wait 1
        show
        ",
        &expect![[r#"
            > join a v=3 rebalance=2000
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b v=3 rebalance=2000
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync a a:0 b:1
              stored generation 2 assigned
              a: has "0"
            > wait 1999
            > wait 1
            > show
              PreparingRebalance generation 2, members [a.1], waiting []
        "#]],
    );
}
