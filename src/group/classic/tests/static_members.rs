//! Static members (KIP-345, KIP-814).

use expect_test::expect;

use super::script::check;

#[test]
fn static_member_restarts_without_a_rebalance() {
    check(
        "
        join a static=A
        join b static=B
        join a
        sync a a:0 b:1
        sync b
        forget b
        join b
        sync b
        beat a
        forget a
        join a
        sync a a:nothing
        show
        ",
        &expect![[r#"
            > join a static=A
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b static=B
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync a a:0 b:1
              stored generation 2 assigned
              a: has "0"
            > sync b
              b: has "1"
            > forget b
            > join b
              stored generation 2 assigned
              b: joined as b.6 in generation 2, range led by a.1
            > sync b
              b: has "1"
            > beat a
              a: ok
            > forget a
            > join a
              stored generation 2 assigned
              a: joined as a.8 in generation 2, range led by a.8, members a.8 b.6
              a: shall skip the assignment
            > sync a a:nothing
              a: has "0"
            > show
              Stable generation 2, members [a.8 b.6], waiting []
        "#]],
    );
}

#[test]
fn static_leader_of_an_old_client_does_not_recognise_itself() {
    check(
        "
        join a static=A v=5
        sync a a:all
        forget a
        join a
        sync a a:nothing
        ",
        &expect![[r#"
            > join a static=A v=5
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > sync a a:all
              stored generation 1 assigned
              a: has "all"
            > forget a
            > join a
              stored generation 1 assigned
              a: joined as a.3 in generation 1, range led by a.1
            > sync a a:nothing
              a: has "all"
        "#]],
    );
}

#[test]
fn static_member_with_other_topics_rebalances() {
    check(
        "
        join a static=A
        join b static=B
        join a
        sync a a:0 b:1
        sync b
        forget b
        join b topics=u
        show
        join a
        ",
        &expect![[r#"
            > join a static=A
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b static=B
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync a a:0 b:1
              stored generation 2 assigned
              a: has "0"
            > sync b
              b: has "1"
            > forget b
            > join b topics=u
            > show
              PreparingRebalance generation 2, members [a.1 b.6], waiting [b]
            > join a
              stored generation 3 begun
              b: joined as b.6 in generation 3, range led by a.1
              a: joined as a.1 in generation 3, range led by a.1, members a.1 b.6
        "#]],
    );
}

#[test]
fn second_process_fences_the_first() {
    check(
        "
        join a static=A
        sync a a:all
        join twin static=A
        beat a
        commit a
        sync a
        join a
        leave a
        sync twin
        beat twin
        ",
        &expect![[r#"
            > join a static=A
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > sync a a:all
              stored generation 1 assigned
              a: has "all"
            > join twin static=A
              stored generation 1 assigned
              twin: joined as twin.3 in generation 1, range led by twin.3, members twin.3
              twin: shall skip the assignment
            > beat a
              a: 82 FencedInstanceId
            > commit a
              a: 82 FencedInstanceId
            > sync a
              a: 82 FencedInstanceId
            > join a
              a: 82 FencedInstanceId
            > leave a
              a: 82 FencedInstanceId
            > sync twin
              twin: has "all"
            > beat twin
              twin: ok
        "#]],
    );
}

#[test]
fn waiting_requests_of_a_fenced_member_are_answered() {
    check(
        "
        join a static=A
        join b static=B
        join twin static=B
        join a
        sync b
        sync twin
        join third static=B
        show
        ",
        &expect![[r#"
            > join a static=A
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b static=B
            > join twin static=B
              b: 82 FencedInstanceId
            > join a
              stored generation 2 begun
              twin: joined as twin.3 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 twin.3
            > sync b
              b: 82 FencedInstanceId
            > sync twin
            > join third static=B
              twin: 82 FencedInstanceId
            > show
              PreparingRebalance generation 2, members [a.1 third.7], waiting [third]
        "#]],
    );
}

#[test]
fn administrator_removes_a_static_member_by_instance() {
    check(
        "
        join a static=A
        join b static=B
        join a
        sync a a:0 b:1
        remove B nobody
        join a
        sync a a:0+1
        leave a
        show
        ",
        &expect![[r#"
            > join a static=A
              stored generation 1 begun
              a: joined as a.1 in generation 1, range led by a.1, members a.1
            > join b static=B
            > join a
              stored generation 2 begun
              b: joined as b.2 in generation 2, range led by a.1
              a: joined as a.1 in generation 2, range led by a.1, members a.1 b.2
            > sync a a:0 b:1
              stored generation 2 assigned
              a: has "0"
            > remove B nobody
              B: ok
              nobody: 25 UnknownMemberId
            > join a
              stored generation 3 begun
              a: joined as a.1 in generation 3, range led by a.1, members a.1
            > sync a a:0+1
              stored generation 3 assigned
              a: has "0+1"
            > leave a
              a: ok
              stored generation 4 empty
            > show
              Empty generation 4, members [], waiting []
        "#]],
    );
}
