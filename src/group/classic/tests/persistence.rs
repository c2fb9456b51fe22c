//! What a failover and a failed write leave behind.

use expect_test::expect;

use super::script::{after_three, check};

#[test]
fn stable_group_survives_a_failover() {
    check(
        &after_three(
            "
            wait 5000
            failover
            show
            wait 9000
            beat a
            beat b
            beat c
            commit b
            join c
            sync c
            show
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
            > wait 5000
            > failover
            > show
              Stable generation 2, members [a.1 b.2 c.3], waiting []
            > wait 9000
            > beat a
              a: ok
            > beat b
              b: ok
            > beat c
              c: ok
            > commit b
              b: ok
            > join c
              c: joined as c.3 in generation 2, range led by a.1
            > sync c
              c: has "2"
            > show
              Stable generation 2, members [a.1 b.2 c.3], waiting []
        "#]],
    );
}

#[test]
fn rebalance_goes_on_after_a_failover() {
    check(
        "
        join a v=3
        join b v=3
        join a
        sync b
        failover
        show
        join b
        sync b
        join a
        sync a a:0 b:1
        show
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
            > failover
              b: 16 NotCoordinator
            > show
              CompletingRebalance generation 2, members [a.1 b.2], waiting []
            > join b
              b: joined as b.2 in generation 2, range led by a.1
            > sync b
            > join a
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync a a:0 b:1
              stored generation 2 assigned
              b: has "1"
              a: has "0"
            > show
              Stable generation 2, members [a.1 b.2], waiting []
        "#]],
    );
}

#[test]
fn generation_that_was_not_stored_was_not_seen() {
    check(
        "
        join a v=3
        sync a a:all
        hold
        join a
        show
        failover
        beat a
        join a
        ",
        &expect![[r#"
            > join a v=3
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > sync a a:all
              stored generation 1 assigned
              a: has "all"
            > hold
            > join a
              writing generation 2
            > show
              CompletingRebalance generation 2, members [a.1], waiting [a]
            > failover
              a: 16 NotCoordinator
            > beat a
              a: ok
            > join a
              stored generation 2 begun
              a: joined as a.1 in generation 2, range led by a.1, members a.1
        "#]],
    );
}

#[test]
fn assignment_that_was_not_stored_was_not_seen() {
    check(
        "
        join a v=3
        join b v=3
        join a
        sync b
        hold
        sync a a:0 b:1
        show
        failover
        join a
        sync a a:1 b:0
        sync b
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
            > hold
            > sync a a:0 b:1
              writing generation 2
            > show
              CompletingRebalance generation 2, members [a.1 b.2], waiting [b a]
            > failover
              b: 16 NotCoordinator
              a: 16 NotCoordinator
            > join a
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync a a:1 b:0
              stored generation 2 assigned
              a: has "1"
            > sync b
              b: has "0"
        "#]],
    );
}

#[test]
fn failed_writes_make_members_come_again() {
    check(
        "
        hold
        join a v=3
        fail
        show
        join a
        forget a
        wait 60000
        show
        join b v=3
        hold
        sync b b:all
        fail
        join b
        sync b b:all
        hold
        leave b
        fail
        wait 1000
        ",
        &expect![[r#"
            > hold
            > join a v=3
              writing generation 1
            > fail
              failed to store: the outcome of the write is unknown
              a: 15 CoordinatorNotAvailable
            > show
              PreparingRebalance generation 1, members [a.1], waiting []
            > join a
            > forget a
            > wait 60000
              stored generation 2 begun
              a: joined as a.2 in generation 2, range led by a.2, members a.2
              stored generation 3 empty
            > show
              Empty generation 3, members [], waiting []
            > join b v=3
              stored generation 4 begun
              b: joined as b.3 in generation 4, range led by b.3, members b.3
            > hold
            > sync b b:all
              writing generation 4
            > fail
              failed to store: the outcome of the write is unknown
              b: 15 CoordinatorNotAvailable
            > join b
              stored generation 5 begun
              b: joined as b.3 in generation 5, range led by b.3, members b.3
            > sync b b:all
              stored generation 5 assigned
              b: has "all"
            > hold
            > leave b
              b: ok
              writing generation 6
            > fail
              failed to store: the outcome of the write is unknown
            > wait 1000
              stored generation 6 empty
        "#]],
    );
}

#[test]
fn joins_during_a_write_share_the_next_generation() {
    check(
        "
        hold
        join a v=3
        join b v=3
        join c v=3
        show
        release
        ",
        &expect![[r#"
            > hold
            > join a v=3
              writing generation 1
            > join b v=3
            > join c v=3
            > show
              PreparingRebalance generation 1, members [a.1 b.2 c.3], waiting [a b c]
            > release
              stored generation 1 begun
              stored generation 2 begun
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2 c.3
              b: joined as b.2 in generation 2, range led by a.1
              c: joined as c.3 in generation 2, range led by a.1
        "#]],
    );
}
